package api

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/billet-metal/billet/api/payload"
	"github.com/billet-metal/billet/node"
)

// Traits are how a scheduler matches nodes. They are set by a path of their own, since a client adds one without reading the
// others.

const maxTraits = 50 // of one node

var traitOptions = node.UpdateOptions{AnyState: true, Fields: []string{"traits"}}

func sortedKeys[V any](m map[string]V) string {
	return strings.Join(slices.Sorted(maps.Keys(m)), ", ")
}

func checkTrait(trait string) error {
	if len(trait) > 255 || !traitForm.MatchString(trait) {
		return invalid("The trait %q is not valid: a trait is a standard one such as HW_CPU_X86_VMX, or CUSTOM_ followed by A-Z, 0-9 and _, "+
			"of at most 255 characters.", trait)
	}
	return nil
}

func (ns *nodes) listTraits(w http.ResponseWriter, c *call) error {
	n, err := ns.node(c)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]any{"traits": listOrEmpty(n.Traits)})
	return nil
}

// setTraits replaces all traits.
func (ns *nodes) setTraits(w http.ResponseWriter, c *call) error {
	body, err := payload.DecodeObject(c.body)
	if err != nil {
		return err
	}
	if err := only(body, "traits"); err != nil {
		return err
	}
	list, ok := body["traits"].([]any)
	if !ok {
		return invalid("The body needs \"traits\": a list of strings.")
	}
	traits := []string{}
	for _, v := range list {
		s, _ := v.(string)
		if err := checkTrait(s); err != nil {
			return err
		}
		traits = append(traits, s)
	}
	return ns.changeTraits(w, c, func(n *node.Node) error { n.Traits = traits; return nil })
}

func (ns *nodes) addTrait(w http.ResponseWriter, c *call) error {
	trait := c.PathValue("trait")
	if !payload.Empty(c.body) {
		return invalid("No body should be provided when adding a trait.")
	}
	if err := checkTrait(trait); err != nil {
		return err
	}
	w.Header().Set("Location", c.href("nodes", c.PathValue("ident"), "traits", trait))
	return ns.changeTraits(w, c, func(n *node.Node) error { n.Traits = append(slices.Clone(n.Traits), trait); return nil })
}

func (ns *nodes) removeTrait(w http.ResponseWriter, c *call) error {
	trait := c.PathValue("trait")
	return ns.changeTraits(w, c, func(n *node.Node) error {
		i := slices.Index(n.Traits, trait)
		if i < 0 {
			return node.Errorf(node.NotFound, "Node %s doesn't have a trait '%s'", n.UUID, trait)
		}
		n.Traits = slices.Delete(slices.Clone(n.Traits), i, i+1)
		return nil
	})
}

func (ns *nodes) removeTraits(w http.ResponseWriter, c *call) error {
	return ns.changeTraits(w, c, func(n *node.Node) error { n.Traits = nil; return nil })
}

// changeTraits saves the traits sorted, each once.
func (ns *nodes) changeTraits(w http.ResponseWriter, c *call, change func(*node.Node) error) error {
	ident, err := c.ident()
	if err != nil {
		return err
	}
	_, err = ns.con.UpdateNode(c.Context(), ident, traitOptions, func(n *node.Node) error {
		if err := change(n); err != nil {
			return err
		}
		n.Traits = slices.Compact(slices.Sorted(slices.Values(n.Traits)))
		if len(n.Traits) > maxTraits {
			return invalid("A node may have at most %d traits, not %d.", maxTraits, len(n.Traits))
		}
		return nil
	})
	if err != nil {
		w.Header().Del("Location")
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

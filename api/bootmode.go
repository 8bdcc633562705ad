package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/billet-metal/billet/api/payload"
	"github.com/billet-metal/billet/node"
)

// The machine's boot mode and Secure Boot are switched here, through its BMC. What an instance asks for is a capability of the
// node instead, which this leaves alone.

// bootModes are the ways firmware starts a system.
var bootModes = []string{"bios", "uefi"}

func (hw *hardware) setBootMode(w http.ResponseWriter, c *call) error {
	return hw.setFirmware(w, c, func(ident string, target any) error {
		mode, _ := target.(string)
		if !slices.Contains(bootModes, mode) {
			return invalid("The boot mode %v is not valid. Allowed are: %s", target, strings.Join(bootModes, ", "))
		}
		return hw.con.SetBootMode(c.Context(), ident, mode)
	})
}

func (hw *hardware) setSecureBoot(w http.ResponseWriter, c *call) error {
	return hw.setFirmware(w, c, func(ident string, target any) error {
		on, err := payload.Boolean("target", target)
		if err != nil {
			return err
		}
		if target == nil {
			return invalid("The body needs \"target\": true or false.")
		}
		return hw.con.SetSecureBoot(c.Context(), ident, on)
	})
}

// setFirmware takes {"target": …} and hands it to set.
func (hw *hardware) setFirmware(w http.ResponseWriter, c *call, set func(ident string, target any) error) error {
	ident, body, err := c.asked("target")
	if err != nil {
		return err
	}
	if err := set(ident, body["target"]); err != nil {
		return err
	}
	return accepted(w, c, ident)
}

// injectNMI interrupts the machine's processor, which makes most systems dump their memory.
func (hw *hardware) injectNMI(w http.ResponseWriter, c *call) error {
	ident, _, err := c.asked()
	if err != nil {
		return err
	}
	if err := hw.con.InjectNMI(c.Context(), ident); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// The paths below are those of abilities that no hardware here has. A list of what there is none of is empty;
// what cannot be done is refused in the words for that, and not as a path that nobody knows.

// nothing answers a list of the node's under key: there is none.
func (hw *hardware) nothing(key string, args ...string) handler {
	return func(w http.ResponseWriter, c *call) error {
		if _, err := c.query(args...); err != nil {
			return err
		}
		if _, err := hw.node(c); err != nil {
			return err
		}
		writeJSON(w, http.StatusOK, map[string]any{key: []any{}})
		return nil
	}
}

// unsupported refuses what the node's hardware cannot do.
func (hw *hardware) unsupported(what string) handler {
	return func(_ http.ResponseWriter, c *call) error {
		if c.Method == http.MethodPut || c.Method == http.MethodPost {
			if _, err := payload.DecodeObject(c.body); err != nil {
				return err
			}
		}
		n, err := hw.node(c)
		if err != nil {
			return err
		}
		return node.Unsupported(n.Driver, what)
	}
}

// noVendorMethods answers which methods of its own the hardware of a node, or of a hardware type, has: none.
func (sv *services) noVendorMethods(w http.ResponseWriter, c *call) error {
	if _, err := c.query(); err != nil {
		return err
	}
	if name := c.PathValue("name"); name != "" {
		if _, err := sv.con.Driver(c.Context(), name); err != nil {
			return err
		}
	} else if _, err := sv.node(c); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]any{})
	return nil
}

// showVirtualMedia is newer than changing them.
func (hw *hardware) showVirtualMedia(w http.ResponseWriter, c *call) error {
	if c.version < mediaListed {
		return node.Errorf(node.NotFound, "The resource could not be found.")
	}
	return hw.unsupported("get_virtual_media")(w, c)
}

func (hw *hardware) showBIOSSetting(_ http.ResponseWriter, c *call) error {
	n, err := hw.node(c)
	if err != nil {
		return err
	}
	return node.Errorf(node.NotFound, "Node %s doesn't have a BIOS setting '%s'", n.UUID, c.PathValue("setting"))
}

// listChildren names the nodes whose parent_node the node is.
func (ns *nodes) listChildren(w http.ResponseWriter, c *call) error {
	if _, err := c.query(); err != nil {
		return err
	}
	n, err := ns.node(c)
	if err != nil {
		return err
	}
	f := node.NodeFilter{ParentNode: n.UUID, IncludeChildren: true}
	nodes, err := ns.read.Nodes(c.Context(), f, node.Page{Hot: true, Limit: c.maxLimit})
	if err != nil {
		return err
	}
	children := []string{}
	for _, child := range nodes {
		children = append(children, child.UUID)
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"children": children,
		"links":    link{Href: c.href("nodes", n.UUID, "children"), Rel: "self"}, // one object, not a list
	})
	return nil
}

// noShard is the name under which nodes without a shard are counted.
const noShard = "None"

// listShards counts the nodes of each shard, the largest first.
func (sv *services) listShards(w http.ResponseWriter, c *call) error {
	if _, err := c.query(); err != nil {
		return err
	}
	shards, err := sv.read.Shards(c.Context())
	if err != nil {
		return err
	}
	list := []any{}
	for _, s := range shards {
		name := s.Name
		if name == "" {
			name = noShard
		}
		list = append(list, map[string]any{"name": name, "count": s.Nodes})
	}
	writeJSON(w, http.StatusOK, map[string]any{"shards": list})
	return nil
}

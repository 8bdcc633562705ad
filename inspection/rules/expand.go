package rules

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/billet-metal/billet/node"
)

// References in rules are written as Python's str.format has them, because Ironic's are. Two things are narrower on purpose:
// what a machine reported is never read as a reference again, and secrets are shown masked.

// scope is what references may name: node, inventory, plugin_data and, in a loop, item.
type scope map[string]any

// hidden are the keys of an inventory and of plugin data whose values no rule sees.
var hidden = []string{"password", "auth_token", "bmc_password"}

// hiddenShown stands for the value of a hidden key.
const hiddenShown = "***"

func (w *work) scope() scope {
	return scope{"node": attributesOf(w.Node), "inventory": map[string]any(w.Inventory), "plugin_data": map[string]any(w.PluginData)}
}

func (s scope) with(item any) scope {
	s = maps.Clone(s)
	s["item"] = item
	return s
}

// attributesOf is a node as references see it: empty fields are null, secrets are masked.
func attributesOf(n *node.Node) map[string]any {
	out := map[string]any{
		"provision_state": string(n.State), "power_state": string(n.Power), "maintenance": n.Maintenance,
		"boot_mode": orNil(n.BootMode), "uuid": n.UUID, "driver_info": node.MaskedDocument(n.DriverInfo),
		"instance_info": node.MaskedDocument(n.InstanceInfo),
	}
	traits := []any{}
	for _, t := range n.Traits {
		traits = append(traits, t)
	}
	out["traits"] = traits
	for _, name := range fieldNames {
		if out[name] == nil {
			out[name] = plainField(nodeField(n, name))
		}
	}
	return out
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// lost is the error of a reference that finds nothing.
type lost struct{ reference string }

func (l *lost) Error() string {
	return "the machine has nothing under a reference: " + l.reference
}

// expand replaces the references in text, written as Python's str.format has them: {node.driver},
// {inventory[cpu][count]}, {item}; {{ and }} are braces. As there, a text with any other brace stays as
// it is. A reference that names something of the scope and finds nothing is a *lost. When all of the
// text is one reference, whole is what it found.
func (s scope) expand(text string) (expanded string, whole any, err error) {
	var out strings.Builder
	var missing error
	for rest := text; rest != ""; {
		i := strings.IndexAny(rest, "{}")
		if i < 0 {
			out.WriteString(rest)
			break
		}
		out.WriteString(rest[:i])
		brace := rest[i]
		if i+1 < len(rest) && rest[i+1] == brace {
			out.WriteByte(brace)
			rest = rest[i+2:]
			continue
		}
		end := strings.IndexAny(rest[i+1:], "{}")
		if brace == '}' || end < 0 || rest[i+1+end] == '{' {
			return text, text, nil
		}
		reference := rest[i+1 : i+1+end]
		v, known, found := s.find(reference)
		switch {
		case !known:
			return text, text, nil
		case !found && missing == nil:
			missing = &lost{"{" + reference + "}"}
		}
		rest = rest[i+2+end:]
		if i == 0 && rest == "" && out.Len() == 0 {
			return python(v), v, missing
		}
		out.WriteString(python(v))
	}
	return out.String(), out.String(), missing
}

// find follows a reference. known: its first word is one of the scope.
func (s scope) find(reference string) (v any, known, found bool) {
	end := strings.IndexAny(reference, ".[!:")
	if end < 0 {
		end = len(reference)
	}
	root, rest := reference[:end], reference[end:]
	v, known = s[root]
	found = known
	for first := true; rest != "" && found; first = false {
		switch rest[0] {
		case '.': // an attribute: only the node itself has some
			name := rest[1:]
			if i := strings.IndexAny(name, ".[!:"); i >= 0 {
				name = name[:i]
			}
			rest = rest[1+len(name):]
			attributes, _ := v.(map[string]any)
			v, found = attributes[name]
			found = found && root == "node" && first
		case '[':
			key, after, closed := strings.Cut(rest[1:], "]")
			rest = after
			v, found = element(v, key)
			found = found && closed && (root != "node" || !first)
		default: // a conversion or a format: neither is supported
			found = false
		}
	}
	return v, known, found
}

func element(v any, key string) (any, bool) {
	switch x := v.(type) {
	case map[string]any:
		e, ok := x[key]
		if ok && slices.Contains(hidden, key) {
			e = hiddenShown
		}
		return e, ok
	case []any:
		i, err := strconv.Atoi(key)
		if err == nil && i >= 0 && i < len(x) {
			return x[i], true
		}
	}
	return nil, false
}

// expandAll expands every text in a value, keys of objects too.
func (s scope) expandAll(v any, missing onLost) (any, error) {
	switch x := v.(type) {
	case string:
		text, _, err := s.expand(x)
		if err != nil {
			return missing(x, err)
		}
		return text, nil
	case map[string]any:
		out := make(map[string]any, len(x))
		for _, k := range slices.Sorted(maps.Keys(x)) {
			key, err := s.expandAll(k, missing)
			if err != nil {
				return nil, err
			}
			if out[python(key)], err = s.expandAll(x[k], missing); err != nil {
				return nil, err
			}
		}
		return out, nil
	case []any:
		out := make([]any, len(x))
		for i, e := range x {
			var err error
			if out[i], err = s.expandAll(e, missing); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}

// python is a JSON value as Python's str writes it, which is what rules are written for.
func python(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return repr(v)
}

func repr(v any) string {
	switch x := v.(type) {
	case nil:
		return "None"
	case bool:
		if x {
			return "True"
		}
		return "False"
	case string:
		if strings.Contains(x, "'") && !strings.Contains(x, `"`) {
			return `"` + x + `"`
		}
		return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`, "\n", `\n`, "\t", `\t`, "\r", `\r`).Replace(x) + "'"
	case float64:
		return strconv.FormatFloat(x, 'f', -1, 64)
	case json.Number:
		return x.String()
	case []any:
		items := make([]string, len(x))
		for i, e := range x {
			items[i] = repr(e)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case map[string]any:
		var items []string
		for _, k := range slices.Sorted(maps.Keys(x)) {
			e := x[k]
			if slices.Contains(hidden, k) {
				e = hiddenShown
			}
			items = append(items, repr(k)+": "+repr(e))
		}
		return "{" + strings.Join(items, ", ") + "}"
	}
	return fmt.Sprint(v)
}

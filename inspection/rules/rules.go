// Package rules owns inspection rules: which are well formed, when one applies to a machine that an
// inspection has found, and what it changes. It changes values in memory only: a rule that fails has
// changed nothing. It refuses to know a database, drivers and the API's HTTP.
package rules

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/billet-metal/billet/node"
)

// Machine is what rules look at and change.
type Machine struct {
	Node       *node.Node
	Ports      []node.Port // all that the node has or is about to get, each with a UUID
	Inventory  node.Document
	PluginData node.Document // JSON values only

	// Log takes what "log" actions say. nil: nowhere.
	Log func(ctx context.Context, level slog.Level, text string)
	// Get carries out "api-call" actions. nil: over HTTP.
	Get func(ctx context.Context, c Call) error
}

// Apply runs the rules on m, those of higher priority first and else in the given order. It returns the
// UUIDs of the rules whose conditions held. The first rule that fails ends it: the error, for people,
// names the rule and what in it failed, and m is as it was.
func Apply(ctx context.Context, rules []node.InspectionRule, m *Machine) (applied []string, err error) {
	w := m.copy()
	rules = slices.Clone(rules)
	slices.SortStableFunc(rules, func(a, b node.InspectionRule) int { return cmp.Compare(b.Priority, a.Priority) })
	for _, r := range rules {
		holds, err := w.check(r)
		if err != nil {
			return nil, err
		}
		if !holds {
			continue
		}
		if err := w.act(ctx, r); err != nil {
			return nil, err
		}
		applied = append(applied, r.UUID)
	}
	if err := sound(w.Node); err != nil {
		return nil, Unusable(rules, applied, err.Error()+".")
	}
	*m.Node, m.Ports, m.PluginData = *w.Node, w.Ports, w.PluginData
	return applied, nil
}

// Unusable is the error of rules that applied and together leave a node that cannot be. What is wrong with it, why, may
// quote what a rule set: of a sensitive one that is not shown.
func Unusable(rules []node.InspectionRule, applied []string, why string) error {
	for _, r := range rules {
		if r.Sensitive && slices.Contains(applied, r.UUID) {
			why = "what is wrong is not shown, as one of them is sensitive."
		}
	}
	return node.Errorf(node.Invalid, "The inspection rules %s leave the node unusable: %s", strings.Join(applied, ", "), why)
}

// work is a copy of the machine that a run of rules may change.
type work struct {
	Machine
	quiet bool // the rule under way is sensitive
}

func (m *Machine) copy() *work {
	w := &work{Machine: *m}
	n := m.Node.Clone()
	for _, d := range []*node.Document{&n.Properties, &n.DriverInfo, &n.InstanceInfo, &n.Extra, &n.NetworkData} {
		*d = deep(map[string]any(*d)).(map[string]any)
	}
	w.Node, w.PluginData = n, deep(map[string]any(m.PluginData)).(map[string]any)
	w.Ports = slices.Clone(m.Ports)
	for i := range w.Ports {
		p := &w.Ports[i]
		p.LocalLinkConnection = deep(map[string]any(p.LocalLinkConnection)).(map[string]any)
		p.Extra = deep(map[string]any(p.Extra)).(map[string]any)
	}
	return w
}

// deep copies a JSON value.
func deep(v any) any {
	switch x := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(x))
		for k, e := range x {
			out[k] = deep(e)
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i, e := range x {
			out[i] = deep(e)
		}
		return out
	}
	return v
}

// check reports whether all conditions of r hold. It looks no further than the first that does not.
func (w *work) check(r node.InspectionRule) (bool, error) {
	for i, c := range r.Conditions {
		holds, err := w.condition(c)
		if err != nil {
			return false, wrong(r, fmt.Sprintf("condition %d (%s)", i+1, c.Op), err)
		}
		if !holds {
			return false, nil
		}
	}
	return true, nil
}

func (w *work) act(ctx context.Context, r node.InspectionRule) error {
	w.quiet = r.Sensitive
	for i, a := range r.Actions {
		if err := w.action(ctx, a); err != nil {
			return wrong(r, fmt.Sprintf("action %d (%s)", i+1, a.Op), err)
		}
	}
	return nil
}

// fault is why an operation failed. What is fit for everybody; detail may quote the rule.
type fault struct{ what, detail string }

func (f *fault) Error() string {
	if f.detail == "" {
		return f.what
	}
	return f.what + ": " + f.detail
}

func faultf(what, detail string, args ...any) error {
	return &fault{what, fmt.Sprintf(detail, args...)}
}

// wrong says which rule failed, where and why. Of a sensitive rule nothing is quoted.
func wrong(r node.InspectionRule, where string, err error) error {
	text, f := err.Error(), (*fault)(nil)
	if r.Sensitive {
		text = "the operation failed"
		if errors.As(err, &f) {
			text = f.what
		}
		text += " (the rule is sensitive: nothing of it is shown)"
	}
	name := r.UUID
	if r.Description != "" && !r.Sensitive {
		name += fmt.Sprintf(" %q", r.Description)
	}
	return node.Errorf(node.Invalid, "Inspection rule %s, %s: %s.", name, where, text)
}

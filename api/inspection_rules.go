package api

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/billet-metal/billet/inspection/rules"
	"github.com/billet-metal/billet/node"
)

// Inspection rules are judged by the room that applies them: a rule that is accepted here must be one that runs there.

// Rules keeps inspection rules.
type Rules interface {
	Records[node.InspectionRule, node.InspectionRuleFilter]
	DeleteAll(ctx context.Context) error
}

type ruleKind = records[node.InspectionRule, node.InspectionRuleFilter]

func inspectionRules(kept Rules) *ruleKind {
	return ruleKind{
		name: "inspection_rule", noun: "inspection rule", path: []string{"inspection_rules"}, kept: kept, oldWrite: true,
		named:  naming{"uuid", ruleIdent},
		head:   func(r *node.InspectionRule) head { return head{&r.UUID, r.CreatedAt, r.UpdatedAt, r.Unreadable} },
		damage: (*node.InspectionRule).Damage, mended: true,
		short: []string{"uuid", "priority", "phase", "description", "links"}, unsorted: []string{"actions", "conditions"},
		form:    form[node.InspectionRule]{fields: rules.Fields, read: rules.Read, change: patchRule},
		more:    []route{{pattern: "DELETE /v1/inspection_rules", serve: deleteRules(kept), oldWrite: true}},
		filters: []string{"phase"},
		filter: func(_ *call, q url.Values) (node.InspectionRuleFilter, error) {
			return node.InspectionRuleFilter{Phase: q.Get("phase")}, nil
		},
	}.with([]column[view[node.InspectionRule]]{
		{"description", func(r view[node.InspectionRule]) any { return orNull(r.it.Description) }},
		{"priority", func(r view[node.InspectionRule]) any { return r.it.Priority }},
		{"phase", func(r view[node.InspectionRule]) any { return r.it.Phase }},
		{"sensitive", func(r view[node.InspectionRule]) any { return r.it.Sensitive }},
		{"conditions", func(r view[node.InspectionRule]) any { return shownOperations(r.it, r.it.Conditions, "any") }},
		{"actions", func(r view[node.InspectionRule]) any { return shownOperations(r.it, r.it.Actions, "") }},
	}...)
}

// shownOperations is null for a sensitive rule. multiple is how a loop of these counts when nothing is said; "" for
// operations whose loops do not count.
func shownOperations(r *node.InspectionRule, operations []node.RuleOperation, multiple string) any {
	if r.Sensitive {
		return nil
	}
	return operationsJSON(operations, multiple)
}

func operationsJSON(operations []node.RuleOperation, multiple string) []any {
	out := []any{}
	for _, o := range operations {
		m := map[string]any{"op": o.Op, "args": o.Args}
		if o.Loop != nil {
			m["loop"] = o.Loop
			if multiple != "" {
				m["multiple"] = multiple
			}
			if o.Multiple != "" && multiple != "" {
				m["multiple"] = o.Multiple
			}
		}
		out = append(out, m)
	}
	return out
}

// ruleIdent is what a path calls a rule: rules have no names.
func ruleIdent(c *call) (string, error) {
	uuid := c.PathValue("uuid")
	if !isUUID(uuid) {
		return "", invalid("Expected a UUID but received %s.", uuid)
	}
	return canonicalUUID(uuid), nil
}

// patchRule carries out operations, which work on what it really says. A field that is removed gets
// its default back; what a rule has once hidden stays hidden.
func patchRule(r *node.InspectionRule, ops []patchOp) error {
	form := map[string]any{
		"description": orNull(r.Description), "priority": r.Priority, "phase": r.Phase, "sensitive": r.Sensitive,
		"conditions": operationsJSON(r.Conditions, "any"), "actions": operationsJSON(r.Actions, ""),
	}
	form, err := applyPatch(form, ops)
	if err != nil {
		return err
	}
	if r.Sensitive { // it shows both as null, and a client that sends that back means "as it was"
		for field, was := range map[string]any{"conditions": operationsJSON(r.Conditions, "any"), "actions": operationsJSON(r.Actions, "")} {
			if v, there := form[field]; there && v == nil {
				form[field] = was
			}
		}
	}
	changed, err := rules.Read(form)
	if err != nil {
		return err
	}
	if r.Sensitive && !changed.Sensitive {
		return invalid("Inspection rules cannot have the sensitive flag unset.")
	}
	changed.ID, changed.UUID, changed.CreatedAt, changed.Unreadable = r.ID, r.UUID, r.CreatedAt, r.Unreadable
	*r = changed
	return nil
}

// deleteRules deletes all rules.
func deleteRules(kept Rules) handler {
	return func(w http.ResponseWriter, c *call) error {
		if _, err := c.query(); err != nil {
			return err
		}
		if len(strings.TrimSpace(string(c.body))) > 0 {
			return invalid("No body should be provided when deleting all inspection rules.")
		}
		if err := kept.DeleteAll(c.Context()); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
}

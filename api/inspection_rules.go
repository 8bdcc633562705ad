package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/billet-metal/billet/inspection/rules"
	"github.com/billet-metal/billet/node"
)

// ruleView is an inspection rule as one request sees it.
type ruleView struct {
	node.InspectionRule
	call *call
}

var ruleColumns = []column[*ruleView]{
	{"uuid", func(r *ruleView) any { return r.UUID }},
	{"description", func(r *ruleView) any { return orNull(r.Description) }},
	{"priority", func(r *ruleView) any { return r.Priority }},
	{"phase", func(r *ruleView) any { return r.Phase }},
	{"sensitive", func(r *ruleView) any { return r.Sensitive }},
	{"conditions", func(r *ruleView) any { return readable(r.Unreadable, "conditions", r.shown(r.Conditions, "any")) }},
	{"actions", func(r *ruleView) any { return readable(r.Unreadable, "actions", r.shown(r.Actions, "")) }},
	{"created_at", func(r *ruleView) any { return stamp(r.CreatedAt) }},
	{"updated_at", func(r *ruleView) any { return stamp(r.UpdatedAt) }},
	{"links", func(r *ruleView) any { return r.call.links("inspection_rules", r.UUID) }},
}

var ruleList = list[node.InspectionRule]{
	resource: "inspection_rule", key: "inspection_rules", fields: []string{"uuid", "priority", "phase", "description", "links"},
	unsorted: []string{"actions", "conditions", "links"},
	has:      func(field string) bool { return hasColumn(ruleColumns, field) },
	uuid:     func(r node.InspectionRule) string { return r.UUID },
	json:     rulesJSON,
}

// shown is null for a sensitive rule. multiple is how a loop of these counts when nothing is said; "" for
// operations whose loops do not count.
func (r *ruleView) shown(operations []node.RuleOperation, multiple string) any {
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

func rulesJSON(c *call, list []node.InspectionRule, fields []string) []map[string]any {
	cols := shown(ruleColumns, "inspection_rule", c.version, fields)
	out := make([]map[string]any, len(list))
	for i, r := range list {
		out[i] = render(cols, &ruleView{r, c})
	}
	return out
}

func (a *API) listInspectionRules(w http.ResponseWriter, c *call) error {
	q, err := c.query(slices.Concat(paging, []string{"fields", "detail", "phase"})...)
	if err != nil {
		return err
	}
	fields, err := fieldsAsked(c, q, "inspection_rule", ruleColumns)
	if err != nil {
		return err
	}
	detail, err := detailAsked(c, q)
	if err != nil {
		return err
	}
	return ruleList.write(a, w, c, q, ruleList.shows(fields, detail), []string{"inspection_rules"}, func(p node.Page) ([]node.InspectionRule, error) {
		return a.InspectionRules.List(c.Context(), node.InspectionRuleFilter{Phase: q.Get("phase")}, p)
	})
}

func (a *API) showInspectionRule(w http.ResponseWriter, c *call) error {
	q, err := c.query("fields")
	if err != nil {
		return err
	}
	fields, err := fieldsAsked(c, q, "inspection_rule", ruleColumns)
	if err != nil {
		return err
	}
	r, err := a.inspectionRule(c)
	if err == nil {
		err = r.Damage()
	}
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, rulesJSON(c, []node.InspectionRule{r}, fields)[0])
	return nil
}

// inspectionRule finds the rule a path names. Rules have no names.
func (a *API) inspectionRule(c *call) (node.InspectionRule, error) {
	uuid, err := ruleIdent(c)
	if err != nil {
		return node.InspectionRule{}, err
	}
	return a.InspectionRules.Get(c.Context(), uuid)
}

func ruleIdent(c *call) (string, error) {
	uuid := c.PathValue("uuid")
	if !isUUID(uuid) {
		return "", invalid("Expected a UUID but received %s.", uuid)
	}
	return canonicalUUID(uuid), nil
}

func (a *API) createInspectionRule(w http.ResponseWriter, c *call) error {
	body, err := decodeObject(c.body)
	if err != nil {
		return err
	}
	uuid := newUUID()
	if body["uuid"] != nil {
		s, _ := body["uuid"].(string)
		if !isUUID(s) {
			return invalid("Expected a UUID for uuid but received %v.", body["uuid"])
		}
		uuid = canonicalUUID(s)
	}
	delete(body, "uuid")
	r, err := rules.Read(body)
	if err != nil {
		return err
	}
	r.UUID = uuid
	if err := a.InspectionRules.Create(c.Context(), &r); err != nil {
		return err
	}
	w.Header().Set("Location", c.href("inspection_rules", r.UUID))
	writeJSON(w, http.StatusCreated, rulesJSON(c, []node.InspectionRule{r}, nil)[0])
	return nil
}

func (a *API) patchInspectionRule(w http.ResponseWriter, c *call) error {
	ops, err := decodePatch(c.body, patchRules{
		resource: "inspection_rule", version: c.version, allowed: rules.Fields,
		known: func(f string) bool { return hasColumn(ruleColumns, f) },
	})
	if err != nil {
		return err
	}
	r, err := a.inspectionRule(c)
	if err != nil {
		return err
	}
	if !replacesAll(r.Unreadable, ops) {
		return r.Damage()
	}
	changed, err := patchedRule(r, ops)
	if err != nil {
		return err
	}
	if err := a.InspectionRules.Save(c.Context(), &changed); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, rulesJSON(c, []node.InspectionRule{changed}, nil)[0])
	return nil
}

// patchedRule is r after the operations, which work on what it really says. A field that is removed gets
// its default back; what a rule has once hidden stays hidden.
func patchedRule(r node.InspectionRule, ops []patchOp) (node.InspectionRule, error) {
	form := map[string]any{
		"description": orNull(r.Description), "priority": r.Priority, "phase": r.Phase, "sensitive": r.Sensitive,
		"conditions": operationsJSON(r.Conditions, "any"), "actions": operationsJSON(r.Actions, ""),
	}
	form, err := applyPatch(form, ops)
	if err != nil {
		return r, err
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
		return r, err
	}
	if r.Sensitive && !changed.Sensitive {
		return r, invalid("Inspection rules cannot have the sensitive flag unset.")
	}
	changed.ID, changed.UUID, changed.CreatedAt, changed.Unreadable = r.ID, r.UUID, r.CreatedAt, r.Unreadable
	return changed, nil
}

// deleteInspectionRule does not read the rule: one that cannot be read can be deleted.
func (a *API) deleteInspectionRule(w http.ResponseWriter, c *call) error {
	uuid, err := ruleIdent(c)
	if err != nil {
		return err
	}
	if err := a.InspectionRules.Delete(c.Context(), uuid); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *API) deleteInspectionRules(w http.ResponseWriter, c *call) error {
	if _, err := c.query(); err != nil {
		return err
	}
	if len(strings.TrimSpace(string(c.body))) > 0 {
		return invalid("No body should be provided when deleting all inspection rules.")
	}
	if err := a.InspectionRules.DeleteAll(c.Context()); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *API) ruleRoutes() []route {
	return []route{
		{pattern: "GET /v1/inspection_rules", serve: a.listInspectionRules},
		{pattern: "POST /v1/inspection_rules", serve: a.createInspectionRule, oldWrite: true},
		{pattern: "DELETE /v1/inspection_rules", serve: a.deleteInspectionRules, oldWrite: true},
		{pattern: "GET /v1/inspection_rules/{uuid}", serve: a.showInspectionRule},
		{pattern: "PATCH /v1/inspection_rules/{uuid}", serve: a.patchInspectionRule, oldWrite: true},
		{pattern: "DELETE /v1/inspection_rules/{uuid}", serve: a.deleteInspectionRule, oldWrite: true},
	}
}

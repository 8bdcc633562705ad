package api

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/billet-metal/billet/node"
)

// templateView is a deploy template as one request sees it.
type templateView struct {
	node.DeployTemplate
	call *call
}

type templateColumn = column[*templateView]

var templateColumns = []templateColumn{
	{"uuid", func(t *templateView) any { return t.UUID }},
	{"name", func(t *templateView) any { return t.Name }},
	{"description", func(t *templateView) any { return orNull(t.Description) }},
	{"steps", func(t *templateView) any {
		return readable(t.Unreadable, "steps", templateSteps(t.Steps, node.MaskedDocument))
	}},
	{"extra", func(t *templateView) any { return readable(t.Unreadable, "extra", document(t.Extra)) }},
	{"created_at", func(t *templateView) any { return stamp(t.CreatedAt) }},
	{"updated_at", func(t *templateView) any { return stamp(t.UpdatedAt) }},
	{"links", func(t *templateView) any { return t.call.links("deploy_templates", t.UUID) }},
}

var templateList = list[node.DeployTemplate]{
	resource: "deploy_template", key: "deploy_templates", fields: []string{"uuid", "name", "links"}, unsorted: []string{"steps", "extra", "links"},
	has:  func(field string) bool { return hasColumn(templateColumns, field) },
	uuid: func(t node.DeployTemplate) string { return t.UUID },
	json: templatesJSON,
}

func templatesJSON(c *call, templates []node.DeployTemplate, fields []string) []map[string]any {
	cols := shown(templateColumns, "deploy_template", c.version, fields)
	out := make([]map[string]any, len(templates))
	for i, t := range templates {
		out[i] = render(cols, &templateView{t, c})
	}
	return out
}

// templateSteps shows steps; args says how their arguments are shown: masked, or as they are.
func templateSteps(steps []node.PlannedStep, args func(map[string]any) map[string]any) []any {
	out := []any{}
	for _, s := range steps {
		out = append(out, map[string]any{"interface": string(s.Interface), "step": s.Step, "priority": s.Priority, "args": args(s.Args)})
	}
	return out
}

// templateSetters are the fields of a deploy template that clients may write.
var templateSetters = map[string]func(*node.DeployTemplate, any) error{
	"name":        setTemplateName,
	"steps":       setTemplateSteps,
	"description": textField("description", 255, func(t *node.DeployTemplate) *string { return &t.Description }),
	"extra":       documentField("extra", func(t *node.DeployTemplate) *node.Document { return &t.Extra }),
}

var templatePatchable = slices.Sorted(maps.Keys(templateSetters))

func setTemplateName(t *node.DeployTemplate, v any) error {
	name, err := text("name", v, 255)
	if err != nil {
		return err
	}
	if checkTrait(name) != nil {
		return invalid("Deploy template name must be a valid trait, which %q is not: a trait is a standard one such as HW_CPU_X86_VMX, or CUSTOM_ followed by A-Z, 0-9 and _.", name)
	}
	t.Name = name
	return nil
}

func setTemplateSteps(t *node.DeployTemplate, v any) (err error) {
	if list, ok := v.([]any); v == nil || ok && len(list) == 0 {
		return invalid("A deploy template needs \"steps\": a list of at least one step.")
	}
	t.Steps, err = readSteps("steps", v)
	return err
}

func (a *API) listDeployTemplates(w http.ResponseWriter, c *call) error {
	q, err := c.query(slices.Concat(paging, []string{"fields", "detail"})...)
	if err != nil {
		return err
	}
	fields, err := templateFields(c, q)
	if err != nil {
		return err
	}
	return templateList.write(a, w, c, q, fields, []string{"deploy_templates"}, func(p node.Page) ([]node.DeployTemplate, error) {
		return a.DeployTemplates.List(c.Context(), node.DeployTemplateFilter{}, p)
	})
}

// templateFields is what a list shows; nil is everything.
func templateFields(c *call, q url.Values) ([]string, error) {
	fields, err := fieldsAsked(c, q, "deploy_template", templateColumns)
	if err != nil {
		return nil, err
	}
	detail, err := detailAsked(c, q)
	return templateList.shows(fields, detail), err
}

func (a *API) showDeployTemplate(w http.ResponseWriter, c *call) error {
	q, err := c.query("fields")
	if err != nil {
		return err
	}
	fields, err := fieldsAsked(c, q, "deploy_template", templateColumns)
	if err != nil {
		return err
	}
	t, err := a.deployTemplate(c)
	if err == nil {
		err = t.Damage()
	}
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, templatesJSON(c, []node.DeployTemplate{t}, fields)[0])
	return nil
}

// deployTemplate finds the deploy template a path names, by UUID or name.
func (a *API) deployTemplate(c *call) (node.DeployTemplate, error) {
	ident, err := c.ident()
	if err != nil {
		return node.DeployTemplate{}, err
	}
	return a.DeployTemplates.Get(c.Context(), ident)
}

func (a *API) createDeployTemplate(w http.ResponseWriter, c *call) error {
	body, err := decodeObject(c.body)
	if err != nil {
		return err
	}
	t, err := newDeployTemplate(c.version, body)
	if err != nil {
		return err
	}
	if err := a.DeployTemplates.Create(c.Context(), &t); err != nil {
		return err
	}
	w.Header().Set("Location", c.href("deploy_templates", t.UUID))
	writeJSON(w, http.StatusCreated, templatesJSON(c, []node.DeployTemplate{t}, nil)[0])
	return nil
}

func newDeployTemplate(v version, body map[string]any) (node.DeployTemplate, error) {
	t := node.DeployTemplate{UUID: newUUID()}
	for _, required := range []string{"name", "steps"} {
		if body[required] == nil {
			return t, invalid("A deploy template needs %q. It has \"name\", a trait, and \"steps\".", required)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(body)) {
		if key == "uuid" {
			s, _ := body[key].(string)
			if !isUUID(s) {
				return t, invalid("Expected a UUID for uuid but received %v.", body[key])
			}
			t.UUID = canonicalUUID(s)
			continue
		}
		set := templateSetters[key]
		if set == nil {
			return t, invalid("A deploy template cannot be created with the field %q. Allowed are: %s, uuid", key, strings.Join(templatePatchable, ", "))
		}
		if err := v.needsField("deploy_template", key); err != nil {
			return t, err
		}
		if key == "steps" {
			if err := noMask(key, body[key]); err != nil {
				return t, err
			}
		}
		if err := set(&t, body[key]); err != nil {
			return t, err
		}
	}
	return t, nil
}

func (a *API) patchDeployTemplate(w http.ResponseWriter, c *call) error {
	ops, err := decodePatch(c.body, patchRules{
		resource: "deploy_template", version: c.version, allowed: templatePatchable,
		known: func(f string) bool { return hasColumn(templateColumns, f) },
	})
	if err != nil {
		return err
	}
	t, err := a.deployTemplate(c)
	if err != nil {
		return err
	}
	if !replacesAll(t.Unreadable, ops) {
		return t.Damage()
	}
	if err := applyTemplatePatch(&t, ops); err != nil {
		return err
	}
	if err := a.DeployTemplates.Save(c.Context(), &t); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, templatesJSON(c, []node.DeployTemplate{t}, nil)[0])
	return nil
}

// applyTemplatePatch works on the template's own, unmasked values. Steps are replaced as a whole: one
// step of a list is too easily another by the time the patch arrives.
func applyTemplatePatch(t *node.DeployTemplate, ops []patchOp) error {
	form := map[string]any{
		"name": t.Name, "description": orNull(t.Description), "extra": document(t.Extra),
		"steps": templateSteps(t.Steps, func(args map[string]any) map[string]any { return node.Document(args).Clone() }),
	}
	for _, op := range ops {
		if op.root() == "steps" && op.Path != "/steps" {
			return invalid("Cannot patch %s: the steps of a deploy template are replaced as a whole, by the path /steps.", op.Path)
		}
	}
	changed, err := applyPatch(form, ops)
	if err != nil {
		return err
	}
	for _, f := range touched(ops) {
		value := changed[f]
		if f == "steps" {
			if value, err = unmask(f, form[f], value); err != nil {
				return err
			}
		}
		if err := templateSetters[f](t, value); err != nil {
			return err
		}
	}
	return nil
}

// deleteDeployTemplate reads a template only to learn its UUID: one that cannot be read can be deleted by that.
func (a *API) deleteDeployTemplate(w http.ResponseWriter, c *call) error {
	uuid, err := c.ident()
	if err != nil {
		return err
	}
	if !isUUID(uuid) {
		t, err := a.deployTemplate(c)
		if err != nil {
			return err
		}
		uuid = t.UUID
	}
	if err := a.DeployTemplates.Delete(c.Context(), uuid); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *API) templateRoutes() []route {
	return []route{
		{pattern: "GET /v1/deploy_templates", serve: a.listDeployTemplates},
		{pattern: "POST /v1/deploy_templates", serve: a.createDeployTemplate, oldWrite: true},
		{pattern: "GET /v1/deploy_templates/{ident}", serve: a.showDeployTemplate},
		{pattern: "PATCH /v1/deploy_templates/{ident}", serve: a.patchDeployTemplate, oldWrite: true},
		{pattern: "DELETE /v1/deploy_templates/{ident}", serve: a.deleteDeployTemplate, oldWrite: true},
	}
}

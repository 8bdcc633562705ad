package api

import (
	"github.com/billet-metal/billet/api/payload"
	"github.com/billet-metal/billet/node"
)

// A deploy template is a list of steps that a trait asks for. Its steps are written whole: one of a list is too easily another
// by the time a patch of it arrives.

type templateKind = records[node.DeployTemplate, node.DeployTemplateFilter]

func deployTemplates(kept Records[node.DeployTemplate, node.DeployTemplateFilter]) *templateKind {
	return templateKind{
		name: "deploy_template", noun: "deploy template", path: []string{"deploy_templates"}, kept: kept, named: byName, oldWrite: true,
		head:   func(t *node.DeployTemplate) head { return head{&t.UUID, t.CreatedAt, t.UpdatedAt, t.Unreadable} },
		damage: (*node.DeployTemplate).Damage, mended: true,
		short: []string{"uuid", "name", "links"}, unsorted: []string{"steps", "extra"},
		required: []string{"name", "steps"}, needs: `%q. It has "name", a trait, and "steps".`,
		whole: []string{"steps"}, // one step of a list is too easily another by the time the patch arrives
		bare:  map[string]func(*node.DeployTemplate) any{"steps": func(t *node.DeployTemplate) any { return stepsAsTheyAre(t.Steps) }},
		setters: map[string]func(*node.DeployTemplate, any) error{
			"name":        setTemplateName,
			"steps":       setTemplateSteps,
			"description": textField("description", 255, func(t *node.DeployTemplate) *string { return &t.Description }),
			"extra":       documentField("extra", func(t *node.DeployTemplate) *node.Document { return &t.Extra }),
		},
	}.with([]column[view[node.DeployTemplate]]{
		{"name", func(t view[node.DeployTemplate]) any { return t.it.Name }},
		{"description", func(t view[node.DeployTemplate]) any { return orNull(t.it.Description) }},
		{"steps", func(t view[node.DeployTemplate]) any { return templateSteps(t.it.Steps, node.MaskedDocument) }},
		{"extra", func(t view[node.DeployTemplate]) any { return document(t.it.Extra) }},
	}...)
}

// templateSteps shows steps; args says how their arguments are shown: masked, or as they are.
func templateSteps(steps []node.PlannedStep, args func(map[string]any) map[string]any) []any {
	out := []any{}
	for _, s := range steps {
		out = append(out, map[string]any{"interface": string(s.Interface), "step": s.Step, "priority": s.Priority, "args": args(s.Args)})
	}
	return out
}

func stepsAsTheyAre(steps []node.PlannedStep) []any {
	return templateSteps(steps, func(args map[string]any) map[string]any { return node.Document(args).Clone() })
}

func setTemplateName(t *node.DeployTemplate, v any) error {
	name, err := payload.Text("name", v, 255)
	if err != nil {
		return err
	}
	if checkTrait(name) != nil {
		return invalid("Deploy template name must be a valid trait, which %q is not: a trait is a standard one such as HW_CPU_X86_VMX, or "+
			"CUSTOM_ followed by A-Z, 0-9 and _.", name)
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

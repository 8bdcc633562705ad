package store

import "github.com/billet-metal/billet/node"

var deployTemplateKind = kind[node.DeployTemplate, node.DeployTemplateFilter]{
	noun: "deploy template", table: "deploy_templates", notFound: node.DeployTemplateNotFound, knownBy: []string{"name"},
	head: func(t *node.DeployTemplate) head {
		return head{&t.ID, &t.UUID, &t.CreatedAt, &t.UpdatedAt, &t.Unreadable, nil}
	},
	fields: []field[node.DeployTemplate]{
		{name: "name", at: func(t *node.DeployTemplate) any { return &t.Name }},
		{name: "description", at: func(t *node.DeployTemplate) any { return &t.Description }},
		{name: "extra", form: asJSON, at: func(t *node.DeployTemplate) any { return &t.Extra }},
		{name: "steps", form: underSeal, at: func(t *node.DeployTemplate) any { return &t.Steps }},
	},
	unique: map[string]func(*node.DeployTemplate) string{
		"deploy_templates_name": func(t *node.DeployTemplate) string {
			return "A deploy template with name " + t.Name + " already exists."
		},
	},
	where: func(q *query, f node.DeployTemplateFilter) { q.oneOf("r.name", f.Names) },
	hurt:  "deploys that need it are refused",
}

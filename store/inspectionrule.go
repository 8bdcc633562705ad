package store

import "github.com/billet-metal/billet/node"

var inspectionRuleKind = kind[node.InspectionRule, node.InspectionRuleFilter]{
	noun: "inspection rule", table: "inspection_rules", notFound: node.InspectionRuleNotFound,
	head: func(r *node.InspectionRule) head {
		return head{&r.ID, &r.UUID, &r.CreatedAt, &r.UpdatedAt, &r.Unreadable, nil}
	},
	fields: []field[node.InspectionRule]{
		{name: "description", at: func(r *node.InspectionRule) any { return &r.Description }},
		{name: "priority", at: func(r *node.InspectionRule) any { return &r.Priority }},
		{name: "phase", at: func(r *node.InspectionRule) any { return &r.Phase }},
		{name: "sensitive", at: func(r *node.InspectionRule) any { return &r.Sensitive }},
		{name: "conditions", form: underSeal, at: func(r *node.InspectionRule) any { return &r.Conditions }},
		{name: "actions", form: underSeal, at: func(r *node.InspectionRule) any { return &r.Actions }},
	},
	unique: map[string]func(*node.InspectionRule) string{
		"inspection_rules_uuid": func(r *node.InspectionRule) string { return "A rule with UUID " + r.UUID + " already exists." },
	},
	where: func(q *query, f node.InspectionRuleFilter) { q.is("r.phase", f.Phase) },
	hurt:  "inspections fail until it is mended",
}

package store

import (
	"context"

	"github.com/billet-metal/billet/node"
)

// Tables are the records of all kinds.
type Tables struct {
	Ports            *Owned[node.Port, node.PortFilter]
	Portgroups       *Owned[node.Portgroup, node.PortgroupFilter]
	VolumeConnectors *Owned[node.VolumeConnector, node.OfNode]
	VolumeTargets    *Owned[node.VolumeTarget, node.OfNode]
	Chassis          *Table[node.Chassis, node.All]
	Allocations      *Allocations
	DeployTemplates  *Table[node.DeployTemplate, node.DeployTemplateFilter]
	InspectionRules  *Table[node.InspectionRule, node.InspectionRuleFilter]

	all []interface {
		unreadable(ctx context.Context) ([]string, error)
	}
}

func (s *Store) openTables() {
	s.Ports = &Owned[node.Port, node.PortFilter]{newTable(s, &portKind)}
	s.Portgroups = &Owned[node.Portgroup, node.PortgroupFilter]{newTable(s, &portgroupKind)}
	s.VolumeConnectors = &Owned[node.VolumeConnector, node.OfNode]{newTable(s, &volumeConnectorKind)}
	s.VolumeTargets = &Owned[node.VolumeTarget, node.OfNode]{newTable(s, &volumeTargetKind)}
	s.Chassis = newTable(s, &chassisKind)
	s.Allocations = &Allocations{newTable(s, &allocationKind)}
	s.DeployTemplates = newTable(s, &deployTemplateKind)
	s.InspectionRules = newTable(s, &inspectionRuleKind)
}

// Kinds that need nothing but their declaration follow.

var chassisKind = kind[node.Chassis, node.All]{
	noun: "chassis", table: "chassis", notFound: node.ChassisNotFound,
	head: func(c *node.Chassis) head {
		return head{&c.ID, &c.UUID, &c.CreatedAt, &c.UpdatedAt, &c.Unreadable, nil}
	},
	fields: []field[node.Chassis]{
		{name: "description", at: func(c *node.Chassis) any { return &c.Description }},
		{name: "extra", form: asJSON, at: func(c *node.Chassis) any { return &c.Extra }},
	},
	needed: needed{by: `SELECT 1 FROM nodes WHERE chassis_uuid = $1`, err: func(uuid string) error {
		return node.Errorf(node.Invalid, "Chassis %s cannot be deleted: it has nodes, which must leave it first.", uuid)
	}},
}

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

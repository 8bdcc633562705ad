package store

import (
	"strings"

	"github.com/billet-metal/billet/node"
)

var portgroupKind = kind[node.Portgroup, node.PortgroupFilter]{
	noun: "portgroup", table: "portgroups", notFound: node.PortgroupNotFound, of: ofNode, knownBy: []string{"name", "address"},
	head: func(g *node.Portgroup) head {
		return head{&g.ID, &g.UUID, &g.CreatedAt, &g.UpdatedAt, &g.Unreadable, &g.NodeUUID}
	},
	fields: []field[node.Portgroup]{
		{name: "name", at: func(g *node.Portgroup) any { return &g.Name }},
		{name: "address", at: func(g *node.Portgroup) any { return &g.Address }},
		{name: "mode", at: func(g *node.Portgroup) any { return &g.Mode }},
		{name: "standalone_ports_supported", at: func(g *node.Portgroup) any { return &g.StandalonePortsSupported }},
		{name: "physical_network", at: func(g *node.Portgroup) any { return &g.PhysicalNetwork }},
		{name: "category", at: func(g *node.Portgroup) any { return &g.Category }},
		{name: "properties", form: asJSON, at: func(g *node.Portgroup) any { return &g.Properties }},
		{name: "extra", form: asJSON, at: func(g *node.Portgroup) any { return &g.Extra }},
		{name: "internal_info", form: asJSON, at: func(g *node.Portgroup) any { return &g.InternalInfo }},
	},
	unique: map[string]func(*node.Portgroup) string{
		"portgroups_address": func(g *node.Portgroup) string {
			return "A portgroup with MAC address " + g.Address + " already exists."
		},
		"portgroups_name": func(g *node.Portgroup) string { return "A portgroup with name " + g.Name + " already exists." },
	},
	where: func(q *query, f node.PortgroupFilter) {
		q.is("n.uuid", strings.ToLower(f.NodeUUID))
		q.is("r.address", strings.ToLower(f.Address))
		q.oneOf("n.shard", f.Shards)
		q.oneOf("n.conductor_group", f.ConductorGroups)
	},
	tidy: func(g *node.Portgroup) { g.Address = strings.ToLower(g.Address) },
}

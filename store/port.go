package store

import (
	"strings"

	"github.com/billet-metal/billet/node"
)

// A MAC address belongs to one port.
var portKind = kind[node.Port, node.PortFilter]{
	noun: "port", table: "ports", notFound: node.PortNotFound, of: ofNode, knownBy: []string{"name", "address"},
	head: func(p *node.Port) head {
		return head{&p.ID, &p.UUID, &p.CreatedAt, &p.UpdatedAt, &p.Unreadable, &p.NodeUUID}
	},
	fields: []field[node.Port]{
		{name: "name", at: func(p *node.Port) any { return &p.Name }},
		{name: "address", at: func(p *node.Port) any { return &p.Address }},
		{name: "pxe_enabled", at: func(p *node.Port) any { return &p.PXEEnabled }},
		{name: "portgroup_uuid", at: func(p *node.Port) any { return &p.PortgroupUUID }},
		{name: "physical_network", at: func(p *node.Port) any { return &p.PhysicalNetwork }},
		{name: "is_smartnic", at: func(p *node.Port) any { return &p.IsSmartNIC }},
		{name: "description", at: func(p *node.Port) any { return &p.Description }},
		{name: "vendor", at: func(p *node.Port) any { return &p.Vendor }},
		{name: "category", at: func(p *node.Port) any { return &p.Category }},
		{name: "local_link_connection", form: asJSON, at: func(p *node.Port) any { return &p.LocalLinkConnection }},
		{name: "extra", form: asJSON, at: func(p *node.Port) any { return &p.Extra }},
		{name: "internal_info", form: asJSON, at: func(p *node.Port) any { return &p.InternalInfo }},
	},
	unique: map[string]func(*node.Port) string{
		"ports_address": func(p *node.Port) string { return "A port with MAC address " + p.Address + " already exists." },
		"ports_name":    func(p *node.Port) string { return "A port with name " + p.Name + " already exists." },
	},
	where: func(q *query, f node.PortFilter) {
		q.is("n.uuid", strings.ToLower(f.NodeUUID))
		q.is("r.address", strings.ToLower(f.Address))
		q.is("r.portgroup_uuid", f.PortgroupUUID)
		if f.DescriptionContains != "" {
			q.and(`LOWER(r.description) LIKE $? ESCAPE '\'`, like(f.DescriptionContains))
		}
		q.oneOf("n.shard", f.Shards)
		q.oneOf("n.conductor_group", f.ConductorGroups)
	},
	tidy: func(p *node.Port) { p.Address = strings.ToLower(p.Address) },
	hurt: "nothing is done with its machine",
}

// isMAC reports whether s is written as six pairs of hex digits with colons.
func isMAC(s string) bool {
	if len(s) != 17 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case i%3 == 2:
			if c != ':' {
				return false
			}
		case c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F':
		default:
			return false
		}
	}
	return true
}

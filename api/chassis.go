package api

import (
	"net/http"

	"github.com/billet-metal/billet/node"
)

// A chassis is a label for nodes of one rack, kept because clients have it. It belongs to no node, so no lease guards it.

type chassisKind = records[node.Chassis, node.All]

func chassis(kept Records[node.Chassis, node.All], nodes *nodes) *chassisKind {
	k := chassisKind{
		name: "chassis", noun: "chassis", path: []string{"chassis"}, kept: kept, named: byUUID, inDetail: true,
		head:  func(c *node.Chassis) head { return head{&c.UUID, c.CreatedAt, c.UpdatedAt, c.Unreadable} },
		short: []string{"uuid", "description", "links"}, unsorted: []string{"extra", "nodes"},
		setters: map[string]func(*node.Chassis, any) error{
			"description": textField("description", 255, func(c *node.Chassis) *string { return &c.Description }),
			"extra":       documentField("extra", func(c *node.Chassis) *node.Document { return &c.Extra }),
		},
	}.with([]column[view[node.Chassis]]{
		{"description", func(v view[node.Chassis]) any { return orNull(v.it.Description) }},
		{"extra", func(v view[node.Chassis]) any { return document(v.it.Extra) }},
		{"nodes", func(v view[node.Chassis]) any { // a list in a list, as Ironic has it
			return []any{v.call.links("chassis", v.it.UUID, "nodes")}
		}},
	}...)
	k.more = nodes.inChassis(k)
	return k
}

// inChassis are the routes of the nodes in a chassis.
func (ns *nodes) inChassis(k *chassisKind) []route {
	return []route{
		{pattern: "GET /v1/chassis/{uuid}/nodes", serve: ns.listChassisNodes(k, false)},
		{pattern: "GET /v1/chassis/{uuid}/nodes/detail", serve: ns.listChassisNodes(k, true)},
	}
}

// listChassisNodes is the list of nodes with a filter; the next page is that list's.
func (ns *nodes) listChassisNodes(of *chassisKind, whole bool) handler {
	return func(w http.ResponseWriter, c *call) error {
		q, fields, err := nodesAsked(c, nil, whole)
		if err != nil {
			return err
		}
		x, err := of.find(c)
		if err != nil {
			return err
		}
		q.Set("chassis_uuid", x.UUID)
		return ns.writeNodes(w, c, q, fields, detailPath(whole)...)
	}
}

package store

import "github.com/billet-metal/billet/node"

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

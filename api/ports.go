package api

import (
	"cmp"
	"context"
	"net/url"

	"github.com/billet-metal/billet/api/payload"
	"github.com/billet-metal/billet/node"
)

// A port is how a booting machine is known. What may be changed of it while its node is busy is the conductor's rule, since it
// holds the lease.

// PortChanger changes ports, each under the lease of its node.
type PortChanger interface {
	CreatePort(ctx context.Context, p node.Port) (node.Port, error)
	UpdatePort(ctx context.Context, uuid string, change func(*node.Port) error) (node.Port, error)
	DeletePort(ctx context.Context, uuid string) error
}

type portKind = records[node.Port, node.PortFilter]

func ports(find finder, kept Records[node.Port, node.PortFilter], changer PortChanger, groups *portgroupKind) *portKind {
	k := portKind{
		name: "port", noun: "port", path: []string{"ports"}, kept: kept, inDetail: true,
		named: naming{"ident", portIdent},
		// A name is too easily another's.
		deleted: naming{"ident", func(c *call) (string, error) { return uuidIn(c.PathValue("ident")) }},
		create:  changer.CreatePort, update: changer.UpdatePort, remove: changer.DeletePort,
		head: func(p *node.Port) head { return head{&p.UUID, p.CreatedAt, p.UpdatedAt, p.Unreadable} }, damage: (*node.Port).Damage,
		short: []string{"uuid", "address", "links"}, required: []string{"address", "node_uuid"},
		needs:    `"address", its MAC address, and "node_uuid", the node it belongs to.`,
		unsorted: []string{"extra", "internal_info", "local_link_connection", "node_uuid"},
		defaults: func() node.Port { return node.Port{PXEEnabled: true} },
		setters: map[string]func(*node.Port, any) error{
			"address":               macField(false, func(p *node.Port) *string { return &p.Address }),
			"node_uuid":             nodeField(func(p *node.Port) *string { return &p.NodeUUID }),
			"name":                  nameField("port", func(p *node.Port) *string { return &p.Name }),
			"portgroup_uuid":        setPortgroup,
			"pxe_enabled":           trueField("pxe_enabled", func(p *node.Port) *bool { return &p.PXEEnabled }),
			"physical_network":      textField("physical_network", 64, func(p *node.Port) *string { return &p.PhysicalNetwork }),
			"is_smartnic":           boolField("is_smartnic", func(p *node.Port) *bool { return &p.IsSmartNIC }),
			"description":           textField("description", 255, func(p *node.Port) *string { return &p.Description }),
			"vendor":                textField("vendor", 32, func(p *node.Port) *string { return &p.Vendor }),
			"category":              textField("category", 80, func(p *node.Port) *string { return &p.Category }),
			"extra":                 documentField("extra", func(p *node.Port) *node.Document { return &p.Extra }),
			"local_link_connection": documentField("local_link_connection", func(p *node.Port) *node.Document { return &p.LocalLinkConnection }),

			"available_for_dynamic_portgroup": setAvailableForGroups,
		},
		filters: []string{"node", "node_uuid", "address", "portgroup", "shard", "description_contains", "conductor_groups"},
		filter:  func(c *call, q url.Values) (node.PortFilter, error) { return portFilter(find, groups, c, q) },
	}
	k.sublists = []sublist[node.PortFilter]{
		{"/v1/nodes/{ident}/ports", func(c *call) (node.PortFilter, []string, error) {
			n, err := find.node(c)
			if err != nil {
				return node.PortFilter{}, nil, err
			}
			return node.PortFilter{NodeUUID: n.UUID}, []string{"nodes", n.UUID, "ports"}, nil
		}},
		{"/v1/portgroups/{ident}/ports", func(c *call) (node.PortFilter, []string, error) {
			g, err := groups.find(c)
			return node.PortFilter{PortgroupUUID: g.UUID}, groups.below(&g, "ports"), err
		}},
	}
	return k.with([]column[view[node.Port]]{
		{"node_uuid", func(p view[node.Port]) any { return p.it.NodeUUID }},
		{"name", func(p view[node.Port]) any { return orNull(p.it.Name) }},
		{"address", func(p view[node.Port]) any { return p.it.Address }},
		{"pxe_enabled", func(p view[node.Port]) any { return p.it.PXEEnabled }},
		{"portgroup_uuid", func(p view[node.Port]) any { return orNull(p.it.PortgroupUUID) }},
		{"physical_network", func(p view[node.Port]) any { return orNull(p.it.PhysicalNetwork) }},
		{"is_smartnic", func(p view[node.Port]) any { return p.it.IsSmartNIC }},
		{"local_link_connection", func(p view[node.Port]) any { return document(p.it.LocalLinkConnection) }},
		{"extra", func(p view[node.Port]) any { return document(p.it.Extra) }},
		{"internal_info", func(p view[node.Port]) any { return node.MaskedDocument(p.it.InternalInfo) }},
		{"description", func(p view[node.Port]) any { return orNull(p.it.Description) }},
		{"vendor", func(p view[node.Port]) any { return orNull(p.it.Vendor) }},
		{"category", func(p view[node.Port]) any { return orNull(p.it.Category) }},
		// Nothing here makes port groups for the time of an instance, so every port stays available for one.
		{"available_for_dynamic_portgroup", func(view[node.Port]) any { return true }},
	}...)
}

func setAvailableForGroups(_ *node.Port, v any) error {
	if b, err := payload.Boolean("available_for_dynamic_portgroup", v); err != nil || v == nil || b {
		return err
	}
	return invalid("available_for_dynamic_portgroup can only be true here: port groups are made by people only.")
}

func setPortgroup(p *node.Port, v any) error {
	s, err := payload.Text("portgroup_uuid", v, 36)
	if err == nil {
		p.PortgroupUUID, err = optionalUUID("portgroup_uuid", s)
	}
	return err
}

// portIdent is what a path calls a port: its UUID, since 1.88 its name too.
func portIdent(c *call) (string, error) {
	ident := c.PathValue("ident")
	if isUUID(ident) || c.version < portNames || !nameForm.MatchString(ident) {
		return uuidIn(ident)
	}
	return ident, nil
}

func portFilter(find finder, groups *portgroupKind, c *call, q url.Values) (f node.PortFilter, err error) {
	f.DescriptionContains = q.Get("description_contains")
	ident := cmp.Or(q.Get("node_uuid"), q.Get("node"))
	by := 0
	for _, s := range []string{ident, q.Get("portgroup"), q.Get("shard")} {
		if s != "" {
			by++
		}
	}
	if by > 1 {
		return f, node.Errorf(node.Forbidden, "Ports can be listed by node, portgroup or shard, by one of them at a time.")
	}
	f.Shards, f.ConductorGroups = shardsIn(q), groupsIn(q)
	if f.Address, err = addressIn(q); err != nil {
		return f, err
	}
	if s := q.Get("portgroup"); s != "" {
		id, err := nodeIdent(c, s)
		if err != nil {
			return f, err
		}
		g, err := groups.kept.Get(c.Context(), id)
		if err != nil {
			return f, err
		}
		f.PortgroupUUID = g.UUID
	}
	if ident == "" {
		return f, nil
	}
	n, err := find.named(c, ident)
	if err != nil {
		return f, err
	}
	f.NodeUUID = n.UUID
	return f, nil
}

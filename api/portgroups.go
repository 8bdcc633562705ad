package api

import (
	"cmp"
	"context"
	"net/url"
	"strings"

	"github.com/billet-metal/billet/api/payload"
	"github.com/billet-metal/billet/node"
)

// A portgroup is a bond that the config drive describes and a virtual interface may take as a whole.

// PortgroupChanger changes portgroups, each under the lease of its node.
type PortgroupChanger interface {
	CreatePortgroup(ctx context.Context, g node.Portgroup) (node.Portgroup, error)
	UpdatePortgroup(ctx context.Context, uuid string, change func(*node.Portgroup) error) (node.Portgroup, error)
	DeletePortgroup(ctx context.Context, uuid string) error
}

type portgroupKind = records[node.Portgroup, node.PortgroupFilter]

func portgroups(find finder, kept Records[node.Portgroup, node.PortgroupFilter], changer PortgroupChanger) *portgroupKind {
	k := portgroupKind{
		name: "portgroup", noun: "portgroup", path: []string{"portgroups"}, kept: kept, named: byName, inDetail: true,
		create: changer.CreatePortgroup, update: changer.UpdatePortgroup, remove: changer.DeletePortgroup,
		head:  func(g *node.Portgroup) head { return head{&g.UUID, g.CreatedAt, g.UpdatedAt, g.Unreadable} },
		short: []string{"uuid", "name", "address", "links"}, required: []string{"node_uuid"},
		unsorted: []string{"properties", "extra", "internal_info", "ports", "node_uuid", "dynamic_portgroup"},
		defaults: func() node.Portgroup {
			return node.Portgroup{Mode: node.DefaultPortgroupMode, StandalonePortsSupported: true}
		},
		setters: map[string]func(*node.Portgroup, any) error{
			"node_uuid":  nodeField(func(g *node.Portgroup) *string { return &g.NodeUUID }),
			"name":       nameField("portgroup", func(g *node.Portgroup) *string { return &g.Name }),
			"address":    macField(true, func(g *node.Portgroup) *string { return &g.Address }),
			"mode":       setMode,
			"properties": documentField("properties", func(g *node.Portgroup) *node.Document { return &g.Properties }),
			"standalone_ports_supported": trueField("standalone_ports_supported", func(g *node.Portgroup) *bool {
				return &g.StandalonePortsSupported
			}),
			"physical_network": textField("physical_network", 64, func(g *node.Portgroup) *string { return &g.PhysicalNetwork }),
			"category":         textField("category", 80, func(g *node.Portgroup) *string { return &g.Category }),
			"extra":            documentField("extra", func(g *node.Portgroup) *node.Document { return &g.Extra }),
		},
		filters: []string{"node", "address", "shard", "conductor_groups"},
		filter:  func(c *call, q url.Values) (node.PortgroupFilter, error) { return portgroupFilter(find, c, q) },
	}
	k.sublists = []sublist[node.PortgroupFilter]{{"/v1/nodes/{ident}/portgroups", func(c *call) (node.PortgroupFilter, []string, error) {
		n, err := find.node(c)
		if err != nil {
			return node.PortgroupFilter{}, nil, err
		}
		return node.PortgroupFilter{NodeUUID: n.UUID}, []string{"nodes", n.UUID, "portgroups"}, nil
	}}}
	return k.with([]column[view[node.Portgroup]]{
		{"name", func(g view[node.Portgroup]) any { return orNull(g.it.Name) }},
		{"node_uuid", func(g view[node.Portgroup]) any { return g.it.NodeUUID }},
		{"address", func(g view[node.Portgroup]) any { return orNull(g.it.Address) }},
		{"mode", func(g view[node.Portgroup]) any { return g.it.Mode }},
		{"properties", func(g view[node.Portgroup]) any { return document(g.it.Properties) }},
		{"standalone_ports_supported", func(g view[node.Portgroup]) any { return g.it.StandalonePortsSupported }},
		{"physical_network", func(g view[node.Portgroup]) any { return orNull(g.it.PhysicalNetwork) }},
		{"category", func(g view[node.Portgroup]) any { return orNull(g.it.Category) }},
		// Those that a network service makes for the time of an instance; here people make all of them.
		{"dynamic_portgroup", func(view[node.Portgroup]) any { return false }},
		{"extra", func(g view[node.Portgroup]) any { return document(g.it.Extra) }},
		{"internal_info", func(g view[node.Portgroup]) any { return node.MaskedDocument(g.it.InternalInfo) }},
		{"ports", func(g view[node.Portgroup]) any { return g.call.links("portgroups", g.it.UUID, "ports") }},
	}...)
}

// setMode takes any mode: which there are is the operating system's affair. None is the default.
func setMode(g *node.Portgroup, v any) error {
	s, err := payload.Text("mode", v, 255)
	g.Mode = cmp.Or(s, node.DefaultPortgroupMode)
	return err
}

func portgroupFilter(find finder, c *call, q url.Values) (f node.PortgroupFilter, err error) {
	f.Shards, f.ConductorGroups = shardsIn(q), groupsIn(q)
	if f.Address, err = addressIn(q); err != nil {
		return f, err
	}
	if q.Get("node") == "" {
		return f, nil
	}
	if len(f.Shards) > 0 {
		return f, invalid("Portgroups can be listed by node or by shard, by one of them at a time.")
	}
	n, err := find.named(c, q.Get("node"))
	if err != nil {
		return f, err
	}
	f.NodeUUID = n.UUID
	return f, nil
}

// shardsIn, groupsIn and addressIn read filters that lists of ports and of portgroups share.
func shardsIn(q url.Values) []string {
	if q.Get("shard") == "" {
		return nil
	}
	return strings.Split(q.Get("shard"), ",")
}

func groupsIn(q url.Values) []string {
	if !q.Has("conductor_groups") {
		return nil
	}
	return strings.Split(strings.ToLower(q.Get("conductor_groups")), ",")
}

func addressIn(q url.Values) (string, error) {
	s := q.Get("address")
	if s == "" {
		return "", nil
	}
	mac, ok := canonicalMAC(s)
	if !ok {
		return "", invalid("Expected a MAC address but received %s.", s)
	}
	return mac, nil
}

package api

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"

	"github.com/billet-metal/billet/node"
)

var portgroups = &records[node.Portgroup]{
	name: "portgroup", noun: "portgroup", path: []string{"portgroups"},
	columns: []column[view[node.Portgroup]]{
		{"uuid", func(g view[node.Portgroup]) any { return g.it.UUID }},
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
		{"created_at", func(g view[node.Portgroup]) any { return stamp(g.it.CreatedAt) }},
		{"updated_at", func(g view[node.Portgroup]) any { return stamp(g.it.UpdatedAt) }},
		{"links", func(g view[node.Portgroup]) any { return g.call.links("portgroups", g.it.UUID) }},
		{"ports", func(g view[node.Portgroup]) any { return g.call.links("portgroups", g.it.UUID, "ports") }},
	},
	short:    []string{"uuid", "name", "address", "links"},
	unsorted: []string{"properties", "extra", "internal_info", "links", "ports", "node_uuid", "dynamic_portgroup"},
	setters: map[string]func(*node.Portgroup, any) error{
		"node_uuid":                  nodeField(func(g *node.Portgroup) *string { return &g.NodeUUID }),
		"name":                       nameField("portgroup", func(g *node.Portgroup) *string { return &g.Name }),
		"address":                    macField(func(g *node.Portgroup) *string { return &g.Address }),
		"mode":                       setMode,
		"properties":                 documentField("properties", func(g *node.Portgroup) *node.Document { return &g.Properties }),
		"standalone_ports_supported": setStandalone,
		"physical_network":           textField("physical_network", 64, func(g *node.Portgroup) *string { return &g.PhysicalNetwork }),
		"category":                   textField("category", 80, func(g *node.Portgroup) *string { return &g.Category }),
		"extra":                      documentField("extra", func(g *node.Portgroup) *node.Document { return &g.Extra }),
	},
	required: []string{"node_uuid"},
	uuid:     func(g *node.Portgroup) *string { return &g.UUID },
	hurt:     func(g *node.Portgroup) node.Unreadable { return g.Unreadable },
	defaults: func() node.Portgroup {
		return node.Portgroup{Mode: node.DefaultPortgroupMode, StandalonePortsSupported: true}
	},
}

// setMode takes any mode: which there are is the operating system's affair. None is the default.
func setMode(g *node.Portgroup, v any) error {
	s, err := text("mode", v, 255)
	g.Mode = cmp.Or(s, node.DefaultPortgroupMode)
	return err
}

func setStandalone(g *node.Portgroup, v any) (err error) {
	if g.StandalonePortsSupported = true; v == nil {
		return nil
	}
	g.StandalonePortsSupported, err = boolean("standalone_ports_supported", v)
	return err
}

var portgroupFilters = []string{"node", "address", "shard", "conductor_groups"}

func (a *API) listPortgroups(whole bool) handler {
	return func(w http.ResponseWriter, c *call) error {
		q, fields, err := portgroups.asked(c, whole, portgroupFilters...)
		if err != nil {
			return err
		}
		f, err := a.portgroupFilter(c, q)
		if err != nil {
			return err
		}
		path := []string{"portgroups"}
		if whole {
			path = append(path, "detail")
		}
		return a.writePortgroups(w, c, q, f, fields, path)
	}
}

func (a *API) listNodePortgroups(whole bool) handler {
	return func(w http.ResponseWriter, c *call) error {
		q, fields, err := portgroups.asked(c, whole)
		if err != nil {
			return err
		}
		n, err := a.node(c)
		if err != nil {
			return err
		}
		path := []string{"nodes", n.UUID, "portgroups"}
		if whole {
			path = append(path, "detail")
		}
		return a.writePortgroups(w, c, q, node.PortgroupFilter{NodeUUID: n.UUID}, fields, path)
	}
}

func (a *API) writePortgroups(w http.ResponseWriter, c *call, q url.Values, f node.PortgroupFilter, fields, path []string) error {
	return portgroups.list(a, w, c, q, fields, path, func(p node.Page) ([]node.Portgroup, error) {
		return a.Portgroups.List(c.Context(), f, p)
	})
}

func (a *API) portgroupFilter(c *call, q url.Values) (f node.PortgroupFilter, err error) {
	if s := q.Get("shard"); s != "" {
		f.Shards = strings.Split(s, ",")
	}
	if q.Has("conductor_groups") {
		f.ConductorGroups = strings.Split(strings.ToLower(q.Get("conductor_groups")), ",")
	}
	if s := q.Get("address"); s != "" {
		mac, ok := canonicalMAC(s)
		if !ok {
			return f, invalid("Expected a MAC address but received %s.", s)
		}
		f.Address = mac
	}
	if q.Get("node") == "" {
		return f, nil
	}
	if len(f.Shards) > 0 {
		return f, invalid("Portgroups can be listed by node or by shard, by one of them at a time.")
	}
	n, err := a.findNode(c, q.Get("node"))
	if err != nil {
		return f, err
	}
	f.NodeUUID = n.UUID
	return f, nil
}

// portgroup finds the portgroup a path names, by UUID or name.
func (a *API) portgroup(c *call) (node.Portgroup, error) {
	ident, err := c.ident()
	if err != nil {
		return node.Portgroup{}, err
	}
	return a.Portgroups.Get(c.Context(), ident)
}

func (a *API) showPortgroup(w http.ResponseWriter, c *call) error {
	return portgroups.show(w, c, func() (node.Portgroup, error) { return a.portgroup(c) })
}

func (a *API) createPortgroup(w http.ResponseWriter, c *call) error {
	g, err := portgroups.read(c)
	if err != nil {
		return err
	}
	if g, err = a.Conductor.CreatePortgroup(c.Context(), g); err != nil {
		return err
	}
	portgroups.created(w, c, g)
	return nil
}

func (a *API) patchPortgroup(w http.ResponseWriter, c *call) error {
	change, err := portgroups.patch(c)
	if err != nil {
		return err
	}
	g, err := a.portgroup(c)
	if err != nil {
		return err
	}
	if g, err = a.Conductor.UpdatePortgroup(c.Context(), g.UUID, change); err != nil {
		return err
	}
	portgroups.answer(w, c, http.StatusOK, g, nil)
	return nil
}

func (a *API) deletePortgroup(w http.ResponseWriter, c *call) error {
	g, err := a.portgroup(c)
	if err != nil {
		return err
	}
	if err := a.Conductor.DeletePortgroup(c.Context(), g.UUID); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *API) listPortgroupPorts(whole bool) handler {
	return func(w http.ResponseWriter, c *call) error {
		q, err := c.query("limit", "marker", "sort_key", "sort_dir", "fields", "detail")
		if err != nil {
			return err
		}
		fields, err := portFields(c, q, portList{whole: whole})
		if err != nil {
			return err
		}
		g, err := a.portgroup(c)
		if err != nil {
			return err
		}
		path := []string{"portgroups", g.UUID, "ports"}
		if whole {
			path = append(path, "detail")
		}
		return a.writePorts(w, c, q, node.PortFilter{PortgroupUUID: g.UUID}, fields, path)
	}
}

func (a *API) portgroupRoutes() []route {
	return []route{
		{pattern: "GET /v1/portgroups", serve: a.listPortgroups(false)},
		{pattern: "GET /v1/portgroups/detail", serve: a.listPortgroups(true)},
		{pattern: "POST /v1/portgroups", serve: a.createPortgroup},
		{pattern: "GET /v1/portgroups/{ident}", serve: a.showPortgroup},
		{pattern: "PATCH /v1/portgroups/{ident}", serve: a.patchPortgroup},
		{pattern: "DELETE /v1/portgroups/{ident}", serve: a.deletePortgroup},
		{pattern: "GET /v1/portgroups/{ident}/ports", serve: a.listPortgroupPorts(false)},
		{pattern: "GET /v1/portgroups/{ident}/ports/detail", serve: a.listPortgroupPorts(true)},
		{pattern: "GET /v1/nodes/{ident}/portgroups", serve: a.listNodePortgroups(false)},
		{pattern: "GET /v1/nodes/{ident}/portgroups/detail", serve: a.listNodePortgroups(true)},
	}
}

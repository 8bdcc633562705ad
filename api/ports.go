package api

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/billet-metal/billet/node"
)

var portFilters = []string{"node", "node_uuid", "address", "portgroup", "shard", "description_contains", "conductor_groups"}

func (a *API) listPorts(w http.ResponseWriter, c *call) error {
	return a.answerPorts(w, c, portFilters, portList{})
}

func (a *API) listPortsInDetail(w http.ResponseWriter, c *call) error {
	return a.answerPorts(w, c, portFilters, portList{whole: true, path: []string{"ports", "detail"}})
}

func (a *API) listNodePorts(w http.ResponseWriter, c *call) error {
	return a.answerPorts(w, c, nil, portList{ofNode: true})
}

func (a *API) listNodePortsInDetail(w http.ResponseWriter, c *call) error {
	return a.answerPorts(w, c, nil, portList{ofNode: true, whole: true})
}

// portList says which of the four lists of ports is asked for.
type portList struct {
	whole  bool     // every field, by path
	ofNode bool     // below a node
	path   []string // of the next link; default ports
}

func (a *API) answerPorts(w http.ResponseWriter, c *call, filters []string, l portList) error {
	q, err := c.query(slices.Concat(paging, filters, []string{"fields", "detail"})...)
	if err != nil {
		return err
	}
	fields, err := portFields(c, q, l)
	if err != nil {
		return err
	}
	f, err := a.portFilter(c, q)
	if err != nil {
		return err
	}
	if l.path == nil {
		l.path = []string{"ports"}
	}
	if l.ofNode {
		n, err := a.node(c)
		if err != nil {
			return err
		}
		f.NodeUUID, l.path = n.UUID, []string{"nodes", n.UUID, "ports"}
	}
	return a.writePorts(w, c, q, f, fields, l.path)
}

// portFields is what a list shows; nil is everything.
func portFields(c *call, q url.Values, l portList) ([]string, error) {
	fields, err := fieldsAsked(c, q, "port", portColumns)
	if err != nil {
		return nil, err
	}
	detail, err := detailAsked(c, q)
	if err != nil {
		return nil, err
	}
	return portPages.shows(fields, detail || l.whole), nil
}

func (a *API) writePorts(w http.ResponseWriter, c *call, q url.Values, f node.PortFilter, fields, path []string) error {
	return portPages.write(a, w, c, q, fields, path, func(p node.Page) ([]node.Port, error) { return a.Ports.List(c.Context(), f, p) })
}

var portPages = list[node.Port]{
	resource: "port", key: "ports", fields: portListFields,
	unsorted: []string{"extra", "internal_info", "local_link_connection", "links", "node_uuid"},
	has:      func(field string) bool { return hasColumn(portColumns, field) },
	uuid:     func(p node.Port) string { return p.UUID },
	json:     portsJSON,
}

func (a *API) portFilter(c *call, q url.Values) (node.PortFilter, error) {
	f := node.PortFilter{DescriptionContains: q.Get("description_contains")}
	for _, key := range portFilters {
		if q.Has(key) {
			if err := c.version.needsFilter("port", key); err != nil {
				return f, err
			}
		}
	}
	ident := cmp.Or(q.Get("node_uuid"), q.Get("node"))
	groups := 0
	for _, s := range []string{ident, q.Get("portgroup"), q.Get("shard")} {
		if s != "" {
			groups++
		}
	}
	if groups > 1 {
		return f, node.Errorf(node.Forbidden, "Ports can be listed by node, portgroup or shard, by one of them at a time.")
	}
	if q.Get("shard") != "" {
		f.Shards = strings.Split(q.Get("shard"), ",")
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
	if s := q.Get("portgroup"); s != "" {
		id, err := nodeIdent(c, s)
		if err != nil {
			return f, err
		}
		g, err := a.Portgroups.Get(c.Context(), id)
		if err != nil {
			return f, err
		}
		f.PortgroupUUID = g.UUID
	}
	if ident == "" {
		return f, nil
	}
	n, err := a.findNode(c, ident)
	if err != nil {
		return f, err
	}
	f.NodeUUID = n.UUID
	return f, nil
}

// port finds the port a path names: by UUID, since 1.88 by name too.
func (a *API) port(c *call) (node.Port, error) {
	ident := c.PathValue("ident")
	if isUUID(ident) {
		return a.Ports.Get(c.Context(), canonicalUUID(ident))
	}
	if c.version < portNames || !nameForm.MatchString(ident) {
		return node.Port{}, invalid("Expected a UUID but received %q.", ident)
	}
	return a.Ports.Get(c.Context(), ident)
}

func (a *API) showPort(w http.ResponseWriter, c *call) error {
	q, err := c.query("fields")
	if err != nil {
		return err
	}
	fields, err := fieldsAsked(c, q, "port", portColumns)
	if err != nil {
		return err
	}
	p, err := a.port(c)
	if err == nil {
		err = p.Damage()
	}
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, portsJSON(c, []node.Port{p}, fields)[0])
	return nil
}

func (a *API) createPort(w http.ResponseWriter, c *call) error {
	body, err := decodeObject(c.body)
	if err != nil {
		return err
	}
	p, err := newPort(c.version, body)
	if err != nil {
		return err
	}
	if _, err := a.Reader.Node(c.Context(), p.NodeUUID); err != nil {
		if node.KindOf(err) == node.NotFound {
			return invalid("Node %s could not be found.", p.NodeUUID)
		}
		return err
	}
	if p, err = a.Conductor.CreatePort(c.Context(), p); err != nil {
		return err
	}
	w.Header().Set("Location", c.href("ports", p.UUID))
	writeJSON(w, http.StatusCreated, portsJSON(c, []node.Port{p}, nil)[0])
	return nil
}

func newPort(v version, body map[string]any) (node.Port, error) {
	p := node.Port{UUID: newUUID(), PXEEnabled: true}
	for _, key := range slices.Sorted(maps.Keys(body)) {
		if key == "uuid" {
			s, _ := body[key].(string)
			if !isUUID(s) {
				return p, invalid("Expected a UUID for uuid but received %v.", body[key])
			}
			p.UUID = canonicalUUID(s)
			continue
		}
		set := portSetters[key]
		if set == nil {
			return p, invalid("A port cannot be created with the field %q. Allowed are: %s, uuid", key, strings.Join(portPatchable, ", "))
		}
		if err := v.needsField("port", key); err != nil {
			return p, err
		}
		if err := set(&p, body[key]); err != nil {
			return p, err
		}
	}
	if p.Address == "" || p.NodeUUID == "" {
		return p, invalid("A port needs \"address\", its MAC address, and \"node_uuid\", the node it belongs to.")
	}
	return p, nil
}

func (a *API) patchPort(w http.ResponseWriter, c *call) error {
	ops, err := decodePatch(c.body, patchRules{
		resource: "port", version: c.version, allowed: portPatchable,
		known: func(f string) bool { return hasColumn(portColumns, f) },
	})
	if err != nil {
		return err
	}
	p, err := a.port(c)
	if err != nil {
		return err
	}
	p, err = a.Conductor.UpdatePort(c.Context(), p.UUID, func(p *node.Port) error { return applyPortPatch(p, ops) })
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, portsJSON(c, []node.Port{p}, nil)[0])
	return nil
}

func applyPortPatch(p *node.Port, ops []patchOp) error {
	fields, form := touched(ops), map[string]any{}
	for _, f := range fields {
		i := slices.IndexFunc(portColumns, func(c portColumn) bool { return c.name == f })
		form[f] = portColumns[i].get(&portView{Port: *p})
	}
	changed, err := applyPatch(form, ops)
	if err != nil {
		return err
	}
	for _, f := range fields {
		if err := portSetters[f](p, changed[f]); err != nil {
			return err
		}
	}
	return nil
}

// deletePort takes a UUID only, unlike the other calls: a name is too easily another's.
func (a *API) deletePort(w http.ResponseWriter, c *call) error {
	ident := c.PathValue("ident")
	if !isUUID(ident) {
		return invalid("Expected a UUID but received %q.", ident)
	}
	if err := a.Conductor.DeletePort(c.Context(), canonicalUUID(ident)); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

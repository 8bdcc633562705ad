package api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/billet-metal/billet/node"
)

// There is no RPC to conductors here. They are shown, read only, because clients and operators look there for what is alive.

// conductorView is a conductor as one request sees it: a host and the hardware types it carries.
type conductorView struct {
	host    string
	drivers []string
	call    *call
}

// No row of the store tells of conductors, so those are shown whom this process knows by the
// hardware types it was started with: they answer, so they are alive, and there is no moment when
// one of them was registered.
var conductorColumns = []column[*conductorView]{
	{"hostname", func(v *conductorView) any { return v.host }},
	{"conductor_group", func(*conductorView) any { return "" }},
	{"alive", func(*conductorView) any { return true }},
	{"drivers", func(v *conductorView) any { return v.drivers }},
	{"created_at", func(*conductorView) any { return nil }},
	{"updated_at", func(*conductorView) any { return nil }},
	{"links", func(v *conductorView) any { return v.call.links("conductors", v.host) }},
}

var conductorListFields = []string{"hostname", "conductor_group", "alive", "links"}

func (sv *services) conductors(c *call) ([]*conductorView, error) {
	types, err := sv.con.Drivers(c.Context())
	if err != nil {
		return nil, err
	}
	hosts := map[string]*conductorView{}
	for _, d := range types {
		for _, h := range sv.hosted(d).Hosts {
			if hosts[h] == nil {
				hosts[h] = &conductorView{host: h, call: c}
			}
			hosts[h].drivers = append(hosts[h].drivers, d.Name)
		}
	}
	views := make([]*conductorView, 0, len(hosts))
	for _, v := range hosts {
		slices.Sort(v.drivers)
		views = append(views, v)
	}
	return views, nil
}

// listConductors takes the arguments of every list; the marker is a host's name.
func (sv *services) listConductors(w http.ResponseWriter, c *call) error {
	q, err := c.query(slices.Concat(paging, []string{"fields", "detail"})...)
	if err != nil {
		return err
	}
	fields, err := conductorFields(c, q)
	if err != nil {
		return err
	}
	p, err := c.page(q, func(key string) error {
		if key != "hostname" {
			return badSortKey(key)
		}
		return nil
	})
	if err != nil {
		return err
	}
	views, err := sv.conductors(c)
	if err != nil {
		return err
	}
	if views, err = pageOfConductors(views, p); err != nil {
		return err
	}
	cols, items := shown(conductorColumns, "conductor", c.version, fields), []map[string]any{}
	for _, v := range views {
		items = append(items, render(cols, v))
	}
	var next any
	if len(views) > 0 {
		next = c.next(q, p, len(views), views[len(views)-1].host, "conductors")
	}
	writeJSON(w, http.StatusOK, collection("conductors", items, next))
	return nil
}

// conductorFields is nil when everything was asked for.
func conductorFields(c *call, q url.Values) ([]string, error) {
	fields, err := fieldsAsked(c, q, "conductor", conductorColumns)
	if err != nil {
		return nil, err
	}
	detail, err := detailAsked(c, q)
	if fields == nil && !detail {
		fields = conductorListFields
	}
	return fields, err
}

func pageOfConductors(views []*conductorView, p node.Page) ([]*conductorView, error) {
	slices.SortFunc(views, func(a, b *conductorView) int {
		if p.SortDesc {
			a, b = b, a
		}
		return strings.Compare(a.host, b.host)
	})
	if p.Marker != "" {
		i := slices.IndexFunc(views, func(v *conductorView) bool { return v.host == p.Marker })
		if i < 0 {
			return nil, conductorNotFound(p.Marker)
		}
		views = views[i+1:]
	}
	return views[:min(len(views), p.Limit)], nil
}

func conductorNotFound(host string) error {
	return node.Errorf(node.NotFound, "Conductor %s could not be found.", host)
}

func (sv *services) showConductor(w http.ResponseWriter, c *call) error {
	q, err := c.query("fields")
	if err != nil {
		return err
	}
	fields, err := fieldsAsked(c, q, "conductor", conductorColumns)
	if err != nil {
		return err
	}
	views, err := sv.conductors(c)
	if err != nil {
		return err
	}
	for _, v := range views {
		if v.host == c.PathValue("name") {
			writeJSON(w, http.StatusOK, render(shown(conductorColumns, "conductor", c.version, fields), v))
			return nil
		}
	}
	return conductorNotFound(c.PathValue("name"))
}

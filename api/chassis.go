package api

import (
	"net/http"
	"slices"

	"github.com/billet-metal/billet/node"
)

var chassis = &records[node.Chassis]{
	name: "chassis", noun: "chassis", path: []string{"chassis"},
	columns: []column[view[node.Chassis]]{
		{"uuid", func(v view[node.Chassis]) any { return v.it.UUID }},
		{"description", func(v view[node.Chassis]) any { return orNull(v.it.Description) }},
		{"extra", func(v view[node.Chassis]) any { return document(v.it.Extra) }},
		{"created_at", func(v view[node.Chassis]) any { return stamp(v.it.CreatedAt) }},
		{"updated_at", func(v view[node.Chassis]) any { return stamp(v.it.UpdatedAt) }},
		{"links", func(v view[node.Chassis]) any { return v.call.links("chassis", v.it.UUID) }},
		{"nodes", func(v view[node.Chassis]) any { // a list in a list, as Ironic has it
			return []any{v.call.links("chassis", v.it.UUID, "nodes")}
		}},
	},
	short:    []string{"uuid", "description", "links"},
	unsorted: []string{"extra", "links", "nodes"},
	setters: map[string]func(*node.Chassis, any) error{
		"description": textField("description", 255, func(c *node.Chassis) *string { return &c.Description }),
		"extra":       documentField("extra", func(c *node.Chassis) *node.Document { return &c.Extra }),
	},
	uuid:     func(c *node.Chassis) *string { return &c.UUID },
	hurt:     func(c *node.Chassis) node.Unreadable { return c.Unreadable },
	defaults: func() node.Chassis { return node.Chassis{} },
}

func (a *API) listChassis(whole bool) handler {
	return func(w http.ResponseWriter, c *call) error {
		q, fields, err := chassis.asked(c, whole)
		if err != nil {
			return err
		}
		path := []string{"chassis"}
		if whole {
			path = append(path, "detail")
		}
		return chassis.list(a, w, c, q, fields, path, func(p node.Page) ([]node.Chassis, error) {
			return a.Chassis.List(c.Context(), node.All{}, p)
		})
	}
}

// chassisNamed finds the chassis a path names; chassis have no names but their UUIDs.
func (a *API) chassisNamed(c *call) (node.Chassis, error) {
	uuid, err := c.pathUUID()
	if err != nil {
		return node.Chassis{}, err
	}
	return a.Chassis.Get(c.Context(), uuid)
}

func (a *API) showChassis(w http.ResponseWriter, c *call) error {
	return chassis.show(w, c, func() (node.Chassis, error) { return a.chassisNamed(c) })
}

func (a *API) createChassis(w http.ResponseWriter, c *call) error {
	x, err := chassis.read(c)
	if err != nil {
		return err
	}
	if err := a.Chassis.Create(c.Context(), &x); err != nil {
		return err
	}
	chassis.created(w, c, x)
	return nil
}

func (a *API) patchChassis(w http.ResponseWriter, c *call) error {
	change, err := chassis.patch(c)
	if err != nil {
		return err
	}
	x, err := a.chassisNamed(c)
	if err != nil {
		return err
	}
	if err := change(&x); err != nil {
		return err
	}
	if err := a.Chassis.Save(c.Context(), &x); err != nil {
		return err
	}
	chassis.answer(w, c, http.StatusOK, x, nil)
	return nil
}

// listChassisNodes is the list of nodes with a filter; the next page is that list's.
func (a *API) listChassisNodes(whole bool) handler {
	return func(w http.ResponseWriter, c *call) error {
		allowed := slices.Concat(paging, []string{"fields", "detail"})
		if whole {
			allowed = paging
		}
		q, err := c.query(allowed...)
		if err != nil {
			return err
		}
		fields, err := fieldsAsked(c, q, "node", nodeColumns)
		if err != nil {
			return err
		}
		detail, err := detailAsked(c, q)
		if err != nil {
			return err
		}
		x, err := a.chassisNamed(c)
		if err != nil {
			return err
		}
		q.Set("chassis_uuid", x.UUID)
		if whole {
			return a.writeNodes(w, c, q, nil, "detail")
		}
		if fields == nil && !detail {
			fields = nodeListFields
		}
		return a.writeNodes(w, c, q, fields)
	}
}

func (a *API) chassisRoutes() []route {
	return []route{
		{pattern: "GET /v1/chassis", serve: a.listChassis(false)},
		{pattern: "GET /v1/chassis/detail", serve: a.listChassis(true)},
		{pattern: "POST /v1/chassis", serve: a.createChassis},
		{pattern: "GET /v1/chassis/{uuid}", serve: a.showChassis},
		{pattern: "PATCH /v1/chassis/{uuid}", serve: a.patchChassis},
		{pattern: "DELETE /v1/chassis/{uuid}", serve: deleteByUUID(func(c *call, uuid string) error {
			return a.Chassis.Delete(c.Context(), uuid)
		})},
		{pattern: "GET /v1/chassis/{uuid}/nodes", serve: a.listChassisNodes(false)},
		{pattern: "GET /v1/chassis/{uuid}/nodes/detail", serve: a.listChassisNodes(true)},
	}
}

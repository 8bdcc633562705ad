package api

import (
	"net/http"
	"slices"

	"github.com/billet-metal/billet/node"
)

var allocations = &records[node.Allocation]{
	name: "allocation", noun: "allocation", path: []string{"allocations"},
	columns: []column[view[node.Allocation]]{
		{"uuid", func(a view[node.Allocation]) any { return a.it.UUID }},
		{"name", func(a view[node.Allocation]) any { return orNull(a.it.Name) }},
		{"node_uuid", func(a view[node.Allocation]) any { return orNull(a.it.NodeUUID) }},
		{"state", func(a view[node.Allocation]) any { return a.it.State }},
		{"last_error", func(a view[node.Allocation]) any { return orNull(a.it.LastError) }},
		{"resource_class", func(a view[node.Allocation]) any { return orNull(a.it.ResourceClass) }},
		{"traits", func(a view[node.Allocation]) any { return notNull(a.it.Traits) }},
		{"candidate_nodes", func(a view[node.Allocation]) any { return notNull(a.it.CandidateNodes) }},
		{"owner", func(a view[node.Allocation]) any { return orNull(a.it.Owner) }},
		{"extra", func(a view[node.Allocation]) any { return document(a.it.Extra) }},
		{"created_at", func(a view[node.Allocation]) any { return stamp(a.it.CreatedAt) }},
		{"updated_at", func(a view[node.Allocation]) any { return stamp(a.it.UpdatedAt) }},
		{"links", func(a view[node.Allocation]) any { return a.call.links("allocations", a.it.UUID) }},
	},
	unsorted: []string{"traits", "candidate_nodes", "extra", "links", "node_uuid"},
	setters: map[string]func(*node.Allocation, any) error{
		"name":            nameField("allocation", func(a *node.Allocation) *string { return &a.Name }),
		"extra":           documentField("extra", func(a *node.Allocation) *node.Document { return &a.Extra }),
		"resource_class":  textField("resource_class", 80, func(a *node.Allocation) *string { return &a.ResourceClass }),
		"owner":           textField("owner", 255, func(a *node.Allocation) *string { return &a.Owner }),
		"node":            textField("node", 255, func(a *node.Allocation) *string { return &a.NodeUUID }),
		"traits":          setAllocationTraits,
		"candidate_nodes": setCandidates,
	},
	once:     []string{"resource_class", "owner", "node", "traits", "candidate_nodes"},
	uuid:     func(a *node.Allocation) *string { return &a.UUID },
	hurt:     func(a *node.Allocation) node.Unreadable { return a.Unreadable },
	defaults: func() node.Allocation { return node.Allocation{} },
}

// notNull shows a list that may be nil.
func notNull(list []string) []string { return append([]string{}, list...) }

func setAllocationTraits(a *node.Allocation, v any) (err error) {
	if a.Traits, err = texts("traits", v); err != nil {
		return err
	}
	for _, t := range a.Traits {
		if err := checkTrait(t); err != nil {
			return err
		}
	}
	return nil
}

func setCandidates(a *node.Allocation, v any) (err error) {
	a.CandidateNodes, err = texts("candidate_nodes", v)
	for i, ident := range a.CandidateNodes {
		switch {
		case isUUID(ident):
			a.CandidateNodes[i] = canonicalUUID(ident)
		case !nameForm.MatchString(ident):
			return invalid("Expected a logical name or UUID in candidate_nodes but received %q.", ident)
		}
	}
	return err
}

// texts reads a list of strings, each once; null is an empty one.
func texts(key string, v any) ([]string, error) {
	list, ok := v.([]any)
	if v != nil && !ok {
		return nil, invalid("Field %s must be a list, not %s.", key, kindOf(v))
	}
	var out []string
	for _, e := range list {
		s, ok := e.(string)
		if !ok {
			return nil, invalid("Field %s must be a list of strings; one of it is %s.", key, kindOf(e))
		}
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out, nil
}

func (a *API) listAllocations(w http.ResponseWriter, c *call) error {
	q, fields, err := allocations.asked(c, true, "node", "resource_class", "state", "owner")
	if err != nil {
		return err
	}
	f := node.AllocationFilter{ResourceClass: q.Get("resource_class"), State: q.Get("state"), Owner: q.Get("owner")}
	if s := q.Get("node"); s != "" {
		n, err := a.findNode(c, s)
		if err != nil {
			return err
		}
		f.NodeUUID = n.UUID
	}
	return allocations.list(a, w, c, q, fields, allocations.path, func(p node.Page) ([]node.Allocation, error) {
		return a.Allocations.List(c.Context(), f, p)
	})
}

// allocation finds the allocation a path names, by UUID or name.
func (a *API) allocation(c *call) (node.Allocation, error) {
	ident, err := c.ident()
	if err != nil {
		return node.Allocation{}, err
	}
	return a.Allocations.Get(c.Context(), ident)
}

// allocationOfNode finds the allocation of the node a path names.
func (a *API) allocationOfNode(c *call) (node.Allocation, error) {
	n, err := a.node(c)
	if err != nil {
		return node.Allocation{}, err
	}
	if n.AllocationUUID == "" {
		return node.Allocation{}, node.Errorf(node.NotFound, "Node %s has no allocation.", n.UUID)
	}
	return a.Allocations.Get(c.Context(), n.AllocationUUID)
}

// showAllocation and deleteAllocation work on what find finds.
func showAllocation(find func(c *call) (node.Allocation, error)) handler {
	return func(w http.ResponseWriter, c *call) error {
		return allocations.show(w, c, func() (node.Allocation, error) { return find(c) })
	}
}

func (a *API) deleteAllocation(find func(c *call) (node.Allocation, error)) handler {
	return func(w http.ResponseWriter, c *call) error {
		x, err := find(c)
		if err != nil {
			return err
		}
		if err := a.Conductor.DeleteAllocation(c.Context(), x.UUID); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
}

func (a *API) createAllocation(w http.ResponseWriter, c *call) error {
	body, err := decodeObject(c.body)
	if err != nil {
		return err
	}
	x, err := allocations.read(c)
	if err != nil {
		return err
	}
	switch {
	case x.NodeUUID == "" && x.ResourceClass == "":
		return invalid("An allocation needs \"resource_class\", the class of node that is wanted, or \"node\", the active node that it is the record of.")
	case x.NodeUUID != "" && len(x.CandidateNodes) > 0:
		return invalid("An allocation is of one \"node\", or of one of \"candidate_nodes\": give only one of them.")
	}
	if x.NodeUUID != "" {
		n, err := a.findNode(c, x.NodeUUID)
		if node.KindOf(err) == node.NotFound {
			err = invalid("Node %s could not be found.", x.NodeUUID)
		}
		if err != nil {
			return err
		}
		if x.NodeUUID = n.UUID; body["uuid"] == nil {
			x.UUID = n.InstanceUUID // what the instance is known by
		}
	}
	if x, err = a.Conductor.CreateAllocation(c.Context(), x); err != nil {
		return err
	}
	allocations.created(w, c, x)
	return nil
}

func (a *API) patchAllocation(w http.ResponseWriter, c *call) error {
	if c.version < allocationsChange {
		return aborted(http.StatusMethodNotAllowed, "")
	}
	change, err := allocations.patch(c)
	if err != nil {
		return err
	}
	x, err := a.allocation(c)
	if err != nil {
		return err
	}
	if x, err = a.Conductor.UpdateAllocation(c.Context(), x.UUID, change); err != nil {
		return err
	}
	allocations.answer(w, c, http.StatusOK, x, nil)
	return nil
}

func (a *API) allocationRoutes() []route {
	return []route{
		{pattern: "GET /v1/allocations", serve: a.listAllocations},
		{pattern: "POST /v1/allocations", serve: a.createAllocation, oldWrite: true},
		{pattern: "GET /v1/allocations/{ident}", serve: showAllocation(a.allocation)},
		{pattern: "PATCH /v1/allocations/{ident}", serve: a.patchAllocation, oldWrite: true},
		{pattern: "DELETE /v1/allocations/{ident}", serve: a.deleteAllocation(a.allocation), oldWrite: true},
		{pattern: "GET /v1/nodes/{ident}/allocation", serve: showAllocation(a.allocationOfNode)},
		{pattern: "DELETE /v1/nodes/{ident}/allocation", serve: a.deleteAllocation(a.allocationOfNode), oldWrite: true},
	}
}

package api

import (
	"context"
	"net/url"
	"slices"

	"github.com/billet-metal/billet/api/payload"
	"github.com/billet-metal/billet/node"
)

// An allocation is how a client without a scheduler asks for any node that fits. The conductor chooses, because two requests
// must never get one node; this file only knows what clients may write.

// AllocationChanger makes allocations, which finds nodes for them, and changes and ends them.
type AllocationChanger interface {
	// CreateAllocation finds a node, or says in the allocation why there is none.
	CreateAllocation(ctx context.Context, a node.Allocation) (node.Allocation, error)
	UpdateAllocation(ctx context.Context, uuid string, change func(*node.Allocation) error) (node.Allocation, error)
	DeleteAllocation(ctx context.Context, uuid string) error
}

type allocationKind = records[node.Allocation, node.AllocationFilter]

func allocations(find finder, kept Records[node.Allocation, node.AllocationFilter], changer AllocationChanger) *allocationKind {
	k := allocationKind{
		name: "allocation", noun: "allocation", path: []string{"allocations"}, kept: kept, named: byName,
		changes: allocationsChange, oldWrite: true,
		create: changer.CreateAllocation, update: changer.UpdateAllocation, remove: changer.DeleteAllocation,
		head:     func(a *node.Allocation) head { return head{&a.UUID, a.CreatedAt, a.UpdatedAt, a.Unreadable} },
		unsorted: []string{"traits", "candidate_nodes", "extra", "node_uuid"},
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
		complete: func(c *call, a *node.Allocation, body map[string]any) error { return askedFor(find, c, a, body) },
		filters:  []string{"node", "resource_class", "state", "owner"},
		filter: func(c *call, q url.Values) (node.AllocationFilter, error) {
			of, err := find.ofNode(c, q)
			f := node.AllocationFilter{NodeUUID: of.UUID, ResourceClass: q.Get("resource_class"), State: q.Get("state"), Owner: q.Get("owner")}
			return f, err
		},
	}.with([]column[view[node.Allocation]]{
		{"name", func(a view[node.Allocation]) any { return orNull(a.it.Name) }},
		{"node_uuid", func(a view[node.Allocation]) any { return orNull(a.it.NodeUUID) }},
		{"state", func(a view[node.Allocation]) any { return a.it.State }},
		{"last_error", func(a view[node.Allocation]) any { return orNull(a.it.LastError) }},
		{"resource_class", func(a view[node.Allocation]) any { return orNull(a.it.ResourceClass) }},
		{"traits", func(a view[node.Allocation]) any { return notNull(a.it.Traits) }},
		{"candidate_nodes", func(a view[node.Allocation]) any { return notNull(a.it.CandidateNodes) }},
		{"owner", func(a view[node.Allocation]) any { return orNull(a.it.Owner) }},
		{"extra", func(a view[node.Allocation]) any { return document(a.it.Extra) }},
	}...)
	k.more = ofTheNode(find, k)
	return k
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
		return nil, invalid("Field %s must be a list, not %s.", key, payload.KindOf(v))
	}
	var out []string
	for _, e := range list {
		s, ok := e.(string)
		if !ok {
			return nil, invalid("Field %s must be a list of strings; one of it is %s.", key, payload.KindOf(e))
		}
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out, nil
}

// askedFor checks what a new allocation asks for: a node of a class, or to be the record of an instance that is on a node.
func askedFor(find finder, c *call, a *node.Allocation, body map[string]any) error {
	switch {
	case a.NodeUUID == "" && a.ResourceClass == "":
		return invalid("An allocation needs \"resource_class\", the class of node that is wanted, " +
			"or \"node\", the active node that it is the record of.")
	case a.NodeUUID != "" && len(a.CandidateNodes) > 0:
		return invalid("An allocation is of one \"node\", or of one of \"candidate_nodes\": give only one of them.")
	case a.NodeUUID == "":
		return nil
	}
	n, err := find.named(c, a.NodeUUID)
	if node.KindOf(err) == node.NotFound {
		err = invalid("Node %s could not be found.", a.NodeUUID)
	}
	if err != nil {
		return err
	}
	if a.NodeUUID = n.UUID; body["uuid"] == nil {
		a.UUID = n.InstanceUUID // what the instance is known by
	}
	return nil
}

// ofTheNode are the routes of the allocation of the node a path names.
func ofTheNode(find finder, k *allocationKind) []route {
	uuid := func(c *call) (string, error) {
		n, err := find.node(c)
		if err == nil && n.AllocationUUID == "" {
			err = node.Errorf(node.NotFound, "Node %s has no allocation.", n.UUID)
		}
		if err != nil {
			return "", err
		}
		return n.AllocationUUID, nil
	}
	of := func(c *call) (a node.Allocation, err error) {
		id, err := uuid(c)
		if err != nil {
			return a, err
		}
		return k.kept.Get(c.Context(), id)
	}
	return []route{
		{pattern: "GET /v1/nodes/{ident}/allocation", serve: k.show(of)},
		{pattern: "DELETE /v1/nodes/{ident}/allocation", serve: k.del(uuid), oldWrite: true},
	}
}

package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/billet-metal/billet/node"
)

// allocationState is the state that people see: with a node it is active, and one that had a node and lost it is in error.
const allocationState = `CASE WHEN n.uuid IS NOT NULL THEN 'active' WHEN r.state = 'active' THEN 'error' ELSE r.state END`

// Neither Create nor Save gives an allocation a node: the node's row says whose it is.
var allocationKind = kind[node.Allocation, node.AllocationFilter]{
	noun: "allocation", table: "allocations", notFound: node.AllocationNotFound, knownBy: []string{"name"}, saved: []string{"name", "extra"},
	of: owner{
		uuid: "COALESCE(n.uuid, '')",
		join: " LEFT JOIN nodes n ON n.instance_uuid = r.uuid AND n.instance_uuid <> '' AND n.allocation_uuid = r.uuid",
	},
	head: func(a *node.Allocation) head {
		return head{&a.ID, &a.UUID, &a.CreatedAt, &a.UpdatedAt, &a.Unreadable, &a.NodeUUID}
	},
	fields: []field[node.Allocation]{
		{name: "name", at: func(a *node.Allocation) any { return &a.Name }},
		{name: "state", at: func(a *node.Allocation) any { return &a.State }, expr: allocationState},
		{name: "last_error", at: func(a *node.Allocation) any { return &a.LastError }},
		{name: "resource_class", at: func(a *node.Allocation) any { return &a.ResourceClass }},
		{name: "owner", at: func(a *node.Allocation) any { return &a.Owner }},
		{name: "traits", form: asJSON, at: func(a *node.Allocation) any { return &a.Traits }},
		{name: "candidate_nodes", form: asJSON, at: func(a *node.Allocation) any { return &a.CandidateNodes }},
		{name: "extra", form: asJSON, at: func(a *node.Allocation) any { return &a.Extra }},
	},
	unique: map[string]func(*node.Allocation) string{
		"allocations_name": func(a *node.Allocation) string { return "An allocation with name " + a.Name + " already exists." },
	},
	where: func(q *query, f node.AllocationFilter) {
		q.is("n.uuid", strings.ToLower(f.NodeUUID))
		q.is("r.resource_class", f.ResourceClass)
		q.is("("+allocationState+")", f.State)
		q.is("r.owner", f.Owner)
		if !f.Before.IsZero() {
			q.and("r.updated_at < $?", f.Before)
		}
	},
	complete: func(a *node.Allocation) {
		if a.State == node.AllocationError && a.LastError == "" {
			a.LastError = "The node of this allocation was taken from it, or the service stopped while it was being deleted."
		}
	},
	hurt: "it gets no node",
}

// Allocations is the table of allocations.
type Allocations struct {
	*Table[node.Allocation, node.AllocationFilter]
}

// End writes how the search for a node has ended, and returns whether the allocation is there still.
func (t Allocations) End(ctx context.Context, uuid, state, lastError string) (bool, error) {
	const query = `UPDATE allocations SET state = $1, last_error = $2, updated_at = $3 WHERE uuid = $4`
	there, err := changedOne(ctx, t.write, query, state, lastError, node.Now(), strings.ToLower(uuid))
	if err != nil {
		err = fmt.Errorf("end allocation %s: %w", uuid, err)
	}
	return there, err
}

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/billet-metal/billet/node"
)

var allocationColumns = []string{
	"uuid", "created_at", "updated_at", "name", "state", "last_error", "resource_class", "owner", "traits", "candidate_nodes", "extra",
}

func allocationFields(a *node.Allocation) []any {
	return forgive(allocationColumns, []any{
		&a.UUID, micros{&a.CreatedAt}, micros{&a.UpdatedAt}, &a.Name, &a.State, &a.LastError, &a.ResourceClass, &a.Owner,
		document{&a.Traits}, document{&a.CandidateNodes}, document{&a.Extra},
	}, &a.Unreadable)
}

var allocationListing = listing{table: "allocations", alias: "p", notFound: node.AllocationNotFound, sortKeys: sortKeysOf(allocationColumns[:8])}

// allocationState is the state that people see: with a node it is active, and one that had a node and lost it is in error.
const allocationState = `CASE WHEN n.uuid IS NOT NULL THEN 'active' WHEN p.state = 'active' THEN 'error' ELSE p.state END`

var allocationSelect = strings.Replace("SELECT p.id, COALESCE(n.uuid, ''), p."+strings.Join(allocationColumns, ", p."), "p.state", allocationState, 1) +
	" FROM allocations p LEFT JOIN nodes n ON n.instance_uuid = p.uuid AND n.instance_uuid <> '' AND n.allocation_uuid = p.uuid"

func (s *Store) scanAllocation(r scanner) (node.Allocation, error) {
	a := node.Allocation{Extra: node.Document{}}
	err := r.Scan(append([]any{&a.ID, &a.NodeUUID}, allocationFields(&a)...)...)
	s.tellDamage("a value of an allocation cannot be read; it gets no node", "allocation", a.UUID, a.Unreadable)
	if a.State == node.AllocationError && a.LastError == "" {
		a.LastError = "The node of this allocation was taken from it, or the service stopped while it was being deleted."
	}
	return a, err
}

// CreateAllocation adds a and fills its ID, CreatedAt and UpdatedAt, and UUID when it is empty. It gives it no node.
func (s *Store) CreateAllocation(ctx context.Context, a *node.Allocation) error {
	if err := fresh(&a.UUID, &a.CreatedAt, &a.UpdatedAt); err != nil {
		return err
	}
	return s.tx(ctx, func(tx *sql.Tx) error {
		err := row(ctx, tx, insertSQL("allocations", allocationColumns)+" RETURNING id", allocationFields(a)...).Scan(&a.ID)
		return allocationConflict(a, err)
	})
}

// Allocation returns an allocation by UUID or name.
func (s *Store) Allocation(ctx context.Context, ident string) (node.Allocation, error) {
	cond, arg := named("p.", ident)
	a, err := s.scanAllocation(row(ctx, s.read, allocationSelect+" WHERE "+cond, arg))
	if errors.Is(err, sql.ErrNoRows) {
		return node.Allocation{}, node.AllocationNotFound(ident)
	}
	if err != nil {
		return node.Allocation{}, fmt.Errorf("read allocation %s: %w", ident, err)
	}
	return a, nil
}

// Allocations lists allocations.
func (s *Store) Allocations(ctx context.Context, f node.AllocationFilter, p node.Page) ([]node.Allocation, error) {
	q := &query{}
	for column, value := range map[string]string{
		"n.uuid": strings.ToLower(f.NodeUUID), "p.resource_class": f.ResourceClass, "(" + allocationState + ")": f.State, "p.owner": f.Owner,
	} {
		if value != "" {
			q.and(column+" = $?", value)
		}
	}
	if !f.Before.IsZero() {
		q.and("p.updated_at < $?", f.Before)
	}
	tail, err := s.page(ctx, allocationListing, q, p)
	if err != nil {
		return nil, err
	}
	return collectAll(ctx, s.read, "allocations", allocationSelect+tail, q.args, s.scanAllocation)
}

// SaveAllocation writes the name and extra of a, and sets its UpdatedAt.
func (s *Store) SaveAllocation(ctx context.Context, a *node.Allocation) error {
	a.UpdatedAt = node.Now()
	columns := []string{"name", "updated_at", "extra"}
	columns, values := written(columns, forgive(columns, []any{a.Name, a.UpdatedAt, document{&a.Extra}}, &a.Unreadable))
	query := updateSQL("allocations", columns) + fmt.Sprintf(" WHERE uuid = $%d", len(columns)+1)
	saved, err := changedOne(ctx, s.write, query, append(values, strings.ToLower(a.UUID))...)
	if err == nil && saved {
		mended(values)
	}
	if err == nil && !saved {
		return node.AllocationNotFound(a.UUID)
	}
	return allocationConflict(a, err)
}

// EndAllocation writes how the search for a node has ended, and returns whether the allocation is there still.
func (s *Store) EndAllocation(ctx context.Context, uuid, state, lastError string) (bool, error) {
	const query = `UPDATE allocations SET state = $1, last_error = $2, updated_at = $3 WHERE uuid = $4`
	there, err := changedOne(ctx, s.write, query, state, lastError, node.Now(), strings.ToLower(uuid))
	if err != nil {
		err = fmt.Errorf("end allocation %s: %w", uuid, err)
	}
	return there, err
}

// DeleteAllocation removes an allocation. Its node is not touched.
func (s *Store) DeleteAllocation(ctx context.Context, uuid string) error {
	return s.deleteByUUID(ctx, "allocations", "allocation", uuid, node.AllocationNotFound)
}

func allocationConflict(a *node.Allocation, err error) error {
	switch duplicate(err) {
	case "allocations_uuid":
		return node.Errorf(node.Conflict, "An allocation with UUID %s already exists.", a.UUID)
	case "allocations_name":
		return node.Errorf(node.Conflict, "An allocation with name %s already exists.", a.Name)
	}
	if err != nil {
		return fmt.Errorf("save allocation %s: %w", a.UUID, err)
	}
	return nil
}

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/billet-metal/billet/node"
)

// Reserve grants the node's lease to holder for ttl and returns the node as it is now. It is
// granted when nobody holds it or its time is over, and never to the same holder twice: two
// workers of one process are as far apart as two machines. Held by another it is node.Locked.
//
// Lease ends are this process's clock: machines that share a database keep their clocks closer
// than ttl. Fencing does not depend on it.
func (s *Store) Reserve(ctx context.Context, ident, holder string, ttl time.Duration) (*node.Node, error) {
	if holder == "" || ttl <= 0 {
		return nil, fmt.Errorf("reserve node %s: a lease needs a holder and a time, got %q and %s", ident, holder, ttl)
	}
	cond, arg := named("", ident)
	query := `UPDATE nodes SET lease_holder = $2, lease_token = lease_token + 1, lease_until = $3
		WHERE ` + cond + ` AND (lease_holder = '' OR lease_until <= $4)`
	var n *node.Node
	err := s.tx(ctx, func(tx *sql.Tx) error {
		now := node.Now()
		granted, err := changedOne(ctx, tx, query, arg, holder, now.Add(ttl), now)
		if err != nil {
			return fmt.Errorf("reserve node %s: %w", ident, err)
		}
		if n, err = s.nodeIn(ctx, tx, ident); err != nil {
			return err
		}
		if !granted {
			return node.Locked(n)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return n, nil
}

// DropLeases lets go of every lease of holder, whose process is known to be gone. The tokens
// stay, and a write that was still on its way fails: the holder no longer matches.
func (s *Store) DropLeases(ctx context.Context, holder string) error {
	if holder == "" {
		return nil
	}
	res, err := exec(ctx, s.write, `UPDATE nodes SET lease_holder = '', lease_until = 0 WHERE lease_holder = $1 AND lease_holder <> ''`,
		holder)
	if err != nil {
		return fmt.Errorf("drop the leases of %s: %w", holder, err)
	}
	if n, err := res.RowsAffected(); err == nil && n > 0 {
		s.log.Info("dropped leases of an earlier run", "host", holder, "count", n)
	}
	return nil
}

// The guard of every write under the lease: nobody was granted it since. A lease whose time is
// over but which nobody took still writes.
const leaseGuard = ` WHERE uuid = $%d AND lease_token = $%d AND lease_holder = $%d AND lease_holder <> ''`

func guarded(query string, args []any, n *node.Node) (string, []any) {
	from := len(args) + 1
	return query + fmt.Sprintf(leaseGuard, from, from+1, from+2), append(args, n.UUID, n.Lease.Token, n.Lease.Holder)
}

// Renew moves the lease's end to ttl from now, in the store and in n.Lease.Until; it touches
// nothing else of n, and Save does not read Until, so both may run side by side.
func (s *Store) Renew(ctx context.Context, n *node.Node, ttl time.Duration) error {
	until := node.Now().Add(ttl).Truncate(time.Microsecond)
	query, args := guarded(`UPDATE nodes SET lease_until = $1`, []any{until}, n)
	renewed, err := changedOne(ctx, s.write, query, args...)
	if err != nil {
		return fmt.Errorf("renew the lease of node %s: %w", n.UUID, err)
	}
	if !renewed {
		return node.ErrLeaseLost
	}
	n.Lease.Until = until
	return nil
}

// Save writes the whole node under its lease, but for its agent and its lease, and sets
// n.UpdatedAt.
func (s *Store) Save(ctx context.Context, n *node.Node) error {
	return s.save(ctx, n, "")
}

// Release saves n and lets go of its lease in one transaction. The token stays, so that the next
// one is larger.
func (s *Store) Release(ctx context.Context, n *node.Node) error {
	if err := s.save(ctx, n, ", lease_holder = '', lease_until = 0"); err != nil {
		return err
	}
	n.Lease = node.Lease{Token: n.Lease.Token}
	return nil
}

func (s *Store) save(ctx context.Context, n *node.Node, alsoSet string) error {
	before := n.UpdatedAt
	n.UpdatedAt = node.Now()
	err := s.tx(ctx, func(tx *sql.Tx) error { return s.saveIn(ctx, tx, n, alsoSet) })
	if err != nil {
		n.UpdatedAt = before
		return err
	}
	if len(n.Unreadable) > 0 {
		s.forgetDamage(n)
	}
	return nil
}

// forgetDamage takes what has a value again, and is saved, off the list of what is unreadable.
func (s *Store) forgetDamage(n *node.Node) {
	columns := s.documentColumns()
	_, saved := written(names(columns), fields(columns, n))
	mended(saved)
	if n.ConfigDrive != "" {
		delete(n.Unreadable, "config_drive")
	}
}

func (s *Store) saveIn(ctx context.Context, tx *sql.Tx, n *node.Node, alsoSet string) error {
	hot := hotColumns[fixedColumns:]
	query := updateSQL("nodes", append(names(hot), planColumns...)) + alsoSet
	query, args := guarded(query, append(fields(hot, n), planValues(n)...), n)
	err := queryRow(ctx, tx, query+" RETURNING id", args...).Scan(&n.ID)
	if errors.Is(err, sql.ErrNoRows) {
		return node.ErrLeaseLost
	}
	if err != nil {
		return nodeConflict(n, fmt.Errorf("save node %s: %w", n.UUID, err))
	}
	columns := s.documentColumns()
	documents, values := written(names(columns), fields(columns, n))
	query = updateSQL("node_documents", documents) + fmt.Sprintf(" WHERE node_id = $%d", len(documents)+1)
	if _, err := exec(ctx, tx, query, append(values, n.ID)...); err != nil {
		return fmt.Errorf("save node %s: %w", n.UUID, err)
	}
	return s.saveConfigDrive(ctx, tx, n)
}

// saveConfigDrive writes the config drive only when it changed: it may be megabytes, and a node
// is saved at every step.
func (s *Store) saveConfigDrive(ctx context.Context, tx *sql.Tx, n *node.Node) error {
	drive := s.configDrive(n)
	if n.ConfigDrive == "" {
		if _, hurt := n.Unreadable["config_drive"]; hurt {
			return nil
		}
		_, err := exec(ctx, tx, `DELETE FROM config_drives WHERE node_id = $1`, n.ID)
		return err
	}
	digest := s.seal.Digest([]byte(n.ConfigDrive), drive.place())
	var same int
	err := queryRow(ctx, tx, `SELECT 1 FROM config_drives WHERE node_id = $1 AND digest = $2`, n.ID, digest).Scan(&same)
	if !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	const query = `INSERT INTO config_drives (node_id, digest, config_drive) VALUES ($1, $2, $3)
		ON CONFLICT (node_id) DO UPDATE SET digest = excluded.digest, config_drive = excluded.config_drive`
	if _, err := exec(ctx, tx, query, n.ID, digest, drive); err != nil {
		return fmt.Errorf("save the config drive of node %s: %w", n.UUID, err)
	}
	return nil
}

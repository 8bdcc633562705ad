package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/billet-metal/billet/node"
)

// Keep bounds what the database collects of its own accord. A field that is zero is its default.
type Keep struct {
	History         int           // events of a node's history, the newest; 300
	EventsOfMachine int           // boot events of one MAC; 1,000: a noisy machine pushes out nobody else's
	Events          int           // boot events of all machines together; 100,000
	EventsFor       time.Duration // age of boot events; 7 days
}

func (k Keep) filled() Keep {
	return Keep{
		History: cmp.Or(k.History, 300), EventsOfMachine: cmp.Or(k.EventsOfMachine, 1_000),
		Events: cmp.Or(k.Events, 100_000), EventsFor: cmp.Or(k.EventsFor, 7*24*time.Hour),
	}
}

const (
	sweepEvery = time.Hour
	sweepBatch = 1_000 // rows of one transaction: others wait for it no longer than a few milliseconds
)

// runSweeper is the goroutine that takes away what is more than Keep allows. What is added is trimmed as it comes; this is
// for rows that grew old, and for bounds that are smaller than those of the last run.
func (s *Store) runSweeper(ctx context.Context) {
	for {
		began := time.Now()
		gone, err := s.sweep(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, node.ErrStoreAway):
			s.log.Warn("old history and boot events were not taken away: the database cannot be written", "error", err)
		case err != nil:
			s.log.Error("old history and boot events were not taken away", "error", err)
		case gone > 0:
			s.log.Info("old history and boot events were taken away", "rows", gone, "took", time.Since(began).Round(time.Millisecond))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(sweepEvery):
		}
	}
}

// sweep takes away all that is too much, batch by batch, and returns how many rows that were.
func (s *Store) sweep(ctx context.Context) (gone int64, err error) {
	if s.damage != "" {
		return 0, nil
	}
	gone, err = s.inBatches(ctx, `DELETE FROM boot_events WHERE id IN (SELECT id FROM boot_events WHERE seen_at < $1 LIMIT $2)`,
		node.Now().Add(-s.keep.EventsFor))
	if err != nil {
		return gone, fmt.Errorf("take away old boot events: %w", err)
	}
	n, err := s.inBatches(ctx, `DELETE FROM boot_events WHERE id IN
		(SELECT id FROM boot_events WHERE id <= (SELECT id FROM boot_events ORDER BY id DESC LIMIT 1 OFFSET $1) LIMIT $2)`, s.keep.Events)
	if gone += n; err != nil {
		return gone, fmt.Errorf("take away boot events: %w", err)
	}
	for _, of := range []struct {
		table, class, column string
		most                 int
	}{{"boot_events", eventClasses[0], "mac", s.keep.EventsOfMachine}, {"boot_events", eventClasses[1], "mac", s.keep.EventsOfMachine},
		{"history", "1 = 1", "node_id", s.keep.History}} {
		n, err := s.sweepOwners(ctx, of.table, of.class, of.column, of.most)
		if gone += n; err != nil {
			return gone, fmt.Errorf("take away rows of %s: %w", of.table, err)
		}
	}
	return gone, nil
}

// sweepOwners takes away the oldest rows of a class of those owners, named in a column of a table, that have more than most.
func (s *Store) sweepOwners(ctx context.Context, table, class, column string, most int) (gone int64, err error) {
	var owners []any
	query := fmt.Sprintf(`SELECT %s FROM %s WHERE %s GROUP BY %s HAVING COUNT(*) > $1`, column, table, class, column)
	err = collect(ctx, s.read, query, []any{most}, func(r *sql.Rows) error {
		var owner any
		err := r.Scan(&owner)
		owners = append(owners, owner)
		return err
	})
	for i := 0; err == nil && i < len(owners); i++ {
		var n int64
		n, err = s.inBatches(ctx, fmt.Sprintf(`DELETE FROM %[1]s WHERE id IN (SELECT id FROM %[1]s WHERE %[2]s = $1 AND %[3]s AND id <=
			(SELECT id FROM %[1]s WHERE %[2]s = $1 AND %[3]s ORDER BY id DESC LIMIT 1 OFFSET $2) LIMIT $3)`, table, column, class), owners[i], most)
		gone += n
	}
	return gone, err
}

// inBatches runs a DELETE whose last argument bounds its rows until it finds none.
func (s *Store) inBatches(ctx context.Context, query string, args ...any) (gone int64, err error) {
	for {
		res, err := exec(ctx, s.write, query, append(args, sweepBatch)...)
		if err != nil {
			return gone, err
		}
		n, err := res.RowsAffected()
		gone += n
		if err != nil || n < sweepBatch {
			return gone, err
		}
	}
}

package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/billet-metal/billet/node"
)

const (
	tracePending   = 4096                   // events kept in memory for the writer
	traceBatchTime = 200 * time.Millisecond // how long the writer collects
	traceText      = 1000                   // longest What
	eventsCounted  = 1_000                  // written between two looks at how many there are of all machines
	eventsAnswered = 500
)

// trace takes boot events without ever waiting for the database. Its goroutine (run) writes them
// in batches; whoever reads events flushes first.
type trace struct {
	*database
	wake chan struct{} // 1 deep: something is pending

	mu      sync.Mutex // guards the two below; never held while the database is asked
	pending []node.BootEvent
	dropped int

	writing   sync.Mutex // one flush at a time; guards uncounted
	uncounted int        // events written since the last look at how many there are
}

func newTrace(d *database) *trace {
	return &trace{database: d, wake: make(chan struct{}, 1), uncounted: eventsCounted} // what an earlier process left is looked at first
}

// Saw keeps e for the writer and returns at once. When boot services see more than the database
// can take, the oldest waiting events are dropped and counted in the log.
func (s *Boots) Saw(e node.BootEvent) {
	if e.At.IsZero() {
		e.At = node.Now()
	}
	if len(e.What) > traceText {
		e.What = e.What[:traceText]
	}
	t := s.trace
	t.mu.Lock()
	if len(t.pending) == tracePending {
		t.pending = t.pending[1:]
		t.dropped++
	}
	t.pending = append(t.pending, e)
	t.mu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// run is the store's trace goroutine; Close waits for it and flushes what is left.
func (t *trace) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.wake:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(traceBatchTime):
		}
		if err := t.flush(ctx); err != nil && ctx.Err() == nil {
			t.log.Error("boot events were not written", "error", err)
		}
	}
}

// flush writes what is pending in one transaction. A batch that fails is lost: it is evidence,
// not state, and must not pile up.
func (t *trace) flush(ctx context.Context) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	t.mu.Lock()
	batch, dropped := t.pending, t.dropped
	t.pending, t.dropped = nil, 0
	t.mu.Unlock()
	if dropped > 0 {
		t.log.Warn("boot events were dropped: the database is too slow", "count", dropped)
	}
	if len(batch) == 0 {
		return nil
	}
	t.uncounted += len(batch)
	count := t.uncounted >= eventsCounted
	err := t.tx(ctx, func(tx *sql.Tx) error {
		if err := insertEvents(ctx, tx, batch); err != nil {
			return err
		}
		return t.dropEvents(ctx, tx, batch, count)
	})
	if err != nil {
		return fmt.Errorf("write %d boot events: %w", len(batch), err)
	}
	if count {
		t.uncounted = 0
	}
	return nil
}

func insertEvents(ctx context.Context, tx *sql.Tx, batch []node.BootEvent) error {
	insert, err := tx.PrepareContext(ctx,
		`INSERT INTO boot_events (mac, service, kind, file, who, what, seen_at, proof) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`)
	if err != nil {
		return err
	}
	defer insert.Close()
	for _, e := range batch {
		if _, err := insert.ExecContext(ctx,
			bind([]any{strings.ToLower(e.MAC), e.Service, e.Kind, e.File, e.Who, e.What, e.At, e.Proof})...); err != nil {
			return err
		}
	}
	return nil
}

// dropEvents forgets what is too old, what is too much of the machines of the batch, and, when all are
// to be counted, what is too much of all machines together.
func (t *trace) dropEvents(ctx context.Context, tx *sql.Tx, batch []node.BootEvent, countAll bool) error {
	const most = 2 * (eventsCounted + tracePending) // as many as were added since the last look; the sweeper does more
	const tooOld = `DELETE FROM boot_events WHERE id IN (SELECT id FROM boot_events WHERE seen_at < $1 LIMIT $2)`
	if _, err := exec(ctx, tx, tooOld, node.Now().Add(-t.keep.EventsFor), most); err != nil {
		return err
	}
	macs := map[string]bool{}
	for _, e := range batch {
		macs[strings.ToLower(e.MAC)] = true
	}
	for mac := range macs {
		for _, class := range eventClasses {
			tooMany := `DELETE FROM boot_events WHERE mac = $1 AND ` + class + ` AND id <= (SELECT id FROM boot_events WHERE mac = $1 AND ` + class +
				` ORDER BY id DESC LIMIT 1 OFFSET $2)`
			if _, err := exec(ctx, tx, tooMany, mac, t.keep.EventsOfMachine); err != nil {
				return err
			}
		}
	}
	if !countAll {
		return nil
	}
	_, err := exec(ctx, tx, `DELETE FROM boot_events WHERE id IN
		(SELECT id FROM boot_events WHERE id <= (SELECT id FROM boot_events ORDER BY id DESC LIMIT 1 OFFSET $1) LIMIT $2)`, t.keep.Events, most)
	return err
}

// eventClasses are the events that anybody could have caused, and the machines' own.
var eventClasses = []string{"proof = ''", "proof <> ''"}

// BootEvents returns what boot services saw of the MACs since then, oldest first, at most the
// newest 500 of each class. It includes what is not written yet.
func (s *Boots) BootEvents(ctx context.Context, macs []string, since time.Time) ([]node.BootEvent, error) {
	if len(macs) == 0 {
		return nil, nil
	}
	if err := s.trace.flush(ctx); err != nil && !readOnly(err) { // what was written before can be read
		return nil, err
	}
	q := &query{}
	q.in("mac", lower(macs))
	q.and("seen_at >= $?", since)
	q.args = append(q.args, eventsAnswered)
	var newest []string
	for i, class := range eventClasses {
		newest = append(newest,
			fmt.Sprintf(`SELECT * FROM (SELECT * FROM boot_events WHERE %s AND %s ORDER BY seen_at DESC, id DESC LIMIT $%d) AS class%d`,
				strings.Join(q.where, " AND "), class, len(q.args), i))
	}
	text := `SELECT mac, service, kind, file, who, what, seen_at, proof FROM (` + strings.Join(newest, " UNION ALL ") +
		`) AS newest ORDER BY seen_at, id`
	return s.events(ctx, text, q.args)
}

// strangersAnswered is how many strangers are listed.
const strangersAnswered = 100

// Strangers returns the newest event of each MAC that belongs to no port and no portgroup, the newest first, at most 100. What
// came from no MAC that could be made out is one of them.
func (s *Boots) Strangers(ctx context.Context) ([]node.BootEvent, error) {
	if err := s.trace.flush(ctx); err != nil {
		return nil, err
	}
	const text = `SELECT mac, service, kind, file, who, what, seen_at, proof FROM boot_events e
		WHERE id IN (SELECT MAX(id) FROM boot_events GROUP BY mac) AND NOT EXISTS (SELECT 1 FROM ports p WHERE p.address = e.mac)
			AND NOT EXISTS (SELECT 1 FROM portgroups g WHERE g.address = e.mac AND g.address <> '') ORDER BY id DESC LIMIT $1`
	return s.events(ctx, text, []any{strangersAnswered})
}

func (s *Boots) events(ctx context.Context, text string, args []any) ([]node.BootEvent, error) {
	var events []node.BootEvent
	err := collect(ctx, s.read, text, args, func(r *sql.Rows) error {
		var e node.BootEvent
		err := r.Scan(&e.MAC, &e.Service, &e.Kind, &e.File, &e.Who, &e.What, micros{&e.At}, &e.Proof)
		events = append(events, e)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list boot events: %w", err)
	}
	return events, nil
}

package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/billet-metal/billet/node"
)

// work is one kind of work as a query: its condition, with $1 for now, and since when it is due.
type work struct {
	why  node.WorkKind
	cond string
	due  string
}

var (
	busy    = "provision_state IN (" + statesOf(node.Busy) + ")"
	waiting = "provision_state IN (" + statesOf(node.Waiting) + ")"
	held    = "provision_state IN (" + statesOf(node.Held) + ")"
)

// works in the order of precedence: a node is listed as the first kind that fits. A deadline of 0
// is "none": a node that waits without one would wait for ever, so it counts as passed. A node
// that waits under an ended lease was being looked at when the looker died: what the machine
// said then would be lost, so it is polled. A node that is held has a poll due only when its flow is being
// ended, on request, and whoever took the request may be gone.
var works = []work{
	{node.WorkResume, busy, "CASE WHEN lease_until > provision_updated_at THEN lease_until ELSE provision_updated_at END"},
	{node.WorkDeadline, waiting + " AND plan_deadline <= $1", "plan_deadline"},
	{node.WorkPoll, waiting + " AND plan_poll_at > 0 AND plan_poll_at <= $1", "plan_poll_at"},
	{node.WorkPoll, held + " AND plan_poll_at > 0 AND plan_poll_at <= $1", "plan_poll_at"},
	{node.WorkPoll, waiting + " AND lease_holder <> ''", "lease_until"},
	{node.WorkPower, "target_power_state <> ''", "lease_until"},
}

// Work lists nodes that need a conductor now, at most limit, those first that are due the
// longest. Nodes under a live lease are in good hands and not listed.
func (s *Store) Work(ctx context.Context, now time.Time, limit int) ([]node.Work, error) {
	type item struct {
		node.Work
		due, id int64
	}
	var items []item
	listed := map[int64]bool{}
	for _, w := range works {
		query := "SELECT uuid, id, " + w.due + " AS due FROM nodes WHERE " + w.cond +
			" AND (lease_holder = '' OR lease_until <= $1) ORDER BY due, id LIMIT $2"
		err := collect(ctx, s.read, query, []any{now, limit}, func(r *sql.Rows) error {
			it := item{Work: node.Work{Why: w.why}}
			if err := r.Scan(&it.UUID, &it.id, &it.due); err != nil {
				return err
			}
			if !listed[it.id] {
				items, listed[it.id] = append(items, it), true
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("look for work: %w", err)
		}
	}
	slices.SortFunc(items, func(a, b item) int { return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.id, b.id)) })
	found := make([]node.Work, min(limit, len(items)))
	for i := range found {
		found[i] = items[i].Work
	}
	return found, nil
}

// statesOf lists a class of states as SQL texts.
func statesOf(class node.StateClass) string {
	var quoted []string
	for _, s := range node.States {
		if s.Class() == class {
			quoted = append(quoted, "'"+string(s)+"'")
		}
	}
	return strings.Join(quoted, ", ")
}

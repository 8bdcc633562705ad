package memory

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/billet-metal/billet/node"
)

// Work lists nodes that need a conductor now, at most limit, those first that are due the longest.
func (s leased) Work(ctx context.Context, now time.Time, limit int) ([]node.Work, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	type item struct {
		node.Work
		due time.Time
	}
	var items []item
	for _, m := range s.byID() {
		if m.node.Lease.Held(now) {
			continue
		}
		if kind, due, is := workOf(&m.node, now); is {
			items = append(items, item{node.Work{UUID: m.node.UUID, Why: kind}, due})
		}
	}
	slices.SortStableFunc(items, func(a, b item) int { return a.due.Compare(b.due) })
	found := make([]node.Work, min(limit, len(items)))
	for i := range found {
		found[i] = items[i].Work
	}
	return found, nil
}

// workOf is the first kind of work that fits a node, and since when it is due. A node that waits without a deadline would
// wait for ever, so it counts as passed.
func workOf(n *node.Node, now time.Time) (kind node.WorkKind, due time.Time, is bool) {
	plan := cmp.Or(n.Plan, &node.Plan{})
	class := n.State.Class()
	polls := !plan.PollAt.IsZero() && !plan.PollAt.After(now)
	switch {
	case class == node.Busy:
		due = n.ProvisionUpdatedAt
		if n.Lease.Until.After(due) {
			due = n.Lease.Until
		}
		return node.WorkResume, due, true
	case class == node.Waiting && !plan.Deadline.After(now):
		return node.WorkDeadline, plan.Deadline, true
	case (class == node.Waiting || class == node.Held) && polls:
		return node.WorkPoll, plan.PollAt, true
	case class == node.Waiting && n.Lease.Holder != "":
		return node.WorkPoll, n.Lease.Until, true
	case n.TargetPower != node.PowerUnknown:
		return node.WorkPower, n.Lease.Until, true
	}
	return 0, time.Time{}, false
}

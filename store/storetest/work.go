package storetest

import (
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
)

func testWork(t *testing.T, s Store) {
	now := node.Now()
	past, future := now.Add(-time.Minute), now.Add(time.Minute)
	for i, tt := range []struct {
		what  string
		state node.State
		plan  *node.Plan
		lease time.Duration // 0: none
		want  node.WorkKind // -1: none
	}{
		{"busy, nobody works", node.Deploying, &node.Plan{}, 0, node.WorkResume},
		{"busy, its conductor died", node.Cleaning, &node.Plan{}, time.Microsecond, node.WorkResume},
		{"busy, without a plan", node.Deleting, nil, 0, node.WorkResume},
		{"busy, in good hands", node.Deploying, &node.Plan{}, time.Hour, -1},
		{"busy, with a stale deadline", node.Inspecting, &node.Plan{Deadline: past}, 0, node.WorkResume},
		{"waits, nothing due", node.DeployWait, &node.Plan{Deadline: future, PollAt: future}, 0, -1},
		{"waits, no poll wanted", node.DeployWait, &node.Plan{Deadline: future}, 0, -1},
		{"waits, poll due", node.CleanWait, &node.Plan{Deadline: future, PollAt: past}, 0, node.WorkPoll},
		{"waits, poll due now", node.CleanWait, &node.Plan{Deadline: future, PollAt: now}, 0, node.WorkPoll},
		{"waits, poll due under a lease", node.CleanWait, &node.Plan{Deadline: future, PollAt: past}, time.Hour, -1},
		{"waits, deadline passed", node.InspectWait, &node.Plan{Deadline: past}, 0, node.WorkDeadline},
		{"waits, deadline passed and poll due", node.RescueWait, &node.Plan{Deadline: past, PollAt: past}, 0, node.WorkDeadline},
		{"waits, deadline passed under a lease", node.ServiceWait, &node.Plan{Deadline: past}, time.Hour, -1},
		{"waits, deadline passed under an ended lease", node.ServiceWait, &node.Plan{Deadline: past}, time.Microsecond, node.WorkDeadline},
		{"waits for ever", node.DeployWait, &node.Plan{PollAt: past}, 0, node.WorkDeadline},
		{"waits with its plan gone", node.DeployWait, nil, 0, node.WorkDeadline},
		{"waits, its looker died", node.DeployWait, &node.Plan{Deadline: future}, time.Microsecond, node.WorkPoll},
		{"waits, its looker died, deadline passed", node.DeployWait, &node.Plan{Deadline: past}, time.Microsecond, node.WorkDeadline},
		{"stable", node.Active, &node.Plan{Deadline: past, PollAt: past}, 0, -1},
		{"failed", node.DeployFailed, &node.Plan{Deadline: past}, time.Microsecond, -1},
		{"held", node.CleanHold, &node.Plan{Deadline: past}, 0, -1},
		{"held, aborted", node.CleanHold, &node.Plan{PollAt: past, Failure: "aborted"}, 0, node.WorkPoll},
		{"held, aborted, in good hands", node.DeployHold, &node.Plan{PollAt: past, Failure: "aborted"}, time.Hour, -1},
		{"held, aborted by one that died", node.ServiceHold, &node.Plan{PollAt: past, Failure: "aborted"}, time.Microsecond, node.WorkPoll},
	} {
		add(t, s, i, func(n *node.Node) { n.State, n.Plan = tt.state, tt.plan })
		if tt.lease > 0 {
			n, err := s.Reserve(t.Context(), uid(i), "there", tt.lease)
			ok(t, err)
			if tt.lease < time.Second {
				waitUntil(n.Lease.Until)
			}
		}
		got := workOf(t, s, uid(i), node.Now())
		if tt.what == "waits, poll due now" {
			got = workOf(t, s, uid(i), now)
		}
		if got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.what, got, tt.want)
		}
	}
	for i, tt := range []struct {
		state node.State
		plan  *node.Plan
		held  time.Duration
		want  node.WorkKind
	}{
		{node.Manageable, nil, 0, node.WorkPower},
		{node.DeployFailed, nil, time.Microsecond, node.WorkPower},
		{node.Manageable, nil, time.Hour, -1},
		{node.Deploying, nil, 0, node.WorkResume},
		{node.DeployWait, &node.Plan{Deadline: future}, 0, node.WorkPower},
		{node.DeployWait, &node.Plan{Deadline: past}, 0, node.WorkDeadline},
		{node.DeployWait, &node.Plan{Deadline: future, PollAt: past}, 0, node.WorkPoll},
	} {
		add(t, s, 50+i, func(n *node.Node) { n.State, n.Plan, n.TargetPower = tt.state, tt.plan, node.Rebooting })
		if tt.held > 0 {
			n, err := s.Reserve(t.Context(), uid(50+i), "there", tt.held)
			ok(t, err)
			if tt.held < time.Second {
				waitUntil(n.Lease.Until)
			}
		}
		if got := workOf(t, s, uid(50+i), node.Now()); got != tt.want {
			t.Errorf("power change under way in %s: got %d, want %d", tt.state, got, tt.want)
		}
	}
	// Children are worked on too, and every busy and waiting state is known.
	for i, state := range node.States {
		add(t, s, 100+i, func(n *node.Node) { n.State, n.ParentNode = state, uid(1) })
		want := map[node.StateClass]node.WorkKind{node.Busy: node.WorkResume, node.Waiting: node.WorkDeadline}
		kind, busy := want[state.Class()]
		if !busy {
			kind = -1
		}
		if got := workOf(t, s, uid(100+i), node.Now()); got != kind {
			t.Errorf("%s: got %d, want %d", state, got, kind)
		}
	}
}

// workOf returns the one kind of work listed for a node; -1 when there is none.
func workOf(t *testing.T, s Store, uuid string, now time.Time) node.WorkKind {
	t.Helper()
	found, err := s.Work(t.Context(), now, 1000)
	ok(t, err)
	kind := node.WorkKind(-1)
	for _, w := range found {
		if w.UUID == uuid {
			if kind != -1 {
				t.Errorf("%s is listed twice", uuid)
			}
			kind = w.Why
		}
	}
	return kind
}

func testWorkOrder(t *testing.T, s Store) {
	now := node.Now()
	ago := func(m int) time.Time { return now.Add(-time.Duration(m) * time.Minute) }
	add(t, s, 1, func(n *node.Node) { n.State, n.ProvisionUpdatedAt = node.Deploying, ago(3) })
	add(t, s, 2, func(n *node.Node) {
		n.State, n.Plan = node.CleanWait, &node.Plan{Deadline: now.Add(time.Hour), PollAt: ago(4)}
	})
	add(t, s, 3, func(n *node.Node) { n.State, n.Plan = node.DeployWait, &node.Plan{Deadline: ago(1)} })
	add(t, s, 4, func(n *node.Node) { n.State, n.Plan = node.DeployWait, &node.Plan{Deadline: ago(5)} })
	add(t, s, 5, func(n *node.Node) { n.State = node.DeployWait })
	want := []node.Work{
		{UUID: uid(5), Why: node.WorkDeadline}, {UUID: uid(4), Why: node.WorkDeadline}, {UUID: uid(2), Why: node.WorkPoll},
		{UUID: uid(1), Why: node.WorkResume}, {UUID: uid(3), Why: node.WorkDeadline},
	}
	for limit := range 7 {
		got, err := s.Work(t.Context(), now, limit)
		ok(t, err)
		same(t, "work", got, want[:min(limit, 5)])
	}
}

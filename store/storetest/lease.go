package storetest

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
)

func testReserve(t *testing.T, s Store) {
	add(t, s, 1, func(n *node.Node) { n.Name = "one" })
	before := node.Now()
	n, err := s.Reserve(t.Context(), "one", "host-a", time.Minute)
	ok(t, err)
	if n.Lease.Holder != "host-a" || n.Lease.Token != 1 || n.Lease.Until.Before(before.Add(time.Minute)) || !n.Lease.Held(node.Now()) {
		t.Errorf("lease %+v", n.Lease)
	}
	same(t, "the node as others see it", load(t, s, 1), n)
	locked := "Node " + uid(1) + " is locked by host host-a, please retry after the current operation is completed."
	for _, who := range []string{"host-b", "host-a"} {
		_, err = s.Reserve(t.Context(), uid(1), who, time.Minute)
		refused(t, err, node.Conflict, locked)
	}
	ok(t, s.Release(t.Context(), n))
	same(t, "released", n.Lease, node.Lease{Token: 1})
	n, err = s.Reserve(t.Context(), strings.ToUpper(uid(1)), "host-b", time.Microsecond)
	ok(t, err)
	same(t, "token", n.Lease.Token, int64(2))
	waitUntil(n.Lease.Until)
	n, err = s.Reserve(t.Context(), uid(1), "host-c", time.Minute)
	ok(t, err)
	if n.Lease.Holder != "host-c" || n.Lease.Token != 3 {
		t.Errorf("an ended lease was taken as %+v", n.Lease)
	}
	for _, bad := range []struct {
		holder string
		ttl    time.Duration
	}{{"", time.Minute}, {"host", 0}} {
		if _, err := s.Reserve(t.Context(), uid(1), bad.holder, bad.ttl); err == nil {
			t.Errorf("reserved by %q for %s", bad.holder, bad.ttl)
		}
	}
}

// waitUntil waits for the real clock: the database is outside of any synctest bubble.
func waitUntil(end time.Time) {
	for !node.Now().After(end) {
		time.Sleep(time.Millisecond)
	}
}

func testReserveRace(t *testing.T, s Store) {
	add(t, s, 1, nil)
	for round := range 5 {
		var won, lost atomic.Int32
		var winner atomic.Pointer[node.Node]
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				n, err := s.Reserve(t.Context(), uid(1), holder, time.Minute)
				switch {
				case err == nil:
					won.Add(1)
					winner.Store(n)
				case node.KindOf(err) == node.Conflict:
					lost.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || lost.Load() != 15 {
			t.Fatalf("round %d: %d won and %d were told it is locked", round, won.Load(), lost.Load())
		}
		if token := winner.Load().Lease.Token; token != int64(round+1) {
			t.Errorf("round %d: token %d", round, token)
		}
		ok(t, s.Release(t.Context(), winner.Load()))
	}
}

// A holder whose lease went to another can write nothing, however late it wakes up.
func testFencing(t *testing.T, s Store) {
	add(t, s, 1, func(n *node.Node) { n.ConfigDrive = "mine" })
	late, err := s.Reserve(t.Context(), uid(1), holder, time.Microsecond)
	ok(t, err)
	waitUntil(late.Lease.Until)
	late.LastError = "written after the end, but before anybody took it"
	ok(t, s.Save(t.Context(), late))
	now := reserve(t, s, 1) // the same host: only the token tells them apart
	want := load(t, s, 1)

	updated := late.UpdatedAt
	late.LastError, late.Name, late.Extra, late.ConfigDrive = "late", "late", node.Document{"late": true}, "late"
	late.Plan = &node.Plan{Flow: node.FlowDeploy}
	leaseLost(t, "save", s.Save(t.Context(), late))
	leaseLost(t, "release", s.Release(t.Context(), late))
	leaseLost(t, "renew", s.Renew(t.Context(), late, time.Hour))
	leaseLost(t, "delete", s.DeleteNode(t.Context(), late))
	same(t, "the node", load(t, s, 1), want)
	if !late.UpdatedAt.Equal(updated) || late.Lease.Holder != holder {
		t.Errorf("a refused write changed the caller's node: updated %s, lease %+v", late.UpdatedAt, late.Lease)
	}

	other := now.Clone()
	other.Lease.Holder = "there"
	leaseLost(t, "save as another holder", s.Save(t.Context(), other))
	ok(t, s.Release(t.Context(), now))
	leaseLost(t, "save after release", s.Save(t.Context(), now))
	leaseLost(t, "save as nobody", s.Save(t.Context(), load(t, s, 1)))
	leaseLost(t, "delete as nobody", s.DeleteNode(t.Context(), load(t, s, 1)))
}

func testRenew(t *testing.T, s Store) {
	add(t, s, 1, nil)
	n := reserve(t, s, 1)
	ok(t, s.Renew(t.Context(), n, time.Hour))
	if left := n.Lease.Until.Sub(node.Now()); left < 59*time.Minute {
		t.Errorf("%s left", left)
	}
	stale := n.Clone()
	stale.Lease.Until = time.Time{}
	stale.Description = "saved"
	ok(t, s.Save(t.Context(), stale)) // must not take the renewal back
	got := load(t, s, 1)
	same(t, "lease", got.Lease, n.Lease)
	same(t, "description", got.Description, "saved")
	if !got.UpdatedAt.Equal(stale.UpdatedAt) || !got.UpdatedAt.After(got.CreatedAt) {
		t.Errorf("updated %s, caller was told %s, created %s", got.UpdatedAt, stale.UpdatedAt, got.CreatedAt)
	}
}

// What is written without the lease is not undone by a save under it.
func testSaveLeavesTheRest(t *testing.T, s Store) {
	add(t, s, 1, nil)
	n := reserve(t, s, 1)
	created, agent := n.CreatedAt, node.Agent{URL: "https://10.0.0.9:9999", LastHeartbeat: at(9), Token: "token", TokenGiven: true}
	giveToken(t, s, 1, agent.Token)
	ok(t, s.SaveAgent(t.Context(), uid(1), agent))
	ok(t, s.SaveProgress(t.Context(), node.Progress{NodeUUID: uid(1), Done: 5}))
	n.CreatedAt, n.Agent, n.ID = at(0), node.Agent{URL: "old"}, 0
	ok(t, s.Release(t.Context(), n))
	got := load(t, s, 1)
	same(t, "agent", agentOf(t, s, 1), agent)
	same(t, "created_at", got.CreatedAt, created)
	if p, err := s.Progress(t.Context(), uid(1)); err != nil || p == nil || p.Done != 5 {
		t.Errorf("progress %+v, %v", p, err)
	}
	if n.ID != got.ID {
		t.Errorf("id %d, want %d", n.ID, got.ID)
	}
}

func testDropLeases(t *testing.T, s Store) {
	add(t, s, 1, nil)
	add(t, s, 2, nil)
	dead := reserve(t, s, 1)
	_, err := s.Reserve(t.Context(), uid(2), "there", time.Minute)
	ok(t, err)
	ok(t, s.DropLeases(t.Context(), ""))
	if got := load(t, s, 1); got.Lease != dead.Lease {
		t.Errorf("nobody's leases are all leases: %+v", got.Lease)
	}
	ok(t, s.DropLeases(t.Context(), holder))
	same(t, "dropped", load(t, s, 1).Lease, node.Lease{Token: 1})
	same(t, "another's", load(t, s, 2).Lease.Holder, "there")
	leaseLost(t, "save by a process that is not dead after all", s.Save(t.Context(), dead))
	same(t, "next token", reserve(t, s, 1).Lease.Token, int64(2))
}

package storetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
)

// together runs f(0) … f(n-1) at one time and counts the outcomes: done, refused with a Conflict, and lease lost.
// Any other error fails the test.
func together(t *testing.T, n int, f func(i int) error) (done, refused, lost int) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			err := f(i)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				done++
			case errors.Is(err, node.ErrLeaseLost):
				lost++
			case node.KindOf(err) == node.Conflict:
				refused++
			default:
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	close(start)
	wg.Wait()
	return done, refused, lost
}

// Many workers count up in one node's row, each under the lease: no count is lost, and the fencing token has grown by one for
// every lease there was.
func testCountingTogether(t *testing.T, s Store) {
	add(t, s, 1, func(n *node.Node) { n.Extra = node.Document{"count": 0.0} })
	const workers, each = 8, 12
	done, _, _ := together(t, workers, func(i int) error {
		for turns := 0; turns < each; {
			n, err := s.Reserve(t.Context(), uid(1), fmt.Sprint("worker-", i), time.Minute)
			if node.KindOf(err) == node.Conflict && err != nil {
				time.Sleep(time.Millisecond)
				continue
			}
			if err != nil {
				return err
			}
			n.Extra["count"] = n.Extra["count"].(float64) + 1
			n.Description = fmt.Sprint(n.Extra["count"])
			if turns%2 == 0 { // a save between must not open the door
				if err := s.Save(t.Context(), n); err != nil {
					return err
				}
			}
			if err := s.Release(t.Context(), n); err != nil {
				return err
			}
			turns++
		}
		return nil
	})
	got := load(t, s, 1)
	if done != workers || got.Extra["count"] != float64(workers*each) || got.Lease.Token != workers*each || got.Lease.Holder != "" {
		t.Errorf("%d workers done, count %v, lease %+v, want %d", done, got.Extra["count"], got.Lease, workers*each)
	}
}

// Readers that look while a node is saved again and again see one save or another, never half of two.
func testReadersSeeWholeSaves(t *testing.T, s Store) {
	add(t, s, 1, func(n *node.Node) { n.Extra, n.Description, n.ConfigDrive = node.Document{"i": 0.0}, "0", "drive 0" })
	n := reserve(t, s, 1)
	ctx, stop := context.WithCancel(t.Context())
	var looks atomic.Int32
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for ctx.Err() == nil {
				got, err := s.Node(t.Context(), uid(1))
				if err != nil {
					t.Error(err)
					return
				}
				looks.Add(1)
				if i := fmt.Sprint(got.Extra["i"]); got.Description != i || got.ConfigDrive != "drive "+i ||
					got.Plan != nil && fmt.Sprint(got.Plan.Index) != i {
					t.Errorf("half a save: extra %s, description %s, config drive %q, plan %+v", i, got.Description, got.ConfigDrive, got.Plan)
					return
				}
			}
		})
	}
	for i := 1; i <= 60 || looks.Load() < 20; i++ {
		n.Extra = node.Document{"i": float64(i)}
		n.Description, n.ConfigDrive, n.Plan = fmt.Sprint(i), fmt.Sprint("drive ", i), &node.Plan{Flow: node.FlowDeploy, Index: i}
		ok(t, s.Save(t.Context(), n))
	}
	stop()
	wg.Wait()
}

// An ended lease is taken by one of many who want it, and the one who had it can write no more.
func testTakingAnEndedLease(t *testing.T, s Store) {
	add(t, s, 1, nil)
	old, err := s.Reserve(t.Context(), uid(1), "late", time.Microsecond)
	ok(t, err)
	waitUntil(old.Lease.Until)
	var winner atomic.Pointer[node.Node]
	done, refused, _ := together(t, 12, func(i int) error {
		n, err := s.Reserve(t.Context(), uid(1), fmt.Sprint("host-", i), time.Minute)
		if err == nil {
			winner.Store(n)
		}
		return err
	})
	if done != 1 || refused != 11 || winner.Load().Lease.Token != old.Lease.Token+1 {
		t.Fatalf("%d took it, %d were refused", done, refused)
	}
	n := winner.Load()
	_, _, lost := together(t, 10, func(i int) error {
		if i == 9 {
			n.Description = "the winner's"
			return s.Save(t.Context(), n)
		}
		mine := old.Clone()
		mine.Description = "the late one's"
		switch i % 3 {
		case 0:
			return s.Save(t.Context(), mine)
		case 1:
			return s.Release(t.Context(), mine)
		}
		return s.Renew(t.Context(), mine, time.Hour)
	})
	if lost != 9 {
		t.Errorf("%d of 9 late writes were refused", lost)
	}
	if got := load(t, s, 1); got.Description != "the winner's" || got.Lease.Token != n.Lease.Token || got.Lease.Holder != n.Lease.Holder {
		t.Errorf("description %q, lease %+v", got.Description, got.Lease)
	}
}

// What may be there once is there once, however many ask for it at one time.
func testOnlyOneOfEach(t *testing.T, s Store) {
	add(t, s, 1, nil)
	for i := range 8 {
		add(t, s, 10+i, nil)
	}
	for _, tt := range []struct {
		what string
		make func(i int) error
		want string // of the refusals
	}{
		{"nodes of one name", func(i int) error {
			return s.CreateNode(t.Context(), &node.Node{Name: "popular", State: node.Enroll})
		}, "A node with name popular already exists."},
		{"nodes of one UUID", func(i int) error {
			return s.CreateNode(t.Context(), &node.Node{UUID: uid(77), State: node.Enroll})
		}, "A node with UUID " + uid(77) + " already exists."},
		{"nodes of one instance", func(i int) error {
			n, err := s.Reserve(t.Context(), uid(10+i), holder, time.Minute)
			if err != nil {
				return err
			}
			n.InstanceUUID = uid(50)
			return s.Release(t.Context(), n)
		}, ""},
		{"ports of one MAC address", func(i int) error {
			return s.Ports.Create(t.Context(), &node.Port{NodeUUID: uid(10 + i), Address: mac(1)})
		}, "A port with MAC address " + mac(1) + " already exists."},
		{"ports of one name", func(i int) error {
			return s.Ports.Create(t.Context(), &node.Port{NodeUUID: uid(1), Name: "eth0", Address: mac(100 + i)})
		}, "A port with name eth0 already exists."},
		{"portgroups of one MAC address", func(i int) error {
			return s.Portgroups.Create(t.Context(), &node.Portgroup{NodeUUID: uid(10 + i), Address: mac(1)})
		}, "A portgroup with MAC address " + mac(1) + " already exists."},
		{"portgroups of one name", func(i int) error {
			return s.Portgroups.Create(t.Context(), &node.Portgroup{NodeUUID: uid(10 + i), Name: "bond0"})
		}, "A portgroup with name bond0 already exists."},
		{"connectors of one name", func(i int) error {
			return s.VolumeConnectors.Create(t.Context(), &node.VolumeConnector{NodeUUID: uid(10 + i), Type: "iqn", ConnectorID: "x"})
		}, "A volume connector with type iqn and connector ID x already exists."},
		{"volumes to boot a node from", func(i int) error {
			return s.VolumeTargets.Create(t.Context(), &node.VolumeTarget{NodeUUID: uid(1), VolumeID: fmt.Sprint(i)})
		}, "The node has a volume target with boot index 0 already."},
		{"allocations of one name", func(i int) error {
			return s.Allocations.Create(t.Context(), &node.Allocation{Name: "web"})
		}, "An allocation with name web already exists."},
		{"chassis of one UUID", func(i int) error {
			return s.Chassis.Create(t.Context(), &node.Chassis{UUID: uid(60)})
		}, "A chassis with UUID " + uid(60) + " already exists."},
		{"templates of one name", func(i int) error {
			return s.DeployTemplates.Create(t.Context(), &node.DeployTemplate{Name: "CUSTOM_A"})
		}, "A deploy template with name CUSTOM_A already exists."},
	} {
		done, refused, _ := together(t, 8, func(i int) error {
			err := tt.make(i)
			if err != nil && tt.want != "" && err.Error() != tt.want {
				return errors.New("refused in other words: " + err.Error())
			}
			return err
		})
		if done != 1 || refused != 7 {
			t.Errorf("%s: %d were made and %d refused", tt.what, done, refused)
		}
	}
	associated := true
	nodes, err := s.Nodes(t.Context(), node.NodeFilter{Associated: &associated}, node.Page{})
	ok(t, err)
	if len(nodes) != 1 {
		t.Errorf("%d nodes have the instance", len(nodes))
	}
}

// Of many ramdisks that ask for the agent's token one gets it, and it is the one that is kept.
func testTokenRace(t *testing.T, s Store) {
	add(t, s, 1, nil)
	for round := range 4 {
		var given atomic.Int32
		var which atomic.Value
		together(t, 10, func(i int) error {
			token := fmt.Sprintf("token-%d-%d", round, i)
			got, err := s.GiveAgentToken(t.Context(), uid(1), token, node.Caller{})
			if got {
				given.Add(1)
				which.Store(token)
			}
			return err
		})
		if got := load(t, s, 1).Agent; given.Load() != 1 || got.Token != which.Load() || !got.TokenGiven {
			t.Fatalf("round %d: given %d times, %v; kept is %q", round, given.Load(), which.Load(), got.Token)
		}
		ok(t, s.ForgetAgent(t.Context(), uid(1)))
	}
}

// Heartbeats, progress, power and history are written beside a conductor that saves the node all the while: each is there at the
// end, and so is the conductor's last word.
func testWritesBesideTheLease(t *testing.T, s Store) {
	add(t, s, 1, nil)
	giveToken(t, s, 1, "the token")
	n := reserve(t, s, 1)
	const rounds = 20
	done, _, _ := together(t, 6, func(i int) error {
		for r := range rounds {
			var err error
			switch i {
			case 0:
				n.Description = fmt.Sprint("save ", r)
				err = s.Save(t.Context(), n)
			case 1:
				err = s.SaveAgent(t.Context(), uid(1), node.Agent{URL: fmt.Sprint("https://agent-", r)})
			case 2:
				err = s.SaveProgress(t.Context(), node.Progress{NodeUUID: uid(1), Done: int64(r)})
			case 3:
				err = s.AddHistory(t.Context(), node.HistoryEvent{NodeUUID: uid(1), Event: fmt.Sprint(r)})
			case 4:
				_, err = s.GiveAgentToken(t.Context(), uid(1), "the token", node.Caller{})
			default:
				err = s.PutRecord(t.Context(), record(1))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	got := load(t, s, 1)
	p, err := s.Progress(t.Context(), uid(1))
	ok(t, err)
	events, err := s.History(t.Context(), uid(1), node.Page{})
	ok(t, err)
	last := rounds - 1
	if done != 6 || got.Description != fmt.Sprint("save ", last) || got.Agent.URL != fmt.Sprint("https://agent-", last) ||
		got.Agent.Token != "the token" ||
		p == nil || p.Done != int64(last) || len(events) != rounds {
		t.Errorf("%d of 6 done: %q, agent %+v, progress %+v, %d events", done, got.Description, got.Agent, p, len(events))
	}
	for i, e := range events {
		if e.Event != fmt.Sprint(i) {
			t.Errorf("event %d is %q", i, e.Event)
		}
	}
}

// A node that goes away takes with it what others add to it at that moment: nobody is left without a node.
func testDeleteWhileOthersWrite(t *testing.T, s Store) {
	for round := range 6 {
		add(t, s, 1, nil)
		held := reserve(t, s, 1)
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				var err error
				switch i {
				case 0:
					err = s.Ports.Create(t.Context(), &node.Port{NodeUUID: uid(1), Address: mac(round)})
				case 1:
					err = s.AddHistory(t.Context(), node.HistoryEvent{NodeUUID: uid(1), Event: "x"})
				case 2:
					if _, err = s.GiveAgentToken(t.Context(), uid(1), "token", node.Caller{}); err == nil {
						err = s.SaveAgent(t.Context(), uid(1), node.Agent{URL: "u"})
					}
				case 3:
					err = s.PutRecord(t.Context(), record(1))
				default:
					err = s.DeleteNode(t.Context(), held)
				}
				if err != nil && node.KindOf(err) != node.NotFound && !strings.Contains(err.Error(), "foreign key") {
					t.Errorf("%d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if _, err := s.Node(t.Context(), uid(1)); node.KindOf(err) != node.NotFound {
			t.Fatalf("the node is still there: %v", err)
		}
		ports, err := s.Ports.List(t.Context(), node.PortFilter{}, node.Page{})
		ok(t, err)
		if len(ports) > 0 {
			t.Errorf("round %d: ports of no node: %+v", round, ports)
		}
		if r, err := s.RecordBySecret(t.Context(), record(1).Secret); r != nil || err != nil {
			t.Errorf("round %d: a boot record of no node: %+v, %v", round, r, err)
		}
	}
}

// The history of a node that many write to keeps the newest 300 and drops none of another's.
func testHistoryRace(t *testing.T, s Store) {
	add(t, s, 1, nil)
	add(t, s, 2, nil)
	ok(t, s.AddHistory(t.Context(), node.HistoryEvent{NodeUUID: uid(2), Event: "kept"}))
	done, _, _ := together(t, 8, func(i int) error {
		for j := range 45 {
			if err := s.AddHistory(t.Context(), node.HistoryEvent{NodeUUID: uid(1), Event: fmt.Sprintf("%d/%d", i, j)}); err != nil {
				return err
			}
		}
		return nil
	})
	events, err := s.History(t.Context(), uid(1), node.Page{})
	ok(t, err)
	seen := map[string]bool{}
	last := map[string]int{}
	for _, e := range events {
		who, j, _ := strings.Cut(e.Event, "/")
		n, err := strconv.Atoi(j)
		ok(t, err)
		if seen[e.Event] || n < last[who] {
			t.Errorf("%s twice or out of order", e.Event)
		}
		seen[e.Event], last[who] = true, n
	}
	if done != 8 || len(events) < 300 || len(events) > 307 { // writers do not see each other's newest until they are done
		t.Errorf("%d writers done, %d events kept", done, len(events))
	}
	for who, n := range last {
		if n != 44 {
			t.Errorf("the last event of writer %s is %d: a newer one was dropped", who, n)
		}
	}
	ok(t, s.AddHistory(t.Context(), node.HistoryEvent{NodeUUID: uid(1), Event: "8/0"}))
	events, err = s.History(t.Context(), uid(1), node.Page{})
	ok(t, err)
	if len(events) != 300 || events[299].Event != "8/0" {
		t.Errorf("%d events kept after one more, the last is %s", len(events), events[len(events)-1].Event)
	}
	if other, err := s.History(t.Context(), uid(2), node.Page{}); err != nil || len(other) != 1 {
		t.Errorf("another node's history: %v, %v", other, err)
	}
}

// Several conductors that look for work and take what they find do each piece once.
func testWorkIsDoneOnce(t *testing.T, s Store) {
	const nodes = 12
	for i := range nodes {
		add(t, s, i, func(n *node.Node) { n.State, n.Plan = node.Deploying, &node.Plan{} })
	}
	var did [nodes]atomic.Int32
	done, _, _ := together(t, 4, func(i int) error {
		for {
			found, err := s.Work(t.Context(), node.Now(), 5)
			if err != nil || len(found) == 0 {
				return err
			}
			for _, w := range found {
				n, err := s.Reserve(t.Context(), w.UUID, fmt.Sprint("host-", i), time.Minute)
				if err != nil {
					if node.KindOf(err) != node.Conflict {
						return err
					}
					continue // another was faster
				}
				if n.State == node.Deploying { // look again under the lease, as a conductor does
					number, err := strconv.Atoi(n.UUID[24:])
					if err != nil {
						return err
					}
					did[number].Add(1)
					n.State, n.Plan = node.Active, nil
				}
				if err := s.Release(t.Context(), n); err != nil {
					return err
				}
			}
		}
	})
	for i := range did {
		if did[i].Load() != 1 {
			t.Errorf("node %d was worked on %d times", i, did[i].Load())
		}
	}
	if done != 4 {
		t.Errorf("%d of 4 conductors ended well", done)
	}
}

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

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/store"
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
func testCountingTogether(t *testing.T, s *store.Store) {
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
func testReadersSeeWholeSaves(t *testing.T, s *store.Store) {
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
				if i := fmt.Sprint(got.Extra["i"]); got.Description != i || got.ConfigDrive != "drive "+i || got.Plan != nil && fmt.Sprint(got.Plan.Index) != i {
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
func testTakingAnEndedLease(t *testing.T, s *store.Store) {
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
func testOnlyOneOfEach(t *testing.T, s *store.Store) {
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
			return s.CreatePort(t.Context(), &node.Port{NodeUUID: uid(10 + i), Address: mac(1)})
		}, "A port with MAC address " + mac(1) + " already exists."},
		{"ports of one name", func(i int) error {
			return s.CreatePort(t.Context(), &node.Port{NodeUUID: uid(1), Name: "eth0", Address: mac(100 + i)})
		}, "A port with name eth0 already exists."},
		{"portgroups of one MAC address", func(i int) error {
			return s.CreatePortgroup(t.Context(), &node.Portgroup{NodeUUID: uid(10 + i), Address: mac(1)})
		}, "A portgroup with MAC address " + mac(1) + " already exists."},
		{"portgroups of one name", func(i int) error {
			return s.CreatePortgroup(t.Context(), &node.Portgroup{NodeUUID: uid(10 + i), Name: "bond0"})
		}, "A portgroup with name bond0 already exists."},
		{"connectors of one name", func(i int) error {
			return s.CreateVolumeConnector(t.Context(), &node.VolumeConnector{NodeUUID: uid(10 + i), Type: "iqn", ConnectorID: "x"})
		}, "A volume connector with type iqn and connector ID x already exists."},
		{"volumes to boot a node from", func(i int) error {
			return s.CreateVolumeTarget(t.Context(), &node.VolumeTarget{NodeUUID: uid(1), VolumeID: fmt.Sprint(i)})
		}, "A volume target with boot index 0 for the same node already exists."},
		{"allocations of one name", func(i int) error {
			return s.CreateAllocation(t.Context(), &node.Allocation{Name: "web"})
		}, "An allocation with name web already exists."},
		{"chassis of one UUID", func(i int) error {
			return s.CreateChassis(t.Context(), &node.Chassis{UUID: uid(60)})
		}, "A chassis with UUID " + uid(60) + " already exists."},
		{"templates of one name", func(i int) error {
			return s.CreateDeployTemplate(t.Context(), &node.DeployTemplate{Name: "CUSTOM_A"})
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
func testTokenRace(t *testing.T, s *store.Store) {
	add(t, s, 1, nil)
	for round := range 4 {
		var given atomic.Int32
		var which atomic.Value
		together(t, 10, func(i int) error {
			token := fmt.Sprintf("token-%d-%d", round, i)
			got, err := s.GiveAgentToken(t.Context(), uid(1), token)
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
func testWritesBesideTheLease(t *testing.T, s *store.Store) {
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
				_, err = s.GiveAgentToken(t.Context(), uid(1), "the token")
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
	if done != 6 || got.Description != fmt.Sprint("save ", last) || got.Agent.URL != fmt.Sprint("https://agent-", last) || got.Agent.Token != "the token" ||
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
func testDeleteWhileOthersWrite(t *testing.T, s *store.Store) {
	for round := range 6 {
		add(t, s, 1, nil)
		held := reserve(t, s, 1)
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				var err error
				switch i {
				case 0:
					err = s.CreatePort(t.Context(), &node.Port{NodeUUID: uid(1), Address: mac(round)})
				case 1:
					err = s.AddHistory(t.Context(), node.HistoryEvent{NodeUUID: uid(1), Event: "x"})
				case 2:
					if _, err = s.GiveAgentToken(t.Context(), uid(1), "token"); err == nil {
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
		ports, err := s.Ports(t.Context(), node.PortFilter{}, node.Page{})
		ok(t, err)
		if len(ports) > 0 {
			t.Errorf("round %d: ports of no node: %+v", round, ports)
		}
		if r, err := s.RecordBySecret(t.Context(), record(1).Secret); r != nil || err != nil {
			t.Errorf("round %d: a boot record of no node: %+v, %v", round, r, err)
		}
	}
}

// Machines that want one address at one time: one has it.
func testAddressRace(t *testing.T, s *store.Store) {
	until := node.Now().Add(time.Hour).Truncate(time.Microsecond)
	done, _, _ := together(t, 10, func(i int) error {
		return s.PutAddressLease(t.Context(), boot.AddressLease{MAC: mac(i), IP: "10.99.0.20", Until: until})
	})
	leases, err := s.AddressLeases(t.Context())
	ok(t, err)
	if done != 10 || len(leases) != 1 || leases[0].IP != "10.99.0.20" || !leases[0].Until.Equal(until) {
		t.Errorf("%d done, leases %+v", done, leases)
	}
}

// The history of a node that many write to keeps the newest 300 and drops none of another's.
func testHistoryRace(t *testing.T, s *store.Store) {
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
func testWorkIsDoneOnce(t *testing.T, s *store.Store) {
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

// A caller that has gone away changes nothing: every method ends with its context's error.
func testCallersThatLeft(t *testing.T, s *store.Store) {
	add(t, s, 1, func(n *node.Node) { n.Description = "as it was" })
	p := addPort(t, s, 1, node.Port{NodeUUID: uid(1)})
	tpl := node.DeployTemplate{Name: "CUSTOM_A", Steps: []node.PlannedStep{{Step: "s"}}}
	ok(t, s.CreateDeployTemplate(t.Context(), &tpl))
	g := addPortgroup(t, s, 1, node.Portgroup{NodeUUID: uid(1)})
	v, w := node.VolumeTarget{NodeUUID: uid(1)}, node.VolumeConnector{NodeUUID: uid(1)}
	ok(t, s.CreateVolumeTarget(t.Context(), &v))
	ok(t, s.CreateVolumeConnector(t.Context(), &w))
	a := addAllocation(t, s, 1, node.Allocation{State: node.Allocating})
	ch := node.Chassis{UUID: uid(70)}
	ok(t, s.CreateChassis(t.Context(), &ch))
	n := reserve(t, s, 1)
	before := load(t, s, 1)
	gone, leave := context.WithCancel(t.Context())
	leave()
	changed := n.Clone()
	changed.Description = "changed"
	for name, call := range map[string]func() error{
		"CreateNode":          func() error { return s.CreateNode(gone, &node.Node{UUID: uid(9)}) },
		"Node":                func() error { _, err := s.Node(gone, uid(1)); return err },
		"Nodes":               func() error { _, err := s.Nodes(gone, node.NodeFilter{}, node.Page{}); return err },
		"NodeByMACs":          func() error { _, err := s.NodeByMACs(gone, []string{mac(1)}); return err },
		"Reserve":             func() error { _, err := s.Reserve(gone, uid(1), "x", time.Minute); return err },
		"Save":                func() error { return s.Save(gone, changed.Clone()) },
		"Release":             func() error { return s.Release(gone, changed.Clone()) },
		"Renew":               func() error { return s.Renew(gone, changed.Clone(), time.Hour) },
		"DeleteNode":          func() error { return s.DeleteNode(gone, changed) },
		"SavePower":           func() error { return s.SavePower(gone, uid(1), node.PowerOn, 3) },
		"DropLeases":          func() error { return s.DropLeases(gone, holder) },
		"Work":                func() error { _, err := s.Work(gone, node.Now(), 5); return err },
		"CreatePort":          func() error { return s.CreatePort(gone, &node.Port{NodeUUID: uid(1), Address: mac(9)}) },
		"Port":                func() error { _, err := s.Port(gone, p.UUID); return err },
		"Ports":               func() error { _, err := s.Ports(gone, node.PortFilter{}, node.Page{}); return err },
		"SavePort":            func() error { q := p; q.Name = "changed"; return s.SavePort(gone, q) },
		"DeletePort":          func() error { return s.DeletePort(gone, p.UUID) },
		"CreatePortgroup":     func() error { return s.CreatePortgroup(gone, &node.Portgroup{NodeUUID: uid(1)}) },
		"Portgroup":           func() error { _, err := s.Portgroup(gone, g.UUID); return err },
		"Portgroups":          func() error { _, err := s.Portgroups(gone, node.PortgroupFilter{}, node.Page{}); return err },
		"SavePortgroup":       func() error { q := g; q.Name = "changed"; return s.SavePortgroup(gone, q) },
		"DeletePortgroup":     func() error { return s.DeletePortgroup(gone, g.UUID) },
		"CreateVolumeTarget":  func() error { return s.CreateVolumeTarget(gone, &node.VolumeTarget{NodeUUID: uid(1), BootIndex: 9}) },
		"VolumeTarget":        func() error { _, err := s.VolumeTarget(gone, v.UUID); return err },
		"VolumeTargetNode":    func() error { _, err := s.VolumeTargetNode(gone, v.UUID); return err },
		"VolumeTargets":       func() error { _, err := s.VolumeTargets(gone, "", node.Page{}); return err },
		"SaveVolumeTarget":    func() error { q := v; q.VolumeID = "changed"; return s.SaveVolumeTarget(gone, &q) },
		"ForgetVolumeTargets": func() error { return s.ForgetVolumeTargets(gone, uid(1)) },
		"DeleteVolumeTarget":  func() error { return s.DeleteVolumeTarget(gone, v.UUID) },
		"CreateConnector": func() error {
			return s.CreateVolumeConnector(gone, &node.VolumeConnector{NodeUUID: uid(1), Type: "ip"})
		},
		"VolumeConnector":      func() error { _, err := s.VolumeConnector(gone, w.UUID); return err },
		"VolumeConnectors":     func() error { _, err := s.VolumeConnectors(gone, "", node.Page{}); return err },
		"SaveVolumeConnector":  func() error { q := w; q.Type = "changed"; return s.SaveVolumeConnector(gone, &q) },
		"DeleteConnector":      func() error { return s.DeleteVolumeConnector(gone, w.UUID) },
		"CreateAllocation":     func() error { return s.CreateAllocation(gone, &node.Allocation{}) },
		"Allocation":           func() error { _, err := s.Allocation(gone, a.UUID); return err },
		"Allocations":          func() error { _, err := s.Allocations(gone, node.AllocationFilter{}, node.Page{}); return err },
		"SaveAllocation":       func() error { q := a; q.Name = "changed"; return s.SaveAllocation(gone, &q) },
		"EndAllocation":        func() error { _, err := s.EndAllocation(gone, a.UUID, node.AllocationError, "x"); return err },
		"DeleteAllocation":     func() error { return s.DeleteAllocation(gone, a.UUID) },
		"CreateChassis":        func() error { return s.CreateChassis(gone, &node.Chassis{}) },
		"Chassis":              func() error { _, err := s.Chassis(gone, ch.UUID); return err },
		"ListChassis":          func() error { _, err := s.ListChassis(gone, node.Page{}); return err },
		"SaveChassis":          func() error { q := ch; q.Description = "changed"; return s.SaveChassis(gone, &q) },
		"DeleteChassis":        func() error { return s.DeleteChassis(gone, ch.UUID) },
		"SaveAgent":            func() error { return s.SaveAgent(gone, uid(1), node.Agent{URL: "x"}) },
		"GiveAgentToken":       func() error { _, err := s.GiveAgentToken(gone, uid(1), "x"); return err },
		"ForgetAgent":          func() error { return s.ForgetAgent(gone, uid(1)) },
		"AddHistory":           func() error { return s.AddHistory(gone, node.HistoryEvent{NodeUUID: uid(1)}) },
		"History":              func() error { _, err := s.History(gone, uid(1), node.Page{}); return err },
		"HistoryEvent":         func() error { _, err := s.HistoryEvent(gone, uid(1), uid(1)); return err },
		"SaveInventory":        func() error { return s.SaveInventory(gone, uid(1), node.Inventory{}) },
		"Inventory":            func() error { _, err := s.Inventory(gone, uid(1)); return err },
		"SaveProgress":         func() error { return s.SaveProgress(gone, node.Progress{NodeUUID: uid(1)}) },
		"Progress":             func() error { _, err := s.Progress(gone, uid(1)); return err },
		"ClearProgress":        func() error { return s.ClearProgress(gone, uid(1)) },
		"PutRecord":            func() error { return s.PutRecord(gone, record(1)) },
		"DropRecord":           func() error { return s.DropRecord(gone, uid(1)) },
		"RecordOf":             func() error { _, err := s.RecordOf(gone, uid(1)); return err },
		"RecordBySecret":       func() error { _, err := s.RecordBySecret(gone, "x"); return err },
		"Machine":              func() error { _, err := s.Machine(gone, mac(1)); return err },
		"AddressLeases":        func() error { _, err := s.AddressLeases(gone); return err },
		"PutAddressLease":      func() error { return s.PutAddressLease(gone, boot.AddressLease{MAC: mac(1), IP: "10.0.0.1"}) },
		"DropAddressLease":     func() error { return s.DropAddressLease(gone, mac(1)) },
		"CreateDeployTemplate": func() error { return s.CreateDeployTemplate(gone, &node.DeployTemplate{Name: "CUSTOM_B"}) },
		"DeployTemplate":       func() error { _, err := s.DeployTemplate(gone, tpl.UUID); return err },
		"DeployTemplates":      func() error { _, err := s.DeployTemplates(gone, node.Page{}); return err },
		"DeployTemplatesNamed": func() error { _, err := s.DeployTemplatesNamed(gone, []string{"CUSTOM_A"}); return err },
		"SaveDeployTemplate":   func() error { c := tpl; c.Description = "changed"; return s.SaveDeployTemplate(gone, &c) },
		"DeleteDeployTemplate": func() error { return s.DeleteDeployTemplate(gone, tpl.UUID) },
		"SaveLines":            func() error { return s.SaveLines(gone, node.MachineLines{NodeUUID: uid(1), Source: node.SerialLine}) },
		"Lines":                func() error { _, err := s.Lines(gone, uid(1), node.SerialLine); return err },
		"ClearLines":           func() error { return s.ClearLines(gone, uid(1)) },
		"SaveFailure":          func() error { return s.SaveFailure(gone, node.Evidence{NodeUUID: uid(1)}) },
		"Failure":              func() error { _, err := s.Failure(gone, uid(1)); return err },
	} {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want the context's error", name, err)
		}
	}
	same(t, "the node", load(t, s, 1), before)
	got, err := s.Port(t.Context(), p.UUID)
	ok(t, err)
	same(t, "the port", got, p)
	kept, err := s.DeployTemplates(t.Context(), node.Page{})
	ok(t, err)
	if d := cmp.Diff([]node.DeployTemplate{tpl}, kept); len(kept) != 1 || kept[0].Description != "" {
		t.Errorf("templates: %s", d)
	}
	if all, err := s.Nodes(t.Context(), node.NodeFilter{}, node.Page{}); err != nil || len(all) != 1 {
		t.Errorf("%d nodes, %v", len(all), err)
	}
}

package conductor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/store"
	"github.com/billet-metal/billet/store/pgtest"
)

// fleet stores nodes as they are: available and of the class bm unless edit says otherwise.
func fleet(t *testing.T, s *store.Store, count int, edit func(i int, n *node.Node)) (uuids []string) {
	t.Helper()
	for i := range count {
		n := &node.Node{Name: fmt.Sprint("n", i), Driver: "fake-hardware", State: node.Available, Power: node.PowerOff, ResourceClass: "bm"}
		if edit != nil {
			edit(i, n)
		}
		if err := s.CreateNode(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		uuids = append(uuids, n.UUID)
	}
	return uuids
}

func (s site) conductor(host string, through Store) *Conductor {
	return New(Config{Store: through, Types: testTypes(newMachine()), Host: host,
		LeaseTTL: time.Minute, LockAttempts: 3, LockInterval: 10 * time.Millisecond})
}

// Requests at the same time, through several processes, never get the same node, and none is left out while there is one.
func TestAllocationsAtTheSameTime(t *testing.T) {
	for _, kind := range []string{"SQLite", "PostgreSQL"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			const nodes, requests = 8, 12
			s := newSite(t)
			stores := []*store.Store{s.db, s.db}
			if kind == "PostgreSQL" {
				pg, err := pgtest.Start()
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := pg.Stop(); err != nil {
						t.Error(err)
					}
				})
				cfg := store.Config{URL: pg.Database(t), DataDir: t.TempDir()}
				for i := range stores {
					cfg.Host = fmt.Sprint("host-", i)
					if stores[i], err = store.Open(t.Context(), cfg); err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { _ = stores[i].Close() })
				}
			}
			fleet(t, stores[0], nodes, nil)
			got := make([]node.Allocation, requests)
			var wg sync.WaitGroup
			for i := range got {
				c := s.conductor(fmt.Sprint("host-", i%2), inSQL(stores[i%2]))
				wg.Go(func() {
					var err error
					if got[i], err = c.CreateAllocation(t.Context(), node.Allocation{ResourceClass: "bm", Name: fmt.Sprint("a", i)}); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			of := map[string]string{}
			for _, a := range got {
				switch a.State {
				case node.Allocated:
					if other := of[a.NodeUUID]; other != "" || a.NodeUUID == "" || a.LastError != "" {
						t.Errorf("node %q is of %s and of %s (%s)", a.NodeUUID, other, a.Name, a.LastError)
					}
					of[a.NodeUUID] = a.Name
					if n, err := stores[1].Node(t.Context(), a.NodeUUID); err != nil || n.InstanceUUID != a.UUID || n.AllocationUUID != a.UUID ||
						n.Lease.Holder != "" {
						t.Errorf("%s has the node %+v, %v", a.Name, n, err)
					}
				case node.AllocationError:
					if a.NodeUUID != "" || !strings.HasPrefix(a.LastError, "No node was found for allocation "+a.UUID+": ") {
						t.Errorf("%s failed with %q", a.Name, a.LastError)
					}
				default:
					t.Errorf("%s is %s", a.Name, a.State)
				}
			}
			if len(of) != nodes {
				t.Errorf("%d of %d nodes were given: %v", len(of), nodes, of)
			}
		})
	}
}

// Which node fits, and what people read when none does.
func TestWhichNodeAnAllocationGets(t *testing.T) {
	yes := true
	for _, tt := range []struct {
		name string
		a    node.Allocation
		edit func(n *node.Node)
		want string // after "No node was found for allocation UUID: "; "" is the node n0
	}{
		{"fits", node.Allocation{ResourceClass: "bm"}, nil, ""},
		{"fits with traits", node.Allocation{ResourceClass: "bm", Traits: []string{"CUSTOM_A"}},
			func(n *node.Node) { n.Traits = []string{"CUSTOM_B", "CUSTOM_A"} }, ""},
		{"is a candidate", node.Allocation{ResourceClass: "bm", CandidateNodes: []string{"n0"}}, nil, ""},
		{"has the owner", node.Allocation{ResourceClass: "bm", Owner: "ada"}, func(n *node.Node) { n.Owner = "ada" }, ""},
		{"has an owner that nobody asks for", node.Allocation{ResourceClass: "bm"}, func(n *node.Node) { n.Owner = "ada" }, ""},
		{"is a child", node.Allocation{ResourceClass: "bm"}, func(n *node.Node) { n.ParentNode = uuid1 }, ""},
		{"is never cleaned", node.Allocation{ResourceClass: "bm"}, func(n *node.Node) { n.AutomatedClean = &yes }, ""},
		{"is of another class", node.Allocation{ResourceClass: "gold"}, nil, "no node has the resource class gold."},
		{"is of a class in capitals", node.Allocation{ResourceClass: "BM"}, nil, "no node has the resource class BM."},
		{"is active", node.Allocation{ResourceClass: "bm"}, func(n *node.Node) { n.State = node.Active },
			"no available node has the resource class bm: of 2 that have it, 1 in state \"active\", 1 in state \"manageable\"."},
		{"is manageable", node.Allocation{ResourceClass: "bm"}, func(n *node.Node) { n.State = node.Manageable },
			"no available node has the resource class bm: of 2 that have it, 2 in state \"manageable\"."},
		{"is in maintenance", node.Allocation{ResourceClass: "bm"}, func(n *node.Node) { n.Maintenance = true },
			"no available node has the resource class bm: of 2 that have it, 1 in maintenance, 1 in state \"manageable\"."},
		{"is retired", node.Allocation{ResourceClass: "bm"}, func(n *node.Node) { n.Retired = true },
			"no available node has the resource class bm: of 2 that have it, 1 in state \"manageable\", 1 retired."},
		{"has an instance", node.Allocation{ResourceClass: "bm"}, func(n *node.Node) { n.InstanceUUID = uuid1 },
			"no available node has the resource class bm: of 2 that have it, 1 given away already, 1 in state \"manageable\"."},
		{"is of unknown power", node.Allocation{ResourceClass: "bm"}, func(n *node.Node) { n.Power = node.PowerUnknown },
			"no available node has the resource class bm: of 2 that have it, 1 in state \"manageable\", 1 of unknown power state."},
		{"lacks a trait", node.Allocation{ResourceClass: "bm", Traits: []string{"CUSTOM_A", "CUSTOM_C"}}, func(n *node.Node) {
			n.Traits = []string{"CUSTOM_A"}
		},
			"of 1 available nodes with the resource class bm, none fits: 1 without the trait CUSTOM_C."},
		{"is another's", node.Allocation{ResourceClass: "bm", Owner: "ada"}, func(n *node.Node) { n.Owner = "eve" },
			"of 1 available nodes with the resource class bm, none fits: 1 of another owner."},
		{"is no candidate", node.Allocation{ResourceClass: "bm", CandidateNodes: []string{"spare"}}, nil,
			"of 1 available nodes with the resource class bm, none fits: 1 not among the candidate nodes."},
		{"is locked", node.Allocation{ResourceClass: "bm"}, func(n *node.Node) { n.Description = "lock" },
			"1 nodes fit, and all of them are locked or were given away in the meantime; please try again."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			uuids := fleet(t, s.db, 2, func(i int, n *node.Node) {
				if i == 1 {
					n.Name, n.State = "spare", node.Manageable
				} else if tt.edit != nil {
					tt.edit(n)
				}
			})
			if n, _ := s.db.Node(t.Context(), "n0"); n.Description == "lock" {
				if _, err := s.db.Reserve(t.Context(), "n0", "other", time.Hour); err != nil {
					t.Fatal(err)
				}
			}
			a, err := s.conductor("host-1", inSQL(s.db)).CreateAllocation(t.Context(), tt.a)
			if err != nil {
				t.Fatal(err)
			}
			n, err := s.db.Node(t.Context(), uuids[0])
			if err != nil {
				t.Fatal(err)
			}
			if tt.want == "" {
				traits, _ := n.InstanceInfo["traits"].([]any)
				if a.State != node.Allocated || a.NodeUUID != uuids[0] || n.InstanceUUID != a.UUID || len(traits) != len(tt.a.Traits) {
					t.Errorf("%+v on %+v", a, n)
				}
				return
			}
			if want := "No node was found for allocation " + a.UUID + ": " + tt.want; a.State != node.AllocationError || a.LastError != want ||
				n.AllocationUUID != "" {
				t.Errorf("state %s with %q\nwant %q", a.State, a.LastError, want)
			}
		})
	}
	s := newSite(t)
	_, err := s.conductor("host-1", inSQL(s.db)).CreateAllocation(t.Context(),
		node.Allocation{ResourceClass: "bm", CandidateNodes: []string{"nobody"}})
	if node.KindOf(err) != node.Invalid || err.Error() != "The candidate node nobody could not be found." {
		t.Errorf("an unknown candidate: %v", err)
	}
	if all, err := s.db.Allocations.List(t.Context(), node.AllocationFilter{}, node.Page{}); err != nil || len(all) > 0 {
		t.Errorf("a refused allocation is kept: %v, %v", all, err)
	}
}

// An allocation is made for an instance that is on its node already, under the instance's UUID.
func TestAllocationsOfInstancesThatAreThere(t *testing.T) {
	for _, tt := range []struct {
		name string
		a    node.Allocation
		edit func(n *node.Node)
		want string // the refusal, with NODE for the node's UUID
	}{
		{"without an instance", node.Allocation{}, nil, ""},
		{"with an instance", node.Allocation{}, func(n *node.Node) { n.InstanceUUID = uuid1 }, ""},
		{"with the instance's UUID", node.Allocation{UUID: uuid1}, func(n *node.Node) { n.InstanceUUID = uuid1 }, ""},
		{"of its class", node.Allocation{ResourceClass: "bm", Traits: []string{"CUSTOM_A"}},
			func(n *node.Node) { n.Traits = []string{"CUSTOM_A"} }, ""},
		{"with another UUID", node.Allocation{UUID: "00000000-0000-4000-8000-00000000000f"}, func(n *node.Node) { n.InstanceUUID = uuid1 },
			"Node NODE is associated with instance " + uuid1 + ", which must be the UUID of its allocation."},
		{"of another class", node.Allocation{ResourceClass: "gold"}, nil, `Node NODE has the resource class "bm" and not "gold".`},
		{"without a trait", node.Allocation{Traits: []string{"CUSTOM_A"}}, nil,
			"Node NODE does not fit the allocation: it is without the trait CUSTOM_A."},
		{"of another owner", node.Allocation{Owner: "ada"}, nil, "Node NODE does not fit the allocation: it is of another owner."},
		{"that is not there", node.Allocation{}, func(n *node.Node) { n.State = node.Available },
			`Node NODE is in state "available"; an allocation can be made for a node only while it is active.`},
		{"that has one", node.Allocation{}, func(n *node.Node) { n.AllocationUUID = uuid1 },
			"Node NODE has the allocation " + uuid1 + " already."},
		{"with a name that is taken", node.Allocation{Name: "taken"}, nil, "An allocation with name taken already exists."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			if err := s.db.Allocations.Create(t.Context(), &node.Allocation{Name: "taken"}); err != nil {
				t.Fatal(err)
			}
			uuids := fleet(t, s.db, 1, func(_ int, n *node.Node) {
				n.State = node.Active
				if tt.edit != nil {
					tt.edit(n)
				}
			})
			before, _ := s.db.Node(t.Context(), "n0")
			a := tt.a
			a.NodeUUID = "n0"
			a, err := s.conductor("host-1", inSQL(s.db)).CreateAllocation(t.Context(), a)
			n, _ := s.db.Node(t.Context(), "n0")
			if n.Lease.Holder != "" {
				t.Error("the node stays locked")
			}
			if tt.want != "" {
				want := strings.ReplaceAll(tt.want, "NODE", uuids[0])
				if err == nil || err.Error() != want || node.KindOf(err) != node.Conflict || n.AllocationUUID != before.AllocationUUID ||
					n.InstanceUUID != before.InstanceUUID {
					t.Errorf("got %v\nwant %s", err, want)
				}
				return
			}
			if err != nil || a.State != node.Allocated || a.NodeUUID != uuids[0] || a.ResourceClass != "bm" || n.AllocationUUID != a.UUID ||
				n.InstanceUUID != a.UUID {
				t.Errorf("%+v on %+v, %v", a, n, err)
			}
			if before.InstanceUUID != "" && a.UUID != before.InstanceUUID {
				t.Errorf("the instance was %s, its allocation is %s", before.InstanceUUID, a.UUID)
			}
		})
	}
	s := newSite(t)
	_, err := s.conductor("host-1", inSQL(s.db)).CreateAllocation(t.Context(), node.Allocation{NodeUUID: "nobody"})
	if node.KindOf(err) != node.Invalid {
		t.Errorf("of nobody: %v", err)
	}
}

// An allocation ends with whatever ends it: its own deletion, the removal of the instance, the tear-down, the node's end.
func TestHowAllocationsEnd(t *testing.T) {
	remove := func(ctx context.Context, c *Conductor) error {
		_, err := c.UpdateNode(ctx, "n0", node.UpdateOptions{}, func(n *node.Node) error { n.InstanceUUID = ""; return nil })
		return err
	}
	for _, tt := range []struct {
		name  string
		state node.State
		edit  func(n *node.Node)
		do    func(ctx context.Context, c *Conductor, a node.Allocation) error
		want  string // the refusal
	}{
		{"deleted", node.Available, nil, func(ctx context.Context, c *Conductor, a node.Allocation) error {
			return c.DeleteAllocation(ctx, a.UUID)
		}, ""},
		{"deleted in maintenance", node.Active, func(n *node.Node) { n.Maintenance = true },
			func(ctx context.Context, c *Conductor, a node.Allocation) error {
				return c.DeleteAllocation(ctx, a.UUID)
			}, ""},
		{"deleted under an instance", node.Active, nil, func(ctx context.Context, c *Conductor, a node.Allocation) error {
			return c.DeleteAllocation(ctx, a.UUID)
		},
			`Allocation ALLOCATION can not be deleted: its node NODE is in state "active". Allowed are the states enroll, inspecting, inspect ` +
				`wait, manageable, available, or any in maintenance; undeploy the node first.`},
		{"the instance removed", node.Available, nil, func(ctx context.Context, c *Conductor, _ node.Allocation) error { return remove(ctx, c) },
			""},
		{"the instance removed under it", node.Active, nil, func(ctx context.Context, c *Conductor, _ node.Allocation) error {
			return remove(ctx, c)
		},
			`The instance_uuid of node NODE can not be changed in state "active"; allowed are the states enroll, inspecting, inspect wait, ` +
				`manageable, available, or any in maintenance.`},
		{"the node deleted", node.Available, func(n *node.Node) { n.Maintenance = true },
			func(ctx context.Context, c *Conductor, _ node.Allocation) error { return c.DeleteNode(ctx, "n0") }, ""},
		{"the node not deleted", node.Available, nil, func(ctx context.Context, c *Conductor, _ node.Allocation) error {
			return c.DeleteNode(ctx, "n0")
		},
			"Node NODE is associated with instance ALLOCATION."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			uuids := fleet(t, s.db, 1, nil)
			c := s.conductor("host-1", inSQL(s.db))
			a, err := c.CreateAllocation(t.Context(), node.Allocation{ResourceClass: "bm", Traits: nil})
			if err != nil || a.NodeUUID != uuids[0] {
				t.Fatal(a, err)
			}
			n, err := s.db.Reserve(t.Context(), "n0", "host-1", time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if n.State = tt.state; tt.edit != nil {
				tt.edit(n)
			}
			if err := s.db.Release(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			err = tt.do(t.Context(), c, a)
			left, gone := s.db.Allocations.Get(t.Context(), a.UUID)
			if tt.want != "" {
				want := strings.NewReplacer("NODE", uuids[0], "ALLOCATION", a.UUID).Replace(tt.want)
				if err == nil || err.Error() != want || left.State != node.Allocated || left.NodeUUID != uuids[0] {
					t.Errorf("got %v, left %+v\nwant %s", err, left, want)
				}
				return
			}
			if err != nil || node.KindOf(gone) != node.NotFound {
				t.Errorf("%v; left is %+v", err, left)
			}
			n, err = s.db.Node(t.Context(), "n0")
			if err == nil && (n.InstanceUUID != "" || n.AllocationUUID != "" || n.Lease.Holder != "") {
				t.Errorf("the node is %+v", n)
			}
		})
	}

	s := newSite(t)
	uuids := fleet(t, s.db, 1, nil)
	c, _ := s.start("host-1", inSQL(s.db))
	a, err := c.CreateAllocation(t.Context(), node.Allocation{ResourceClass: "bm"})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		event node.Event
		want  node.State
	}{{node.EventDeploy, node.Active}, {node.EventDelete, node.Available}} {
		if err := c.Provision(t.Context(), uuids[0], node.ProvisionRequest{Event: step.event}); err != nil {
			t.Fatal(err)
		}
		n := s.rest(uuids[0], step.want)
		_, gone := s.db.Allocations.Get(t.Context(), a.UUID)
		if torn := step.event == node.EventDelete; (n.AllocationUUID == "") != torn || (n.InstanceUUID == "") != torn || (gone != nil) != torn {
			t.Errorf("after %s: instance %q, allocation %q, %v", step.event, n.InstanceUUID, n.AllocationUUID, gone)
		}
	}
	if again, err := c.CreateAllocation(t.Context(), node.Allocation{ResourceClass: "bm"}); err != nil || again.NodeUUID != uuids[0] {
		t.Errorf("the freed node is not given again: %+v, %v", again, err)
	}
}

// gives reports the write by which a node is given to an allocation.
func gives(op string, about any) bool {
	n, ok := about.(*node.Node)
	return ok && op == "Release" && n.AllocationUUID != ""
}

// A process that dies while it serves an allocation leaves one that another process ends: with the node it has, or a node.
func TestAllocationsOfADeadProcess(t *testing.T) {
	for name, lost := range map[string]func(op string, about any) bool{
		"before it gives the node": func(op string, about any) bool { return gives(op, about) || op == "Allocations.End" },
		"after":                    func(op string, _ any) bool { return op == "Allocations.End" },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			fleet(t, s.db, 2, nil)
			dying := newProcess(immortal)
			dying.before = func(op string, about any) error {
				if lost(op, about) {
					return errDead
				}
				return nil
			}
			a, err := s.conductor("host-1", dying.to(inSQL(s.db))).CreateAllocation(t.Context(), node.Allocation{ResourceClass: "bm"})
			if err != nil || name == "after" && a.State != node.Allocated || name != "after" && a.State != node.Allocating {
				t.Fatalf("%+v, %v", a, err)
			}
			c := s.conductor("host-1", inSQL(s.db))
			c.sweepAllocationsOnce(t.Context(), node.Now().Add(-time.Hour)) // too young
			if now, err := s.db.Allocations.Get(t.Context(), a.UUID); err != nil || now.State != a.State {
				t.Errorf("taken up too early: %+v, %v", now, err)
			}
			for range 2 {
				c.sweepAllocationsOnce(t.Context(), node.Now().Add(time.Hour))
			}
			now, err := s.db.Allocations.Get(t.Context(), a.UUID)
			if err != nil || now.State != node.Allocated || now.LastError != "" || a.NodeUUID != "" && now.NodeUUID != a.NodeUUID {
				t.Errorf("%+v, %v", now, err)
			}
			taken := 0
			for _, ident := range []string{"n0", "n1"} {
				if n, err := s.db.Node(t.Context(), ident); err != nil || n.AllocationUUID != "" {
					taken++
				}
			}
			if taken != 1 {
				t.Errorf("%d nodes are taken", taken)
			}
		})
	}
}

// An allocation that is deleted while a node is being given to it leaves the node free.
func TestAnAllocationDeletedWhileItIsServed(t *testing.T) {
	s := newSite(t)
	fleet(t, s.db, 1, nil)
	through := newProcess(immortal)
	through.before = func(op string, about any) error {
		if !gives(op, about) {
			return nil
		}
		all, err := s.db.Allocations.List(t.Context(), node.AllocationFilter{}, node.Page{})
		if err == nil && len(all) == 1 {
			err = s.db.Allocations.Delete(t.Context(), all[0].UUID)
		}
		if err != nil || len(all) > 1 {
			t.Error(all, err)
		}
		return nil
	}
	a, err := s.conductor("host-1", through.to(inSQL(s.db))).CreateAllocation(t.Context(), node.Allocation{ResourceClass: "bm"})
	if node.KindOf(err) != node.NotFound {
		t.Errorf("%+v, %v", a, err)
	}
	if n, err := s.db.Node(t.Context(), "n0"); err != nil || n.AllocationUUID != "" || n.InstanceUUID != "" || n.Lease.Holder != "" {
		t.Errorf("the node is %+v, %v", n, err)
	}
}

// A node that cannot be written is not given, and the search says so in the log, not by another node in the dark.
func TestADatabaseThatFailsWhileANodeIsGiven(t *testing.T) {
	s := newSite(t)
	fleet(t, s.db, 3, nil)
	through := newProcess(immortal)
	through.before = func(op string, about any) error {
		if gives(op, about) {
			return errors.New("disk full")
		}
		return nil
	}
	a, err := s.conductor("host-1", through.to(inSQL(s.db))).CreateAllocation(t.Context(), node.Allocation{ResourceClass: "bm"})
	if err != nil || a.State != node.Allocating || a.NodeUUID != "" {
		t.Errorf("%+v, %v", a, err)
	}
	for _, ident := range []string{"n0", "n1", "n2"} {
		if n, err := s.db.Node(t.Context(), ident); err != nil || n.AllocationUUID != "" {
			t.Errorf("%s: %+v, %v", ident, n, err)
		}
	}
}

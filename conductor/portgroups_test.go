package conductor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/store/memory"
)

// The tear-down takes an instance's virtual interfaces and volumes from its node, and nothing of another's; what else a
// port knows stays.
func TestTheTearDownDetaches(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("fake-hardware", node.Active)
		ctx := w.t.Context()
		vif := func() node.Document { return node.Document{node.VIFKey: "v", "keep": "this"} }
		for _, err := range []error{
			w.store.CreateNode(ctx, &node.Node{UUID: id("other"), Driver: "test", State: node.Enroll}),
			w.store.Ports.Save(ctx, &node.Port{UUID: id("p1"), NodeUUID: uuid1, Address: mac1, InternalInfo: vif()}),
			w.store.Ports.Create(ctx, &node.Port{UUID: id("p2"), NodeUUID: id("other"), Address: "52:54:00:00:00:09", InternalInfo: vif()}),
			w.store.Portgroups.Create(ctx, &node.Portgroup{UUID: id("g1"), NodeUUID: uuid1, InternalInfo: vif()}),
			w.store.Portgroups.Create(ctx, &node.Portgroup{UUID: id("g2"), NodeUUID: uuid1}),
			w.store.Portgroups.Create(ctx, &node.Portgroup{UUID: id("g3"), NodeUUID: id("other"), InternalInfo: vif()}),
			w.store.VolumeTargets.Create(ctx, &node.VolumeTarget{UUID: id("t1"), NodeUUID: uuid1}),
			w.store.VolumeTargets.Create(ctx, &node.VolumeTarget{UUID: id("t2"), NodeUUID: id("other")}),
			w.store.VolumeConnectors.Create(ctx, &node.VolumeConnector{UUID: id("c1"), NodeUUID: uuid1}),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDelete})
		w.wantState(w.settle(), node.Available)
		for what, got := range map[string]node.Document{
			"port":      is(w.store.Ports, id("p1")).InternalInfo,
			"portgroup": is(w.store.Portgroups, id("g1")).InternalInfo,
		} {
			if len(got) != 1 || got["keep"] != "this" {
				t.Errorf("the %s has %v", what, got)
			}
		}
		for what, got := range map[string]node.Document{
			"port":      is(w.store.Ports, id("p2")).InternalInfo,
			"portgroup": is(w.store.Portgroups, id("g3")).InternalInfo,
		} {
			if got[node.VIFKey] != "v" {
				t.Errorf("the %s of another node has %v", what, got)
			}
		}
		targets, _ := w.store.VolumeTargets.List(ctx, node.OfNode{}, node.Page{})
		if len(targets) != 1 || targets[0].UUID != id("t2") || is(w.store.VolumeConnectors, id("c1")).UUID == "" {
			t.Errorf("left are the targets %+v", targets)
		}
	})
}

// A rebuild is of the same instance, and a deploy that fails may be tried again: both keep what is attached.
func TestOtherFlowsDetachNothing(t *testing.T) {
	for _, f := range flows {
		if f.detach != (f.name == node.FlowDelete) {
			t.Errorf("flow %s: detach %v", f.name, f.detach)
		}
	}
}

// late is a process's way to the database that comes too late: something happens before it gets its first lease.
func late(w *world, meanwhile func()) Store {
	p, once := newProcess(immortal), sync.Once{}
	p.before = func(op string, _ any) error {
		if op == "Reserve" {
			once.Do(meanwhile)
		}
		return nil
	}
	return p.to(inMemory(w.store))
}

// saved writes a record, whether it is there or not.
func saved[T, F any](records Records[T, F], x *T) error {
	ctx := context.Background()
	err := records.Save(ctx, x)
	if node.KindOf(err) == node.NotFound {
		return records.Create(ctx, x)
	}
	return err
}

// is is the record as it is now; nothing when it is gone.
func is[T, F any](records Records[T, F], uuid string) T {
	x, _ := records.Get(context.Background(), uuid)
	return x
}

// What another changed between a request's first look and its lease is not overwritten, and what was moved or deleted is
// not brought back.
func TestWhatChangesBeforeTheLease(t *testing.T) {
	var port, group = id("p1"), id("g1")
	rename := func(name string) func(*node.Port) error {
		return func(p *node.Port) error { p.Name = name; return nil }
	}
	for _, tt := range []struct {
		name      string
		meanwhile func(ctx context.Context, s *memory.Store)
		do        func(ctx context.Context, c *Conductor) error
		want      string
		check     func(s *memory.Store) bool
	}{
		{"a port gets a VIF", func(ctx context.Context, s *memory.Store) {
			_ = s.Ports.Save(ctx, &node.Port{UUID: port, NodeUUID: uuid1, Address: mac1, InternalInfo: node.Document{node.VIFKey: "v"}})
		}, func(ctx context.Context, c *Conductor) error {
			_, err := c.UpdatePort(ctx, port, rename("x"))
			return err
		}, "",
			func(s *memory.Store) bool {
				return is(s.Ports, port).InternalInfo[node.VIFKey] == "v" && is(s.Ports, port).Name == "x"
			}},
		{"a port gets a VIF, then is to be deleted", func(ctx context.Context, s *memory.Store) {
			_ = s.Ports.Save(ctx, &node.Port{UUID: port, NodeUUID: uuid1, Address: mac1, InternalInfo: node.Document{node.VIFKey: "v"}})
		}, func(ctx context.Context, c *Conductor) error { return c.DeletePort(ctx, port) },
			"Port p1 has the virtual interface v attached; detach it first, or put node " + uuid1 + " in maintenance.",
			func(s *memory.Store) bool { return is(s.Ports, port).UUID == port }},
		{"a port is deleted", func(ctx context.Context, s *memory.Store) { _ = s.Ports.Delete(ctx, port) },
			func(ctx context.Context, c *Conductor) error {
				_, err := c.UpdatePort(ctx, port, rename("x"))
				return err
			},
			"Port p1 could not be found.", func(s *memory.Store) bool { return is(s.Ports, port).UUID == "" }},
		{"a port is moved", func(ctx context.Context, s *memory.Store) {
			_ = s.Ports.Save(ctx, &node.Port{UUID: port, NodeUUID: id("other"), Address: mac1})
		},
			func(ctx context.Context, c *Conductor) error {
				_, err := c.UpdatePort(ctx, port, rename("x"))
				return err
			},
			"Port p1 was moved to node other in the meantime, please retry.",
			func(s *memory.Store) bool { return is(s.Ports, port).Name == "" }},
		{"a portgroup gets a VIF", func(ctx context.Context, s *memory.Store) {
			_ = s.Portgroups.Save(ctx, &node.Portgroup{UUID: group, NodeUUID: uuid1, InternalInfo: node.Document{node.VIFKey: "v"}})
		}, func(ctx context.Context, c *Conductor) error {
			_, err := c.UpdatePortgroup(ctx, group, func(g *node.Portgroup) error { g.Name = "x"; return nil })
			return err
		}, "", func(s *memory.Store) bool {
			return is(s.Portgroups, group).InternalInfo[node.VIFKey] == "v" && is(s.Portgroups, group).Name == "x"
		}},
		{"a portgroup is moved", func(ctx context.Context, s *memory.Store) {
			_ = s.Portgroups.Save(ctx, &node.Portgroup{UUID: group, NodeUUID: id("other")})
		}, func(ctx context.Context, c *Conductor) error { return c.DeletePortgroup(ctx, group) },
			"Portgroup g1 was moved to node other in the meantime, please retry.",
			func(s *memory.Store) bool { return is(s.Portgroups, group).UUID == group }},
		{"a portgroup gets a port", func(ctx context.Context, s *memory.Store) {
			_ = s.Ports.Save(ctx, &node.Port{UUID: port, NodeUUID: uuid1, Address: mac1, PortgroupUUID: group})
		}, func(ctx context.Context, c *Conductor) error { return c.DeletePortgroup(ctx, group) },
			"Portgroup g1 cannot be deleted: it has ports, which must leave it first.",
			func(s *memory.Store) bool { return is(s.Portgroups, group).UUID == group }},
		{"a volume target is moved", func(ctx context.Context, s *memory.Store) {
			_ = s.VolumeTargets.Save(ctx, &node.VolumeTarget{UUID: id("t1"), NodeUUID: id("other")})
		}, func(ctx context.Context, c *Conductor) error {
			_, err := c.UpdateVolumeTarget(ctx, id("t1"), func(v *node.VolumeTarget) error { v.VolumeID = "x"; return nil })
			return err
		}, "Volume target t1 was moved to node other in the meantime, please retry.",
			func(s *memory.Store) bool { return is(s.VolumeTargets, id("t1")).VolumeID == "" }},
		{"a volume target to delete is moved", func(ctx context.Context, s *memory.Store) {
			_ = s.VolumeTargets.Save(ctx, &node.VolumeTarget{UUID: id("t1"), NodeUUID: id("other")})
		}, func(ctx context.Context, c *Conductor) error { return c.DeleteVolumeTarget(ctx, id("t1")) },
			"Volume target t1 was moved to node other in the meantime, please retry.",
			func(s *memory.Store) bool { return is(s.VolumeTargets, id("t1")).UUID == id("t1") }},
		{"a volume connector to delete is moved", func(ctx context.Context, s *memory.Store) {
			_ = s.VolumeConnectors.Save(ctx, &node.VolumeConnector{UUID: id("c1"), NodeUUID: id("other")})
		}, func(ctx context.Context, c *Conductor) error { return c.DeleteVolumeConnector(ctx, id("c1")) },
			"Volume connector c1 was moved to node other in the meantime, please retry.",
			func(s *memory.Store) bool { return is(s.VolumeConnectors, id("c1")).UUID == id("c1") }},
		{"a volume connector gets another name", func(ctx context.Context, s *memory.Store) {
			_ = s.VolumeConnectors.Save(ctx, &node.VolumeConnector{UUID: id("c1"), NodeUUID: uuid1, ConnectorID: "new"})
		}, func(ctx context.Context, c *Conductor) error {
			_, err := c.UpdateVolumeConnector(ctx, id("c1"), func(v *node.VolumeConnector) error { v.Type = "ip"; return nil })
			return err
		}, "", func(s *memory.Store) bool {
			return is(s.VolumeConnectors, id("c1")).ConnectorID == "new" && is(s.VolumeConnectors, id("c1")).Type == "ip"
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", node.Active)
				ctx := w.t.Context()
				w.edit(func(n *node.Node) { n.Power = node.PowerOff })
				if err := errors.Join(w.store.CreateNode(ctx, &node.Node{UUID: id("other"), Driver: "test", State: node.Enroll}),
					w.store.Portgroups.Create(ctx, &node.Portgroup{UUID: group, NodeUUID: uuid1}),
					w.store.VolumeTargets.Create(ctx, &node.VolumeTarget{UUID: id("t1"), NodeUUID: uuid1}),
					w.store.VolumeConnectors.Create(ctx, &node.VolumeConnector{UUID: id("c1"), NodeUUID: uuid1, ConnectorID: "old"})); err != nil {
					t.Fatal(err)
				}
				cfg := w.cfg
				cfg.Store = late(w, func() { tt.meanwhile(ctx, w.store) })
				err := tt.do(ctx, New(cfg))
				if short(fmt.Sprint(err)) != tt.want && (err != nil || tt.want != "") {
					t.Errorf("got %v, want %s", err, tt.want)
				}
				if !tt.check(w.store) {
					t.Errorf("left are %+v, %+v, %+v, %+v", is(w.store.Ports, port), is(w.store.Portgroups, group),
						is(w.store.VolumeTargets, id("t1")), is(w.store.VolumeConnectors, id("c1")))
				}
				if w.node().Lease.Holder != "" {
					t.Error("the node stays locked")
				}
			})
		})
	}
}

// bootsElsewhere is a storage interface that refuses what it is shown.
type bootsElsewhere struct{ saw []node.VolumeTarget }

func (*bootsElsewhere) Name() string                  { return "noop" }
func (*bootsElsewhere) Properties() map[string]string { return nil }
func (b *bootsElsewhere) Validate(_ context.Context, t *driver.Task) error {
	if b.saw = t.VolumeTargets; len(b.saw) > 0 {
		return node.Errorf(node.Invalid, "volume %s is elsewhere.", b.saw[0].VolumeID)
	}
	return nil
}

// The storage interface is asked before a deploy and by validate, with the node's volumes; a type without one boots from disk.
func TestStorageIsAskedBeforeADeploy(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		storage := &bootsElsewhere{}
		for i := range w.cfg.Types {
			if w.cfg.Types[i].Other == nil {
				w.cfg.Types[i].Other = map[node.Interface][]driver.Implementation{}
			}
			w.cfg.Types[i].Other[node.Storage] = []driver.Implementation{storage}
		}
		ctx, c := w.t.Context(), New(w.cfg)
		if err := w.store.CreateNode(ctx, &node.Node{UUID: id("other"), Driver: "test", State: node.Enroll}); err != nil {
			t.Fatal(err)
		}
		for _, v := range []node.VolumeTarget{{UUID: id("t1"), NodeUUID: uuid1, VolumeID: "vol-1"},
			{UUID: id("t2"), NodeUUID: id("other"), VolumeID: "vol-2"}} {
			if err := w.store.VolumeTargets.Create(ctx, &v); err != nil {
				t.Fatal(err)
			}
		}
		err := c.Provision(ctx, uuid1, node.ProvisionRequest{Event: node.EventDeploy})
		want := "Node " + uuid1 + " is not ready for the deploy. storage: volume vol-1 is elsewhere."
		if err == nil || err.Error() != want || len(storage.saw) != 1 {
			t.Errorf("got %v with %v\nwant %s", err, storage.saw, want)
		}
		w.wantState(w.node(), node.Available)
		results, err := c.Validate(ctx, uuid1)
		if err != nil || *results[node.Storage].OK || results[node.Storage].Reason != "volume vol-1 is elsewhere." {
			t.Errorf("%v, %v", results[node.Storage], err)
		}
		if err := w.store.VolumeTargets.DeleteOf(ctx, uuid1); err != nil {
			t.Fatal(err)
		}
		if results, err = c.Validate(ctx, uuid1); err != nil || !*results[node.Storage].OK {
			t.Errorf("without a volume: %v, %v", results[node.Storage], err)
		}
	})
}

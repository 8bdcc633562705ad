package conductor

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
)

// ending is a process's way to a real database that is closed after some writes: no write of the process comes after that.
type ending struct {
	whole
	mu   sync.Mutex
	left int
}

func (e *ending) spend() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.left == 0 {
		return errDead
	}
	e.left--
	return nil
}

func (e *ending) dead() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.left == 0
}

func (e *ending) Save(ctx context.Context, n *node.Node) error {
	if err := e.spend(); err != nil {
		return err
	}
	return e.whole.Save(ctx, n)
}

func (e *ending) Release(ctx context.Context, n *node.Node) error {
	if err := e.spend(); err != nil {
		return err
	}
	return e.whole.Release(ctx, n)
}

func (e *ending) Reserve(ctx context.Context, ident, holder string, ttl time.Duration) (*node.Node, error) {
	if e.dead() {
		return nil, errDead
	}
	return e.whole.Reserve(ctx, ident, holder, ttl)
}

func (e *ending) Renew(ctx context.Context, n *node.Node, ttl time.Duration) error {
	if e.dead() {
		return errDead
	}
	return e.whole.Renew(ctx, n, ttl)
}

func (e *ending) kinds() Kinds {
	k := kindsOf(e.whole)
	k.Ports = spending[node.Port, node.PortFilter]{k.Ports, e.spend}
	k.Portgroups = spending[node.Portgroup, node.PortgroupFilter]{k.Portgroups, e.spend}
	k.VolumeTargets = spendingOwned[node.VolumeTarget, node.OfNode]{k.VolumeTargets, e.spend}
	k.Allocations = spendingAllocations{spending[node.Allocation, node.AllocationFilter]{k.Allocations, e.spend}, k.Allocations}
	return k
}

// spending are records that are written as long as spend lets them be.
type spending[T, F any] struct {
	Records[T, F]
	spend func() error
}

func (s spending[T, F]) Create(ctx context.Context, x *T) error {
	if err := s.spend(); err != nil {
		return err
	}
	return s.Records.Create(ctx, x)
}

func (s spending[T, F]) Save(ctx context.Context, x *T) error {
	if err := s.spend(); err != nil {
		return err
	}
	return s.Records.Save(ctx, x)
}

func (s spending[T, F]) Delete(ctx context.Context, uuid string) error {
	if err := s.spend(); err != nil {
		return err
	}
	return s.Records.Delete(ctx, uuid)
}

// spendingOwned are records whose nodes lose them as long as spend lets them.
type spendingOwned[T, F any] struct {
	OwnedRecords[T, F]
	spend func() error
}

func (s spendingOwned[T, F]) DeleteOf(ctx context.Context, uuid string) error {
	if err := s.spend(); err != nil {
		return err
	}
	return s.OwnedRecords.DeleteOf(ctx, uuid)
}

// spendingAllocations are allocations that are ended as long as spend lets them be, too.
type spendingAllocations struct {
	spending[node.Allocation, node.AllocationFilter]
	all Allocations
}

func (s spendingAllocations) End(ctx context.Context, uuid, state, lastError string) (bool, error) {
	if err := s.spend(); err != nil {
		return false, err
	}
	return s.all.End(ctx, uuid, state, lastError)
}

// owned counts what points from nodes to allocations and back: the two must agree, whatever died in between.
func (s site) owned() (nodes, active int) {
	s.t.Helper()
	all, err := s.db.Allocations.List(s.t.Context(), node.AllocationFilter{}, node.Page{})
	if err != nil {
		s.t.Fatal(err)
	}
	of := map[string]string{}
	for _, a := range all {
		if a.State == node.Allocated {
			active++
			of[a.NodeUUID] = a.UUID
		}
	}
	list, err := s.db.Nodes(s.t.Context(), node.NodeFilter{}, node.Page{})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, n := range list {
		if n.AllocationUUID != "" {
			nodes++
		}
		if owner := of[n.UUID]; owner != "" && (n.AllocationUUID != owner || n.InstanceUUID != owner) {
			s.t.Errorf("allocation %s is on node %s, which is of %q and %q", owner, n.UUID, n.AllocationUUID, n.InstanceUUID)
		}
	}
	return nodes, active
}

// A process that is killed at any of its writes while it makes or deletes an allocation leaves what another can end: made
// with one node or not at all, deleted with its node free.
func TestAllocationsSurviveKills(t *testing.T) {
	for k := range 6 {
		t.Run(fmt.Sprintf("made, killed after %d writes", k), func(t *testing.T) {
			s := newSite(t)
			fleet(t, s.db, 2, nil)
			through := &ending{whole: s.db, left: k}
			a, err := s.conductor("host-1", through).CreateAllocation(t.Context(), node.Allocation{ResourceClass: "bm", Name: "web"})
			if k == 0 {
				if err == nil {
					t.Error("made without a write")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			// The dead one's leases end; what it had not ended another ends.
			if err := s.db.DropLeases(t.Context(), "host-1"); err != nil {
				t.Fatal(err)
			}
			c := s.conductor("host-2", s.db)
			for range 2 {
				c.sweepAllocationsOnce(t.Context(), node.Now().Add(time.Hour))
			}
			nodes, active := s.owned()
			if now, err := s.db.Allocations.Get(t.Context(), a.UUID); err != nil || now.State != node.Allocated || nodes != 1 || active != 1 {
				t.Errorf("%+v, %v; %d nodes are taken, %d allocations active", now, err, nodes, active)
			}
		})
		t.Run(fmt.Sprintf("deleted, killed after %d writes", k), func(t *testing.T) {
			s := newSite(t)
			fleet(t, s.db, 2, nil)
			c := s.conductor("host-2", s.db)
			a, err := c.CreateAllocation(t.Context(), node.Allocation{ResourceClass: "bm", Name: "web"})
			if err != nil {
				t.Fatal(err)
			}
			through := &ending{whole: s.db, left: k}
			_ = s.conductor("host-1", through).DeleteAllocation(t.Context(), a.UUID)
			if err := s.db.DropLeases(t.Context(), "host-1"); err != nil {
				t.Fatal(err)
			}
			for range 2 { // nobody gives a half-deleted allocation another node
				c.sweepAllocationsOnce(t.Context(), node.Now().Add(time.Hour))
			}
			if nodes, active := s.owned(); nodes > 1 || active > nodes {
				t.Errorf("%d nodes are taken, %d allocations active", nodes, active)
			}
			if err := c.DeleteAllocation(t.Context(), a.UUID); err != nil && node.KindOf(err) != node.NotFound {
				t.Errorf("deleted again: %v", err)
			}
			nodes, active := s.owned()
			if _, err := s.db.Allocations.Get(t.Context(), a.UUID); node.KindOf(err) != node.NotFound || nodes+active > 0 {
				t.Errorf("%v; %d nodes are taken, %d allocations active", err, nodes, active)
			}
		})
	}
}

// A tear-down that is killed at any of its writes is ended by another process with nothing of the instance left.
func TestATearDownDetachesInSpiteOfKills(t *testing.T) {
	for k := range 14 {
		t.Run(fmt.Sprintf("after %d writes", k+1), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			through := &ending{whole: s.db, left: 1 << 30}
			c, stop := s.start("host-1", through)
			uuids := fleet(t, s.db, 1, nil)
			a, err := c.CreateAllocation(t.Context(), node.Allocation{ResourceClass: "bm"})
			if err != nil || a.State != node.Allocated {
				t.Fatal(a, err)
			}
			vif := func(id string) node.Document { return node.Document{node.VIFKey: id} }
			g := node.Portgroup{NodeUUID: uuids[0], InternalInfo: vif("v1")}
			p := node.Port{NodeUUID: uuids[0], Address: mac1, InternalInfo: vif("v2")}
			v := node.VolumeTarget{NodeUUID: uuids[0], BootIndex: 1}
			for _, err := range []error{s.db.Portgroups.Create(t.Context(), &g), s.db.Ports.Create(t.Context(), &p),
				s.db.VolumeTargets.Create(t.Context(), &v)} {
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := c.Provision(t.Context(), uuids[0], node.ProvisionRequest{Event: node.EventDeploy}); err != nil {
				t.Fatal(err)
			}
			s.rest(uuids[0], node.Active)
			through.mu.Lock()
			through.left = k + 1
			through.mu.Unlock()
			if err := c.Provision(t.Context(), uuids[0], node.ProvisionRequest{Event: node.EventDelete}); err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(300 * time.Millisecond); !through.dead() && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			stop()
			s.start("host-2", s.db)
			n := s.rest(uuids[0], node.Available)
			if n.InstanceUUID != "" || n.AllocationUUID != "" || len(n.InstanceInfo) > 0 || n.LastError != "" {
				t.Errorf("the node is of %q and %q, with %v and %q", n.InstanceUUID, n.AllocationUUID, n.InstanceInfo, n.LastError)
			}
			if g, err := s.db.Portgroups.Get(t.Context(), g.UUID); err != nil || len(g.InternalInfo) > 0 {
				t.Errorf("the portgroup has %v, %v", g.InternalInfo, err)
			}
			if p, err := s.db.Ports.Get(t.Context(), p.UUID); err != nil || len(p.InternalInfo) > 0 {
				t.Errorf("the port has %v, %v", p.InternalInfo, err)
			}
			if left, err := s.db.VolumeTargets.List(t.Context(), node.OfNode{}, node.Page{}); err != nil || len(left) > 0 {
				t.Errorf("volume targets are left: %v, %v", left, err)
			}
			if nodes, active := s.owned(); nodes+active > 0 {
				t.Errorf("%d nodes are taken, %d allocations active", nodes, active)
			}
			if left, err := s.db.Allocations.List(t.Context(), node.AllocationFilter{}, node.Page{}); err != nil || len(left) > 0 {
				t.Errorf("allocations are left: %v, %v", left, err)
			}
		})
	}
}

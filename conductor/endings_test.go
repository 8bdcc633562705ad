package conductor

import (
	"fmt"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
)

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
	for k := range 7 {
		t.Run(fmt.Sprintf("made, killed after %d writes", k), func(t *testing.T) {
			s := newSite(t)
			fleet(t, s.db, 2, nil)
			through := newProcess(k).to(inSQL(s.db))
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
			c := s.conductor("host-2", inSQL(s.db))
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
			c := s.conductor("host-2", inSQL(s.db))
			a, err := c.CreateAllocation(t.Context(), node.Allocation{ResourceClass: "bm", Name: "web"})
			if err != nil {
				t.Fatal(err)
			}
			through := newProcess(k).to(inSQL(s.db))
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
	for k := range 15 {
		t.Run(fmt.Sprintf("after %d writes", k+1), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			through := newProcess(immortal)
			c, stop := s.start("host-1", through.to(inSQL(s.db)))
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
			through.lives(k + 2) // the lease is the first
			if err := c.Provision(t.Context(), uuids[0], node.ProvisionRequest{Event: node.EventDelete}); err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(300 * time.Millisecond); !through.dead() && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			stop()
			s.start("host-2", inSQL(s.db))
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

package storetest

import (
	"maps"
	"slices"
	"testing"

	"github.com/billet-metal/billet/node"
)

// What is damaged is left out and named, and all else of the record and of others is read on. It is kept as it is until it
// has a new value, or somebody who knows of it gives it up.
func testDamage(t *testing.T, s Store) {
	add(t, s, 1, func(n *node.Node) {
		n.Extra, n.DriverInfo = node.Document{"a": "b"}, node.Document{"ipmi_address": "10.0.0.7"}
		n.Properties, n.Plan = node.Document{"cpus": 4.0}, &node.Plan{Flow: node.FlowDeploy}
	})
	add(t, s, 2, nil)
	for _, column := range []string{"extra", "driver_info", "plan"} {
		s.Damage(t, "node", column, uid(1))
	}
	missed := func(what string, want ...string) *node.Node {
		t.Helper()
		n := load(t, s, 1)
		same(t, what, slices.Sorted(maps.Keys(n.Unreadable)), want)
		return n
	}
	n := missed("damaged", "driver_info", "extra", "plan")
	if n.Extra == nil || len(n.Extra) > 0 || n.DriverInfo == nil || len(n.DriverInfo) > 0 || n.Plan != nil || n.Properties["cpus"] != 4.0 {
		t.Errorf("a damaged node is read as %+v", n)
	}
	for _, hot := range []bool{false, true} {
		all, err := s.Nodes(t.Context(), node.NodeFilter{}, node.Page{Hot: hot})
		ok(t, err)
		if len(all) != 2 || (len(all[0].Unreadable) > 0) == hot || len(all[1].Unreadable) > 0 {
			t.Errorf("listed, hot %v: %+v", hot, all)
		}
	}

	held := reserve(t, s, 1)
	held.Description = "changed"
	ok(t, s.Save(t.Context(), held))
	same(t, "description", missed("saved without a new value", "driver_info", "extra", "plan").Description, "changed")
	held.Extra = node.Document{"c": "d"}
	ok(t, s.Save(t.Context(), held))
	same(t, "extra", missed("with a new value", "driver_info", "plan").Extra, held.Extra)
	same(t, "the caller's list", slices.Sorted(maps.Keys(held.Unreadable)), []string{"driver_info", "plan"})
	delete(held.Unreadable, "plan")
	ok(t, s.Release(t.Context(), held))
	missed("given up", "driver_info")
	ok(t, s.DeleteNode(t.Context(), reserve(t, s, 1)))
}

// So with a record.
func testDamagedRecord(t *testing.T, s Store) {
	add(t, s, 1, nil)
	p := addPort(t, s, 1, node.Port{NodeUUID: uid(1), Extra: node.Document{"a": "b"}, InternalInfo: node.Document{"c": "d"}})
	addPort(t, s, 2, node.Port{NodeUUID: uid(1)})
	s.Damage(t, "port", "extra", p.UUID)
	got, err := s.Ports.Get(t.Context(), p.UUID)
	ok(t, err)
	if len(got.Unreadable) != 1 || got.Unreadable["extra"] == "" || len(got.Extra) > 0 || got.InternalInfo["c"] != "d" {
		t.Errorf("a damaged port is read as %+v", got)
	}
	all, err := s.Ports.List(t.Context(), node.PortFilter{}, node.Page{})
	ok(t, err)
	if len(all) != 2 || len(all[0].Unreadable) != 1 || len(all[1].Unreadable) > 0 {
		t.Errorf("listed: %+v", all)
	}
	got.Name = "eth0"
	ok(t, s.Ports.Save(t.Context(), &got))
	if got, err = s.Ports.Get(t.Context(), "eth0"); err != nil || len(got.Unreadable) != 1 {
		t.Errorf("saved without a new value: %+v, %v", got, err)
	}
	got.Extra = node.Document{"e": "f"}
	ok(t, s.Ports.Save(t.Context(), &got))
	if got, err = s.Ports.Get(t.Context(), "eth0"); err != nil || len(got.Unreadable) > 0 || got.Extra["e"] != "f" {
		t.Errorf("with a new value: %+v, %v", got, err)
	}
}

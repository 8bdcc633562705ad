package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
)

func testPortgroup(t *testing.T, s Store) {
	add(t, s, 1, nil)
	add(t, s, 2, nil)
	before := node.Now()
	want := node.Portgroup{
		UUID: strings.ToUpper(uid(10)), NodeUUID: uid(1), Name: "bond0", Address: "52:54:00:AB:CD:EF", Mode: "802.3ad",
		StandalonePortsSupported: true,
		PhysicalNetwork:          "physnet1", Category: "blue", Properties: node.Document{"miimon": 100.0}, Extra: node.Document{"n": 1.0},
		InternalInfo: node.Document{node.VIFKey: "x"},
	}
	ok(t, s.Portgroups.Create(t.Context(), &want))
	if want.ID == 0 || want.CreatedAt.Before(before) || !want.UpdatedAt.Equal(want.CreatedAt) || want.Address != "52:54:00:ab:cd:ef" ||
		want.UUID != uid(10) {
		t.Errorf("filled as %+v", want)
	}
	for _, ident := range []string{uid(10), strings.ToUpper(uid(10)), "bond0", "52:54:00:ab:cd:ef", "52:54:00:AB:CD:EF"} {
		got, err := s.Portgroups.Get(t.Context(), ident)
		ok(t, err)
		same(t, ident, got, want)
	}

	want.NodeUUID, want.Name, want.Address, want.Mode, want.StandalonePortsSupported = uid(2), "", "", "balance-rr", false
	want.PhysicalNetwork, want.Category, want.Properties, want.Extra, want.InternalInfo = "", "", node.Document{}, node.Document{"a": "b"},
		node.Document{}
	made := want.UpdatedAt
	ok(t, s.Portgroups.Save(t.Context(), &want))
	got, err := s.Portgroups.Get(t.Context(), uid(10))
	ok(t, err)
	if !got.UpdatedAt.After(made) || got.UpdatedAt != want.UpdatedAt {
		t.Errorf("updated %s, was %s, given %s", got.UpdatedAt, made, want.UpdatedAt)
	}
	same(t, "saved", got, want)

	ok(t, s.Portgroups.Delete(t.Context(), strings.ToUpper(uid(10))))
	refused(t, s.Portgroups.Delete(t.Context(), uid(10)), node.NotFound, "Portgroup "+uid(10)+" could not be found.")
	refused(t, s.Portgroups.Save(t.Context(), &want), node.NotFound, "Portgroup "+uid(10)+" could not be found.")

	// Those of a node go with it.
	addPortgroup(t, s, 3, node.Portgroup{NodeUUID: uid(2)})
	ok(t, s.DeleteNode(t.Context(), reserve(t, s, 2)))
	_, err = s.Portgroups.Get(t.Context(), uid(300_003))
	refused(t, err, node.NotFound, "Portgroup "+uid(300_003)+" could not be found.")
}

// addPortgroup creates the portgroup i.
func addPortgroup(t *testing.T, s Store, i int, g node.Portgroup) node.Portgroup {
	t.Helper()
	g.UUID = uid(300_000 + i)
	ok(t, s.Portgroups.Create(t.Context(), &g))
	return g
}

func testPortgroupRefusals(t *testing.T, s Store) {
	add(t, s, 1, nil)
	addPortgroup(t, s, 1, node.Portgroup{NodeUUID: uid(1), Name: "bond0", Address: mac(1)})
	second := addPortgroup(t, s, 2, node.Portgroup{NodeUUID: uid(1)})
	addPortgroup(t, s, 3, node.Portgroup{NodeUUID: uid(1)}) // no name and no address are no duplicates
	addPort(t, s, 1, node.Port{NodeUUID: uid(1), Address: mac(1)})
	for _, tt := range []struct {
		g    node.Portgroup
		kind node.Kind
		want string
	}{
		{node.Portgroup{NodeUUID: uid(1), Address: strings.ToUpper(mac(1))}, node.Conflict,
			"A portgroup with MAC address " + mac(1) + " already exists."},
		{node.Portgroup{NodeUUID: uid(1), UUID: second.UUID}, node.Conflict, "A portgroup with UUID " + second.UUID + " already exists."},
		{node.Portgroup{NodeUUID: uid(1), Name: "bond0"}, node.Conflict, "A portgroup with name bond0 already exists."},
		{node.Portgroup{NodeUUID: uid(1), UUID: "x"}, node.Invalid, "Expected a UUID but received x."},
		{node.Portgroup{NodeUUID: uid(9)}, node.NotFound, "Node " + uid(9) + " could not be found."},
	} {
		refused(t, s.Portgroups.Create(t.Context(), &tt.g), tt.kind, tt.want)
	}
	for what, edit := range map[string]func(*node.Portgroup){
		"A portgroup with MAC address " + mac(1) + " already exists.": func(g *node.Portgroup) { g.Address = mac(1) },
		"A portgroup with name bond0 already exists.":                 func(g *node.Portgroup) { g.Name = "bond0" },
	} {
		g := second
		edit(&g)
		refused(t, s.Portgroups.Save(t.Context(), &g), node.Conflict, what)
	}
	second.NodeUUID = uid(9)
	refused(t, s.Portgroups.Save(t.Context(), &second), node.NotFound, "Node "+uid(9)+" could not be found.")
	for _, ident := range []string{"", "bond9", uid(9), mac(9)} {
		_, err := s.Portgroups.Get(t.Context(), ident)
		refused(t, err, node.NotFound, "Portgroup "+ident+" could not be found.")
	}
	_, err := s.Portgroups.List(t.Context(), node.PortgroupFilter{}, node.Page{SortKey: "extra"})
	refused(t, err, node.Invalid, `The sort_key value "extra" is an invalid field for sorting`)
	_, err = s.Portgroups.List(t.Context(), node.PortgroupFilter{}, node.Page{Marker: uid(9)})
	refused(t, err, node.NotFound, "Portgroup "+uid(9)+" could not be found.")
}

func testPortgroupLists(t *testing.T, s Store) {
	add(t, s, 1, func(n *node.Node) { n.Shard = "s1" })
	add(t, s, 2, func(n *node.Node) { n.Shard, n.ConductorGroup = "s2", "east" })
	for i := range 9 {
		addPortgroup(t, s, i, node.Portgroup{NodeUUID: uid(1 + i%2), Name: fmt.Sprintf("bond%d", 9-i), Address: mac(i)})
	}
	list := func(f node.PortgroupFilter, p node.Page) (out []int) {
		for {
			groups, err := s.Portgroups.List(t.Context(), f, p)
			ok(t, err)
			for _, g := range groups {
				var i int
				_, _ = fmt.Sscanf(g.UUID[24:], "%d", &i)
				out = append(out, i-300_000)
			}
			if p.Limit == 0 || len(groups) < p.Limit {
				return out
			}
			p.Marker = groups[len(groups)-1].UUID
		}
	}
	for _, tt := range []struct {
		name string
		f    node.PortgroupFilter
		want []int
	}{
		{"all", node.PortgroupFilter{}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8}},
		{"node", node.PortgroupFilter{NodeUUID: strings.ToUpper(uid(2))}, []int{1, 3, 5, 7}},
		{"address", node.PortgroupFilter{Address: strings.ToUpper(mac(4))}, []int{4}},
		{"address of another node's", node.PortgroupFilter{NodeUUID: uid(2), Address: mac(4)}, nil},
		{"shards", node.PortgroupFilter{Shards: []string{"s2", "s9"}}, []int{1, 3, 5, 7}},
		{"group", node.PortgroupFilter{ConductorGroups: []string{"east"}}, []int{1, 3, 5, 7}},
		{"the default group", node.PortgroupFilter{ConductorGroups: []string{""}}, []int{0, 2, 4, 6, 8}},
	} {
		same(t, tt.name, list(tt.f, node.Page{}), tt.want)
		same(t, tt.name+" by twos", list(tt.f, node.Page{Limit: 2}), tt.want)
		byName := list(tt.f, node.Page{Limit: 2, SortKey: "name"})
		slices.Reverse(byName)
		same(t, tt.name+" by name", byName, tt.want)
	}
}

// A machine whose operating system speaks with its bond's address is known, and boots nothing; a port's own address counts first.
func testBonds(t *testing.T, s Store) {
	add(t, s, 1, nil)
	add(t, s, 2, nil)
	addPort(t, s, 1, node.Port{NodeUUID: uid(1), PXEEnabled: true})
	addPortgroup(t, s, 1, node.Portgroup{NodeUUID: uid(2), Address: mac(7)})
	addPortgroup(t, s, 2, node.Portgroup{NodeUUID: uid(2), Address: mac(1)}) // as the first port of node 1
	addPortgroup(t, s, 3, node.Portgroup{NodeUUID: uid(2)})
	for _, i := range []int{1, 2} {
		ok(t, s.PutRecord(t.Context(), record(i)))
	}
	for address, want := range map[string]string{mac(7): uid(2), strings.ToUpper(mac(7)): uid(2), mac(1): uid(1), mac(9): "", "": ""} {
		m, err := s.Machine(t.Context(), address)
		if err != nil || m.NodeUUID != want || (m.Record != nil) != (address == mac(1)) {
			t.Errorf("%q is of %q with %+v, %v; want %q", address, m.NodeUUID, m.Record, err, want)
		}
	}
}

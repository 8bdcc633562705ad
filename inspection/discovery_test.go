package inspection_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/inspection"
	"github.com/billet-metal/billet/inspection/rules"
	"github.com/billet-metal/billet/node"
)

func TestDiscoveredMachinesAreMarked(t *testing.T) {
	n, sent := &node.Node{}, node.Document{"a": "b"}
	if inspection.Discovered(n) {
		t.Error("a node that people enrolled is marked")
	}
	data := inspection.Discover(n, node.InspectionData{PluginData: sent})
	if !inspection.Discovered(n) || data.PluginData["auto_discovered"] != true || len(sent) != 1 {
		t.Errorf("node %v, report %v, as sent %v", n.DriverInternalInfo, data.PluginData, sent)
	}
}

// What is kept of machines that nobody knows is bounded, each and all.
func TestBoundsOfDiscovery(t *testing.T) {
	large := node.InspectionData{PluginData: node.Document{"x": strings.Repeat("x", 2<<20)}}
	if err := inspection.Modest(large); node.KindOf(err) != node.Invalid || !strings.Contains(err.Error(), "at most 2097152 are kept") {
		t.Errorf("a large report: %v", err)
	}
	if err := inspection.Modest(report(t, nil)); err != nil {
		t.Error(err)
	}
	found := &node.Node{}
	inspection.Discover(found, node.InspectionData{})
	for _, tt := range []struct {
		limit int
		full  bool
	}{{0, false}, {1, true}, {2, false}} {
		err := inspection.RoomForOne([]*node.Node{{}, found, {}}, tt.limit)
		if (err != nil) != tt.full || err != nil && node.KindOf(err) != node.Unavailable {
			t.Errorf("one of at most %d waits: %v", tt.limit, err)
		}
	}
}

// An address that is another node's port already becomes no port. A machine whose boot interface it is has become that
// node meanwhile, and is no second one.
func TestForeignPorts(t *testing.T) {
	const own, foreign = "52:54:00:00:00:01", "52:54:00:00:00:02"
	owners := map[string]string{own: "this", foreign: "other"}
	ports := func(boots bool) node.Findings {
		return node.Findings{Ports: []node.Port{{ID: 7, Address: foreign}, {Address: own}, {Address: foreign, PXEEnabled: boots},
			{Address: "new"}}}
	}
	found := ports(true)
	if err := inspection.Foreign(&node.Node{ID: 1, UUID: "this"}, &found, owners); err != nil {
		t.Fatal(err)
	}
	want := node.Findings{
		Ports: []node.Port{{ID: 7, Address: foreign}, {Address: own}, {Address: "new"}},
		Notes: []string{"The interface with the MAC address " + foreign + " did not become a port: node other has a port with it."},
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Error(diff)
	}
	found = ports(true)
	if err := inspection.Foreign(&node.Node{UUID: "this"}, &found, owners); node.KindOf(err) != node.Conflict || err == nil {
		t.Errorf("a new node with another's boot interface: %v", err)
	}
	found = ports(false)
	if err := inspection.Foreign(&node.Node{UUID: "this"}, &found, owners); err != nil || len(found.Ports) != 3 {
		t.Errorf("a new node with another's further interface: %v, %+v", err, found.Ports)
	}
}

// Rules see the ports that the node is going to have, and what they leave as it was is not stored again.
func TestRulesWorkOnWhatTheHooksFound(t *testing.T) {
	old := []node.Port{{ID: 1, UUID: "stays", Address: "m1"}, {ID: 2, UUID: "goes", Address: "m2"}, {ID: 3, UUID: "changed", Address: "m3"}}
	changed := old[2]
	changed.PhysicalNetwork = "net"
	found := node.Findings{
		Ports: []node.Port{changed, {UUID: "new", Address: "m4"}}, Gone: old[1:2],
		Inventory: node.Inventory{Inventory: node.Document{"bmc_address": "192.0.2.7"}, PluginData: node.Document{"a": "b"}},
	}
	n := &node.Node{UUID: testUUID, Driver: "ipmi"}
	list := []node.InspectionRule{{UUID: "r1", Actions: []node.RuleOperation{
		{Op: "set-plugin-data", Args: []any{"bmc", "{inventory[bmc_address]}"}},
		{Op: "set-port-attribute", Args: []any{"new", "name", "nic"}},
		{Op: "set-attribute", Args: []any{"description", "found"}},
	}}}
	applied, err := inspection.Apply(t.Context(), list, rules.Machine{Node: n}, old, &found)
	if err != nil || len(applied) != 1 || n.Description != "found" || found.Inventory.PluginData["bmc"] != "192.0.2.7" {
		t.Errorf("%v, %v, node %+v, plugin data %v", applied, err, n, found.Inventory.PluginData)
	}
	var saved []string
	for _, p := range found.Ports {
		saved = append(saved, p.UUID+" "+p.Name)
	}
	if diff := cmp.Diff([]string{"changed ", "new nic"}, saved); diff != "" {
		t.Error(diff)
	}
	list[0].Actions = []node.RuleOperation{{Op: "set-port-attribute", Args: []any{"goes", "name", "x"}}}
	if _, err := inspection.Apply(t.Context(), list, rules.Machine{Node: n}, old, &found); err == nil {
		t.Error("a rule changes a port that goes")
	}
}

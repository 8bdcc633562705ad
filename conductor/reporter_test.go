package conductor

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/billet-metal/billet/inspection"
	"github.com/billet-metal/billet/node"
)

const (
	uuid2  = "22222222-2222-4222-8222-222222222222"
	mac2   = "52:54:00:00:00:02"
	shared = "02:42:42:42:42:42" // of the BMC's interface in each machine
)

// rack is two nodes of one make. The first has a port of the interface that all machines of the make have.
func rack(t *testing.T, state node.State, test func(w *world, c *Conductor)) {
	inWorld(t, func(w *world) {
		w.cfg.Discovery.Driver = "test"
		w.enroll("test", state)
		second := &node.Node{UUID: uuid2, Name: "second", Driver: "test", State: state, DriverInfo: node.Document{},
			InstanceInfo: node.Document{"image_source": "file:///img"}}
		if err := w.store.CreateNode(w.t.Context(), second); err != nil {
			t.Fatal(err)
		}
		for _, p := range []node.Port{
			{UUID: id("p2"), NodeUUID: uuid2, Address: mac2, PXEEnabled: true}, {UUID: id("p3"), NodeUUID: uuid1, Address: shared},
		} {
			if err := w.store.Ports.Create(w.t.Context(), &p); err != nil {
				t.Fatal(err)
			}
		}
		if state == node.CleanWait { // nothing runs: no conductor is to look for work
			test(w, New(w.cfg))
			return
		}
		c, _ := w.start(w.cfg)
		test(w, c)
	})
}

// machineWith is what a ramdisk reports that booted from the first of the addresses.
func machineWith(serial string, macs ...string) node.InspectionData {
	var nics []any
	for i, mac := range macs {
		nics = append(nics, map[string]any{"name": fmt.Sprintf("eth%d", i), "mac_address": mac})
	}
	return node.InspectionData{BootInterface: macs[0], PluginData: node.Document{}, Inventory: node.Document{
		"interfaces": nics, "system_vendor": map[string]any{"serial_number": serial},
	}}
}

// One MAC address that all machines have vetoes nothing: each machine is told from the others by what is its own.
func TestASharedInterfaceTellsNoMachineFromAnother(t *testing.T) {
	rack(t, node.CleanWait, func(w *world, c *Conductor) {
		for _, tt := range []struct {
			macs []string
			want string
		}{
			{[]string{mac1, shared}, uuid1}, {[]string{shared, mac2}, uuid2}, {[]string{mac2, shared}, uuid2}, {[]string{shared, mac1}, uuid1},
		} {
			n, token, err := c.LookupAgent(w.t.Context(), node.AgentLookup{MACs: tt.macs, WantToken: true})
			if err != nil || n.UUID != tt.want || token == "" {
				t.Errorf("%v: %v, %v", tt.macs, n, err)
			}
		}
		if _, _, err := c.LookupAgent(w.t.Context(), node.AgentLookup{MACs: []string{mac1, mac2}}); node.KindOf(err) != node.Conflict {
			t.Errorf("two boot interfaces of two nodes: %v", err)
		}
	})
}

// The report of a machine that no node is known for is its own, whatever interface it shares with one that is known.
func TestASharedInterfaceIsNoPortOfTheSecondMachine(t *testing.T) {
	rack(t, node.Active, func(w *world, c *Conductor) {
		const third = newMAC
		data := machineWith("SN3", third, shared)
		n, err := c.ContinueInspection(w.t.Context(), data)
		if err != nil || n.UUID == uuid1 || n.UUID == uuid2 {
			t.Fatalf("%v, %v", n, err)
		}
		ports, _ := w.store.Ports.List(w.t.Context(), node.PortFilter{NodeUUID: n.UUID}, node.Page{})
		if slices.ContainsFunc(ports, func(p node.Port) bool { return p.Address == shared }) {
			t.Errorf("ports %+v", ports)
		}
		if again, err := c.ContinueInspection(w.t.Context(), machineWith("SN3", third, shared)); err != nil || again.UUID != n.UUID {
			t.Errorf("it reports again: %v, %v", again, err)
		}
	})
}

// Strongest evidence first: the interface booted from, the serial number of the last inspection, other interfaces for
// network boot, then how many are known.
func TestTheStrongestEvidenceDecides(t *testing.T) {
	rack(t, node.Active, func(w *world, c *Conductor) {
		for uuid, serial := range map[string]string{uuid1: "SN1", uuid2: "SN2"} {
			_ = w.store.SaveInventory(w.t.Context(), uuid, node.Inventory{Inventory: machineWith(serial, mac1).Inventory})
		}
		for _, tt := range []struct {
			name   string
			m      inspection.Claim
			want   string
			refuse node.Kind
		}{
			{"the interface booted from", inspection.Claim{MACs: []string{mac2, mac1, shared}, Booted: mac2, Serial: "sn1"}, uuid2, 0},
			{"the serial number, of two boot interfaces", inspection.Claim{MACs: []string{mac1, mac2}, Serial: "sn2"}, uuid2, 0},
			{"a serial number of neither", inspection.Claim{MACs: []string{mac1, mac2}, Serial: "sn9"}, "", node.Conflict},
			{"a board with another network card",
				inspection.Claim{MACs: []string{"52:54:00:00:00:99", shared}, Booted: "52:54:00:00:00:99", Serial: "sn1"}, uuid1, 0},
			{"another machine with the shared card",
				inspection.Claim{MACs: []string{"52:54:00:00:00:99", shared}, Booted: "52:54:00:00:00:99", Serial: "sn9"}, "", node.NotFound},
			{"the same, whose serial number nobody set",
				inspection.Claim{MACs: []string{"52:54:00:00:00:99", shared}, Booted: "52:54:00:00:00:99"}, "", node.NotFound},
			{"a stranger", inspection.Claim{MACs: []string{"52:54:00:00:00:99"}, Booted: "52:54:00:00:00:99"}, "", node.NotFound},
		} {
			n, err := c.byAddresses(w.t.Context(), tt.m)
			if tt.want == "" && (err == nil || node.KindOf(err) != tt.refuse) || tt.want != "" && (err != nil || n.UUID != tt.want) {
				t.Errorf("%s: %v, %v", tt.name, n, err)
			}
		}
	})
}

// What binds a call to a node, for each way in which the node's machine may have come to its ramdisk.
func TestProofs(t *testing.T) {
	const key, other = "00000000000000000000000000000001", "00000000000000000000000000000002"
	rack(t, node.CleanWait, func(w *world, c *Conductor) {
		for _, tt := range []struct {
			name            string
			record          any // its key, nil for no record
			agent, given    string
			want            proof
			lookupIsRefused bool
		}{
			{"the key of the boot", key, "", key, proven, false},
			{"another key", key, "", other, refuted, true},
			{"no key", key, "", "", refuted, true},
			{"the key of the boot whose agent runs on", nil, key, key, proven, false},
			{"a key of the agent's boot is asked for", nil, key, "", refuted, true},
			{"the agent of an earlier boot, while the next is prepared", other, key, key, proven, false},
			{"a boot without a key", "", "", "", unproven, false},
			{"a made-up key for a boot without one", "", "", key, refuted, true},
			{"nothing of ours boots", nil, "", "", unproven, false},
		} {
			if err := w.store.DropRecord(w.t.Context(), uuid1); err != nil {
				t.Fatal(err)
			}
			if tt.record != nil {
				w.boots(tt.record.(string))
			}
			n, _ := w.store.Node(w.t.Context(), uuid1)
			n.Agent.BootKey = tt.agent
			got, err := c.prove(w.t.Context(), n, node.Caller{BootKey: tt.given})
			if err != nil || got != tt.want {
				t.Errorf("%s: %v, %v", tt.name, got, err)
			}
		}
	})
}

// A node without keys is believed by its address: who asks again from elsewhere gets no token and is no sign of the machine.
func TestALookupFromElsewhereArmsNothing(t *testing.T) {
	rack(t, node.CleanWait, func(w *world, c *Conductor) {
		ask := func(from string) (string, node.Agent) {
			t.Helper()
			_, token, err := c.LookupAgent(w.t.Context(),
				node.AgentLookup{MACs: []string{mac1}, WantToken: true, Caller: node.Caller{Address: netip.MustParseAddr(from)}})
			if err != nil {
				t.Fatal(err)
			}
			n, _ := w.store.Node(w.t.Context(), uuid1)
			return token, n.Agent
		}
		if token, _ := ask("10.0.0.5"); len(token) != 43 {
			t.Fatal(token)
		}
		if token, agent := ask("10.0.0.66"); token != "******" || !agent.RefusedAt.IsZero() {
			t.Errorf("a stranger: %q, refused at %s", token, agent.RefusedAt)
		}
		if token, agent := ask("10.0.0.5"); token != "******" || agent.RefusedAt.IsZero() {
			t.Errorf("the machine: %q, refused at %s", token, agent.RefusedAt)
		}
	})
}

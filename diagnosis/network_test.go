package diagnosis_test

import (
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/diagnosis"
	"github.com/billet-metal/billet/node"
)

// Where another serves DHCP, that no request was seen is never said; what the network service says is, and its faults come first.
func TestWhereNeutronServesDHCP(t *testing.T) {
	now := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	well := node.NetworkPort{ID: "p1", MAC: mac1, Network: "net", Status: "ACTIVE", Up: true, Bound: true, Addresses: []string{"10.0.0.9"},
		DHCP: node.DHCP{Agents: []node.DHCPAgent{{Host: "net1"}, {Host: "net2", Alive: true}}}}
	but := func(change func(*node.NetworkPort)) *node.NetworkReport {
		p := well
		change(&p)
		return &node.NetworkReport{Service: "Neutron", Ports: []node.NetworkPort{p}}
	}
	const notSeen = "What it asked over DHCP is not seen here, as Neutron serves that: "
	const isItOn = ". Is the machine on and set to boot from the network"
	for _, tt := range []struct {
		name   string
		report *node.NetworkReport
		want   string
		hint   bool // what to look at in the machine
	}{
		{"it was not asked", nil, "as Neutron serves that. Is the machine on", true},
		{"all is well", but(func(*node.NetworkPort) {}), notSeen +
			"Neutron says that port p1 of " + mac1 + " is ACTIVE with 10.0.0.9, and that its DHCP agent on net2 lives" + isItOn, true},
		{"it is away", &node.NetworkReport{Service: "Neutron", Silent: "Neutron answers nothing."}, notSeen +
			"Neutron did not say what it knows of them (Neutron answers nothing)" + isItOn, true},
		{"no port", &node.NetworkReport{Service: "Neutron"}, notSeen + "Neutron has no port with one of these MAC addresses", false},
		{"not bound", but(func(p *node.NetworkPort) { p.Bound = false }), "port p1 of " + mac1 + " is not bound to this node", false},
		{"binding failed", but(func(p *node.NetworkPort) { p.Failed, p.Status = true, "DOWN" }),
			"(binding_failed): check local_link_connection", false},
		{"down", but(func(p *node.NetworkPort) { p.Status = "DOWN" }), "is DOWN instead of ACTIVE", false},
		{"switched off", but(func(p *node.NetworkPort) { p.Up = false }), "(admin_state_up is false)", false},
		{"no DHCP", but(func(p *node.NetworkPort) { p.DHCP = node.DHCP{Off: true} }),
			"no subnet of network net, which port p1 of " + mac1 +
				" is on, has DHCP (enable_dhcp)", false},
		{"the agent is dead", but(func(p *node.NetworkPort) { p.DHCP.Agents = p.DHCP.Agents[:1] }),
			"does not live: it was to run on net1", false},
		{"no agent", but(func(p *node.NetworkPort) { p.DHCP = node.DHCP{} }), "names no DHCP agent there, which is right where OVN", true},
		{"agents are not told", but(func(p *node.NetworkPort) { p.DHCP = node.DHCP{Silent: "Forbidden."} }),
			"did not say who serves DHCP there (Forbidden)", true},
		{"one port of two is well", &node.NetworkReport{Service: "Neutron", Ports: []node.NetworkPort{{ID: "p0", MAC: mac1}, well}},
			"port p1 of " + mac1 + " is ACTIVE", true},
	} {
		e := diagnosis.Evidence{WaitedFor: heartbeat, Waited: 100 * time.Second, MACs: []string{mac1}, Now: now,
			StepBegan: now.Add(-100 * time.Second), OtherDHCP: "Neutron", Network: tt.report}
		got := diagnosis.Judge(e).TimedOut
		if !strings.Contains(got, tt.want) || strings.Contains(got, "set to boot from the network") != tt.hint ||
			strings.Contains(got, "no DHCP request was seen") {
			t.Errorf("%s: %s\nwant %s, a hint: %v", tt.name, got, tt.want, tt.hint)
		}
		// A disk that boots because the port was not ready is not the BMC's fault; one that boots all the same is.
		e.Serial.Lines = []node.Line{{At: now.Add(-time.Second), Text: "Booting from Hard Disk..."}}
		got = diagnosis.Judge(e).TimedOut
		if own := strings.Contains(got, "it started its own disk (it fetched nothing from here"); own != tt.hint {
			t.Errorf("%s, and its disk boots: %s", tt.name, got)
		}
		// With the whole ramdisk there, no address of its system is missed.
		e.Serial.Lines = nil
		e.Events = []node.BootEvent{{MAC: mac1, Service: "http", Kind: node.FileSent, File: node.RamdiskFile, What: "ramdisk: complete",
			At: now.Add(-30 * time.Second)}}
		got = diagnosis.Judge(e).TimedOut
		if !strings.Contains(got, "the agent never called. Whether its system asked for an address is not seen here, as Neutron serves DHCP") ||
			strings.Contains(got, "no address was asked for") || !strings.HasSuffix(got, "Its console says more.") {
			t.Errorf("%s, and the ramdisk is there: %s", tt.name, got)
		}
	}
}

// An inspection takes as long as it takes, also where its system's address is not seen; a deploy's agent calls within its time.
func TestAnInventoryUnderAnotherDHCP(t *testing.T) {
	now := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	e := diagnosis.Evidence{Waited: 900 * time.Second, MACs: []string{mac1}, Now: now, StepBegan: now.Add(-900 * time.Second),
		BootPhaseTimeout: 110 * time.Second, FirmwareTimeout: 25 * time.Minute, Waiting: true, Deadline: now.Add(900 * time.Second),
		Events: []node.BootEvent{{MAC: mac1, Service: "http", Kind: node.FileSent, File: node.RamdiskFile, What: "ramdisk: complete",
			Proof: node.ProofNeighbour, At: now.Add(-600 * time.Second)}}}
	for _, tt := range []struct {
		other   string
		waits   node.Await
		stalled bool
	}{
		{"", node.Await{For: node.Report, Text: "the report"}, true},
		{"Neutron", node.Await{For: node.Report, Text: "the report"}, false},
		{"Neutron", heartbeat, true},
	} {
		e.OtherDHCP, e.WaitedFor = tt.other, tt.waits
		if got := diagnosis.Judge(e).Stalled; (got != "") != tt.stalled {
			t.Errorf("%q serves DHCP, waiting for %s: %q", tt.other, tt.waits.Text, got)
		}
	}
}

func TestSoFarUnderAnotherDHCP(t *testing.T) {
	now := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	e := diagnosis.Evidence{Now: now, Flow: "The deploy", FlowBegan: now.Add(-9 * time.Second), Step: "deploy.deploy",
		StepBegan: now.Add(-9 * time.Second),
		Waiting:   true, WaitedFor: heartbeat, Waited: 9 * time.Second, MACs: []string{mac1}, OtherDHCP: "another server"}
	if got := e.SoFar(""); !strings.HasSuffix(got, "TFTP and HTTP have seen nothing of it yet; DHCP is served by another server.") {
		t.Error(got)
	}
	e.OtherDHCP, e.Network = "Neutron", &node.NetworkReport{Service: "Neutron",
		Ports: []node.NetworkPort{{ID: "p1", MAC: mac1, Bound: true, Up: true, Status: "DOWN"}}}
	const down = "DHCP is served by Neutron; Neutron says that port p1 of " + mac1 + " is DOWN instead of ACTIVE"
	if got := e.SoFar(""); !strings.Contains(got, down) {
		t.Error(got)
	}
}

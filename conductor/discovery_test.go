package conductor

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
)

const newMAC = "52:54:00:00:00:99" // the port that the test's inspect interface always finds

// stranger is the report of a machine that nobody has enrolled.
func stranger(bmc string) node.InspectionData {
	return node.InspectionData{
		Inventory:  node.Document{"interfaces": []any{map[string]any{"mac_address": newMAC}}, "bmc_address": bmc, "bmc_v6address": "::/0"},
		PluginData: node.Document{"a": "b"},
	}
}

func (w *world) nodes() []*node.Node {
	w.t.Helper()
	nodes, err := w.store.Nodes(w.t.Context(), node.NodeFilter{IncludeChildren: true}, node.Page{})
	if err != nil {
		w.t.Fatal(err)
	}
	return nodes
}

// discovering is a world whose one known node has other MAC addresses than the stranger.
func discovering(t *testing.T, test func(w *world, c *Conductor)) {
	inWorld(t, func(w *world) {
		w.cfg.Discovery.Driver = "test"
		w.enroll("test", node.Active)
		if err := w.store.Ports.Delete(w.t.Context(), id("p1")); err != nil { // or the stranger's second port would be taken
			t.Fatal(err)
		}
		c, _ := w.start(w.cfg)
		test(w, c)
	})
}

func TestDiscovery(t *testing.T) {
	discovering(t, func(w *world, c *Conductor) {
		r := rule("r1", []any{"set-attribute", "driver_info/ipmi_password", "from-a-rule"},
			[]any{"set-attribute", "name", "found-{plugin_data[a]}"})
		r.Conditions = []node.RuleOperation{{Op: "is-true", Args: []any{"{plugin_data[auto_discovered]}"}}}
		w.rules(r)
		n, err := c.ContinueInspection(w.t.Context(), stranger("192.0.2.77"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := w.store.Node(w.t.Context(), n.UUID)
		if err != nil || got.State != node.Enroll || got.Driver != "test" || got.Name != "found-b" ||
			got.DriverInfo["ipmi_address"] != "192.0.2.77" || got.DriverInfo["ipmi_password"] != "from-a-rule" ||
			got.DriverInternalInfo["auto_discovered"] != true || got.Properties["cpus"] != "4" || got.Interfaces[node.Deploy] != "direct" ||
			got.InspectionFinishedAt.IsZero() || got.Plan != nil || got.Lease.Holder != "" {
			t.Errorf("enrolled as %+v, %v", got, err)
		}
		ports, _ := w.store.Ports.List(w.t.Context(), node.PortFilter{NodeUUID: n.UUID}, node.Page{})
		if len(ports) != 2 || !slices.ContainsFunc(ports, func(p node.Port) bool { return p.Address == newMAC && p.PXEEnabled && p.UUID != "" }) {
			t.Errorf("ports %+v", ports)
		}
		if d := w.inventory(n.UUID); d.PluginData["auto_discovered"] != true || d.Inventory["bmc_address"] != "192.0.2.77" {
			t.Errorf("inventory %+v", d)
		}
		if e := w.events(); len(e) != 1 || !strings.HasPrefix(e[0],
			"INFO inspect: Enrolled by discovery: a machine with the MAC addresses "+newMAC) {
			t.Errorf("history %q", e)
		}
	})
}

// However often a machine reports, and by whichever of its addresses it is known, it is one node.
func TestADiscoveredMachineIsOneNode(t *testing.T) {
	discovering(t, func(w *world, c *Conductor) {
		first, err := c.ContinueInspection(w.t.Context(), stranger("192.0.2.77"))
		if err != nil {
			t.Fatal(err)
		}
		again := stranger("192.0.2.77")
		again.Inventory["memory"] = "more"
		for _, data := range []node.InspectionData{again, stranger("0.0.0.0"),
			{Inventory: node.Document{"bmc_address": "192.0.2.77", "interfaces": []any{map[string]any{"mac_address": "52:54:00:00:00:55"}}}}} {
			n, err := c.ContinueInspection(w.t.Context(), data)
			if err != nil || n.UUID != first.UUID {
				t.Errorf("%v: %v, %v", data.Inventory, n, err)
			}
		}
		if got := w.nodes(); len(got) != 2 {
			t.Errorf("%d nodes", len(got))
		}
		got, _ := w.store.Node(w.t.Context(), first.UUID)
		if got.State != node.Enroll || got.Lease.Held(time.Now()) || got.Plan != nil {
			t.Errorf("after more reports: %+v", got)
		}
		ports, _ := w.store.Ports.List(w.t.Context(), node.PortFilter{NodeUUID: first.UUID}, node.Page{})
		if len(ports) != 2 {
			t.Errorf("ports %+v", ports)
		}
		// Once somebody has taken the node in hand, reports change nothing of it any more.
		w.store.Edit(first.UUID, func(n *node.Node) { n.State = node.Manageable })
		if _, err := c.ContinueInspection(w.t.Context(), again); err == nil ||
			err.Error() != "Node "+first.UUID+" does not wait for an inspection report." {
			t.Errorf("got %v", err)
		}
	})
}

func TestManyReportsOfOneStrangerAtOnce(t *testing.T) {
	discovering(t, func(w *world, c *Conductor) {
		var all sync.WaitGroup
		uuids := make(chan string, 8)
		for i := range 8 {
			all.Go(func() {
				n, err := c.ContinueInspection(w.t.Context(), stranger("0.0.0.0"))
				for try := 0; node.KindOf(err) == node.Conflict && try < 10; try++ { // another report has the node: agents try again
					time.Sleep(time.Duration(1+i) * 100 * time.Millisecond)
					n, err = c.ContinueInspection(w.t.Context(), stranger("0.0.0.0"))
				}
				if err != nil {
					t.Error(err)
					return
				}
				uuids <- n.UUID
			})
		}
		all.Wait()
		close(uuids)
		seen := map[string]bool{}
		for u := range uuids {
			seen[u] = true
		}
		if len(seen) != 1 || len(w.nodes()) != 2 {
			t.Errorf("%v, %d nodes", seen, len(w.nodes()))
		}
	})
}

func TestMachinesThatAreNotDiscovered(t *testing.T) {
	const nobody = "No node that waits for an inspection report has a port with one of the addresses " + newMAC +
		", or the reported BMC address."
	for _, tt := range []struct {
		name string
		off  bool
		edit func(w *world)
		data node.InspectionData
		want string
	}{
		{name: "discovery is off", off: true, data: stranger("192.0.2.77"), want: nobody},
		{name: "the BMC is a known node's", edit: func(w *world) {
			w.edit(func(n *node.Node) { n.DriverInfo["ipmi_address"] = "https://192.0.2.77:8443/redfish" })
		}, data: stranger("192.0.2.77"), want: nobody},
		{name: "a port is a known node's", edit: func(w *world) {
			if err := w.store.Ports.Create(w.t.Context(), &node.Port{UUID: id("p9"), NodeUUID: uuid1, Address: newMAC}); err != nil {
				w.t.Fatal(err)
			}
		}, data: stranger("0.0.0.0"), want: "Node " + uuid1 + " does not wait for an inspection report."},
		{name: "the machine failed", data: node.InspectionData{Error: "no disks"}, want: "the machine reported: no disks"},
		{name: "a rule refuses it", edit: func(w *world) { w.rules(rule("r1", []any{"fail", "not ours"})) }, data: stranger("0.0.0.0"),
			want: "Inspection rule r1, action 1 (fail): the rule refuses this machine: not ours."},
		{name: "an unknown node", data: node.InspectionData{NodeUUID: "2be26c0b-03f2-4d2e-ae87-c02d7f33c123"},
			want: "Node 2be26c0b-03f2-4d2e-ae87-c02d7f33c123 could not be found."},
		{name: "the rules cannot be read", edit: func(w *world) {
			w.way.fails(errors.New("connection refused"), "InspectionRules.List", "DeployTemplates.List")
		}, data: stranger("0.0.0.0"), want: "connection refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			discovering(t, func(w *world, c *Conductor) {
				if tt.off {
					c.cfg.Discovery.Driver = ""
				}
				if tt.edit != nil {
					tt.edit(w)
				}
				if _, err := c.ContinueInspection(w.t.Context(), tt.data); err == nil || short(err.Error()) != tt.want {
					t.Errorf("got %v\nwant %s", err, tt.want)
				}
				if len(w.nodes()) != 1 || w.inventory(uuid1).Inventory != nil {
					t.Errorf("something was enrolled: %v", w.nodes())
				}
			})
		})
	}
}

// Another process was faster by a port: nothing of this one's node stays, and the machine is told to come again.
func TestDiscoveryLosesARace(t *testing.T) {
	discovering(t, func(w *world, c *Conductor) {
		data := stranger("0.0.0.0")
		data.Inventory["interfaces"] = []any{map[string]any{"mac_address": "52:54:00:00:00:55"}}
		if err := w.store.Ports.Create(w.t.Context(), &node.Port{UUID: id("p9"), NodeUUID: uuid1, Address: newMAC}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.ContinueInspection(w.t.Context(), data); node.KindOf(err) != node.Conflict {
			t.Errorf("got %v", err)
		}
		if len(w.nodes()) != 1 {
			t.Errorf("nodes %v", w.nodes())
		}
	})
}

// The BMC's address in a report is compared as an address, never as a piece of a text.
func TestWhoseBMCItIs(t *testing.T) {
	for setting, want := range map[string]bool{
		"192.0.2.7": true, "192.0.2.77": false, "1192.0.2.7": false, "http://192.0.2.7:8000/redfish": true, "https://192.0.2.7": true,
		"::ffff:192.0.2.7": true,
		"2001:db8::7":      true, "[2001:db8:0::7]": true, "https://[2001:DB8::7]:443/": true, "2001:db8::77": false, "bmc7.example": false,
		"": false, "0.0.0.0": false,
	} {
		inWorld(t, func(w *world) {
			w.enroll("test", node.InspectWait)
			w.edit(func(n *node.Node) { n.DriverInfo["ipmi_address"] = setting })
			n, err := New(w.cfg).reporter(w.t.Context(),
				node.InspectionData{Inventory: node.Document{"bmc_address": "192.0.2.7", "bmc_v6address": "2001:db8::7"}})
			if (n != nil) != want || err != nil {
				t.Errorf("%q: %v, %v", setting, n, err)
			}
		})
	}
}

// Two nodes that wait: who reported must be beyond doubt.
func TestWhoReported(t *testing.T) {
	const other, otherMAC = "3be26c0b-03f2-4d2e-ae87-c02d7f33c123", "52:54:00:00:00:33"
	nic := func(mac string) []any { return []any{map[string]any{"mac_address": mac}} }
	for _, tt := range []struct {
		name         string
		one, another string // BMC addresses
		inventory    node.Document
		want         string
	}{
		{"by MAC", "", "", node.Document{"interfaces": nic(otherMAC)}, other},
		{"by BMC", "192.0.2.1", "192.0.2.2", node.Document{"bmc_address": "192.0.2.2"}, other},
		{"by both", "192.0.2.1", "192.0.2.2", node.Document{"bmc_address": "192.0.2.2", "interfaces": nic(otherMAC)}, other},
		{"both, and a BMC nobody has", "192.0.2.1", "192.0.2.2", node.Document{"bmc_address": "192.0.2.3", "interfaces": nic(otherMAC)}, other},
		{"MAC of one, BMC of the other", "192.0.2.1", "192.0.2.2", node.Document{"bmc_address": "192.0.2.1", "interfaces": nic(otherMAC)}, ""},
		{"a BMC that both have", "192.0.2.1", "192.0.2.1", node.Document{"bmc_address": "192.0.2.1"}, ""},
		{"a virtual BMC", "127.0.0.1", "192.0.2.1", node.Document{"bmc_address": "127.0.0.1", "interfaces": nic(otherMAC)}, other},
		{"a BMC that both have, and the MAC", "192.0.2.1", "192.0.2.1", node.Document{"bmc_address": "192.0.2.1", "interfaces": nic(otherMAC)},
			other},
	} {
		inWorld(t, func(w *world) {
			w.enroll("test", node.InspectWait)
			w.edit(func(n *node.Node) { n.DriverInfo["ipmi_address"] = tt.one })
			if err := w.store.CreateNode(w.t.Context(),
				&node.Node{UUID: other, Driver: "test", State: node.InspectWait, DriverInfo: node.Document{"ipmi_address": tt.another}}); err != nil {
				t.Fatal(err)
			}
			if err := w.store.Ports.Create(w.t.Context(), &node.Port{UUID: id("p2"), NodeUUID: other, Address: otherMAC}); err != nil {
				t.Fatal(err)
			}
			n, err := New(w.cfg).reporter(w.t.Context(), node.InspectionData{Inventory: tt.inventory})
			if tt.want == "" {
				if node.KindOf(err) != node.NotFound || err == nil {
					t.Errorf("%s: %v, %v", tt.name, n, err)
				}
				return
			}
			if err != nil || n == nil || n.UUID != tt.want {
				t.Errorf("%s: %v, %v", tt.name, n, err)
			}
		})
	}
}

// Two processes on one database, and a machine that reports to both at the same time, again and again: it
// becomes one node with one set of ports. Whoever loses the race is told to come again, and then is known.
func TestDiscoveryByTwoProcesses(t *testing.T) {
	s := newSite(t)
	var both []*Conductor
	for _, host := range []string{"host-1", "host-2"} {
		c, _ := s.start(host, inSQL(s.db))
		c.cfg.Discovery.Driver = "test"
		both = append(both, c)
	}
	for round := range 5 {
		data := stranger("0.0.0.0")
		var all sync.WaitGroup
		uuids := make(chan string, 12)
		for i := range 12 {
			all.Go(func() {
				for range 200 {
					n, err := both[i%2].ContinueInspection(t.Context(), data)
					if err == nil {
						uuids <- n.UUID
						return
					}
					if kind := node.KindOf(err); kind != node.Conflict {
						t.Errorf("round %d: %v", round, err)
						return
					}
					time.Sleep(time.Millisecond)
				}
				t.Error("never taken")
			})
		}
		all.Wait()
		close(uuids)
		seen := map[string]bool{}
		for u := range uuids {
			seen[u] = true
		}
		nodes, err := s.db.Nodes(t.Context(), node.NodeFilter{IncludeChildren: true}, node.Page{})
		if err != nil || len(nodes) != 1 || len(seen) != 1 || !seen[nodes[0].UUID] {
			t.Fatalf("round %d: %d nodes, answered %v, %v", round, len(nodes), seen, err)
		}
		ports, err := s.db.Ports.List(t.Context(), node.PortFilter{}, node.Page{})
		if err != nil || len(ports) != 2 {
			t.Fatalf("round %d: ports %+v, %v", round, ports, err)
		}
		for _, p := range ports {
			if p.NodeUUID != nodes[0].UUID {
				t.Errorf("a port of nobody: %+v", p)
			}
		}
		n, err := s.db.Reserve(t.Context(), nodes[0].UUID, "test", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.db.DeleteNode(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
}

// Rules out of the database, on a node in the database: what they change is there afterwards, and sealed
// fields stay what they were.
func TestRulesOnSQLite(t *testing.T) {
	s := newSite(t)
	c, _ := s.start("host-1", inSQL(s.db))
	c.cfg.Discovery.Driver = "test"
	first, second := rule("", []any{"set-attribute", "driver_info/ipmi_password", "from-a-rule"}, []any{"add-trait", "CUSTOM_A"}),
		rule("", []any{"set-attribute", "extra/big", 9007199254740993.0}, []any{"set-plugin-data", "rack.unit", 7.0})
	second.Priority = 5
	for _, r := range []*node.InspectionRule{&first, &second} {
		if err := s.db.InspectionRules.Create(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	found, err := c.ContinueInspection(t.Context(), stranger("0.0.0.0"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // and when it reports again
		n, err := s.db.Node(t.Context(), found.UUID)
		if err != nil || n.DriverInfo["ipmi_password"] != "from-a-rule" || !slices.Equal(n.Traits, []string{"CUSTOM_A"}) ||
			n.Extra["big"] == nil || n.State != node.Enroll || n.Lease.Holder != "" {
			t.Fatalf("%+v, %v", n, err)
		}
		inventory, err := s.db.Inventory(t.Context(), found.UUID)
		if rack, _ := inventory.PluginData["rack"].(map[string]any); err != nil || rack["unit"] != 7.0 ||
			inventory.PluginData["auto_discovered"] != true {
			t.Errorf("%+v, %v", inventory, err)
		}
		if _, err := c.ContinueInspection(t.Context(), stranger("0.0.0.0")); err != nil {
			t.Fatal(err)
		}
	}
	first.Actions = []node.RuleOperation{{Op: "fail", Args: []any{"not any more"}}}
	if err := s.db.InspectionRules.Save(t.Context(), &first); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ContinueInspection(t.Context(), stranger("0.0.0.0")); err == nil || !strings.Contains(err.Error(), "not any more") {
		t.Errorf("a rule that refuses the machine later: %v", err)
	}
	if n, err := s.db.Node(t.Context(), found.UUID); err != nil || n.DriverInfo["ipmi_password"] != "from-a-rule" || n.Lease.Holder != "" {
		t.Errorf("%+v, %v", n, err)
	}
}

// Whenever the service dies while it enrols a machine, the machine's next report finds or makes one whole node:
// never one without its ports, which no report would find again.
func TestDiscoveryCutShort(t *testing.T) {
	for writes := range 4 {
		s := newSite(t)
		dying, stop := s.start("host-1", newProcess(writes).to(inSQL(s.db)))
		dying.cfg.Discovery.Driver = "test"
		n, err := dying.ContinueInspection(t.Context(), stranger("0.0.0.0")) // no BMC to know it by
		stop()
		if writes == 0 && (err == nil || n != nil) {
			t.Errorf("after no write: %v, %v", n, err)
		}
		next, _ := s.start("host-1", inSQL(s.db))
		next.cfg.Discovery.Driver = "test"
		n, err = next.ContinueInspection(t.Context(), stranger("0.0.0.0"))
		if err != nil {
			t.Fatalf("after %d writes: %v", writes, err)
		}
		nodes, err := s.db.Nodes(t.Context(), node.NodeFilter{IncludeChildren: true}, node.Page{})
		if err != nil || len(nodes) != 1 || nodes[0].UUID != n.UUID || nodes[0].Lease.Held(time.Now()) {
			t.Errorf("after %d writes: %d nodes, %v", writes, len(nodes), err)
		}
		ports, err := s.db.Ports.List(t.Context(), node.PortFilter{NodeUUID: n.UUID}, node.Page{})
		if err != nil || len(ports) != 2 {
			t.Errorf("after %d writes: ports %+v, %v", writes, ports, err)
		}
		if i, err := s.db.Inventory(t.Context(), n.UUID); err != nil || i.PluginData["auto_discovered"] != true {
			t.Errorf("after %d writes: inventory %+v, %v", writes, i, err)
		}
	}
}

// A discovered node that an earlier version left without ports gets them at the machine's next report.
func TestADiscoveredNodeWithoutPortsIsCompleted(t *testing.T) {
	discovering(t, func(w *world, c *Conductor) {
		first, err := c.ContinueInspection(w.t.Context(), stranger("192.0.2.77"))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.store.Ports.DeleteAll(w.t.Context()); err != nil {
			t.Fatal(err)
		}
		again, err := c.ContinueInspection(w.t.Context(), stranger("192.0.2.77"))
		if err != nil || again.UUID != first.UUID {
			t.Fatalf("%v, %v", again, err)
		}
		if ports, _ := w.store.Ports.List(w.t.Context(), node.PortFilter{NodeUUID: first.UUID}, node.Page{}); len(ports) != 2 {
			t.Errorf("ports %+v", ports)
		}
	})
}

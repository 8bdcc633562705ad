package conductor

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/driver/fake"
	"github.com/billet-metal/billet/node"
)

func TestLookupGivesTheTokenOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.DeployWait)
		c := New(w.cfg)
		n, token, err := c.LookupAgent(w.t.Context(), node.AgentLookup{MACs: []string{"52:54:00:00:00:77", mac1}, WantToken: true})
		if err != nil || n.UUID != uuid1 || len(token) != 43 {
			t.Fatalf("%v, token of %d characters, %v", n, len(token), err)
		}
		for _, uuid := range []string{"", uuid1} {
			if _, again, err := c.LookupAgent(w.t.Context(),
				node.AgentLookup{MACs: []string{mac1}, UUID: uuid, WantToken: true}); again != "******" || err != nil {
				t.Errorf("a second lookup got %q, %v", again, err)
			}
		}
		if w.node().Agent.Token != token {
			t.Error("another token is stored")
		}
		if strings.Contains(w.log.String(), token) {
			t.Error("the log shows the token")
		}
	})
}

func TestLookupWithoutAToken(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.DeployWait)
		_, token, err := New(w.cfg).LookupAgent(w.t.Context(), node.AgentLookup{MACs: []string{mac1}, WantToken: false})
		if token != "" || err != nil || w.node().Agent.TokenGiven {
			t.Errorf("token %q, %v", token, err)
		}
	})
}

// A held node's agent does not wait for the lease.
func TestLookupOfAHeldNode(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Deploying)
		if _, err := w.store.Reserve(w.t.Context(), uuid1, "host-9", time.Hour); err != nil {
			t.Fatal(err)
		}
		if _, token, err := New(w.cfg).LookupAgent(w.t.Context(), node.AgentLookup{MACs: []string{mac1}, WantToken: true}); err != nil ||
			len(token) != 43 {
			t.Errorf("%q, %v", token, err)
		}
	})
}

func TestLookupInEveryState(t *testing.T) {
	allowed := []node.State{node.Deploying, node.DeployWait, node.Cleaning, node.CleanWait, node.Inspecting, node.InspectWait, node.Rescuing,
		node.RescueWait, node.ServiceWait}
	for _, s := range node.States {
		inWorld(t, func(w *world) {
			w.enroll("test", s)
			_, _, err := New(w.cfg).LookupAgent(w.t.Context(), node.AgentLookup{MACs: []string{mac1}, WantToken: true})
			if (err == nil) != slices.Contains(allowed, s) {
				t.Errorf("%s: %v", s, err)
			}
			if err != nil && err.Error() != "No node that expects a ramdisk has a port with one of the addresses "+mac1+"." {
				t.Errorf("%s: %v", s, err)
			}
		})
	}
}

func TestLookupErrors(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		c := New(w.cfg)
		for _, tt := range []struct {
			macs []string
			uuid string
			kind node.Kind
			want string
		}{
			{nil, "", node.Invalid, "A lookup needs node_uuid, or addresses with at least one MAC address."},
			{[]string{"52:54:00:00:00:77"}, "", node.NotFound,
				"No node that expects a ramdisk has a port with one of the addresses 52:54:00:00:00:77."},
			{nil, "nobody", node.NotFound, "Node nobody could not be found."},
			{nil, uuid1, node.NotFound, "Node " + uuid1 + " could not be found."}, // a wrong state looks like no node
		} {
			_, _, err := c.LookupAgent(w.t.Context(), node.AgentLookup{MACs: tt.macs, UUID: tt.uuid, WantToken: true})
			if err == nil || err.Error() != tt.want || node.KindOf(err) != tt.kind {
				t.Errorf("%v %q: got %v", tt.macs, tt.uuid, err)
			}
		}
	})
}

func TestHeartbeatChecks(t *testing.T) {
	good := node.Heartbeat{CallbackURL: "https://10.0.0.5:9999", AgentToken: "right", AgentVersion: "11.0", VerifyCA: "pem"}
	with := func(change func(*node.Heartbeat)) node.Heartbeat { hb := good; change(&hb); return hb }
	known := node.Agent{Token: "right", TokenGiven: true, URL: "https://10.0.0.5:9999", VerifyCA: "pem"}
	for _, tt := range []struct {
		name  string
		agent node.Agent
		hb    node.Heartbeat
		want  string
	}{
		{"first", node.Agent{Token: "right", TokenGiven: true}, good, ""},
		{"second", known, good, ""},
		{"nobody asked for a token", node.Agent{}, good, "Invalid or missing agent token received."},
		{"neither side has one", node.Agent{}, with(func(h *node.Heartbeat) { h.AgentToken = "" }), "Invalid or missing agent token received."},
		{"wrong token", known, with(func(h *node.Heartbeat) { h.AgentToken = "wrong" }), "Invalid or missing agent token received."},
		{"no version", known, with(func(h *node.Heartbeat) { h.AgentVersion = "" }), "A heartbeat needs agent_version."},
		{"no URL", known, with(func(h *node.Heartbeat) { h.CallbackURL = "" }), `callback_url must be an http or https URL, not "".`},
		{"another scheme", known, with(func(h *node.Heartbeat) { h.CallbackURL = "ftp://x" }),
			`callback_url must be an http or https URL, not "ftp://x".`},
		{"no TLS", node.Agent{Token: "right"}, with(func(h *node.Heartbeat) { h.CallbackURL = "http://x" }),
			`callback_url must be an https URL, not "http://x": this service requires TLS of agents.`},
		{"another URL", known, with(func(h *node.Heartbeat) { h.CallbackURL = "https://evil" }),
			"callback_url of node " + uuid1 + " was https://10.0.0.5:9999 and can not become https://evil without a new lookup."},
		{"another certificate", known, with(func(h *node.Heartbeat) { h.VerifyCA = "evil" }),
			"agent_verify_ca of node " + uuid1 + " can not change without a new lookup."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.cfg.RequireAgentTLS = true
				w.enroll("test", node.Active)
				w.edit(func(n *node.Node) { n.Agent = tt.agent })
				err := New(w.cfg).Heartbeat(w.t.Context(), "blade", tt.hb)
				if tt.want == "" {
					if a := w.node().Agent; err != nil || a.URL != good.CallbackURL || a.Version != "11.0" || a.LastHeartbeat.IsZero() ||
						a.Token != "right" {
						t.Errorf("%+v, %v", a, err)
					}
					return
				}
				if err == nil || err.Error() != tt.want || node.KindOf(err) != node.Invalid {
					t.Errorf("got %v\nwant %s", err, tt.want)
				}
				if w.node().Agent != tt.agent {
					t.Error("a refused heartbeat was taken down")
				}
			})
		})
	}
}

func TestAgentProgress(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.DeployWait)
		w.edit(func(n *node.Node) {
			n.Agent = node.Agent{Token: "right"}
			n.Plan = &node.Plan{Flow: node.FlowDeploy}
		})
		c := New(w.cfg)
		if err := c.AgentProgress(w.t.Context(), uuid1, "wrong", node.Progress{}); node.KindOf(err) != node.Invalid {
			t.Errorf("a wrong token: %v", err)
		}
		if err := c.AgentProgress(w.t.Context(), uuid1, "right", node.Progress{Step: "write_image", Done: 5, Total: 9}); err != nil {
			t.Fatal(err)
		}
		want := node.Progress{NodeUUID: uuid1, Flow: node.FlowDeploy, Step: "write_image", Done: 5, Total: 9, At: node.Now()}
		if got := w.progress(); !reflect.DeepEqual(got, &want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

func TestInspectionReport(t *testing.T) {
	inventory := node.Document{"interfaces": []any{map[string]any{"mac_address": strings.ToUpper(mac1)}}, "bmc_address": "192.0.2.7"}
	for name, data := range map[string]node.InspectionData{
		"by UUID":          {NodeUUID: uuid1, Inventory: inventory},
		"by MAC":           {Inventory: inventory},
		"by boot MAC":      {Inventory: node.Document{}, BootInterface: mac1},
		"by BMC's address": {Inventory: node.Document{"bmc_address": "192.0.2.7"}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", node.Manageable)
				w.edit(func(n *node.Node) { n.DriverInfo["ipmi_address"] = "192.0.2.7" })
				c, _ := w.start(w.cfg)
				w.provision(c, node.ProvisionRequest{Event: node.EventInspect})
				w.reach(node.InspectWait)
				n, err := c.ContinueInspection(w.t.Context(), data)
				if err != nil || n.UUID != uuid1 {
					t.Fatalf("%v, %v", n, err)
				}
				got := w.settle()
				w.wantState(got, node.Manageable)
				if got.Properties["cpus"] != "4" || got.InspectionFinishedAt.IsZero() || len(w.inventory(uuid1).Inventory) != len(data.Inventory) {
					t.Errorf("properties %v, finished %v, inventory %v", got.Properties, got.InspectionFinishedAt, w.inventory(uuid1))
				}
				ports, _ := w.store.Ports.List(w.t.Context(), node.PortFilter{NodeUUID: uuid1}, node.Page{})
				if len(ports) != 2 || ports[1].Address != "52:54:00:00:00:99" {
					t.Errorf("ports %+v", ports)
				}
			})
		})
	}
}

// knowing is an inspect interface that finds out more of a port the node has.
type knowing struct{ testInspect }

func (k knowing) Inspected(_ context.Context, t *driver.Task, d node.InspectionData) (node.Findings, error) {
	p := t.Ports[0]
	p.LocalLinkConnection = node.Document{"port_id": "Ethernet7"}
	return node.Findings{Inventory: node.Inventory{Inventory: d.Inventory}, Ports: []node.Port{p, {Address: "52:54:00:00:00:77"}}}, nil
}

func TestAnInspectionTellsMoreOfAKnownPort(t *testing.T) {
	inWorld(t, func(w *world) {
		w.cfg.Types[1].Inspect = []driver.Inspect{knowing{testInspect{fake.NewInspect(), w.m}}}
		w.enroll("test", node.Manageable)
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventInspect})
		w.reach(node.InspectWait)
		if _, err := c.ContinueInspection(w.t.Context(), node.InspectionData{NodeUUID: uuid1, Inventory: node.Document{"a": "b"}}); err != nil {
			t.Fatal(err)
		}
		w.wantState(w.settle(), node.Manageable)
		ports, err := w.store.Ports.List(w.t.Context(), node.PortFilter{NodeUUID: uuid1}, node.Page{})
		if err != nil || len(ports) != 2 || ports[0].UUID != id("p1") || ports[0].LocalLinkConnection["port_id"] != "Ethernet7" ||
			!ports[0].PXEEnabled || ports[1].Address != "52:54:00:00:00:77" {
			t.Errorf("ports %+v, %v", ports, err)
		}
	})
}

// With fast track the agent looks its node up when its inspection has ended, and the boot's record, which had the key, is gone.
func TestAnAgentIsKnownByItsKeyAfterItsReport(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Manageable)
		w.edit(func(n *node.Node) { n.DriverInfo["fast_track"] = true })
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventInspect})
		w.reach(node.InspectWait)
		from := node.Caller{BootKey: "00112233445566778899aabbccddeeff"}
		w.boots(from.BootKey)
		report := node.InspectionData{NodeUUID: uuid1, Inventory: node.Document{"a": "b"}, Caller: from}
		if _, err := c.ContinueInspection(w.t.Context(), report); err != nil {
			t.Fatal(err)
		}
		w.wantState(w.settle(), node.Manageable)
		if err := w.store.DropRecord(w.t.Context(), uuid1); err != nil {
			t.Fatal(err)
		}
		lookup := node.AgentLookup{MACs: []string{mac1}, WantToken: true, Caller: from}
		if n, token, err := c.LookupAgent(w.t.Context(), lookup); err != nil || n.UUID != uuid1 || len(token) != 43 {
			t.Errorf("token of %d characters, %v", len(token), err)
		}
		lookup.BootKey = "ffeeddccbbaa99887766554433221100"
		if _, _, err := c.LookupAgent(w.t.Context(), lookup); node.KindOf(err) != node.NotFound {
			t.Errorf("with another key: %v", err)
		}
	})
}

func TestABadInspectionReportFailsTheInspection(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Manageable)
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventInspect})
		w.reach(node.InspectWait)
		if _, err := c.ContinueInspection(w.t.Context(), node.InspectionData{NodeUUID: uuid1, Error: "no disks"}); err != nil {
			t.Fatal(err)
		}
		n := w.settle()
		w.wantState(n, node.InspectFailed)
		if want := "The inspection failed on the machine's report: the machine reported: no disks"; n.LastError != want {
			t.Errorf("last_error %q, want %q", n.LastError, want)
		}
	})
}

func TestInspectionReportsThatNobodyWaitsFor(t *testing.T) {
	for _, tt := range []struct {
		state node.State
		data  node.InspectionData
		kind  node.Kind
		want  string
	}{
		{node.Manageable, node.InspectionData{NodeUUID: uuid1}, node.NotFound, "Node " + uuid1 + " does not wait for an inspection report."},
		{node.Manageable, node.InspectionData{BootInterface: mac1}, node.NotFound, "Node " + uuid1 + " does not wait for an inspection report."},
		{node.Inspecting, node.InspectionData{BootInterface: mac1}, node.Conflict,
			"Node " + uuid1 + " is locked by host host-9, please retry after the current operation is completed."},
		{node.InspectWait, node.InspectionData{BootInterface: "52:54:00:00:00:88", Inventory: node.Document{"bmc_address": "0.0.0.0"}},
			node.NotFound,
			"No node that waits for an inspection report has a port with one of the addresses 52:54:00:00:00:88, or the reported BMC address."},
	} {
		inWorld(t, func(w *world) {
			w.enroll("test", tt.state)
			w.edit(func(n *node.Node) {
				if tt.state == node.Inspecting {
					n.Lease = node.Lease{Holder: "host-9", Token: 1, Until: time.Now().Add(time.Minute)}
				}
			})
			_, err := New(w.cfg).ContinueInspection(w.t.Context(), tt.data)
			if err == nil || err.Error() != tt.want || node.KindOf(err) != tt.kind {
				t.Errorf("got %v\nwant %s", err, tt.want)
			}
		})
	}
}

// A lookup by an agent without the token is remembered until the one with it calls: the first of several, and
// only of a machine whose agent has called before.
func TestLookupsAfterTheTokenWasGiven(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.CleanWait)
		c := New(w.cfg)
		lookup := func() {
			t.Helper()
			time.Sleep(time.Second)
			if _, _, err := c.LookupAgent(w.t.Context(), node.AgentLookup{MACs: []string{mac1}, WantToken: true}); err != nil {
				t.Fatal(err)
			}
		}
		seen := func() time.Time {
			t.Helper()
			task, err := c.task(w.t.Context(), w.node())
			if err != nil {
				t.Fatal(err)
			}
			return task.LookedUp
		}
		lookup()
		lookup() // its answer may have been lost: no agent has called yet
		if at := seen(); !at.IsZero() {
			t.Errorf("before the first heartbeat: %s", at)
		}
		w.heartbeat(c)
		if at := seen(); !at.IsZero() {
			t.Errorf("after a heartbeat: %s", at)
		}
		lookup()
		first := node.Now()
		lookup()
		c = New(w.cfg) // another process, or this one after a restart, knows as much
		lookup()
		if at := seen(); !at.Equal(first) {
			t.Errorf("looked up at %s, want the first time, %s", at, first)
		}
		w.heartbeat(c) // it was the agent itself, started anew in the same boot
		if at := seen(); !at.IsZero() {
			t.Errorf("after the next heartbeat: %s", at)
		}
		lookup()
		if err := w.store.ForgetAgent(w.t.Context(), uuid1); err != nil {
			t.Fatal(err)
		}
		if at := seen(); !at.IsZero() {
			t.Errorf("after the agent was forgotten: %s", at)
		}
	})
}

// A ramdisk that got its token, never called, and starts anew gets no other: that is said in time, with the way out, and a
// restart of the service changes nothing of it. Whatever switches the machine off has the next ramdisk given a token.
func TestARamdiskThatStartsAnewBeforeItCalled(t *testing.T) {
	lookup := func(w *world, c *Conductor) (token string) {
		w.t.Helper()
		_, token, err := c.LookupAgent(w.t.Context(), node.AgentLookup{MACs: []string{mac1}, WantToken: true})
		if err != nil {
			w.t.Fatal(err)
		}
		return token
	}
	deploying := func(w *world) *Conductor {
		w.enroll("test", node.Available)
		w.cfg.BootPhaseTimeout, w.cfg.FirmwareTimeout = 110*time.Second, 25*time.Minute
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
		w.reach(node.DeployWait)
		time.Sleep(20 * time.Second)
		if token := lookup(w, c); len(token) != 43 {
			w.t.Fatalf("the first got %q", token)
		}
		time.Sleep(30 * time.Second)
		if token := lookup(w, c); token != tokenGiven {
			w.t.Fatalf("the second got %q", token)
		}
		return c
	}
	t.Run("nobody helps", func(t *testing.T) {
		inWorld(t, func(w *world) {
			c := deploying(w)
			refused := time.Now()
			for range 3 { // it goes on asking
				time.Sleep(20 * time.Second)
				lookup(w, c)
			}
			n := w.reach(node.DeployFailed)
			took := time.Since(refused)
			const want = "after an agent asked for the node that does not have its token: an agent got the node's token"
			if took < 110*time.Second || took > 130*time.Second || !strings.Contains(n.LastError, want) ||
				!strings.Contains(n.LastError, "Power the machine off and on through the Bare Metal API, or start over: both clear the token.") {
				t.Errorf("after %s: %s", took, n.LastError)
			}
			w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
			w.reach(node.DeployWait)
			if token := lookup(w, c); len(token) != 43 {
				t.Errorf("after starting over: %q", token)
			}
		})
	})
	t.Run("power off and on", func(t *testing.T) {
		inWorld(t, func(w *world) {
			c := deploying(w)
			for _, target := range []node.PowerState{node.PowerOff, node.PowerOn} {
				if err := c.SetPower(w.t.Context(), uuid1, target, 0); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
			}
			if a := w.node().Agent; a != (node.Agent{}) {
				t.Errorf("the agent is still known: %+v", a)
			}
			w.heartbeat(c) // with a token of its own
			w.wantState(w.reach(node.Active), node.Active)
		})
	})
	t.Run("the agent with the token calls after all", func(t *testing.T) {
		inWorld(t, func(w *world) {
			c := deploying(w)
			w.heartbeat(c)
			if n := w.reach(node.Active); !n.Agent.RefusedAt.IsZero() {
				t.Errorf("%+v", n.Agent)
			}
		})
	})
	t.Run("the service starts anew", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.enroll("test", node.Available)
			w.cfg.BootPhaseTimeout, w.cfg.FirmwareTimeout = 110*time.Second, 25*time.Minute
			first, stop := w.start(w.cfg)
			w.provision(first, node.ProvisionRequest{Event: node.EventDeploy})
			w.reach(node.DeployWait)
			lookup(w, first)
			time.Sleep(time.Second)
			lookup(w, first)
			stop()
			w.start(w.cfg)
			restarted := time.Now()
			n := w.reach(node.DeployFailed)
			if took := time.Since(restarted); took < 110*time.Second || took > 130*time.Second ||
				!strings.Contains(n.LastError, "that does not have its token") {
				t.Errorf("after %s: %s", took, n.LastError)
			}
		})
	})
}

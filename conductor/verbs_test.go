package conductor

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
)

// requestFor is a request for the verb that nothing but the node's flags can be against.
func requestFor(e node.Event) node.ProvisionRequest {
	req := node.ProvisionRequest{Event: e}
	switch e {
	case node.EventClean:
		req.CleanSteps = []node.PlannedStep{{Interface: node.Deploy, Step: "erase_cmos"}}
	case node.EventService:
		req.ServiceSteps = []node.PlannedStep{{Interface: node.Deploy, Step: "flash"}}
	case node.EventRescue:
		req.RescuePassword = "let me in"
	}
	return req
}

// What maintenance, retirement and protection refuse, verb by verb, and with which answer. Everything else they
// let pass.
func TestFlagsAgainstVerbs(t *testing.T) {
	maintenance := "The %s operation can't be performed on node " + uuid1 + " because it's in maintenance mode."
	protected := "Node " + uuid1 + " is protected and can not be undeployed, rebuilt or deleted."
	retired := "The provide operation can't be performed on node " + uuid1 + " because it is retired."
	flags := map[string]func(*node.Node){
		"maintenance": func(n *node.Node) { n.Maintenance, n.MaintenanceReason = true, "fan" },
		"protected":   func(n *node.Node) { n.Protected = true },
		"retired":     func(n *node.Node) { n.Retired = true },
	}
	for _, tt := range []struct {
		verb    node.Event
		from    node.State
		refused map[string]string
	}{
		{node.EventManage, node.Enroll, nil},
		{node.EventManage, node.Available, nil},
		{node.EventManage, node.CleanFailed, nil},
		{node.EventProvide, node.Manageable, map[string]string{"retired": retired}},
		{node.EventInspect, node.Manageable, nil},
		{node.EventAdopt, node.Manageable, nil},
		{node.EventClean, node.Manageable, map[string]string{"maintenance": maintenance}},
		{node.EventDeploy, node.Available, map[string]string{"maintenance": maintenance}},
		{node.EventDeploy, node.DeployFailed, map[string]string{"maintenance": maintenance}},
		{node.EventRebuild, node.Active, map[string]string{"maintenance": maintenance, "protected": protected}},
		{node.EventRebuild, node.DeployFailed, map[string]string{"maintenance": maintenance, "protected": protected}},
		{node.EventDelete, node.Active, map[string]string{"protected": protected}},
		{node.EventDelete, node.DeployFailed, map[string]string{"protected": protected}},
		{node.EventDelete, node.Rescue, map[string]string{"protected": protected}},
		{node.EventRescue, node.Active, map[string]string{"maintenance": maintenance}},
		{node.EventUnrescue, node.Rescue, map[string]string{"maintenance": maintenance}},
		{node.EventService, node.Active, map[string]string{"maintenance": maintenance}},
		{node.EventService, node.ServiceFailed, map[string]string{"maintenance": maintenance}},
		{node.EventAbort, node.ServiceFailed, nil},
	} {
		for flag, set := range flags {
			inWorld(t, func(w *world) {
				w.enroll("test", tt.from)
				w.edit(set)
				err := New(w.cfg).Provision(w.t.Context(), uuid1, requestFor(tt.verb))
				n := w.node()
				want, refused := tt.refused[flag]
				if !refused {
					if err != nil || n.State == tt.from {
						t.Errorf("%s of a node in %q, %s: %v, now in %q", tt.verb, tt.from, flag, err, n.State)
					}
					return
				}
				if strings.Contains(want, "%s") {
					want = fmt.Sprintf(want, tt.verb)
				}
				kind := node.Invalid
				if flag == "protected" {
					kind = node.Forbidden
				}
				if node.KindOf(err) != kind || err.Error() != want || n.State != tt.from || n.Plan != nil {
					t.Errorf("%s of a node in %q, %s: %v, now in %q", tt.verb, tt.from, flag, err, n.State)
				}
			})
		}
	}
}

// Forgetting a node: what protects it, and what maintenance lifts.
func TestFlagsAgainstDeleting(t *testing.T) {
	for _, s := range node.States {
		for _, tt := range []struct {
			name string
			set  func(*node.Node)
			want func(s node.State) node.Kind // Internal: deleted
		}{
			{"plain", func(*node.Node) {}, func(s node.State) node.Kind {
				if s == node.Enroll || s == node.Manageable || s == node.AdoptFailed || s == node.Available {
					return node.Internal
				}
				return node.Conflict
			}},
			{"in maintenance", func(n *node.Node) { n.Maintenance = true }, func(node.State) node.Kind { return node.Internal }},
			{"protected", func(n *node.Node) { n.Protected = true }, func(node.State) node.Kind { return node.Forbidden }},
			{"protected, in maintenance", func(n *node.Node) { n.Protected, n.Maintenance = true, true },
				func(node.State) node.Kind { return node.Forbidden }},
			{"with an instance", func(n *node.Node) { n.InstanceUUID = "i" }, func(node.State) node.Kind { return node.Conflict }},
			{"with an instance, in maintenance", func(n *node.Node) { n.InstanceUUID, n.Maintenance = "i", true },
				func(node.State) node.Kind { return node.Internal }},
			{"retired", func(n *node.Node) { n.Retired = true }, func(s node.State) node.Kind {
				if s == node.Enroll || s == node.Manageable || s == node.AdoptFailed || s == node.Available {
					return node.Internal
				}
				return node.Conflict
			}},
		} {
			inWorld(t, func(w *world) {
				w.enroll("test", s)
				w.edit(tt.set)
				w.cfg.DeleteAvailableNodes = true
				err := New(w.cfg).DeleteNode(w.t.Context(), uuid1)
				want := tt.want(s)
				if want == node.Internal {
					if err != nil {
						t.Errorf("%s, %s: %v", s, tt.name, err)
					}
					return
				}
				if err == nil || node.KindOf(err) != want {
					t.Errorf("%s, %s: %v", s, tt.name, err)
				}
				if _, err := w.store.Node(w.t.Context(), uuid1); err != nil {
					t.Errorf("%s, %s: refused, and yet gone", s, tt.name)
				}
			})
		}
	}
}

// Maintenance stops no call of the machine: it may look its node up and call, and its power may be changed.
func TestMaintenanceAllowsTheMachineToCall(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		c, _ := w.start(w.cfg)
		w.provision(c, requestFor(node.EventDeploy))
		w.reach(node.DeployWait)
		w.edit(func(n *node.Node) { n.Maintenance = true })
		w.heartbeat(c)
		if n := w.node(); n.Agent.URL == "" || n.State != node.DeployWait {
			t.Errorf("agent %+v, state %q", n.Agent, n.State)
		}
		if err := c.SetPower(w.t.Context(), uuid1, node.PowerOff, 0); err != nil {
			t.Errorf("power in maintenance: %v", err)
		}
	})
}

// An abort that must wait for a step is dropped when that step was the last: there is nothing left to abort.
func TestAbortAfterTheLastStep(t *testing.T) {
	for _, last := range []bool{true, false} {
		inWorld(t, func(w *world) {
			w.enroll("test", node.Manageable)
			w.m.offers = []node.PlannedStep{{Interface: node.Deploy, Step: "burnin"}, {Interface: node.Deploy, Step: "polish_up"}}
			steps := []node.PlannedStep{{Interface: node.Deploy, Step: "burnin"}}
			if !last {
				steps = append(steps, node.PlannedStep{Interface: node.Deploy, Step: "polish_up"})
			}
			c, _ := w.start(w.cfg)
			w.provision(c, node.ProvisionRequest{Event: node.EventClean, CleanSteps: steps})
			w.reach(node.CleanWait)
			w.heartbeat(c)
			w.reach(node.CleanWait)
			if w.m.count("agent:burnin") != 1 {
				t.Fatalf("done: %q", w.m.done())
			}
			w.provision(c, node.ProvisionRequest{Event: node.EventAbort})
			w.wantState(w.node(), node.CleanWait)
			w.m.mu.Lock()
			w.m.agentOK["burnin"] = true
			w.m.mu.Unlock()
			w.heartbeat(c)
			n := w.settle()
			want, tidied := node.Manageable, 0
			if !last {
				want, tidied = node.CleanFailed, 1
			}
			w.wantState(n, want)
			if n.Maintenance || n.Fault != node.NoFault || (n.LastError == "") != last || w.m.count("tidy_up") != tidied ||
				w.m.count("agent:polish_up") != 0 {
				t.Errorf("last %v: maintenance %v, last_error %q, done %q", last, n.Maintenance, n.LastError, w.m.done())
			}
		})
	}
}

// Power that is switched while steps of the agent are to come boots the ramdisk anew, and the flow waits for its agent.
func TestPowerStepsBeforeTheAgentsOwn(t *testing.T) {
	power := func(step string) node.PlannedStep { return node.PlannedStep{Interface: node.Power, Step: step} }
	burnin := node.PlannedStep{Interface: node.Deploy, Step: "burnin"}
	for _, tt := range []struct {
		name  string
		steps []node.PlannedStep
		again int // how often the ramdisk boots anew
		done  string
	}{
		{"reboot", []node.PlannedStep{power("reboot"), burnin}, 1, "boot_clean boot_again agent:burnin end_clean"},
		{"twice", []node.PlannedStep{power("reboot"), power("reboot"), burnin}, 2, "boot_clean boot_again agent:burnin end_clean"},
		{"off and on", []node.PlannedStep{power("power_off"), power("power_on"), burnin}, 1,
			"boot_clean power off boot_again agent:burnin end_clean"},
		{"on, and it is on", []node.PlannedStep{power("power_on"), burnin}, 0, "boot_clean power on agent:burnin end_clean"},
		{"after the agent's last", []node.PlannedStep{burnin, power("reboot")}, 0, "boot_clean agent:burnin rebooting end_clean"},
		{"with a step of the hardware after it", []node.PlannedStep{burnin, power("reboot"), {Interface: node.Deploy, Step: "erase_cmos"}}, 0,
			"boot_clean agent:burnin rebooting erase_cmos end_clean"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", node.Manageable)
				w.m.offers = []node.PlannedStep{{Interface: node.Deploy, Step: "burnin"}}
				w.m.agentOK["burnin"] = true
				w.m.onDo = func(what string, n *node.Node) {
					if what == "agent:burnin" && n.Agent.URL == "" {
						t.Error("a step went to an agent that is gone")
					}
				}
				c, _ := w.start(w.cfg)
				w.provision(c, node.ProvisionRequest{Event: node.EventClean, CleanSteps: tt.steps})
				for range 4 {
					w.reachWaiting()
					if n := w.node(); n.State == node.CleanWait {
						if n.Plan.WaitingFor == "the agent's first heartbeat" && n.Agent.TokenGiven {
							t.Errorf("the token of the agent before is kept: %+v", n.Agent)
						}
						w.heartbeat(c)
					}
				}
				n := w.settle()
				w.wantState(n, node.Manageable)
				var did []string
				for _, d := range w.m.done() {
					if d != "read_power" {
						did = append(did, d)
					}
				}
				if got := strings.Join(did, " "); got != tt.done || w.m.count("boot_again") != tt.again {
					t.Errorf("done: %s, booted anew %d times", got, w.m.count("boot_again"))
				}
			})
		})
	}
}

// The agent that is waited for after a reboot and never calls fails the flow in time, and while it is waited for people may abort.
func TestNoAgentAfterAReboot(t *testing.T) {
	for _, abort := range []bool{false, true} {
		inWorld(t, func(w *world) {
			w.enroll("test", node.Manageable)
			w.m.offers, w.m.within = []node.PlannedStep{{Interface: node.Deploy, Step: "burnin"}}, 20*time.Minute
			c, _ := w.start(w.cfg)
			w.provision(c, node.ProvisionRequest{Event: node.EventClean,
				CleanSteps: []node.PlannedStep{{Interface: node.Power, Step: "reboot"}, {Interface: node.Deploy, Step: "burnin"}}})
			w.reach(node.CleanWait)
			w.heartbeat(c)
			w.reach(node.CleanWait)
			if w.m.count("boot_again") != 1 {
				t.Fatalf("done: %q", w.m.done())
			}
			want := "Timed out after"
			if abort {
				w.provision(c, node.ProvisionRequest{Event: node.EventAbort})
				want = "was aborted by request."
			}
			began := time.Now()
			n := w.settle()
			w.wantState(n, node.CleanFailed)
			if !strings.Contains(n.LastError, want) || time.Since(began) > 21*time.Minute || w.m.count("agent:burnin") > 0 {
				t.Errorf("after %s: %s; done %q", time.Since(began), n.LastError, w.m.done())
			}
		})
	}
}

// Power that is switched among the steps ends the ramdisk and its agent; switching on a machine that is on does not.
func TestPowerStepsForgetTheAgent(t *testing.T) {
	for step, forgets := range map[string]bool{"power_on": false, "power_off": true, "reboot": true} {
		inWorld(t, func(w *world) {
			w.enroll("test", node.Manageable)
			c, _ := w.start(w.cfg)
			w.provision(c, node.ProvisionRequest{Event: node.EventClean, CleanSteps: []node.PlannedStep{
				{Interface: node.Power, Step: step}, {Interface: node.Power, Step: "hold"}}})
			w.reach(node.CleanWait)
			w.heartbeat(c)
			n := w.reach(node.CleanHold)
			if gone := n.Agent.URL == "" && !n.Agent.TokenGiven; gone != forgets {
				t.Errorf("%s: agent %+v", step, n.Agent)
			}
			if want := map[string]node.PowerState{"power_off": node.PowerOff}[step]; want != "" && n.Power != want {
				t.Errorf("%s: power %q", step, n.Power)
			}
		})
	}
}

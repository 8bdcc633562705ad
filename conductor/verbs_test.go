package conductor

import (
	"fmt"
	"strings"
	"testing"

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
			{"protected, in maintenance", func(n *node.Node) { n.Protected, n.Maintenance = true, true }, func(node.State) node.Kind { return node.Forbidden }},
			{"with an instance", func(n *node.Node) { n.InstanceUUID = "i" }, func(node.State) node.Kind { return node.Conflict }},
			{"with an instance, in maintenance", func(n *node.Node) { n.InstanceUUID, n.Maintenance = "i", true }, func(node.State) node.Kind { return node.Internal }},
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
			if n.Maintenance || n.Fault != node.NoFault || (n.LastError == "") != last || w.m.count("tidy_up") != tidied || w.m.count("agent:polish_up") != 0 {
				t.Errorf("last %v: maintenance %v, last_error %q, done %q", last, n.Maintenance, n.LastError, w.m.done())
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

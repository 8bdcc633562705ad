package conductor

import (
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
)

// A flow whose node cannot be read any more ends failed, with the reason, and its machine is left alone.
func TestAFlowOfADamagedNode(t *testing.T) {
	for _, tt := range []struct {
		state, want node.State
		flow        node.Flow
	}{
		{node.Deploying, node.DeployFailed, node.FlowDeploy}, {node.DeployWait, node.DeployFailed, node.FlowDeploy},
		{node.Cleaning, node.CleanFailed, node.FlowClean}, {node.CleanWait, node.CleanFailed, node.FlowClean},
		{node.Deleting, node.Error, node.FlowDelete}, {node.ServiceWait, node.ServiceFailed, node.FlowService},
	} {
		state := tt.state
		for _, hurt := range []string{"driver_info", "plan", "config_drive"} {
			inWorld(t, func(w *world) {
				w.enroll("test", state)
				w.edit(func(n *node.Node) {
					n.Plan = &node.Plan{Flow: tt.flow, Steps: []node.PlannedStep{{Interface: node.Deploy, Step: "write_image"}}, StartedAt: node.Now()}
					n.Unreadable = map[string]string{hurt: "was changed or moved"}
					switch hurt {
					case "plan":
						n.Plan = nil
					case "driver_info":
						n.DriverInfo = node.Document{}
					}
				})
				w.start(w.cfg)
				time.Sleep(time.Minute)
				n := w.settle()
				w.wantState(n, tt.want)
				if said := "is damaged; unreadable are: " + hurt +
					" (was changed or moved). Nothing is done with the machine"; !strings.Contains(n.LastError, said) || n.Plan != nil {
					t.Errorf("%s, %s: %s, plan %+v", state, hurt, n.LastError, n.Plan)
				}
				if _, still := n.Unreadable["plan"]; still {
					t.Errorf("%s: the plan of a flow that has ended is still missed", state)
				}
				if len(w.m.did) > 0 {
					t.Errorf("%s, %s: done with the machine: %q", state, hurt, w.m.did)
				}
			})
		}
	}
}

// Power sync, which cannot ask the BMC of a node without its secrets, puts the node into maintenance with the reason; the node
// comes back by itself when it can be read again.
func TestPowerSyncOfADamagedNode(t *testing.T) {
	inWorld(t, func(w *world) {
		w.cfg.PowerSyncInterval = time.Minute
		w.enroll("test", node.Active)
		w.edit(func(n *node.Node) { n.Unreadable = map[string]string{"driver_info": "was changed or moved"} })
		c, _ := w.start(w.cfg)
		time.Sleep(5 * time.Minute)
		n := w.node()
		if !n.Maintenance || n.Fault != node.PowerFailure ||
			!strings.Contains(n.MaintenanceReason, "unreadable are: driver_info (was changed or moved)") {
			t.Errorf("maintenance %v, %q: %s", n.Maintenance, n.Fault, n.MaintenanceReason)
		}
		if err := c.SetPower(w.t.Context(), uuid1, node.PowerOff, 0); err == nil || node.KindOf(err) != node.Internal {
			t.Errorf("power: %v", err)
		}
		w.edit(func(n *node.Node) { n.Unreadable = nil })
		time.Sleep(2 * time.Minute)
		if n := w.node(); n.Maintenance || n.Fault != node.NoFault {
			t.Errorf("still in maintenance: %s", n.MaintenanceReason)
		}
		w.edit(func(n *node.Node) {
			n.Unreadable, n.Maintenance = map[string]string{"plan": "was changed or moved"}, true
		})
		if err := c.DeleteNode(w.t.Context(), uuid1); err != nil {
			t.Errorf("delete: %v", err)
		}
	})
}

// A flow of a node with a damaged port ends failed with the reason and leaves the machine alone; a request is refused with it.
func TestAFlowWithADamagedPort(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
		w.reach(node.DeployWait)
		w.store.Spoil(id("p1"), "internal_info", "was changed")
		before := len(w.m.did)
		w.heartbeat(c)
		n := w.settle()
		w.wantState(n, node.DeployFailed)
		if want := "is damaged; unreadable are: internal_info (was changed). Nothing is done with the machine of node " +
			uuid1; !strings.HasPrefix(n.LastError, "The deploy cannot go on. The database's record of port ") ||
			!strings.Contains(n.LastError, want) {
			t.Errorf("last_error %q", n.LastError)
		}
		if did := w.m.did[before:]; len(did) > 0 {
			t.Errorf("done with the machine: %q", did)
		}
		if err := c.SetPower(w.t.Context(), uuid1, node.PowerOff, 0); node.KindOf(err) != node.Internal ||
			!strings.Contains(err.Error(), "internal_info (was changed)") {
			t.Errorf("power: %v", err)
		}
	})
}

// A damaged template stops only the deploys that need it, and a damaged rule every inspection: neither acts as if it were empty.
func TestDamagedTemplatesAndRules(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		hurt := template("CUSTOM_HURT")
		hurt.Unreadable = node.Unreadable{"steps": "was changed"}
		w.templates(hurt)
		w.edit(func(n *node.Node) {
			n.Traits = []string{"CUSTOM_HURT"}
			n.InstanceInfo["traits"] = []any{"CUSTOM_HURT"}
		})
		c, _ := w.start(w.cfg)
		err := c.Provision(w.t.Context(), uuid1, node.ProvisionRequest{Event: node.EventDeploy})
		want := "The database's record of deploy template CUSTOM_HURT (" + id("HURT") + ") is damaged; " +
			"unreadable are: steps (was changed). No deploy gets its steps"
		if node.KindOf(err) != node.Internal || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v", err)
		}
		w.wantState(w.node(), node.Available)
		w.edit(func(n *node.Node) { delete(n.InstanceInfo, "traits") })
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
		w.reach(node.DeployWait)
	})
}

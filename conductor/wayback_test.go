package conductor

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
)

// unset ends maintenance as the API does.
func (w *world) unset(c *Conductor) {
	w.t.Helper()
	_, err := c.UpdateNode(w.t.Context(), uuid1, node.UpdateOptions{AnyState: true, Fields: []string{"maintenance"}},
		func(n *node.Node) error {
			n.Maintenance, n.MaintenanceReason, n.Fault = false, "", node.NoFault
			return nil
		})
	if err != nil {
		w.t.Fatal(err)
	}
}

// A cleaning that failed leaves the node in maintenance with its fault. The way back is Ironic's: manage,
// maintenance off, provide; the order of the last two does not matter, for a cleaning in maintenance waits.
func TestTheWayBackFromCleanFailed(t *testing.T) {
	for _, first := range []string{"maintenance first", "provide first"} {
		t.Run(first, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", node.Manageable)
				w.m.offers = []node.PlannedStep{{Interface: node.Deploy, Step: "erase_devices", Priority: 10}}
				w.m.fail["agent:erase_devices"] = errors.New("/dev/sda is worn out")
				c, _ := w.start(w.cfg)
				w.provision(c, node.ProvisionRequest{Event: node.EventProvide})
				w.reach(node.CleanWait)
				w.heartbeat(c)
				n := w.settle()
				w.wantState(n, node.CleanFailed)
				if !n.Maintenance || n.Fault != node.CleanFailure || n.MaintenanceReason != n.LastError ||
					!strings.Contains(n.LastError, "/dev/sda is worn out") || n.TargetState != node.Available {
					t.Errorf("maintenance %v, fault %q, reason %q, last_error %q, target %q", n.Maintenance, n.Fault, n.MaintenanceReason, n.LastError,
						n.TargetState)
				}
				for _, event := range []node.Event{node.EventProvide, node.EventClean, node.EventDeploy, node.EventInspect} {
					if err := c.Provision(w.t.Context(), uuid1, node.ProvisionRequest{Event: event}); node.KindOf(err) != node.Invalid {
						t.Errorf("%s of a node that failed its cleaning: %v", event, err)
					}
				}
				w.provision(c, node.ProvisionRequest{Event: node.EventManage})
				n = w.settle()
				w.wantState(n, node.Manageable)
				if !n.Maintenance || n.Fault != node.CleanFailure || n.LastError == "" {
					t.Errorf("after manage: maintenance %v, fault %q, last_error %q", n.Maintenance, n.Fault, n.LastError)
				}
				steps := []node.PlannedStep{{Interface: node.Deploy, Step: "erase_cmos"}}
				err := c.Provision(w.t.Context(), uuid1, node.ProvisionRequest{Event: node.EventClean, CleanSteps: steps})
				if want := "The clean operation can't be performed on node " + uuid1 + " because it's in maintenance mode."; err == nil ||
					err.Error() != want {
					t.Errorf("manual cleaning in maintenance: %v", err)
				}

				w.m.mu.Lock()
				delete(w.m.fail, "agent:erase_devices")
				w.m.agentOK["erase_devices"] = true
				w.m.mu.Unlock()
				if first == "maintenance first" {
					w.unset(c)
				}
				w.provision(c, node.ProvisionRequest{Event: node.EventProvide})
				w.reach(node.CleanWait)
				w.heartbeat(c)
				if first == "provide first" {
					time.Sleep(5 * time.Hour)
					w.heartbeat(c)
					w.wantState(w.node(), node.CleanWait)
					told := slices.DeleteFunc(w.events(), func(e string) bool { return !strings.Contains(e, "is in maintenance") })
					same(t, "told", told, []string{"INFO clean: The node is in maintenance (clean failure): the cleaning waits until that is unset, " +
						"however long it takes."})
					w.unset(c)
				}
				w.reachWaiting()
				if w.node().State == node.CleanWait {
					w.heartbeat(c)
				}
				n = w.settle()
				w.wantState(n, node.Available)
				if n.Maintenance || n.Fault != node.NoFault || n.LastError != "" {
					t.Errorf("in the end: maintenance %v, fault %q, last_error %q", n.Maintenance, n.Fault, n.LastError)
				}
			})
		})
	}
}

package conductor

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/crypt"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// The password itself is nowhere: not in the node, the history or the log; its hash is there for
// as long as the rescue is on its way.
func TestRescuePasswordIsHashedAndForgotten(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Active)
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventRescue, RescuePassword: "let me in"})
		n := w.reach(node.RescueWait)
		if err := crypt.Check(n.InstanceInfo.String(driver.HashedRescuePassword), "let me in"); err != nil {
			t.Errorf("instance_info %v: %v", n.InstanceInfo, err)
		}
		w.heartbeat(c)
		n = w.settle()
		w.wantState(n, node.Rescue)
		if _, kept := n.InstanceInfo[driver.HashedRescuePassword]; kept || n.InstanceInfo.String("image_source") == "" {
			t.Errorf("instance_info %v", n.InstanceInfo)
		}
		if all := strings.Join(w.events(), "\n") + w.log.String(); strings.Contains(all, "let me in") || strings.Contains(all, "$6$") {
			t.Errorf("the password or its hash is in the history or the log:\n%s", all)
		}
		if all := strings.Join(w.events(), "\n"); !strings.Contains(all,
			"the node is rescue. Log in as the user rescue with the password given, on the console or at 10.0.0.5.") {
			t.Errorf("the history does not say where to log in:\n%s", all)
		}
	})
}

// A rescue that is aborted is failed without a fault; when it cannot be tidied up, a person must look.
func TestAbortOfARescue(t *testing.T) {
	for _, tt := range []struct {
		name  string
		tidy  error
		fault node.Fault
	}{{"tidy", nil, node.NoFault}, {"not tidy", errors.New("the BMC is dead"), node.RescueAbortFailure}} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", node.Active)
				w.m.fail["tidy_rescue"] = tt.tidy
				c, _ := w.start(w.cfg)
				w.provision(c, node.ProvisionRequest{Event: node.EventRescue, RescuePassword: "let me in"})
				w.reach(node.RescueWait)
				w.provision(c, node.ProvisionRequest{Event: node.EventAbort})
				n := w.reach(node.RescueFailed)
				if n.Fault != tt.fault || n.Maintenance != (tt.fault != node.NoFault) || n.LastError != "The rescue was aborted by request." {
					t.Errorf("fault %q, maintenance %v, last_error %q", n.Fault, n.Maintenance, n.LastError)
				}
				if _, kept := n.InstanceInfo[driver.HashedRescuePassword]; kept {
					t.Error("the password's hash is kept")
				}
			})
		})
	}
}

// The services of a node run in the order given, a hold parks them, and a failed one ends active.
func TestServiceWithAHold(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Active)
		c, _ := w.start(w.cfg)
		service := node.ProvisionRequest{Event: node.EventService, ServiceSteps: []node.PlannedStep{
			{Interface: node.Deploy, Step: "flash"}, {Interface: node.Power, Step: "hold"}, {Interface: node.Deploy, Step: "polish"}}}
		w.provision(c, service)
		w.reach(node.ServiceWait)
		w.heartbeat(c)
		w.reach(node.ServiceHold)
		same(t, "done before unhold", w.m.done(), []string{"boot_service", "flash"})
		time.Sleep(24 * time.Hour)
		w.provision(c, node.ProvisionRequest{Event: node.EventUnhold})
		w.wantState(w.settle(), node.Active)
		same(t, "done", w.m.done(), []string{"boot_service", "flash", "polish", "end_service", "read_power"})

		w.m.fail["flash"] = errors.New("no battery")
		w.provision(c, service)
		w.reach(node.ServiceWait)
		w.heartbeat(c)
		n := w.reach(node.ServiceFailed)
		if n.LastError != "The service failed at step deploy.flash: no battery" || !n.Maintenance || n.Fault != node.ServiceFailure ||
			n.MaintenanceReason != n.LastError {
			t.Errorf("last_error %q, maintenance %v, fault %q", n.LastError, n.Maintenance, n.Fault)
		}
		if err := c.Provision(w.t.Context(), uuid1, service); node.KindOf(err) != node.Invalid {
			t.Errorf("another service in maintenance: %v", err)
		}
		w.provision(c, node.ProvisionRequest{Event: node.EventAbort})
		n = w.reach(node.Active)
		if n.LastError != "" || n.TargetState != "" {
			t.Errorf("last_error %q, target %q", n.LastError, n.TargetState)
		}
	})
}

// Every held or waiting state that allows it can be aborted, before and after a step.
func TestAbortOfAService(t *testing.T) {
	for _, held := range []bool{false, true} {
		inWorld(t, func(w *world) {
			w.enroll("test", node.Active)
			c, _ := w.start(w.cfg)
			w.provision(c, node.ProvisionRequest{Event: node.EventService, ServiceSteps: []node.PlannedStep{{Interface: node.Power, Step: "hold"}}})
			w.reach(node.ServiceWait)
			if held {
				w.heartbeat(c)
				w.reach(node.ServiceHold)
			}
			w.provision(c, node.ProvisionRequest{Event: node.EventAbort})
			n := w.reach(node.ServiceFailed)
			if n.LastError != "The service was aborted by request." || n.Plan != nil {
				t.Errorf("held %v: last_error %q, plan %+v", held, n.LastError, n.Plan)
			}
		})
	}
}

package conductor

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/billet-metal/billet/node"
)

// A machine that stops on its way fails its flow minutes before the step's deadline, also when nobody polls
// the step; one that goes on is waited for.
func TestAFlowFailsWhenAPhaseStalls(t *testing.T) {
	for _, tt := range []struct {
		name            string
		phase, firmware time.Duration
		says            time.Duration // how long the machine shows signs of life; 0: never
		from, to        time.Duration // when the flow fails
		want            string
	}{
		{"never seen", 110 * time.Second, 5 * time.Minute, 0, 5 * time.Minute, 5*time.Minute + 15*time.Second,
			"without a sign of life from the machine: no DHCP"},
		{"panic after a minute", 110 * time.Second, 5 * time.Minute, time.Minute, time.Minute + 330*time.Second, time.Minute + 345*time.Second,
			"last sign of life: kernel and ramdisk were fetched"},
		{"slow but alive", 110 * time.Second, 5 * time.Minute, 20 * time.Minute, 20*time.Minute + 330*time.Second,
			20*time.Minute + 345*time.Second, "last sign of life: kernel and ramdisk were fetched"},
		{"not watched", 0, 5 * time.Minute, time.Minute, 30 * time.Minute, 30*time.Minute + 15*time.Second, "Timed out after 18"},
		{"firmware not watched", 110 * time.Second, 0, 0, 30 * time.Minute, 30*time.Minute + 15*time.Second, "Timed out after 18"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", node.Available)
				w.cfg.BootPhaseTimeout, w.cfg.FirmwareTimeout = tt.phase, tt.firmware
				c, _ := w.start(w.cfg)
				began := time.Now()
				w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
				w.reach(node.DeployWait)
				for time.Since(began) < tt.says {
					time.Sleep(min(20*time.Second, tt.says-time.Since(began)))
					kind, what := node.FileSending, "boot/…/ramdisk: still being sent"
					if time.Since(began) >= tt.says {
						kind, what = node.FileSent, "boot/…/ramdisk: complete, 9 bytes in 1s"
					}
					w.saw(node.BootEvent{Service: "tftp", Kind: kind, File: node.RamdiskFile, What: what})
				}
				n := w.reach(node.DeployFailed)
				took := time.Since(began)
				if took < tt.from || took > tt.to {
					t.Errorf("failed after %s, want between %s and %s", took, tt.from, tt.to)
				}
				if !strings.Contains(n.LastError, tt.want) {
					t.Errorf("last_error: %s\nwant %s", n.LastError, tt.want)
				}
				if w.m.count("tidy_up") == 0 {
					t.Error("the machine was not tidied up")
				}
			})
		})
	}
}

// The time in which no process was there to hear the machine is not held against it.
func TestARestartGivesThePhasesAnew(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		w.cfg.BootPhaseTimeout, w.cfg.FirmwareTimeout = 110*time.Second, 5*time.Minute
		c, stop := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
		w.reach(node.DeployWait)
		stop()
		time.Sleep(10 * time.Minute)
		w.start(w.cfg)
		again := time.Now()
		time.Sleep(4 * time.Minute)
		w.wantState(w.node(), node.DeployWait)
		w.reach(node.DeployFailed)
		if took := time.Since(again); took < 5*time.Minute || took > 5*time.Minute+30*time.Second {
			t.Errorf("failed %s after the restart", took)
		}
	})
}

// Somebody who looks at a machine in maintenance is not rushed: its phases are counted anew afterwards.
func TestMaintenancePausesThePhases(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		w.cfg.BootPhaseTimeout, w.cfg.FirmwareTimeout = 110*time.Second, 5*time.Minute
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
		w.reach(node.DeployWait)
		w.edit(func(n *node.Node) { n.Maintenance = true })
		time.Sleep(20 * time.Minute)
		synctest.Wait() // a look at the node that is under way would save what it read before the edit
		w.wantState(w.node(), node.DeployWait)
		w.edit(func(n *node.Node) { n.Maintenance = false })
		ended := time.Now()
		time.Sleep(4 * time.Minute)
		w.wantState(w.node(), node.DeployWait)
		w.reach(node.DeployFailed)
		if took := time.Since(ended); took < 4*time.Minute+40*time.Second || took > 5*time.Minute+15*time.Second {
			t.Errorf("failed %s after the maintenance", took)
		}
	})
}

// A machine that is off although it was switched on is not waited for long; one that is off for a moment is, and so is
// one whose BMC does not answer.
func TestAMachineThatIsSwitchedOff(t *testing.T) {
	for _, tt := range []struct {
		name  string
		off   func(after time.Duration) (node.PowerState, error) // what the BMC says
		seen  bool                                               // DHCP hears the machine all the time
		after time.Duration                                      // when the flow fails, a poll more or less
		want  string
	}{
		{"off", func(time.Duration) (node.PowerState, error) { return node.PowerOff, nil }, false, 100 * time.Second,
			"of waiting for the agent's first heartbeat, in which the machine was switched off: its BMC has said so for 60 s: did it lose its " +
				"power, or did somebody switch it off?"},
		{"on", func(time.Duration) (node.PowerState, error) { return node.PowerOn, nil }, false, 25 * time.Minute, "without a sign of life"},
		{"off for a moment", func(after time.Duration) (node.PowerState, error) {
			if after > 80*time.Second {
				return node.PowerOn, nil
			}
			return node.PowerOff, nil
		}, false, 25 * time.Minute, "without a sign of life"},
		{"nobody knows", func(time.Duration) (node.PowerState, error) { return node.PowerUnknown, errors.New("no answer") }, false,
			25 * time.Minute, "without a sign of life"},
		{"it lives whatever its BMC says", func(time.Duration) (node.PowerState, error) { return node.PowerOff, nil }, true, 30 * time.Minute,
			"Timed out after"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", node.Available)
				w.cfg.BootPhaseTimeout, w.cfg.FirmwareTimeout = 110*time.Second, 25*time.Minute
				w.m.onDo = func(what string, n *node.Node) {
					if what == "boot_deploy" {
						n.Power = node.PowerOn
					}
				}
				c, _ := w.start(w.cfg)
				w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
				w.reach(node.DeployWait)
				began := time.Now()
				w.m.mu.Lock()
				w.m.power = func() (node.PowerState, error) { return tt.off(time.Since(began)) }
				w.m.mu.Unlock()
				for tt.seen && time.Since(began) < 29*time.Minute {
					w.store.Saw(node.BootEvent{MAC: mac1, Service: "tftp", Kind: node.FileSending, File: node.RamdiskFile,
						Proof: node.ProofNeighbour, What: "boot/…/ramdisk: still being sent", At: node.Now()})
					time.Sleep(20 * time.Second)
				}
				n := w.reach(node.DeployFailed)
				if took := time.Since(began); took < tt.after-15*time.Second || took > tt.after+15*time.Second {
					t.Errorf("failed after %s, want %s", took, tt.after)
				}
				if !strings.Contains(n.LastError, tt.want) {
					t.Errorf("last_error: %s", n.LastError)
				}
			})
		})
	}
}

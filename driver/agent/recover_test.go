package agent

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// erasing is a world whose agent is in the middle of a clean step.
func erasing(t *testing.T, abortable bool) *world {
	t.Helper()
	w := cleaner(t)
	w.power = node.PowerOn
	w.stored.Plan = &node.Plan{Flow: node.FlowClean, InBand: true, Steps: []node.PlannedStep{
		{Interface: node.Deploy, Step: "erase_devices", Agent: true, Abortable: abortable, StartedAt: node.Now().Add(-time.Hour)},
	}}
	w.calls()
	if r, err := w.act(w.direct.RunStep, nil); err != nil || !r.Waiting() {
		t.Fatal(r, err)
	}
	return w
}

// act calls a step once as the conductor does, with what it knows of the agent's lookups.
func (w *world) act(f call, edit func(*driver.Task)) (driver.Result, error) {
	t := w.task()
	if edit != nil {
		edit(t)
	}
	r, err := f(w.t.Context(), t)
	if r.Waiting() && t.Node.Plan.WaitingSince.IsZero() {
		t.Node.Plan.WaitingSince = node.Now()
	}
	w.keep(t.Node)
	return r, err
}

// dies is the machine's end: its agent answers no more, and nothing is left of it.
func (w *world) dies(p node.PowerState) {
	w.agent.server.Close()
	w.power, w.log = p, nil
	if w.stored.Plan.Waiting() && p == node.PowerOff { // the first look decides nothing
		if r, err := w.act(w.direct.PollStep, nil); err != nil || !r.Waiting() || len(w.log) > 0 {
			w.t.Fatalf("%+v, %v, %v", r, err, w.log)
		}
	}
}

// comesBack boots a new agent on the machine.
func (w *world) comesBack() {
	old := w.agent
	w.agent = newFakeAgent(w.t)
	w.agent.unfinished, w.agent.steps, w.agent.versions = true, old.steps, old.versions
	w.calls()
}

// off is how the loss of power is told, once nobody was found at the agent's address twice.
const off = "during erase_devices: the machine is off, as its BMC says: it lost its power, or somebody switched it off"

const theRecovery = "forget agent, power off, connect cleaning, forget agent, PrepareRamdisk, power on"

// A machine that stops in the middle of a step that may stop anywhere is started again, and its new agent gets
// the step from the beginning.
func TestALostMachineIsStartedAgain(t *testing.T) {
	for _, tt := range []struct {
		name  string
		power node.PowerState
		task  func(*driver.Task)
		quiet time.Duration
		says  string
	}{
		{"off", node.PowerOff, nil, 0, off + ". The machine is started again, and the step begins anew (1 of 3)."},
		{"started anew", node.PowerOn, func(t *driver.Task) { t.LookedUp = node.Now().Add(-20 * time.Second) }, 0,
			"during erase_devices: the machine started anew by itself: an agent asked for its node 20s ago, and the one before does not " +
				"answer. The machine is started again, and the step begins anew (1 of 3)."},
		{"silent", node.PowerOn, nil, 6 * time.Minute, "during erase_devices: the agent has not called for 6m0s, and the agent at"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := erasing(t, true)
			w.dies(tt.power)
			if tt.quiet > 0 {
				w.row.LastHeartbeat = node.Now().Add(-tt.quiet)
			}
			r, err := w.act(w.direct.PollStep, tt.task)
			if err != nil || r.WaitFor != firstCall || r.Within != DefaultBootTimeout {
				t.Fatalf("%+v, %v", r, err)
			}
			if !strings.HasPrefix(r.Says, tt.says) {
				t.Errorf("it says %q", r.Says)
			}
			if r.Lost == "" || !strings.HasPrefix(r.Says, r.Lost+". The machine is started again") {
				t.Errorf("lost %q, says %q", r.Lost, r.Says)
			}
			if got := strings.Join(w.log, ", "); got != theRecovery {
				t.Errorf("at the machine: %s", got)
			}
			if r, err := w.act(w.direct.PollStep, nil); err != nil || r.WaitFor != firstCall || r.Within != 0 || r.Says != "" {
				t.Errorf("while it boots: %+v, %v", r, err)
			}
			w.comesBack()
			if r, err := w.act(w.direct.PollStep, nil); err != nil || r.WaitFor.Text != "the agent to finish erase_devices" ||
				r.Within != DefaultStepTimeout {
				t.Fatalf("begun anew: %+v, %v", r, err)
			}
			if r, err := w.act(w.direct.PollStep, nil); err != nil || !r.Waiting() {
				t.Fatalf("while it works: %+v, %v", r, err)
			}
			w.agent.finish()
			if r, err := w.act(w.direct.PollStep, nil); err != nil || r.Waiting() {
				t.Fatalf("at its end: %+v, %v", r, err)
			}
			if n := w.agent.count("clean.execute_clean_step"); n != 1 {
				t.Errorf("the new agent got the step %d times", n)
			}
		})
	}
}

// What is no sign of a lost machine is waited out: a BMC that does not tell, an agent that was just started anew
// in the same boot, an agent that is slow to answer.
func TestADoubtLosesNoMachine(t *testing.T) {
	for name, edit := range map[string]func(w *world, t *driver.Task){
		"slow":        func(*world, *driver.Task) {},
		"no BMC":      func(w *world, _ *driver.Task) { w.power, w.fails["PowerState"] = node.PowerOff, errors.New("dead") },
		"just looked": func(_ *world, t *driver.Task) { t.LookedUp = node.Now().Add(-5 * time.Second) },
	} {
		w := erasing(t, true)
		w.dies(node.PowerOn)
		r, err := w.act(w.direct.PollStep, func(t *driver.Task) { edit(w, t) })
		if err != nil || r.WaitFor.Text != "the agent to finish erase_devices" || r.Within != 0 || len(w.log) > 0 {
			t.Errorf("%s: %+v, %v, %v", name, r, err, w.log)
		}
	}
}

// ironic-python-agent looks its node up in each step, and gets no token: when it then does not answer once, it has not
// started anew. A lookup after its last answer says that it has.
func TestALookupWhileItWorksLosesNoMachine(t *testing.T) {
	w := erasing(t, true)
	at := node.Now().Add(-20 * time.Second)
	lookedUp := func(t *driver.Task) { t.LookedUp = at }
	if r, err := w.act(w.direct.PollStep, lookedUp); err != nil || !r.Waiting() {
		t.Fatalf("while it answers: %+v, %v", r, err)
	}
	w.dies(node.PowerOn)
	if r, err := w.act(w.direct.PollStep, lookedUp); err != nil ||
		r.WaitFor.Text != "the agent to finish erase_devices" || r.Within != 0 || len(w.log) > 0 {
		t.Errorf("after one poll without an answer: %+v, %v, %v", r, err, w.log)
	}
	at = at.Add(time.Second)
	if r, err := w.act(w.direct.PollStep, lookedUp); err != nil || r.WaitFor != firstCall || !strings.Contains(r.Says,
		"the machine started anew by itself") {
		t.Errorf("after a lookup of another agent: %+v, %v", r, err)
	}
}

// A step that does not say that it may stop in the middle is not begun again.
func TestWhatMayNotStopIsNotRepeated(t *testing.T) {
	w := erasing(t, false)
	w.dies(node.PowerOff)
	_, err := w.act(w.direct.PollStep, nil)
	want := off + "; the step is none that may stop in the middle (it is not abortable), so it is not begun again"
	if err == nil || err.Error() != want || len(w.log) > 0 {
		t.Errorf("got  %v, %v\nwant %s", err, w.log, want)
	}
}

// A deploy does not go on by itself after its machine was lost: its ramdisk knew what had been written where.
func TestALostDeployFails(t *testing.T) {
	w := erasing(t, true)
	w.stored.Plan.Flow = node.FlowDeploy
	w.dies(node.PowerOff)
	_, err := w.act(w.direct.PollStep, nil)
	if want := off; err == nil || err.Error() != want || len(w.log) > 0 {
		t.Errorf("got  %v, %v\nwant %s", err, w.log, want)
	}
}

// A machine that must not be switched off is switched on again when it lost power, and reset when it only fell
// silent.
func TestALostMachineThatIsNeverSwitchedOff(t *testing.T) {
	for power, want := range map[node.PowerState]string{node.PowerOff: "power on", node.PowerOn: "rebooting"} {
		w := erasing(t, true)
		w.stored.DisablePowerOff = true
		w.dies(power)
		w.row.LastHeartbeat = node.Now().Add(-time.Hour)
		r, err := w.act(w.direct.PollStep, nil)
		if got := strings.Join(w.log, ", "); err != nil || r.WaitFor != firstCall ||
			got != "forget agent, connect cleaning, forget agent, PrepareRamdisk, "+want {
			t.Errorf("%s: %+v, %v, %s", power, r, err, got)
		}
	}
}

// A service goes on like a cleaning, in its own network.
func TestALostServiceGoesOn(t *testing.T) {
	w := erasing(t, true)
	w.stored.Plan.Flow = node.FlowService
	w.dies(node.PowerOff)
	r, err := w.act(w.direct.PollStep, nil)
	if err != nil || r.WaitFor != firstCall || strings.Join(w.log, ", ") != strings.ReplaceAll(theRecovery, "cleaning", "servicing") {
		t.Errorf("%+v, %v, %v", r, err, w.log)
	}
}

// A machine that goes off each time is given up.
func TestRecoveriesHaveAnEnd(t *testing.T) {
	w := erasing(t, true)
	for i := range maxRecoveries {
		w.dies(node.PowerOff)
		if r, err := w.act(w.direct.PollStep, nil); err != nil || r.WaitFor != firstCall {
			t.Fatalf("%d: %+v, %v", i, r, err)
		}
		w.comesBack()
		if r, err := w.act(w.direct.PollStep, nil); err != nil || !r.Waiting() {
			t.Fatalf("%d: %+v, %v", i, r, err)
		}
	}
	w.dies(node.PowerOff)
	_, err := w.act(w.direct.PollStep, nil)
	want := off + "; the step was begun again 3 times before, so it is not once more"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	// Another step of the plan has its own count.
	w.stored.Plan.Steps = append(w.stored.Plan.Steps, w.stored.Plan.Steps[0])
	w.stored.Plan.Index++
	if n := recoveries(w.task()); n != 0 {
		t.Errorf("the next step begins with %d", n)
	}
}

// A machine that is off before its step was begun is started again too; so is one that the service finds so
// after a crash, whenever that was.
func TestLostBeforeTheStepBegan(t *testing.T) {
	w := cleaner(t)
	w.stored.Plan = &node.Plan{Flow: node.FlowClean, InBand: true, Steps: []node.PlannedStep{
		{Interface: node.Deploy, Step: "erase_devices", Agent: true, Abortable: true, StartedAt: node.Now()},
	}}
	w.calls()
	w.dies(node.PowerOff)
	if r, err := w.act(w.direct.RunStep, nil); err != nil || r.WaitFor.Text != "the agent to finish erase_devices" || len(w.log) > 0 {
		t.Fatal(r, err, w.log) // the first look decides nothing
	}
	w.fails["power on"] = errors.New("relay stuck")
	_, err := w.act(w.direct.PollStep, nil)
	if want := "starting the machine again, which was lost during erase_devices: switching the machine on to boot the deploy ramdisk: " +
		"relay stuck"; err == nil || err.Error() != want {
		t.Fatalf("got %v, want %s", err, want)
	}
	w.fails, w.log = map[string]error{}, nil
	if r, err := w.act(w.direct.RunStep, nil); err != nil || r.WaitFor != firstCall {
		t.Fatal(r, err)
	}
	if got := strings.Join(w.log, ", "); got != theRecovery {
		t.Errorf("at the machine: %s", got)
	}
	w.comesBack()
	if r, err := w.act(w.direct.PollStep, nil); err != nil || r.WaitFor.Text != "the agent to finish erase_devices" {
		t.Fatal(r, err)
	}
}

// A machine that goes off while it boots is switched on again when it was seen off twice, and given up in the end.
func TestPowerLossWhileBooting(t *testing.T) {
	w := cleaner(t)
	w.direct.Poll = 10 * time.Millisecond
	prepare := w.direct.prepareCleaning
	if r, err := w.act(prepare, nil); err != nil || r.WaitFor != firstCall {
		t.Fatal(r, err)
	}
	w.log = nil
	for i := range maxRecoveries {
		w.power = node.PowerOff
		if r, err := w.act(w.direct.booting().called, nil); err != nil || r.Within != 0 || len(w.log) > 0 {
			t.Fatalf("seen off once: %+v, %v, %v", r, err, w.log)
		}
		if i == 0 { // a BMC that only took its time
			w.power = node.PowerOn
			w.act(w.direct.booting().called, nil)
			w.power = node.PowerOff
			if r, err := w.act(w.direct.booting().called, nil); err != nil || r.Within != 0 || len(w.log) > 0 {
				t.Fatalf("seen off once more: %+v, %v, %v", r, err, w.log)
			}
		}
		time.Sleep(w.direct.Poll)
		r, err := w.act(w.direct.booting().called, nil)
		if err != nil || r.Within != DefaultBootTimeout || !strings.Contains(r.Says,
			"lost power while it booted the deploy ramdisk. It is switched on again") {
			t.Fatalf("seen off twice: %+v, %v", r, err)
		}
		if diff := cmp.Diff([]string{"power off", "connect cleaning", "forget agent", "PrepareRamdisk", "power on"}, w.log); diff != "" {
			t.Fatal(diff)
		}
		w.log = nil
	}
	w.power = node.PowerOff
	w.act(w.direct.booting().called, nil)
	time.Sleep(w.direct.Poll)
	_, err := w.act(w.direct.booting().called, nil)
	if err == nil || !strings.Contains(err.Error(), "also after it was switched on again 3 times") {
		t.Error(err)
	}
}

// A step of the conductor's own that reboots the machine gets the ramdisk booted anew: the agent of before is forgotten first, the new
// one's first call ends the wait, and the next step is the new one's. Called again after a crash at any point it does what is left.
func TestTheRamdiskIsBootedAgain(t *testing.T) {
	reboots := func(t *testing.T) *world {
		w := erasing(t, true)
		w.stored.Plan.WaitingSince = time.Time{}
		w.stored.Plan.Steps = append([]node.PlannedStep{{Interface: node.Power, Step: "reboot", StartedAt: node.Now()}}, w.stored.Plan.Steps...)
		w.log = nil
		return w
	}
	w := reboots(t)
	old := w.agent
	if r, err := w.act(w.direct.BootAgain, nil); err != nil || r.WaitFor != firstCall || r.Within != DefaultBootTimeout {
		t.Fatalf("%+v, %v", r, err)
	}
	if got := strings.Join(w.log, ", "); got != theRecovery {
		t.Errorf("at the machine: %s", got)
	}
	for range 2 {
		if r, err := w.act(w.direct.BootAgain, nil); err != nil || r.WaitFor != firstCall || r.Within != 0 {
			t.Errorf("while it boots: %+v, %v", r, err)
		}
	}
	w.comesBack()
	if r, err := w.act(w.direct.BootAgain, nil); err != nil || r.Waiting() {
		t.Fatalf("once it has called: %+v, %v", r, err)
	}
	if got := strings.Join(w.log, ", "); got != theRecovery {
		t.Errorf("done once more at the machine: %s", got)
	}
	w.stored.Plan.Index++
	w.stored.Plan.WaitingSince = time.Time{}
	if r, err := w.act(w.direct.RunStep, nil); err != nil || r.WaitFor.Text != "the agent to finish erase_devices" ||
		w.agent.count("clean.execute_clean_step") != 1 {
		t.Errorf("the step after it: %+v, %v; the agents got %d and %d", r, err, old.count("clean.execute_clean_step"),
			w.agent.count("clean.execute_clean_step"))
	}

	// The process dies at each thing done to the machine; the next one ends at the same point.
	for _, at := range []string{"power off", "connect cleaning", "PrepareRamdisk", "power on"} {
		w := reboots(t)
		w.fails[at] = errors.New("dead")
		task := w.task()
		if _, err := w.direct.BootAgain(t.Context(), task); err == nil {
			t.Errorf("%s: no error", at)
		}
		delete(w.fails, at) // what it had not saved itself is gone
		if r, err := w.act(w.direct.BootAgain, nil); err != nil || r.WaitFor != firstCall || w.power != node.PowerOn || w.row.URL != "" {
			t.Errorf("%s: %+v, %v; power %s, agent %+v", at, r, err, w.power, w.row)
		}
		w.comesBack()
		if r, err := w.act(w.direct.BootAgain, nil); err != nil || r.Waiting() {
			t.Errorf("%s: at the end: %+v, %v", at, r, err)
		}
	}
}

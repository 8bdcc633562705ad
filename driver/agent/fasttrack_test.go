package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// parked is a world whose machine runs the ramdisk of an earlier flow.
func parked(t *testing.T) *world {
	w := newWorld(t)
	w.fast, w.power = 5*time.Minute, node.PowerOn
	w.calls()
	w.agent.list = []wire.CommandResult{{ID: "earlier", Name: "execute_deploy_step", Status: wire.Succeeded}}
	return w
}

// The machine is not booted for the flow; what an earlier flow had the agent do is not taken for this one's.
func TestFastTrack(t *testing.T) {
	for _, tt := range []struct {
		flow node.Flow
		want []string
	}{
		{node.FlowDeploy, []string{"connect provisioning", "PrepareRamdisk", "PrepareInstance", "forget agent", "connect tenant", "power on"}},
		{node.FlowClean, []string{"connect cleaning", "PrepareRamdisk", "CleanUpRamdisk", "disconnect cleaning"}},
	} {
		t.Run(string(tt.flow), func(t *testing.T) {
			w := parked(t)
			w.plan(tt.flow, w.direct.Steps(), node.PlannedStep{Interface: node.Deploy, Step: "burnin", Priority: 70, Agent: true})
			if err := (&runner{world: w}).carry(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, w.log); diff != "" {
				t.Errorf("what happened to the machine (-want +got):\n%s", diff)
			}
			if tt.flow == node.FlowDeploy && w.agent.count("deploy.execute_deploy_step") != 2 {
				t.Errorf("the agent got %v; want write_image and burnin", w.agent.got)
			}
		})
	}
}

// The history says that no reboot was needed, once.
func TestFastTrackSaysSo(t *testing.T) {
	w := parked(t)
	w.plan(node.FlowDeploy, w.direct.Steps())
	w.stored.Plan.Steps[0].StartedAt = node.Now()
	r, err := w.direct.deploy(t.Context(), w.task())
	if err != nil || r.Waiting() || !strings.Contains(r.Says, "without a reboot (fast track)") {
		t.Errorf("%+v, %v", r, err)
	}
	w = newWorld(t) // an ordinary boot says nothing
	w.fast = time.Minute
	w.plan(node.FlowDeploy, w.direct.Steps())
	w.stored.Plan.Steps[0].StartedAt = node.Now()
	if r, err = w.direct.deploy(t.Context(), w.task()); err != nil || !r.Waiting() || r.Says != "" {
		t.Errorf("%+v, %v", r, err)
	}
}

// Whatever is doubtful about the ramdisk, the machine is booted anew.
func TestNoFastTrack(t *testing.T) {
	for name, change := range map[string]func(w *world){
		"switched off for the node":    func(w *world) { w.fast = 0 },
		"the last call is too old":     func(w *world) { w.row.LastHeartbeat = node.Now().Add(-6 * time.Minute) },
		"no agent":                     func(w *world) { w.row = node.Agent{} },
		"the machine is off":           func(w *world) { w.power = node.PowerOff },
		"the BMC cannot say":           func(w *world) { w.fails["PowerState"] = errors.New("no answer") },
		"the agent is busy":            func(w *world) { w.agent.list[0].Status = wire.Running },
		"the agent does not answer":    func(w *world) { w.agent.server.Close() },
		"the agent has another token":  func(w *world) { w.row.Token = "of somebody else" },
		"the agent has no certificate": func(w *world) { w.row.VerifyCA = "" },
	} {
		t.Run(name, func(t *testing.T) {
			w := parked(t)
			change(w)
			w.plan(node.FlowClean, w.direct.Steps())
			w.stored.Plan.Steps[0].StartedAt = node.Now()
			r, err := w.direct.prepareCleaning(t.Context(), w.task())
			want := []string{"power off", "connect cleaning", "forget agent", "PrepareRamdisk", "power on"}
			if diff := cmp.Diff(want, w.log); diff != "" || err != nil || r.WaitFor != firstCall {
				t.Errorf("%+v, %v (-want +got):\n%s", r, err, diff)
			}
		})
	}
}

// What fails after the ramdisk was taken on is the flow's failure, not a reason for another boot.
func TestFastTrackFails(t *testing.T) {
	for what, want := range map[string]string{
		"connect cleaning": "connecting the machine to the cleaning network: broken",
		"PrepareRamdisk":   "preparing the machine to boot the deploy ramdisk: broken",
	} {
		w := parked(t)
		w.fails[what] = errors.New("broken")
		w.plan(node.FlowClean, w.direct.Steps())
		if _, err := w.direct.prepareCleaning(t.Context(), w.task()); fmt.Sprint(err) != want {
			t.Errorf("%s: %v", what, err)
		}
		if slices.Contains(w.log, "power off") {
			t.Errorf("%s: %v", what, w.log)
		}
	}
}

// A step that wants a reboot gets one, also when the flow began without.
func TestFastTrackThenReboot(t *testing.T) {
	w := parked(t)
	w.plan(node.FlowClean, w.direct.Steps(), node.PlannedStep{Interface: node.Deploy, Step: "update_bios", Priority: 50, Agent: true,
		Reboot: true})
	if err := (&runner{world: w}).carry(); err != nil {
		t.Fatal(err)
	}
	want := []string{"connect cleaning", "PrepareRamdisk", "forget agent", "power off", "connect cleaning", "forget agent", "PrepareRamdisk",
		"power on",
		"CleanUpRamdisk", "disconnect cleaning"}
	if diff := cmp.Diff(want, w.log); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A failed flow leaves no ramdisk running.
func TestFastTrackTidiesUp(t *testing.T) {
	w := parked(t)
	w.plan(node.FlowClean, w.direct.Steps())
	if err := w.direct.TidyUp(t.Context(), w.task()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"power off", "CleanUpRamdisk", "disconnect cleaning", "forget agent"}, w.log); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Wherever the service dies, the flow ends the same, and the image is written once.
func TestFastTrackKilledAnywhere(t *testing.T) {
	for _, victim := range append([]string{"every call"}, deployCalls...) {
		t.Run(victim, func(t *testing.T) {
			w := parked(t)
			w.agent.unfinished = true
			w.plan(node.FlowDeploy, w.direct.Steps())
			killed := map[string]bool{}
			r := &runner{world: w, dies: func(call string) bool {
				dies := !killed[call] && (victim == "every call" || victim == call)
				killed[call] = killed[call] || dies
				return dies
			}}
			if err := r.carry(); err != nil {
				t.Fatal(err)
			}
			if n := w.agent.count("deploy.execute_deploy_step"); n != 1 {
				t.Errorf("the image was written %d times", n)
			}
			if i := slices.Index(w.log, "power off"); i >= 0 {
				t.Errorf("the machine was switched off: %v", w.log)
			}
		})
	}
}

// Inspection leaves the ramdisk running, whose agent has yet to call.
func TestInspectionWithFastTrack(t *testing.T) {
	for _, tt := range []struct {
		fast time.Duration
		want []string
	}{
		{0, []string{"power off", "CleanUpRamdisk", "disconnect inspection", "forget agent"}},
		{time.Minute, []string{"CleanUpRamdisk", "disconnect inspection"}},
	} {
		w := newWorld(t)
		w.fast, w.power = tt.fast, node.PowerOn
		inspect := &Inspect{APIURL: "http://10.0.0.1:6386"}
		w.plan(node.FlowInspect, inspect.Steps())
		task := w.task()
		driver.Reported.Set(task, node.Now())
		if r, err := inspect.reported(t.Context(), task); err != nil || r.Waiting() {
			t.Fatalf("%+v, %v", r, err)
		}
		if diff := cmp.Diff(tt.want, w.log); diff != "" {
			t.Errorf("fast track %s (-want +got):\n%s", tt.fast, diff)
		}
	}
}

// Without a BMC the agent reboots its machine, and is forgotten once it has.
func TestAgentPowerDeploy(t *testing.T) {
	w := parked(t)
	w.byHand = true
	w.plan(node.FlowDeploy, w.direct.Steps())
	if err := (&runner{world: w}).carry(); err != nil {
		t.Fatal(err)
	}
	want := []string{"connect provisioning", "PrepareRamdisk", "PrepareInstance", "connect tenant", "agent: rebooting", "forget agent"}
	if diff := cmp.Diff(want, w.log); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := w.agent.count("standby.sync"); n != 1 || w.agent.count("standby.power_off") != 0 || w.agent.count("standby.run_image") != 1 {
		t.Errorf("the agent got %v", w.agent.got)
	}
	if w.stored.Power != node.PowerOn {
		t.Errorf("power %q", w.stored.Power)
	}
}

// A busy or unwanted ramdisk is rebooted by its own agent; the flow waits for the next one.
func TestAgentPowerBootsAnew(t *testing.T) {
	w := parked(t)
	w.byHand = true
	inspect := &Inspect{APIURL: "http://10.0.0.1:6386"}
	w.plan(node.FlowInspect, inspect.Steps())
	task := w.task()
	task.Step().StartedAt = node.Now()
	r, err := inspect.inspect(t.Context(), task)
	want := []string{"connect inspection", "PrepareRamdisk", "agent: rebooting", "forget agent"}
	if diff := cmp.Diff(want, w.log); diff != "" || err != nil || r.WaitFor != untilReport {
		t.Errorf("%+v, %v (-want +got):\n%s", r, err, diff)
	}
}

// A step's reboot too is the agent's.
func TestAgentPowerStepReboots(t *testing.T) {
	w := parked(t)
	w.byHand = true
	w.plan(node.FlowClean, w.direct.Steps(), node.PlannedStep{Interface: node.Deploy, Step: "update_bios", Priority: 50, Agent: true,
		Reboot: true})
	if err := (&runner{world: w}).carry(); err != nil {
		t.Fatal(err)
	}
	want := []string{"connect cleaning", "PrepareRamdisk", "connect cleaning", "PrepareRamdisk", "agent: rebooting", "forget agent",
		"CleanUpRamdisk", "disconnect cleaning"}
	if diff := cmp.Diff(want, w.log); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Nobody can reboot a machine without a BMC and without an agent: the flow fails with what to do.
func TestAgentPowerWithoutAnAgent(t *testing.T) {
	w := newWorld(t)
	w.byHand, w.fast = true, time.Minute
	w.plan(node.FlowClean, w.direct.Steps())
	_, err := w.direct.prepareCleaning(t.Context(), w.task())
	if want := "rebooting the machine into the deploy ramdisk: " + errNoAgent.Error(); fmt.Sprint(err) != want {
		t.Errorf("%v", err)
	}
	// After a failure an agent that lives is kept: it is all there is.
	w = parked(t)
	w.byHand = true
	w.plan(node.FlowClean, w.direct.Steps())
	if err := w.direct.TidyUp(t.Context(), w.task()); err != nil || w.row.URL == "" {
		t.Errorf("%v, agent %+v", err, w.row)
	}
	if diff := cmp.Diff([]string{"CleanUpRamdisk", "disconnect cleaning"}, w.log); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A service that died after the agent was told to reboot finds it gone, and is content.
func TestAgentPowerKilledWhileLeaving(t *testing.T) {
	for _, asked := range []bool{true, false} {
		w := parked(t)
		w.byHand = true
		w.plan(node.FlowDeploy, w.direct.Steps())
		w.stored.Plan.Index = len(w.stored.Plan.Steps) - 1
		if asked {
			rebootNote.Set(w.atRest(), reboots{ByAgent: stepName(w.task())})
		}
		w.agent.server.Close()
		_, err := bootInstance(t.Context(), w.task())
		if (err == nil) != asked {
			t.Errorf("asked before %v: %v", asked, err)
		}
	}
}

func TestAgentPower(t *testing.T) {
	w := parked(t)
	power := Power{Client: w.direct.Client}
	for name, tt := range map[string]struct {
		change func()
		want   string
	}{
		"alive": {func() {}, "<nil>"},
		"silent": {func() { w.row.LastHeartbeat = node.Now().Add(-time.Hour) }, "Agent seems offline for node " + testUUID +
			", the agent power interface cannot be used: boot the deploy ramdisk on the machine by hand and wait until its agent has called."},
		"none": {func() { w.row = node.Agent{} }, "Agent seems offline for node " + testUUID +
			", the agent power interface cannot be used: boot the deploy ramdisk on the machine by hand and wait until its agent has called."},
		"no fast track": {func() { w.fast = 0 }, "Fast track must be enabled to use the agent power interface: set driver_info/fast_track " +
			"of node " + testUUID + ", or fast_track of the service, to true."},
	} {
		w.fast, w.row = 5*time.Minute, w.agent.row()
		tt.change()
		err := power.Validate(t.Context(), w.task())
		if fmt.Sprint(err) != tt.want || err != nil && node.KindOf(err) != node.Invalid {
			t.Errorf("%s: %v", name, err)
		}
		state, err := power.PowerState(t.Context(), w.task())
		if on := state == node.PowerOn; on != (tt.want == "<nil>") || on != (err == nil) {
			t.Errorf("%s: power state %q, %v", name, state, err)
		}
	}
	w.fast, w.row = 5*time.Minute, w.agent.row()
	for _, target := range []node.PowerState{node.PowerOn, node.PowerOff, node.SoftPowerOff, "sideways"} {
		if err := power.SetPowerState(t.Context(), w.task(), target); node.KindOf(err) != node.Invalid {
			t.Errorf("%q: %v", target, err)
		}
	}
	if len(w.agent.got) != 0 {
		t.Errorf("refused, and yet the agent got %v", w.agent.got)
	}
	for _, target := range []node.PowerState{node.Rebooting, node.SoftRebooting} {
		if err := power.SetPowerState(t.Context(), w.task(), target); err != nil {
			t.Errorf("%q: %v", target, err)
		}
	}
	w.agent.hangUpBefore = 1 // it goes down before it answers
	if err := power.SetPowerState(t.Context(), w.task(), node.Rebooting); err != nil {
		t.Errorf("an agent that goes down at once: %v", err)
	}
	if n := w.agent.count("standby.run_image"); n != 2 {
		t.Errorf("%d orders were taken", n)
	}
	w.agent.list = append(w.agent.list, wire.CommandResult{ID: "b", Name: "write_image", Status: wire.Running})
	if err := power.SetPowerState(t.Context(), w.task(), node.Rebooting); err == nil || !strings.Contains(err.Error(), "busy") {
		t.Errorf("a busy agent: %v", err)
	}
	w.agent.server.Close()
	if err := power.SetPowerState(t.Context(), w.task(), node.Rebooting); !isUnreachable(err) {
		t.Errorf("an agent that is gone: %v", err)
	}
}

func TestUnmanaged(t *testing.T) {
	var m driver.Management = Unmanaged{}
	ctx, task := context.Background(), newWorld(t).task()
	for _, d := range m.BootDevices() {
		if err := m.SetBootDevice(ctx, task, node.BootDevice{Device: d}); err != nil {
			t.Errorf("%s: %v", d, err)
		}
	}
	if err := m.SetBootDevice(ctx, task, node.BootDevice{Device: "cdrom"}); fmt.Sprint(err) != `boot device "cdrom" is not supported; `+
		`supported are pxe, disk.` || node.KindOf(err) != node.Invalid {
		t.Errorf("cdrom: %v", err)
	}
	if d, err := m.BootDevice(ctx, task); d != (node.BootDevice{Device: "pxe", Persistent: true}) || err != nil {
		t.Errorf("%+v, %v", d, err)
	}
	if err := errors.Join(m.Validate(ctx, task), Power{}.Validate(ctx, task)); err == nil || !strings.HasPrefix(err.Error(), "Fast track") {
		t.Errorf("validation: %v", err)
	}
}

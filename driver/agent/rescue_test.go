package agent

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

func rescueWorld(t *testing.T, flow node.Flow) (*world, *Rescue) {
	w := newWorld(t)
	r := &Rescue{APIURL: "http://10.0.0.1:6386", Client: w.direct.Client}
	w.stored.InstanceInfo[driver.HashedRescuePassword] = "$6$salt$hash"
	w.plan(flow, r.Steps())
	return w, r
}

func (w *world) rescueRunner(r *Rescue) *runner {
	return &runner{world: w, steps: r.Steps()}
}

var theRescue = []string{
	"power off", "connect rescuing", "forget agent", "PrepareRamdisk", "power on",
	"CleanUpRamdisk", "connect tenant", "forget agent",
}

func TestRescue(t *testing.T) {
	w, r := rescueWorld(t, node.FlowRescue)
	if err := w.rescueRunner(r).carry(); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(theRescue, w.log); d != "" {
		t.Errorf("at the machine (-want +got):\n%s", d)
	}
	if d := cmp.Diff(map[string]any{"rescue_password": "$6$salt$hash", "hashed": true}, w.agent.params("rescue.finalize_rescue")); d != "" {
		t.Errorf("finalize_rescue:\n%s", d)
	}
	if noted(w, driver.RescueAddress) != "127.0.0.1" || w.power != node.PowerOn {
		t.Errorf("memo %v, power %s", w.stored.Plan.Memo, w.power)
	}
}

// Killed after any call: people are let in once more at most, and the machine boots once.
func TestRescueKilledAnywhere(t *testing.T) {
	for _, victim := range []string{"boot_rescue run", "boot_rescue poll", "finalize_rescue run", "hand_over_rescue run"} {
		t.Run(victim, func(t *testing.T) {
			w, r := rescueWorld(t, node.FlowRescue)
			killed := false
			run := w.rescueRunner(r)
			run.dies = func(call string) bool {
				dies := call == victim && !killed
				killed = killed || dies
				if dies && call == "finalize_rescue run" {
					w.agent.server.Close() // it has let people in and closed its API
				}
				return dies
			}
			if err := run.carry(); err != nil {
				t.Fatal(err)
			}
			if n := w.agent.count("rescue.finalize_rescue"); n != 1 {
				t.Errorf("finalize_rescue was sent %d times", n)
			}
			var folded []string
			seen := map[string]bool{}
			for _, what := range w.log {
				if !seen[what] || what == "forget agent" && len(folded) > 5 && folded[len(folded)-1] != what {
					folded = append(folded, what)
				}
				seen[what] = true
			}
			if d := cmp.Diff(theRescue, folded); d != "" || !killed {
				t.Errorf("killed %v; at the machine (-want +got):\n%s", killed, d)
			}
		})
	}
}

func TestUnrescue(t *testing.T) {
	for _, stays := range []bool{false, true} {
		w, r := rescueWorld(t, node.FlowUnrescue)
		w.stored.DisablePowerOff = stays
		if err := w.rescueRunner(r).carry(); err != nil {
			t.Fatal(err)
		}
		want := []string{"power off", "CleanUpRamdisk", "disconnect rescuing", "forget agent", "PrepareInstance", "connect tenant", "power on"}
		if stays {
			want = append(want[1:6:6], "rebooting")
		}
		if d := cmp.Diff(want, w.log); d != "" {
			t.Errorf("disable_power_off %v (-want +got):\n%s", stays, d)
		}
	}
}

func TestRescueFailures(t *testing.T) {
	ctx := context.Background()
	w, r := rescueWorld(t, node.FlowRescue)
	delete(w.stored.InstanceInfo, driver.HashedRescuePassword)
	_, err := r.boot(ctx, w.task())
	want := "instance_info no longer has the rescue password: it was changed after the rescue was asked for; ask for it again"
	if fmt.Sprint(err) != want || len(w.log) > 0 {
		t.Errorf("got %v after %v", err, w.log)
	}

	w, r = rescueWorld(t, node.FlowRescue)
	w.calls()
	w.agent.server.Close()
	if _, err := r.finalize(ctx, w.task()); err == nil {
		t.Error("an agent that was never asked and is silent passes for one that has let people in")
	}

	w, r = rescueWorld(t, node.FlowRescue)
	if err := r.TidyUp(ctx, w.task()); err != nil {
		t.Fatal(err)
	}
	tidy := []string{"power off", "CleanUpRamdisk", "disconnect rescuing", "forget agent", "PrepareInstance", "connect tenant"}
	if d := cmp.Diff(tidy, w.log); d != "" {
		t.Error(d)
	}
}

// A service boots the ramdisk, runs the agent's step and starts the instance again; one that fails
// leaves the machine off, with its instance ready to start.
func TestService(t *testing.T) {
	w := newWorld(t)
	w.plan(node.FlowService, w.direct.Steps(), node.PlannedStep{Interface: node.Deploy, Step: "list_disks", Agent: true})
	w.stored.Plan.Manual = true
	if err := (&runner{world: w}).carry(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"power off", "connect servicing", "forget agent", "PrepareRamdisk", "power on",
		"power off", "CleanUpRamdisk", "disconnect servicing", "forget agent", "PrepareInstance", "connect tenant", "power on",
	}
	if d := cmp.Diff(want, w.log); d != "" {
		t.Errorf("at the machine (-want +got):\n%s", d)
	}
	if w.agent.count("service.execute_service_step") != 1 {
		t.Error("the agent's step was not run")
	}
	w.log = nil
	w.stored.Plan = &node.Plan{Flow: node.FlowService, StartedAt: time.Now()}
	if err := w.direct.TidyUp(t.Context(), w.task()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want[5:11], w.log); d != "" {
		t.Error(d)
	}
}

func TestCollectLogs(t *testing.T) {
	w := newWorld(t)
	w.calls()
	w.agent.outcome["collect_system_logs"] = wire.CommandResult{Status: wire.Succeeded,
		Result: raw(map[string]string{"system_logs": "aGVsbG8="})}
	if logs, err := w.direct.CollectLogs(t.Context(), w.task()); err != nil || string(logs) != "hello" {
		t.Errorf("%q, %v", logs, err)
	}
	w.agent.outcome["collect_system_logs"] = wire.CommandResult{Status: wire.Succeeded, Result: raw(map[string]string{"system_logs": "***"})}
	if _, err := w.direct.CollectLogs(t.Context(), w.task()); err == nil {
		t.Error("what is no base64 passes")
	}
}

// The ramdisk deploy touches no disk, and custom-agent needs no image.
func TestOtherDeployInterfaces(t *testing.T) {
	w := newWorld(t)
	memory := InMemory{w.direct}
	w.plan(node.FlowDeploy, memory.Steps())
	if err := (&runner{world: w, steps: memory.Steps()}).carry(); err != nil {
		t.Fatal(err)
	}
	want := []string{"power off", "forget agent", "PrepareInstance", "connect tenant", "power on"}
	if d := cmp.Diff(want, w.log); d != "" || len(w.agent.got) > 0 {
		t.Errorf("ramdisk (-want +got):\n%s%v", d, w.agent.got)
	}

	w = newWorld(t)
	delete(w.stored.InstanceInfo, "image_source")
	w.direct.Sources = nil // whoever asks for an image panics
	custom := Custom{w.direct}
	w.plan(node.FlowDeploy, custom.Steps(), node.PlannedStep{Interface: node.Deploy, Step: "burnin", Priority: 70, Agent: true})
	if err := (&runner{world: w, steps: custom.Steps()}).carry(); err != nil {
		t.Fatal(err)
	}
	if w.agent.count("deploy.execute_deploy_step") != 1 || w.agent.count("image.install_bootloader") != 0 {
		t.Errorf("the agent got %v", w.agent.got)
	}
	for _, d := range []driver.Deploy{memory, custom} {
		for _, s := range d.Steps() {
			if s.Name == "write_image" {
				t.Errorf("%s writes an image", d.Name())
			}
		}
	}
}

// Which deploy interfaces run the agent, in which flows; and which of the service's own steps are the agent's work.
func TestRunsAgent(t *testing.T) {
	d := newWorld(t).direct
	for _, tt := range []struct {
		of   driver.InBand
		flow node.Flow
		want bool
	}{
		{d, node.FlowDeploy, true}, {d, node.FlowClean, true}, {Custom{d}, node.FlowDeploy, true}, {Custom{d}, node.FlowService, true},
		{InMemory{d}, node.FlowDeploy, false}, {InMemory{d}, node.FlowClean, true}, {InMemory{d}, node.FlowService, true},
	} {
		if got := tt.of.RunsAgent(tt.flow); got != tt.want {
			t.Errorf("%T in %s: %v", tt.of, tt.flow, got)
		}
	}
	var needs, ends []string
	for _, of := range []driver.Stepper{d, &RAID{Direct: d}, InMemory{d}} {
		for _, s := range of.Steps() {
			if s.NeedsAgent {
				needs = append(needs, s.Name)
			}
			if s.EndsAgent {
				ends = append(ends, s.Name)
			}
		}
	}
	if want := []string{"write_image", "prepare_instance_boot", "kexec_instance", "create_configuration", "delete_configuration",
		"apply_configuration"}; !slices.Equal(needs, want) {
		t.Errorf("need the agent: %q, want %q", needs, want)
	}
	if !slices.Equal(ends, []string{"tear_down_agent"}) {
		t.Errorf("end the agent: %q", ends)
	}
}

func TestValidateInMemory(t *testing.T) {
	const needs = "Node " + testUUID + " cannot be deployed: the ramdisk deploy interface needs instance_info/kernel and " +
		"instance_info/ramdisk, or instance_info/boot_iso: file://, http:// or https:// URLs."
	const own = "Node " + testUUID + " cannot be deployed: instance_info/boot_iso has a kernel, a ramdisk and kernel parameters of its " +
		"own; instance_info/kernel, ramdisk and ramdisk_kernel_arguments cannot be set beside it."
	for _, tt := range []struct {
		info node.Document
		want string
	}{
		{node.Document{"kernel": "http://a/k", "ramdisk": "http://a/r"}, "<nil>"},
		{node.Document{"kernel": "http://a/k"}, needs}, {node.Document{"ramdisk": "http://a/r"}, needs}, {node.Document{}, needs},
		{node.Document{"boot_iso": nil}, needs},
		{node.Document{"kernel": "http://a/k", "ramdisk": "http://a/r", "capabilities": "secure_boot:true"}, "<nil>"},
		{node.Document{"boot_iso": "http://a/i"}, "<nil>"},
		{node.Document{"boot_iso": 5.0}, "Node " + testUUID +
			" cannot be deployed: instance_info/boot_iso is 5; a file://, http:// or https:// URL is allowed."},
		{node.Document{"boot_iso": ""}, "Node " + testUUID +
			" cannot be deployed: instance_info/boot_iso is ; a file://, http:// or https:// URL is allowed."},
		{node.Document{"boot_iso": "http://a/i", "kernel": "http://a/k"}, own}, {node.Document{"boot_iso": "http://a/i", "ramdisk": "http://a/k"},
			own},
		{node.Document{"boot_iso": "http://a/i", "ramdisk_kernel_arguments": "quiet"}, own},
		{node.Document{"boot_iso": "http://a/i", "image_source": "x"},
			"Node " + testUUID + " cannot be deployed: the ramdisk deploy interface writes no image, but instance_info/image_source is set."},
		{node.Document{"kernel": "http://a/k", "ramdisk": "http://a/r", "image_source": "x"},
			"Node " + testUUID + " cannot be deployed: the ramdisk deploy interface writes no image, but instance_info/image_source is set."},
	} {
		w := newWorld(t)
		w.stored.State, w.stored.InstanceInfo = node.Available, tt.info
		if err := (InMemory{w.direct}).Validate(t.Context(), w.task()); fmt.Sprint(err) != tt.want {
			t.Errorf("%v:\n%v\nwant\n%s", tt.info, err, tt.want)
		}
	}
}

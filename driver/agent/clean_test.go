package agent

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// cleaner is a world whose agent offers Ironic's clean steps.
func cleaner(t *testing.T) *world {
	w := newWorld(t)
	w.agent.unfinished = true
	w.agent.steps["clean"] = map[string][]wire.Step{
		"generic": {
			{Step: "erase_devices", Interface: "deploy", Priority: 10, Abortable: true},
			{Step: "erase_devices_metadata", Interface: "deploy", Priority: 99, Abortable: true},
			{Step: "erase_pstore", Interface: "deploy"},
		},
		"vendor": {
			{Step: "erase_devices_metadata", Interface: "deploy", Priority: 5},
			{Step: "upgrade_firmware", Interface: "management", Priority: 50, RebootRequested: true},
		},
	}
	w.plan(node.FlowClean, w.direct.Steps())
	return w
}

func executed(w *world, kind string) []string {
	var names []string
	for _, c := range w.agent.got {
		if c.Name == kind+".execute_"+kind+"_step" {
			names = append(names, c.Params["step"].(map[string]any)["step"].(string))
		}
	}
	return names
}

// theCleaning is what happens to a machine in an automated cleaning with a reboot in it.
var theCleaning = []string{
	"power off", "connect cleaning", "forget agent", "PrepareRamdisk", "power on",
	"forget agent", "power off", "connect cleaning", "forget agent", "PrepareRamdisk", "power on",
	"power off", "CleanUpRamdisk", "disconnect cleaning", "forget agent",
}

func TestAutomatedCleaning(t *testing.T) {
	w := cleaner(t)
	if err := (&runner{world: w}).carry(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"erase_devices_metadata", "upgrade_firmware"}, executed(w, "clean")); diff != "" {
		t.Errorf("steps: %s", diff)
	}
	if diff := cmp.Diff(theCleaning, w.log); diff != "" {
		t.Errorf("at the machine: %s", diff)
	}
	want := map[string]any{"step": "upgrade_firmware", "interface": "management", "priority": 50.0, "reboot_requested": true,
		"abortable": false}
	params := w.agent.params("clean.execute_clean_step")
	if diff := cmp.Diff(want, params["step"]); diff != "" {
		t.Errorf("step: %s", diff)
	}
	if diff := cmp.Diff(map[string]any{"generic": "1.2"}, params["clean_version"]); diff != "" {
		t.Errorf("clean_version: %s", diff)
	}
}

// TestCleaningKilledAnywhere kills the service once at each call.
func TestCleaningKilledAnywhere(t *testing.T) {
	for _, unfinished := range []bool{true, false} {
		w := cleaner(t)
		w.agent.unfinished = unfinished
		killed := map[string]bool{}
		r := &runner{world: w, dies: func(call string) bool {
			first := !killed[call]
			killed[call] = true
			return first
		}}
		if err := r.carry(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"erase_devices_metadata", "upgrade_firmware"}, executed(w, "clean")); diff != "" {
			t.Errorf("steps: %s", diff)
		}
	}
}

func TestPlannedSteps(t *testing.T) {
	w := cleaner(t)
	offered := wire.Steps{Clean: w.agent.steps["clean"], Deploy: map[string][]wire.Step{"g": {
		{Step: "write_image", Interface: "deploy"}, {Step: "erase_devices", Interface: "deploy", Priority: 3, Args: map[string]any{"a": "b"}},
	}}}
	tests := []struct {
		name       string
		flow       node.Flow
		priorities map[string]int
		want       []node.PlannedStep
	}{
		{"clean, defaults", node.FlowClean, nil, []node.PlannedStep{
			{Interface: node.Deploy, Step: "erase_devices_metadata", Priority: 99, Agent: true, Abortable: true},
			{Interface: node.Management, Step: "upgrade_firmware", Priority: 50, Agent: true, Reboot: true},
			{Interface: node.Deploy, Step: "erase_devices", Agent: true, Abortable: true},
			{Interface: node.Deploy, Step: "erase_pstore", Agent: true},
		}},
		{"clean, whole disks too", node.FlowClean, map[string]int{"management.upgrade_firmware": 0}, []node.PlannedStep{
			{Interface: node.Deploy, Step: "erase_devices_metadata", Priority: 99, Agent: true, Abortable: true},
			{Interface: node.Deploy, Step: "erase_devices", Priority: 10, Agent: true, Abortable: true},
			{Interface: node.Deploy, Step: "erase_pstore", Agent: true},
			{Interface: node.Management, Step: "upgrade_firmware", Agent: true, Reboot: true},
		}},
		{"deploy", node.FlowDeploy, nil, []node.PlannedStep{
			{Interface: node.Deploy, Step: "erase_devices", Priority: 3, Agent: true, Args: map[string]any{"a": "b"}},
		}},
		{"service: it has none, which is not the same as not having told", node.FlowService, nil, []node.PlannedStep{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := &Direct{Priorities: tt.priorities}
			if diff := cmp.Diff(tt.want, d.offers().plan(tt.flow, d, offered)); diff != "" {
				t.Error(diff)
			}
		})
	}
	// What an interface does not do itself, its agent does when asked.
	d := &Direct{}
	want := []node.PlannedStep{{Interface: node.Deploy, Step: "erase_devices", Priority: 3, Agent: true, Args: map[string]any{"a": "b"}},
		{Interface: node.Deploy, Step: "write_image", Agent: true}}
	if diff := cmp.Diff(want, d.offers().plan(node.FlowDeploy, Custom{d}, offered)); diff != "" {
		t.Error("custom-agent: " + diff)
	}
}

func TestVersionMismatch(t *testing.T) {
	mismatch := wire.CommandResult{Status: wire.VersionMismatch}
	step := node.PlannedStep{Interface: node.Deploy, Step: "erase_devices_metadata", Priority: 99, Agent: true}
	tests := []struct {
		name string
		edit func(w *world)
		want string
		sent int
	}{
		{"managers changed for good", func(w *world) { w.agent.versions = map[string]string{"generic": "1.3", "vendor": "2"} },
			"the agent does not carry out erase_devices_metadata: it says that its hardware managers changed again", 2},
		{"managers did not change", func(w *world) {},
			"the agent does not carry out erase_devices_metadata: its hardware managers (generic 1.2) are not those this plan was made with " +
				"(generic 1.2)", 1},
		{"step no longer offered", func(w *world) {
			w.agent.versions = map[string]string{"generic": "2"}
			w.agent.steps["clean"] = nil
		}, "the agent does not carry out erase_devices_metadata: its hardware managers (generic 2) are not those this plan was made with " +
			"(generic 1.2)", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := cleaner(t)
			w.agent.unfinished = false
			w.agent.outcome["execute_clean_step"] = mismatch
			w.stored.Plan = &node.Plan{Flow: node.FlowClean, Steps: []node.PlannedStep{step}}
			versionNote.Set(w.atRest(), map[string]string{"generic": "1.2"})
			w.calls()
			tt.edit(w)
			_, err := w.direct.RunStep(t.Context(), w.task())
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			if n := w.agent.count("clean.execute_clean_step"); n != tt.sent {
				t.Errorf("the step was sent %d times", n)
			}
		})
	}
}

func TestOutOfBandCleaning(t *testing.T) {
	w := cleaner(t)
	w.stored.Plan.NoRamdisk = true
	if err := (&runner{world: w}).carry(); err != nil {
		t.Fatal(err)
	}
	if w.log != nil || w.agent.got != nil {
		t.Errorf("the machine saw %v, the agent %v", w.log, w.agent.got)
	}
}

func TestDeleteAndAdoptAndService(t *testing.T) {
	tests := []struct {
		flow node.Flow
		want []string
	}{
		{node.FlowDelete, []string{"power off", "CleanUpRamdisk", "disconnect tenant", "forget agent", "CleanUpInstance"}},
		{node.FlowAdopt, []string{"PrepareInstance"}},
		{node.FlowService, []string{
			"power off", "connect servicing", "forget agent", "PrepareRamdisk", "power on",
			"power off", "CleanUpRamdisk", "disconnect servicing", "forget agent", "PrepareInstance", "connect tenant", "power on",
		}},
	}
	for _, tt := range tests {
		t.Run(string(tt.flow), func(t *testing.T) {
			w := newWorld(t)
			w.plan(tt.flow, w.direct.Steps())
			if err := (&runner{world: w}).carry(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, w.log); diff != "" {
				t.Error(diff)
			}
		})
	}
	w := newWorld(t)
	w.fails["CleanUpInstance"] = errors.New("store dead")
	w.plan(node.FlowDelete, w.direct.Steps())
	err := (&runner{world: w}).carry()
	if want := "tear_down: taking the instance's boot back: store dead"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestServiceStep: the same code carries out service steps.
func TestServiceStep(t *testing.T) {
	w := newWorld(t)
	w.stored.Plan = &node.Plan{Flow: node.FlowService, Steps: []node.PlannedStep{{Interface: node.Deploy, Step: "burnin_cpu", Agent: true,
		Args: map[string]any{"seconds": 5.0}}}}
	w.calls()
	r, err := driver.InBand(w.direct).RunStep(t.Context(), w.task())
	if err != nil || r.Waiting() {
		t.Fatal(r, err)
	}
	want := map[string]any{"step": "burnin_cpu", "interface": "deploy", "priority": 0.0, "args": map[string]any{"seconds": 5.0},
		"reboot_requested": false, "abortable": false}
	if diff := cmp.Diff(want, w.agent.params("service.execute_service_step")["step"]); diff != "" {
		t.Error(diff)
	}
}

// What the agent did is for the node's history, when it is a text.
func TestTheResultOfAStepIsTold(t *testing.T) {
	for result, want := range map[string]string{
		`{"clean_result":"erased: /dev/sda","clean_step":{"step":"erase_devices"}}`:  "erased: /dev/sda",
		`{"clean_result":{"/dev/sda":"well"},"clean_step":{"step":"erase_devices"}}`: "",
		`{"clean_result":null,"clean_step":{"step":"erase_devices"}}`:                "",
		`{"service_result":"disks: none","service_step":{"step":"erase_devices"}}`:   "disks: none",
		`{"deploy_result":"/etc/a written","deploy_step":{"step":"erase_devices"}}`:  "/etc/a written",
		`[]`: "",
	} {
		w := cleaner(t)
		w.agent.unfinished = false
		w.agent.outcome["execute_clean_step"] = wire.CommandResult{Status: wire.Succeeded, Result: []byte(result)}
		w.stored.Plan = &node.Plan{Flow: node.FlowClean, Steps: []node.PlannedStep{{Interface: node.Deploy, Step: "erase_devices", Agent: true}}}
		w.calls()
		r, err := w.direct.RunStep(t.Context(), w.task())
		if err != nil || r.Waiting() || r.Says != want {
			t.Errorf("%s: %q, %v; want %q", result, r.Says, err, want)
		}
	}
}

// A service that is aborted starts the instance again; one that failed leaves the machine off, for a person to look.
func TestServiceTidiesUp(t *testing.T) {
	off := []string{"power off", "CleanUpRamdisk", "disconnect servicing", "forget agent", "PrepareInstance", "connect tenant"}
	for _, aborting := range []bool{false, true} {
		w := newWorld(t)
		w.plan(node.FlowService, w.direct.Steps())
		w.stored.Plan.Aborting = aborting
		if err := w.direct.TidyUp(t.Context(), w.task()); err != nil {
			t.Fatal(err)
		}
		want := off
		if aborting {
			want = append(slices.Clone(off), "power on")
		}
		if d := cmp.Diff(want, w.log); d != "" {
			t.Errorf("aborting %v (-want +got):\n%s", aborting, d)
		}
		w.log, w.fails["power off"] = nil, errors.New("no answer")
		if err := w.direct.TidyUp(t.Context(), w.task()); err == nil || slices.Contains(w.log, "power on") {
			t.Errorf("aborting %v, a dead BMC: %v, did %v", aborting, err, w.log)
		}
	}
}

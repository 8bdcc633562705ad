package agent

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/inspection"
	"github.com/billet-metal/billet/node"
)

// TestInspectionFlow boots the ramdisk, waits for the report, survives a crash, and takes the
// ramdisk down.
func TestInspectionFlow(t *testing.T) {
	i := &Inspect{APIURL: "http://10.0.0.1:6386/"}
	w := newWorld(t)
	w.stored.Plan = &node.Plan{Flow: node.FlowInspect, Steps: []node.PlannedStep{{Interface: node.Inspect, Step: "inspect"}}}
	step := i.Steps()[0]
	want := driver.Result{WaitFor: untilReport, Within: 30 * time.Minute, PollEvery: 10 * time.Second}
	for range 2 { // the second time after a crash
		if r, err := step.Run(t.Context(), w.task()); err != nil || !cmp.Equal(want, r) {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	params := map[string]string{"ipa-api-url": "http://10.0.0.1:6386",
		"ipa-inspection-callback-url": "http://10.0.0.1:6386/v1/continue_inspection"}
	if diff := cmp.Diff(params, w.params); diff != "" {
		t.Error(diff)
	}
	want.Within = 0
	if r, err := step.Poll(t.Context(), w.task()); err != nil || !cmp.Equal(want, r) {
		t.Fatalf("%+v, %v", r, err)
	}
	task := w.task()
	driver.Reported.Set(task, node.Now())
	if r, err := step.Poll(t.Context(), task); err != nil || r.Waiting() {
		t.Fatalf("%+v, %v", r, err)
	}
	boot := []string{"power off", "connect inspection", "forget agent", "PrepareRamdisk", "power on"}
	end := []string{"power off", "CleanUpRamdisk", "disconnect inspection", "forget agent"}
	if diff := cmp.Diff(append(boot, end...), w.log); diff != "" {
		t.Error(diff)
	}
	w.log = nil
	i.After = StayOn
	if _, err := step.Run(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"CleanUpRamdisk", "disconnect inspection"}, w.log); diff != "" {
		t.Error(diff)
	}
	w.log, w.fails["power off"] = nil, errors.New("BMC dead")
	if err := i.TidyUp(t.Context(), task); err == nil || err.Error() != "switching the machine off: BMC dead" {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff(end, w.log); diff != "" {
		t.Error(diff)
	}
}

// Kernel parameters that people want of the inspection ramdisk.
func TestMoreParametersOfTheInspection(t *testing.T) {
	w := newWorld(t)
	w.stored.Plan = &node.Plan{Flow: node.FlowInspect, Steps: []node.PlannedStep{{Interface: node.Inspect, Step: "inspect"}}}
	i := &Inspect{APIURL: "http://10.0.0.1:6386", Params: map[string]string{"ipa-inspection-benchmarks": "cpu,mem"}}
	if _, err := i.Steps()[0].Run(t.Context(), w.task()); err != nil {
		t.Fatal(err)
	}
	if w.params["ipa-inspection-benchmarks"] != "cpu,mem" || w.params["ipa-inspection-callback-url"] == "" {
		t.Errorf("%v", w.params)
	}
}

func TestTheRamdiskListensWhenAskedTo(t *testing.T) {
	for listening, want := range map[inspection.Listening]string{inspection.NoLLDP: "", inspection.LLDP: "1"} {
		w := newWorld(t)
		w.stored.Plan = &node.Plan{Flow: node.FlowInspect, Steps: []node.PlannedStep{{Interface: node.Inspect, Step: "inspect"}}}
		i := &Inspect{APIURL: "http://10.0.0.1:6386", Settings: inspection.Settings{LLDP: listening}}
		if _, err := i.Steps()[0].Run(t.Context(), w.task()); err != nil {
			t.Fatal(err)
		}
		if got := w.params["ipa-collect-lldp"]; got != want {
			t.Errorf("listening %d: ipa-collect-lldp=%q, want %q", listening, got, want)
		}
	}
}

// What a machine says of its failure may quote a URL with a password, which people must not see.
func TestAFailedInspectionsWordsAreMasked(t *testing.T) {
	data := node.InspectionData{Error: "no disks; see http://u:p@h/x"}
	_, err := (&Inspect{}).Inspected(t.Context(), newWorld(t).task(), data)
	if err == nil || err.Error() != "The machine reported a failed inspection: no disks; see http://******@h/x" {
		t.Errorf("got %v", err)
	}
}

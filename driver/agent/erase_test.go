package agent

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// What this service wants of erasing goes to the agent with the node, by Ironic's names, and beside whatever
// else the node's document holds.
func TestEraseSettingsReachTheAgent(t *testing.T) {
	for _, tt := range []struct {
		name  string
		erase *Erase
		want  map[string]any
	}{
		{"nothing said", nil, map[string]any{"is_next_boot_persistent": true}},
		{"defaults", &Erase{ATA: true, NVMe: true, AtOnce: 4}, map[string]any{
			"is_next_boot_persistent": true, "agent_enable_ata_secure_erase": true, "agent_enable_nvme_secure_erase": true,
			"agent_continue_if_secure_erase_failed": false, "agent_continue_if_ata_erase_failed": false, "agent_erase_skip_read_only": false,
			"agent_erase_devices_iterations": 0.0, "agent_erase_devices_zeroize": true, "disk_erasure_concurrency": 4.0,
		}},
		{"all the other way", &Erase{Overwrite: true, SkipReadOnly: true, AtOnce: 1, RandomPasses: 3, NoZerosAfterAll: true}, map[string]any{
			"is_next_boot_persistent": true, "agent_enable_ata_secure_erase": false, "agent_enable_nvme_secure_erase": false,
			"agent_continue_if_secure_erase_failed": true, "agent_continue_if_ata_erase_failed": true, "agent_erase_skip_read_only": true,
			"agent_erase_devices_iterations": 3.0, "agent_erase_devices_zeroize": false, "disk_erasure_concurrency": 1.0,
		}},
	} {
		for _, flow := range []node.Flow{node.FlowClean, node.FlowService} {
			w := cleaner(t)
			w.agent.steps["service"] = map[string][]wire.Step{"generic": {{Step: "list_disks", Interface: "deploy", Priority: 1}}}
			w.direct.Erase = tt.erase
			w.stored.DriverInternalInfo = node.Document{"is_next_boot_persistent": true, "agent_erase_devices_iterations": nil}
			if tt.erase == nil {
				delete(w.stored.DriverInternalInfo, "agent_erase_devices_iterations")
			}
			w.plan(flow, w.direct.Steps())
			if err := (&runner{world: w}).carry(); err != nil {
				t.Fatal(err)
			}
			got := w.agent.params(verb(flow) + ".execute_" + verb(flow) + "_step")["node"].(map[string]any)["driver_internal_info"]
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s, %s: %s", tt.name, flow, diff)
			}
		}
	}
}

// ran has the agent carry out one step with the given end, and returns the node's record.
func ran(t *testing.T, w *world, step string, outcome wire.CommandResult) map[string]any {
	t.Helper()
	w.agent.unfinished = false
	w.agent.reboot()
	w.agent.outcome["execute_clean_step"] = outcome
	w.stored.Plan = &node.Plan{Flow: node.FlowClean, Steps: []node.PlannedStep{{Interface: node.Deploy, Step: step, Agent: true}}}
	w.calls()
	r, err := w.act(w.direct.RunStep, nil)
	if r.Waiting() || (err != nil) != (outcome.Status == wire.Failed) {
		t.Fatal(r, err)
	}
	// As the store has it.
	raw, err := json.Marshal(w.stored.DriverInternalInfo[ErasedDisks])
	if err != nil {
		t.Fatal(err)
	}
	var record map[string]any
	if err := json.Unmarshal(raw, &record); err != nil {
		t.Fatal(err)
	}
	w.stored.DriverInternalInfo[ErasedDisks] = record
	return record
}

// What was erased how stays with the node: of each erase step the last run, whether it ended well or not.
func TestWhatWasErasedIsKept(t *testing.T) {
	w := cleaner(t)
	w.stored.DriverInternalInfo = node.Document{"kept": "yes"}
	good := wire.Erasure{Says: "erased: /dev/nvme0n1", Disks: []wire.ErasedDisk{
		{Name: "/dev/nvme0n1", Serial: "S1", WWN: "eui.1", Model: "M", Size: 512, Method: "NVMe format (crypto erase)", Verified: "64 marks gone",
			Seconds: 1.5, NotBy: []string{"NVMe sanitize: no"}},
		{Name: "/dev/sda", Serial: "S2", Size: 99, Skipped: "removable"},
	}}
	result, _ := json.Marshal(map[string]any{"clean_result": good, "clean_step": map[string]any{"step": "erase_devices"}})
	before := time.Now().Add(-time.Second)
	record := ran(t, w, "erase_devices", wire.CommandResult{Status: wire.Succeeded, Result: result})
	at, err := time.Parse(time.RFC3339, record["erase_devices"].(map[string]any)["at"].(string))
	if err != nil || at.Before(before.Truncate(time.Second)) || time.Since(at) > time.Minute {
		t.Errorf("at %v, %v", at, err)
	}
	want := []any{
		map[string]any{"name": "/dev/nvme0n1", "serial": "S1", "wwn": "eui.1", "model": "M", "size": 512.0,
			"method": "NVMe format (crypto erase)", "verified": "64 marks gone", "seconds": 1.5, "not_by": []any{"NVMe sanitize: no"}},
		map[string]any{"name": "/dev/sda", "serial": "S2", "wwn": "", "model": "", "size": 99.0, "skipped": "removable"},
	}
	if diff := cmp.Diff(want, record["erase_devices"].(map[string]any)["disks"]); diff != "" {
		t.Error(diff)
	}
	if record["erase_devices"].(map[string]any)["flow"] != "clean" || w.stored.DriverInternalInfo["kept"] != "yes" {
		t.Errorf("%v", w.stored.DriverInternalInfo)
	}

	failed := wire.CommandResult{Status: wire.Failed, Error: &wire.CommandError{Details: "erasing: /dev/sda: worn out",
		Disks: []wire.ErasedDisk{{Name: "/dev/sda", Error: "worn out; see https://u:p@x/?sig=1"}, {Name: "/dev/sdb", Method: "well"}}}}
	record = ran(t, w, "erase_devices_metadata", failed)
	text := fmt.Sprint(record["erase_devices_metadata"].(map[string]any)["disks"])
	if !strings.Contains(text, "worn out; see https://******@x/?******") || !strings.Contains(text, "well") {
		t.Errorf("of a failure: %s", text)
	}
	if record["erase_devices"] == nil {
		t.Error("the other step's record is lost")
	}

	// A later step that erases nothing, or an agent that tells nothing, changes nothing.
	for _, result := range []string{`{"clean_result":"fine"}`, `{"clean_result":{"/dev/sda":null}}`, `{"clean_result":{"disks":[]}}`,
		`{"clean_result":{"disks":7}}`, `[]`, `null`} {
		if got := ran(t, w, "erase_devices", wire.CommandResult{Status: wire.Succeeded, Result: []byte(result)}); cmp.Diff(record, got) != "" {
			t.Errorf("%s: %s", result, cmp.Diff(record, got))
		}
	}
}

// An agent cannot fill the node's row.
func TestARecordHasAnEnd(t *testing.T) {
	w := cleaner(t)
	long := strings.Repeat("x", 1<<16)
	var disks []wire.ErasedDisk
	for range 5000 {
		d := wire.ErasedDisk{Name: long, Serial: long, WWN: long, Model: long, Method: long, Verified: long, Skipped: long, Error: long}
		for range 50 {
			d.NotBy = append(d.NotBy, "y"+long[:2000])
		}
		disks = append(disks, d)
		if len(disks) == 60 {
			break
		}
	}
	for len(disks) < 400 {
		disks = append(disks, wire.ErasedDisk{Name: "/dev/sda"})
	}
	task := w.task()
	task.Node.Plan = &node.Plan{Flow: node.FlowClean, Steps: []node.PlannedStep{{Interface: node.Deploy, Step: "erase_devices"}}}
	recordErasure(task, disks)
	kept := task.Node.DriverInternalInfo[ErasedDisks].(map[string]any)["erase_devices"].(map[string]any)["disks"].([]any)
	if len(kept) != mostErased {
		t.Errorf("%d disks", len(kept))
	}
	if d := kept[0].(wire.ErasedDisk); len(d.Name) != longestText || len(d.Error) != longestText || len(d.NotBy) != 10 ||
		len(d.NotBy[9]) != longestText {
		t.Errorf("a disk's texts have %d, %d, %d, %d bytes", len(d.Name), len(d.Error), len(d.NotBy), len(d.NotBy[9]))
	}
}

// The sentence of an erase step's result is for the history.
func TestAnErasureSays(t *testing.T) {
	c := &wire.CommandResult{Result: []byte(`{"clean_result":{"says":"erased: /dev/sda","disks":[{"name":"/dev/sda"}]}}`)}
	if got := says(c); got != "erased: /dev/sda" {
		t.Errorf("%q", got)
	}
	for _, result := range []string{`{"clean_result":{"says":"from http://u:p@h/?token=1","disks":[{"name":"/dev/sda"}]}}`,
		`{"clean_result":"from http://u:p@h/?token=1"}`} {
		if got := says(&wire.CommandResult{Result: []byte(result)}); got != "from http://******@h/?******" {
			t.Errorf("%s: %q", result, got)
		}
	}
}

func TestArgsInfo(t *testing.T) {
	got := argsInfo(map[string]any{
		"image": map[string]any{"description": "what", "required": true}, "odd": "text", "none": nil,
		"wrong": map[string]any{"description": 7.0, "required": "yes"},
	})
	want := map[string]node.Argument{"image": {Required: true, Help: "what"}, "odd": {}, "none": {}, "wrong": {}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if argsInfo(nil) != nil {
		t.Error("nothing became something")
	}
}

// Whatever an agent says of erased disks and of its steps' arguments, what is kept of it is bounded text that goes
// into the node's row.
func FuzzErasure(f *testing.F) {
	f.Add([]byte(`{"clean_result":{"says":"erased","disks":[{"name":"/dev/sda","not_by":["x"],"size":1,"seconds":0.5}]}}`))
	f.Add([]byte(`{"service_result":{"says":"erased","disks":[{"name":"http://u:p@h/?token=1"}]},"clean_result":"x"}`))
	f.Add([]byte(`{"clean_result":{"disks":[null,{}]}}`))
	f.Add([]byte(`{"clean_result":[1]}`))
	f.Fuzz(func(t *testing.T, result []byte) {
		c := &wire.CommandResult{Result: result}
		n := &node.Node{Plan: &node.Plan{Flow: node.FlowClean, Steps: []node.PlannedStep{{Step: "erase_devices"}}}}
		recordErasure(&driver.Task{Node: n}, erasureOf(c).Disks)
		raw, err := json.Marshal(n.DriverInternalInfo)
		if err != nil || len(raw) > mostErased*20*8*longestText {
			t.Errorf("%d bytes, %v", len(raw), err)
		}
		if text := says(c); strings.Contains(text, "token=1") {
			t.Errorf("a secret: %s", text)
		}
		var info map[string]any
		if json.Unmarshal(result, &info) == nil && len(argsInfo(info)) != len(info) {
			t.Errorf("%v", argsInfo(info))
		}
	})
}

// The key that lets shared file systems be erased goes where Ironic's agent reads it, and no further than it is set.
func TestWipeKeyReachesTheAgent(t *testing.T) {
	n := &node.Node{DriverInfo: node.Document{"wipe_special_filesystems": "True"}}
	for _, want := range []any{true, nil} {
		(&Erase{}).tell(n)
		if got := n.DriverInternalInfo["wipe_special_filesystems"]; got != want {
			t.Errorf("the agent reads %v, want %v", got, want)
		}
		n.DriverInfo = node.Document{"wipe_special_filesystems": "no way"}
	}
}

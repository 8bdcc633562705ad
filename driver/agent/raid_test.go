package agent

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/driver/drivertest"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

func document(t testing.TB, text string) node.Document {
	t.Helper()
	var d node.Document
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

const (
	rootMirror = `{"size_gb":100,"raid_level":"1","controller":"software","is_root_volume":true}`
	dataStripe = `{"size_gb":"MAX","raid_level":"0","controller":"software"}`
	bothDisks  = `{"logical_disks":[` + rootMirror + `,` + dataStripe + `]}`
	arrayUUID  = "00010203:04050607:08090a0b:0c0d0e0f"
	builtRAID  = `{"logical_disks":[{"size_gb":100,"raid_level":"1","controller":"software","is_root_volume":true,"uuid":"` + arrayUUID +
		`","volume_name":"0","members":["/dev/sda"]}]}`
)

func TestRAIDConformance(t *testing.T) {
	drivertest.RAID(t, func(*testing.T) drivertest.RAIDHarness {
		task := func(target string) *driver.Task {
			tk := drivertest.NewTask("ipmi", node.Document{})
			tk.Node.TargetRAIDConfig = document(t, target)
			return tk
		}
		return drivertest.RAIDHarness{
			Harness: drivertest.Harness{Task: task(bothDisks),
				Invalid: map[string]*driver.Task{"a target of hardware": task(`{"logical_disks":[{"size_gb":1,"raid_level":"5"}]}`)}},
			RAID:    &RAID{Direct: &Direct{}},
			Good:    map[string]node.Document{"two": document(t, bothDisks)},
			Refused: map[string]node.Document{"nothing": {}, "no controller": document(t, `{"logical_disks":[{"size_gb":1,"raid_level":"1"}]}`)},
		}
	})
	err := (&RAID{}).ValidateRAIDConfig(document(t, `{"logical_disks":[{"size_gb":1,"raid_level":"6","controller":"software"}]}`))
	if want := `The RAID configuration is not one that can be built: logical_disks[0]: raid_level "6" is not supported for software ` +
		`RAID; "0" and "1" are.`; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// raidStep is a world in the middle of a flow, at a step of the raid interface.
func raidStep(t *testing.T, flow node.Flow, name string, args map[string]any) *world {
	w := newWorld(t)
	w.stored.Plan = &node.Plan{Flow: flow, InBand: true, Steps: []node.PlannedStep{{Interface: node.RAID, Step: name, Args: args}}}
	w.stored.TargetRAIDConfig = document(t, bothDisks)
	w.calls()
	return w
}

func (w *world) runRAID(name string) (*driver.Task, driver.Result, error) {
	tk := w.task()
	for _, s := range (&RAID{Direct: w.direct}).Steps() {
		if s.Name == name {
			r, err := s.Run(w.t.Context(), tk)
			return tk, r, err
		}
	}
	w.t.Fatalf("no step %s", name)
	return nil, driver.Result{}, nil
}

// succeeds has the agent answer with a result.
func (w *world) succeeds(flow, result string) {
	w.agent.outcome["execute_"+flow+"_step"] = wire.CommandResult{Status: wire.Succeeded, Result: json.RawMessage(result)}
}

func TestCreateRAIDConfiguration(t *testing.T) {
	for _, tt := range []struct {
		name   string
		args   map[string]any
		target string // as the agent sees it
		delete bool
	}{
		{"all", nil, bothDisks, false},
		{"the root volume alone", map[string]any{"create_nonroot_volumes": false}, `{"logical_disks":[` + rootMirror + `]}`, false},
		{"the others alone", map[string]any{"create_root_volume": "false", "create_nonroot_volumes": nil}, `{"logical_disks":[` + dataStripe +
			`]}`, false},
		{"after deleting", map[string]any{"delete_existing": true}, bothDisks, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := raidStep(t, node.FlowClean, "create_configuration", tt.args)
			w.succeeds("clean", `{"clean_result":`+builtRAID+`,"clean_step":{"step":"create_configuration","interface":"raid"}}`)
			tk, r, err := w.runRAID("create_configuration")
			if err != nil || r.Waiting() {
				t.Fatalf("%+v, %v", r, err)
			}
			params := w.agent.params("clean.execute_clean_step")
			n := params["node"].(map[string]any)
			if diff := cmp.Diff(map[string]any(document(t, tt.target)), n["target_raid_config"]); diff != "" {
				t.Errorf("target_raid_config (-want +got):\n%s", diff)
			}
			want := map[string]any{"step": "create_configuration", "interface": "raid", "priority": 0.0, "reboot_requested": false,
				"abortable": false}
			if tt.delete {
				want["args"] = map[string]any{"delete_existing": true}
			}
			if diff := cmp.Diff(want, params["step"]); diff != "" {
				t.Errorf("step (-want +got):\n%s", diff)
			}
			got := tk.Node.RAIDConfig
			if got["last_updated"] == nil || fmt.Sprint(got["logical_disks"]) != fmt.Sprint(document(t, builtRAID)["logical_disks"]) {
				t.Errorf("raid_config is %v", got)
			}
			if r.Says != "software RAID was built: 0 (RAID 1, 100 GiB)" {
				t.Errorf("it says %q", r.Says)
			}
			if fmt.Sprint(tk.Node.TargetRAIDConfig) != fmt.Sprint(document(t, bothDisks)) {
				t.Errorf("the node's own target is %v now", tk.Node.TargetRAIDConfig)
			}
		})
	}
}

// A step that takes long is watched, also by another process.
func TestRAIDIsWaitedFor(t *testing.T) {
	w := raidStep(t, node.FlowClean, "create_configuration", nil)
	w.agent.unfinished = true
	tk, r, err := w.runRAID("create_configuration")
	if err != nil || r.WaitFor.Text != "the agent to finish create_configuration" || r.Within == 0 || len(tk.Node.RAIDConfig) != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	w.keep(tk.Node)
	w.succeeds("clean", `{"clean_result":`+builtRAID+`}`)
	w.agent.finish()
	tk = w.task()
	r, err = (&RAID{Direct: w.direct}).poll(t.Context(), tk)
	if err != nil || r.Waiting() || len(tk.Node.RAIDConfig) == 0 || w.agent.count("clean.execute_clean_step") != 1 {
		t.Errorf("%+v, %v; %d commands", r, err, w.agent.count("clean.execute_clean_step"))
	}
}

func TestDeleteRAIDConfiguration(t *testing.T) {
	w := raidStep(t, node.FlowClean, "delete_configuration", nil)
	w.stored.TargetRAIDConfig, w.stored.RAIDConfig = nil, document(t, builtRAID)
	w.succeeds("clean", `{"clean_result":"software RAID deleted from /dev/sda"}`)
	tk, r, err := w.runRAID("delete_configuration")
	if err != nil || r.Says != "software RAID deleted from /dev/sda" || len(tk.Node.RAIDConfig) != 0 {
		t.Errorf("%+v, %v; raid_config %v", r, err, tk.Node.RAIDConfig)
	}
}

func TestApplyRAIDConfiguration(t *testing.T) {
	given := map[string]any(document(t, `{"logical_disks":[`+rootMirror+`]}`))
	w := raidStep(t, node.FlowDeploy, "apply_configuration", map[string]any{"raid_config": given})
	w.succeeds("deploy", `{"deploy_result":`+builtRAID+`,"deploy_step":{"step":"apply_configuration","interface":"raid"}}`)
	tk, _, err := w.runRAID("apply_configuration")
	if err != nil || tk.Node.RAIDConfig["logical_disks"] == nil {
		t.Errorf("%v, %v", tk.Node.RAIDConfig, err)
	}
	step := w.agent.params("deploy.execute_deploy_step")["step"].(map[string]any)
	if diff := cmp.Diff(map[string]any{"raid_config": given, "delete_existing": true}, step["args"]); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
}

// What goes wrong changes no raid_config.
func TestRAIDStepsFail(t *testing.T) {
	for _, tt := range []struct {
		name, step string
		args       map[string]any
		change     func(w *world)
		want       string
	}{
		{"no target", "create_configuration", nil, func(w *world) { w.stored.TargetRAIDConfig = node.Document{} },
			"the node has no target_raid_config: set what is to be created first (PUT /v1/nodes/" + testUUID + "/states/raid)"},
		{"a target that went bad", "create_configuration", nil, func(w *world) { w.stored.TargetRAIDConfig = node.Document{"x": 1} },
			`the key "x" is unknown`},
		{"nothing chosen", "create_configuration", map[string]any{"create_root_volume": false, "create_nonroot_volumes": false}, nil,
			"create_root_volume and create_nonroot_volumes leave no logical disk to create"},
		{"a flag that is none", "create_configuration", map[string]any{"delete_existing": "perhaps"}, nil,
			"its argument delete_existing is perhaps; true and false are allowed"},
		{"no ramdisk", "create_configuration", nil, func(w *world) { w.stored.Plan.InBand = false },
			"the agent builds RAID, but no ramdisk runs: use a deploy interface that boots one, and leave disable_ramdisk out"},
		{"no argument", "apply_configuration", nil, nil, "its argument raid_config is <nil>; a RAID configuration is wanted"},
		{"the agent fails", "create_configuration", nil, func(w *world) {
			w.agent.outcome["execute_clean_step"] = wire.CommandResult{Status: wire.Failed,
				Error: &wire.CommandError{Details: "nothing was touched: no disk"}}
		}, "nothing was touched: no disk"},
		{"an agent that does not say what it built", "create_configuration", nil, func(w *world) { w.succeeds("clean", `{"clean_result":null}`) },
			"the agent says that it built RAID, but not which logical disks there are now"},
		{"an agent that answers nonsense", "create_configuration", nil, func(w *world) { w.succeeds("clean", `{"clean_result":"yes"}`) },
			"reading the RAID configuration that the agent built"},
		{"an agent that did something else", "delete_configuration", nil,
			func(w *world) { w.succeeds("clean", `{"clean_step":{"step":"erase_devices"}}`) },
			"the agent was asked for delete_configuration but says it carried out erase_devices"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			flow := node.FlowClean
			if tt.step == "apply_configuration" {
				flow = node.FlowDeploy
			}
			w := raidStep(t, flow, tt.step, tt.args)
			w.stored.RAIDConfig = document(t, `{"logical_disks":[]}`)
			if tt.change != nil {
				tt.change(w)
			}
			tk, _, err := w.runRAID(tt.step)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			if fmt.Sprint(tk.Node.RAIDConfig) != "map[logical_disks:[]]" {
				t.Errorf("raid_config is %v now", tk.Node.RAIDConfig)
			}
		})
	}
}

// The agent's steps of the raid interface are for nodes whose raid interface keeps the books.
func TestAgentStepsOfOtherRAIDInterfaces(t *testing.T) {
	for name, tt := range map[string]struct {
		raid driver.Implementation
		want string
	}{"agent": {&RAID{}, "raid.create_configuration raid.flash_lights deploy.erase_devices_metadata"},
		"none": {nil, "deploy.erase_devices_metadata"}, "another": {&Rescue{}, "deploy.erase_devices_metadata"}} {
		w := newWorld(t)
		w.plan(node.FlowClean, w.direct.Steps())
		w.calls()
		w.agent.steps["clean"] = map[string][]wire.Step{"g": {
			{Step: "create_configuration", Interface: "raid", Priority: 9}, {Step: "flash_lights", Interface: "raid", Priority: 5},
			{Step: "erase_devices_metadata", Interface: "deploy"},
		}}
		tk := w.task()
		if tt.raid != nil {
			tk.Hardware.Other = map[node.Interface]driver.Implementation{node.RAID: tt.raid}
		}
		steps, err := w.direct.offers().ask(t.Context(), tk)
		var names []string
		for _, s := range steps {
			names = append(names, string(s.Interface)+"."+s.Step)
		}
		if got := strings.Join(names, " "); err != nil || got != tt.want {
			t.Errorf("raid interface %s: %s, %v; want %s", name, got, err, tt.want)
		}
	}
}

// A whole-disk image on software RAID has its boot loader installed in BIOS mode too, where its GRUB
// is when somebody says; failures count.
func TestBootLoaderOnRAID(t *testing.T) {
	for _, tt := range []struct {
		name, mode, rootfs string
		raid               bool
		want               map[string]any // nil: the agent is not asked
	}{
		{"a disk, BIOS", "bios", "", false, nil},
		{"RAID, BIOS", "bios", "", true, map[string]any{"root_uuid": "", "efi_system_part_uuid": "E", "prep_boot_part_uuid": "",
			"target_boot_mode": "bios"}},
		{"RAID, BIOS, with a root file system", "bios", "fs-1", true, map[string]any{"root_uuid": "fs-1", "efi_system_part_uuid": "E",
			"prep_boot_part_uuid": "", "target_boot_mode": "bios"}},
		{"RAID, UEFI: the image's own loader stays", "uefi", "fs-1", true, map[string]any{"root_uuid": "", "efi_system_part_uuid": "E",
			"prep_boot_part_uuid": "", "target_boot_mode": "uefi"}},
		{"RAID, nobody knows the mode", "", "", true, map[string]any{"root_uuid": "", "efi_system_part_uuid": "E", "prep_boot_part_uuid": ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.calls()
			w.plan(node.FlowDeploy, nil, node.PlannedStep{Interface: node.Deploy, Step: "prepare_instance_boot"})
			w.stored.InstanceInfo = node.Document{"image_source": "debian-12", "image_rootfs_uuid": tt.rootfs}
			if tt.mode != "" {
				w.stored.InstanceInfo["capabilities"] = map[string]any{"boot_mode": tt.mode}
			}
			if tt.raid {
				w.stored.RAIDConfig = document(t, builtRAID)
			}
			w.agent.outcome["get_partition_uuids"] = wire.CommandResult{Status: wire.Succeeded, Result: raw(wire.PartitionUUIDs{ESP: "E"})}
			if _, err := w.direct.loader().run(t.Context(), w.task()); err != nil {
				t.Fatal(err)
			}
			if tt.want == nil {
				if n := w.agent.count("image.install_bootloader"); n != 0 {
					t.Errorf("the agent was asked %d times", n)
				}
				return
			}
			if diff := cmp.Diff(tt.want, w.agent.params("image.install_bootloader")); diff != "" {
				t.Errorf("parameters (-want +got):\n%s", diff)
			}
		})
	}
}

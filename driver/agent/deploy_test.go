package agent

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

func TestStepNames(t *testing.T) {
	var got []string
	for _, flow := range []node.Flow{node.FlowDeploy, node.FlowDelete, node.FlowClean, node.FlowService, node.FlowAdopt} {
		var steps []node.PlannedStep
		for _, s := range (&Direct{}).Steps() {
			if p, ok := s.Priority[flow]; ok {
				steps = append(steps, node.PlannedStep{Step: s.Name, Priority: p})
			}
		}
		slices.SortFunc(steps, func(a, b node.PlannedStep) int { return b.Priority - a.Priority })
		for _, s := range steps {
			got = append(got, string(flow)+" "+s.Step)
		}
	}
	want := []string{
		"deploy deploy", "deploy write_image", "deploy prepare_instance_boot", "deploy tear_down_agent",
		"deploy switch_to_tenant_network", "deploy boot_instance", "deploy kexec_instance", "delete tear_down",
		"clean prepare_cleaning", "clean tear_down_cleaning", "service prepare_service", "service tear_down_service", "adopt adopt",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// theDeploy is what happens to a machine in a deploy, in this order.
var theDeploy = []string{
	"power off", "connect provisioning", "forget agent", "PrepareRamdisk", "power on",
	"PrepareInstance", "forget agent", "connect tenant", "power on",
}

func TestDeploy(t *testing.T) {
	w := newWorld(t)
	w.agent.unfinished = true
	w.plan(node.FlowDeploy, w.direct.Steps())
	if err := (&runner{world: w}).carry(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(theDeploy, w.log); diff != "" {
		t.Errorf("what happened to the machine (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"ipa-api-url": "http://10.0.0.1:6386"}, w.params); diff != "" {
		t.Errorf("kernel parameters: %s", diff)
	}
	var got []string
	for _, c := range w.agent.got {
		got = append(got, c.Name)
	}
	want := []string{"deploy.get_deploy_steps", "deploy.execute_deploy_step", "standby.get_partition_uuids", "image.install_bootloader",
		"standby.power_off"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
	wantParams := map[string]any{"root_uuid": "root-1", "efi_system_part_uuid": "ABCD-0123", "prep_boot_part_uuid": "",
		"target_boot_mode": "uefi"}
	if diff := cmp.Diff(wantParams, w.agent.params("image.install_bootloader")); diff != "" {
		t.Errorf("install_bootloader: %s", diff)
	}
}

// TestWriteImageBody compares the whole body of write_image, for every kind of image.
func TestWriteImageBody(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	tests := []struct {
		name     string
		instance node.Document
		resolved image.Resolved
		drive    string
		want     string // of args
	}{
		{
			name:     "image of the store, config drive",
			instance: node.Document{"image_source": "debian-12"},
			resolved: image.Resolved{Path: "/images/debian-12", HashAlgo: "sha256", HashValue: sum, Info: image.Info{Format: image.QCOW2}},
			drive:    "H4sIconfig",
			want: `{"configdrive": "H4sIconfig", "image_info": {"id": "debian-12",
				"urls": ["http://10.0.0.1:6386/boot/0123456789abcdef0123456789abcdef/image"], "disk_format": "qcow2",
				"container_format": "bare", "os_hash_algo": "sha256", "os_hash_value": "` + sum + `",
				"stream_raw_images": true, "node_uuid": "` + testUUID + `", "configdrive": "H4sIconfig"}}`,
		},
		{
			name:     "http, sha512, a partition table",
			instance: node.Document{"image_source": "https://img.example/d/noble.img?sig=s3cret", "image_disk_format": "raw"},
			resolved: image.Resolved{URL: "https://img.example/d/noble.img?sig=s3cret", HashAlgo: "sha512", HashValue: sum + sum,
				Info: image.Info{Format: image.GPT}},
			want: `{"image_info": {"id": "noble.img", "urls": ["https://img.example/d/noble.img?sig=s3cret"],
				"disk_format": "raw", "container_format": "bare", "os_hash_algo": "sha512", "os_hash_value": "` + sum + sum + `",
				"stream_raw_images": true, "node_uuid": "` + testUUID + `"}}`,
		},
		{
			name: "http with a password of digits, md5 allowed",
			instance: node.Document{"image_source": "http://img.example/a.iso", "image_container_format": "bare",
				"image_server_auth_strategy": "http_basic", "image_server_user": "u", "image_server_password": 12345678.0},
			resolved: image.Resolved{URL: "http://img.example/a.iso", HashAlgo: "md5", HashValue: sum[:32], Info: image.Info{Format: image.ISO}},
			want: `{"image_info": {"id": "a.iso", "urls": ["http://img.example/a.iso"],
				"disk_format": "iso", "container_format": "bare", "checksum": "` + sum[:32] + `",
				"stream_raw_images": true, "node_uuid": "` + testUUID + `",
				"image_server_auth_strategy": "http_basic", "image_server_user": "u", "image_server_password": "12345678"}}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.stored.InstanceInfo, w.stored.ConfigDrive = tt.instance, tt.drive
			w.direct.Sources = &fakeSources{resolved: tt.resolved}
			w.plan(node.FlowDeploy, w.direct.Steps())
			w.stored.Plan.Index = 1
			versionNote.Set(w.atRest(), map[string]string{"generic": "1.2"})
			w.calls()
			if _, err := w.direct.writing().run(t.Context(), w.task()); err != nil {
				t.Fatal(err)
			}
			params := w.agent.params("deploy.execute_deploy_step")
			var want any
			if err := json.Unmarshal([]byte(`{"interface": "deploy", "step": "write_image", "args": `+tt.want+`}`), &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, params["step"]); diff != "" {
				t.Errorf("step (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(map[string]any{"generic": "1.2"}, params["deploy_version"]); diff != "" {
				t.Errorf("deploy_version: %s", diff)
			}
			instance := params["node"].(map[string]any)["instance_info"].(map[string]any)
			if drive, there := instance["configdrive"]; there { // the step's arguments have it
				t.Errorf("the node has the config drive %q", drive)
			}
			ref := driver.InstanceOf(&w.stored).Image
			if diff := cmp.Diff([]image.Ref{ref}, w.direct.Sources.(*fakeSources).asked); diff != "" || ref.Source == "" {
				t.Errorf("the image asked for: %s", diff)
			}
		})
	}
}

// TestAgentSeesNoSecrets checks the node that agents are sent.
func TestAgentSeesNoSecrets(t *testing.T) {
	w := newWorld(t)
	w.stored.InstanceInfo["image_server_password"] = "pass1"
	w.stored.Extra = node.Document{"deep": map[string]any{"api_token": "token1", "rack": "7"}}
	w.stored.Interfaces = map[node.Interface]string{node.Deploy: "direct"}
	got := raw(about(w.task()))
	want := `{"node": {"uuid": "` + testUUID + `", "name": "rack1-u7", "driver": "ipmi", "provision_state": "", "target_provision_state": "",
		"instance_uuid": "", "resource_class": "", "properties": {"cpus": "4"}, "deploy_interface": "direct",
		"driver_info": {"ipmi_address": "10.1.1.7", "ipmi_password": "******"},
		"instance_info": {"image_source": "debian-12", "capabilities": {"boot_mode": "uefi"}, "image_server_password": "******"},
		"driver_internal_info": {}, "extra": {"deep": {"api_token": "******", "rack": "7"}}, "raid_config": {}, "target_raid_config": {}},
		"ports": [{"uuid": "p1", "node_uuid": "` + testUUID + `", "address": "52:54:00:00:00:01", "name": "", "pxe_enabled": true,
		"physical_network": "", "is_smartnic": false, "local_link_connection": {}, "extra": {}}]}`
	var g, x any
	if err := errors.Join(json.Unmarshal(got, &g), json.Unmarshal([]byte(want), &x)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(x, g); diff != "" {
		t.Error(diff)
	}
}

// TestBadImageStopsBeforePower: nothing is done to the machine for an image that cannot be.
func TestBadImageStopsBeforePower(t *testing.T) {
	w := newWorld(t)
	w.direct.Sources = &fakeSources{err: errors.New("image debian-12: there is no such file")}
	w.plan(node.FlowDeploy, w.direct.Steps())
	err := (&runner{world: w}).carry()
	if err == nil || err.Error() != "deploy: image debian-12: there is no such file" {
		t.Errorf("error %v", err)
	}
	if w.log != nil {
		t.Errorf("the machine saw %v", w.log)
	}
}

// TestWaits checks what people are told while the machine is waited for, and that a stale agent's
// call is not taken for the new one's.
func TestWaits(t *testing.T) {
	w := newWorld(t)
	w.plan(node.FlowDeploy, w.direct.Steps())
	w.row = w.agent.row()
	w.row.LastHeartbeat = node.Now().Add(-time.Hour)
	w.stored.Plan.Steps[0].StartedAt = node.Now()
	task := w.task()
	r, err := w.direct.deploy(t.Context(), task)
	if err != nil {
		t.Fatal(err)
	}
	want := driver.Result{WaitFor: firstCall, Within: 30 * time.Minute, PollEvery: 10 * time.Second}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Error(diff)
	}
	want.Within = 0
	task.Node.Agent = w.agent.row()
	task.Node.Agent.LastHeartbeat = node.Now().Add(-time.Minute)
	if r, err = w.direct.booting().called(t.Context(), task); err != nil || !cmp.Equal(want, r) {
		t.Errorf("after a call from before: %+v, %v", r, err)
	}
	task.Node.Agent = w.agent.row()
	if r, err = w.direct.booting().called(t.Context(), task); err != nil || r.Waiting() {
		t.Errorf("after the new agent's call: %+v, %v", r, err)
	}
}

// TestFailures has each step fail, with the whole text that people get.
func TestFailures(t *testing.T) {
	command := func(status, details string) wire.CommandResult {
		return wire.CommandResult{Status: status, Error: &wire.CommandError{Type: "ImageChecksumError", Message: "Error verifying image checksum",
			Details: details}}
	}
	tests := []struct {
		name string
		edit func(w *world)
		want string
	}{
		{"BMC dead", func(w *world) { w.fails["power off"] = errors.New("10.1.1.7 does not answer") },
			"deploy: switching the machine off to boot the deploy ramdisk: 10.1.1.7 does not answer"},
		{"no network", func(w *world) { w.fails["connect provisioning"] = errors.New("no such network") },
			"deploy: connecting the machine to the provisioning network: no such network"},
		{"no boot record", func(w *world) { w.fails["PrepareRamdisk"] = errors.New("no kernel") },
			"deploy: preparing the machine to boot the deploy ramdisk: no kernel"},
		{"wrong checksum", func(w *world) { w.agent.outcome["execute_deploy_step"] = command(wire.Failed, "sha256 is 12, not 34") },
			"write_image: write_image failed on the machine: sha256 is 12, not 34"},
		{"failure quoting the image's URL", func(w *world) {
			w.agent.outcome["execute_deploy_step"] = command(wire.Failed,
				"cannot read http://10.0.0.1:6386/boot/0123456789abcdef0123456789abcdef/image: 404; https://u:p@h/x?sig=1")
		}, "write_image: write_image failed on the machine: cannot read http://10.0.0.1:6386/boot/******/image: 404; https://******@h/x?******"},
		{"failure without a reason", func(w *world) { w.agent.outcome["execute_deploy_step"] = wire.CommandResult{Status: wire.Failed} },
			"write_image: write_image failed on the machine; the agent gives no reason"},
		{"other hardware managers", func(w *world) { w.agent.outcome["execute_deploy_step"] = command(wire.VersionMismatch, "") },
			"write_image: the agent does not carry out write_image: its hardware managers changed since it offered its steps"},
		{"agent did something else", func(w *world) {
			w.agent.outcome["execute_deploy_step"] = wire.CommandResult{Status: wire.Succeeded,
				Result: raw(map[string]any{"deploy_step": wire.Step{Step: "burnin_cpu"}})}
		}, "write_image: the agent was asked for write_image but says it carried out burnin_cpu"},
		{"agent refuses the command", func(w *world) {
			w.agent.answer["execute_deploy_step"] = `{"faultcode":"Client","faultstring":"no extension deploy"}`
		}, "write_image: starting write_image: the agent refused deploy.execute_deploy_step with status 400: no extension deploy"},
		{"boot loader", func(w *world) {
			w.agent.outcome["install_bootloader"] = command(wire.Failed, "no EFI system partition")
		},
			"prepare_instance_boot: install_bootloader failed on the machine: no EFI system partition"},
		{"partition UUIDs", func(w *world) { w.agent.outcome["get_partition_uuids"] = command(wire.Failed, "no disk") },
			"prepare_instance_boot: standby.get_partition_uuids failed on the machine: no disk"},
		{"disk boot", func(w *world) { w.fails["PrepareInstance"] = errors.New("BMC busy") },
			"prepare_instance_boot: making the machine boot its disk: BMC busy"},
		{"BMC dies late", func(w *world) { w.fails["PowerState"] = errors.New("timeout") },
			"tear_down_agent: asking whether the machine is off: timeout"},
		{"tenant network", func(w *world) { w.fails["connect tenant"] = errors.New("no port") },
			"switch_to_tenant_network: connecting the machine to the tenant network: no port"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.edit(w)
			w.plan(node.FlowDeploy, w.direct.Steps())
			err := (&runner{world: w}).carry()
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestPrepareInstanceBoot(t *testing.T) {
	tests := []struct {
		name     string
		edit     func(w *world)
		commands int
		params   map[string]any
	}{
		{"bios by capability", func(w *world) { w.stored.InstanceInfo["capabilities"] = map[string]any{"boot_mode": "bios"} }, 0, nil},
		{"bios by properties", func(w *world) {
			delete(w.stored.InstanceInfo, "capabilities")
			w.stored.Properties["capabilities"] = "boot_mode:bios,x:y"
		}, 0, nil},
		{"bios as found", func(w *world) { delete(w.stored.InstanceInfo, "capabilities"); w.stored.BootMode = "bios" }, 0, nil},
		{"bios in capitals", func(w *world) { w.stored.InstanceInfo["capabilities"] = map[string]any{"boot_mode": "BIOS"} }, 0, nil},
		{"nobody knows", func(w *world) { delete(w.stored.InstanceInfo, "capabilities") }, 1, map[string]any{
			"root_uuid": "root-1", "efi_system_part_uuid": "ABCD-0123", "prep_boot_part_uuid": "", "target_boot_mode": "uefi",
			"ignore_bootloader_failure": true,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.edit(w)
			w.plan(node.FlowDeploy, w.direct.Steps())
			w.stored.Plan.Index = 2
			w.calls()
			if r, err := w.direct.loader().run(t.Context(), w.task()); err != nil || r.Waiting() {
				t.Fatalf("%+v, %v", r, err)
			}
			if n := w.agent.count("image.install_bootloader"); n != tt.commands {
				t.Errorf("install_bootloader was sent %d times", n)
			}
			if tt.params != nil {
				if diff := cmp.Diff(tt.params, w.agent.params("image.install_bootloader")); diff != "" {
					t.Error(diff)
				}
			}
			if !slices.Equal(w.log, []string{"PrepareInstance"}) {
				t.Errorf("the machine saw %v", w.log)
			}
		})
	}
}

func TestTearDownAgent(t *testing.T) {
	tests := []struct {
		name     string
		edit     func(w *world)
		want     []string // at the machine
		commands []string
	}{
		{"by the agent", func(w *world) {}, []string{"forget agent"}, []string{"standby.power_off"}},
		{"a machine that stays on", func(w *world) { w.deaf = true; w.direct.PowerOff = time.Nanosecond },
			[]string{"power off", "forget agent"}, []string{"standby.power_off"}},
		{"off already", func(w *world) { w.power = node.PowerOff }, []string{"forget agent"}, nil},
		{"agent gone", func(w *world) { w.row = node.Agent{} }, []string{"power off", "forget agent"}, nil},
		{"agent refuses", func(w *world) { w.agent.answer["power_off"] = "no" }, []string{"power off", "forget agent"},
			[]string{"standby.power_off"}},
		{"agent dies answering", func(w *world) { w.agent.hangUpAfter = 1 }, []string{"forget agent"}, []string{"standby.power_off"}},
		{"out of band", func(w *world) { w.stored.DriverInfo["deploy_forces_oob_reboot"] = "true" },
			[]string{"power off", "forget agent"}, []string{"standby.sync"}},
		{"never off", func(w *world) { w.stored.DisablePowerOff = true }, nil, []string{"standby.sync"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.power = node.PowerOn
			w.calls()
			tt.edit(w)
			w.plan(node.FlowDeploy, nil, node.PlannedStep{Interface: node.Deploy, Step: "tear_down_agent"})
			if err := (&runner{world: w}).carry(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, w.log); diff != "" {
				t.Errorf("at the machine: %s", diff)
			}
			var got []string
			for _, c := range w.agent.got {
				got = append(got, c.Name)
			}
			if diff := cmp.Diff(tt.commands, got); diff != "" {
				t.Errorf("commands: %s", diff)
			}
		})
	}
}

// TestNeverOff deploys a machine that must not be switched off: it is rebooted instead.
func TestNeverOff(t *testing.T) {
	w := newWorld(t)
	w.stored.DisablePowerOff, w.power = true, node.PowerOn
	w.plan(node.FlowDeploy, w.direct.Steps())
	if err := (&runner{world: w}).carry(); err != nil {
		t.Fatal(err)
	}
	want := []string{"connect provisioning", "forget agent", "PrepareRamdisk", "rebooting", "PrepareInstance", "connect tenant", "rebooting"}
	if diff := cmp.Diff(want, w.log); diff != "" {
		t.Error(diff)
	}
}

func TestTidyUp(t *testing.T) {
	w := newWorld(t)
	w.plan(node.FlowDeploy, w.direct.Steps())
	w.fails["power off"] = errors.New("BMC dead")
	w.fails["CleanUpRamdisk"] = errors.New("store dead")
	err := w.direct.TidyUp(context.Background(), w.task())
	if err == nil || err.Error() != "switching the machine off: BMC dead" {
		t.Errorf("error %v", err)
	}
	want := []string{"power off", "CleanUpRamdisk", "disconnect provisioning", "forget agent"}
	if diff := cmp.Diff(want, w.log); diff != "" {
		t.Error(diff)
	}
}

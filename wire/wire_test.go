package wire

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// Commands as an agent that is not Billet's answers them: nulls where nothing is, results that are
// objects, texts or nothing, and keys of later versions.
func TestCommandsOfOtherAgents(t *testing.T) {
	got := decode[Commands](t, `{"commands":[
		{"id":"a","command_name":"execute_deploy_step","command_params":{"step":{"step":"write_image"}},"command_status":"RUNNING","command_error":null,"command_result":null},
		{"id":"b","command_name":"prepare_image","command_status":"SUCCEEDED","command_error":null,"command_result":{"result":"prepare_image: image (x) written to device /dev/sda root_uuid=None"}},
		{"id":"c","command_name":"sync","command_status":"FAILED","command_result":null,"serial_number":7,
		 "command_error":{"type":"ImageWriteError","code":500,"message":"Error writing image to device","details":"Writing image to device /dev/sda failed with exit code 1."}},
		{"id":"d","command_name":"execute_clean_step","command_status":"CLEAN_VERSION_MISMATCH","command_error":{"type":"VersionMismatch","code":500,"message":"m"},"command_result":null}]}`)
	if len(got.Commands) != 4 {
		t.Fatalf("%+v", got)
	}
	for i, want := range []struct{ status, err, result string }{
		{Running, "", "null"},
		{Succeeded, "", `{"result":"prepare_image: image (x) written to device /dev/sda root_uuid=None"}`},
		{Failed, "Writing image to device /dev/sda failed with exit code 1.", "null"},
		{VersionMismatch, "m", "null"},
	} {
		c := got.Commands[i]
		text := ""
		if c.Error != nil {
			text = c.Error.Error()
		}
		if c.Status != want.status || text != want.err || string(c.Result) != want.result {
			t.Errorf("%s: %q %q %s", c.ID, c.Status, text, c.Result)
		}
	}
}

// An agent of another make reads "command_error": null as "no error": an empty object would be one.
func TestACommandWithoutAnErrorSaysNull(t *testing.T) {
	b, err := json.Marshal(CommandResult{ID: "a", Name: "sync", Status: Succeeded})
	if want := `{"id":"a","command_name":"sync","command_status":"SUCCEEDED","command_error":null,"command_result":null}`; err != nil ||
		string(b) != want {
		t.Errorf("%v\n got %s\nwant %s", err, b, want)
	}
}

// What an inventory says of hardware that has no such thing is null; it must read as empty.
func TestAnInventoryFullOfNulls(t *testing.T) {
	got := decode[Inspection](t, `{"error":null,"root_disk":null,"boot_interface":"01-52-54-00-cf-2d-31","unknown":{"a":1},"inventory":{
		"interfaces":[{"name":"eth0","mac_address":"52:54:00:cf:2d:31","ipv4_address":null,"ipv6_address":"fe80::1%eth0","has_carrier":true,"lldp":[[1,"04aabb"]],
			"vendor":null,"product":null,"client_id":null,"biosdevname":null,"speed_mbps":null,"pci_address":null,"driver":null}],
		"cpu":{"model_name":"QEMU","frequency":"2594.0000","count":2,"architecture":"x86_64","flags":null,"socket_count":null},
		"memory":{"total":8589934592,"physical_mb":null},
		"disks":[{"name":"/dev/sda","model":null,"size":21474836480,"rotational":null,"wwn":null,"serial":null,"vendor":null,"wwn_with_extension":null,
			"wwn_vendor_extension":null,"hctl":null,"by_path":null,"logical_sectors":512,"physical_sectors":null,"tran":null}],
		"bmc_address":null,"bmc_v6address":null,"bmc_mac":null,"hostname":null,
		"system_vendor":{"product_name":"Standard PC","serial_number":null,"manufacturer":"QEMU","firmware":null},
		"boot":{"current_boot_mode":"bios","pxe_interface":null}}}`)
	want := Inspection{BootInterface: "01-52-54-00-cf-2d-31", Inventory: Inventory{
		Interfaces: []NIC{{Name: "eth0", MACAddress: "52:54:00:cf:2d:31", IPv6Address: "fe80::1%eth0", HasCarrier: true,
			LLDP: []any{[]any{1.0, "04aabb"}}}},
		CPU:          CPU{ModelName: "QEMU", Frequency: "2594.0000", Count: 2, Architecture: "x86_64"},
		Memory:       Memory{Total: 8 << 30},
		Disks:        []Disk{{Name: "/dev/sda", Size: 20 << 30, LogicalSectors: 512}},
		SystemVendor: SystemVendor{ProductName: "Standard PC", Manufacturer: "QEMU"},
		Boot:         BootInfo{CurrentBootMode: "bios"},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A disk's own keys that other agents do not know never reach the wire, whatever they hold.
func TestADiskKeepsToItselfWhatTheProtocolHasNot(t *testing.T) {
	b, err := json.Marshal(Disk{Name: "/dev/sda", Removable: true, ReadOnly: true, DevNumber: "8:0"})
	if err != nil {
		t.Fatal(err)
	}
	got := decode[map[string]any](t, string(b))
	for _, key := range []string{"Removable", "removable", "ReadOnly", "read_only", "DevNumber", "-"} {
		if _, there := got[key]; there {
			t.Errorf("%q is in %s", key, b)
		}
	}
	if len(got) != 14 {
		t.Errorf("%d keys, the protocol's disk has 14: %s", len(got), b)
	}
}

// A whole-disk image says nothing of partitions: an agent that finds root_gb would partition the disk.
// The fields of a partition image stand among the others.
func TestImageInfo(t *testing.T) {
	whole, err := json.Marshal(ImageInfo{ID: "x", URLs: []string{"http://h/x"}, DiskFormat: "raw", HashAlgo: "sha256", HashValue: "00",
		NodeUUID: "n"})
	if want := `{"id":"x","urls":["http://h/x"],"disk_format":"raw","container_format":"","os_hash_algo":"sha256","os_hash_value":"00",` +
		`"stream_raw_images":false,"node_uuid":"n"}`; err != nil || string(whole) != want {
		t.Errorf("%v\n got %s\nwant %s", err, whole, want)
	}
	info := ImageInfo{ID: "x", ImageType: "partition",
		PartitionImage: &PartitionImage{RootGB: 10, RootMB: 10240, SwapMB: 512, PreserveEphemeral: true}}
	b, err := json.Marshal(info)
	if err != nil {
		t.Fatal(err)
	}
	flat := decode[map[string]any](t, string(b))
	for key, want := range map[string]any{"root_gb": 10.0, "root_mb": 10240.0, "swap_mb": 512.0, "ephemeral_mb": 0.0,
		"preserve_ephemeral": true, "image_type": "partition"} {
		if flat[key] != want {
			t.Errorf("%s is %v, want %v", key, flat[key], want)
		}
	}
	if back := decode[ImageInfo](t, string(b)); !reflect.DeepEqual(info, back) {
		t.Errorf("came back as %+v", back)
	}
	if back := decode[ImageInfo](t, string(whole)); back.PartitionImage != nil {
		t.Errorf("a whole-disk image has partitions: %+v", back.PartitionImage)
	}
}

// The UUIDs' keys have spaces; they are what clients of the protocol look for.
func TestPartitionUUIDs(t *testing.T) {
	got := decode[PartitionUUIDs](t,
		`{"partitions":{"root":"/dev/sda2"},"root uuid":"r","efi system partition uuid":"e","PReP Boot partition uuid":null}`)
	if want := (PartitionUUIDs{Root: "r", ESP: "e"}); got != want {
		t.Errorf("%+v", got)
	}
}

// Of the three lists of steps only the one asked for is there; an empty one would say that the agent has none.
func TestSteps(t *testing.T) {
	b, err := json.Marshal(Steps{Deploy: map[string][]Step{"Generic": {{Step: "write_image", Interface: "deploy", Priority: 80}}},
		Version: map[string]string{"Generic": "1"}})
	want := `{"deploy_steps":{"Generic":[{"step":"write_image","interface":"deploy","priority":80,"reboot_requested":false,` +
		`"abortable":false}]},"hardware_manager_version":{"Generic":"1"}}`
	if err != nil || string(b) != want {
		t.Errorf("%v\n got %s\nwant %s", err, b, want)
	}
	got := decode[Steps](t, `{"clean_steps":{"M":[{"step":"erase","priority":10,"interface":"deploy","reboot_requested":false,`+
		`"abortable":true,"argsinfo":null,"requires_ramdisk":true}]},"hardware_manager_version":{"M":"1.2"}}`)
	if diff := cmp.Diff(Steps{Clean: map[string][]Step{"M": {{Step: "erase", Priority: 10, Interface: "deploy", Abortable: true}}},
		Version: map[string]string{"M": "1.2"}}, got); diff != "" {
		t.Error(diff)
	}
}

// A heartbeat of an agent without TLS or token leaves those keys out: older services refuse unknown ones.
func TestHeartbeatLeavesOutWhatIsEmpty(t *testing.T) {
	b, err := json.Marshal(Heartbeat{CallbackURL: "http://10.0.0.5:9999"})
	if want := `{"callback_url":"http://10.0.0.5:9999"}`; err != nil || string(b) != want {
		t.Errorf("%v %s", err, b)
	}
}

// The answer to a lookup at 1.22, where no token is given, and of a service that knows more than we do.
func TestLookupOfOtherServices(t *testing.T) {
	got := decode[Lookup](t,
		`{"node":{"uuid":"u","properties":{},"instance_info":{"root_gb":10},"driver_internal_info":{"clean_steps":null},"links":[]},
		"config":{"heartbeat_timeout":300,"agent_token":null,"agent_token_required":true,"metrics":{"backend":"noop"},"permitted_image_formats":null}}`)
	want := Lookup{
		Node: Node{UUID: "u", Properties: map[string]any{}, InstanceInfo: map[string]any{"root_gb": 10.0},
			DriverInternalInfo: map[string]any{"clean_steps": nil}},
		Config: LookupConfig{HeartbeatTimeout: 300, AgentTokenRequired: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

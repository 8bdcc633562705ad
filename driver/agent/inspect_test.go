package agent

import (
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// report reads a fixture as the API would hand it on.
func report(t testing.TB, edit func(body map[string]any)) node.InspectionData {
	t.Helper()
	text, err := os.ReadFile("testdata/inspection.json")
	if err != nil {
		t.Fatal(err)
	}
	var body map[string]any
	if err := json.Unmarshal(text, &body); err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(body)
	}
	data := node.InspectionData{PluginData: node.Document{}}
	data.Inventory, _ = body["inventory"].(map[string]any)
	data.BootInterface, _ = body["boot_interface"].(string)
	data.Error, _ = body["error"].(string)
	for k, v := range body {
		if k != "inventory" && k != "error" && k != "logs" {
			data.PluginData[k] = v
		}
	}
	return data
}

func inventoryOf(body map[string]any) map[string]any { return body["inventory"].(map[string]any) }

func TestInspected(t *testing.T) {
	w := newWorld(t)
	w.stored.Properties = node.Document{"cpus": "1", "color": "red", "capabilities": "profile:x,boot_mode:bios"}
	task := w.task()
	data := report(t, nil)
	found, err := (&Inspect{}).Inspected(t.Context(), task, data)
	if err != nil {
		t.Fatal(err)
	}
	want := node.Document{"cpus": "1", "cpu_arch": "x86_64", "capabilities": "profile:x,boot_mode:bios", "color": "red"}
	if diff := cmp.Diff(want, task.Node.Properties); diff != "" {
		t.Errorf("properties (-want +got):\n%s", diff)
	}
	if task.Node.BootMode != "uefi" || w.stored.Properties["cpu_arch"] != nil {
		t.Errorf("boot mode %q; the loaded node's own map changed: %v", task.Node.BootMode, w.stored.Properties)
	}
	if diff := cmp.Diff(data.Inventory, found.Inventory.Inventory); diff != "" {
		t.Errorf("inventory: %s", diff)
	}
	nics := map[string]any{}
	for _, v := range data.Inventory["interfaces"].([]any)[1:] {
		nic := node.Document(v.(map[string]any)).Clone()
		nic["pxe_enabled"] = nic["name"] == "eth0"
		nics[nic.String("name")] = map[string]any(nic)
	}
	wantPlugin := data.PluginData.Clone()
	wantPlugin["macs"] = []any{"52:54:00:00:00:02"}
	wantPlugin["all_interfaces"], wantPlugin["valid_interfaces"] = nics, map[string]any{"eth0": nics["eth0"]}
	if diff := cmp.Diff(wantPlugin, found.Inventory.PluginData); diff != "" {
		t.Errorf("plugin data: %s", diff)
	}
	wantPorts := []node.Port{{
		NodeUUID: testUUID, Address: "52:54:00:00:00:02", PXEEnabled: true, Description: "eth0, found by inspection",
		LocalLinkConnection: node.Document{}, Extra: node.Document{}, InternalInfo: node.Document{},
	}}
	if diff := cmp.Diff(wantPorts, added(found)); diff != "" {
		t.Errorf("ports: %s", diff)
	}
}

// added are the ports that are new.
func added(found driver.Findings) (ports []node.Port) {
	for _, p := range found.Ports {
		if p.ID == 0 {
			ports = append(ports, p)
		}
	}
	return ports
}

// An inspection tells whether the machine starts only what is signed; the report stays as it came.
func TestInspectedSecureBoot(t *testing.T) {
	w := newWorld(t)
	for _, said := range []bool{true, false} {
		task := w.task()
		data := report(t, func(body map[string]any) {
			inventoryOf(body)["boot"] = map[string]any{"current_boot_mode": "uefi", "pxe_interface": "", "secure_boot": said}
		})
		found, err := (&Inspect{}).Inspected(t.Context(), task, data)
		if err != nil {
			t.Fatal(err)
		}
		if task.Node.SecureBoot == nil || *task.Node.SecureBoot != said {
			t.Errorf("the node says %v, want %v", task.Node.SecureBoot, said)
		}
		if b, _ := found.Inventory.Inventory["boot"].(map[string]any); b["secure_boot"] != said {
			t.Errorf("the inventory that is kept: %v", b)
		}
	}
}

func TestWhichPorts(t *testing.T) {
	noBoot := func(b map[string]any) {
		delete(b, "boot_interface")
		inventoryOf(b)["boot"] = map[string]any{"current_boot_mode": "uefi", "pxe_interface": ""}
	}
	known := func(mac string) []node.Port { return []node.Port{{ID: 1, UUID: "p1", Address: mac}} }
	tests := []struct {
		name  string
		add   AddPorts
		edit  func(map[string]any)
		known []node.Port
		want  map[string]bool // MAC → pxe_enabled
	}{
		{"default", "", nil, nil, map[string]bool{"52:54:00:00:00:02": true}},
		{"default, known already", "", nil, known("52:54:00:00:00:02"), map[string]bool{}},
		{"default, known in capitals", AddAll, nil, known("52:54:00:00:00:0A"), map[string]bool{"52:54:00:00:00:02": true, "52:54:00:00:00:03": false, "52:54:00:00:00:04": false}},
		{"as PXELINUX says it", "", func(b map[string]any) { b["boot_interface"] = "01-52-54-00-00-00-03" }, nil, map[string]bool{"52:54:00:00:00:03": true}},
		{"from the inventory", "", func(b map[string]any) { delete(b, "boot_interface") }, nil, map[string]bool{"52:54:00:00:00:02": true}},
		{"nobody knows", "", noBoot, nil, map[string]bool{"52:54:00:00:00:02": true, "52:54:00:00:00:03": true}},
		{"nobody knows, and none has an address", "", func(b map[string]any) {
			noBoot(b)
			for _, v := range inventoryOf(b)["interfaces"].([]any) {
				v.(map[string]any)["ipv4_address"], v.(map[string]any)["ipv6_address"] = nil, nil
			}
		}, nil, map[string]bool{"52:54:00:00:00:02": true, "52:54:00:00:00:03": true, "52:54:00:00:00:04": true}},
		{"active", AddActive, nil, nil, map[string]bool{"52:54:00:00:00:02": true, "52:54:00:00:00:03": false}},
		{"all", AddAll, nil, nil, map[string]bool{"52:54:00:00:00:02": true, "52:54:00:00:00:03": false, "52:54:00:00:00:04": false}},
		{"none", AddNone, nil, nil, map[string]bool{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.ports = tt.known
			found, err := (&Inspect{AddPorts: tt.add}).Inspected(t.Context(), w.task(), report(t, tt.edit))
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]bool{}
			for _, p := range added(found) {
				got[p.Address] = p.PXEEnabled
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBadReports(t *testing.T) {
	tests := []struct {
		name string
		edit func(map[string]any)
		want string
	}{
		{"the ramdisk failed", func(b map[string]any) { b["error"] = "no disks; see http://u:p@h/x" }, "The machine reported a failed inspection: no disks; see http://******@h/x"},
		{"nothing", func(b map[string]any) { delete(b, "inventory") }, "The inspection found no network interface with a MAC address among 0."},
		{"no NIC to use", func(b map[string]any) {
			inventoryOf(b)["interfaces"] = []any{map[string]any{"name": "lo", "mac_address": "00:00:00:00:00:00"}, map[string]any{"name": "br0", "mac_address": "01:00:5e:00:00:01"},
				map[string]any{"name": "ib0", "mac_address": "80:00:02:08:fe:80:00:00:00:00:00:00:00:02:c9:03:00:31:78:f2"}}
		}, "The inspection found no network interface with a MAC address among 3."},
		{"a machine without a processor", func(b map[string]any) { inventoryOf(b)["cpu"] = nil }, "The inventory does not say the architecture of the machine's processors."},
		{"nonsense", func(b map[string]any) { inventoryOf(b)["cpu"] = "fast" }, "The inspection's inventory cannot be read: json: cannot unmarshal string into Go struct field Inventory.cpu of type wire.CPU."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			task := w.task()
			before := task.Node.Clone()
			_, err := (&Inspect{}).Inspected(t.Context(), task, report(t, tt.edit))
			if err == nil || err.Error() != tt.want || node.KindOf(err) != node.Invalid {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			if diff := cmp.Diff(before, task.Node); diff != "" {
				t.Errorf("the node changed: %s", diff)
			}
		})
	}
}

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
	params := map[string]string{"ipa-api-url": "http://10.0.0.1:6386", "ipa-inspection-callback-url": "http://10.0.0.1:6386/v1/continue_inspection"}
	if diff := cmp.Diff(params, w.params); diff != "" {
		t.Error(diff)
	}
	want.Within = 0
	if r, err := step.Poll(t.Context(), w.task()); err != nil || !cmp.Equal(want, r) {
		t.Fatalf("%+v, %v", r, err)
	}
	task := w.task()
	task.Remember(driver.Reported, "2026-01-01T00:00:00Z")
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

// FuzzInspected: whatever a machine on the provisioning network reports, nothing panics and a node
// is changed only by a report that is taken.
func FuzzInspected(f *testing.F) {
	text, err := os.ReadFile("testdata/inspection.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"inventory":{"interfaces":[{"name":"e","mac_address":"525400000001"}]},"root_disk":{"size":"x"}}`))
	f.Add([]byte(`{"inventory":{"interfaces":[{"mac_address":"52:54:00:00:00:01"}],"cpu":{"count":-1},"memory":{"total":-5},"disks":[{"size":9e18}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var body node.Document
		if json.Unmarshal(text, &body) != nil {
			return
		}
		inventory, _ := body["inventory"].(map[string]any)
		n := &node.Node{UUID: testUUID, Properties: node.Document{"a": "b"}}
		found, err := (&Inspect{AddPorts: AddAll}).Inspected(t.Context(), &driver.Task{Node: n},
			node.InspectionData{Inventory: inventory, PluginData: body, BootInterface: body.String("boot_interface")})
		if err != nil && (len(n.Properties) != 1 || found.Ports != nil) {
			t.Errorf("a refused report changed the node: %v", n.Properties)
		}
		for _, p := range found.Ports {
			if len(p.Address) != len("52:54:00:00:00:01") {
				t.Errorf("port with the address %q", p.Address)
			}
		}
	})
}

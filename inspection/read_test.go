package inspection_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/billet-metal/billet/inspection"
	"github.com/billet-metal/billet/node"
	"github.com/google/go-cmp/cmp"
)

// report reads a fixture as the API would hand it on.
func report(t testing.TB, edit func(body map[string]any)) node.InspectionData {
	t.Helper()
	text, err := os.ReadFile("testdata/report.json")
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
	w := newWorld()
	w.stored.Properties = node.Document{"cpus": "1", "color": "red", "capabilities": "profile:x,boot_mode:bios"}
	n := w.node()
	data := report(t, nil)
	found, err := (&inspection.Settings{}).Read(n, w.ports, data)
	if err != nil {
		t.Fatal(err)
	}
	want := node.Document{"cpus": "1", "cpu_arch": "x86_64", "capabilities": "profile:x,boot_mode:bios", "color": "red"}
	if diff := cmp.Diff(want, n.Properties); diff != "" {
		t.Errorf("properties (-want +got):\n%s", diff)
	}
	if n.BootMode != "uefi" || w.stored.Properties["cpu_arch"] != nil {
		t.Errorf("boot mode %q; the loaded node's own map changed: %v", n.BootMode, w.stored.Properties)
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
func added(found node.Findings) (ports []node.Port) {
	for _, p := range found.Ports {
		if p.ID == 0 {
			ports = append(ports, p)
		}
	}
	return ports
}

// An inspection tells whether the machine starts only what is signed; the report stays as it came.
func TestInspectedSecureBoot(t *testing.T) {
	w := newWorld()
	for _, said := range []bool{true, false} {
		n := w.node()
		data := report(t, func(body map[string]any) {
			inventoryOf(body)["boot"] = map[string]any{"current_boot_mode": "uefi", "pxe_interface": "", "secure_boot": said}
		})
		found, err := (&inspection.Settings{}).Read(n, w.ports, data)
		if err != nil {
			t.Fatal(err)
		}
		if n.SecureBoot == nil || *n.SecureBoot != said {
			t.Errorf("the node says %v, want %v", n.SecureBoot, said)
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
		add   inspection.AddPorts
		edit  func(map[string]any)
		known []node.Port
		want  map[string]bool // MAC → pxe_enabled
	}{
		{"default", "", nil, nil, map[string]bool{"52:54:00:00:00:02": true}},
		{"default, known already", "", nil, known("52:54:00:00:00:02"), map[string]bool{}},
		{"default, known in capitals", inspection.AddAll, nil, known("52:54:00:00:00:0A"),
			map[string]bool{"52:54:00:00:00:02": true, "52:54:00:00:00:03": false, "52:54:00:00:00:04": false}},
		{"as PXELINUX says it", "", func(b map[string]any) { b["boot_interface"] = "01-52-54-00-00-00-03" }, nil,
			map[string]bool{"52:54:00:00:00:03": true}},
		{"from the inventory", "", func(b map[string]any) { delete(b, "boot_interface") }, nil, map[string]bool{"52:54:00:00:00:02": true}},
		{"nobody knows", "", noBoot, nil, map[string]bool{"52:54:00:00:00:02": true, "52:54:00:00:00:03": true}},
		{"nobody knows, and none has an address", "", func(b map[string]any) {
			noBoot(b)
			for _, v := range inventoryOf(b)["interfaces"].([]any) {
				v.(map[string]any)["ipv4_address"], v.(map[string]any)["ipv6_address"] = nil, nil
			}
		}, nil, map[string]bool{"52:54:00:00:00:02": true, "52:54:00:00:00:03": true, "52:54:00:00:00:04": true}},
		{"active", inspection.AddActive, nil, nil, map[string]bool{"52:54:00:00:00:02": true, "52:54:00:00:00:03": false}},
		{"all", inspection.AddAll, nil, nil, map[string]bool{"52:54:00:00:00:02": true, "52:54:00:00:00:03": false, "52:54:00:00:00:04": false}},
		{"none", inspection.AddNone, nil, nil, map[string]bool{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			w.ports = tt.known
			found, err := (&inspection.Settings{AddPorts: tt.add}).Read(w.node(), w.ports, report(t, tt.edit))
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
		{"the ramdisk failed", func(b map[string]any) { b["error"] = "no disks" }, "The machine reported a failed inspection: no disks"},
		{"nothing", func(b map[string]any) { delete(b, "inventory") }, "The inspection found no network interface with a MAC address among 0."},
		{"no NIC to use", func(b map[string]any) {
			inventoryOf(b)["interfaces"] = []any{map[string]any{"name": "lo", "mac_address": "00:00:00:00:00:00"},
				map[string]any{"name": "br0", "mac_address": "01:00:5e:00:00:01"},
				map[string]any{"name": "ib0", "mac_address": "80:00:02:08:fe:80:00:00:00:00:00:00:00:02:c9:03:00:31:78:f2"}}
		}, "The inspection found no network interface with a MAC address among 3."},
		{"a machine without a processor", func(b map[string]any) { inventoryOf(b)["cpu"] = nil },
			"The inventory does not say the architecture of the machine's processors."},
		{"nonsense", func(b map[string]any) { inventoryOf(b)["cpu"] = "fast" },
			"The inspection's inventory cannot be read: json: cannot unmarshal string into Go struct field Inventory.cpu of type wire.CPU."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			n := w.node()
			before := n.Clone()
			_, err := (&inspection.Settings{}).Read(n, w.ports, report(t, tt.edit))
			if err == nil || err.Error() != tt.want || node.KindOf(err) != node.Invalid {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			if diff := cmp.Diff(before, n); diff != "" {
				t.Errorf("the node changed: %s", diff)
			}
		})
	}
}

// FuzzInspected: whatever a machine on the provisioning network reports, nothing panics and a node
// is changed only by a report that is taken.
func FuzzInspected(f *testing.F) {
	text, err := os.ReadFile("testdata/report.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"inventory":{"interfaces":[{"name":"e","mac_address":"525400000001"}]},"root_disk":{"size":"x"}}`))
	f.Add([]byte(`{"inventory":{"interfaces":[{"mac_address":"52:54:00:00:00:01"}],
		"cpu":{"count":-1},"memory":{"total":-5},"disks":[{"size":9e18}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var body node.Document
		if json.Unmarshal(text, &body) != nil {
			return
		}
		inventory, _ := body["inventory"].(map[string]any)
		n := &node.Node{UUID: testUUID, Properties: node.Document{"a": "b"}}
		found, err := (&inspection.Settings{AddPorts: inspection.AddAll}).Read(n, nil,
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

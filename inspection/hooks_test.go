package inspection_test

import (
	"encoding/json"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/inspection"
	"github.com/billet-metal/billet/node"
)

func TestCheckHooks(t *testing.T) {
	const all = "accelerators, architecture, boot-mode, cpu-capabilities, cpus, extra-hardware, local-link-connection, memory, parse-lldp, " +
		"pci-devices, physical-network, ports, raid-device, ramdisk-error, root-device, validate-interfaces"
	for _, tt := range []struct{ names, want string }{
		{"ramdisk-error,validate-interfaces,ports,architecture", ""},
		{"memory", ""},
		{"", `there is no hook ""; there are ` + all},
		{"validate-interfaces,Ports", `there is no hook "Ports"; there are ` + all},
		{"memory,cpus,memory", "the hook memory is there twice"},
		{"ports", "the hook ports needs validate-interfaces before it"},
		{"local-link-connection,validate-interfaces", "the hook local-link-connection needs validate-interfaces before it"},
		{"physical-network", "the hook physical-network needs validate-interfaces before it"},
	} {
		err := inspection.CheckHooks(strings.Split(tt.names, ","))
		if (err == nil) != (tt.want == "") || err != nil && err.Error() != tt.want {
			t.Errorf("%s: %v", tt.names, err)
		}
	}
	if err := inspection.CheckHooks(slices.Concat(inspection.DefaultHooks,
		[]string{"accelerators", "boot-mode", "cpu-capabilities", "cpus", "extra-hardware", "local-link-connection", "memory", "parse-lldp",
			"pci-devices", "physical-network", "raid-device", "root-device"})); err != nil {
		t.Error(err)
	}
}

// What each optional hook makes of a report.
func TestOptionalHooks(t *testing.T) {
	pci := func(ids ...string) []any {
		var out []any
		for _, id := range ids {
			f := strings.Split(id, " ")
			out = append(out, map[string]any{"vendor_id": f[0], "product_id": f[1], "class": f[2], "bus": f[3]})
		}
		return out
	}
	disks := func(list ...string) []any {
		var out []any
		for _, d := range list {
			f := strings.Split(d, " ")
			out = append(out, map[string]any{"name": f[0], "serial": f[1],
				"size": map[string]any{"8G": float64(8 << 30), "20G": float64(20 << 30)}[f[2]]})
		}
		return out
	}
	gpu := map[string]any{"vendor_id": "10de", "device_id": "1eb8", "type": "GPU", "device_info": "NVIDIA Corporation Tesla T4",
		"pci_address": "0000:3b:00.0"}
	for _, tt := range []struct {
		name       string
		hooks      string
		inspect    inspection.Settings
		properties node.Document // of the node before
		edit       func(b map[string]any)
		previous   node.Document
		want       node.Document // properties
		plugin     node.Document // keys of the plugin data that matter; nil: must not be there
		err        string
	}{
		{name: "nothing", hooks: "ramdisk-error", want: node.Document{}},
		{name: "cpus and memory", hooks: "cpus,memory", want: node.Document{"cpus": 8.0, "memory_mb": 16384.0}},
		{name: "memory in bytes", hooks: "memory",
			edit: func(b map[string]any) { inventoryOf(b)["memory"] = map[string]any{"total": float64(512 << 20)} },
			want: node.Document{"memory_mb": 512.0}},
		{name: "no memory", hooks: "memory", edit: func(b map[string]any) { delete(inventoryOf(b), "memory") },
			err: "The inventory does not say how much memory the machine has."},
		{name: "no count of CPUs", hooks: "cpus", edit: func(b map[string]any) { delete(inventoryOf(b), "cpu") }, want: node.Document{}},
		{name: "boot mode", hooks: "boot-mode", properties: node.Document{"capabilities": "a:b,boot_mode:bios"},
			want: node.Document{"capabilities": "a:b,boot_mode:uefi"}},
		{name: "no boot mode", hooks: "boot-mode",
			edit: func(b map[string]any) { inventoryOf(b)["boot"] = map[string]any{"current_boot_mode": "coreboot"} }, want: node.Document{}},
		{name: "CPU capabilities", hooks: "cpu-capabilities", properties: node.Document{"capabilities": map[string]any{"x": "y"}},
			edit: func(b map[string]any) {
				inventoryOf(b)["cpu"] = map[string]any{"flags": []any{"vmx", "aes", "fpu", "pdpe1gb"}}
			},
			want: node.Document{"capabilities": map[string]any{"x": "y", "cpu_vt": "true", "cpu_aes": "true", "cpu_hugepages_1g": "true"}}},
		{name: "CPU capabilities of one's own", hooks: "cpu-capabilities",
			inspect: inspection.Settings{CPUCapabilities: map[string]string{"fpu": "has_fpu"}}, want: node.Document{"capabilities": "has_fpu:true"}},
		{name: "PCI devices", hooks: "pci-devices", inspect: inspection.Settings{PCIAliases: map[string]string{"10de:1eb8": "t4",
			"8086:1572": "x710", "ffff:ffff": "none"}},
			edit: func(b map[string]any) {
				b["pci_devices"] = pci("10DE 1EB8 030200 0000:3b:00.0", "10de 1eb8 030200 0000:3c:00.0", "8086 1572 020000 0000:01:00.0")
			},
			want: node.Document{"capabilities": "t4:2,x710:1"}},
		{name: "no PCI devices", hooks: "pci-devices,accelerators",
			inspect: inspection.Settings{PCIAliases: map[string]string{"10de:1eb8": "t4"}}, want: node.Document{}},
		{name: "accelerators", hooks: "accelerators", edit: func(b map[string]any) {
			b["pci_devices"] = append(pci("10de 1eb8 030200 0000:3b:00.0", "1af4 1050 030000 0000:00:02.0", "1d0f 7064 120000 0000:00:1e.0",
				"x y 1 z"), "nonsense", map[string]any{"class": 7.0})
		},
			want: node.Document{"accelerators": []any{gpu, map[string]any{"vendor_id": "1d0f", "device_id": "7064", "type": "accelerator",
				"device_info": "PCI device 1d0f:7064", "pci_address": "0000:00:1e.0"}}}},
		{name: "accelerators that are gone", hooks: "accelerators", properties: node.Document{"accelerators": []any{gpu}},
			edit: func(b map[string]any) { b["pci_devices"] = pci("8086 1572 020000 0000:01:00.0") }, want: node.Document{"accelerators": []any{}}},
		{name: "extra hardware", hooks: "extra-hardware", edit: func(b map[string]any) {
			b["data"] = []any{[]any{"disk", "sda", "size", "8"}, []any{"disk", "sda", "model", "QEMU"}, []any{"cpu", "physical", "number", 2.0},
				[]any{"short"}, "no list", []any{"disk", "logical", "count", "18446744073709551616"}}
		},
			want: node.Document{}, plugin: node.Document{"data": nil, "extra": map[string]any{
				"disk": map[string]any{"sda": map[string]any{"size": 8.0, "model": "QEMU"}, "logical": map[string]any{"count": "18446744073709551616"}},
				"cpu":  map[string]any{"physical": map[string]any{"number": 2.0}}}}},
		{name: "extra hardware of another form", hooks: "extra-hardware", edit: func(b map[string]any) { b["data"] = "x" },
			want: node.Document{}, plugin: node.Document{"data": "x", "extra": nil}},
		{name: "root device as the machine chose it", hooks: "root-device", want: node.Document{"local_gb": 9.0},
			plugin: node.Document{"local_gb": 9.0, "root_disk": map[string]any{"name": "/dev/vda", "size": float64(10 << 30)}}},
		{name: "root device by hints", hooks: "root-device", properties: node.Document{"root_device": map[string]any{"size": "< 10"}},
			edit: func(b map[string]any) { inventoryOf(b)["disks"] = disks("/dev/sda s1 20G", "/dev/sdb s2 8G") },
			want: node.Document{"root_device": map[string]any{"size": "< 10"},
				"local_gb": 7.0}, plugin: node.Document{"root_disk": map[string]any{"name": "/dev/sdb", "serial": "s2", "size": float64(8 << 30)}}},
		{name: "root device when nobody chose", hooks: "root-device", edit: func(b map[string]any) { delete(b, "root_disk") },
			want: node.Document{"local_gb": 19.0}},
		{name: "a machine without disks", hooks: "root-device",
			edit: func(b map[string]any) {
				delete(b,
					"root_disk")
				inventoryOf(b)["disks"] = []any{}
			}, want: node.Document{"local_gb": 0.0}, plugin: node.Document{"root_disk": nil, "local_gb": 0.0}},
		{name: "hints that choose nothing", hooks: "root-device", properties: node.Document{"root_device": map[string]any{"serial": "s9"}},
			err: "The root device hints of node " + testUUID + " choose no disk of the inventory: "},
		{name: "a RAID device", hooks: "raid-device", previous: node.Document{"disks": disks("/dev/sda s1 20G", "/dev/sdb s2 20G")},
			edit: func(b map[string]any) { inventoryOf(b)["disks"] = disks("/dev/sda s3 20G", "/dev/sdb s1 8G") },
			want: node.Document{"root_device": map[string]any{"serial": "s3"}}},
		{name: "no inspection before", hooks: "raid-device", want: node.Document{}},
		{name: "two new disks", hooks: "raid-device", previous: node.Document{"disks": disks("/dev/sda s1 20G")},
			edit: func(b map[string]any) { inventoryOf(b)["disks"] = disks("/dev/sda s3 20G", "/dev/sdb s4 8G") }, want: node.Document{}},
		{name: "a root device that is known", hooks: "raid-device", properties: node.Document{"root_device": "x"},
			previous: node.Document{"disks": disks("/dev/sda s1 20G")},
			edit:     func(b map[string]any) { inventoryOf(b)["disks"] = disks("/dev/sda s3 20G") },
			want:     node.Document{"root_device": "x"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			w.stored.Properties = tt.properties.Clone()
			n, data := w.node(), report(t, tt.edit)
			data.Previous = tt.previous
			i := tt.inspect
			i.Hooks = strings.Split(tt.hooks, ",")
			found, err := i.Read(n, w.ports, data)
			if tt.err != "" {
				if err == nil || !strings.HasPrefix(err.Error(), tt.err) || node.KindOf(err) != node.Invalid {
					t.Errorf("got %v\nwant %s", err, tt.err)
				}
				if diff := cmp.Diff(tt.properties.Clone(), n.Properties.Clone()); diff != "" {
					t.Errorf("a refused report changed the node: %s", diff)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, n.Properties); diff != "" {
				t.Errorf("properties (-want +got):\n%s", diff)
			}
			for key, want := range tt.plugin {
				got, there := found.Inventory.PluginData[key]
				if diff := cmp.Diff(want, got); diff != "" || there != (want != nil) {
					t.Errorf("plugin data %s (-want +got):\n%s", key, diff)
				}
			}
			if len(found.Ports)+len(found.Gone) > 0 {
				t.Errorf("ports without the hook: %+v %+v", found.Ports, found.Gone)
			}
		})
	}
}

// Which of a node's ports an inspection keeps, and what becomes of their pxe_enabled.
func TestKeepingPorts(t *testing.T) {
	attached := node.Document{"tenant_vif_port_id": "v1"}
	had := []node.Port{
		{ID: 1, UUID: "booted", Address: "52:54:00:00:00:02"},
		{ID: 2, UUID: "other", Address: "52:54:00:00:00:03", PXEEnabled: true},
		{ID: 3, UUID: "elsewhere", Address: "52:54:00:00:00:AA", PXEEnabled: true},
		{ID: 4, UUID: "attached", Address: "52:54:00:00:00:bb", InternalInfo: attached},
		{ID: 5, UUID: "infiniband", Address: "80:00:02:08:fe:80:00:00:00:00:00:00:00:02:c9:03:00:31:78:f2"},
	}
	for _, tt := range []struct {
		name    string
		inspect inspection.Settings
		gone    string
		saved   string // UUIDs and their pxe_enabled
		edit    func(map[string]any)
	}{
		{"all", inspection.Settings{}, "", "booted=true other=false elsewhere=false", nil},
		{"all, pxe_enabled as it is", inspection.Settings{PXEPorts: inspection.KeepPXEPorts}, "", "", nil},
		{"nobody knows what it booted from", inspection.Settings{}, "", "", func(b map[string]any) {
			delete(b, "boot_interface")
			inventoryOf(b)["boot"] = nil
		}},
		{"it booted from what it does not have", inspection.Settings{}, "", "",
			func(b map[string]any) { b["boot_interface"] = "52:54:00:00:00:77" }},
		{"present", inspection.Settings{KeepPorts: inspection.KeepPresent}, "elsewhere", "booted=true other=false", nil},
		{"added", inspection.Settings{KeepPorts: inspection.KeepAdded}, "other elsewhere infiniband", "booted=true", nil},
		{"added, of all", inspection.Settings{KeepPorts: inspection.KeepAdded, AddPorts: inspection.AddAll, PXEPorts: inspection.KeepPXEPorts},
			"elsewhere infiniband", "", nil},
		{"added, and none are", inspection.Settings{KeepPorts: inspection.KeepAdded, AddPorts: inspection.AddNone,
			PXEPorts: inspection.KeepPXEPorts}, "elsewhere infiniband", "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			w.ports = slices.Clone(had)
			found, err := tt.inspect.Read(w.node(), w.ports, report(t, func(b map[string]any) {
				nics := inventoryOf(b)["interfaces"].([]any)
				inventoryOf(b)["interfaces"] = append(nics, map[string]any{"name": "ib0",
					"mac_address": "80:00:02:08:FE:80:00:00:00:00:00:00:00:02:c9:03:00:31:78:f2"})
				if tt.edit != nil {
					tt.edit(b)
				}
			}))
			if err != nil {
				t.Fatal(err)
			}
			var gone, saved []string
			for _, p := range found.Gone {
				gone = append(gone, p.UUID)
			}
			for _, p := range found.Ports {
				if p.ID != 0 {
					saved = append(saved, p.UUID+"="+map[bool]string{true: "true", false: "false"}[p.PXEEnabled])
				}
			}
			if got := strings.Join(gone, " "); got != tt.gone {
				t.Errorf("gone: %q, want %q", got, tt.gone)
			}
			if got := strings.Join(saved, " "); got != tt.saved {
				t.Errorf("saved: %q, want %q", got, tt.saved)
			}
			if had[0].PXEEnabled || !had[1].PXEEnabled {
				t.Error("the loaded ports changed")
			}
		})
	}
}

func TestInterfacesNoPortIsAddedFor(t *testing.T) {
	w := newWorld()
	_, err := (&inspection.Settings{AddPorts: inspection.AddActive}).Read(w.node(), w.ports, report(t, func(b map[string]any) {
		inventoryOf(b)["interfaces"] = []any{map[string]any{"name": "eth0", "mac_address": "52:54:00:00:00:02"}}
	}))
	if want := `None of the 1 network interfaces found is one that ports are added for (inspection_add_ports is "active").`; err == nil ||
		err.Error() != want {
		t.Errorf("got %v", err)
	}
	_, err = (&inspection.Settings{Hooks: []string{"validate-interfaces"}}).Read(w.node(), w.ports,
		report(t, func(b map[string]any) { b["error"] = "no disks" }))
	if err != nil {
		t.Errorf("without the hook ramdisk-error: %v", err)
	}
}

func TestClientIDsAndPhysicalNetworks(t *testing.T) {
	w := newWorld()
	w.ports = []node.Port{{ID: 7, UUID: "known", Address: "52:54:00:00:00:03", PhysicalNetwork: "as it was",
		Extra: node.Document{"client-id": "old", "a": "b"}}, {ID: 8, UUID: "quiet", Address: "52:54:00:00:00:04", PhysicalNetwork: "as it was"}}
	i := &inspection.Settings{Hooks: slices.Concat(inspection.DefaultHooks, []string{"physical-network"}),
		PhysicalNetworks: map[netip.Prefix]string{
			netip.MustParsePrefix("10.0.0.0/8"): "wide", netip.MustParsePrefix("10.99.0.0/24"): "narrow",
			netip.MustParsePrefix("fe80::/10"): "link"}}
	found, err := i.Read(w.node(), w.ports, report(t, func(b map[string]any) {
		for _, v := range inventoryOf(b)["interfaces"].([]any) {
			nic := v.(map[string]any)
			nic["client_id"] = "ff:00:" + nic["name"].(string)
			if nic["name"] == "eth1" {
				nic["ipv6_address"] = "fe80::1%eth1"
			}
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"52:54:00:00:00:02": "narrow ff:00:eth0", "52:54:00:00:00:03": "link ff:00:eth1",
		"52:54:00:00:00:04": "as it was ff:00:eth2"}
	got := map[string]string{}
	for _, p := range found.Ports {
		got[p.Address] = p.PhysicalNetwork + " " + p.Extra.String("client-id")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if w.ports[0].Extra["client-id"] != "old" {
		t.Error("the loaded port's own map changed")
	}
	nics := found.Inventory.PluginData["all_interfaces"].(map[string]any)
	if nics["eth1"].(map[string]any)["ipv6_address"] != "fe80::1" {
		t.Errorf("interfaces %v", nics)
	}
}

// FuzzHooks: whatever a machine reports, and however its node came to look, no hook panics, a refused report
// changes nothing, and what is stored is JSON.
func FuzzHooks(f *testing.F) {
	text, err := os.ReadFile("testdata/report.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text, `{"capabilities":"a:b","root_device":{"size":"> 1"}}`)
	f.Add([]byte(`{"inventory":{"interfaces":[{"name":"e","mac_address":"52:54:00:00:00:01","client_id":7,"ipv4_address":"10.0.0.1"}],
		"cpu":{"architecture":"x","flags":["vmx"]},"memory":{"total":9e9},"disks":[{"name":7}]},
		"pci_devices":[{"class":"0302"},{"vendor_id":"10de","product_id":"1eb8","class":"030200"}],
		"data":[["a","b","c","1"],[{},[],null,{}]],"root_disk":{"size":"x"}}`), `{}`)
	f.Add([]byte(`{"inventory":{"interfaces":[{"mac_address":"52:54:00:00:00:01"}],"disks":[{"serial":"a"},{"serial":"b"}]},
		"root_disk":7,"pci_devices":{}}`), `{"capabilities":[],"root_device":7}`)
	all := slices.Concat(inspection.DefaultHooks[1:3],
		[]string{"accelerators", "boot-mode", "cpu-capabilities", "cpus", "extra-hardware", "local-link-connection", "parse-lldp",
			"pci-devices", "physical-network", "raid-device", "root-device"})
	f.Fuzz(func(t *testing.T, text []byte, properties string) {
		var body, props node.Document
		if json.Unmarshal(text, &body) != nil || json.Unmarshal([]byte(properties), &props) != nil {
			return
		}
		inventory, _ := body["inventory"].(map[string]any)
		n := &node.Node{UUID: testUUID, Properties: props}
		before, _ := json.Marshal(props)
		ports := []node.Port{{ID: 1, UUID: "p", Address: "52:54:00:00:00:01"}}
		i := &inspection.Settings{Hooks: all, AddPorts: inspection.AddAll, KeepPorts: inspection.KeepAdded,
			PCIAliases: map[string]string{"10de:1eb8": "t4"}, PhysicalNetworks: map[netip.Prefix]string{netip.MustParsePrefix("10.0.0.0/8"): "x"}}
		found, err := i.Read(n, ports, node.InspectionData{
			Inventory: inventory, PluginData: body, BootInterface: body.String("boot_interface"),
			Previous: node.Document{"disks": []any{map[string]any{"serial": "a"}}}})
		if after, _ := json.Marshal(props); string(before) != string(after) {
			t.Errorf("the loaded properties changed from %s to %s", before, after)
		}
		if err != nil {
			if found.Ports != nil || found.Gone != nil || node.KindOf(err) != node.Invalid {
				t.Errorf("%v, with %+v", err, found)
			}
			return
		}
		for _, v := range []any{n.Properties, found.Inventory.PluginData, found.Ports} {
			if _, err := json.Marshal(v); err != nil {
				t.Errorf("not JSON: %v", err)
			}
		}
	})
}

package inspection_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/inspection"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// field is one field of a switch's frame as the agent reports it.
func field(kind int, value string) any {
	return []any{float64(kind), hex.EncodeToString([]byte(value))}
}

// heard is what the hooks make of a machine whose interfaces have heard switches: what each switch said, and the link of
// the port that the first interface is.
func heard(t testing.TB, nics []wire.NIC) (parsed map[string]any, link node.Document) {
	t.Helper()
	for i := range nics {
		nics[i].MACAddress = fmt.Sprintf("52:54:00:00:%02x:%02x", (i+1)>>8, (i+1)&255)
	}
	text, err := json.Marshal(map[string]any{"interfaces": nics})
	if err != nil {
		t.Fatal(err)
	}
	var inventory node.Document
	if err := json.Unmarshal(text, &inventory); err != nil {
		t.Fatal(err)
	}
	settings := inspection.Settings{Hooks: []string{"validate-interfaces", "local-link-connection", "parse-lldp"},
		AddPorts: inspection.AddNone}
	found, err := settings.Read(&node.Node{ID: 1}, []node.Port{{ID: 1, Address: nics[0].MACAddress}},
		node.InspectionData{Inventory: inventory})
	if err != nil {
		t.Fatal(err)
	}
	parsed, _ = found.Inventory.PluginData["parsed_lldp"].(map[string]any)
	for _, p := range found.Ports {
		link = p.LocalLinkConnection
	}
	return parsed, link
}

// A report is not a switch's frame: values longer than a field can be, more fields than a frame has and more interfaces than
// have cables come from somebody else. The rest of such a report counts, and what it makes is bounded.
func TestLLDPOfAForgedReport(t *testing.T) {
	long := strings.Repeat("x", 511)
	var many []any
	for range 100_000 {
		many = append(many, field(4, "port"))
	}
	many = append(many, field(5, "too late"))
	nics := []wire.NIC{
		{Name: "eth0", LLDP: []any{field(5, long), field(6, long+"y"), field(4, strings.Repeat("z", 1<<20)), []any{1e300, "6c"},
			[]any{-1.0, "6c"}}},
		{Name: "eth1", LLDP: many},
		{Name: "eth2", LLDP: []any{field(5, "a\u009b\u202eb")}},
	}
	for i := range 1000 {
		nics = append(nics, wire.NIC{Name: fmt.Sprintf("vf%d", i), LLDP: []any{field(5, "leaf")}})
	}
	got, _ := heard(t, nics)
	if diff := cmp.Diff(map[string]any{"switch_system_name": long}, got["eth0"]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]any{"switch_port_description": "port"}, got["eth1"]); diff != "" {
		t.Error(diff)
	}
	if name := got["eth2"].(map[string]any)["switch_system_name"]; name != "ab" {
		t.Errorf("a terminal's controls: %q", name)
	}
	if len(got) != 64 || got["vf60"] == nil || got["vf61"] != nil {
		t.Errorf("%d interfaces have neighbours", len(got))
	}
}

func TestNeighbours(t *testing.T) {
	const mac = "\x00\x1c\x73\xaa\xbb\xcc"
	for _, tt := range []struct {
		name   string
		fields any
		want   map[string]any
		link   [2]string // switch_id, port_id
	}{
		{"a switch with all it has", []any{
			field(1, "\x04"+mac), field(2, "\x05Ethernet1/7"), field(3, "\x00\x78"), field(4, "to rack 7\x00"), field(5, "leaf1"), field(6,
				"EOS\n4.30"),
			field(127, "\x00\x80\xc2\x01\x00\x64"), field(127, "\x00\x12\x0f\x04\x23\xf0"), field(127, "\x00\x12\x0f\x01\x03\x6c\x11\x00\x10"),
		}, map[string]any{
			"switch_chassis_id": "00:1c:73:aa:bb:cc", "switch_port_id": "Ethernet1/7", "switch_port_description": "to rack 7",
			"switch_system_name": "leaf1", "switch_system_description": "EOS\n4.30", "switch_port_untagged_vlan_id": 100, "switch_port_mtu": 9200,
		}, [2]string{"00:1c:73:aa:bb:cc", "Ethernet1/7"}},
		{"a port named by its MAC, a chassis by a text", []any{field(1, "\x07leaf"), field(2, "\x03"+mac)},
			map[string]any{"switch_chassis_id": "leaf", "switch_port_id": "00:1c:73:aa:bb:cc"}, [2]string{"", "00:1c:73:aa:bb:cc"}},
		{"network addresses", []any{field(1, "\x05\x01\xc0\x00\x02\x07"),
			field(2, "\x04\x02\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05")},
			map[string]any{"switch_chassis_id": "192.0.2.7", "switch_port_id": "2001:db8::5"}, [2]string{"", "2001:db8::5"}},
		{"no untagged VLAN", []any{field(5, "s"), field(127, "\x00\x80\xc2\x01\x00\x00")}, map[string]any{"switch_system_name": "s"},
			[2]string{}},
		{"colours for the terminal of whoever looks", []any{field(5, "\x1b[31mleaf\x7f\x00")}, map[string]any{"switch_system_name": "[31mleaf"},
			[2]string{}},
		{"not UTF-8", []any{field(5, "\xff\xfe"), field(6, "x")}, map[string]any{"switch_system_description": "x"}, [2]string{}},
		{"IDs cut short", []any{field(1, "\x04\x00\x1c"), field(2, "\x04"), field(1, "\x05\x01\x0a"), field(127, "\x00\x80\xc2"),
			field(2, "\x07")}, nil, [2]string{}},
		{"an old agent without LLDP", nil, nil, [2]string{}},
		{"nonsense", []any{"x", []any{}, []any{1.0}, []any{"5", "6c"}, []any{5.0, "zz"}, []any{5.0, ""}, []any{5.0, 6.0}, map[string]any{}},
			nil, [2]string{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, link := heard(t, []wire.NIC{{Name: "eth0", LLDP: tt.fields}, {Name: "eth1"}})
			said, _ := got["eth0"].(map[string]any)
			if diff := cmp.Diff(tt.want, said); diff != "" {
				t.Error(diff)
			}
			if link := [2]string{link.String("switch_id"), link.String("port_id")}; link != tt.link {
				t.Errorf("linked to %q, want %q", link, tt.link)
			}
			if _, there := got["eth1"]; there {
				t.Error("an interface that heard nothing has a neighbour")
			}
		})
	}
}

// A report with LLDP: the new port and one the node has learn where they are plugged in, what a
// person wrote stays, and the plugin data has all that was said.
func TestInspectedWithLLDP(t *testing.T) {
	w := newWorld()
	w.ports = []node.Port{
		{ID: 7, UUID: "p-known", Address: "52:54:00:00:00:03",
			LocalLinkConnection: node.Document{"switch_id": "written by a person", "switch_info": "sw"}},
		{ID: 8, UUID: "p-quiet", Address: "52:54:00:00:00:04"},
	}
	data := report(t, func(b map[string]any) {
		for _, v := range inventoryOf(b)["interfaces"].([]any) {
			nic := v.(map[string]any)
			if name := nic["name"].(string); name == "eth0" || name == "eth1" {
				nic["lldp"] = []any{field(1, "\x04\x00\x1c\x73\x00\x00\x01"), field(2, "\x05port of "+name)}
			}
		}
	})
	found, err := (&inspection.Settings{LLDP: inspection.LLDP, PXEPorts: inspection.KeepPXEPorts}).Read(w.node(), w.ports, data)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]node.Document{
		"52:54:00:00:00:02": {"switch_id": "00:1c:73:00:00:01", "port_id": "port of eth0"},
		"52:54:00:00:00:03": {"switch_id": "written by a person", "switch_info": "sw", "port_id": "port of eth1"},
	}
	got := map[string]node.Document{}
	for _, p := range found.Ports {
		got[p.Address] = p.LocalLinkConnection
		if (p.ID == 7) != (p.Address == "52:54:00:00:00:03") {
			t.Errorf("port %s has the ID %d", p.Address, p.ID)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ports: %s", diff)
	}
	wantParsed := map[string]any{
		"eth0": map[string]any{"switch_chassis_id": "00:1c:73:00:00:01", "switch_port_id": "port of eth0"},
		"eth1": map[string]any{"switch_chassis_id": "00:1c:73:00:00:01", "switch_port_id": "port of eth1"},
	}
	if diff := cmp.Diff(wantParsed, found.Inventory.PluginData["parsed_lldp"]); diff != "" {
		t.Errorf("plugin data: %s", diff)
	}
	if len(w.ports[0].LocalLinkConnection) != 2 {
		t.Errorf("the loaded port's own map changed: %v", w.ports[0].LocalLinkConnection)
	}
	// Told again, nothing is new.
	w.ports = []node.Port{w.ports[1]}
	for i, p := range found.Ports {
		p.ID = int64(i + 1)
		w.ports = append(w.ports, p)
	}
	if again, err := (&inspection.Settings{LLDP: inspection.LLDP, PXEPorts: inspection.KeepPXEPorts}).Read(w.node(), w.ports,
		data); err != nil || len(again.Ports) != 0 {
		t.Errorf("%v, %v", again.Ports, err)
	}
}

// FuzzNeighbours: whatever a switch says, nothing panics and no text holds control characters.
func FuzzNeighbours(f *testing.F) {
	f.Add(1, "\x04\x00\x1c\x73\x00\x00\x01")
	f.Add(2, "\x04\x01\x0a\x00\x00\x01")
	f.Add(127, "\x00\x80\xc2\x01\x00\x64")
	f.Add(6, "\x1b]0;x\x07")
	f.Fuzz(func(t *testing.T, kind int, value string) {
		said, _ := heard(t, []wire.NIC{{Name: "e", LLDP: []any{field(kind, value)}}})
		for _, n := range said {
			for name, v := range n.(map[string]any) {
				if s, ok := v.(string); ok && (s == "" || strings.ContainsAny(s, "\x00\x1b\x07\x7f\r")) {
					t.Errorf("%s is %q", name, s)
				}
			}
		}
		_, _ = (&inspection.Settings{LLDP: inspection.LLDP}).Read(&node.Node{}, nil, node.InspectionData{
			Inventory: node.Document{"interfaces": []any{map[string]any{"name": "e", "mac_address": "52:54:00:00:00:01", "lldp": value}}}})
	})
}

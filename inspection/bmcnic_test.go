package inspection_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/billet-metal/billet/inspection"
	"github.com/billet-metal/billet/node"
)

// interfacesOf is a report of a machine with these interfaces ("name mac driver"), booted from the first.
func interfacesOf(t *testing.T, lines ...string) node.InspectionData {
	return report(t, func(body map[string]any) {
		var nics []any
		for i, line := range lines {
			f := strings.Fields(line)
			nic := map[string]any{"name": f[0], "mac_address": f[1], "ipv4_address": "10.0.0.5"}
			if len(f) > 2 {
				nic["driver"] = f[2]
			}
			nics = append(nics, nic)
			if i == 0 {
				body["boot_interface"] = f[1]
			}
		}
		inventoryOf(body)["interfaces"] = nics
	})
}

// An interface between the machine and its BMC becomes no port, and people are told.
func TestTheBMCsInterfaceBecomesNoPort(t *testing.T) {
	for _, tt := range []struct {
		line string
		port bool
	}{
		{"eno2 3c:ec:ef:00:00:02 igb", true},
		{"enp0s20f0u1u6 3c:ec:ef:00:00:03 cdc_ether", false},
		{"usb0 b6:df:01:02:03:04 rndis_host", false},
		{"enx0a0b0c0d0e0f 0a:0b:0c:0d:0e:0f cdc-ncm", false},
		{"idrac 5c:f9:dd:00:00:01 cdc_ether", false},
		{"usb0 b6:df:01:02:03:04", false},
		{"enp0s20f0u1u6 b6:df:01:02:03:04", false},
		{"enp0s20f0u1u6 3c:ec:ef:00:00:03", true}, // a card on USB whose maker gave it an address, and no driver is told
		{"eth1 52:54:00:00:00:02", true},
		{"eth1 52:54:00:00:00:02 virtio_net", true},
		{"enp0s20f0u2 3c:ec:ef:00:00:03 r8152", true},
	} {
		w := newWorld()
		found, err := (&inspection.Settings{AddPorts: inspection.AddAll}).Read(w.node(), nil,
			interfacesOf(t, "eno1 3c:ec:ef:00:00:01 igb", tt.line))
		if err != nil {
			t.Fatal(err)
		}
		if (len(found.Ports) == 2) != tt.port || (len(found.Notes) == 0) != tt.port {
			t.Errorf("%s: ports %+v, notes %q", tt.line, found.Ports, found.Notes)
		}
	}
	found, err := (&inspection.Settings{AddPorts: inspection.AddAll}).Read(newWorld().node(), nil,
		interfacesOf(t, "usb0 b6:df:01:02:03:04 cdc_ether"))
	if err != nil || len(found.Ports) != 1 || !found.Ports[0].PXEEnabled {
		t.Errorf("the interface it booted from is none of the BMC's: %+v, %v", found, err)
	}
}

// A report that nothing binds to the machine neither changes which port its node boots from nor takes one away.
func TestAnUnboundReportMovesNoNetworkBoot(t *testing.T) {
	for _, bound := range []bool{false, true} {
		w := newWorld()
		n := w.node()
		n.ID = 7
		w.ports = []node.Port{
			{ID: 1, UUID: "p1", Address: "3c:ec:ef:00:00:01", PXEEnabled: true, Extra: node.Document{}, LocalLinkConnection: node.Document{}},
			{ID: 2, UUID: "p2", Address: "3c:ec:ef:00:00:02", Extra: node.Document{}, LocalLinkConnection: node.Document{}},
		}
		data := interfacesOf(t, "eth9 66:66:66:66:66:66 igb")
		data.Bound = bound
		found, err := (&inspection.Settings{AddPorts: inspection.AddAll, KeepPorts: inspection.KeepPresent}).Read(n, w.ports, data)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range found.Ports {
			if p.Address == "66:66:66:66:66:66" && p.PXEEnabled != bound || p.ID != 0 && !bound {
				t.Errorf("bound %v: port %+v", bound, p)
			}
		}
		if (len(found.Gone) > 0) != bound {
			t.Errorf("bound %v: gone %+v", bound, found.Gone)
		}
	}
}

// Nor does it say anew what is known of a port: with another physical network an instance's network would be attached to
// another port. What nobody knew it adds.
func TestAnUnboundReportOnlyAddsToPorts(t *testing.T) {
	settings := inspection.Settings{
		Hooks: slices.Concat(inspection.DefaultHooks, []string{"physical-network"}), AddPorts: inspection.AddNone,
		PhysicalNetworks: map[netip.Prefix]string{netip.MustParsePrefix("10.0.0.0/8"): "reported"},
	}
	for _, bound := range []bool{false, true} {
		ports := []node.Port{
			{ID: 1, UUID: "known", Address: "52:54:00:00:00:02", PhysicalNetwork: "known", Extra: node.Document{"client-id": "known"}},
			{ID: 2, UUID: "new", Address: "52:54:00:00:00:03"},
		}
		data := interfacesOf(t, "eth0 52:54:00:00:00:02 igb", "eth1 52:54:00:00:00:03 igb")
		for _, v := range data.Inventory["interfaces"].([]any) {
			v.(map[string]any)["client_id"] = "reported"
		}
		data.Bound = bound
		n := newWorld().node()
		n.ID = 7
		found, err := settings.Read(n, ports, data)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range found.Ports {
			want := "reported"
			if p.UUID == "known" && !bound {
				want = "known"
			}
			if p.PhysicalNetwork != want || p.Extra["client-id"] != want {
				t.Errorf("bound %v: port %s has %q, %v", bound, p.UUID, p.PhysicalNetwork, p.Extra)
			}
		}
		if len(found.Ports) == 0 {
			t.Errorf("bound %v: nothing was added", bound)
		}
	}
}

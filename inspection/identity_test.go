package inspection_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/billet-metal/billet/inspection"
	"github.com/billet-metal/billet/node"
)

func machineWith(serial string) node.Document {
	return node.Document{"system_vendor": map[string]any{"serial_number": serial}}
}

func TestSerialNumbersThatMachinesShare(t *testing.T) {
	for _, s := range []string{
		"", " ", "To be filled by O.E.M.", "Default string", "0123456789", "00000000-0000-0000-0000-000000000000",
		"FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "0", "None", "Not Specified", "XXXXXXXX", "........",
	} {
		if got := inspection.ClaimOf(node.InspectionData{Inventory: machineWith(s)}).Serial; got != "" {
			t.Errorf("%q is taken for a machine's own: %q", s, got)
		}
	}
	for _, s := range []string{"CZ1234ABCD", "4C4C4544-0042-3010-8054-B4C04F4D5332", "0042"} {
		if inspection.ClaimOf(node.InspectionData{Inventory: machineWith(s)}).Serial != strings.ToLower(s) {
			t.Errorf("%q is nobody's", s)
		}
	}
}

// Of several nodes the one is chosen for which the strongest evidence speaks; when as much speaks for two, none is.
func TestTheStrongestEvidenceDecides(t *testing.T) {
	const mac1, mac2, card = "52:54:00:00:00:01", "52:54:00:00:00:02", "02:42:42:42:42:42"
	port := func(mac string, boots bool) node.Port { return node.Port{Address: mac, PXEEnabled: boots} }
	of := func(uuid, serial string, ports ...node.Port) inspection.Candidate {
		return inspection.Candidate{Node: &node.Node{UUID: uuid}, Ports: ports, Before: machineWith(serial)}
	}
	for _, tt := range []struct {
		name string
		m    inspection.Claim
		all  []inspection.Candidate
		want string
		how  inspection.Decision
	}{
		{"the interface booted from beats the serial number", inspection.Claim{Booted: mac2, Serial: "sn1"},
			[]inspection.Candidate{of("one", "SN1", port(mac1, true), port(card, false)),
				of("two", "SN2", port(mac2, true))}, "two", inspection.Found},
		{"the serial number beats a boot interface", inspection.Claim{Serial: "sn2"},
			[]inspection.Candidate{of("one", "", port(mac1, true)), of("two", "SN2", port(mac2, false))}, "two", inspection.Found},
		{"another serial number is worse than none", inspection.Claim{Serial: "sn9"},
			[]inspection.Candidate{of("one", "SN1", port(mac1, true)), of("two", "", port(mac2, false))}, "two", inspection.Found},
		{"a boot interface beats two others", inspection.Claim{},
			[]inspection.Candidate{of("one", "", port(mac1, false), port(card, false)), of("two", "", port(mac2, true))}, "two", inspection.Found},
		{"two others beat one", inspection.Claim{},
			[]inspection.Candidate{of("one", "", port(mac1, false), port(card, false)), of("two", "", port(mac2, false))}, "one", inspection.Found},
		{"as much speaks for both", inspection.Claim{},
			[]inspection.Candidate{of("one", "", port(mac1, true)), of("two", "", port(mac2, true))}, "", inspection.Alike},
		{"only a card that it did not boot from", inspection.Claim{Booted: mac2},
			[]inspection.Candidate{of("one", "", port(card, false))}, "", inspection.Nothing},
		{"the same without a word of the boot", inspection.Claim{}, []inspection.Candidate{of("one", "", port(card, false))}, "one",
			inspection.Found},
		{"only a card, but the serial number", inspection.Claim{Booted: mac2, Serial: "sn1"},
			[]inspection.Candidate{of("one", "SN1", port(card, false))}, "one", inspection.Found},
	} {
		n, how := tt.m.Choose(tt.all)
		if how != tt.how || (n == nil) != (tt.want == "") || n != nil && n.UUID != tt.want {
			t.Errorf("%s: %v, %v", tt.name, n, how)
		}
	}
}

func TestBMCsOfReports(t *testing.T) {
	known := []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("2001:db8::7")}
	for _, tt := range []struct {
		v4, v6 any
		first  string // of the report's
		same   bool
	}{
		{"192.0.2.7", "::/0", "192.0.2.7", true},
		{"::ffff:192.0.2.7", nil, "192.0.2.7", true},
		{"192.0.2.8", "2001:db8::7", "192.0.2.8", true},
		{"0.0.0.0", "2001:db8::8", "2001:db8::8", false},
		{"127.0.0.1", nil, "127.0.0.1", false}, // virtual BMCs of one host
		{"", nil, "", false},
		{7.0, "bmc", "", false},
	} {
		got := inspection.BMCAddresses(node.Document{"bmc_address": tt.v4, "bmc_v6address": tt.v6})
		if (len(got) == 0) != (tt.first == "") || len(got) > 0 && got[0].String() != tt.first {
			t.Errorf("%v %v: addresses %v", tt.v4, tt.v6, got)
		}
		if inspection.SameBMC(got, known) != tt.same {
			t.Errorf("%v %v: the same BMC is %v", tt.v4, tt.v6, !tt.same)
		}
	}
}

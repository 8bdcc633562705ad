package driver_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/driver/fake"
	"github.com/billet-metal/billet/node"
)

func TestAddressIn(t *testing.T) {
	for setting, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "::ffff:192.0.2.7": "192.0.2.7", "2001:db8::7": "2001:db8::7", "[2001:db8::7]": "2001:db8::7",
		"https://192.0.2.7:8443/redfish": "192.0.2.7", "https://[2001:db8::7]/redfish/v1": "2001:db8::7",
		"bmc7.example": "", "https://bmc7.example/redfish": "", "": "", "192.0.2.7 ": "", "://": "",
	} {
		got := driver.AddressIn(setting)
		if len(got) > 1 || (want == "") != (len(got) == 0) || want != "" && got[0] != netip.MustParseAddr(want) {
			t.Errorf("%q: %v, want %q", setting, got, want)
		}
	}
}

// keyed is a power interface that reads a BMC's address from one key.
type keyed struct {
	driver.Power
	key string
}

func (k keyed) BMCAddresses(info node.Document) []netip.Addr {
	return driver.AddressIn(info.String(k.key))
}
func (k keyed) SetBMCAddress(info node.Document, bmc netip.Addr) {
	info[k.key] = bmc.String()
}

// A BMC is found under the key of any driver, and written under those of the node's own.
func TestBMCAddressesOfAllDrivers(t *testing.T) {
	a, b := keyed{fake.NewPower(), "a_address"}, keyed{fake.NewPower(), "b_address"}
	types := driver.Types{{Name: "a", Power: []driver.Power{a, fake.NewPower()}}, {Name: "b", Power: []driver.Power{b}}}
	info := node.Document{"a_address": "192.0.2.9", "b_address": "192.0.2.7", "c_address": "192.0.2.8"}
	want := []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("192.0.2.9")}
	if got := types.BMCAddresses(info); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	written := node.Document{}
	(&driver.Hardware{Power: b, Management: fake.NewManagement()}).SetBMCAddress(written, netip.MustParseAddr("2001:db8::7"))
	if len(written) != 1 || written["b_address"] != "2001:db8::7" {
		t.Errorf("written: %v", written)
	}
}

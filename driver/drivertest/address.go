package drivertest

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// addresses asserts that a BMC's address comes back as it was written, under keys that the driver tells of, and that a
// host name is no address.
func addresses(t *testing.T, b driver.BMCAddresser, properties map[string]string) {
	for _, text := range []string{"192.0.2.7", "2001:db8::7"} {
		info, bmc := node.Document{"other": "setting"}, netip.MustParseAddr(text)
		if got := b.BMCAddresses(info); len(got) > 0 {
			t.Errorf("without a setting the BMC has the addresses %v", got)
		}
		b.SetBMCAddress(info, bmc)
		if got := b.BMCAddresses(info); !slices.Equal(got, []netip.Addr{bmc}) {
			t.Errorf("written %s, read %v", bmc, got)
		}
		for key := range info {
			if _, told := properties[key]; !told && key != "other" {
				t.Errorf("the address is written to %s, which Properties does not tell of", key)
			}
			info[key] = "bmc7.example"
		}
		if got := b.BMCAddresses(info); len(got) > 0 {
			t.Errorf("a host name has become the addresses %v", got)
		}
	}
}

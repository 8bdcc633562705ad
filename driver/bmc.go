package driver

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/billet-metal/billet/node"
)

// BMCAddresser is the further ability of a power or management interface that reaches a BMC over the network. The report
// of a machine has the addresses of its BMC, so with it the report is matched to its node, and a discovered machine gets
// the setting that its driver needs.
type BMCAddresser interface {
	// BMCAddresses are those of the node's BMC that driver_info has. A host name is none: nothing is looked up.
	BMCAddresses(info node.Document) []netip.Addr
	// SetBMCAddress writes the address of a discovered BMC to driver_info, where BMCAddresses finds it.
	SetBMCAddress(info node.Document, bmc netip.Addr)
}

// BMCAddresses are those that driver_info has under the keys of any driver of this service. One BMC is one machine, also
// when its node's driver has been changed since.
func (ts Types) BMCAddresses(info node.Document) (all []netip.Addr) {
	for i := range ts {
		for _, impls := range ts[i].all() {
			for _, impl := range impls {
				if b, ok := impl.(BMCAddresser); ok {
					all = append(all, b.BMCAddresses(info)...)
				}
			}
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}

// SetBMCAddress writes a BMC's address to driver_info where the node's interfaces look for it.
func (h *Hardware) SetBMCAddress(info node.Document, bmc netip.Addr) {
	for _, impl := range h.Implementations() {
		if b, ok := impl.(BMCAddresser); ok {
			b.SetBMCAddress(info, bmc)
		}
	}
}

// AddressIn is the address that a setting names, which may be a URL; none when it names a host.
func AddressIn(setting string) []netip.Addr {
	host := setting
	if u, err := url.Parse(setting); err == nil && u.Hostname() != "" {
		host = u.Hostname()
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return nil
	}
	return []netip.Addr{a.Unmap()}
}

package inspection

import (
	"net/netip"
	"strings"
)

// setPhysicalNetworks is the hook physical-network: by the network an interface's address is in, the
// narrowest first.
func setPhysicalNetworks(s *Settings, r *reading) error {
	for i := range r.ports {
		for _, n := range r.nicsOf(r.ports[i]) {
			if name := s.physicalNetwork(n); name != "" && r.mayWrite(r.ports[i].PhysicalNetwork == "") {
				r.ports[i].PhysicalNetwork = name
			}
		}
	}
	return nil
}

// physicalNetwork is the one that an interface's addresses are in, IPv4 first; "" when they are in none.
func (s *Settings) physicalNetwork(n nic) string {
	for _, key := range []string{"ipv4_address", "ipv6_address"} {
		text, _ := n.raw[key].(string)
		text, _, _ = strings.Cut(text, "%")
		address, err := netip.ParseAddr(text)
		if err != nil {
			continue
		}
		if name := narrowest(s.PhysicalNetworks, address); name != "" {
			return name
		}
	}
	return ""
}

func narrowest(networks map[netip.Prefix]string, a netip.Addr) string {
	best, name := -1, ""
	for prefix, n := range networks {
		if prefix.Contains(a) && prefix.Bits() > best {
			best, name = prefix.Bits(), n
		}
	}
	return name
}

package inspection

import (
	"cmp"
	"net"
	"slices"
	"strings"

	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// A port is what a machine is known by when it boots the next time, so an interface becomes one only when its MAC
// address is its own and leads to the network.

// nic is a network interface that may become a port.
type nic struct {
	name, mac, address string
	raw                map[string]any // as reported
}

// findInterfaces is the hook validate-interfaces: which interfaces are usable, and which of them add_ports
// is for. The plugin data has them as all_interfaces and valid_interfaces, and the latter's addresses as macs.
func findInterfaces(s *Settings, r *reading) error {
	r.booted = bootedFrom(r.data.BootInterface, r.inventory)
	r.nics = r.withoutBMCs(usable(r.inventory.Interfaces, r.data.Inventory))
	if len(r.nics) == 0 {
		return node.Errorf(node.Invalid, "The inspection found no network interface with a MAC address among %d.", len(r.inventory.Interfaces))
	}
	if !slices.ContainsFunc(r.nics, func(n nic) bool { return n.mac == r.booted }) {
		r.booted = "" // it booted from something that it does not have
	}
	add := cmp.Or(s.AddPorts, AddPXE)
	for _, n := range r.nics {
		if add.wants(n, r.booted) {
			r.chosen = append(r.chosen, n)
		}
	}
	if len(r.chosen) == 0 && r.booted == "" && add == AddPXE {
		r.chosen = r.nics // it booted from one of them, and nothing says from which
	}
	if len(r.chosen) == 0 {
		return node.Errorf(node.Invalid, "None of the %d network interfaces found is one that ports are added for (inspection_add_ports is %q).",
			len(r.nics), add)
	}
	macs := []any{}
	for _, n := range r.chosen {
		macs = append(macs, n.mac)
	}
	r.plugin["all_interfaces"], r.plugin["valid_interfaces"], r.plugin["macs"] = r.described(r.nics), r.described(r.chosen), macs
	return nil
}

// described are interfaces as they were reported, by name, and whether the machine booted from each.
func (r *reading) described(nics []nic) map[string]any {
	out := map[string]any{}
	for _, n := range nics {
		d := map[string]any(node.Document(n.raw).Clone())
		d["mac_address"], d["pxe_enabled"] = n.mac, n.mac == r.booted
		if v6, ok := d["ipv6_address"].(string); ok {
			d["ipv6_address"], _, _ = strings.Cut(v6, "%")
		}
		out[n.name] = d
	}
	return out
}

// usable keeps interfaces with a MAC address of their own: no loopback, no multicast, no zeros.
func usable(all []wire.NIC, inventory node.Document) []nic {
	raw, _ := inventory["interfaces"].([]any)
	var nics []nic
	for i, n := range all {
		mac, ok := ownMAC(n)
		if !ok {
			continue
		}
		one := nic{name: n.Name, mac: mac, address: cmp.Or(n.IPv4Address, n.IPv6Address)}
		if i < len(raw) {
			one.raw, _ = raw[i].(map[string]any)
		}
		nics = append(nics, one)
	}
	return nics
}

func ownMAC(n wire.NIC) (string, bool) {
	mac, err := net.ParseMAC(n.MACAddress)
	if err != nil || len(mac) != 6 || mac[0]&1 != 0 || n.Name == "lo" {
		return "", false
	}
	return mac.String(), slices.ContainsFunc(mac, func(b byte) bool { return b != 0 })
}

// bootedFrom is the MAC address the machine booted from, "" when nobody knows. PXELINUX puts the
// hardware type before it ("01-52-54-…").
func bootedFrom(reported string, i wire.Inventory) string {
	for _, s := range []string{reported, i.Boot.PXEInterface} {
		s = strings.ReplaceAll(s, "-", ":")
		if len(s) == len("01:52:54:00:00:00:01") {
			s = strings.TrimPrefix(s, "01:")
		}
		if mac, err := net.ParseMAC(s); err == nil && len(mac) == 6 {
			return mac.String()
		}
	}
	return ""
}

// wants reports whether the policy is for an interface. When ports are not added at all, it is for every one.
func (a AddPorts) wants(n nic, booted string) bool {
	switch a {
	case AddAll, AddNone:
		return true
	case AddActive:
		return n.address != ""
	}
	if booted == "" {
		return n.address != ""
	}
	return n.mac == booted
}

package server

import (
	"net/netip"

	"github.com/billet-metal/billet/node"
)

// What an operating system is told of its networks: the format of OpenStack's network_data.json. Without it cloud-init asks DHCP
// on the first card alone, so what has several networks, or no DHCP, needs it.

// static is network data for an address that no DHCP gives, on the card that the machine boots from.
func static(a Address, wires Wires) (node.Document, error) {
	var mac string
	for _, p := range wires.Ports {
		if mac == "" || p.PXEEnabled {
			mac = p.Address
		}
		if p.PXEEnabled {
			break
		}
	}
	if mac == "" {
		return nil, node.Errorf(node.Invalid, "The node has no port, so nobody knows which card is to have the address %s.", a.Prefix.Addr())
	}
	net := map[string]any{"id": "network0", "link": "link0", "type": "ipv4", "ip_address": a.Prefix.Addr().String(),
		"netmask": mask(a.Prefix), "routes": []any{}}
	everywhere := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if a.Prefix.Addr().Is6() {
		net["type"] = "ipv6"
		everywhere = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	if a.Gateway.IsValid() {
		net["routes"] = []any{map[string]any{"network": everywhere.Addr().String(), "netmask": mask(everywhere), "gateway": a.Gateway.String()}}
	}
	services := []any{}
	for _, dns := range a.DNS {
		services = append(services, map[string]any{"type": "dns", "address": dns.String()})
	}
	return node.Document{"links": []any{card("link0", mac, 0)}, "networks": []any{net}, "services": services}, nil
}

// mask writes the length of a prefix as the format has it.
func mask(p netip.Prefix) string {
	bytes := make([]byte, p.Addr().BitLen()/8)
	for bit := range p.Bits() {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	addr, _ := netip.AddrFromSlice(bytes) // 4 or 16
	return addr.String()
}

func card(id, mac string, mtu int) map[string]any {
	link := map[string]any{"id": id, "type": "phy", "ethernet_mac_address": mac}
	if mtu > 0 {
		link["mtu"] = mtu
	}
	return link
}

// dynamic is network data for the networks that DHCP serves: each card or bond that has one asks there. nil: what a node's network
// interface attached can not be seen at its ports.
func dynamic(ports []Port, wires Wires) node.Document {
	links, networks := []any{}, []any{}
	for _, p := range ports {
		link := linkOf(p, wires, &links)
		if link == "" {
			return nil
		}
		networks = append(networks, map[string]any{"id": "network-" + p.ID, "link": link, "type": "ipv4_dhcp", "network_id": p.ID})
	}
	if len(networks) == 0 {
		return nil
	}
	return node.Document{"links": links, "networks": networks, "services": []any{}}
}

// linkOf adds the card or the bond that a virtual interface is attached to, and returns its ID; "" when there is none.
func linkOf(vif Port, wires Wires, links *[]any) string {
	for _, p := range wires.Ports {
		if p.InternalInfo.String(node.VIFKey) == vif.ID {
			*links = append(*links, card(p.UUID, p.Address, vif.MTU))
			return p.UUID
		}
	}
	for _, g := range wires.Portgroups {
		if g.InternalInfo.String(node.VIFKey) != vif.ID {
			continue
		}
		var members []any
		for _, p := range wires.Ports {
			if p.PortgroupUUID == g.UUID {
				*links = append(*links, card(p.UUID, p.Address, vif.MTU))
				members = append(members, p.UUID)
			}
		}
		bond := map[string]any{"id": g.UUID, "type": "bond", "bond_mode": g.Mode, "bond_links": members}
		if g.Address != "" {
			bond["ethernet_mac_address"] = g.Address
		}
		*links = append(*links, bond)
		return g.UUID
	}
	return ""
}

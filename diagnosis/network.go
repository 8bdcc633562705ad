package diagnosis

import (
	"fmt"
	"strings"

	"github.com/billet-metal/billet/node"
)

// Where another than Billet serves DHCP, Billet hears nothing of a machine before it fetches its first file: that no request
// was seen says nothing then, and who serves it is asked for evidence.

// unseen is the cause when a machine has fetched nothing and another serves DHCP.
func (e Evidence) unseen() string {
	said, fault := e.networkSays()
	text := fmt.Sprintf("nothing was fetched over TFTP or HTTP from any of the node's ports (%s). What it asked over DHCP is not seen here, "+
		"as %s serves that", strings.Join(e.MACs, ", "), e.OtherDHCP)
	if said != "" {
		text += ": " + said
	}
	if fault {
		return text
	}
	return text + fmt.Sprintf(". Is the machine on and set to boot from the network, is its cable in the switch port that is set up for it, "+
		"and does %s send it to Billet's boot server?", e.OtherDHCP)
}

// networkFault is what the network service says that keeps the machine off its network; "" when it says no such thing.
func (e Evidence) networkFault() string {
	if said, fault := e.networkSays(); fault {
		return said
	}
	return ""
}

// networkNow is what the network service says of it now, in the middle of a sentence.
func (e Evidence) networkNow() string {
	if said, _ := e.networkSays(); said != "" {
		return "; " + said
	}
	return ""
}

// networkSays is what the network service says of the machine's ports, and whether that alone keeps the machine off its network.
// One port that is well is enough.
func (e Evidence) networkSays() (said string, fault bool) {
	r := e.Network
	switch {
	case r == nil:
		return "", false
	case r.Silent != "":
		return fmt.Sprintf("%s did not say what it knows of them (%s)", r.Service, strings.TrimSuffix(r.Silent, ".")), false
	case len(r.Ports) == 0:
		return fmt.Sprintf("%[1]s has no port with one of these MAC addresses, so it answers none of them. Is the node's network interface "+
			"flat or neutron, is %[1]s's network for this flow named (docs/openstack.md), and is a VIF attached?", r.Service), true
	}
	var faults []string
	for _, p := range r.Ports {
		if f := portFault(p); f != "" {
			faults = append(faults, f)
			continue
		}
		said = fmt.Sprintf("%s says that port %s of %s is ACTIVE", r.Service, p.ID, p.MAC)
		if len(p.Addresses) > 0 {
			said += " with " + strings.Join(p.Addresses, ", ")
		}
		return said + served(p.DHCP), false
	}
	return fmt.Sprintf("%s says that %s", r.Service, strings.Join(faults, "; ")), true
}

// served says who serves DHCP to a port that is well.
func served(d node.DHCP) string {
	var alive []string
	for _, a := range d.Agents {
		if a.Alive {
			alive = append(alive, a.Host)
		}
	}
	switch {
	case d.Silent != "":
		return ", and did not say who serves DHCP there (" + strings.TrimSuffix(d.Silent, ".") + ")"
	case len(alive) == 0:
		return ", and names no DHCP agent there, which is right where OVN serves DHCP"
	}
	return ", and that its DHCP agent on " + strings.Join(alive, ", ") + " lives"
}

// portFault is what keeps a port from serving its machine.
func portFault(p node.NetworkPort) string {
	which := fmt.Sprintf("port %s of %s", p.ID, p.MAC)
	dead := len(p.DHCP.Agents) > 0
	for _, a := range p.DHCP.Agents {
		dead = dead && !a.Alive
	}
	switch {
	case p.Failed:
		return which + " could not be bound (binding_failed): check local_link_connection and physical_network of the node's port, and the " +
			"log of neutron-server"
	case !p.Bound:
		return which + " is not bound to this node, so its switch port is not on that network"
	case !p.Up:
		return which + " is switched off (admin_state_up is false): whoever owns it must switch it on"
	case p.Status != node.PortActive:
		return fmt.Sprintf("%s is %s instead of ACTIVE: its agents or the switch have not done their part (openstack network agent list)",
			which, p.Status)
	case p.DHCP.Off:
		return fmt.Sprintf("no subnet of network %s, which %s is on, has DHCP (enable_dhcp)", p.Network, which)
	case dead:
		return fmt.Sprintf("the DHCP agent of network %s, which %s is on, does not live: it was to run on %s", p.Network, which,
			p.DHCP.Agents[0].Host)
	}
	return ""
}

package openstack

import (
	"context"
	"net/http"
	"net/url"

	"github.com/billet-metal/billet/node"
)

// Report is what Neutron says of a node's ports: those with its MAC addresses, and those bound to it. What could not be asked in
// time is said in the report.
func (n *Networks) Report(ctx context.Context, nodeUUID string, macs []string) node.NetworkReport {
	r := node.NetworkReport{Service: names[network], At: node.Now()}
	ports, err := n.portsOf(ctx, nodeUUID, macs)
	if err != nil {
		r.Silent = err.Error()
		return r
	}
	seen, served := map[string]bool{}, map[string]node.DHCP{}
	for _, p := range ports {
		if seen[p.ID] {
			continue
		}
		seen[p.ID] = true
		if _, known := served[p.NetworkID]; !known {
			served[p.NetworkID] = n.dhcpOf(ctx, p.NetworkID)
		}
		port := node.NetworkPort{ID: p.ID, MAC: p.MACAddress, Network: p.NetworkID, Status: p.Status, Up: p.Up, Bound: p.Host == nodeUUID,
			Failed: p.VIFType == BindingFailed, DHCP: served[p.NetworkID]}
		for _, ip := range p.FixedIPs {
			port.Addresses = append(port.Addresses, ip.IPAddress)
		}
		r.Ports = append(r.Ports, port)
	}
	return r
}

// portsOf lists the ports bound to a node, and those with any of the MAC addresses; some may be in it twice.
func (n *Networks) portsOf(ctx context.Context, nodeUUID string, macs []string) ([]Port, error) {
	bound, err := n.Ports(ctx, url.Values{"binding:host_id": {nodeUUID}})
	if err != nil || len(macs) == 0 {
		return bound, err
	}
	of, err := n.Ports(ctx, url.Values{"mac_address": macs})
	return append(bound, of...), err
}

// dhcpOf asks who serves DHCP to a network (Networking API v2.0, DHCP agent scheduler). A Neutron that needs no agents for it,
// as with OVN, names none.
func (n *Networks) dhcpOf(ctx context.Context, id string) node.DHCP {
	var subnets struct {
		Subnets []struct {
			DHCP bool `json:"enable_dhcp"`
		}
	}
	doing := "who serves DHCP to network " + id
	if err := n.ask(ctx, http.MethodGet, "subnets?"+url.Values{"network_id": {id}}.Encode(), nil, &subnets, doing); err != nil {
		return node.DHCP{Silent: err.Error()}
	}
	d := node.DHCP{Off: true}
	for _, s := range subnets.Subnets {
		d.Off = d.Off && !s.DHCP
	}
	var agents struct {
		Agents []struct {
			Host  string
			Alive bool
			Up    bool `json:"admin_state_up"`
		}
	}
	if err := n.ask(ctx, http.MethodGet, "networks/"+url.PathEscape(id)+"/dhcp-agents", nil, &agents, doing); err != nil {
		d.Silent = err.Error()
	}
	for _, a := range agents.Agents {
		d.Agents = append(d.Agents, node.DHCPAgent{Host: a.Host, Alive: a.Alive && a.Up})
	}
	return d
}

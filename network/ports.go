package network

import (
	"context"
	"fmt"
	"net/url"
	"slices"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/openstack"
)

// noteKey is where a port keeps, in its internal_info, the port of Neutron that a ramdisk has on it: Ironic's names.
func noteKey(p driver.NetworkPurpose) string { return string(p) + "_vif_port_id" }

// noted returns internal_info d with a value, or without it for "".
func noted(d node.Document, key, value string) node.Document {
	d = d.Clone()
	if delete(d, key); value != "" {
		d[key] = value
	}
	return d
}

// makePorts sees to it that each of the machine's ports has one of Neutron on a purpose's network, and returns those. Where no
// network is named there are none.
func (c *Cloud) makePorts(ctx context.Context, t *driver.Task, purpose driver.NetworkPurpose, on []*node.Port) ([]linked, error) {
	n, err := c.network(ctx, t, purpose)
	if err != nil || n == nil {
		return nil, err
	}
	var all []linked
	for _, p := range on {
		made, err := c.makePort(ctx, t, p, *n, purpose)
		if err != nil {
			return nil, err
		}
		all = append(all, linked{made, true})
	}
	return all, nil
}

// makePort returns the port that is there, or makes it and notes it at once. One that was made and not noted, because the process
// died between, is removed before, as whatever else holds the machine's MAC address for a ramdisk.
func (c *Cloud) makePort(
	ctx context.Context, t *driver.Task, p *node.Port, n openstack.Network, purpose driver.NetworkPurpose,
) (*openstack.Port, error) {
	key := noteKey(purpose)
	w := wireOf(t, place{uuid: p.UUID})
	if id := p.InternalInfo.String(key); id != "" {
		have, err := c.Neutron.Port(ctx, id)
		if err == nil && have.NetworkID == n.ID && isBound(*have, t, w) && failed(linked{have, true}) == nil {
			return have, nil
		}
		if err == nil {
			err = c.Neutron.DeletePort(ctx, id)
		}
		if err != nil && node.KindOf(err) != node.NotFound {
			return nil, err
		}
	}
	if err := c.removeLeftovers(ctx, []string{w.mac}, nil); err != nil {
		return nil, err
	}
	change := c.binding(t, w)
	yes, owner, name, device := true, ramdiskVIF, fmt.Sprintf("%s of node %s", purpose, t.Node.UUID), t.Node.UUID
	change.NetworkID, change.Up, change.Owner, change.Name, change.DeviceID = &n.ID, &yes, &owner, &name, &device
	made, err := c.Neutron.CreatePort(ctx, change)
	if node.KindOf(err) == node.Conflict {
		if err = c.free(ctx, t, w.mac, n.ID, "", err); err == nil {
			made, err = c.Neutron.CreatePort(ctx, change)
		}
	}
	if err != nil {
		return nil, err
	}
	p.InternalInfo = noted(p.InternalInfo, key, made.ID)
	return made, t.KeepWiring(ctx)
}

// removePorts deletes the ports of ramdisks but those of one purpose: the noted, and those that nobody noted.
func (c *Cloud) removePorts(ctx context.Context, t *driver.Task, but driver.NetworkPurpose) error {
	var kept, macs []string
	removed := false
	for i := range t.Ports {
		p := &t.Ports[i]
		macs = append(macs, p.Address)
		for _, purpose := range purposes {
			id := p.InternalInfo.String(noteKey(purpose))
			if id != "" && purpose == but {
				kept = append(kept, id)
			}
			if id == "" || purpose == but {
				continue
			}
			if err := c.Neutron.DeletePort(ctx, id); err != nil {
				return err
			}
			p.InternalInfo, removed = noted(p.InternalInfo, noteKey(purpose), ""), true
		}
	}
	if removed {
		if err := t.KeepWiring(ctx); err != nil {
			return err
		}
	}
	if len(kept) > 0 && !removed { // they were looked for when these were made
		return nil
	}
	return c.removeLeftovers(ctx, macs, kept)
}

// removeLeftovers deletes what ramdisks had at these MAC addresses, but some ports: those of a process that died before it noted
// them, or of another service before this one.
func (c *Cloud) removeLeftovers(ctx context.Context, macs, but []string) error {
	if len(macs) == 0 {
		return nil
	}
	found, err := c.Neutron.Ports(ctx, url.Values{"device_owner": {ramdiskVIF}, "mac_address": macs})
	if err != nil {
		return err
	}
	for _, p := range found {
		if slices.Contains(but, p.ID) || p.Owner != ramdiskVIF || !slices.Contains(macs, p.MACAddress) {
			continue
		}
		if err := c.Neutron.DeletePort(ctx, p.ID); err != nil {
			return err
		}
	}
	return nil
}

// left lists the nodes of which Neutron has ports of ramdisks.
func (c *Cloud) left(ctx context.Context) (nodes []string, err error) {
	if c == nil {
		return nil, nil
	}
	found, err := c.Neutron.Ports(ctx, url.Values{"device_owner": {ramdiskVIF}})
	for _, p := range found {
		if p.Owner == ramdiskVIF && p.Host != "" && !slices.Contains(nodes, p.Host) {
			nodes = append(nodes, p.Host)
		}
	}
	return nodes, err
}

// free takes a MAC address from a port of a network that has it and is of no more use: a virtual interface of this node that
// is attached no more. Of any other port the error says who has it.
func (c *Cloud) free(ctx context.Context, t *driver.Task, mac, networkID, vif string, cause error) error {
	found, err := c.Neutron.Ports(ctx, url.Values{"network_id": {networkID}, "mac_address": {mac}})
	if err != nil {
		return err
	}
	for _, p := range found {
		_, attached := taken(t)[p.ID]
		switch {
		case p.ID == vif || p.MACAddress != mac:
		case p.Host == t.Node.UUID && !attached:
			if err := c.unbind(ctx, t, p.ID, mac); err != nil {
				return err
			}
			return nil
		default:
			return node.Errorf(node.Conflict, "Neutron's port %s (device_owner %q, device_id %q) has the MAC address %s on network %s already, "+
				"which node %s needs: delete that port, or give it another MAC address.", p.ID, p.Owner, p.DeviceID, mac, networkID, t.Node.UUID)
		}
	}
	return cause
}

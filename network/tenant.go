package network

import (
	"context"
	"errors"
	"fmt"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/openstack"
)

// when says whether a virtual interface is connected as soon as it is attached.
type when bool

const (
	bindNow   when = true
	bindLater when = false
)

// attach notes a virtual interface at the place chosen for it, and then binds its port. So a process that dies between leaves
// one that is attached, and bound when the machine needs it.
func (c *Cloud) attach(ctx context.Context, t *driver.Task, vif node.VIF, now when) error {
	if err := known(t, wanted(vif)); err != nil {
		return err
	}
	port, err := c.Neutron.Port(ctx, vif.ID)
	if node.KindOf(err) == node.NotFound {
		return node.Errorf(node.Invalid, "Unable to attach VIF %s: Neutron has no such port that Billet may see.", vif.ID)
	}
	if err != nil {
		return err
	}
	if err := ours(t, port); err != nil {
		return err
	}
	physical, err := c.physicalNetwork(ctx, port.NetworkID)
	if err != nil {
		return err
	}
	if err := attach(t, vif, physical); err != nil {
		return err
	}
	at := taken(t)[vif.ID]
	if err := t.KeepWiring(ctx); err != nil || now == bindLater {
		return err
	}
	bound, err := c.bind(ctx, t, vif.ID, wireOf(t, at))
	if err == nil {
		err = refused(failed(linked{bound, true}))
	}
	if err == nil {
		return nil
	}
	if undo := c.unbind(ctx, t, vif.ID, wireOf(t, at).mac); undo != nil {
		t.Logger().Warn("a port that could not be bound is not unbound", "vif", vif.ID, "error", undo)
	}
	detach(t, vif.ID)
	return errors.Join(err, t.KeepWiring(ctx))
}

// refused makes of a port that Neutron cannot bind an answer to who wanted it.
func refused(err error) error {
	if err == nil {
		return nil
	}
	return node.Errorf(node.Conflict, "%v.", err)
}

// ours refuses a port that is bound to another machine: two would have one address.
func ours(t *driver.Task, p *openstack.Port) error {
	if p.Host == "" || p.Host == t.Node.UUID {
		return nil
	}
	return node.Errorf(node.Conflict, "Neutron's port %s is bound to host %s: it can not be attached to node %s until it is unbound.",
		p.ID, p.Host, t.Node.UUID)
}

// detach unbinds a virtual interface's port and forgets it.
func (c *Cloud) detach(ctx context.Context, t *driver.Task, id string) error {
	at, attached := taken(t)[id]
	if !attached {
		return notAttached(t, id)
	}
	if err := c.unbind(ctx, t, id, wireOf(t, at).mac); err != nil {
		return later(err)
	}
	detach(t, id)
	return nil
}

// bindVIFs connects the tenant's ports to the machine, and returns them.
func (c *Cloud) bindVIFs(ctx context.Context, t *driver.Task) ([]linked, error) {
	var all []linked
	for id, at := range taken(t) {
		w := wireOf(t, at)
		p, err := c.bind(ctx, t, id, w)
		if err != nil {
			return nil, err
		}
		all = append(all, linked{p, w.boots})
	}
	return all, nil
}

func (c *Cloud) unbindVIFs(ctx context.Context, t *driver.Task) error {
	for id, at := range taken(t) {
		if err := c.unbind(ctx, t, id, wireOf(t, at).mac); err != nil {
			return err
		}
	}
	return nil
}

// bind gives a tenant's port the machine's MAC address, its place and its boot options. What is as it should be is left alone.
func (c *Cloud) bind(ctx context.Context, t *driver.Task, id string, w wire) (*openstack.Port, error) {
	change := c.binding(t, w)
	p, err := c.Neutron.Port(ctx, id)
	if node.KindOf(err) == node.NotFound {
		return nil, fmt.Errorf("the virtual interface %s is attached to %s and Neutron has no such port any more: detach it", id, w.place)
	}
	if err != nil {
		return nil, err
	}
	if err := ours(t, p); err != nil {
		return nil, err
	}
	if isBound(*p, t, w) && same(change, *p) {
		return p, nil
	}
	if p.Host != "" && w.mac != "" && p.MACAddress != w.mac { // the node's port got another address: only an unbound port may
		nowhere := ""
		if _, err := c.Neutron.ChangePort(ctx, id, openstack.Change{Host: &nowhere}); err != nil {
			return nil, err
		}
	}
	bound, err := c.Neutron.ChangePort(ctx, id, change)
	if node.KindOf(err) == node.Conflict {
		if err = c.free(ctx, t, w.mac, p.NetworkID, id, err); err == nil {
			bound, err = c.Neutron.ChangePort(ctx, id, change)
		}
	}
	if err == nil {
		c.boundNow(id)
	}
	return bound, err
}

// unbind takes a tenant's port from the machine, in two calls: only an unbound port may get another MAC address, and while it has
// the machine's no other port of its network can. A port that is gone, or is somebody else's by now, is left alone.
func (c *Cloud) unbind(ctx context.Context, t *driver.Task, id, mac string) error {
	p, err := c.Neutron.Port(ctx, id)
	if err == nil && (p.Host == "" || p.Host == t.Node.UUID) {
		err = c.release(ctx, t, p, mac)
	}
	if node.KindOf(err) == node.NotFound {
		return nil
	}
	return err
}

func (c *Cloud) release(ctx context.Context, t *driver.Task, p *openstack.Port, mac string) error {
	if p.Host != "" {
		none, nowhere := map[string]any{}, ""
		change := openstack.Change{Host: &nowhere, Profile: &none}
		if options := withoutValues(c.bootOptions(t, mac)); len(options) > 0 {
			change.DHCP = &options
		}
		if _, err := c.Neutron.ChangePort(ctx, p.ID, change); err != nil {
			return err
		}
	}
	if mac == "" || p.MACAddress != mac {
		return nil
	}
	other := openstack.AnyMAC
	_, err := c.Neutron.ChangePort(ctx, p.ID, openstack.Change{MACAddress: &other})
	return err
}

// withoutValues takes options away, as Neutron is told. Those that the tenant gave stay.
func withoutValues(options []openstack.DHCPOption) []openstack.DHCPOption {
	gone := make([]openstack.DHCPOption, 0, len(options))
	for _, o := range options {
		gone = append(gone, openstack.DHCPOption{Name: o.Name, Version: o.Version})
	}
	return gone
}

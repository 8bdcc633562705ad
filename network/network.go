// Package network owns the network interfaces of nodes: noop, which leaves switches alone; flat, where all machines share one
// network, that Neutron or the boot services serve; and neutron, where Neutron moves each machine between networks. It refuses to
// wait for Neutron itself: what takes longer than a moment is a driver.NotYet.
package network

import (
	"context"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// Noop knows no networks: ports are wherever the operator plugged them in.
type Noop struct{}

// Name is described on driver.Implementation.
func (Noop) Name() string { return "noop" }

// Properties is described on driver.Implementation.
func (Noop) Properties() map[string]string { return map[string]string{} }

// Validate is described on driver.Implementation; nothing can be wrong.
func (Noop) Validate(context.Context, *driver.Task) error { return nil }

// Connect is described on driver.Network.
func (Noop) Connect(context.Context, *driver.Task, driver.NetworkPurpose) error { return nil }

// Disconnect is described on driver.Network.
func (Noop) Disconnect(context.Context, *driver.Task, driver.NetworkPurpose) error { return nil }

// AttachVIF is described on driver.Network: it takes every virtual interface and does nothing.
func (Noop) AttachVIF(_ context.Context, t *driver.Task, vif node.VIF) error {
	return known(t, wanted(vif))
}

// DetachVIF is described on driver.Network. A node may still have what it got under another network interface.
func (Noop) DetachVIF(_ context.Context, t *driver.Task, id string) error {
	detach(t, id)
	return nil
}

// Flat is one network for provisioning and tenants alike. Standing alone there is no network
// service to tell, so connecting is as little work as for Noop. It notes which virtual interface each port has.
//
// In a cloud a virtual interface is a port of Neutron. It is bound to the machine as soon as it is attached, and the
// machine boots by it, whatever for. Ports without one get a port for as long as a ramdisk runs, where such a network is named.
type Flat struct{ Cloud *Cloud } // nil: standing alone

// Name is described on driver.Implementation.
func (Flat) Name() string { return "flat" }

// Properties is described on driver.Implementation.
func (f Flat) Properties() map[string]string { return f.Cloud.properties() }

// Validate is described on driver.Implementation.
func (f Flat) Validate(ctx context.Context, t *driver.Task) error {
	if f.Cloud == nil {
		return nil
	}
	return f.Cloud.knowsNetworks(ctx, t)
}

// Connect is described on driver.Network.
func (f Flat) Connect(ctx context.Context, t *driver.Task, purpose driver.NetworkPurpose) error {
	if f.Cloud == nil {
		return nil
	}
	var made []linked
	err := f.Cloud.removePorts(ctx, t, purpose)
	if err == nil && purpose != driver.TenantNetwork {
		made, err = f.Cloud.makePorts(ctx, t, purpose, withoutVIF(t))
	}
	if err != nil {
		return later(err)
	}
	bound, err := f.Cloud.bindVIFs(ctx, t)
	if err != nil {
		return later(err)
	}
	return f.Cloud.ready(purpose, append(made, bound...))
}

// Disconnect is described on driver.Network.
func (f Flat) Disconnect(ctx context.Context, t *driver.Task, purpose driver.NetworkPurpose) error {
	if f.Cloud == nil {
		return nil
	}
	return f.Cloud.leave(ctx, t, purpose)
}

// Moves implements driver.Mover.
func (f Flat) Moves() bool { return f.Cloud != nil }

// Left implements driver.Sweeper.
func (f Flat) Left(ctx context.Context) ([]string, error) { return f.Cloud.left(ctx) }

// AttachVIF is described on driver.Network.
func (f Flat) AttachVIF(ctx context.Context, t *driver.Task, vif node.VIF) error {
	if f.Cloud != nil {
		return f.Cloud.attach(ctx, t, vif, bindNow)
	}
	if err := known(t, wanted(vif)); err != nil {
		return err
	}
	return attach(t, vif, "")
}

// DetachVIF is described on driver.Network.
func (f Flat) DetachVIF(ctx context.Context, t *driver.Task, id string) error {
	if f.Cloud != nil {
		return f.Cloud.detach(ctx, t, id)
	}
	if !detach(t, id) {
		return notAttached(t, id)
	}
	return nil
}

func notAttached(t *driver.Task, id string) error {
	return node.Errorf(node.Invalid, "VIF %s is not attached to node %s", id, t.Node.UUID)
}

var (
	_ driver.Network = Noop{}
	_ driver.Network = Flat{}
	_ driver.Network = Neutron{}
)

// Package network owns the network interfaces of nodes. It holds the two that leave switches
// alone: noop, and flat, where all machines share one network that the boot services serve.
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
type Flat struct{ Noop }

// Name is described on driver.Implementation.
func (Flat) Name() string { return "flat" }

// AttachVIF is described on driver.Network.
func (Flat) AttachVIF(_ context.Context, t *driver.Task, vif node.VIF) error {
	if err := known(t, wanted(vif)); err != nil {
		return err
	}
	return attach(t, vif)
}

// DetachVIF is described on driver.Network.
func (Flat) DetachVIF(_ context.Context, t *driver.Task, id string) error {
	if !detach(t, id) {
		return node.Errorf(node.Invalid, "VIF %s is not attached to node %s", id, t.Node.UUID)
	}
	return nil
}

var (
	_ driver.Network = Noop{}
	_ driver.Network = Flat{}
)

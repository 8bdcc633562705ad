// Package network owns the network interfaces of nodes. It holds the two that leave switches
// alone: noop, and flat, where all machines share one network that the boot services serve.
package network

import (
	"context"

	"github.com/billet-metal/billet/driver"
)

// Noop does nothing: ports are wherever the operator plugged them in.
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

// Flat is one network for provisioning and tenants alike. Standing alone there is no network
// service to tell, so it has as little to do as Noop; it exists as its own name because nodes
// ask for it by that name.
type Flat struct{ Noop }

// Name is described on driver.Implementation.
func (Flat) Name() string { return "flat" }

var (
	_ driver.Network = Noop{}
	_ driver.Network = Flat{}
)

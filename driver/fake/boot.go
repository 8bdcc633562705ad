package fake

import (
	"context"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/network"
	"github.com/billet-metal/billet/node"
)

// Boot decides nothing: there is no machine to boot.
type Boot struct{ part }

// NewBoot returns the fake boot interface.
func NewBoot() Boot { return Boot{part{node.Boot}} }

// PrepareRamdisk only takes its time.
func (b Boot) PrepareRamdisk(ctx context.Context, t *driver.Task, _ map[string]string) error {
	return b.act(ctx, t)
}

// CleanUpRamdisk has nothing to clean up.
func (b Boot) CleanUpRamdisk(context.Context, *driver.Task) error { return nil }

// PrepareInstance only takes its time.
func (b Boot) PrepareInstance(ctx context.Context, t *driver.Task) error { return b.act(ctx, t) }

// CleanUpInstance has nothing to clean up.
func (b Boot) CleanUpInstance(context.Context, *driver.Task) error { return nil }

// Network connects nothing to nothing. It keeps virtual interfaces as the network interface flat does.
type Network struct {
	network.Flat
	part
}

// NewNetwork returns the fake network interface.
func NewNetwork() Network { return Network{part: part{node.Network}} }

// Name is described on driver.Implementation.
func (Network) Name() string { return name }

// Properties are those of every fake interface.
func (n Network) Properties() map[string]string { return n.part.Properties() }

// Validate does as every fake interface does.
func (n Network) Validate(ctx context.Context, t *driver.Task) error { return n.part.Validate(ctx, t) }

// Connect only takes its time.
func (n Network) Connect(ctx context.Context, t *driver.Task, _ driver.NetworkPurpose) error {
	return n.act(ctx, t)
}

// AttachVIF takes its time, then does as flat does.
func (n Network) AttachVIF(ctx context.Context, t *driver.Task, vif node.VIF) error {
	if err := n.act(ctx, t); err != nil {
		return err
	}
	return n.Flat.AttachVIF(ctx, t, vif)
}

// DetachVIF is likewise.
func (n Network) DetachVIF(ctx context.Context, t *driver.Task, id string) error {
	if err := n.act(ctx, t); err != nil {
		return err
	}
	return n.Flat.DetachVIF(ctx, t, id)
}

package fake

import (
	"context"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// Power is a switch without a machine: the power state is what the node's row says.
type Power struct{ part }

// NewPower returns the fake power interface.
func NewPower() Power { return Power{part{node.Power}} }

// PowerState returns the node's own power state; a machine never switched is off.
func (p Power) PowerState(ctx context.Context, t *driver.Task) (node.PowerState, error) {
	if err := p.act(ctx, t); err != nil {
		return node.PowerUnknown, err
	}
	if t.Node.Power == node.PowerOn {
		return node.PowerOn, nil
	}
	return node.PowerOff, nil
}

// SetPowerState changes the node's row.
func (p Power) SetPowerState(ctx context.Context, t *driver.Task, target node.PowerState) error {
	var after node.PowerState
	switch target {
	case node.PowerOn, node.Rebooting, node.SoftRebooting:
		after = node.PowerOn
	case node.PowerOff, node.SoftPowerOff:
		after = node.PowerOff
	default:
		return node.Errorf(node.Invalid, "the fake power interface cannot go to %q; it knows power on, power off, rebooting, soft "+
			"power off and soft rebooting.", target)
	}
	if err := p.act(ctx, t); err != nil {
		return err
	}
	t.Node.Power = after
	return nil
}

package conductor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// power asks and tells BMCs what people want of them, and asks every one of them for its power state now and then.
type power struct {
	*core
	syncing sync.Mutex
	syncAt  map[int]int // by number of lanes: where power sync goes on when a round was cut short
}

// SetPower starts a power change and returns once it is saved that it was asked for. A timeout
// of 0 is the service's own.
func (c *power) SetPower(ctx context.Context, ident string, target node.PowerState, timeout time.Duration) error {
	if timeout == 0 {
		timeout = c.cfg.PowerTimeout
	}
	return c.handOver(ctx, func() (*node.Node, error) { return c.askedPower(ctx, ident, target) }, func(ctx context.Context, n *node.Node) {
		ctx, stop := c.keepLease(ctx, n)
		defer stop()
		if err := c.switchPower(ctx, n, timeout); err != nil && ctx.Err() == nil {
			c.log.Error("power change not saved", "node", n.UUID, "error", err)
		}
	})
}

// askedPower returns a node under its lease once it is saved which power state it was asked for.
func (c *power) askedPower(ctx context.Context, ident string, target node.PowerState) (*node.Node, error) {
	n, err := c.reserve(ctx, ident)
	if err != nil {
		return nil, err
	}
	before := n.Clone()
	if err := c.mayPower(ctx, n, target); err != nil {
		return nil, c.giveUp(ctx, before, err)
	}
	n.TargetPower, n.LastError = target, ""
	if err := c.nodes.Save(ctx, n); err != nil {
		return nil, c.giveUp(ctx, before, err)
	}
	return n, nil
}

// mayPower applies the rules of power changes.
func (c *power) mayPower(ctx context.Context, n *node.Node, target node.PowerState) error {
	if !slices.Contains(powerTargets, target) {
		return node.Errorf(node.Invalid, "Power state %q is unknown; allowed are %s.", target, joined(powerTargets))
	}
	if h, err := c.cfg.Types.Resolve(n); err == nil && !driver.CanSet(h.Power, target) {
		return node.Errorf(node.Invalid, "The power interface %s of node %s does not support the power state %q.", h.Power.Name(), n.UUID, target)
	}
	if n.State == node.Cleaning || n.State == node.CleanWait {
		return node.Errorf(node.Invalid, "The power state of node %s can not be changed while it is in state %q.", n.UUID, n.State)
	}
	if n.DisablePowerOff && endState(target) == node.PowerOff {
		return node.Errorf(node.Conflict, "Node %s has disable_power_off set: it can be powered on and rebooted, not switched off.", n.UUID)
	}
	task, err := c.task(ctx, n)
	if err != nil {
		return err
	}
	return valid(ctx, task, task.Hardware.Power)
}

var powerTargets = []node.PowerState{node.PowerOn, node.PowerOff, node.Rebooting, node.SoftRebooting, node.SoftPowerOff}

// endState is the power state that a change ends in.
func endState(target node.PowerState) node.PowerState {
	if target == node.PowerOff || target == node.SoftPowerOff {
		return node.PowerOff
	}
	return node.PowerOn
}

// switchPower carries out n.TargetPower and lets n go. It is repeated after a crash.
func (c *power) switchPower(ctx context.Context, n *node.Node, timeout time.Duration) error {
	err := c.trySwitch(ctx, n, timeout)
	if leaseLost(ctx) {
		return node.ErrLeaseLost
	}
	if ctx.Err() != nil { // the conductor stops: the next one finds target_power_state
		return c.release(ctx, n)
	}
	if errors.Is(err, node.ErrStoreAway) {
		return err // and found as work when the lease has run out
	}
	target := n.TargetPower
	n.TargetPower = node.PowerUnknown
	if err != nil {
		n.LastError = cut(scrub(n, fmt.Sprintf("Failed to change power state to %q: %v", target, err)))
		c.note(ctx, n, "power", errorSeverity, n.LastError)
		return c.release(ctx, n)
	}
	n.Power, n.PowerFailures = endState(target), 0
	c.note(ctx, n, "power", infoSeverity, fmt.Sprintf("Power changed on request (%s); the machine is now %s.", target, n.Power))
	return c.release(ctx, n)
}

func (c *power) trySwitch(ctx context.Context, n *node.Node, timeout time.Duration) error {
	task, err := c.task(ctx, n)
	if err != nil {
		return err
	}
	byAgent := !driver.CanSet(task.Hardware.Power, node.PowerOn) // it must be known until it has rebooted its machine
	if n.TargetPower != node.PowerOn && !byAgent {               // its agent, if one runs, ends now
		if err := task.ForgetAgent(ctx); err != nil {
			return err
		}
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err = guarded(c.log.With("node", n.UUID), func() error { return task.SetPower(limited, n.TargetPower) })
	if err == nil && byAgent {
		return task.ForgetAgent(ctx)
	}
	return err
}

// SetBootDevice sets what the machine boots from and returns when its BMC has taken it.
func (c *power) SetBootDevice(ctx context.Context, ident string, d node.BootDevice) error {
	return c.changeNode(ctx, ident, func(ctx context.Context, n *node.Node) error {
		return c.withManagement(ctx, n, func(ctx context.Context, t *driver.Task) error {
			if allowed := t.Hardware.Management.BootDevices(); !slices.Contains(allowed, d.Device) {
				return node.Errorf(node.Invalid, "Boot device %q is not supported by node %s; supported are %s.",
					d.Device, n.UUID, strings.Join(allowed, ", "))
			}
			return t.Hardware.Management.SetBootDevice(ctx, t, d)
		})
	})
}

// BootDevice asks the BMC what the machine boots from. It takes no lease.
func (c *power) BootDevice(ctx context.Context, ident string) (node.BootDevice, error) {
	n, err := c.nodes.Node(ctx, ident)
	if err != nil {
		return node.BootDevice{}, err
	}
	var d node.BootDevice
	err = c.withManagement(ctx, n, func(ctx context.Context, t *driver.Task) error {
		d, err = t.Hardware.Management.BootDevice(ctx, t)
		return err
	})
	return d, err
}

// BootDevices lists what the machine can be told to boot from.
func (c *power) BootDevices(ctx context.Context, ident string) ([]string, error) {
	n, err := c.nodes.Node(ctx, ident)
	if err != nil {
		return nil, err
	}
	h, err := c.hardware(n)
	if err != nil {
		return nil, err
	}
	return h.Management.BootDevices(), nil
}

// withManagement calls the management interface of a valid node, within PowerTimeout.
func (c *power) withManagement(ctx context.Context, n *node.Node, call func(context.Context, *driver.Task) error) error {
	task, err := c.task(ctx, n)
	if err != nil {
		return err
	}
	if err := valid(ctx, task, task.Hardware.Management); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.PowerTimeout)
	defer cancel()
	err = guarded(c.log.With("node", n.UUID), func() error { return call(ctx, task) })
	if e, ok := errors.AsType[*node.Err](err); ok && !errors.Is(err, node.ErrStoreAway) { // shown to who asked
		return &node.Err{Kind: e.Kind, Msg: scrub(n, err.Error()), Cause: e.Cause}
	}
	return err
}

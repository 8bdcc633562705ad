package agent

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// Power is the power interface "agent", for machines without a BMC that run the deploy ramdisk: the agent
// reboots its machine, and that is all there is. It needs fast track, which is what lets an agent call while
// nothing is under way. The machine is switched on, and off, by hand.
type Power struct{ Client Client }

var _ driver.LimitedPower = Power{}

// Name implements driver.Implementation.
func (Power) Name() string { return "agent" }

// Properties implements driver.Implementation.
func (Power) Properties() map[string]string { return nil }

// Validate implements driver.Implementation.
func (Power) Validate(_ context.Context, t *driver.Task) error {
	if t.FastTrack == 0 {
		return node.Errorf(node.Invalid, "Fast track must be enabled to use the agent power interface: set driver_info/fast_track "+
			"of node %s, or fast_track of the service, to true.", t.Node.UUID)
	}
	return offline(t)
}

// offline is the error of a machine that nobody can reach.
func offline(t *driver.Task) error {
	if t.AgentAlive() {
		return nil
	}
	return node.Errorf(node.Invalid, "Agent seems offline for node %s, the agent power interface cannot be used: boot the deploy "+
		"ramdisk on the machine by hand and wait until its agent has called.", t.Node.UUID)
}

// PowerStates implements driver.LimitedPower.
func (Power) PowerStates() []node.PowerState {
	return []node.PowerState{node.Rebooting, node.SoftRebooting}
}

// PowerState is on while the agent calls; nobody knows what a machine without one does.
func (Power) PowerState(_ context.Context, t *driver.Task) (node.PowerState, error) {
	if err := offline(t); err != nil {
		return node.PowerUnknown, err
	}
	return node.PowerOn, nil
}

// SetPowerState has the agent reboot its machine, after it has flushed its disks. It returns when the agent
// has taken the order, a second before the machine goes down.
func (p Power) SetPowerState(ctx context.Context, t *driver.Task, target node.PowerState) error {
	if states := p.PowerStates(); !slices.Contains(states, target) {
		words := make([]string, len(states))
		for i, s := range states {
			words[i] = string(s)
		}
		return node.Errorf(node.Invalid, "the agent power interface cannot set %q; it can set %s: a machine without a BMC is "+
			"switched on and off by hand.", target, strings.Join(words, ", "))
	}
	if t.Node.Agent.URL == "" {
		return errNoAgent
	}
	s, err := p.Client.open(t.Node.Agent)
	if err != nil {
		return err
	}
	if _, err := s.commands(ctx); err != nil { // one that is silent now did not take the order
		return err
	}
	s.Attempts = 1
	_, err = s.start(ctx, "standby.run_image", nil, "")
	if isUnreachable(err) && ctx.Err() == nil {
		return nil // it goes down before it answers
	}
	return err
}

var errNoAgent = errors.New("no agent of the machine is known, and nothing else can reboot it: boot the deploy ramdisk on it " +
	"by hand and wait until its agent has called")

// isGone reports whether the agent that was to reboot its machine is not there any more.
func isGone(err error) bool { return isUnreachable(err) || errors.Is(err, errNoAgent) }

// Unmanaged is the management interface "noop": nobody can tell the machine what to boot. Its own boot order
// must have the network, or the medium of the deploy ramdisk, before the disk.
type Unmanaged struct{}

// Name implements driver.Implementation.
func (Unmanaged) Name() string { return "noop" }

// Properties implements driver.Implementation.
func (Unmanaged) Properties() map[string]string { return nil }

// Validate implements driver.Implementation; nothing can be wrong.
func (Unmanaged) Validate(context.Context, *driver.Task) error { return nil }

// BootDevices implements driver.Management: what others may ask for, in vain.
func (Unmanaged) BootDevices() []string { return []string{"pxe", "disk"} }

// BootDevice implements driver.Management: the boot order that such a machine must have.
func (Unmanaged) BootDevice(context.Context, *driver.Task) (node.BootDevice, error) {
	return node.BootDevice{Device: "pxe", Persistent: true}, nil
}

// SetBootDevice implements driver.Management: it does nothing.
func (u Unmanaged) SetBootDevice(_ context.Context, _ *driver.Task, d node.BootDevice) error {
	if !slices.Contains(u.BootDevices(), d.Device) {
		return node.Errorf(node.Invalid, "boot device %q is not supported; supported are %s.", d.Device, strings.Join(u.BootDevices(), ", "))
	}
	return nil
}

package conductor

import (
	"context"
	"fmt"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// SetBootMode has the machine's firmware boot as "bios" or "uefi" from its next start on.
func (c *power) SetBootMode(ctx context.Context, ident, mode string) error {
	return c.setFirmware(ctx, ident, "set_boot_mode", "boot mode", mode, func(ctx context.Context, f driver.Firmware, t *driver.Task) error {
		return t.SetBootMode(ctx, f, mode)
	})
}

// SetSecureBoot switches Secure Boot from the machine's next start on.
func (c *power) SetSecureBoot(ctx context.Context, ident string, on bool) error {
	return c.setFirmware(ctx, ident, "set_secure_boot_state", "secure boot", fmt.Sprint(on), func(ctx context.Context, f driver.Firmware, t *driver.Task) error {
		return t.SetSecureBoot(ctx, f, on)
	})
}

// setFirmware changes what the firmware does. A node that something is under way with, or whose hardware cannot,
// is refused; what the BMC then gets wrong is the node's last_error.
func (c *power) setFirmware(ctx context.Context, ident, ability, what, target string,
	set func(context.Context, driver.Firmware, *driver.Task) error) error {
	n, err := c.reserve(ctx, ident)
	if err != nil {
		return err
	}
	before := n.Clone()
	if class := n.State.Class(); class == node.Busy || class == node.Waiting {
		return c.giveUp(ctx, before, node.Errorf(node.Conflict, "The %s of node %s can not be changed while it is in state %q.", what, n.UUID, n.State))
	}
	task, err := c.task(ctx, n)
	if err != nil {
		return c.giveUp(ctx, before, err)
	}
	f, ok := task.Hardware.Management.(driver.Firmware)
	if !ok {
		return c.giveUp(ctx, before, node.Unsupported(n.Driver, ability))
	}
	if err := task.Hardware.Management.Validate(ctx, task); err != nil {
		return c.giveUp(ctx, before, node.Errorf(node.Invalid, "%s", scrub(n, err.Error())))
	}
	held, stop := c.keepLease(ctx, n)
	defer stop()
	limited, cancel := context.WithTimeout(held, c.cfg.PowerTimeout)
	defer cancel()
	n.LastError = ""
	if err := guarded(c.log.With("node", n.UUID), func() error { return set(limited, f, task) }); err != nil {
		if leaseLost(held) {
			return node.ErrLeaseLost
		}
		n = before
		n.LastError = cut(scrub(n, fmt.Sprintf("Failed to change %s to %q: %v", what, target, err)))
		c.note(held, n, "management", errorSeverity, n.LastError)
		return c.release(ctx, n)
	}
	c.note(held, n, "management", infoSeverity, fmt.Sprintf("The %s was changed to %q on request, from the machine's next start on.", what, target))
	return c.release(ctx, n)
}

// InjectNMI interrupts the machine's processor.
func (c *power) InjectNMI(ctx context.Context, ident string) error {
	n, err := c.reserve(ctx, ident)
	if err != nil {
		return err
	}
	before := n.Clone()
	held, stop := c.keepLease(ctx, n)
	defer stop()
	err = c.withManagement(held, n, func(ctx context.Context, t *driver.Task) error {
		m, ok := t.Hardware.Management.(driver.Interrupter)
		if !ok {
			return node.Unsupported(n.Driver, "inject_nmi")
		}
		return m.InjectNMI(ctx, t)
	})
	if err != nil {
		return c.giveUp(ctx, before, err)
	}
	c.note(ctx, n, "management", infoSeverity, "A non-maskable interrupt was injected on request.")
	return c.release(ctx, n)
}

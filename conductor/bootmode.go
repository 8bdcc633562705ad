package conductor

import (
	"context"
	"fmt"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// SetBootMode has the machine's firmware boot as "bios" or "uefi" from its next start on.
func (c *power) SetBootMode(ctx context.Context, ident, mode string) error {
	set := func(ctx context.Context, f driver.Firmware, t *driver.Task) error { return t.SetBootMode(ctx, f, mode) }
	return c.setFirmware(ctx, ident, "set_boot_mode", "boot mode", mode, set)
}

// SetSecureBoot switches Secure Boot from the machine's next start on.
func (c *power) SetSecureBoot(ctx context.Context, ident string, on bool) error {
	set := func(ctx context.Context, f driver.Firmware, t *driver.Task) error { return t.SetSecureBoot(ctx, f, on) }
	return c.setFirmware(ctx, ident, "set_secure_boot_state", "secure boot", fmt.Sprint(on), set)
}

// setFirmware changes what the firmware does. A node that something is under way with, or whose hardware cannot,
// is refused; what the BMC then gets wrong is the node's last_error.
func (c *power) setFirmware(ctx context.Context, ident, ability, what, target string,
	set func(context.Context, driver.Firmware, *driver.Task) error) error {
	return c.changeNode(ctx, ident, func(ctx context.Context, n *node.Node) error {
		if class := n.State.Class(); class == node.Busy || class == node.Waiting {
			return node.Errorf(node.Conflict, "The %s of node %s can not be changed while it is in state %q.", what, n.UUID, n.State)
		}
		task, err := c.task(ctx, n)
		if err != nil {
			return err
		}
		f, ok := task.Hardware.Management.(driver.Firmware)
		if !ok {
			return node.Unsupported(n.Driver, ability)
		}
		if err := valid(ctx, task, task.Hardware.Management); err != nil {
			return err
		}
		return c.tellFirmware(ctx, task, what, target, func(ctx context.Context) error { return set(ctx, f, task) })
	})
}

// tellFirmware changes the firmware of a node whose request is accepted, and says how that went.
func (c *power) tellFirmware(ctx context.Context, t *driver.Task, what, target string, set func(context.Context) error) error {
	n, before := t.Node, t.Node.Clone()
	n.LastError = ""
	limited, cancel := context.WithTimeout(ctx, c.cfg.PowerTimeout)
	defer cancel()
	err := guarded(t.Log, func() error { return set(limited) })
	if leaseLost(ctx) {
		return node.ErrLeaseLost
	}
	if err != nil {
		*n = *before
		n.LastError = cut(scrub(n, fmt.Sprintf("Failed to change %s to %q: %v", what, target, err)))
		c.note(ctx, n, "management", errorSeverity, n.LastError)
		return nil
	}
	said := fmt.Sprintf("The %s was changed to %q on request, from the machine's next start on.", what, target)
	c.note(ctx, n, "management", infoSeverity, said)
	return nil
}

// InjectNMI interrupts the machine's processor.
func (c *power) InjectNMI(ctx context.Context, ident string) error {
	return c.changeNode(ctx, ident, func(ctx context.Context, n *node.Node) error {
		err := c.withManagement(ctx, n, func(ctx context.Context, t *driver.Task) error {
			m, ok := t.Hardware.Management.(driver.Interrupter)
			if !ok {
				return node.Unsupported(n.Driver, "inject_nmi")
			}
			return m.InjectNMI(ctx, t)
		})
		if err != nil {
			return err
		}
		c.note(ctx, n, "management", infoSeverity, "A non-maskable interrupt was injected on request.")
		return nil
	})
}

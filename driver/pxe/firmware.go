package pxe

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// The capabilities boot_mode and secure_boot are what somebody wants of the machine's firmware. Where the
// hardware can be told, it is: the boot mode before the ramdisk starts, so that both systems run in the same
// one; Secure Boot for the instance alone, as the deploy ramdisk is signed by nobody.

// setBootMode has the machine boot in the mode that the node asks for.
func setBootMode(ctx context.Context, t *driver.Task) error {
	mode := strings.ToLower(t.Node.Capability("boot_mode"))
	if mode != "bios" && mode != "uefi" || mode == t.Node.BootMode {
		return nil
	}
	f, ok := t.Hardware.Management.(driver.Firmware)
	if !ok {
		return nil // the firmware's own setting counts; a machine in the other mode fails where it matters
	}
	if err := f.SetBootMode(ctx, t, mode); err != nil {
		return fmt.Errorf("setting the boot mode to %s: %w", mode, err)
	}
	t.Node.BootMode = mode
	return nil
}

// wantsSecureBoot reports the capability secure_boot.
func wantsSecureBoot(n *node.Node) bool {
	return strings.EqualFold(n.Capability("secure_boot"), "true")
}

// setSecureBoot switches Secure Boot on for an instance that asks for it, or off again. Hardware that cannot be
// told is left to people, with a warning.
func setSecureBoot(ctx context.Context, t *driver.Task, on bool) error {
	if !wantsSecureBoot(t.Node) || t.Node.SecureBoot != nil && *t.Node.SecureBoot == on {
		return nil
	}
	f, ok := t.Hardware.Management.(driver.Firmware)
	if !ok {
		if on && t.Log != nil {
			t.Log.Warn("secure boot is asked for, but the management interface cannot switch it: it must be on in the machine's firmware",
				"management_interface", t.Hardware.Management.Name(), slog.String("node", t.Node.UUID))
		}
		return nil
	}
	if err := f.SetSecureBoot(ctx, t, on); err != nil {
		return fmt.Errorf("switching secure boot to %v: %w", on, err)
	}
	t.Node.SecureBoot = &on
	return nil
}

package pxe

import (
	"context"
	"fmt"
	"strings"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// The capabilities boot_mode and secure_boot are what somebody wants of the machine's firmware. Where the
// hardware can be told, it is: the boot mode before the ramdisk starts, so that both systems run in the same
// one; Secure Boot for the instance alone, as not every deploy ramdisk is signed. secure_boot of the instance asks
// for it; that of the node itself says that the hardware has it.

// setBootMode has the machine boot in the mode that the node asks for.
func setBootMode(ctx context.Context, t *driver.Task) error {
	mode := driver.InstanceOf(t.Node).AskedMode
	if mode == "" || mode == t.Node.BootMode {
		return nil
	}
	f, ok := t.Hardware.Management.(driver.Firmware)
	if !ok {
		return nil // the firmware's own setting counts; a machine in the other mode fails where it matters
	}
	if err := t.SetBootMode(ctx, f, mode); err != nil {
		return fmt.Errorf("setting the boot mode to %s: %w", mode, err)
	}
	return nil
}

// switchedOff reports whether Secure Boot is off while the ramdisk runs, as the hardware can be told so.
func switchedOff(t *driver.Task) bool {
	_, can := t.Hardware.Management.(driver.Firmware)
	return can && driver.InstanceOf(t.Node).SecureBoot
}

// signedOnly reports whether the machine will start no ramdisk that is not signed.
func signedOnly(t *driver.Task) bool {
	switch {
	case switchedOff(t):
		return false
	case t.Node.SecureBoot != nil:
		return *t.Node.SecureBoot
	}
	return driver.InstanceOf(t.Node).SecureBoot // nobody can switch it on later
}

// ramdiskLoader is the boot loader of the flow's ramdisk.
func (b *Boot) ramdiskLoader(t *driver.Task) boot.Loader {
	if switchedOff(t) {
		return b.Loader
	}
	return b.instanceLoader(t)
}

// instanceLoader is the boot loader of an instance that starts over the network. What is signed starts without Secure
// Boot too, so it is taken where Secure Boot may be on: also while nobody knows, or a new machine could not tell.
func (b *Boot) instanceLoader(t *driver.Task) boot.Loader {
	n := t.Node
	asked := n.Capability("secure_boot")
	may := strings.EqualFold(asked, "true")
	if n.SecureBoot != nil {
		may = may || *n.SecureBoot
	} else if asked == "" && driver.InstanceOf(n).AskedMode != driver.BIOS {
		may = true
	}
	if b.Loader == boot.PXE && may && (signedOnly(t) || b.Loaders.Missing(b.arch(n), boot.Shim) == "") {
		return boot.Shim
	}
	return b.Loader
}

// arch is the firmware that a machine with Secure Boot has.
func (b *Boot) arch(n *node.Node) boot.Arch {
	arm := n.Properties.String("cpu_arch") == "aarch64"
	switch {
	case b.Firmware == UEFIHTTP && arm:
		return boot.UEFIArm64HTTP
	case b.Firmware == UEFIHTTP:
		return boot.UEFIHTTP
	case arm:
		return boot.UEFIArm64
	}
	return boot.UEFI
}

// checkSecureBoot refuses what Secure Boot would refuse when the machine starts, where only its console tells.
func (b *Boot) checkSecureBoot(t *driver.Task) error {
	n := t.Node
	if err := mayHaveSecureBoot(t); err != nil {
		return err
	}
	if !signedOnly(t) {
		return nil
	}
	why := "its machine starts only what is signed (Secure Boot is on)"
	if n.SecureBoot == nil {
		why = fmt.Sprintf("its instance asks for Secure Boot, which the management interface %s cannot switch, so that it must be "+
			"on all the time", t.Hardware.Management.Name())
	}
	refuse := func(format string, args ...any) error {
		return node.Errorf(node.Invalid, "Node %s cannot boot its ramdisk: %s, and %s.", n.UUID, why, fmt.Sprintf(format, args...))
	}
	arch, kind := b.arch(n), b.ramdiskLoader(t)
	if missing := b.Loaders.Missing(arch, kind); missing != "" {
		return refuse("%s", missing)
	}
	if name := b.Loaders.Name(arch, kind); !b.Loaders.Signed(name) {
		return refuse("the boot interface %s starts %s, which nobody signed: set boot_interface to pxe, or switch Secure Boot off "+
			"in the machine's firmware", b.Name(), name)
	}
	files, err := b.ramdisk(t)
	if err != nil {
		return err
	}
	if boot.IsURL(files.kernel.place) {
		return nil // the boot loader looks at it
	}
	f, _, err := b.Gate.Open(files.kernel.place)
	if err != nil {
		return &node.Err{Kind: node.Invalid, Msg: files.kernel.key + " cannot be read", Cause: err}
	}
	defer f.Close()
	if !boot.Signed(f) {
		return refuse("%s (%s) is not signed: take a distribution's own kernel, as billet ramdisk build "+
			"does", files.kernel.key, files.kernel.place)
	}
	return nil
}

// mayHaveSecureBoot refuses an instance that asks for Secure Boot on a machine that will not have it.
func mayHaveSecureBoot(t *driver.Task) error {
	n := t.Node
	asked := driver.InstanceOf(n)
	if !asked.SecureBoot || !driver.Deployable(n) {
		return nil
	}
	if asked.AskedMode == driver.BIOS {
		return node.Errorf(node.Invalid, "The instance of node %s asks for Secure Boot, which BIOS does not have: set the "+
			"capability boot_mode to uefi, or secure_boot to false.", n.UUID)
	}
	if _, can := t.Hardware.Management.(driver.Firmware); !can && n.SecureBoot != nil && !*n.SecureBoot {
		return node.Errorf(node.Invalid, "The instance of node %s asks for Secure Boot, but in its machine it is off, as the "+
			"machine itself has said, and the management interface %s cannot switch it: switch it on in the machine's firmware and "+
			"inspect the node, or set the instance's capability secure_boot to false.", n.UUID, t.Hardware.Management.Name())
	}
	return nil
}

// setSecureBoot switches Secure Boot on for an instance that asks for it, or off again. Hardware that cannot be
// told is left to people, with a warning.
func setSecureBoot(ctx context.Context, t *driver.Task, on bool) error {
	if !driver.InstanceOf(t.Node).SecureBoot || t.Node.SecureBoot != nil && *t.Node.SecureBoot == on {
		return nil
	}
	f, ok := t.Hardware.Management.(driver.Firmware)
	if !ok && on && t.Node.SecureBoot != nil {
		return node.Errorf(node.Invalid, "The instance asks for Secure Boot, but in its machine it is off, as the machine itself "+
			"has said, and the management interface %s cannot switch it: switch it on in the machine's firmware, or set the instance's "+
			"capability secure_boot to false.", t.Hardware.Management.Name())
	}
	if !ok {
		if on {
			t.Logger().Warn("secure boot is asked for, but the management interface cannot switch it: it must be on in the machine's firmware",
				"management_interface", t.Hardware.Management.Name())
		}
		return nil
	}
	if err := t.SetSecureBoot(ctx, f, on); err != nil {
		return fmt.Errorf("switching secure boot to %v: %w", on, err)
	}
	return nil
}

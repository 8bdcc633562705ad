package agent

import (
	"strings"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// bootMode is "bios", "uefi", or "" when the machine does not say.
func bootMode(b wire.BootInfo) string {
	if mode := strings.ToLower(b.CurrentBootMode); mode == "bios" || mode == "uefi" {
		return mode
	}
	return ""
}

// booted notes on the node what its machine says of how it booted. What it does not say stays as it was known.
func booted(n *node.Node, b wire.BootInfo) {
	mode, off := bootMode(b), false
	if mode != "" {
		n.BootMode = mode
	}
	switch {
	case b.SecureBoot != nil:
		n.SecureBoot = b.SecureBoot
	case mode == "bios":
		n.SecureBoot = &off
	}
}

// wantsSecureBoot reports that the instance asks for Secure Boot.
func wantsSecureBoot(n *node.Node) bool {
	return strings.EqualFold(n.InstanceCapability("secure_boot"), "true")
}

// secureAsAsked refuses to go on with an instance that asks for Secure Boot on a machine that has just said that it is
// off, when nobody can switch it. Hardware that can be told has it off while the ramdisk runs.
func secureAsAsked(t *driver.Task) error {
	n := t.Node
	if n.Plan.Flow != node.FlowDeploy || !wantsSecureBoot(n) || n.SecureBoot == nil || *n.SecureBoot {
		return nil
	}
	if _, can := t.Hardware.Management.(driver.Firmware); can {
		return nil
	}
	return node.Errorf(node.Invalid, "The instance asks for Secure Boot, but in its machine it is off, as the ramdisk found, and the management interface %s cannot switch it. Nothing was written. Switch it on in the machine's firmware, or set the instance's capability secure_boot to false.", t.Hardware.Management.Name())
}

package agent

import (
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// secureAsAsked refuses to go on with an instance that asks for Secure Boot on a machine that has just said that it is
// off, when nobody can switch it. Hardware that can be told has it off while the ramdisk runs.
func secureAsAsked(t *driver.Task) error {
	n := t.Node
	if n.Plan.Flow != node.FlowDeploy || !driver.InstanceOf(n).SecureBoot || n.SecureBoot == nil || *n.SecureBoot {
		return nil
	}
	if _, can := t.Hardware.Management.(driver.Firmware); can {
		return nil
	}
	return node.Errorf(node.Invalid, "The instance asks for Secure Boot, but in its machine it is off, as the ramdisk found, and "+
		"the management interface %s cannot switch it. Nothing was written. Switch it on in the machine's firmware, or set the "+
		"instance's capability secure_boot to false.", t.Hardware.Management.Name())
}

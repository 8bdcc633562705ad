package agent

import (
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/raid"
)

// programsKey is the key of driver_info that says whether an image's own programs may run in the deploy ramdisk.
const programsKey = "run_image_bootloader"

// programs says whether the programs of images may run.
type programs struct{ forbidden bool } // see Direct.NoImagePrograms

func (d *Direct) programs() programs { return programs{d.NoImagePrograms} }

// may reports whether the image's grub-install and update-grub may run, as root, in the deploy
// ramdisk. The node's key decides; without it the service's, but never for an image of somebody who only
// leases the node: there the machine's owner must have said so. why tells what forbids it.
func (p programs) may(n *node.Node) (may bool, why string) {
	if v := n.DriverInfo[programsKey]; v != nil && v != "" {
		yes, _ := driver.Boolean(v)
		return yes, "driver_info/" + programsKey + " is false"
	}
	if n.Lessee != "" {
		return false, "the node has a lessee, whose images are not trusted"
	}
	return !p.forbidden, "the service's " + programsKey + " is false"
}

// validate refuses, before anything boots, an instance that would need what may not run.
func (p programs) validate(n *node.Node) error {
	if v := n.DriverInfo[programsKey]; v != nil && v != "" {
		if _, ok := driver.Boolean(v); !ok {
			return driver.CannotDeploy(n, "driver_info/%s is %v; true and false are allowed", programsKey, v)
		}
	}
	asked := driver.InstanceOf(n)
	if asked.Image.Source == "" || !driver.Deployable(n) {
		return nil
	}
	may, why := p.may(n)
	if may {
		return nil
	}
	const otherwise = "use a whole-disk image%s, or let an administrator set driver_info/" + programsKey + " to true"
	if asked.NeedsLoader() {
		return driver.CannotDeploy(n, "its image is a partition image, whose own GRUB would be run as root in the deploy ramdisk, "+
			"which is switched off (%s): "+otherwise, why, " or boot_option netboot")
	}
	if !asked.IsPartition && raid.IsSoftware(n.RAIDConfig) && asked.BootMode == driver.BIOS {
		return driver.CannotDeploy(n, "its root disk is software RAID, for which a BIOS needs the image's own GRUB "+
			"run as root in the deploy ramdisk, which is switched off (%s): "+otherwise, why, " without software RAID, or UEFI boot mode")
	}
	return nil
}

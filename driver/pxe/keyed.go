package pxe

import (
	"fmt"
	"strings"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// foreignRamdisk is the driver_info key of a node whose ramdisk comes by other ways than the boot record: from a medium
// that somebody put into the machine. Such a ramdisk reads no key and is believed by its address.
const foreignRamdisk = "foreign_ramdisk"

// GivesKey implements driver.Keyed. A machine that this service cannot switch on is started by somebody, with whatever
// ramdisk is in it.
func (b *Boot) GivesKey(n *node.Node, h *driver.Hardware) bool {
	switch strings.ToLower(fmt.Sprint(n.DriverInfo[foreignRamdisk])) {
	case "true", "yes", "on", "1":
		return false
	case "false", "no", "off", "0":
		return true
	}
	return h == nil || h.Power == nil || driver.CanSet(h.Power, node.PowerOn)
}

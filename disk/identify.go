package disk

import (
	"fmt"
	"strings"

	"github.com/billet-metal/billet/wire"
)

// Unidentified says why disks that are all to be erased cannot be told from one another; nil when they can. One
// disk seen over two paths would be erased twice at once, and a name alone moves between boots.
func Unidentified(disks []wire.Disk) error {
	const wayOut = "protect what is not to be erased with skip_block_devices, by hctl or by_path"
	first := map[string]wire.Disk{}
	for _, d := range disks {
		if len(disks) > 1 && d.Serial == "" && d.WWN == "" && d.ByPath == "" && d.HCTL == "" {
			return fmt.Errorf("%s has neither serial number, WWN nor path, so only a name that may move tells it from the other disks; unplug it, "+
				"or protect the others with skip_block_devices", describe(d))
		}
		if d.WWNWithExtension == "" {
			continue
		}
		if other, ok := first[d.WWNWithExtension]; ok {
			return fmt.Errorf("%s and %s have the same WWN: they are one disk seen over two paths, or one of them lies; %s", describe(other),
				describe(d), wayOut)
		}
		first[d.WWNWithExtension] = d
	}
	return nil
}

// IsVirtualMedia reports whether a disk is one that a BMC only pretends: what it holds is somebody's file.
func IsVirtualMedia(d wire.Disk) bool {
	return d.Tran == "usb" && strings.Contains(strings.ToLower(d.Vendor+" "+d.Model), "virtual")
}

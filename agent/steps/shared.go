package steps

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/wire"
)

const wipeKey = wire.WipeShared

// mayWipeShared reports whether what other machines may share is to be erased all the same. The key comes
// in driver_info; services that are not Billet hand it on in driver_internal_info.
func (h *Host) mayWipeShared(n wire.Node) (bool, error) {
	where, doc := "driver_info", n.DriverInfo
	if doc == nil {
		where, doc = "driver_internal_info", n.DriverInternalInfo
	}
	v := doc[wipeKey]
	if v == nil || v == "" {
		return h.WipeShared, nil
	}
	yes, err := strconv.ParseBool(fmt.Sprint(v))
	if err != nil {
		return false, fmt.Errorf("%s/%s is %v; true and false are allowed", where, wipeKey, v)
	}
	return yes, nil
}

const howToWipe = "protect the disk with the node's property skip_block_devices, or set driver_info/" + wipeKey + " to true to erase it"

// guardShared refuses to erase disks that other machines may be using: those with a file system that
// machines share, and those reached over a storage network that the node's root device hints do not name.
func (h *Host) guardShared(disks []wire.Disk, n wire.Node) error {
	if may, err := h.mayWipeShared(n); may || err != nil {
		return err
	}
	var found []string
	for _, d := range disks {
		switch kind := h.sharedOn(d); {
		case kind != "":
			found = append(found, fmt.Sprintf("%s (serial %q) holds %s", d.Name, d.Serial, kind))
		case h.onSAN(d) && !h.isHinted(d, n):
			found = append(found, fmt.Sprintf("%s (serial %q) is reached over a storage network (%s) and no root device hint names it",
				d.Name, d.Serial, strings.TrimSpace(d.Tran+" "+h.otherPaths(d))))
		}
	}
	if len(found) == 0 {
		return nil
	}
	return fmt.Errorf("%s: other machines may be using it; %s", strings.Join(found, "; "), howToWipe)
}

// sharedOn says which shared file system a disk holds; "" none. A disk that cannot be read is left to what
// erases it, which fails by itself.
func (h *Host) sharedOn(d wire.Disk) string {
	dev, err := disk.OpenToRead(filepath.Join(h.Root, d.Name))
	if err != nil {
		return ""
	}
	defer dev.Close()
	kind, err := disk.Shared(dev)
	if err != nil {
		h.Log.Warn("a disk cannot be searched for shared file systems", "disk", d.Name, "error", err)
	}
	return kind
}

// onSAN reports whether a disk is outside of the machine, where others may reach it: by its transport, or
// because it has several paths. Enclosures on SAS have those too, and are the machine's own.
func (h *Host) onSAN(d wire.Disk) bool {
	return d.Tran == "fc" || d.Tran == "iscsi" || d.Tran != "sas" && h.otherPaths(d) != ""
}

// otherPaths names the other paths to a disk; "" when there are none.
func (h *Host) otherPaths(d wire.Disk) string {
	var names []string
	for _, other := range h.Inventory.Disks() {
		if other.PathOf == d.Name {
			names = append(names, other.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "also as " + strings.Join(names, ", ")
}

// isHinted reports whether the node's root device hints choose the disk: then it is the node's.
func (h *Host) isHinted(d wire.Disk, n wire.Node) bool {
	hints, err := rootHints(n)
	if err != nil || len(hints) == 0 {
		return false
	}
	root, err := disk.Select(h.Inventory.Disks(), hints)
	return err == nil && root.Name == d.Name
}

// guardRoot refuses to write an image over a file system that other machines may be using.
func (h *Host) guardRoot(root wire.Disk, n wire.Node) error {
	if may, err := h.mayWipeShared(n); may || err != nil {
		return err
	}
	if kind := h.sharedOn(root); kind != "" {
		return fmt.Errorf("nothing was written: %s (serial %q) holds %s, which other machines may be using; "+
			"choose another disk with root device hints, or set driver_info/%s to true", root.Name, root.Serial, kind, wipeKey)
	}
	return nil
}

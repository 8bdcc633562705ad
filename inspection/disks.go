package inspection

import (
	"slices"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

const gib = 1 << 30

// setRootDevice is the hook root-device: the disk that the node's hints choose, and its size.
func setRootDevice(_ *Settings, r *reading) error {
	hints, _ := r.node.Properties["root_device"].(map[string]any)
	root, _ := r.plugin["root_disk"].(map[string]any) // what the machine would choose without hints
	if len(hints) > 0 || root == nil {
		chosen, err := disk.Select(r.inventory.Disks, hints)
		if err != nil && len(hints) > 0 {
			return node.Errorf(node.Invalid, "The root device hints of node %s choose no disk of the inventory: %v.", r.node.UUID, err)
		}
		if err == nil {
			root = r.rawDisk(chosen)
			r.plugin["root_disk"] = root
		}
	}
	size, _ := root["size"].(float64)
	// One GiB less than the disk has, for partition tables and the config drive.
	local := float64(max(int64(size)/gib-1, 0))
	r.plugin["local_gb"] = local
	r.setProperty("local_gb", local)
	return nil
}

// rawDisk is a disk as it was reported.
func (r *reading) rawDisk(d wire.Disk) map[string]any {
	list, _ := r.data.Inventory["disks"].([]any)
	for _, v := range list {
		if m, _ := v.(map[string]any); m["name"] == d.Name {
			return m
		}
	}
	return map[string]any{"name": d.Name, "size": float64(d.Size)}
}

// findRAIDDevice is the hook raid-device: the one disk that was not there at the inspection before is the
// root device of a node that has no hint yet.
func findRAIDDevice(_ *Settings, r *reading) error {
	if r.node.Properties["root_device"] != nil || r.data.Previous == nil {
		return nil
	}
	before := serials(r.data.Previous)
	fresh := slices.DeleteFunc(serials(r.data.Inventory), func(s string) bool { return slices.Contains(before, s) })
	if len(before) > 0 && len(fresh) == 1 {
		r.setProperty("root_device", map[string]any{"serial": fresh[0]})
	}
	return nil
}

func serials(inventory node.Document) []string {
	list, _ := inventory["disks"].([]any)
	var out []string
	for _, v := range list {
		m, _ := v.(map[string]any)
		if s := node.Document(m).String("serial"); s != "" {
			out = append(out, s)
		}
	}
	return out
}

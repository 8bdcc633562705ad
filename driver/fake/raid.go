package fake

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// RAID is a fake RAID controller: it builds whatever target_raid_config says, at once, of nothing.
type RAID struct{ part }

// NewRAID returns the fake raid interface.
func NewRAID() RAID { return RAID{part{node.RAID}} }

var logicalDisk = map[string]string{
	"raid_level":               "RAID level, a text such as \"1\" or \"1+0\". Required.",
	"size_gb":                  "Size in GiB, a whole number of at least 1, or \"MAX\". Required.",
	"controller":               "Name of the controller; the fake machine takes any. Optional.",
	"volume_name":              "Name of the volume. Optional.",
	"is_root_volume":           "Whether the instance goes to this logical disk. Default: false.",
	"physical_disks":           "A list of disks; the fake machine takes any. Optional.",
	"share_physical_disks":     "Whether other logical disks may use the same disks. Default: false.",
	"disk_type":                "\"hdd\" or \"ssd\". Optional.",
	"interface_type":           "\"sata\", \"scsi\" or \"sas\". Optional.",
	"number_of_physical_disks": "How many disks to use. Optional.",
}

// LogicalDiskProperties implements driver.RAID.
func (r RAID) LogicalDiskProperties() map[string]string { return maps.Clone(logicalDisk) }

// ValidateRAIDConfig implements driver.RAID.
func (r RAID) ValidateRAIDConfig(config node.Document) error {
	list, ok := config["logical_disks"].([]any)
	if !ok || len(list) == 0 || len(config) != 1 {
		return node.Errorf(node.Invalid, "The RAID configuration must have logical_disks, a list of at least one, and nothing else.")
	}
	for i, v := range list {
		d, ok := v.(map[string]any)
		level, isText := d["raid_level"].(string)
		if !ok || !isText || level == "" || !isSize(d["size_gb"]) {
			return node.Errorf(node.Invalid, "logical_disks[%d] of the RAID configuration must be an object with raid_level, a text, "+
				"and size_gb, a whole number of at least 1 or \"MAX\".", i)
		}
		for key := range d {
			if logicalDisk[key] == "" {
				return node.Errorf(node.Invalid, "logical_disks[%d] of the RAID configuration has the unknown key %q; allowed are "+
					"%s.", i, key, strings.Join(slices.Sorted(maps.Keys(logicalDisk)), ", "))
			}
		}
	}
	return nil
}

func isSize(v any) bool {
	n, isNumber := v.(float64)
	return v == "MAX" || isNumber && n >= 1 && n == float64(int64(n))
}

// Steps lists what people may ask for.
func (r RAID) Steps() []driver.Step {
	all := map[node.Flow]int{node.FlowClean: 0, node.FlowDeploy: 0, node.FlowService: 0}
	create, remove := r.step("create_configuration", all, createRAID), r.step("delete_configuration", all, deleteRAID)
	apply := r.step("apply_configuration", at(node.FlowDeploy, 0), applyRAID)
	flags := map[string]string{
		"create_root_volume": "The fake machine takes any.", "create_nonroot_volumes": "The fake machine takes any.",
		"delete_existing": "The fake machine takes any.",
	}
	create.Args, apply.Args = flags, maps.Clone(flags)
	apply.Args["raid_config"] = "The RAID configuration to apply. Required."
	return []driver.Step{create, remove, apply}
}

func createRAID(_ context.Context, t *driver.Task) error {
	if len(t.Node.TargetRAIDConfig) == 0 {
		return node.Errorf(node.Invalid, "the node has no target_raid_config")
	}
	t.Node.RAIDConfig = t.Node.TargetRAIDConfig.Clone()
	return nil
}

func deleteRAID(_ context.Context, t *driver.Task) error {
	t.Node.RAIDConfig = node.Document{}
	return nil
}

func applyRAID(_ context.Context, t *driver.Task) error {
	config, ok := t.Step().Args["raid_config"].(map[string]any)
	if !ok {
		return node.Errorf(node.Invalid, "its argument raid_config is missing")
	}
	t.Node.RAIDConfig = node.Document(config).Clone()
	return nil
}

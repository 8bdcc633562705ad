package compat

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The openstack command describes, sets, shows and takes back a target_raid_config.
func TestOpenstackRAID(t *testing.T) {
	t.Parallel()
	o := newOpenstack(t, startBillet(t))
	o.do(t, "node", "create", "--driver", "ipmi", "--name", "raid-1")
	var keys []string
	for _, row := range o.list(t, "driver", "raid", "property", "list", "ipmi") {
		keys = append(keys, row["Property"].(string))
	}
	if got := strings.Join(keys, " "); !strings.Contains(got, "raid_level") || !strings.Contains(got, "size_gb") ||
		!strings.Contains(got, "physical_disks") {
		t.Errorf("properties of a logical disk: %s", got)
	}
	file := filepath.Join(t.TempDir(), "raid.json")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"logical_disks": [{"size_gb": 100, "raid_level": "1", "controller": "software", "is_root_volume": true}, {"size_gb": "MAX", ` +
		`"raid_level": "0", "controller": "software"}]}`)
	o.refused(t, `The node's raid_interface is "no-raid"`, "node", "set", "raid-1", "--target-raid-config", file)
	o.do(t, "node", "set", "raid-1", "--raid-interface", "agent")
	o.do(t, "node", "set", "raid-1", "--target-raid-config", file)
	target := o.ask(t, "node", "show", "raid-1", "--fields", "target_raid_config", "raid_config")["target_raid_config"].(map[string]any)
	disks := target["logical_disks"].([]any)
	if len(disks) != 2 || disks[0].(map[string]any)["size_gb"] != 100.0 || disks[1].(map[string]any)["size_gb"] != "MAX" {
		t.Errorf("target_raid_config is %v", target)
	}
	write(`{"logical_disks": [{"size_gb": 100, "raid_level": "6", "controller": "software"}]}`)
	o.refused(t, `logical_disks[0]: raid_level "6" is not supported for software RAID`, "node", "set", "raid-1", "--target-raid-config", file)
	o.do(t, "node", "unset", "raid-1", "--target-raid-config")
	if target := o.ask(t, "node", "show", "raid-1", "--fields",
		"target_raid_config")["target_raid_config"]; len(target.(map[string]any)) != 0 {
		t.Errorf("target_raid_config is %v", target)
	}
}

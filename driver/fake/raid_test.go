package fake

import (
	"fmt"
	"strings"
	"testing"

	"github.com/billet-metal/billet/driver/drivertest"
	"github.com/billet-metal/billet/node"
)

func config(disks ...any) node.Document { return node.Document{"logical_disks": disks} }

func disk(level, size any) map[string]any {
	return map[string]any{"raid_level": level, "size_gb": size}
}

func TestRAID(t *testing.T) {
	drivertest.RAID(t, func(*testing.T) drivertest.RAIDHarness {
		extra := disk("1", 10.0)
		extra["colour"] = "red"
		return drivertest.RAIDHarness{
			Harness: harness(node.RAID), RAID: NewRAID(),
			Good: map[string]node.Document{"a mirror": config(disk("1", 100.0)), "others": config(disk("5+0", "MAX"), disk("JBOD", 1.0))},
			Refused: map[string]node.Document{
				"nothing": {}, "no disks": config(), "no list": {"logical_disks": 5}, "another key": {"logical_disks": []any{disk("1", 1.0)}, "x": 1},
				"no object": config("sda"), "no level": config(disk(nil, 1.0)), "a level as a number": config(disk(1.0, 1.0)),
				"no size": config(disk("1", nil)), "size zero": config(disk("1", 0.0)), "half a size": config(disk("1", 1.5)),
				"an unknown key": config(extra),
			},
		}
	})
}

// What the fake machine builds stands in raid_config, and may be built again.
func TestRAIDSteps(t *testing.T) {
	tk := task(node.Document{})
	create, remove, apply := find(t, NewRAID(), "create_configuration"), find(t, NewRAID(), "delete_configuration"),
		find(t, NewRAID(), "apply_configuration")
	if _, err := create.Run(t.Context(), tk); err == nil || err.Error() != "the node has no target_raid_config" {
		t.Error(err)
	}
	tk.Node.TargetRAIDConfig = config(disk("1", 100.0))
	for range 2 {
		if _, err := create.Run(t.Context(), tk); err != nil || fmt.Sprint(tk.Node.RAIDConfig) != fmt.Sprint(tk.Node.TargetRAIDConfig) {
			t.Errorf("%v, %v", tk.Node.RAIDConfig, err)
		}
	}
	for range 2 {
		if _, err := remove.Run(t.Context(), tk); err != nil || len(tk.Node.RAIDConfig) != 0 {
			t.Errorf("%v, %v", tk.Node.RAIDConfig, err)
		}
	}
	tk.Node.Plan = &node.Plan{Steps: []node.PlannedStep{{Interface: node.RAID, Step: "apply_configuration"}}}
	if _, err := apply.Run(t.Context(), tk); err == nil || !strings.Contains(err.Error(), "raid_config is missing") {
		t.Error(err)
	}
	tk.Node.Plan.Steps[0].Args = map[string]any{"raid_config": map[string]any(config(disk("0", 5.0)))}
	if _, err := apply.Run(t.Context(), tk); err != nil || fmt.Sprint(tk.Node.RAIDConfig) != fmt.Sprint(config(disk("0", 5.0))) {
		t.Errorf("%v, %v", tk.Node.RAIDConfig, err)
	}
	tk.Node.DriverInfo["fake_create_configuration_fail"] = "out of disks"
	if _, err := create.Run(t.Context(), tk); err == nil || err.Error() != "out of disks" {
		t.Error(err)
	}
}

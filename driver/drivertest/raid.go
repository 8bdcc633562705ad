package drivertest

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// RAIDHarness is a raid interface with configurations that it takes and that it must refuse.
type RAIDHarness struct {
	Harness
	RAID    driver.RAID
	Good    map[string]node.Document
	Refused map[string]node.Document
}

// RAID is the conformance suite of raid interfaces that can be told what to build.
func RAID(t *testing.T, newHarness func(t *testing.T) RAIDHarness) {
	t.Run("implementation", func(t *testing.T) {
		h := newHarness(t)
		implementation(t, h.RAID, h.Harness)
	})
	t.Run("describes logical disks", func(t *testing.T) {
		properties := newHarness(t).RAID.LogicalDiskProperties()
		for _, key := range []string{"raid_level", "size_gb"} {
			if !strings.Contains(properties[key], "Required.") {
				t.Errorf("%s, which Ironic requires, is described as %q", key, properties[key])
			}
		}
		for key, help := range properties {
			if !strings.HasSuffix(help, ".") {
				t.Errorf("the help of %s is no sentence: %q", key, help)
			}
		}
		properties["raid_level"] = "changed"
		if newHarness(t).RAID.LogicalDiskProperties()["raid_level"] == "changed" {
			t.Error("who asks can change the answer of the next")
		}
	})
	t.Run("takes what is good and refuses the rest", func(t *testing.T) {
		h := newHarness(t)
		for what, config := range h.Good {
			if err := h.RAID.ValidateRAIDConfig(config); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		for what, config := range h.Refused {
			if err := h.RAID.ValidateRAIDConfig(config); err == nil || node.KindOf(err) != node.Invalid || !strings.HasSuffix(err.Error(), ".") {
				t.Errorf("%s: %v (kind %v); want a sentence of the kind Invalid", what, err, node.KindOf(err))
			}
		}
	})
	t.Run("offers Ironic's steps, none unasked", func(t *testing.T) {
		var names []string
		for _, s := range newHarness(t).RAID.(driver.Stepper).Steps() {
			names = append(names, s.Name)
			for flow, priority := range s.Priority {
				if priority != 0 {
					t.Errorf("%s runs unasked in %s", s.Name, flow)
				}
			}
		}
		for _, want := range []string{"create_configuration", "delete_configuration", "apply_configuration"} {
			if !slices.Contains(names, want) {
				t.Errorf("there is no step %s among %v", want, names)
			}
		}
	})
	t.Run("a node without a target is valid", func(t *testing.T) {
		h := newHarness(t)
		h.Task.Node.TargetRAIDConfig = nil
		if err := h.RAID.Validate(context.Background(), h.Task); err != nil {
			t.Error(err)
		}
	})
}

package drivertest

import (
	"context"
	"testing"

	"github.com/billet-metal/billet/driver"
)

// BootHarness is a machine whose next boot can be decided.
type BootHarness struct {
	Harness
	Boot driver.Boot
	// Management and Power are set when the driver uses them.
	Management driver.Management
	Power      driver.Power
	// Boots tells what the machine would boot now: "ramdisk", or "instance" when it would start what is on
	// its disk. nil when that cannot be known.
	Boots func(t *testing.T) string
}

// Boot is the conformance suite of driver.Boot.
func Boot(t *testing.T, newHarness func(t *testing.T) BootHarness) {
	t.Run("implementation", func(t *testing.T) {
		h := bootHarness(t, newHarness)
		implementation(t, h.Boot, h.Harness)
	})
	type call struct {
		name string
		do   func(context.Context, *driver.Task) error
		want string // what the machine boots afterwards
	}
	calls := func(b driver.Boot) []call {
		prepare := func(ctx context.Context, task *driver.Task) error {
			return b.PrepareRamdisk(ctx, task, map[string]string{"ipa-api-url": "http://192.0.2.1:6385"})
		}
		return []call{
			{"PrepareRamdisk", prepare, "ramdisk"},
			{"CleanUpRamdisk", b.CleanUpRamdisk, "instance"},
			{"PrepareRamdisk again", prepare, "ramdisk"},
			{"PrepareInstance", b.PrepareInstance, "instance"},
			{"CleanUpInstance", b.CleanUpInstance, "instance"},
			{"CleanUpRamdisk at last", b.CleanUpRamdisk, "instance"},
		}
	}
	t.Run("each call may be repeated", func(t *testing.T) {
		h := bootHarness(t, newHarness)
		for _, c := range calls(h.Boot) {
			for range 2 {
				if err := c.do(within(t, patience), h.Task); err != nil {
					t.Fatalf("%s: %v", c.name, err)
				}
			}
			if h.Boots == nil {
				continue
			}
			if got := h.Boots(t); got != c.want {
				t.Errorf("after %s the machine boots its %s, want its %s", c.name, got, c.want)
			}
		}
	})
	t.Run("nothing to clean up is no error", func(t *testing.T) {
		h := bootHarness(t, newHarness)
		if err := h.Boot.CleanUpRamdisk(within(t, patience), h.Task); err != nil {
			t.Errorf("CleanUpRamdisk: %v", err)
		}
		if err := h.Boot.CleanUpInstance(within(t, patience), h.Task); err != nil {
			t.Errorf("CleanUpInstance: %v", err)
		}
	})
}

func bootHarness(t *testing.T, newHarness func(*testing.T) BootHarness) BootHarness {
	t.Helper()
	h := newHarness(t)
	for _, task := range []*driver.Task{h.Task, h.Dead} {
		if task != nil {
			task.Hardware.Boot, task.Hardware.Management, task.Hardware.Power = h.Boot, h.Management, h.Power
		}
	}
	return h
}

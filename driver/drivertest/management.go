package drivertest

import (
	"context"
	"testing"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// ManagementHarness is a machine whose boot device can be set.
type ManagementHarness struct {
	Harness
	Management driver.Management
	// Power is set when the driver needs it to set a boot device.
	Power driver.Power
	// Forgets lists devices that the BMC reads back as something else.
	Forgets []string
}

// Management is the conformance suite of driver.Management.
func Management(t *testing.T, newHarness func(t *testing.T) ManagementHarness) {
	t.Run("implementation", func(t *testing.T) {
		h := managementHarness(t, newHarness)
		implementation(t, h.Management, h.Harness)
	})
	t.Run("offers what deploying needs", func(t *testing.T) {
		h := managementHarness(t, newHarness)
		offered := map[string]bool{}
		for _, d := range h.Management.BootDevices() {
			if offered[d] {
				t.Errorf("%s is offered twice", d)
			}
			offered[d] = true
		}
		for _, d := range []string{"pxe", "disk"} {
			if !offered[d] {
				t.Errorf("%s is not offered", d)
			}
		}
	})
	t.Run("each device is set, seen, and may be set again", func(t *testing.T) {
		h := managementHarness(t, newHarness)
		forgets := map[string]bool{}
		for _, d := range h.Forgets {
			forgets[d] = true
		}
		for _, device := range h.Management.BootDevices() {
			for _, persistent := range []bool{true, false} {
				want := node.BootDevice{Device: device, Persistent: persistent}
				for range 2 {
					if err := h.Management.SetBootDevice(within(t, patience), h.Task, want); err != nil {
						t.Fatalf("set %+v: %v", want, err)
					}
				}
				got, err := h.Management.BootDevice(within(t, patience), h.Task)
				if err != nil || got != want && !forgets[device] {
					t.Errorf("got %+v (error %v), want %+v", got, err, want)
				}
			}
		}
	})
	t.Run("an unknown device is refused", func(t *testing.T) {
		h := managementHarness(t, newHarness)
		err := h.Management.SetBootDevice(within(t, patience), h.Task, node.BootDevice{Device: "abacus"})
		if node.KindOf(err) != node.Invalid {
			t.Errorf("got %v, want a node.Invalid", err)
		}
	})
	t.Run("a dead BMC fails by the deadline", func(t *testing.T) {
		h := managementHarness(t, newHarness)
		unreachable(t, h.Harness, func(ctx context.Context, task *driver.Task) error {
			return h.Management.SetBootDevice(ctx, task, node.BootDevice{Device: "pxe"})
		})
	})
}

func managementHarness(t *testing.T, newHarness func(*testing.T) ManagementHarness) ManagementHarness {
	t.Helper()
	h := newHarness(t)
	for _, task := range []*driver.Task{h.Task, h.Dead} {
		if task != nil {
			task.Hardware.Management, task.Hardware.Power = h.Management, h.Power
		}
	}
	return h
}

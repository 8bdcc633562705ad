package drivertest

import (
	"context"
	"testing"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// PowerHarness is a machine to switch. It starts in any power state.
type PowerHarness struct {
	Harness
	Power driver.Power
	// Targets beyond on, off and rebooting that the driver supports.
	Soft []node.PowerState
}

// Power is the conformance suite of driver.Power. newHarness cleans up by t.Cleanup.
func Power(t *testing.T, newHarness func(t *testing.T) PowerHarness) {
	t.Run("implementation", func(t *testing.T) {
		h := powerHarness(t, newHarness)
		implementation(t, h.Power, h.Harness)
	})
	t.Run("each state is reached and seen", func(t *testing.T) {
		h := powerHarness(t, newHarness)
		for _, step := range []struct{ target, want node.PowerState }{
			{node.PowerOff, node.PowerOff}, {node.PowerOn, node.PowerOn}, {node.Rebooting, node.PowerOn},
			{node.PowerOff, node.PowerOff}, {node.Rebooting, node.PowerOn}, // a reboot starts a machine that is off
		} {
			h.set(t, step.target)
			h.sees(t, step.want)
		}
	})
	t.Run("asking twice does nothing more", func(t *testing.T) {
		h := powerHarness(t, newHarness)
		for _, target := range []node.PowerState{node.PowerOn, node.PowerOff} {
			h.set(t, target)
			h.set(t, target)
			h.sees(t, target)
		}
	})
	t.Run("soft targets", func(t *testing.T) {
		h := powerHarness(t, newHarness)
		want := map[node.PowerState]node.PowerState{node.SoftPowerOff: node.PowerOff, node.SoftRebooting: node.PowerOn}
		for _, target := range h.Soft {
			h.set(t, node.PowerOn)
			h.set(t, target)
			h.sees(t, want[target])
		}
	})
	t.Run("an unknown target is refused", func(t *testing.T) {
		h := powerHarness(t, newHarness)
		err := h.Power.SetPowerState(within(t, patience), h.Task, "sideways")
		if node.KindOf(err) != node.Invalid {
			t.Errorf("got %v, want a node.Invalid", err)
		}
	})
	t.Run("a dead BMC fails reading by the deadline", func(t *testing.T) {
		h := powerHarness(t, newHarness)
		unreachable(t, h.Harness, func(ctx context.Context, task *driver.Task) error {
			_, err := h.Power.PowerState(ctx, task)
			return err
		})
	})
	t.Run("a dead BMC fails switching by the deadline", func(t *testing.T) {
		h := powerHarness(t, newHarness)
		unreachable(t, h.Harness, func(ctx context.Context, task *driver.Task) error {
			return h.Power.SetPowerState(ctx, task, node.Rebooting)
		})
	})
}

func powerHarness(t *testing.T, newHarness func(*testing.T) PowerHarness) PowerHarness {
	t.Helper()
	h := newHarness(t)
	h.Task.Hardware.Power = h.Power
	if h.Dead != nil {
		h.Dead.Hardware.Power = h.Power
	}
	return h
}

func (h PowerHarness) set(t *testing.T, target node.PowerState) {
	t.Helper()
	if err := h.Power.SetPowerState(within(t, patience), h.Task, target); err != nil {
		t.Fatalf("set %q: %v", target, err)
	}
}

func (h PowerHarness) sees(t *testing.T, want node.PowerState) {
	t.Helper()
	got, err := h.Power.PowerState(within(t, patience), h.Task)
	if err != nil || got != want {
		t.Fatalf("power state %q (error %v), want %q", got, err, want)
	}
}

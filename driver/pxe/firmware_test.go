package pxe

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// firmware is the world's management interface that can also change how the firmware boots.
type firmware struct{ *world }

func (f firmware) SetBootMode(_ context.Context, _ *driver.Task, mode string) error {
	return f.do("mode " + mode)
}

func (f firmware) SetSecureBoot(_ context.Context, _ *driver.Task, on bool) error {
	return f.do(fmt.Sprint("secure ", on))
}

// A deploy and its end, as far as the firmware is concerned: what it is told, in which order, and what the node then says.
func TestFirmwareFollowsTheCapabilities(t *testing.T) {
	yes := true
	for _, tt := range []struct {
		name         string
		capabilities any
		before       func(*node.Node)
		want         []string
		mode         string
		secure       string
	}{
		{"nothing asked for", nil, func(*node.Node) {},
			[]string{"put", "boot pxe, stays false", "drop", "boot disk, stays true", "drop"}, "", "<nil>"},
		{"UEFI and secure boot", "boot_mode:uefi,secure_boot:true", func(*node.Node) {},
			[]string{"put", "secure false", "mode uefi", "boot pxe, stays false", "secure true", "drop", "boot disk, stays true", "secure false",
				"drop"}, "uefi", "false"},
		{"from the instance, in capitals", map[string]any{"boot_mode": "BIOS", "secure_boot": "True"}, func(n *node.Node) { n.BootMode = "uefi" },
			[]string{"put", "secure false", "mode bios", "boot pxe, stays false", "secure true", "drop", "boot disk, stays true", "secure false",
				"drop"}, "bios", "false"},
		{"as it is already", "boot_mode:uefi", func(n *node.Node) { n.BootMode = "uefi" },
			[]string{"put", "boot pxe, stays false", "drop", "boot disk, stays true", "drop"}, "uefi", "<nil>"},
		{"secure boot that nobody asked Billet for", "secure_boot:false", func(n *node.Node) { n.SecureBoot = &yes },
			[]string{"put", "boot pxe, stays false", "drop", "boot disk, stays true", "drop"}, "", "true"},
		{"what the hardware can, which no instance asks for", nil,
			func(n *node.Node) { n.Properties = node.Document{"capabilities": "secure_boot:true"} },
			[]string{"put", "boot pxe, stays false", "drop", "boot disk, stays true", "drop"}, "", "<nil>"},
		{"a mode that is none", "boot_mode:legacy", func(*node.Node) {},
			[]string{"put", "boot pxe, stays false", "drop", "boot disk, stays true", "drop"}, "", "<nil>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, w, task := setUp(t, boot.IPXE)
			task.Hardware.Management = firmware{w}
			task.Node.InstanceInfo["capabilities"] = tt.capabilities
			tt.before(task.Node)
			for _, step := range []func() error{
				func() error { return b.PrepareRamdisk(t.Context(), task, nil) },
				func() error { return b.PrepareInstance(t.Context(), task) },
				func() error { return b.CleanUpInstance(t.Context(), task) },
			} {
				if err := step(); err != nil {
					t.Fatal(err)
				}
			}
			if d := cmp.Diff(tt.want, w.did); d != "" {
				t.Errorf("what happened (-want +got):\n%s", d)
			}
			secure := "<nil>"
			if task.Node.SecureBoot != nil {
				secure = fmt.Sprint(*task.Node.SecureBoot)
			}
			if task.Node.BootMode != tt.mode || secure != tt.secure {
				t.Errorf("boot mode %q, secure boot %s", task.Node.BootMode, secure)
			}
		})
	}
}

// Hardware that cannot be told is left alone: the deploy goes on, and the node says nothing new.
func TestFirmwareThatCannotBeTold(t *testing.T) {
	b, w, task := setUp(t, boot.IPXE)
	task.Node.InstanceInfo["capabilities"] = "boot_mode:uefi,secure_boot:true"
	for _, err := range []error{b.PrepareRamdisk(t.Context(), task, nil), b.PrepareInstance(t.Context(), task), b.CleanUpInstance(t.Context(),
		task)} {
		if err != nil {
			t.Error(err)
		}
	}
	if d := cmp.Diff([]string{"put", "boot pxe, stays false", "drop", "boot disk, stays true", "drop"}, w.did); d != "" ||
		task.Node.BootMode != "" || task.Node.SecureBoot != nil {
		t.Errorf("boot mode %q, secure boot %v (-want +got):\n%s", task.Node.BootMode, task.Node.SecureBoot, d)
	}
}

// What the BMC refuses fails the step, in words that say which setting it was; the node keeps what it said.
func TestFirmwareFails(t *testing.T) {
	for what, want := range map[string]string{
		"mode uefi":    "setting the boot mode to uefi: broken",
		"secure false": "switching secure boot to false: broken",
		"secure true":  "switching secure boot to true: broken",
	} {
		b, w, task := setUp(t, boot.IPXE)
		task.Hardware.Management = firmware{w}
		task.Node.InstanceInfo["capabilities"] = "boot_mode:uefi,secure_boot:true"
		w.fails[what] = errors.New("broken")
		err := b.PrepareRamdisk(t.Context(), task, nil)
		if what == "secure true" {
			err = b.PrepareInstance(t.Context(), task)
		}
		if fmt.Sprint(err) != want {
			t.Errorf("%s: %v", what, err)
		}
		if what == "mode uefi" && task.Node.BootMode != "" || what == "secure false" && task.Node.SecureBoot != nil {
			t.Errorf("%s failed, and yet the node says %q, %v", what, task.Node.BootMode, task.Node.SecureBoot)
		}
	}
}

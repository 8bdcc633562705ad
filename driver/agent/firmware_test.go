package agent

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// plainBMC is a management interface that can set boot devices; firmwareBMC can switch Secure Boot too.
type plainBMC struct{ *machine }

func (plainBMC) BootDevices() []string { return nil }
func (plainBMC) SetBootDevice(context.Context, *driver.Task, node.BootDevice) error {
	return nil
}
func (plainBMC) BootDevice(context.Context, *driver.Task) (node.BootDevice, error) {
	return node.BootDevice{}, nil
}

type firmwareBMC struct{ plainBMC }

func (firmwareBMC) SetBootMode(context.Context, *driver.Task, string) error { return nil }
func (firmwareBMC) SetSecureBoot(context.Context, *driver.Task, bool) error { return nil }

// A deploy whose instance asks for Secure Boot ends, before anything is written, when the machine says that it is off
// and nobody can switch it.
func TestSecureBootIsOffInTheRamdisk(t *testing.T) {
	yes, no := true, false
	const refused = "The instance asks for Secure Boot, but in its machine it is off, as the ramdisk found, and the management interface " +
		"fake cannot switch it. Nothing was written. "
	for _, tt := range []struct {
		name   string
		wanted any
		said   *bool
		can    bool
		err    string
	}{
		{"off", map[string]any{"secure_boot": "true"}, &no, false, refused},
		{"off, and nobody asks", map[string]any{"boot_mode": "uefi"}, &no, false, ""},
		{"on", map[string]any{"secure_boot": "true"}, &yes, false, ""},
		{"not said", map[string]any{"secure_boot": "true"}, nil, false, ""},
		{"off until the instance starts", map[string]any{"secure_boot": "true"}, &no, true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.stored.InstanceInfo["capabilities"] = tt.wanted
			w.agent.boot = &wire.BootInfo{CurrentBootMode: "uefi", SecureBoot: tt.said}
			w.plan(node.FlowDeploy, w.direct.Steps())
			bootNote.Set(w.atRest(), ramdiskBoot{Since: node.Now().Add(-time.Second)})
			w.calls()
			task := w.task()
			bootNote.Set(task, ramdiskBoot{Since: task.Node.Plan.StartedAt})
			task.Hardware.Management = plainBMC{&machine{world: w}}
			if tt.can {
				task.Hardware.Management = firmwareBMC{plainBMC{&machine{world: w}}}
			}
			_, err := w.direct.booting().called(t.Context(), task)
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.err)) {
				t.Errorf("got %v, want %q", err, tt.err)
			}
			if task.Node.BootMode != "uefi" || tt.said != nil && *task.Node.SecureBoot != *tt.said {
				t.Errorf("the node says %q, %v", task.Node.BootMode, task.Node.SecureBoot)
			}
			if slices.ContainsFunc(w.agent.got, func(c wire.Command) bool { return strings.Contains(c.Name, "execute") }) {
				t.Errorf("the agent was told to do something: %v", w.agent.got)
			}
		})
	}
}

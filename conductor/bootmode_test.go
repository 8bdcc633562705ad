package conductor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/driver/fake"
	"github.com/billet-metal/billet/node"
)

// testFirmware is a management interface that a test can break.
type testFirmware struct {
	fake.Management
	m *machine
}

func (f testFirmware) SetBootMode(ctx context.Context, t *driver.Task, mode string) error {
	return f.m.do(ctx, t, "boot mode "+mode)
}

func (f testFirmware) SetSecureBoot(ctx context.Context, t *driver.Task, on bool) error {
	return f.m.do(ctx, t, fmt.Sprint("secure boot ", on))
}

func (f testFirmware) InjectNMI(ctx context.Context, t *driver.Task) error {
	return f.m.do(ctx, t, "nmi")
}

// setsBootDevicesOnly is a management interface that sets boot devices and nothing else.
type setsBootDevicesOnly struct{ driver.Management }

func (w *world) manageBy(m driver.Management) {
	for i := range w.cfg.Types {
		w.cfg.Types[i].Management[0] = m
	}
}

// In each state the change is made, or refused because something is under way.
func TestBootModeInEveryState(t *testing.T) {
	for _, s := range node.States {
		inWorld(t, func(w *world) {
			w.manageBy(testFirmware{fake.NewManagement(), w.m})
			w.enroll("test", s)
			w.edit(func(n *node.Node) { n.LastError = "old" })
			c := New(w.cfg)
			err := c.SetBootMode(w.t.Context(), uuid1, "uefi")
			if err == nil {
				err = c.SetSecureBoot(w.t.Context(), uuid1, true)
			}
			n := w.node()
			if class := s.Class(); class == node.Busy || class == node.Waiting {
				want := fmt.Sprintf("The boot mode of node %s can not be changed while it is in state %q.", uuid1, s)
				if node.KindOf(err) != node.Conflict || err.Error() != want || n.BootMode != "" || len(w.m.did) > 0 {
					t.Errorf("%s: %v, boot mode %q", s, err, n.BootMode)
				}
				return
			}
			if err != nil || n.BootMode != "uefi" || n.SecureBoot == nil || !*n.SecureBoot || n.LastError != "" || n.Lease.Held(time.Now()) {
				t.Errorf("%s: %v, %q, %v, last_error %q", s, err, n.BootMode, n.SecureBoot, n.LastError)
			}
		})
	}
}

// What the hardware cannot do is the request's error; what the BMC gets wrong is the node's.
func TestBootModeRefusedAndFailed(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Manageable)
		w.manageBy(setsBootDevicesOnly{fake.NewManagement()}) // embeds the interface alone
		c := New(w.cfg)
		for ability, err := range map[string]error{
			"set_boot_mode": c.SetBootMode(w.t.Context(), uuid1, "bios"), "set_secure_boot_state": c.SetSecureBoot(w.t.Context(), uuid1, false),
			"inject_nmi": c.InjectNMI(w.t.Context(), uuid1),
		} {
			if want := node.Unsupported("test", ability).Error(); node.KindOf(err) != node.Invalid || err.Error() != want {
				t.Errorf("%s: %v", ability, err)
			}
		}
		w.manageBy(testFirmware{fake.NewManagement(), w.m})
		w.m.fail["boot mode bios"] = errors.New("the BMC refuses hunter2-secret")
		w.m.panics["secure boot true"] = true
		if err := c.SetBootMode(w.t.Context(), uuid1, "bios"); err != nil {
			t.Error(err)
		}
		if n := w.node(); n.LastError != `Failed to change boot mode to "bios": the BMC refuses ******` || n.BootMode != "" ||
			n.State != node.Manageable {
			t.Errorf("last_error %q, boot mode %q", n.LastError, n.BootMode)
		}
		if err := c.SetSecureBoot(w.t.Context(), uuid1, true); err != nil {
			t.Error(err)
		}
		if n := w.node(); !strings.HasPrefix(n.LastError, `Failed to change secure boot to "true": a mistake in the driver`) ||
			n.SecureBoot != nil || strings.Contains(n.LastError, "hunter2") {
			t.Errorf("last_error %q", n.LastError)
		}
		for _, ident := range []string{"nobody"} {
			if err := c.SetBootMode(w.t.Context(), ident, "bios"); node.KindOf(err) != node.NotFound {
				t.Errorf("%s: %v", ident, err)
			}
		}
	})
}

// A node that somebody works on is locked, and one that is being changed is held meanwhile.
func TestBootModeHoldsTheNode(t *testing.T) {
	inWorld(t, func(w *world) {
		w.manageBy(testFirmware{fake.NewManagement(), w.m})
		w.enroll("test", node.Active)
		held := ""
		w.m.onDo = func(string, *node.Node) { held = w.node().Lease.Holder }
		c := New(w.cfg)
		if err := c.SetBootMode(w.t.Context(), uuid1, "bios"); err != nil || held != "host-1" {
			t.Errorf("%v, held by %q", err, held)
		}
		if _, err := w.store.Reserve(w.t.Context(), uuid1, "host-9", time.Hour); err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{c.SetBootMode(w.t.Context(), uuid1, "uefi"), c.SetSecureBoot(w.t.Context(), uuid1, true),
			c.InjectNMI(w.t.Context(), uuid1)} {
			if node.KindOf(err) != node.Conflict {
				t.Errorf("a locked node: %v", err)
			}
		}
	})
}

func TestInjectNMI(t *testing.T) {
	inWorld(t, func(w *world) {
		w.manageBy(testFirmware{fake.NewManagement(), w.m})
		w.enroll("test", node.Active)
		c := New(w.cfg)
		if err := c.InjectNMI(w.t.Context(), uuid1); err != nil {
			t.Error(err)
		}
		w.m.fail["nmi"] = errors.New("broken")
		if err := c.InjectNMI(w.t.Context(), uuid1); err == nil || w.node().Lease.Held(time.Now()) {
			t.Errorf("%v, lease %+v", err, w.node().Lease)
		}
		if all := strings.Join(w.events(), "\n"); strings.Count(all, "A non-maskable interrupt was injected on request.") != 1 {
			t.Errorf("history:\n%s", all)
		}
	})
}

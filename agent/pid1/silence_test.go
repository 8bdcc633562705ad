package pid1

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// isUp asks the kernel.
func isUp(t *testing.T, name string) bool {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return l.Attrs().RawFlags&unix.IFF_UP != 0
}

// Before the machine goes down no interface sends any more; one that stays up after all gets back those that
// were up, and only those.
func TestSilence(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	cable(t, "eth0", "52:54:00:00:00:01", "far0")
	cable(t, "eth1", "52:54:00:00:00:02", "far1")
	for _, name := range []string{"lo", "eth0"} {
		l, err := netlink.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetUp(l); err != nil {
			t.Fatal(err)
		}
	}
	var logs bytes.Buffer
	undo := silence(slog.New(slog.NewTextHandler(&logs, nil)))
	for name, want := range map[string]bool{"lo": true, "eth0": false, "eth1": false, "far0": false} {
		if isUp(t, name) != want {
			t.Errorf("%s is up: %v", name, !want)
		}
	}
	undo()
	for name, want := range map[string]bool{"eth0": true, "eth1": false, "far0": true} {
		if isUp(t, name) != want {
			t.Errorf("afterwards %s is up: %v", name, !want)
		}
	}
	if logs.Len() > 0 {
		t.Errorf("it says %s", &logs)
	}
}

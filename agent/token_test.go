package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// insert puts a medium with the given files into a drive of the machine.
func insert(t *testing.T, root, drive, label string, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(root, "sys/block", drive), 0o755); err != nil {
		t.Fatal(err)
	}
	program(t, "genisoimage", "-quiet", "-V", label, "-o", filepath.Join(root, "dev", drive), dir)
}

// A BMC may insert its medium late: the machine waits, exports nothing meanwhile, and gives up in time.
func TestWaitsForMedium(t *testing.T) {
	e := newExporting(t, "serial=disk-2")
	e.Config.ISCSI.Media = true
	ended := e.run(t)
	e.noReboot(t, ended)
	insert(t, e.Config.Root, "sr0", "ir-vfd-dev", map[string]string{"token": "the-token"})
	e.wantDid(t, "export iqn.x:y /dev/vdb")
	if got := e.heard(t, 1); !strings.Contains(got, "pass_deploy_info the-token ") {
		t.Errorf("the service hears %s", got)
	}

	e = newExporting(t, "serial=disk-2")
	e.Config.ISCSI.Media, e.Config.LookupTimeout = true, 100*time.Millisecond
	err := receive(t, e.run(t))
	if err == nil || !strings.Contains(err.Error(), "fetching the token for the deployment "+testNode+": no medium") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Again(ctx, "x", func() error { return errors.New("busy") }); err == nil {
		t.Error("it goes on after its end")
	}
}

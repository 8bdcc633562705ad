package agent

import (
	"bytes"
	"context"
	"log/slog"
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

// The token comes from the labelled medium where there is one, else by TFTP; the log says from where, and
// never what.
func TestFetchToken(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, e *exporting)
		want   string
		says   string // in the log, or the error
	}{
		{"by TFTP", func(*testing.T, *exporting) {}, "the-token", "from=TFTP"},
		{"on a medium", func(t *testing.T, e *exporting) {
			insert(t, e.Config.Root, "sr0", "ir-vfd-dev", map[string]string{"token": "of-the-medium\n", "params.txt": "x"})
		}, "of-the-medium", "from=/dev/sr0"},
		{"in the second drive", func(t *testing.T, e *exporting) {
			insert(t, e.Config.Root, "sr0", "config-2", map[string]string{"token": "of-another"})
			insert(t, e.Config.Root, "sr1", "IR-VFD-DEV", map[string]string{"token": "of-the-medium"})
		}, "of-the-medium", "from=/dev/sr1"},
		{"on a medium that is awaited", func(t *testing.T, e *exporting) {
			e.Config.ISCSI.Media, e.Config.ISCSI.BootServer = true, "127.0.0.1:1"
			insert(t, e.Config.Root, "sr0", "ir-vfd-dev", map[string]string{"token": "of-the-medium"})
		}, "of-the-medium", "from=/dev/sr0"},
		{"a medium without a token", func(t *testing.T, e *exporting) {
			insert(t, e.Config.Root, "sr0", "ir-vfd-dev", map[string]string{"params.txt": "x"})
		}, "the-token", "from=TFTP"},
		{"a damaged medium", func(t *testing.T, e *exporting) {
			insert(t, e.Config.Root, "sr0", "ir-vfd-dev", map[string]string{"token": "of-the-medium"})
			path := filepath.Join(e.Config.Root, "dev/sr0")
			if err := os.Truncate(path, 17*2048); err != nil {
				t.Fatal(err)
			}
		}, "the-token", "a drive cannot be searched for the token"},
		{"an empty drive", func(t *testing.T, e *exporting) {
			if err := os.MkdirAll(filepath.Join(e.Config.Root, "sys/block/sr0"), 0o755); err != nil {
				t.Fatal(err)
			}
		}, "the-token", "from=TFTP"},
		{"no medium where one is awaited", func(t *testing.T, e *exporting) { e.Config.ISCSI.Media = true }, "",
			"no medium labelled ir-vfd-dev with a file token is there"},
		{"no TFTP", func(t *testing.T, e *exporting) { e.Config.ISCSI.DeploymentID = "another" }, "", "no such file"},
		{"an empty token", func(t *testing.T, e *exporting) {
			insert(t, e.Config.Root, "sr0", "ir-vfd-dev", map[string]string{"token": " \n"})
		}, "", "the token from /dev/sr0: it has 0 characters"},
		{"two words", func(t *testing.T, e *exporting) {
			insert(t, e.Config.Root, "sr0", "ir-vfd-dev", map[string]string{"token": "secret secret"})
		}, "", "the token from /dev/sr0: it has 13 characters; one word"},
		{"no text", func(t *testing.T, e *exporting) {
			insert(t, e.Config.Root, "sr0", "ir-vfd-dev", map[string]string{"token": "sec\x00ret"})
		}, "", "one word of 1 to 1024 printable ones is allowed"},
		{"too long", func(t *testing.T, e *exporting) {
			insert(t, e.Config.Root, "sr0", "ir-vfd-dev", map[string]string{"token": strings.Repeat("secret", 200)})
		}, "", "it has 1200 characters"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := newExporting(t, "")
			var logs bytes.Buffer
			e.Log = slog.New(slog.NewTextHandler(&logs, nil))
			e.prepare()
			tt.change(t, e)
			err := e.fetchToken(t.Context())
			if tt.want == "" {
				if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "secret") {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || e.client.authToken != tt.want || !strings.Contains(logs.String(), tt.says) {
				t.Errorf("got %q, %v; the log says %s", e.client.authToken, err, logs.String())
			}
			if strings.Contains(logs.String(), tt.want) {
				t.Errorf("the token is in the log: %s", logs.String())
			}
		})
	}
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
	if err := e.again(ctx, "x", func() error { return e.fetchToken(ctx) }); err == nil {
		t.Error("it goes on after its end")
	}
}

package compat

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// novaDir is the virtual environment that `make test-nova` builds, a few hundred megabytes.
const novaDir = "../.cache/nova"

// The compute service's own driver, with its own library below it, drives nodes through their lives: what nova-compute does in
// spawn, power, rescue, rebuild and destroy, and what it makes of refusals and failures. The program itself checks.
func TestNovaDriverDrivesAWholeLife(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(filepath.Join(novaDir, "installed")); err != nil {
		const text = "NOT TESTED: the compute service's own driver. `make test-nova` installs it and runs this."
		os.Stderr.WriteString(text + "\n")
		t.Skip(text)
	}
	t.Run("none", func(t *testing.T) { drive(t, startBillet(t), "", "", "whole_life", "bonded", "volumes", "failures") })
	t.Run("http_basic", func(t *testing.T) {
		drive(t, startBillet(t, "--auth", "http_basic", "--htpasswd-file", htpasswd(t)), "ada", "open sesame", "partitions")
	})
}

// drive runs parts of the program against a service.
func drive(t *testing.T, b *billet, user, password string, parts ...string) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(novaDir, "bin", "python"),
		slices.Concat([]string{"-B", filepath.Join("testdata", "novadriver.py"), b.endpoint, user, password}, parts)...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + t.TempDir(), "TMPDIR=" + t.TempDir(), "LANG=C.UTF-8"}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "done\n") {
		t.Fatalf("%v\n%s", err, out)
	}
	for line := range strings.SplitSeq(string(out), "\n") {
		if strings.HasSuffix(line, " s") {
			t.Log(line)
		}
	}
}

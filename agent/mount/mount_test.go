package mount_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/billet-metal/billet/agent/mount"
	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/disktest"
)

// unclean is an ext4 file system that was not unmounted: its journal is to be replayed at the next mount.
func unclean(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fs")
	if err := os.WriteFile(path, disktest.RootImage(t), 0o600); err != nil {
		t.Fatal(err)
	}
	disktest.Run(t, "debugfs", "-w", "-R", "feature needs_recovery", path)
	return path
}

// options are those of a mount, as the kernel shows them.
func options(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); f[4] == dir {
			return f[5] + " " + f[len(f)-1]
		}
	}
	return ""
}

// Looking changes no byte of a file system, not even of one whose journal waits to be replayed. Writing does
// replay it. In neither case does a program or a device of the image count.
func TestVolume(t *testing.T) {
	for _, tt := range []struct {
		access mount.Access
		first  string
		same   bool
	}{{mount.Read, "ro", true}, {mount.Write, "rw", false}} {
		path := unclean(t)
		before := disktest.Read(t, path)
		v := disk.Volume{Number: 3, Node: disktest.Loop(t, path, "512"), FS: disk.FS{Type: "ext4"}}
		dir := filepath.Join(t.TempDir(), "here")
		var loaded []string
		undo, err := mount.Volume(t.Context(), func(name string) { loaded = append(loaded, name) }, v, dir, tt.access)
		if err != nil {
			t.Fatal(err)
		}
		got := options(t, dir)
		for _, want := range []string{tt.first + ",", "nosuid", "nodev", "noexec"} {
			if !strings.Contains(got, want) {
				t.Errorf("mounted with %q; want %s", got, want)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); (err == nil) == tt.same {
			t.Errorf("writing a file: %v", err)
		}
		if err := undo(); err != nil || options(t, dir) != "" {
			t.Errorf("it stays mounted: %v", err)
		}
		unix.Sync()
		if bytes.Equal(before, disktest.Read(t, path)) != tt.same {
			t.Errorf("mounted %s: unchanged is %v", tt.first, !tt.same)
		}
		if len(loaded) != 1 || loaded[0] != "ext4" {
			t.Errorf("the modules %v were loaded", loaded)
		}
	}
}

// What the kernel refuses is told from a partition that is not there.
func TestVolumeRefused(t *testing.T) {
	v := disk.Volume{Number: 2, Node: disktest.Loop(t, disktest.DirtyFile(t, 8<<20), "512"), FS: disk.FS{Type: "ext4"}}
	_, err := mount.Volume(t.Context(), nil, v, t.TempDir(), mount.Read)
	if refused := (*mount.Refused)(nil); !errors.As(err, &refused) || !strings.HasPrefix(err.Error(), "mounting partition 2 (ext4): ") {
		t.Errorf("%v", err)
	}
	v.Node = filepath.Join(t.TempDir(), "none")
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	_, err = mount.Volume(ctx, nil, v, t.TempDir(), mount.Read)
	if refused := (*mount.Refused)(nil); err == nil || errors.As(err, &refused) {
		t.Errorf("without a device node: %v", err)
	}
}

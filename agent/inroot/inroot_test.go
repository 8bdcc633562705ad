package inroot

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func tree(t *testing.T) string {
	outside := t.TempDir()
	dir := filepath.Join(outside, "root")
	for _, err := range []error{
		os.WriteFile(filepath.Join(outside, "secret"), []byte("outside"), 0o600), os.MkdirAll(filepath.Join(dir, "etc"), 0o755),
		os.WriteFile(filepath.Join(dir, "secret"), []byte("inside"), 0o644), os.Symlink("/secret", filepath.Join(dir, "absolute")),
		os.Symlink("../../../secret", filepath.Join(dir, "etc/up")), os.Symlink("/", filepath.Join(dir, "etc/top")),
		os.Symlink("loop", filepath.Join(dir, "loop")),
		unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Whatever a path says, it ends inside.
func TestNothingLeadsOut(t *testing.T) {
	dir := tree(t)
	for _, name := range []string{"secret", "/secret", "../secret", "/../../secret", "absolute", "etc/up", "/etc/top/secret",
		"etc/../../secret", "etc/top/../../../absolute"} {
		if b, err := ReadFile(dir, name, 100); err != nil || string(b) != "inside" {
			t.Errorf("%s is %q, %v", name, b, err)
		}
	}
	if _, err := ReadFile(dir, "secret", 3); err == nil || !strings.Contains(err.Error(), "more than 3 bytes") {
		t.Errorf("a large file: %v", err)
	}
	for name, want := range map[string]error{"none": fs.ErrNotExist, "loop": unix.ELOOP} {
		if _, err := OpenFile(dir, name); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"etc", "pipe", "/"} {
		if _, err := OpenFile(dir, name); err == nil || !strings.Contains(err.Error(), "no regular file") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Stat(filepath.Join(dir, "gone"), "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a root that is not there: %v", err)
	}
	if names, err := Names(dir, "/etc", 2); err != nil || len(names) != 2 {
		t.Errorf("names %v, %v", names, err)
	}
}

func TestMkdirAndRemove(t *testing.T) {
	dir := tree(t)
	if err := Mkdir(dir, "etc/top/etc/new", 0o1777); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "etc/new")); err != nil || info.Mode() != fs.ModeDir|fs.ModeSticky|0o777 {
		t.Errorf("%v, %v", info, err)
	}
	for name, want := range map[string]error{
		"/": nil, "..": nil, "etc/new": fs.ErrExist, "none/new": fs.ErrNotExist, "secret/new": unix.ENOTDIR, "loop/new": unix.ELOOP,
	} {
		if err := Mkdir(dir, name, 0o700); err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("mkdir %s: %v", name, err)
		}
	}
	// A link is removed itself, never what it leads to.
	for _, name := range []string{"absolute", "etc/up", "../loop", "pipe"} {
		if err := Remove(dir, name); err != nil {
			t.Errorf("remove %s: %v", name, err)
		}
	}
	for _, name := range []string{"/", "etc", "etc/up", "none"} {
		if err := Remove(dir, name); err == nil {
			t.Errorf("remove %s: no error", name)
		}
	}
	for _, path := range []string{filepath.Join(dir, "secret"), filepath.Join(filepath.Dir(dir), "secret")} {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

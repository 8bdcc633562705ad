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
		os.Symlink("../../../secret", filepath.Join(dir, "etc/up")), os.Symlink("/", filepath.Join(dir, "etc/top")), os.Symlink("loop", filepath.Join(dir, "loop")),
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
	for _, name := range []string{"secret", "/secret", "../secret", "/../../secret", "absolute", "etc/up", "/etc/top/secret", "etc/../../secret", "etc/top/../../../absolute"} {
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

package inroot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A file that is made is made inside, with the mode asked for and nothing more, whatever links say.
func TestCreate(t *testing.T) {
	dir := tree(t)
	outside := filepath.Dir(dir)
	for name, to := range map[string]string{"dangling": "/etc/new", "leads-up": "../../../../new-outside", "to-nowhere": "/none/x"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	create := func(name string, flags int) error {
		f, err := Open(dir, name, unix.O_WRONLY|unix.O_CREAT|flags, 0o7640) // set-user-ID is not a permission
		if err != nil {
			return err
		}
		_, err = io.WriteString(f, "made")
		return errors.Join(err, f.Close())
	}
	for name, at := range map[string]string{"plain": "plain", "/etc/x": "etc/x", "dangling": "etc/new", "leads-up": "new-outside",
		"../../up": "up", "etc/top/y": "y"} {
		if err := create(name, 0); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		info, err := os.Stat(filepath.Join(dir, at))
		if err != nil || info.Mode()&^0o640 != 0 {
			t.Errorf("%s: at %s is %v, %v", name, at, info, err)
		}
	}
	for name, want := range map[string]error{"to-nowhere": fs.ErrNotExist, "none/x": fs.ErrNotExist, "secret/x": unix.ENOTDIR,
		"etc": unix.EISDIR} {
		if err := create(name, 0); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	if err := create("dangling", unix.O_EXCL); !errors.Is(err, fs.ErrExist) {
		t.Errorf("what must be new, where a link is: %v", err)
	}
	names, err := os.ReadDir(outside)
	if err != nil || len(names) != 2 { // the root and the secret
		t.Errorf("outside there are now %v, %v", names, err)
	}
	if text, err := os.ReadFile(filepath.Join(outside, "secret")); err != nil || string(text) != "outside" {
		t.Errorf("the secret is %q, %v", text, err)
	}
}

// A pipe in an image blocks nobody, a device is not opened to look at it, and /proc's links, which
// would lead to open files of this process, are not followed.
func TestWhatBlocksOrActs(t *testing.T) {
	dir := tree(t)
	done := make(chan error, 1)
	go func() {
		_, err := OpenFile(dir, "pipe")
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil {
			t.Error("a pipe is a file")
		}
	case <-time.After(5 * time.Second):
		t.Fatal("a pipe blocks")
	}
	if info, err := Stat(dir, "pipe"); err != nil || info.Mode()&fs.ModeNamedPipe == 0 {
		t.Errorf("a pipe is %v, %v", info, err)
	}
	secret, err := os.Open(filepath.Join(filepath.Dir(dir), "secret"))
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	link := fmt.Sprintf("self/fd/%d", secret.Fd())
	if b, err := ReadFile("/proc", link, 100); err == nil {
		t.Errorf("/proc/%s is followed: %q", link, b)
	}
	if b, err := ReadFile("/proc", "self/root/etc/hostname", 1000); err == nil {
		t.Errorf("/proc/self/root is followed: %q", b)
	}
	if os.Geteuid() == 0 {
		for name, kind := range map[string]uint32{"null": unix.S_IFCHR, "block": unix.S_IFBLK} {
			if err := unix.Mknod(filepath.Join(dir, name), kind|0o600, int(unix.Mkdev(1, 3))); err != nil {
				t.Fatalf("the temporary directory needs a file system that takes device nodes: %v", err)
			}
			if _, err := OpenFile(dir, name); err == nil {
				t.Errorf("the device %s is a file", name)
			}
			if _, err := Stat(dir, name); err != nil {
				t.Errorf("what %s is can be asked: %v", name, err)
			}
		}
	}
}

// Somebody who turns folders into links and back while they are walked through never leads out:
// it is the kernel that walks, not a check before it.
func TestRace(t *testing.T) {
	dir := tree(t)
	outside := filepath.Dir(dir)
	real, link := filepath.Join(dir, "folder"), filepath.Join(dir, "link")
	for _, err := range []error{os.Mkdir(real, 0o755), os.WriteFile(filepath.Join(real, "secret"), []byte("inside"), 0o644),
		os.Symlink(outside, link)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	stop, turns := make(chan struct{}), 0
	turned := make(chan struct{})
	go func() {
		defer close(turned)
		for {
			select {
			case <-stop:
				return
			default:
			}
			// The two change names, at once: RENAME_EXCHANGE.
			if unix.Renameat2(unix.AT_FDCWD, real, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE) != nil {
				return
			}
			turns++
		}
	}()
	seen := map[string]int{}
	for range 20000 {
		b, err := ReadFile(dir, "folder/secret", 100)
		if err != nil {
			seen["an error"]++
		} else {
			seen[string(b)]++
		}
	}
	close(stop)
	<-turned
	if seen["outside"] > 0 || seen["inside"] == 0 {
		t.Errorf("read were %v, over %d turns", seen, turns)
	}
}

// Names takes no more than it was told to, so that a folder of millions costs nothing.
func TestNamesLimit(t *testing.T) {
	dir := t.TempDir()
	for i := range 5 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("f", i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	for limit, ok := range map[int]bool{0: false, 5: false, 6: true, 100: true} {
		names, err := Names(dir, "/", limit)
		slices.Sort(names)
		if (err == nil) != ok || ok && fmt.Sprint(names) != "[empty f0 f1 f2 f3 f4]" {
			t.Errorf("at most %d: %v, %v", limit, names, err)
		}
		if err != nil && !strings.Contains(err.Error(), fmt.Sprintf("more than %d files", limit)) {
			t.Errorf("at most %d: %v", limit, err)
		}
	}
	if names, err := Names(dir, "empty", 0); err != nil || len(names) != 0 {
		t.Errorf("an empty folder: %v, %v", names, err)
	}
	for name, want := range map[string]error{"f0": unix.ENOTDIR, "none": fs.ErrNotExist} {
		if _, err := Names(dir, name, 10); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
}

// ReadFile's bound counts what comes, not what a file says it has.
func TestReadFileBound(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("12345"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "holes"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "holes"), 1<<40); err != nil {
		t.Fatal(err)
	}
	for limit, ok := range map[int64]bool{4: false, 5: true, 6: true} {
		if b, err := ReadFile(dir, "f", limit); (err == nil) != ok || ok && string(b) != "12345" {
			t.Errorf("at most %d: %q, %v", limit, b, err)
		}
	}
	if b, err := ReadFile(dir, "holes", 1<<20); err == nil || len(b) != 0 {
		t.Errorf("a terabyte of holes: %d bytes, %v", len(b), err)
	}
	// Files of /proc say that they have nothing in them.
	if b, err := ReadFile("/proc", "version", 4096); err != nil || !strings.HasPrefix(string(b), "Linux version") {
		t.Errorf("/proc/version: %q, %v", b, err)
	}
}

// FuzzPath: no path leads out.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"secret", "../secret", "etc/up", "etc/top/../../secret", "/", "", ".", "..", "\x00", "absolute/..", "loop",
		"//secret//", "etc/./top/absolute"} {
		f.Add(s)
	}
	outside := f.TempDir()
	dir := filepath.Join(outside, "root")
	for _, err := range []error{
		os.WriteFile(filepath.Join(outside, "secret"), []byte("outside"), 0o600), os.MkdirAll(filepath.Join(dir, "etc"), 0o755),
		os.WriteFile(filepath.Join(dir, "secret"), []byte("inside"), 0o644), os.Symlink("/secret", filepath.Join(dir, "absolute")),
		os.Symlink("../../../secret", filepath.Join(dir, "etc/up")), os.Symlink("/", filepath.Join(dir, "etc/top")),
		os.Symlink("loop", filepath.Join(dir, "loop")),
	} {
		if err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, name string) {
		if b, err := ReadFile(dir, name, 100); err == nil && string(b) != "inside" {
			t.Errorf("%q is %q", name, b)
		}
		if names, err := Names(dir, name, 100); err == nil && slices.Contains(names, "root") {
			t.Errorf("%q lists %v", name, names)
		}
	})
}

package efi

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// small is firmware with room for so many variables: a file system with that many files.
func small(t *testing.T, variables int) Variables {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("nr_inodes=%d", variables+1)); err != nil {
		t.Fatalf("mounting (the test needs root): %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return Variables{Dir: dir}
}

func entry(text string, id byte, path string) []byte {
	return Option{Description: text, Path: path, Partition: Partition{Number: 1, Start: 34, Sectors: 9, Signature: [16]byte{id}}}.Encode()
}

func put(t *testing.T, v Variables, name string, value []byte) {
	t.Helper()
	if err := os.WriteFile(v.path(name), append([]byte{7, 0, 0, 0}, value...), 0o644); err != nil {
		t.Fatal(err)
	}
}

func numbersOf(t *testing.T, v Variables) string {
	t.Helper()
	all, err := v.entries()
	if err != nil {
		t.Fatal(err)
	}
	order, err := v.BootOrder()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(all, order)
}

// Entries of earlier systems, whose partitions are gone, and second ones for the same loader go; those of
// systems that are there, of networks and of other forms stay.
func TestStaleEntriesGo(t *testing.T) {
	v := firmware(t, map[string]string{"BootOrder": "0500040003000200010000000700"})
	o := Option{Description: "Billet instance", Path: `\EFI\debian\shimx64.efi`,
		Partition: Partition{Number: 1, Start: 34, Sectors: 9, Signature: [16]byte{9}}}
	v.Present = func(p Partition) bool { return p.Signature[0] == 9 || p.Signature[0] == 8 }
	put(t, v, "Boot0000", entry("gone", 1, `\EFI\a.efi`))
	put(t, v, "Boot0001", entry("another system", 8, `\EFI\debian\shimx64.efi`))
	put(t, v, "Boot0002", entry("debian", 9, `\efi\DEBIAN\shimx64.efi`)) // the same loader
	put(t, v, "Boot0003", []byte("\x01\x00\x00\x00\x04\x00N\x00e\x00t\x00\x00\x00\x7f\xff\x04\x00"))
	put(t, v, "Boot0004", entry("Billet instance", 2, `\EFI\old.efi`))
	put(t, v, "Boot0005", entry("tool", 9, `\EFI\tool.efi`))
	put(t, v, "Boot0007", []byte{0xff})
	for range 2 {
		n, err := v.Install(o)
		if err != nil || n != 4 {
			t.Fatalf("entry %d, %v", n, err)
		}
		if got := numbersOf(t, v); got != "[1 3 4 5 7] [4 5 3 1 7]" {
			t.Errorf("left are %s", got)
		}
	}
	v.Present = nil // nobody knows: nothing of others goes but what starts the same
	put(t, v, "Boot0000", entry("gone", 1, `\EFI\a.efi`))
	if _, err := v.Install(o); err != nil {
		t.Fatal(err)
	}
	if got := numbersOf(t, v); got != "[0 1 3 4 5 7] [4 5 3 1 7]" {
		t.Errorf("left are %s", got)
	}
}

// Full firmware is cleaned of what nobody needs: our own, what is gone, and crash logs of earlier systems.
func TestFullFirmwareIsCleaned(t *testing.T) {
	for name, unneeded := range map[string]func(v Variables) string{
		"gone": func(v Variables) string { put(t, v, "Boot0001", entry("gone", 1, `\a.efi`)); return v.path("Boot0001") },
		"crash log": func(v Variables) string {
			path := filepath.Join(v.Dir, "dump-type0-1-1-1700000000-C-"+dumps)
			if err := os.WriteFile(path, []byte("\x07\x00\x00\x00oops"), 0o644); err != nil {
				t.Fatal(err)
			}
			return path
		},
	} {
		v := small(t, 3)
		v.Present = func(p Partition) bool { return p.Signature[0] != 1 }
		put(t, v, "BootOrder", []byte{0, 0})
		put(t, v, "Boot0000", entry("another system", 8, `\b.efi`))
		gone := unneeded(v)
		n, err := v.Install(debian)
		if err != nil || n != 1 {
			t.Fatalf("%s: entry %d, %v", name, n, err)
		}
		if b, err := os.ReadFile(gone); err == nil && string(b[4:]) != string(debian.Encode()) {
			t.Errorf("%s is still there", gone)
		}
		if got := numbersOf(t, v); got != "[0 1] [1 0]" {
			t.Errorf("%s: left are %s", name, got)
		}
	}
}

// When all that is there is somebody's, nothing of it is touched, and the caller knows why.
func TestFullFirmwareOfOthers(t *testing.T) {
	v := small(t, 3)
	v.Present = func(Partition) bool { return true }
	put(t, v, "BootOrder", []byte{0, 0, 1, 0})
	put(t, v, "Boot0000", entry("one", 8, `\a.efi`))
	put(t, v, "Boot0001", entry("two", 8, `\b.efi`))
	_, err := v.Install(debian)
	if !errors.Is(err, ErrFull) || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("%v", err)
	}
	if got := numbersOf(t, v); got != "[0 1] [0 1]" {
		t.Errorf("left are %s", got)
	}
}

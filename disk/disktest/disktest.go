// Package disktest has what tests of the disk packages share: files as full as used disks, images made by
// the programs that people make them with, and those programs as judges. Nothing but tests imports it.
package disktest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Run runs a program that the tests compare with; one that is missing is a failure that says so.
func Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%s is needed: apt-get install qemu-utils gdisk fdisk util-linux dosfstools mtools genisoimage xz-utils zstd", name)
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TryRun is run for programs that may fail.
func TryRun(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	return string(out), err
}

// Feed is run with standard input.
func Feed(t testing.TB, input, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// Pattern is n bytes without runs of zeros that differ from place to place.
func Pattern(n int) []byte {
	out := make([]byte, n)
	state := uint32(2463534242)
	for i := range out {
		state ^= state << 13
		state ^= state >> 17
		state ^= state << 5
		out[i] = byte(state) | 1
	}
	return out
}

// WantError fails unless err's text holds all parts.
func WantError(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", parts)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q does not say %q", err, p)
		}
	}
}

// FirstDifference is where two contents begin to differ; -1 when they do not.
func FirstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	if len(a) != len(b) {
		return min(len(a), len(b))
	}
	return -1
}

// Dirt is what a disk holds that was used before.
const Dirt = 0xa5

// DirtyFile is a file that is as full as a disk that was used before.
func DirtyFile(t testing.TB, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, bytes.Repeat([]byte{Dirt}, int(size)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func Sparse(t testing.TB, name string, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return path
}

func Read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Loop makes a block device of a file, with the sector size given.
func Loop(t testing.TB, path, sector string) string {
	t.Helper()
	out, err := TryRun("losetup", "--find", "--show", "--sector-size", sector, path)
	if err != nil {
		t.Fatalf("losetup: %v: %s (these tests need root)", err, out)
	}
	loop := strings.TrimSpace(out)
	t.Cleanup(func() { Run(t, "losetup", "--detach", loop) })
	return loop
}

// MadeBy is a file system of a size, made by a program, in memory.
func MadeBy(t testing.TB, size int64, program string, options ...string) []byte {
	t.Helper()
	path := Sparse(t, "fs", size)
	Run(t, program, append(options, path)...)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Verify asks sgdisk whether the partition table is right.
func Verify(t testing.TB, path string) {
	t.Helper()
	if out := Run(t, "sgdisk", "--verify", path); !strings.Contains(out, "No problems found") {
		t.Errorf("sgdisk: %s", out)
	}
	if out := Run(t, "sfdisk", "--verify", path); !strings.Contains(out, "No errors detected") {
		t.Errorf("sfdisk: %s", out)
	}
}

package write

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/disktest"
	"github.com/billet-metal/billet/wire"
)

// An ephemeral partition full of somebody's old data gets a file system that its own checker finds nothing
// wrong with, whose journal has no old data in it, and that covers the partition to its end.
func TestMakeEphemeral(t *testing.T) {
	for format, kind := range map[string]string{"": "ext4", "ext4": "ext4", "ext3": "ext3", "ext2": "ext2"} {
		t.Run("format "+format, func(t *testing.T) {
			const offset, length = 3 * mib, 40 * mib
			d := dirtyDisk(t, offset+length+mib)
			dir := t.TempDir()
			p := disk.Partition{Role: disk.Ephemeral, Number: 1, Offset: offset, Length: length}
			for range 2 { // the second time is after a crash
				if err := MakeEphemeral(t.Context(), d, p, format, dir); err != nil {
					t.Fatal(err)
				}
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("%s was left behind", left[0].Name())
			}
			all := contents(t, d)
			outside := append(bytes.Clone(all[:offset]), all[offset+length:]...)
			if bytes.Count(outside, []byte{disktest.Dirt}) != len(outside) {
				t.Error("bytes outside of the partition were changed")
			}
			part := filepath.Join(t.TempDir(), "part")
			if err := os.WriteFile(part, all[offset:offset+length], 0o600); err != nil {
				t.Fatal(err)
			}
			if got := disktest.Run(t, "blkid", "--probe", "-o", "export", part); !strings.Contains(got, "LABEL=ephemeral0") ||
				!strings.Contains(got, "TYPE="+kind) {
				t.Errorf("blkid: %s", got)
			}
			disktest.Run(t, "e2fsck", "-f", "-n", part)
			if got := disktest.Run(t, "dumpe2fs", "-h", part); !strings.Contains(strings.Join(strings.Fields(got), " "),
				fmt.Sprintf("Block count: %d", length/blockSizeOf(got))) {
				t.Errorf("it does not cover the partition:\n%s", got)
			}
			if kind != "ext2" {
				journalIsBlank(t, part)
			}
		})
	}
}

func blockSizeOf(dump string) int {
	size := 0
	for line := range strings.Lines(dump) {
		if rest, ok := strings.CutPrefix(line, "Block size:"); ok {
			fmt.Sscan(rest, &size)
		}
	}
	return max(size, 1)
}

// journalIsBlank reads the journal, which is inode 8: a block that describes it, and zeros.
func journalIsBlank(t *testing.T, part string) {
	t.Helper()
	journal := filepath.Join(t.TempDir(), "journal")
	disktest.Run(t, "debugfs", "-R", "dump <8> "+journal, part)
	b, err := os.ReadFile(journal)
	if err != nil || len(b) < mib {
		t.Fatalf("a journal of %d bytes (%v)", len(b), err)
	}
	if i := bytes.IndexFunc(b[4096:], func(r rune) bool { return r != 0 }); i >= 0 {
		t.Errorf("byte %d of the journal holds old data", 4096+i)
	}
}

// counted counts what a disk is asked to do.
type counted struct {
	disk.Disk
	written, zeroed int64
	fails           error
}

func (c *counted) WriteAt(p []byte, off int64) (int, error) {
	if c.fails != nil {
		return 0, c.fails
	}
	c.written += int64(len(p))
	return c.Disk.WriteAt(p, off)
}

func (c *counted) Zero(off, n int64) error {
	c.zeroed += n
	return c.Disk.Zero(off, n)
}

// A large partition costs its file system's own blocks, not its size: it is far away.
func TestMakeEphemeralIsSparse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const size = 8 << 30
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	c := &counted{Disk: openDevice(t, path)}
	if err := MakeEphemeral(t.Context(), c, disk.Partition{Role: disk.Ephemeral, Length: size}, "ext4", t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if c.written == 0 || c.written > 8*mib || c.zeroed < 32*mib || c.zeroed > 160*mib {
		t.Errorf("%d bytes were written and %d zeroed", c.written, c.zeroed)
	}
	disktest.Run(t, "e2fsck", "-f", "-n", path)
}

func TestMakeEphemeralFails(t *testing.T) {
	d := dirtyDisk(t, 16*mib)
	good := disk.Partition{Role: disk.Ephemeral, Length: 8 * mib}
	ended, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("the deploy was aborted"))
	for _, tt := range []struct {
		name   string
		ctx    context.Context
		disk   disk.Disk
		part   disk.Partition
		format string
		dir    string
		says   []string
	}{
		{"another partition", context.Background(), d, disk.Partition{Role: disk.Root, Length: 8 * mib}, "", "",
			[]string{"it is no ephemeral partition"}},
		{"an empty one", context.Background(), d, disk.Partition{Role: disk.Ephemeral}, "", "", []string{"it is no ephemeral partition"}},
		{"another format", context.Background(), d, good, "xfs", "", []string{`"xfs"`, "ext4 ext3 ext2"}},
		{"no directory", context.Background(), d, good, "", "/nowhere", []string{"/nowhere", "no such file"}},
		{"too small", context.Background(), d, disk.Partition{Role: disk.Ephemeral, Length: 8192}, "", "", []string{"mke2fs"}},
		{"aborted", ended, d, good, "", "", []string{"context canceled"}},
		{"a failing disk", context.Background(), &counted{Disk: d, fails: errors.New("medium error")}, good, "", "",
			[]string{"writing the ephemeral partition's file system", "medium error"}},
		{"past the disk", context.Background(), d, disk.Partition{Role: disk.Ephemeral, Offset: 12 * mib, Length: 8 * mib}, "", "",
			[]string{"the disk ends at"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			disktest.WantError(t, MakeEphemeral(tt.ctx, tt.disk, tt.part, tt.format, tt.dir), tt.says...)
		})
	}
}

// A mke2fs that makes holes instead of writing zeros is found out, and then the holes are zeroed too.
func TestHiddenZeros(t *testing.T) {
	real, err := findProgram("mke2fs")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	other := filepath.Join(dir, "mke2fs")
	if err := os.WriteFile(other, []byte("#!/bin/sh\nunset UNIX_IO_NOZEROOUT\nexec "+real+" \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for program, want := range map[string]bool{real: false, other: true} {
		if got, err := hidesZeros(t.Context(), program, t.TempDir()); err != nil || got != want {
			t.Errorf("%s: %v, %v", program, got, err)
		}
	}
	if _, err := hidesZeros(t.Context(), "/nowhere/mke2fs", t.TempDir()); err == nil {
		t.Error("a program that is not there is trusted")
	}
	f, err := os.Create(filepath.Join(dir, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, at := range []int64{mib, 5*mib + 4096} {
		if _, err := f.WriteAt([]byte("data"), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(8 * mib); err != nil {
		t.Fatal(err)
	}
	d := dirtyDisk(t, 8*mib)
	if err := copySparse(t.Context(), d, f, true); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if i := disktest.FirstDifference(contents(t, d), want); i >= 0 {
		t.Errorf("byte %d of the disk differs from the file", i)
	}
	d = dirtyDisk(t, 8*mib)
	if err := copySparse(t.Context(), d, f, false); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, d); got[0] != disktest.Dirt || got[7*mib] != disktest.Dirt || string(got[mib:mib+4]) != "data" {
		t.Error("without the holes, what lies in them stays as it was")
	}
}

// The root partition is found on each kind of disk that a partition image is written to, beside partitions
// with file systems of the same kind.
func TestRootPartition(t *testing.T) {
	root := disktest.RootImage(t)
	s := serveFile(t, root)
	for _, tt := range []struct {
		mode, label, option string
		number              int
	}{
		{"bios", "msdos", "local", 3}, {"bios", "gpt", "local", 4}, {"uefi", "gpt", "local", 4}, {"uefi", "msdos", "local", 4},
		{"bios", "msdos", "netboot", 3},
	} {
		t.Run(tt.mode+" "+tt.label+" "+tt.option, func(t *testing.T) {
			d := dirtyDisk(t, 240*mib)
			img := partitionInfo(s.URL, "raw", root, wire.PartitionImage{RootMB: 10, SwapMB: 2, EphemeralMB: 10})
			img.BootMode, img.DiskLabel, img.BootOption = tt.mode, tt.label, tt.option
			done, err := write(t, s, d, img, "")
			if err != nil {
				t.Fatal(err)
			}
			ephemeral, _ := find(done.Parts, disk.Ephemeral)
			if err := MakeEphemeral(t.Context(), d, ephemeral, "", t.TempDir()); err != nil {
				t.Fatal(err)
			}
			p, fs, err := disk.RootPartition(d)
			if err != nil || p.Number != tt.number || fs != (disk.FS{Type: "ext4", UUID: disktest.RootUUID}) || !slices.Contains(done.Parts, p) {
				t.Errorf("found %+v, %+v, %v", p, fs, err)
			}
		})
	}
}

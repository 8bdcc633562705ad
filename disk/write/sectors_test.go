package write

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/disktest"
	"github.com/billet-metal/billet/wire"
)

// wholeOn4K is a disk image for sectors of 4096 bytes whose only partition holds fs.
func wholeOn4K(t testing.TB, fs []byte) []byte {
	t.Helper()
	path := disktest.Sparse(t, "whole", int64(len(fs))+4*mebibyte)
	loop := disktest.Loop(t, path, "4096")
	disktest.Run(t, "sgdisk", "--clear", fmt.Sprintf("--new=1:512:%d", 512+len(fs)/4096-1), loop)
	d := openDevice(t, loop)
	if _, err := d.WriteAt(fs, 2*mebibyte); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	disktest.Run(t, "sync", path)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What goes onto a disk of 4096-byte sectors can be mounted there: file systems of smaller blocks are refused, in
// partition images and in those of whole disks.
func TestFileSystemsOn4KiBSectors(t *testing.T) {
	const cannot = "which no system can mount from this disk's sectors of 4096 bytes: use an image made for such disks"
	for _, tt := range []struct {
		name string
		fs   []byte
		want string // of the error; "" none
	}{
		{"ext4 of small blocks", disktest.MadeBy(t, 8<<20, "mke2fs", "-q", "-t", "ext4", "-b", "1024"),
			"an ext4 file system with blocks of 1024 bytes, " + cannot},
		{"ext4", disktest.MadeBy(t, 8<<20, "mke2fs", "-q", "-t", "ext4", "-b", "4096"), ""},
		{"xfs of small sectors", xfsHead(512), "an xfs file system with blocks of 512 bytes, " + cannot},
		{"xfs", xfsHead(4096), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serveFile(t, tt.fs)
			img := partitionInfo(s.URL, "raw", tt.fs, wire.PartitionImage{RootMB: 16})
			img.BootMode = "uefi"
			d := usedOn4K(t, 256<<20)
			_, err := write(t, s, d, img, "")
			holds(t, d, "partition image", err, tt.want)
			if err == nil {
				esp, _ := find(numberedAs(d), disk.ESPRole)
				boot := make([]byte, 512)
				if _, err := d.ReadAt(boot, esp.Offset); err != nil || boot[11] != 0 || boot[12] != 16 {
					t.Errorf("the EFI system partition has sectors of %d bytes, %v", int(boot[12])<<8|int(boot[11]), err)
				}
			}
			whole := wholeOn4K(t, tt.fs)
			w := serveFile(t, whole)
			d = usedOn4K(t, 64<<20)
			_, err = write(t, w, d, imageOf(w.URL, "raw", whole), "")
			holds(t, d, "whole disk", err, tt.want)
		})
	}
}

// usedOn4K is a disk with sectors of 4096 bytes that holds something at its start.
func usedOn4K(t *testing.T, size int64) *disk.Device {
	t.Helper()
	d := openDevice(t, disktest.Loop(t, disktest.Sparse(t, "disk", size), "4096"))
	if _, err := d.WriteAt(bytes.Repeat([]byte{disktest.Dirt}, mebibyte), 0); err != nil {
		t.Fatal(err)
	}
	return d
}

// holds compares an error with the wanted one, and wants what the disk held to be there still.
func holds(t *testing.T, d *disk.Device, what string, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("%s: %v, want %q", what, err, want)
	}
	b := make([]byte, mebibyte)
	if _, readErr := d.ReadAt(b, 0); readErr != nil || err != nil && bytes.Count(b, []byte{disktest.Dirt}) != len(b) {
		t.Errorf("%s: the disk was changed before it was refused (%v)", what, readErr)
	}
}

// numberedAs tells the EFI system partition of a disk by its place: it comes first.
func numberedAs(d disk.Disk) []disk.Partition {
	parts := disk.Partitions(d)
	for i := range parts {
		if i == 0 {
			parts[i].Role = disk.ESPRole
		}
	}
	return parts
}

// xfsHead begins like an XFS file system of 8 MiB (xfsprogs are not among the tests' packages).
func xfsHead(sector int) []byte {
	b := make([]byte, 8<<20)
	copy(b, "XFSB")
	b[102], b[103] = byte(sector>>8), byte(sector)
	return b
}

// A BIOS reads boot sectors of 512 bytes: said before anything is written. Over the network it starts anything.
func TestNoBIOSStartsFrom4KiBSectors(t *testing.T) {
	root := disktest.MadeBy(t, 8<<20, "mke2fs", "-q", "-t", "ext4", "-b", "4096")
	s := serveFile(t, root)
	img := partitionInfo(s.URL, "raw", root, wire.PartitionImage{RootMB: 16})
	for _, kind := range []string{"partition", "whole-disk"} {
		d := dirtyDisk(t, 64<<20)
		img.ImageType = kind
		_, err := write(t, s, sectored{d, 4096}, img, "")
		disktest.WantError(t, err, "the disk has sectors of 4096 bytes, and a BIOS starts only from disks with sectors of 512: "+
			"set the machine's firmware and the node's boot_mode to uefi")
		if !bytes.Equal(contents(t, d), bytes.Repeat([]byte{disktest.Dirt}, 64<<20)) {
			t.Errorf("%s: the disk was changed", kind)
		}
	}
	img.ImageType, img.BootOption = "partition", "netboot"
	if _, err := write(t, s, sectored{dirtyDisk(t, 64<<20), 4096}, img, ""); err != nil {
		t.Error(err)
	}
}

// mke2fs makes an ephemeral file system in a file, which does not tell it how large the far disk's sectors are.
func TestMakeEphemeralOn4KiBSectors(t *testing.T) {
	for sector, want := range map[int64]string{512: "1024", 4096: "4096"} {
		d := dirtyDisk(t, 40*mib)
		if err := MakeEphemeral(t.Context(), sectored{d, sector}, disk.Partition{Role: disk.Ephemeral, Length: 40 * mib}, "ext4",
			t.TempDir()); err != nil {
			t.Fatal(err)
		}
		part := filepath.Join(t.TempDir(), "part")
		if err := os.WriteFile(part, contents(t, d), 0o600); err != nil {
			t.Fatal(err)
		}
		if out := disktest.Run(t, "dumpe2fs", "-h", part); !strings.Contains(out, "Block size:               "+want+"\n") {
			t.Errorf("sectors of %d: %s", sector, out)
		}
	}
}

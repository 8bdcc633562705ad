package write

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/disktest"
)

// sectored is a disk that says that its sectors have another size.
type sectored struct {
	*disk.Device
	sector int64
}

func (s sectored) SectorSize() int64 { return s.sector }

// FAT32 of every size is taken by its own checker, named by blkid, and holds a file that mtools put into it; its reader here
// agrees that it is FAT32.
func TestMakeFAT32(t *testing.T) {
	for _, tt := range []struct{ size, sector, cluster int64 }{
		{66700 * 512, 512, 512}, {300<<20 - 512, 512, 512}, {300 << 20, 512, 4096}, {1 << 30, 512, 4096},
		{8 << 30, 512, 4096}, {8<<30 + 512, 512, 8192}, {20 << 30, 512, 16 << 10}, {100 << 30, 512, 32 << 10},
		{299 << 20, 4096, 4096}, {1 << 30, 4096, 4096}, {100 << 30, 4096, 32 << 10},
	} {
		t.Run(fmt.Sprintf("%d of %d", tt.size, tt.sector), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "fs")
			if err := os.WriteFile(path, bytes.Repeat([]byte{disktest.Dirt}, 2*mib), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, tt.size); err != nil {
				t.Fatal(err)
			}
			d := openDevice(t, path)
			if err := makeFAT32(sectored{d, tt.sector}, 2048, "ephemeral0"); err != nil {
				t.Fatal(err)
			}
			said := disktest.Run(t, "fsck.vfat", "-n", "-v", path)
			clusters := regexp.MustCompile(`(\d+) data clusters`).FindStringSubmatch(said)
			if clusters == nil || !strings.Contains(said, fmt.Sprintf(" %d bytes per cluster", tt.cluster)) {
				t.Fatalf("fsck.vfat: %s", said)
			}
			if n, err := strconv.Atoi(clusters[1]); err != nil || n < 65525 {
				t.Errorf("%s clusters are too few for FAT32", clusters[1])
			}
			if got := disktest.Run(t, "blkid", "--probe", "-o", "export", path); !strings.Contains(got, "LABEL=ephemeral0\n") ||
				!strings.Contains(got, "TYPE=vfat") || !strings.Contains(got, "VERSION=FAT32") {
				t.Errorf("blkid: %s", got)
			}
			data := filepath.Join(t.TempDir(), "data")
			if err := os.WriteFile(data, disktest.Pattern(3*int(tt.cluster)+1), 0o600); err != nil {
				t.Fatal(err)
			}
			disktest.Run(t, "mcopy", "-i", path, data, "::/data.bin")
			back := filepath.Join(t.TempDir(), "back")
			disktest.Run(t, "mcopy", "-i", path, "::/data.bin", back)
			if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, disktest.Pattern(3*int(tt.cluster)+1)) {
				t.Errorf("a file comes back as %d bytes, %v", len(got), err)
			}
			disktest.Run(t, "fsck.vfat", "-n", path)
			b := make([]byte, 512)
			if _, err := d.ReadAt(b, 6*tt.sector); err != nil || binary.LittleEndian.Uint32(b[28:]) != 2048 || b[510] != 0x55 {
				t.Errorf("the copy of the boot sector: %x, %v", b[:90], err)
			}
		})
	}
}

// What FAT32 cannot be is refused, with the limits; of all sizes it can be, the number of clusters is one of FAT32.
func TestFAT32Sizes(t *testing.T) {
	for _, tt := range []struct {
		size, sector int64
		want         string
	}{
		{66700*512 - 512, 512, "a partition of 34149888 bytes (32.6 MiB) cannot be vfat (FAT32), which holds 32.6 MiB to 2.0 TiB on " +
			"a disk of 512-byte sectors"},
		{0, 512, "a partition of 0 bytes"}, {2 << 40, 512, "(2.0 TiB) cannot be vfat"},
		{100 << 20, 4096, "holds 260.5 MiB to 8.0 TiB on a disk of 4096-byte sectors"}, {9 << 40, 4096, "(9.0 TiB) cannot be vfat"},
	} {
		_, err := fat32Cluster(tt.size, tt.sector)
		disktest.WantError(t, err, tt.want)
		disktest.WantError(t, makeFAT32(unwritable{tt.size, tt.sector}, 0, "x"), tt.want)
	}
	for _, sector := range []int64{512, 1024, 2048, 4096} {
		for size := 66700 * sector; size < 2<<40-512; size += max(sector, size/50/sector*sector) {
			cluster, err := fat32Cluster(size, sector)
			if err != nil {
				t.Fatalf("%d of %d: %v", size, sector, err)
			}
			table := ((size/cluster+2)*4 + sector - 1) / sector
			clusters := (size - (32+2*table)*sector) / cluster
			if per := cluster / sector; clusters < 65525 || clusters > 0x0ffffff4 || per < 1 || per > 128 || per&(per-1) != 0 {
				t.Fatalf("%d bytes of %d: %d clusters of %d", size, sector, clusters, cluster)
			}
		}
	}
}

// unwritable panics on everything but being measured.
type unwritable struct{ size, sector int64 }

func (u unwritable) Size() int64                      { return u.size }
func (u unwritable) SectorSize() int64                { return u.sector }
func (unwritable) ReadAt([]byte, int64) (int, error)  { panic("read") }
func (unwritable) WriteAt([]byte, int64) (int, error) { panic("written") }
func (unwritable) Zero(int64, int64) error            { panic("zeroed") }
func (unwritable) Sync() error                        { panic("synced") }

// A vfat ephemeral partition is made in its place on a dirty disk, by the agent and from afar, and nothing around it changes.
func TestEphemeralVFAT(t *testing.T) {
	const offset, length = 3 * mib, 40 * mib
	p := disk.Partition{Role: disk.Ephemeral, Number: 1, Offset: offset, Length: length}
	for name, format := range map[string]func(d *disk.Device) error{
		"by the agent": func(d *disk.Device) error { return FormatEphemeral(t.Context(), d.Path(), p, "vfat") },
		"from afar":    func(d *disk.Device) error { return MakeEphemeral(t.Context(), d, p, "vfat", "/nowhere") },
	} {
		t.Run(name, func(t *testing.T) {
			d := dirtyDisk(t, offset+length+mib)
			for range 2 { // the second time is after a crash
				if err := format(d); err != nil {
					t.Fatal(err)
				}
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
			disktest.Run(t, "fsck.vfat", "-n", part)
			if fs, err := disk.ProbeFS(disk.Within(d, offset, length)); err != nil || fs.Type != "vfat" {
				t.Errorf("it is taken for %+v, %v", fs, err)
			}
			if hidden := binary.LittleEndian.Uint32(all[offset+28:]); hidden != offset/512 {
				t.Errorf("it says that it begins at sector %d", hidden)
			}
		})
	}
	for name, tt := range map[string]struct {
		disk disk.Disk
		part disk.Partition
		want string
	}{
		"a failing disk": {&counted{Disk: dirtyDisk(t, 64*mib), fails: fmt.Errorf("medium error")}, p,
			"making the ephemeral partition's file system: medium error"},
		"past the disk": {dirtyDisk(t, 16*mib), p, "the disk ends at"},
		"too small": {unwritable{64 * mib, 512}, disk.Partition{Role: disk.Ephemeral, Length: 8 * mib},
			"a partition of 8388608 bytes (8.0 MiB) cannot be vfat"},
		"another role": {unwritable{64 * mib, 512}, disk.Partition{Role: disk.Root, Length: 40 * mib}, "it is no ephemeral partition"},
	} {
		t.Run(name, func(t *testing.T) {
			disktest.WantError(t, MakeEphemeral(t.Context(), tt.disk, tt.part, "vfat", ""), tt.want)
		})
	}
	disktest.WantError(t, FormatEphemeral(t.Context(), "/nowhere/sda", p, "vfat"), "making the ephemeral partition's file system",
		"/nowhere/sda")
	disktest.WantError(t, FormatEphemeral(t.Context(), dirtyDisk(t, mib).Path(), disk.Partition{Role: disk.Root, Length: mib}, "vfat"),
		"it is no ephemeral partition")
}

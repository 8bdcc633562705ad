package disk

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/billet-metal/billet/disk/disktest"
)

// A disk on which nobody can say which partition is the root is left alone.
func TestNoRootPartition(t *testing.T) {
	dos := func(lines string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) { disktest.Feed(t, "label: dos\n"+lines, "sfdisk", "-q", path) }
	}
	gpt := func(args ...string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) { disktest.Run(t, "sgdisk", append(args, path)...) }
	}
	for _, tt := range []struct {
		name string
		make func(t *testing.T, path string)
		says string
	}{
		{"blank", func(*testing.T, string) {}, "the disk has 0 root partitions"},
		{"no active partition", dos("2048,4096,83\n"), "the disk has 0 root partitions"},
		{"two named root", gpt("-n", "1:2048:4095", "-c", "1:root", "-n", "2:4096:8191", "-c", "2:root"), "the disk has 2 root partitions"},
		{"no file system", gpt("-n", "1:2048:8191", "-c", "1:root"), `the root partition 1 holds ""`},
		{"no file system, MBR", dos("2048,4096,83,*\n"), `the root partition 1 holds ""`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := dirtyDisk(t, 16<<20)
			if err := d.Zero(0, 1<<20); err != nil {
				t.Fatal(err)
			}
			tt.make(t, d.Path())
			_, _, err := RootPartition(d)
			disktest.WantError(t, err, tt.says)
		})
	}
}

// FuzzRootPartition: the tables of a disk may be anything.
func FuzzRootPartition(f *testing.F) {
	mbr := make([]byte, 4096)
	mbr[446], mbr[450], mbr[454], mbr[458], mbr[510], mbr[511] = 0x80, 0x83, 1, 4, 0x55, 0xaa
	f.Add(mbr)
	f.Add([]byte("EFI PART"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "disk")
		if err := os.WriteFile(path, append(b, make([]byte, 64<<10)...)[:64<<10], 0o600); err != nil {
			t.Fatal(err)
		}
		d := openDevice(t, path)
		if p, fs, err := RootPartition(d); err == nil && (fs.UUID == "" || p.Offset+p.Length > d.Size()) {
			t.Errorf("%+v, %+v", p, fs)
		}
	})
}

package disk

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/billet-metal/billet/disk/disktest"
)

func TestDeviceWritesAnywhere(t *testing.T) {
	const size = 4 << 20
	for _, tt := range []struct {
		name   string
		off    int64
		length int
	}{
		{"aligned", 4096, 8192},
		{"one byte", 12345, 1},
		{"across sectors", 511, 2},
		{"larger than the bounce buffer", 1000, 2<<20 + 7},
		{"up to the end", size - 777, 777},
		{"nothing", 5, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := dirtyDisk(t, size)
			want := contents(t, d)
			p := disktest.Pattern(tt.length)
			copy(want[tt.off:], p)
			if n, err := d.WriteAt(p, tt.off); err != nil || n != len(p) {
				t.Fatal(n, err)
			}
			if i := disktest.FirstDifference(contents(t, d), want); i >= 0 {
				t.Errorf("differs at %d", i)
			}
			back := make([]byte, len(p))
			if _, err := d.ReadAt(back, tt.off); err != nil || !bytes.Equal(back, p) {
				t.Errorf("reads back differently: %v", err)
			}
		})
	}
}

func TestDeviceZeroes(t *testing.T) {
	const size = 8 << 20
	for _, tt := range []struct{ off, length int64 }{
		{0, size}, {0, 4096}, {4096, 1 << 20}, {100, 5}, {100, 4096}, {4000, 3 << 20}, {size - 1, 1}, {7, 0},
	} {
		d := dirtyDisk(t, size)
		want := contents(t, d)
		clear(want[tt.off : tt.off+tt.length])
		if err := d.Zero(tt.off, tt.length); err != nil {
			t.Fatal(err)
		}
		if i := disktest.FirstDifference(contents(t, d), want); i >= 0 {
			t.Errorf("zeroing %d bytes at %d: differs at %d", tt.length, tt.off, i)
		}
	}
}

func TestDeviceKeepsToItsSize(t *testing.T) {
	d := dirtyDisk(t, 1<<20)
	_, err := d.WriteAt(make([]byte, 2), 1<<20-1)
	disktest.WantError(t, err, "writing 2 bytes at 1048575", "the disk ends at 1048576")
	_, err = d.WriteAt(make([]byte, 1), -1)
	disktest.WantError(t, err, "the disk ends at")
	disktest.WantError(t, d.Zero(1<<20, 1), "zeroing 1 bytes at 1048576")
	if n, err := d.ReadAt(make([]byte, 10), 1<<20-4); n != 4 || err != io.EOF {
		t.Errorf("reading over the end gave %d, %v", n, err)
	}
	if _, err := d.ReadAt(make([]byte, 1), 1<<20+1); err == nil {
		t.Error("reading behind the end worked")
	}
}

func TestOpenRefuses(t *testing.T) {
	_, err := Open(filepath.Join(t.TempDir(), "none"))
	disktest.WantError(t, err, "opening the disk", "no such file")
	_, err = Open(t.TempDir())
	disktest.WantError(t, err, "neither a block device nor a file")
}

// A loop device is the smallest real block device: BLKZEROOUT, exclusive opening and re-reading the
// partition table need one.
func TestBlockDevice(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test makes a loop device and must run as root")
	}
	file := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, bytes.Repeat([]byte{disktest.Dirt}, 16<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	loop := strings.TrimSpace(disktest.Run(t, "losetup", "--find", "--show", "--partscan", file))
	t.Cleanup(func() { disktest.Run(t, "losetup", "--detach", loop) })

	d := openDevice(t, loop)
	if d.Size() != 16<<20 || d.SectorSize() != 512 || !strings.HasPrefix(d.Number(), "7:") {
		t.Errorf("size %d, sector %d, number %s", d.Size(), d.SectorSize(), d.Number())
	}
	_, err := Open(loop)
	disktest.WantError(t, err, loop+" is in use")
	if err := d.Zero(1<<20, 2<<20); err != nil {
		t.Fatal(err)
	}
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4<<20)
	if _, err := d.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte{disktest.Dirt}, 4<<20)
	clear(want[1<<20 : 3<<20])
	if i := disktest.FirstDifference(got, want); i >= 0 {
		t.Errorf("differs at %d", i)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Reread(loop); err != nil {
		t.Fatal(err)
	}
	holder := openDevice(t, loop)
	if err := holder.Discard(); err != nil {
		t.Fatal(err)
	}
}

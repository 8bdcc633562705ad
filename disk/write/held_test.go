package write

import (
	"bytes"
	"errors"
	"testing"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/disktest"
)

// dying is a disk that fails after some writes.
type dying struct {
	disk.Disk
	left int
}

var errDied = errors.New("medium error")

func (d *dying) WriteAt(p []byte, off int64) (int, error) {
	if d.left--; d.left < 0 {
		return 0, errDied
	}
	return d.Disk.WriteAt(p, off)
}

// Whenever the disk fails, what is on it cannot boot; only a write that ended well leaves a table.
func TestNothingBootsUntilTheLastWrite(t *testing.T) {
	raw := rawImage(t)
	s := serveFile(t, raw)
	for left := range 40 {
		d := dirtyDisk(t, 20<<20)
		_, err := write(t, s, &dying{d, left}, imageOf(s.URL, "raw", raw), "")
		if err == nil {
			disktest.Verify(t, d.Path())
			if left < 5 {
				t.Errorf("the image was written in %d writes", left)
			}
			return
		}
		if !errors.Is(err, errDied) {
			t.Fatal(err)
		}
		if head := contents(t, d)[:headSize]; !bytes.Equal(head, make([]byte, headSize)) {
			t.Errorf("after %d writes the disk has something in its first MiB", left)
		}
	}
	t.Error("the image was never written")
}

func TestHeldHead(t *testing.T) {
	d := dirtyDisk(t, 4<<20)
	h, err := hold(d)
	if err != nil {
		t.Fatal(err)
	}
	p := disktest.Pattern(2 << 20)
	if n, err := h.WriteAt(p, headSize/2); n != len(p) || err != nil {
		t.Fatal(n, err)
	}
	if err := h.Zero(headSize-100, 200); err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 4<<20)
	copy(want[headSize:], bytes.Repeat([]byte{disktest.Dirt}, 2<<20))
	copy(want[headSize/2:], p)
	clear(want[headSize-100 : headSize+100])
	got := make([]byte, 4<<20)
	if _, err := h.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	if i := disktest.FirstDifference(got, want); i >= 0 {
		t.Errorf("reads differently at %d", i)
	}
	if !bytes.Equal(contents(t, d)[:headSize], make([]byte, headSize)) {
		t.Error("the head is on the disk too early")
	}
	if err := h.commit(); err != nil {
		t.Fatal(err)
	}
	if i := disktest.FirstDifference(contents(t, d), want); i >= 0 {
		t.Errorf("differs at %d after the commit", i)
	}
}

func TestHoldRefusesTinyDisks(t *testing.T) {
	_, err := hold(dirtyDisk(t, 1<<20))
	disktest.WantError(t, err, "the disk has 1048576 bytes; at least 2097152 are needed")
}

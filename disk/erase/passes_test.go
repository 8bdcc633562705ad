package erase

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/disktest"
)

// blankDisk is a disk that reads as zeros.
func blankDisk(t *testing.T, size int64) *disk.Device {
	t.Helper()
	d := dirtyDisk(t, size)
	if err := d.Zero(0, size); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestOverwritePasses(t *testing.T) {
	const size = int64(3<<20 + 512)
	for _, tt := range []struct {
		passes Passes
		says   string
		told   []string
		zero   bool
	}{
		{Passes{}, "overwritten with zeros", []string{"overwriting 3146240"}, true},
		{Passes{Random: 1}, "overwritten with random data once, then with zeros",
			[]string{"overwriting, pass 1 of 2 1573120", "overwriting, pass 2 of 2 3146240"}, true},
		{Passes{Random: 2, NoZeros: true}, "overwritten with random data 2 times",
			[]string{"overwriting, pass 1 of 2 1573120", "overwriting, pass 2 of 2 3146240"}, false},
		{Passes{Random: 1, NoZeros: true}, "overwritten with random data once", []string{"overwriting 3146240"}, false},
	} {
		d := dirtyDisk(t, size)
		before := contents(t, d)
		var told []string
		got, err := Disk(t.Context(), d, Hardware{}, Options{Passes: tt.passes},
			func(what string, done int64) { told = append(told, fmt.Sprint(what, " ", done)) })
		if err != nil || got.Method != tt.says || got.Verified != "64 samples read back" {
			t.Errorf("%+v: %+v, %v", tt.passes, got, err)
		}
		if strings.Join(told, "; ") != strings.Join(tt.told, "; ") {
			t.Errorf("%+v: progress %q", tt.passes, told)
		}
		after := contents(t, d)
		if zero := bytes.Equal(after, make([]byte, size)); zero != tt.zero {
			t.Errorf("%+v: empty afterwards: %v", tt.passes, zero)
		}
		if !tt.zero { // every sector is another than before, and no two are the same
			seen := map[string]bool{}
			for at := int64(0); at < size; at += 512 {
				sector := string(after[at : at+512])
				if seen[sector] || sector == string(before[at:at+512]) {
					t.Fatalf("%+v: the sector at %d is no random data", tt.passes, at)
				}
				seen[sector] = true
			}
		}
	}
}

func TestNoPassIsNoErase(t *testing.T) {
	_, err := Disk(t.Context(), dirtyDisk(t, 4<<20), Hardware{}, Options{Passes: Passes{NoZeros: true}}, silent)
	disktest.WantError(t, err, "overwriting with no pass erases nothing")
}

// deafAt takes no write that reaches an offset.
type deafAt struct {
	*disk.Device
	off int64
}

func (d deafAt) WriteAt(p []byte, off int64) (int, error) {
	if off <= d.off && d.off < off+int64(len(p)) {
		return len(p), nil
	}
	return d.Device.WriteAt(p, off)
}

func TestRandomPassesAreReadBack(t *testing.T) {
	for _, off := range []int64{0, 8<<20 - 1} {
		_, err := Disk(t.Context(), deafAt{dirtyDisk(t, 8<<20), off}, Hardware{}, Options{Passes: Passes{Random: 1}}, silent)
		disktest.WantError(t, err, "of the disk are not what was written: the disk is failing or lies")
	}
}

// failsAt answers a write with an error.
type failsAt struct{ *disk.Device }

func (failsAt) WriteAt([]byte, int64) (int, error) { return 0, errors.New("medium error") }

func TestARandomPassThatFails(t *testing.T) {
	_, err := Disk(t.Context(), failsAt{dirtyDisk(t, 4<<20)}, Hardware{}, Options{Passes: Passes{Random: 1}}, silent)
	disktest.WantError(t, err, "medium error")
}

func TestPassesStop(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := Disk(ctx, dirtyDisk(t, 4<<20), Hardware{}, Options{Passes: Passes{Random: 3}}, func(what string, _ int64) {
		if strings.HasPrefix(what, "overwriting, pass 2") {
			cancel(errors.New("asked to"))
		}
	})
	disktest.WantError(t, err, "erasing: stopped at byte 0 of 4194304 (overwriting, pass 3 of 4): asked to")
}

// The same data comes out wherever one begins to read it.
func TestNoiseIsSeekable(t *testing.T) {
	n, err := newNoise()
	if err != nil {
		t.Fatal(err)
	}
	defer n.free()
	whole, part := make([]byte, 8192), make([]byte, 512)
	n.at(whole, 1<<40)
	for at := int64(0); at < 8192; at += 512 {
		if n.at(part, 1<<40+at); !bytes.Equal(part, whole[at:at+512]) {
			t.Fatalf("another at %d", at)
		}
	}
	n.at(part, 0)
	if bytes.Contains(whole, part) {
		t.Error("the same at another place")
	}
}

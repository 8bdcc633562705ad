package write

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/disktest"
	"github.com/billet-metal/billet/image"
)

func reading(r io.Reader) func(context.Context) io.Reader {
	return func(context.Context) io.Reader { return r }
}

func TestPipelineKeepsTheOrder(t *testing.T) {
	for _, size := range []int{0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 20*chunkSize + 12345} {
		want := disktest.Pattern(size)
		var first, second []byte
		err := pipeline(t.Context(), testPool(t), reading(iotest.HalfReader(bytes.NewReader(want))),
			func(c *chunk) error { first = append(first, c.data...); return nil },
			func(c *chunk) error {
				if c.off != int64(len(second)) || c.off%chunkSize != 0 || !disk.IsAligned(c.data, 4096) {
					t.Errorf("a chunk at %d after %d bytes", c.off, len(second))
				}
				second = append(second, c.data...)
				return nil
			})
		if err != nil || !bytes.Equal(first, want) || !bytes.Equal(second, want) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// Whatever fails, the pipeline ends with that very error, and everything it started has ended.
func TestPipelineFails(t *testing.T) {
	broken := errors.New("broken")
	fine := func(*chunk) error { return nil }
	third := func() func(*chunk) error {
		n := 0
		return func(*chunk) error {
			if n++; n == 3 {
				return broken
			}
			return nil
		}
	}
	data := make([]byte, 30*chunkSize)
	for name, tt := range map[string]struct {
		r             io.Reader
		first, second func(*chunk) error
	}{
		"reading":       {io.MultiReader(bytes.NewReader(data[:3*chunkSize]), iotest.ErrReader(broken)), fine, fine},
		"first stage":   {bytes.NewReader(data), third(), fine},
		"second stage":  {bytes.NewReader(data), fine, third()},
		"at the start":  {iotest.ErrReader(broken), fine, fine},
		"in mid of one": {io.MultiReader(bytes.NewReader(data[:100]), iotest.ErrReader(broken)), fine, fine},
	} {
		if err := pipeline(t.Context(), testPool(t), reading(tt.r), tt.first, tt.second); !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPipelineIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	asked := errors.New("asked to stop")
	var passed atomic.Int64
	err := pipeline(ctx, testPool(t), reading(endless{}), func(*chunk) error { return nil }, func(*chunk) error {
		if passed.Add(1) == 5 {
			cancel(asked)
		}
		return nil
	})
	if !errors.Is(err, asked) {
		t.Error(err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// pieces feeds a sink the file in pieces of every size there may be.
func pieces(t *testing.T, s *sink, file []byte, size int) error {
	t.Helper()
	for off := 0; off < len(file); off += size {
		if err := s.take(chunkOf(file[off:min(off+size, len(file))], int64(off))); err != nil {
			return err
		}
	}
	return s.finish()
}

func TestSinkPutsDataWhereTheLayoutSays(t *testing.T) {
	file := disktest.Pattern(64 << 10)
	extents := []image.Extent{ // the disk's order is not the file's
		{FileOffset: 1000, FileLength: 8192, GuestOffset: 1 << 20, GuestLength: 8192},
		{FileOffset: 9192, FileLength: 4096, GuestOffset: 0, GuestLength: 4096},
		{FileOffset: 20000, FileLength: 1, GuestOffset: 5000, GuestLength: 1},
		{FileOffset: 64<<10 - 512, FileLength: 512, GuestOffset: 4<<20 - 512, GuestLength: 512},
	}
	want := bytes.Repeat([]byte{disktest.Dirt}, 4<<20)
	for _, e := range extents {
		copy(want[e.GuestOffset:], file[e.FileOffset:e.FileOffset+e.FileLength])
	}
	for _, size := range []int{1, 7, 512, 4096, 5000, 64 << 10} {
		d := dirtyDisk(t, 4<<20)
		s := newSink(t, d, append([]image.Extent(nil), extents...))
		if err := pieces(t, s, file, size); err != nil {
			t.Fatal(err)
		}
		if i := disktest.FirstDifference(contents(t, d), want); i >= 0 {
			t.Errorf("in pieces of %d: differs at %d", size, i)
		}
	}
}

func TestSinkMissesNothing(t *testing.T) {
	s := newSink(t, dirtyDisk(t, 4<<20), []image.Extent{{FileOffset: 100, FileLength: 50, GuestLength: 50}})
	disktest.WantError(t, pieces(t, s, make([]byte, 120), 60), "the image file ended before its data at byte")
	s = newSink(t, dirtyDisk(t, 4<<20), []image.Extent{{FileOffset: 10, FileLength: 50, GuestLength: 50}})
	disktest.WantError(t, s.take(chunkOf(make([]byte, 60), 40)), "the image's data at byte 10 was passed over")
}

func TestNextRun(t *testing.T) {
	zeros, data := make([]byte, zeroGrain), bytes.Repeat([]byte{1}, zeroGrain)
	for _, tt := range []struct {
		name string
		data []byte
		at   int64
		n    int
		zero bool
	}{
		{"zeros, then data", append(append(bytes.Clone(zeros), zeros...), data...), 0, 2 * zeroGrain, true},
		{"data, then zeros", append(bytes.Clone(data), zeros...), 0, zeroGrain, false},
		{"a short piece of zeros is data", zeros[:100], 0, 100, false},
		{"up to the next grain is data", zeros, 1000, zeroGrain, false},
	} {
		if n, zero := nextRun(tt.data, tt.at); n != tt.n || zero != tt.zero {
			t.Errorf("%s: %d, %v", tt.name, n, zero)
		}
	}
}

func TestZeroGapsLeavesExtentsAlone(t *testing.T) {
	d := dirtyDisk(t, 4<<20)
	l := &image.Layout{VirtualSize: 3 << 20, Extents: []image.Extent{
		{GuestOffset: 2 << 20, GuestLength: 65536}, {GuestOffset: 65536, GuestLength: 65536}, {GuestOffset: 131072, GuestLength: 65536},
	}}
	if err := zeroGaps(d, l, t.Context().Err); err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 4<<20)
	for _, s := range []span{{2 << 20, 65536}, {65536, 131072}, {3 << 20, 1 << 20}} {
		copy(want[s.offset:s.offset+s.length], bytes.Repeat([]byte{disktest.Dirt}, int(s.length)))
	}
	if i := disktest.FirstDifference(contents(t, d), want); i >= 0 {
		t.Errorf("differs at %d", i)
	}
	stopped := errors.New("stopped")
	if err := zeroGaps(d, l, func() error { return stopped }); !errors.Is(err, stopped) {
		t.Error(err)
	}
}

package write

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/disktest"
	"github.com/billet-metal/billet/image"
)

// memory is a disk as it should be: the model that the real one is compared with.
type memory struct{ content []byte }

func (m *memory) Size() int64       { return int64(len(m.content)) }
func (m *memory) SectorSize() int64 { return 512 }
func (m *memory) Sync() error       { return nil }

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, m.content[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > m.Size() {
		return 0, errors.New("outside")
	}
	return copy(m.content[off:], p), nil
}

func (m *memory) Zero(off, length int64) error {
	clear(m.content[off : off+length])
	return nil
}

// operate does the same random operations to both disks; offsets and lengths are of every kind.
func operate(t *testing.T, rnd *rand.Rand, real, model disk.Disk, operations int) {
	t.Helper()
	number := func(most int64) int64 {
		n := rnd.Int64N(most + 1)
		switch rnd.IntN(3) {
		case 0:
			n = n / 4096 * 4096
		case 1:
			n = n / 512 * 512
		}
		return n
	}
	data := disktest.Pattern(3 << 20)
	for i := range operations {
		off := number(real.Size())
		n := min(number(3<<20), real.Size()-off)
		switch rnd.IntN(3) {
		case 0:
			at := rnd.IntN(len(data) - int(n) + 1)
			for _, d := range []disk.Disk{real, model} {
				if w, err := d.WriteAt(data[at:at+int(n)], off); err != nil || int64(w) != n {
					t.Fatalf("operation %d: write of %d at %d: %d, %v", i, n, off, w, err)
				}
			}
		case 1:
			for _, d := range []disk.Disk{real, model} {
				if err := d.Zero(off, n); err != nil {
					t.Fatalf("operation %d: zero of %d at %d: %v", i, n, off, err)
				}
			}
		default:
			got, want := make([]byte, n), make([]byte, n)
			if _, err := real.ReadAt(got, off); err != nil {
				t.Fatalf("operation %d: read of %d at %d: %v", i, n, off, err)
			}
			if _, err := model.ReadAt(want, off); err != nil {
				t.Fatal(err)
			}
			if j := disktest.FirstDifference(got, want); j >= 0 {
				t.Fatalf("operation %d: read of %d at %d differs at %d", i, n, off, j)
			}
		}
	}
}

// Whatever is written, zeroed and read, in whatever pieces, a device does what memory does: on sizes
// that are multiples of 4 KiB, of a sector only, and of neither.
func TestDeviceIsLikeMemory(t *testing.T) {
	for _, size := range []int64{8 << 20, 8<<20 + 512, 5<<20 + 4096*3 + 512*5} {
		rnd := rand.New(rand.NewPCG(uint64(size), 1))
		d := dirtyDisk(t, size)
		model := &memory{bytes.Repeat([]byte{disktest.Dirt}, int(size))}
		operate(t, rnd, d, model, 80)
		if i := disktest.FirstDifference(contents(t, d), model.content); i >= 0 {
			t.Errorf("%d bytes: differs at %d", size, i)
		}
	}
}

// The same on a block device, with sectors of each size.
func TestBlockDeviceIsLikeMemory(t *testing.T) {
	for _, sector := range []string{"512", "4096"} {
		path := dirtyDisk(t, 8<<20).Path()
		d := openDevice(t, disktest.Loop(t, path, sector))
		model := &memory{bytes.Repeat([]byte{disktest.Dirt}, 8<<20)}
		operate(t, rand.New(rand.NewPCG(7, 7)), d, model, 60)
		got := make([]byte, 8<<20)
		if _, err := d.ReadAt(got, 0); err != nil {
			t.Fatal(err)
		}
		if i := disktest.FirstDifference(got, model.content); i >= 0 {
			t.Errorf("sectors of %s: differs at %d", sector, i)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A held disk shows what it will be, and is that after the commit.
func TestHeldIsLikeMemory(t *testing.T) {
	for seed := range uint64(3) {
		d := dirtyDisk(t, 6<<20)
		h, err := hold(d)
		if err != nil {
			t.Fatal(err)
		}
		model := &memory{contents(t, d)}
		operate(t, rand.New(rand.NewPCG(seed, 2)), h, model, 50)
		if head := contents(t, d)[:headSize]; !bytes.Equal(head, make([]byte, headSize)) {
			t.Error("the head is on the disk before the commit")
		}
		if err := h.commit(); err != nil {
			t.Fatal(err)
		}
		if i := disktest.FirstDifference(contents(t, d), model.content); i >= 0 {
			t.Errorf("differs at %d after the commit", i)
		}
	}
}

// scattered is a layout of plain extents in random order with gaps, and its image file.
func scattered(rnd *rand.Rand, size int64) (*image.Layout, []byte, []byte) {
	var starts []int64
	for at := int64(0); at < size; at += 64 << 10 {
		if rnd.IntN(3) > 0 {
			starts = append(starts, at)
		}
	}
	rnd.Shuffle(len(starts), func(i, j int) { starts[i], starts[j] = starts[j], starts[i] })
	l, want := &image.Layout{VirtualSize: size}, make([]byte, size)
	file := make([]byte, 512)
	var data []byte
	for i, at := range starts {
		if i%4 == 0 {
			data = make([]byte, 64<<10) // zeros that are written out
		} else {
			data = disktest.Pattern(64<<10 - i)
			data = append(data, make([]byte, i)...)
		}
		l.Extents = append(l.Extents, image.Extent{FileOffset: int64(len(file)), FileLength: 64 << 10, GuestOffset: at, GuestLength: 64 << 10})
		file = append(file, data...)
		copy(want[at:], data)
		file = append(file, bytes.Repeat([]byte{0xee}, rnd.IntN(3)*512)...) // nobody's
	}
	return l, file, want
}

// However the file is cut into pieces, the disk holds the layout's data, and zeros everywhere else.
func TestSinkWithPiecesOfAnySize(t *testing.T) {
	for seed := range uint64(4) {
		rnd := rand.New(rand.NewPCG(seed, 9))
		l, file, want := scattered(rnd, 6<<20)
		d := dirtyDisk(t, 8<<20)
		if err := zeroGaps(d, l, func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		s := newSink(t, d, append([]image.Extent(nil), l.Extents...))
		for at := 0; at < len(file); {
			n := min(1+rnd.IntN(200<<10), len(file)-at)
			if err := s.take(chunkOf(file[at:at+n], int64(at))); err != nil {
				t.Fatal(err)
			}
			at += n
		}
		if err := s.finish(); err != nil {
			t.Fatal(err)
		}
		got := contents(t, d)
		if i := disktest.FirstDifference(got[:len(want)], want); i >= 0 {
			t.Errorf("seed %d: differs at %d", seed, i)
		}
		if !bytes.Equal(got[len(want):], bytes.Repeat([]byte{disktest.Dirt}, len(got)-len(want))) {
			t.Errorf("seed %d: the disk behind the image was changed", seed)
		}
	}
}

// A file that ends too early, and pieces that leave something out, are found.
func TestSinkNoticesWhatIsLeftOut(t *testing.T) {
	l := &image.Layout{VirtualSize: 4096, Extents: []image.Extent{{FileOffset: 1000, FileLength: 2048, GuestLength: 2048}}}
	fresh := func() *sink {
		return newSink(t, &memory{make([]byte, 4096)}, append([]image.Extent(nil), l.Extents...))
	}
	s := fresh()
	if err := s.take(chunkOf(make([]byte, 2000), 0)); err != nil {
		t.Fatal(err)
	}
	if err := s.finish(); err == nil || err.Error() != "the image file ended before its data at byte 2000" {
		t.Error(err)
	}
	if err := fresh().take(chunkOf(make([]byte, 100), 1001)); err == nil || err.Error() != "the image's data at byte 1000 was passed over" {
		t.Error(err)
	}
}

// Stopping while gaps are zeroed stops there.
func TestZeroingOfGapsStops(t *testing.T) {
	stop := errors.New("stopped")
	calls := 0
	l := &image.Layout{VirtualSize: 3 * disk.ZeroChunk}
	err := zeroGaps(&countingZeros{}, l, func() error {
		if calls++; calls == 2 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || calls != 2 {
		t.Errorf("%v after %d", err, calls)
	}
	c := &countingZeros{}
	if err := zeroGaps(c, l, func() error { return nil }); err != nil ||
		strings.Join(c.ranges, " ") != "0+67108864 67108864+67108864 134217728+67108864" {
		t.Errorf("%v, %v", c.ranges, err)
	}
}

type countingZeros struct {
	memory
	ranges []string
}

func (c *countingZeros) Zero(off, n int64) error {
	c.ranges = append(c.ranges, fmt.Sprintf("%d+%d", off, n))
	return nil
}

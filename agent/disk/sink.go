package disk

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/billet-metal/billet/image"
)

// zeroGrain is the smallest run of zeros worth a request of its own.
const zeroGrain = 256 << 10

var zeroBlock [zeroGrain]byte

// sink writes the data of an image's layout as the file passes by, from its first byte to its last.
// One goroutine owns it.
type sink struct {
	disk    Disk
	extents []image.Extent // those not done
	rest    []byte         // bytes of the first one that passed already (compressed clusters only)
	restOff int64
	batch   batch
}

// zeroGaps makes what no extent covers read as zeros, up to the virtual size. A disk is never
// taken to be blank.
func zeroGaps(d Disk, l *image.Layout, step func() error) error {
	spans := guestRanges(l)
	at := int64(0)
	for _, s := range append(spans, image.Range{Offset: l.VirtualSize}) {
		for at < s.Offset {
			n := min(s.Offset-at, zeroChunk)
			if err := step(); err != nil {
				return err
			}
			if err := d.Zero(at, n); err != nil {
				return err
			}
			at += n
		}
		at = max(at, s.Offset+s.Length)
	}
	return nil
}

// guestRanges lists what the extents cover of the disk, in order. Neighbours are joined as they come:
// compressed images have an extent for each cluster, mostly in the disk's order, and the machine may
// have little memory.
func guestRanges(l *image.Layout) []image.Range {
	var spans []image.Range
	for _, e := range l.Extents {
		if n := len(spans); n > 0 && spans[n-1].Offset+spans[n-1].Length == e.GuestOffset {
			spans[n-1].Length += e.GuestLength
			continue
		}
		spans = append(spans, image.Range{Offset: e.GuestOffset, Length: e.GuestLength})
	}
	slices.SortFunc(spans, func(a, b image.Range) int { return cmp.Compare(a.Offset, b.Offset) })
	return spans
}

// take writes what a piece of the file holds.
func (s *sink) take(data []byte, off int64) error {
	if len(s.rest) > 0 {
		s.rest = append(s.rest, data...)
		data, off = s.rest, s.restOff
	}
	end := off + int64(len(data))
	for len(s.extents) > 0 && s.extents[0].FileOffset < end {
		e := &s.extents[0]
		if e.FileOffset < off {
			return fmt.Errorf("the image's data at byte %d was passed over", e.FileOffset)
		}
		have := data[e.FileOffset-off:]
		if int64(len(have)) < e.FileLength {
			return s.part(e, have)
		}
		if err := s.whole(*e, have[:e.FileLength]); err != nil {
			return err
		}
		s.extents = s.extents[1:]
	}
	s.rest = s.rest[:0]
	return nil
}

// part takes the beginning of an extent that goes on in the next piece.
func (s *sink) part(e *image.Extent, have []byte) error {
	if e.Compression != image.None {
		if len(s.rest) == 0 || &have[0] != &s.rest[0] {
			s.rest = append(s.rest[:0], have...)
		}
		s.restOff = e.FileOffset
		return nil
	}
	if err := s.plain(have, e.GuestOffset); err != nil {
		return err
	}
	n := int64(len(have))
	e.FileOffset, e.FileLength = e.FileOffset+n, e.FileLength-n
	e.GuestOffset, e.GuestLength = e.GuestOffset+n, e.GuestLength-n
	s.rest = s.rest[:0]
	return nil
}

func (s *sink) whole(e image.Extent, src []byte) error {
	if e.Compression == image.None {
		return s.plain(src, e.GuestOffset)
	}
	dst, err := s.batch.room(s.disk, e.GuestOffset, int(e.GuestLength))
	if err != nil {
		return err
	}
	return e.Decode(dst, src)
}

// plain writes uncompressed data; long runs of zeros become requests to zero.
func (s *sink) plain(data []byte, at int64) error {
	for len(data) > 0 {
		n, zero := nextRun(data, at)
		var err error
		if zero {
			err = s.batch.zero(s.disk, at, int64(n))
		} else {
			err = s.batch.write(s.disk, at, data[:n])
		}
		if err != nil {
			return err
		}
		data, at = data[n:], at+int64(n)
	}
	return nil
}

// nextRun returns the length of the first run of data, and whether it is all zeros: whole grains of
// the disk at a time, so that zeroing is aligned.
func nextRun(data []byte, at int64) (n int, zero bool) {
	for n < len(data) {
		grain := min(len(data)-n, int(zeroGrain-(at+int64(n))%zeroGrain))
		blank := grain == zeroGrain && bytes.Equal(data[n:n+grain], zeroBlock[:])
		if n == 0 {
			zero = blank
		} else if blank != zero {
			return n, zero
		}
		n += grain
	}
	return n, zero
}

// finish writes what is still in memory. Every extent must have passed by.
func (s *sink) finish() error {
	if len(s.extents) > 0 {
		return fmt.Errorf("the image file ended before its data at byte %d", s.extents[0].FileOffset)
	}
	return s.batch.flush(s.disk)
}

// batch joins small neighbouring writes into large ones, and neighbouring zeros into one request.
type batch struct {
	buf       []byte // aligned
	at        int64  // disk offset of buf[0]
	n         int
	zeroAt, z int64 // pending zeros; never pending together with data
}

func (b *batch) write(d Disk, at int64, p []byte) error {
	if len(p) >= zeroGrain && b.n == 0 {
		if err := b.flush(d); err != nil {
			return err
		}
		_, err := d.WriteAt(p, at)
		return err
	}
	for len(p) > 0 {
		n := min(len(p), chunkSize)
		dst, err := b.room(d, at, n)
		if err != nil {
			return err
		}
		copy(dst, p[:n])
		p, at = p[n:], at+int64(n)
	}
	return nil
}

// room returns memory for n bytes (at most 2 MiB, the largest cluster) that will be written at at.
func (b *batch) room(d Disk, at int64, n int) ([]byte, error) {
	if b.buf == nil {
		var err error
		if b.buf, err = alignedBuffer(2 << 20); err != nil {
			return nil, err
		}
	}
	if b.z > 0 || b.n > 0 && (at != b.at+int64(b.n) || b.n+n > len(b.buf)) {
		if err := b.flush(d); err != nil {
			return nil, err
		}
	}
	if n > len(b.buf) {
		return nil, fmt.Errorf("a cluster of %d bytes is larger than any", n)
	}
	if b.n == 0 {
		b.at = at
	}
	b.n += n
	return b.buf[b.n-n : b.n], nil
}

func (b *batch) zero(d Disk, at, n int64) error {
	if b.n > 0 || b.z > 0 && (at != b.zeroAt+b.z || b.z >= zeroChunk) {
		if err := b.flush(d); err != nil {
			return err
		}
	}
	if b.z == 0 {
		b.zeroAt = at
	}
	b.z += n
	return nil
}

func (b *batch) flush(d Disk) error {
	var err error
	if b.z > 0 {
		err = d.Zero(b.zeroAt, b.z)
	}
	if b.n > 0 {
		_, err = d.WriteAt(b.buf[:b.n], b.at)
	}
	b.n, b.z = 0, 0
	return err
}

func (b *batch) free() {
	freeBuffer(b.buf)
	b.buf = nil
}

package write

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/image"
)

// zeroGrain is the smallest run of zeros worth a request of its own.
const zeroGrain = 256 << 10

var zeroBlock [zeroGrain]byte

// sink turns an image file that passes by, from its first byte to its last, into requests that write
// what its layout says. One goroutine owns it.
type sink struct {
	queue   *queue
	extents []image.Extent // those not done
	rest    []byte         // the beginning of a compressed cluster that goes on in the next chunk
	restOff int64
	pending *request // small pieces or zeros that more may be added to
}

// zeroGaps makes what no extent covers read as zeros, up to the virtual size. A disk is never
// taken to be blank.
func zeroGaps(d disk.Disk, l *image.Layout, step func() error) error {
	spans := guestRanges(l)
	at := int64(0)
	for _, s := range append(spans, image.Range{Offset: l.VirtualSize}) {
		for at < s.Offset {
			n := min(s.Offset-at, disk.ZeroChunk)
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

// take hands over what a chunk of the file holds.
func (s *sink) take(c *chunk) error {
	end := c.off + int64(len(c.data))
	for len(s.extents) > 0 && s.extents[0].FileOffset < end {
		more, err := s.extent(&s.extents[0], c)
		if err != nil || more {
			return err
		}
		s.extents = s.extents[1:]
	}
	s.rest = s.rest[:0]
	return nil
}

// extent takes what a chunk holds of an extent, and reports whether the extent goes on in the next one.
func (s *sink) extent(e *image.Extent, c *chunk) (more bool, err error) {
	known := c.off // how far back bytes are still there
	if e.Compression != image.None && len(s.rest) > 0 {
		known = s.restOff
	}
	if e.FileOffset < known {
		return false, fmt.Errorf("the image's data at byte %d was passed over", e.FileOffset)
	}
	if e.Compression != image.None {
		return s.cluster(*e, c)
	}
	have := c.data[e.FileOffset-c.off:]
	n := min(int64(len(have)), e.FileLength)
	err = s.plain(c, have[:n], e.GuestOffset, e.FileOffset)
	e.FileOffset, e.FileLength = e.FileOffset+n, e.FileLength-n
	e.GuestOffset, e.GuestLength = e.GuestOffset+n, e.GuestLength-n
	return e.FileLength > 0, err
}

// cluster takes a compressed cluster; one that has not passed whole is kept.
func (s *sink) cluster(e image.Extent, c *chunk) (more bool, err error) {
	var old []byte
	from := e.FileOffset - c.off
	if from < 0 {
		old, from = s.rest[e.FileOffset-s.restOff:], 0
		old = old[:min(int64(len(old)), e.FileLength)]
	}
	n := e.FileLength - int64(len(old))
	if n > int64(len(c.data))-from {
		s.rest = append(append(s.rest[:0], old...), c.data[from:]...)
		s.restOff = e.FileOffset
		return true, nil
	}
	r, dst, err := s.room(e.GuestOffset, int(e.GuestLength))
	if err != nil {
		return false, err
	}
	r.pieces = append(r.pieces, piece{extent: e, src: len(r.src), dst: len(r.data) - len(dst)})
	r.src = append(append(r.src, old...), c.data[from:from+n]...)
	r.upto = max(r.upto, e.FileOffset+e.FileLength)
	return false, nil
}

// plain takes uncompressed data, a part of the chunk that lies at from in the file; long runs of zeros
// become requests to zero.
func (s *sink) plain(c *chunk, data []byte, at, from int64) error {
	for len(data) > 0 {
		n, zero := nextRun(data, at)
		var err error
		switch {
		case zero:
			err = s.zero(at, int64(n), from+int64(n))
		case n >= zeroGrain && disk.IsAligned(data, disk.RequestAlign):
			err = s.direct(c, data[:n], at, from+int64(n))
		default:
			err = s.join(data[:n], at, from+int64(n))
		}
		if err != nil {
			return err
		}
		data, at, from = data[n:], at+int64(n), from+int64(n)
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

// direct writes a chunk's bytes from where they are.
func (s *sink) direct(c *chunk, data []byte, at, upto int64) error {
	if err := s.flush(); err != nil {
		return err
	}
	r, err := s.queue.get()
	if err != nil {
		return err
	}
	r.at, r.data, r.upto, r.chunk = at, data, upto, c
	c.keep()
	return s.queue.submit(r)
}

// join copies a small piece to its neighbours.
func (s *sink) join(data []byte, at, upto int64) error {
	for len(data) > 0 {
		n := min(len(data), joinSize)
		r, dst, err := s.room(at, n)
		if err != nil {
			return err
		}
		copy(dst, data)
		data, at = data[n:], at+int64(n)
		r.upto = upto - int64(len(data))
	}
	return nil
}

// room returns memory for n bytes that will be written at at, and the request it belongs to.
func (s *sink) room(at int64, n int) (*request, []byte, error) {
	if r := s.pending; r != nil && (r.zeros > 0 || at != r.at+int64(len(r.data)) || len(r.data)+n > len(r.buf)) {
		if err := s.flush(); err != nil {
			return nil, nil, err
		}
	}
	if err := s.begin(at); err != nil {
		return nil, nil, err
	}
	dst, err := s.pending.room(n)
	return s.pending, dst, err
}

// zero adds zeros to those before them.
func (s *sink) zero(at, n, upto int64) error {
	if r := s.pending; r != nil && (len(r.data) > 0 || at != r.at+r.zeros || r.zeros >= disk.ZeroChunk) {
		if err := s.flush(); err != nil {
			return err
		}
	}
	if err := s.begin(at); err != nil {
		return err
	}
	s.pending.zeros += n
	s.pending.upto = upto
	return nil
}

// begin makes sure that there is a pending request.
func (s *sink) begin(at int64) error {
	if s.pending != nil {
		return nil
	}
	r, err := s.queue.get()
	if err != nil {
		return err
	}
	r.at = at
	s.pending = r
	return nil
}

func (s *sink) flush() error {
	r := s.pending
	if r == nil {
		return nil
	}
	s.pending = nil
	return s.queue.submit(r)
}

// finish waits until everything is written. Every extent must have passed by.
func (s *sink) finish() error {
	if len(s.extents) > 0 {
		return fmt.Errorf("the image file ended before its data at byte %d", s.extents[0].FileOffset)
	}
	if err := s.flush(); err != nil {
		return err
	}
	return s.queue.wait()
}

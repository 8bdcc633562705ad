package write

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync/atomic"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/wire"
)

// packedAhead is how much of what a compressed image holds is looked at before it is written.
const packedAhead = 8 << 20

// unpackedHead reads the first bytes of what a compressed image will put on a disk. What is behind them is not known
// before it is written.
type unpackedHead struct {
	head  []byte
	whole bool // nothing is behind them
}

// lookAhead unpacks the beginning of a compressed image.
func lookAhead(r io.ReaderAt, size int64, p image.Packing) (*unpackedHead, error) {
	u, err := image.Unpack(p, io.NewSectionReader(r, 0, size))
	if err != nil {
		return nil, err
	}
	defer u.Close()
	head := make([]byte, packedAhead)
	n, err := io.ReadFull(u, head)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errScattered) {
		err = nil // whether the file is cut is found when it is unpacked
	}
	if err != nil {
		return nil, fmt.Errorf("unpacking it (%s): %w", p, err)
	}
	return &unpackedHead{head[:n], n < len(head)}, nil
}

// ReadAt reads from the disk that the image describes; past its end there are zeros.
func (h *unpackedHead) ReadAt(p []byte, off int64) (int, error) {
	if end := int64(len(h.head)); off+int64(len(p)) > end && !h.whole {
		return 0, errUnseen
	}
	clear(p)
	if off < int64(len(h.head)) {
		copy(p, h.head[off:])
	}
	return len(p), nil
}

// passing hands a download on, whole blocks at a time, once they are hashed and compared with what was seen of
// them before.
type passing struct {
	from io.Reader
	sum  io.Writer
	meta *blocks
	buf  []byte
	rest []byte
	off  int64
	done atomic.Int64 // bytes handed on
}

func (p *passing) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		if err := p.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	p.done.Add(int64(n))
	return n, nil
}

func (p *passing) fill() error {
	n, err := io.ReadFull(p.from, p.buf)
	if n == 0 {
		return err
	}
	if err != nil && err != io.ErrUnexpectedEOF { // compared as it is: see fill of the pipeline
		return err
	}
	p.rest = p.buf[:n]
	_, _ = p.sum.Write(p.rest)
	if err := p.meta.check(p.rest, p.off); err != nil {
		return err
	}
	p.off += int64(n)
	return nil
}

// bounded ends with an error when more comes out than there is room for: a small file may hold any amount of zeros.
type bounded struct {
	io.Reader
	left  int64
	large error
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, b.large
	}
	return n, err
}

// copyPacked downloads a compressed image once, hashing the file as it arrives, and writes what it holds. It returns
// how much that was, which is at most the target's size less what is to be left for the config drive.
func (w *Writer) copyPacked(ctx context.Context, to disk.Disk, src *source, meta *blocks, sum *checksum, img wire.ImageInfo,
	packing image.Packing, drive int64) (int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	memory, err := newPool(chunks)
	if err != nil {
		return 0, err
	}
	defer memory.close()
	q := newQueue(to, cancel)
	defer q.close() // before the memory that it writes from
	s := &sink{queue: q, extents: []image.Extent{{FileLength: math.MaxInt64, GuestLength: math.MaxInt64}}}
	room := to.Size() - drive
	file := &passing{sum: sum.sum, meta: meta, buf: make([]byte, blockSize)}
	var total int64
	second := func(c *chunk) error {
		total += int64(len(c.data))
		w.progress("writing", file.done.Load(), src.size)
		return s.take(c)
	}
	open := func(ctx context.Context) io.Reader {
		stream := src.stream(ctx)
		file.from = stream
		large := fmt.Errorf("image %s, packed with %s, holds more than the %d bytes (%s) there are for it; the disk was left unbootable",
			img.ID, packing, room, disk.HumanSize(room))
		return &unpacking{packing: packing, file: file, stream: stream, bound: &bounded{left: room, large: large}}
	}
	nothing := func(*chunk) error { return nil }
	if err = pipeline(ctx, memory, open, nothing, second); err == nil {
		s.extents = nil // its end is where the file's is
		err = s.finish()
	}
	if err != nil {
		return 0, fmt.Errorf("writing the image: %w", err)
	}
	return total, nil
}

// unpacking reads what a file holds, and when that has ended the rest of the file, for its checksum.
type unpacking struct {
	packing image.Packing
	file    *passing
	stream  *stream
	bound   *bounded
	open    io.Closer
}

func (u *unpacking) Read(p []byte) (int, error) {
	if u.open == nil {
		r, err := image.Unpack(u.packing, u.file)
		if err != nil {
			return 0, u.explain(err)
		}
		u.bound.Reader, u.open = r, r
	}
	n, err := u.bound.Read(p)
	if err == io.EOF {
		if _, err := io.Copy(io.Discard, u.file); err != nil {
			return n, err
		}
		return n, io.EOF
	}
	return n, u.explain(err)
}

// explain tells a damaged file from a broken download.
func (u *unpacking) explain(err error) error {
	if err == nil || errors.Is(err, u.bound.large) {
		return err
	}
	return fmt.Errorf("unpacking it (%s): %w", u.packing, err)
}

// Close ends the download.
func (u *unpacking) Close() error {
	u.stream.Close()
	if u.open != nil {
		return u.open.Close()
	}
	return nil
}

package iscsi

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
)

// target is what Verified needs of a disk.
type target interface {
	io.ReaderAt
	io.WriterAt
	Size() int64
	SectorSize() int64
	Zero(offset, length int64) error
	Sync() error
}

// Verified remembers the checksum of everything that is written through it, so that Verify can read
// it all back and compare: what the network, the target or the disk changed on the way does not
// become somebody's system. One goroutine uses it at a time.
type Verified struct {
	target
	spans []written // sorted, never overlapping
}

// written is one range and what it must read as.
type written struct {
	off, n int64
	sum    [sha256.Size]byte
	zero   bool
}

// NewVerified wraps a disk.
func NewVerified(d *Disk) *Verified { return &Verified{target: d} }

// verifyChunk bounds a remembered range, and so the memory to check it.
const verifyChunk = 1 << 20

// WriteAt writes and remembers.
func (v *Verified) WriteAt(p []byte, off int64) (int, error) {
	if err := v.settle(off, int64(len(p))); err != nil {
		return 0, err
	}
	n, err := v.target.WriteAt(p, off)
	if err != nil {
		return n, err
	}
	for at := int64(0); at < int64(len(p)); at += verifyChunk {
		part := p[at:min(at+verifyChunk, int64(len(p)))]
		v.add(written{off: off + at, n: int64(len(part)), sum: sha256.Sum256(part)})
	}
	return n, nil
}

// Zero makes a range read as zeros and remembers that.
func (v *Verified) Zero(off, n int64) error {
	if n == 0 {
		return nil
	}
	if err := v.settle(off, n); err != nil {
		return err
	}
	if err := v.target.Zero(off, n); err != nil {
		return err
	}
	v.add(written{off: off, n: n, zero: true})
	return nil
}

// settle checks what is about to be overwritten in part, while it can still be told from the new;
// the parts of zeros that stay are remembered further.
func (v *Verified) settle(off, n int64) error {
	from, to := v.overlap(off, off+n)
	var keep []written
	for _, w := range v.spans[from:to] {
		inside := w.off >= off && w.off+w.n <= off+n
		switch {
		case w.zero:
			if w.off < off {
				keep = append(keep, written{off: w.off, n: off - w.off, zero: true})
			}
			if end := w.off + w.n; end > off+n {
				keep = append(keep, written{off: off + n, n: end - off - n, zero: true})
			}
		case !inside:
			if err := v.check(w); err != nil {
				return err
			}
		}
	}
	v.spans = slices.Replace(v.spans, from, to, keep...)
	return nil
}

// overlap is the range of spans that touch [start, end).
func (v *Verified) overlap(start, end int64) (from, to int) {
	from, _ = slices.BinarySearchFunc(v.spans, start, func(w written, at int64) int { return cmp.Compare(w.off+w.n-1, at) })
	to, _ = slices.BinarySearchFunc(v.spans, end, func(w written, at int64) int { return cmp.Compare(w.off, at) })
	return from, max(from, to)
}

func (v *Verified) add(w written) {
	at, _ := slices.BinarySearchFunc(v.spans, w.off, func(w written, at int64) int { return cmp.Compare(w.off, at) })
	v.spans = slices.Insert(v.spans, at, w)
}

// ErrVerify is in the chain when a disk does not read as it was written.
var ErrVerify = errors.New("the disk does not hold what was written to it")

// Verify reads back everything written since the wrapping and compares. Ranges of zeros longer than
// 64 MiB are read at both ends and once every 64 MiB. Report, when set, gets the bytes checked.
func (v *Verified) Verify(ctx context.Context, report func(done, total int64)) error {
	var total, done int64
	for _, w := range v.spans {
		total += w.n
	}
	for _, w := range v.spans {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := v.check(w); err != nil {
			return err
		}
		if done += w.n; report != nil {
			report(done, total)
		}
	}
	return nil
}

const zeroStride = 64 << 20

func (v *Verified) check(w written) error {
	if !w.zero {
		data, err := v.read(w.off, w.n)
		if err == nil && sha256.Sum256(data) != w.sum {
			err = fmt.Errorf("%w: %d bytes at %d have another checksum", ErrVerify, w.n, w.off)
		}
		return err
	}
	for at := int64(0); at < w.n; at += verifyChunk {
		if w.n > zeroStride && at%zeroStride != 0 && at+verifyChunk < w.n {
			continue
		}
		data, err := v.read(w.off+at, min(verifyChunk, w.n-at))
		if err != nil {
			return err
		}
		if i := bytes.IndexFunc(data, func(r rune) bool { return r != 0 }); i >= 0 {
			return fmt.Errorf("%w: byte %d should be zero", ErrVerify, w.off+at+int64(i))
		}
	}
	return nil
}

func (v *Verified) read(off, n int64) ([]byte, error) {
	data := make([]byte, n)
	if _, err := v.target.ReadAt(data, off); err != nil {
		return nil, fmt.Errorf("reading back what was written: %w", err)
	}
	return data, nil
}

package erase

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"github.com/billet-metal/billet/disk"
)

// Passes say how a disk is overwritten. The zero value is one pass of zeros.
type Passes struct {
	Random  int  // passes of random data, each another
	NoZeros bool // no pass of zeros after them; the last random one stays
}

func (p Passes) count() int {
	if p.NoZeros {
		return p.Random
	}
	return p.Random + 1
}

// String says what the passes leave behind.
func (p Passes) String() string {
	times := fmt.Sprintf("%d times", p.Random)
	if p.Random == 1 {
		times = "once"
	}
	switch {
	case p.Random == 0:
		return "overwritten with zeros"
	case p.NoZeros:
		return "overwritten with random data " + times
	}
	return "overwritten with random data " + times + ", then with zeros"
}

// overwrite fills a whole disk, pass after pass, and reads samples of each back. It is an overwrite of what
// the disk shows: spare areas of flash are out of its reach. progress counts the disk's bytes over all passes.
func overwrite(ctx context.Context, d disk.Disk, p Passes, progress func(what string, done int64)) error {
	if p.count() == 0 {
		return fmt.Errorf("overwriting with no pass erases nothing")
	}
	for i := range p.count() {
		write, check, what := d.Zero, func() error { return sampleZeros(d) }, "overwriting"
		if p.count() > 1 {
			what = fmt.Sprintf("overwriting, pass %d of %d", i+1, p.count())
		}
		if i < p.Random {
			r, err := newNoise()
			if err != nil {
				return err
			}
			defer r.free()
			write = func(at, length int64) error { return r.write(d, at, length) }
			check = func() error { return r.check(d) }
		}
		for at := int64(0); at < d.Size(); at += disk.ZeroChunk {
			if ctx.Err() != nil {
				return fmt.Errorf("erasing: stopped at byte %d of %d (%s): %w", at, d.Size(), what, context.Cause(ctx))
			}
			if err := write(at, min(disk.ZeroChunk, d.Size()-at)); err != nil {
				return err
			}
			progress(what, (int64(i)*d.Size()+min(at+disk.ZeroChunk, d.Size()))/int64(p.count()))
		}
		if err := d.Sync(); err != nil {
			return err
		}
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// noise is random data that can be made again at any offset: AES in counter mode under a key nobody keeps.
type noise struct {
	block cipher.Block
	buf   []byte // aligned
}

const noiseSize = 1 << 20

func newNoise() (*noise, error) {
	var key [16]byte
	rand.Read(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	buf, err := disk.AlignedBuffer(noiseSize)
	return &noise{block, buf}, err
}

func (n *noise) free() { disk.FreeBuffer(n.buf) }

// at fills p with what belongs at an offset, a multiple of 16.
func (n *noise) at(p []byte, off int64) {
	var iv [aes.BlockSize]byte
	binary.BigEndian.PutUint64(iv[8:], uint64(off/aes.BlockSize))
	clear(p)
	cipher.NewCTR(n.block, iv[:]).XORKeyStream(p, p)
}

func (n *noise) write(d disk.Disk, off, length int64) error {
	for length > 0 {
		part := n.buf[:min(length, noiseSize)]
		n.at(part, off)
		if _, err := d.WriteAt(part, off); err != nil {
			return err
		}
		off, length = off+int64(len(part)), length-int64(len(part))
	}
	return nil
}

// check reads 64 places spread over the disk.
func (n *noise) check(d disk.Disk) error {
	length := min(64<<10, d.Size())
	got, want := make([]byte, length), make([]byte, length)
	for i := range int64(samples) {
		at := sampleAt(d, i, length) / aes.BlockSize * aes.BlockSize
		if _, err := d.ReadAt(got, at); err != nil {
			return err
		}
		if n.at(want, at); !bytes.Equal(got, want) {
			return fmt.Errorf("the %d bytes at %d of the disk are not what was written: the disk is failing or lies", length, at)
		}
	}
	return nil
}

package write

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

const (
	blockSize   = 256 << 10
	cacheBlocks = 16
	maxRewinds  = 64 // a server without ranges costs a whole download for each
)

// blocks reads parts of an image file in whole blocks and remembers the digest of each, so that
// the download proper can be checked to hold the same bytes: a server must not show one set of
// tables for inspection and another for writing. One goroutine owns it.
type blocks struct {
	ctx     context.Context
	src     *source
	seen    map[int64][sha256.Size]byte // block number → digest
	cache   map[int64][]byte
	recent  []int64 // cached block numbers, oldest first
	forward *stream // for servers without ranges
	rewinds int
}

func newBlocks(ctx context.Context, src *source) *blocks {
	return &blocks{ctx: ctx, src: src, seen: map[int64][sha256.Size]byte{}, cache: map[int64][]byte{}}
}

// ReadAt reads anywhere in the file.
func (b *blocks) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		at := off + int64(done)
		if at < 0 || at >= b.src.size {
			return done, io.EOF
		}
		block, err := b.block(at / blockSize)
		if err != nil {
			return done, err
		}
		done += copy(p[done:], block[at%blockSize:])
	}
	return done, nil
}

func (b *blocks) block(n int64) ([]byte, error) {
	if data, ok := b.cache[n]; ok {
		return data, nil
	}
	data := make([]byte, min(blockSize, b.src.size-n*blockSize))
	if err := b.fetch(data, n*blockSize); err != nil {
		return nil, err
	}
	digest := sha256.Sum256(data)
	if before, ok := b.seen[n]; ok && before != digest {
		return nil, errChanged
	}
	b.seen[n] = digest
	if len(b.recent) == cacheBlocks {
		delete(b.cache, b.recent[0])
		b.recent = b.recent[1:]
	}
	b.cache[n], b.recent = data, append(b.recent, n)
	return data, nil
}

func (b *blocks) fetch(data []byte, off int64) error {
	if !b.src.ranges {
		return b.fetchForward(data, off)
	}
	var err error
	for attempt := range maxAttempts {
		if err := pause(b.ctx, attempt); err != nil {
			return err
		}
		if err = b.fetchRange(data, off); err == nil || isFinal(err) {
			return err
		}
	}
	return err
}

func (b *blocks) fetchRange(data []byte, off int64) error {
	ctx, cancel := context.WithTimeout(b.ctx, stallTimeout)
	defer cancel()
	resp, err := b.src.get(ctx, off, int64(len(data)))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	want := fmt.Sprintf("bytes %d-%d/%d", off, off+int64(len(data))-1, b.src.size)
	if resp.Header.Get("Content-Range") != want {
		return errChanged
	}
	if _, err := io.ReadFull(resp.Body, data); err != nil {
		return fmt.Errorf("downloading %s: %w", shown(b.src.url), err)
	}
	return nil
}

var errScattered = errors.New("the server cannot send parts of a file (HTTP Range) and the image's tables lie scattered: " +
	"serve it with ranges, or as raw")

// fetchForward reads on to off, and starts again when off has passed.
func (b *blocks) fetchForward(data []byte, off int64) error {
	if b.forward != nil && b.forward.pos > off {
		b.close()
	}
	if b.forward == nil {
		if b.rewinds++; b.rewinds > maxRewinds {
			return errScattered
		}
		b.forward = b.src.stream(b.ctx)
	}
	if _, err := io.CopyN(io.Discard, b.forward, off-b.forward.pos); err != nil {
		return err
	}
	_, err := io.ReadFull(b.forward, data)
	return err
}

func (b *blocks) close() {
	if b.forward != nil {
		b.forward.Close()
		b.forward = nil
	}
}

// check compares a piece of the download with what was seen before. The piece starts at a multiple
// of the block size and ends at one, or at the end of the file.
func (b *blocks) check(data []byte, off int64) error {
	for len(data) > 0 {
		n := min(blockSize, len(data))
		if before, ok := b.seen[off/blockSize]; ok && before != sha256.Sum256(data[:n]) {
			return fmt.Errorf("byte %d and after of %s are not what they were: %w", off, shown(b.src.url), errChanged)
		}
		data, off = data[n:], off+int64(n)
	}
	return nil
}

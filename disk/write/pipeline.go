package write

import (
	"context"
	"io"
	"sync"
	"sync/atomic"

	"github.com/billet-metal/billet/disk"
)

const (
	chunkSize = 1 << 20 // what a disk takes fastest with direct I/O, and blocks divide
	chunks    = 12      // in flight: 12 MiB, which a machine with 256 MB has
)

// chunk is a piece of the image file, in aligned memory.
type chunk struct {
	buf   []byte // chunkSize long, only data counts
	data  []byte
	off   int64
	users atomic.Int32
	free  chan *chunk // where it goes when nobody uses it any more; nil: nowhere
}

// keep adds a user.
func (c *chunk) keep() { c.users.Add(1) }

// release ends one use; the last one makes the memory free for other bytes of the file.
func (c *chunk) release() {
	if c.users.Add(-1) == 0 && c.free != nil {
		c.free <- c // never blocks: as many places as chunks
	}
}

// pool is the memory that a file passes through.
type pool struct {
	all  []*chunk
	free chan *chunk
}

func newPool(n int) (*pool, error) {
	p := &pool{free: make(chan *chunk, n)}
	for range n {
		buf, err := disk.AlignedBuffer(chunkSize)
		if err != nil {
			p.close()
			return nil, err
		}
		c := &chunk{buf: buf, free: p.free}
		p.all = append(p.all, c)
		p.free <- c
	}
	return p, nil
}

// get waits for a chunk that nobody uses.
func (p *pool) get(off int64) *chunk { return (<-p.free).begin(off) }

// begin makes the chunk the caller's.
func (c *chunk) begin(off int64) *chunk {
	c.off = off
	c.users.Store(1)
	return c
}

// close gives the memory back. Nobody may use a chunk any more.
func (p *pool) close() {
	for _, c := range p.all {
		disk.FreeBuffer(c.buf)
	}
}

// pipeline reads r to its end in chunks; download, hashing and writing run at the same time. Each
// chunk passes first (in its own goroutine), then second (in the caller's), in file order. A caller
// that needs its bytes after that calls keep. It returns when all its goroutines have ended.
func pipeline(ctx context.Context, p *pool, r func(context.Context) io.Reader, first, second func(*chunk) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	read, passed := make(chan *chunk, len(p.all)), make(chan *chunk, len(p.all))
	wg.Go(func() {
		defer close(read)
		if err := fill(ctx, r(ctx), p.free, read); err != nil {
			cancel(err)
		}
	})
	wg.Go(func() {
		defer close(passed)
		for c := range read {
			if err := first(c); err != nil {
				cancel(err)
				return
			}
			passed <- c
		}
	})
	for c := range passed {
		if ctx.Err() != nil {
			break
		}
		if err := second(c); err != nil {
			cancel(err)
			break
		}
		c.release()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// fill reads whole chunks; only the last may be short.
func fill(ctx context.Context, r io.Reader, free <-chan *chunk, out chan<- *chunk) error {
	if c, ok := r.(io.Closer); ok {
		defer c.Close()
	}
	for off := int64(0); ; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case c := <-free:
			n, err := io.ReadFull(r, c.buf)
			if n > 0 {
				c.begin(off).data = c.buf[:n]
				off += int64(n)
				out <- c // never blocks: as many places as chunks
			}
			// Compared as they are: a download that broke off for good wraps one of them, and is no end.
			if err == io.EOF || err == io.ErrUnexpectedEOF {
				return nil
			}
			if err != nil {
				return err
			}
		}
	}
}

package disk

import (
	"context"
	"io"
	"sync"
)

const (
	chunkSize = 1 << 20 // what a disk takes fastest with direct I/O, and blocks divide
	chunks    = 8       // in flight: 8 MiB, which a machine with 256 MB has
)

// chunk is a piece of the image file, in aligned memory.
type chunk struct {
	buf  []byte // chunkSize long, only data counts
	data []byte
	off  int64
}

// pipeline reads r to its end in chunks; download, hashing and writing run at the same time. Each
// chunk passes first (in its own goroutine), then second (in the caller's), in file order. It
// returns when all its goroutines have ended.
func pipeline(ctx context.Context, r func(context.Context) io.Reader, first, second func(chunk) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	free := make(chan chunk, chunks)
	for range chunks {
		buf, err := alignedBuffer(chunkSize)
		if err != nil {
			return err
		}
		defer freeBuffer(buf)
		free <- chunk{buf: buf}
	}
	var wg sync.WaitGroup
	defer wg.Wait() // before the buffers are freed
	read, passed := make(chan chunk, chunks), make(chan chunk, chunks)
	wg.Go(func() {
		defer close(read)
		if err := fill(ctx, r(ctx), free, read); err != nil {
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
		if err := second(c); err != nil {
			cancel(err)
			break
		}
		free <- c
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// fill reads whole chunks; only the last may be short.
func fill(ctx context.Context, r io.Reader, free <-chan chunk, out chan<- chunk) error {
	if c, ok := r.(*stream); ok {
		defer c.Close()
	}
	for off := int64(0); ; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case c := <-free:
			n, err := io.ReadFull(r, c.buf)
			if n > 0 {
				c.data, c.off = c.buf[:n], off
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

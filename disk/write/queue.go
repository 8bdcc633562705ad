package write

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/image"
)

const (
	joinSize   = 1 << 20 // small pieces are joined to requests of this size
	maxCluster = 2 << 20 // the largest cluster there is (qcow2)
)

// request is one write: of a chunk's bytes, of bytes that were copied together, of clusters yet to be
// decoded, or of zeros.
type request struct {
	at    int64
	data  []byte // what is written: the chunk's memory, or buf's beginning
	zeros int64  // or how many zeros
	upto  int64  // the image file's bytes before this are on the disk when this and all before it are done
	chunk *chunk // kept until the request is done; nil when data is buf
	seq   int

	buf    []byte // aligned memory, made when first needed
	src    []byte // compressed clusters
	pieces []piece
}

// piece is a compressed cluster of a request: where it lies in src, and where it goes in data.
type piece struct {
	extent   image.Extent
	src, dst int
}

// queue carries out requests, as many at a time as the disk takes; each decodes its clusters itself. The
// first error ends it: what waits is dropped. Its methods are for one goroutine.
type queue struct {
	disk  disk.Disk
	depth int
	fail  context.CancelCauseFunc // told of the first error
	all   []*request
	idle  chan *request
	ready chan *request
	wg    sync.WaitGroup // the workers
	open  sync.WaitGroup // requests not done

	mu    sync.Mutex
	err   error
	marks []mark // of requests from number first on
	first int
	upto  int64
}

// mark is what a request not yet counted leaves behind.
type mark struct {
	upto int64
	done bool
}

func newQueue(d disk.Disk, fail context.CancelCauseFunc) *queue {
	q := &queue{disk: d, depth: disk.DepthOf(d), fail: fail}
	n := q.depth + 2 // one is being filled, one waits
	q.idle, q.ready = make(chan *request, n), make(chan *request, n)
	for range n {
		r := &request{}
		q.all = append(q.all, r)
		q.idle <- r
	}
	for range q.depth {
		q.wg.Go(func() {
			for r := range q.ready {
				q.finish(r, q.do(r))
			}
		})
	}
	return q
}

// get waits for an empty request.
func (q *queue) get() (*request, error) {
	r := <-q.idle
	if err := q.failed(); err != nil {
		q.idle <- r
		return nil, err
	}
	*r = request{buf: r.buf, src: r.src[:0], pieces: r.pieces[:0]}
	return r, nil
}

// submit hands a request over. One that shares a sector with its neighbours runs alone.
func (q *queue) submit(r *request) error {
	q.mu.Lock()
	r.seq = q.first + len(q.marks)
	q.marks = append(q.marks, mark{upto: r.upto})
	q.mu.Unlock()
	if q.depth == 1 || r.aligned() {
		q.open.Add(1)
		q.ready <- r // never blocks: as many places as requests
		return nil
	}
	q.open.Wait()
	q.open.Add(1)
	q.finish(r, q.do(r))
	return q.failed()
}

func (r *request) aligned() bool {
	n := r.zeros + int64(len(r.data))
	return r.at%disk.RequestAlign == 0 && n%disk.RequestAlign == 0 && (r.zeros > 0 || disk.IsAligned(r.data, disk.RequestAlign))
}

// wait waits until everything handed over is done.
func (q *queue) wait() error {
	q.open.Wait()
	return q.failed()
}

// close drops what waits, and ends when nothing touches the disk or a chunk any more.
func (q *queue) close() {
	q.mu.Lock()
	if q.err == nil {
		q.err = errors.New("the writing has ended")
	}
	q.mu.Unlock()
	close(q.ready)
	q.wg.Wait()
	for _, r := range q.all {
		disk.FreeBuffer(r.buf)
		r.buf = nil
	}
}

func (q *queue) failed() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.err
}

// written is how much of the image file, from its beginning, is on the disk.
func (q *queue) written() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.upto
}

func (q *queue) do(r *request) error {
	if err := q.failed(); err != nil {
		return err
	}
	if r.zeros > 0 {
		return q.disk.Zero(r.at, r.zeros)
	}
	for _, p := range r.pieces {
		if err := p.extent.Decode(r.data[p.dst:p.dst+int(p.extent.GuestLength)], r.src[p.src:p.src+int(p.extent.FileLength)]); err != nil {
			return err
		}
	}
	n, err := q.disk.WriteAt(r.data, r.at)
	if err == nil && n < len(r.data) {
		err = fmt.Errorf("writing %d bytes at %d of the disk: %d were written: %w", len(r.data), r.at, n, io.ErrShortWrite)
	}
	return err
}

func (q *queue) finish(r *request, err error) {
	q.mu.Lock()
	news := err != nil && q.err == nil
	if news {
		q.err = err
	}
	q.marks[r.seq-q.first].done = err == nil
	for len(q.marks) > 0 && q.marks[0].done {
		q.upto = q.marks[0].upto
		q.marks, q.first = q.marks[1:], q.first+1
	}
	q.mu.Unlock()
	if news {
		q.fail(err)
	}
	if r.chunk != nil {
		r.chunk.release()
	}
	q.idle <- r // never blocks: as many places as requests
	q.open.Done()
}

// room extends the request by n bytes of its own memory.
func (r *request) room(n int) ([]byte, error) {
	if n > maxCluster {
		return nil, fmt.Errorf("a cluster of %d bytes is larger than any", n)
	}
	if want := max(n, joinSize); len(r.data) == 0 && len(r.buf) < want {
		disk.FreeBuffer(r.buf)
		r.buf = nil
		buf, err := disk.AlignedBuffer(want)
		if err != nil {
			return nil, err
		}
		r.buf = buf
	}
	r.data = r.buf[:len(r.data)+n]
	return r.data[len(r.data)-n:], nil
}

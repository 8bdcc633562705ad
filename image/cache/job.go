package cache

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/node"
)

// headSize is how much of an image's start tells whether it is worth the rest.
const headSize = 64 << 10

// job is one fetch of an image by this process.
type job struct {
	key string
	d   *image.Described
	got atomic.Int64

	headOnce sync.Once
	headed   chan struct{} // closed when head is there
	head     []byte        // nil: another process fetches it

	done  chan struct{} // closed when it has ended
	err   error
	ended time.Time
}

func newJob(key string, d *image.Described) *job {
	return &job{key: key, d: d, headed: make(chan struct{}), done: make(chan struct{})}
}

// stale reports whether a job has ended so long ago that its end says nothing any more. One that ended well has: its file is
// looked for first, and was dropped since.
func (j *job) stale(rest time.Duration) bool {
	select {
	case <-j.done:
		return j.err == nil || time.Since(j.ended) > rest
	default:
		return false
	}
}

// state is the job's answer to whoever asks; nil: its file is there, if nobody has dropped it already.
func (j *job) state() error {
	select {
	case <-j.done:
		return j.err
	default:
		return &image.Fetching{Done: j.got.Load(), Total: j.d.Size}
	}
}

func (j *job) showHead(head []byte) {
	j.headOnce.Do(func() {
		j.head = head
		close(j.headed)
	})
}

func (j *job) end(err error) {
	j.err, j.ended = err, time.Now()
	close(j.done)
}

// run fetches an image, with tries that end.
func (c *Cache) run(j *job) {
	ctx, cancel := context.WithTimeoutCause(c.ctx, c.cfg.Most,
		node.Errorf(node.Unavailable, "it did not arrive from Glance within %s", c.cfg.Most))
	defer cancel()
	began := time.Now()
	err := c.fetch(ctx, j)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	if err != nil {
		c.cfg.Log.Warn("an image was not fetched from Glance", "image", j.d.ID, "error", err)
	} else {
		c.cfg.Log.Info("an image was fetched from Glance", "image", j.d.ID, "bytes", j.d.Size, "took", time.Since(began).Round(time.Millisecond))
	}
	j.end(err)
	if err == nil {
		c.mu.Lock()
		delete(c.jobs, j.key)
		c.mu.Unlock()
	}
}

func (c *Cache) fetch(ctx context.Context, j *job) error {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	held, err := c.lock(ctx, j.key, func() { j.showHead(nil) })
	if err != nil {
		return err
	}
	defer held.Close()
	if m, ok := c.whole(j.key); ok && m.HashValue == j.d.HashValue {
		return nil // another process has fetched it meanwhile
	}
	pause := c.cfg.Pause
	for try := 1; ; try++ {
		err := c.attempt(ctx, j)
		if err == nil || try == tries || !again(err) {
			return err
		}
		c.cfg.Log.Warn("an image is fetched from Glance once more", "image", j.d.ID, "try", try+1, "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		pause *= 2
	}
}

// again reports whether another try may do better: when Glance is away, or what came was damaged.
func again(err error) bool {
	_, damaged := errors.AsType[*damage](err)
	return damaged || node.KindOf(err) == node.Unavailable
}

// damage is an image that is not what Glance says.
type damage struct{ error }

func (d *damage) Unwrap() error { return d.error }

// attempt fetches the image from its first byte: Glance knows no ranges.
func (c *Cache) attempt(ctx context.Context, j *job) error {
	part := c.path(j.key + partEnd)
	f, err := c.reserve(ctx, part, j)
	if err != nil {
		return err
	}
	defer os.Remove(part) // after the rename there is nothing left to remove
	defer f.Close()
	sum, err := image.NewHash(j.d.HashAlgo)
	if err != nil {
		return err
	}
	j.got.Store(0)
	if err := c.receive(ctx, j, f, sum); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != j.d.HashValue {
		return &damage{node.Errorf(node.Invalid, "its %s is %s, but Glance says %s: it was changed under way, or is damaged in Glance's store; "+
			"upload it anew", j.d.HashAlgo, got, j.d.HashValue)}
	}
	return c.keep(f, part, j)
}

// receive copies the bytes. A connection that is silent for too long has failed.
func (c *Cache) receive(ctx context.Context, j *job, f *os.File, sum hash.Hash) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	body, err := c.cfg.Open(ctx, j.d.ID)
	if err != nil {
		return causeOf(ctx, err)
	}
	defer body.Close()
	silence := time.AfterFunc(c.cfg.Silence, func() {
		cancel(node.Errorf(node.Unavailable, "Glance was silent for %s in the middle of it", c.cfg.Silence))
	})
	defer silence.Stop()
	to := io.MultiWriter(&heads{j: j}, sum, f)
	n, err := io.Copy(to, io.LimitReader(arriving{body, func(n int) {
		silence.Reset(c.cfg.Silence)
		j.got.Add(int64(n))
	}}, j.d.Size+1))
	switch _, wrote := errors.AsType[*os.PathError](err); {
	case wrote:
		return fmt.Errorf("writing it into the image cache: %w", err)
	case err != nil:
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return &node.Err{Kind: node.Unavailable, Msg: fmt.Sprintf("Glance broke off after %d of %d bytes", n, j.d.Size), Cause: err}
	case n < j.d.Size:
		return node.Errorf(node.Unavailable, "Glance broke off after %d of %d bytes", n, j.d.Size)
	case n > j.d.Size:
		return &damage{node.Errorf(node.Invalid, "Glance says that it has %d bytes, and sends more: it was changed under way", j.d.Size)}
	}
	return nil
}

func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// arriving tells of bytes that arrive.
type arriving struct {
	io.Reader
	arrived func(n int)
}

func (a arriving) Read(p []byte) (int, error) {
	n, err := a.Reader.Read(p)
	if n > 0 {
		a.arrived(n)
	}
	return n, err
}

// heads keeps a job's first bytes.
type heads struct {
	j    *job
	head []byte
}

func (h *heads) Write(p []byte) (int, error) {
	want := int(min(headSize, h.j.d.Size))
	if left := want - len(h.head); left > 0 {
		h.head = append(h.head, p[:min(left, len(p))]...)
		if len(h.head) == want {
			h.j.showHead(h.head)
		}
	}
	return len(p), nil
}

// keep gives an image that is whole and right its name. What it is goes first, so that no name is without.
func (c *Cache) keep(f *os.File, part string, j *job) error {
	if err := f.Sync(); err != nil {
		return fmt.Errorf("writing it into the image cache: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	b, err := json.Marshal(meta{ID: j.d.ID, Size: j.d.Size, HashAlgo: j.d.HashAlgo, HashValue: j.d.HashValue,
		ModTime: st.ModTime().UnixNano(), Inode: inodeOf(st)})
	if err != nil {
		return err
	}
	fresh := c.path(j.key + metaEnd + partEnd)
	defer os.Remove(fresh)
	if err := os.WriteFile(fresh, b, 0o600); err != nil {
		return fmt.Errorf("writing into the image cache: %w", err)
	}
	return errors.Join(os.Rename(fresh, c.path(j.key+metaEnd)), os.Rename(part, c.path(j.key)))
}

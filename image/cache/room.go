package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/billet-metal/billet/node"
)

// lockPause is how often a lock that another process holds is tried.
const lockPause = 200 * time.Millisecond

// lock takes the lock of a name; closing the file lets it go, as does the end of the process. busy is called when another
// process has it.
func (c *Cache) lock(ctx context.Context, name string, busy func()) (*os.File, error) {
	for {
		f, err := c.tryLock(name)
		if f != nil || err != nil {
			return f, err
		}
		busy()
		select {
		case <-time.After(lockPause):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// tryLock returns nil when somebody else has the lock.
func (c *Cache) tryLock(name string) (*os.File, error) {
	path := c.path(name + lockEnd)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the image cache: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil && sameFile(f, path) {
		return f, nil
	}
	f.Close()
	if err == nil || errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EINTR) {
		return nil, nil
	}
	return nil, fmt.Errorf("locking in the image cache: %w", err)
}

// sameFile reports whether a lock's file is still the one of its name: it is removed with its image.
func sameFile(f *os.File, path string) bool {
	held, err := f.Stat()
	now, other := os.Stat(path)
	return err == nil && other == nil && os.SameFile(held, now)
}

// kept is one image of the cache.
type kept struct {
	key  string
	size int64
	used time.Time
}

// roomLock is held while room is made and taken, by one process at a time.
const roomLock = "room"

// reserve makes room for an image and takes it: the file has the image's size from the start, so that others count it.
func (c *Cache) reserve(ctx context.Context, part string, j *job) (*os.File, error) {
	held, err := c.lock(ctx, roomLock, func() {})
	if err != nil {
		return nil, err
	}
	defer held.Close()
	_ = os.Remove(part) // a fetch that was killed left it
	if err := c.makeRoom(ctx, j.d.Size); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(part, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the image cache: %w", err)
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, j.d.Size)
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = f.Truncate(j.d.Size)
	}
	if err != nil {
		f.Close()
		os.Remove(part)
		return nil, fmt.Errorf("taking %d bytes in the image cache: %w", j.d.Size, err)
	}
	return f, nil
}

// diskReserve is left free on the disk: the database may lie there, too.
const diskReserve = 64 << 20

// makeRoom drops the images that nobody used for the longest time until size bytes fit.
func (c *Cache) makeRoom(ctx context.Context, size int64) error {
	images, arriving, err := c.list()
	if err != nil {
		return err
	}
	total := arriving
	for _, i := range images {
		total += i.size
	}
	free, err := c.free()
	if err != nil {
		return err
	}
	missing := size + diskReserve - free
	if c.cfg.Limit > 0 {
		missing = max(missing, total+size-c.cfg.Limit)
	}
	if missing <= 0 {
		return nil
	}
	if most := free - diskReserve + total; size > most {
		return node.Errorf(node.Invalid, "it has %d bytes, and the disk of the image cache (%s) has room for %d, even if all else is dropped: "+
			"free some, or set image_cache_dir", size, c.cfg.Dir, max(most, 0))
	}
	return c.drop(ctx, images, missing)
}

// drop removes images, those first that were not used for the longest time, until missing bytes are free.
func (c *Cache) drop(ctx context.Context, images []kept, missing int64) error {
	slices.SortFunc(images, func(a, b kept) int { return a.used.Compare(b.used) })
	var reading []string
	if c.cfg.InUse != nil {
		var err error
		if reading, err = c.cfg.InUse(ctx); err != nil {
			return &node.Err{Kind: node.Unavailable, Cause: err,
				Msg: "room is needed in the image cache, and what machines are reading can not be asked"}
		}
	}
	for _, i := range images {
		if missing <= 0 {
			break
		}
		if time.Since(i.used) < c.cfg.Fresh || slices.Contains(reading, c.path(i.key)) {
			continue
		}
		if c.remove(i.key) {
			c.cfg.Log.Info("an image was dropped from the cache", "image", i.key, "bytes", i.size, "used", i.used)
			missing -= i.size
		}
	}
	if missing > 0 {
		return node.Errorf(node.Unavailable, "%d bytes of room are missing in the image cache, and all images in it were used within the last "+
			"%s or are being read: raise image_cache_size_gb, or deploy fewer images at once", missing, c.cfg.Fresh)
	}
	return nil
}

// remove drops one image unless somebody fetches it. Whoever has the file open reads on.
func (c *Cache) remove(key string) bool {
	held, err := c.tryLock(key)
	if held == nil || err != nil {
		return false
	}
	defer held.Close()
	gone := os.Remove(c.path(key)) == nil
	_ = os.Remove(c.path(key + metaEnd)) // without its image it counts for nothing
	_ = os.Remove(c.path(key + lockEnd)) // held until the end
	return gone
}

// list reads what is here; arriving are the bytes that fetches under way have taken.
func (c *Cache) list() (images []kept, arriving int64, err error) {
	entries, err := os.ReadDir(c.cfg.Dir)
	if err != nil {
		return nil, 0, fmt.Errorf("the image cache: %w", err)
	}
	for _, e := range entries {
		st, err := e.Info()
		switch {
		case err != nil || !st.Mode().IsRegular():
		case strings.HasSuffix(e.Name(), partEnd):
			arriving += st.Size()
		case strings.HasSuffix(e.Name(), metaEnd), strings.HasSuffix(e.Name(), lockEnd):
		default:
			i := kept{key: e.Name(), size: st.Size()}
			if m, err := os.Stat(c.path(e.Name() + metaEnd)); err == nil {
				i.used = m.ModTime()
			}
			images = append(images, i)
		}
	}
	return images, arriving, nil
}

// free is what the cache's disk has left for this process.
func (c *Cache) free() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(c.cfg.Dir, &st); err != nil {
		return 0, fmt.Errorf("the disk of the image cache: %w", err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// sweep removes what fetches left that were killed.
func (c *Cache) sweep() {
	parts, _ := filepath.Glob(c.path("*" + partEnd)) // the pattern is well formed
	for _, part := range parts {
		key := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(part), partEnd), metaEnd)
		if held, err := c.tryLock(key); held != nil && err == nil {
			_ = os.Remove(part) // the next fetch does it otherwise
			held.Close()
		}
	}
}

// Package cache owns the bytes of Glance's images on this machine: fetched once for however many nodes and processes ask, checked
// while they arrive, bounded in size, and dropped when nobody used them for the longest time. A file is there under its name
// only when all of it is there and has its checksum. It refuses to wait for anybody: whoever asks too early is told so.
package cache

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/node"
)

// Config is what a cache is made of. Dir and Open are needed.
type Config struct {
	Dir   string // of this cache alone; processes of one machine share it
	Limit int64  // most bytes of all images together; 0: no limit but the disk
	// Open reads an image of Glance from its first byte.
	Open func(ctx context.Context, id string) (io.ReadCloser, error)
	// InUse lists the paths that machines may be reading now: those are not dropped.
	InUse func(ctx context.Context) ([]string, error)
	Log   *slog.Logger

	Silence time.Duration // longest time without a byte; 0: 1 min
	Most    time.Duration // longest time for one image; 0: 6 h
	Pause   time.Duration // before a second try, doubled for each more; 0: 1 s
	Rest    time.Duration // how long a failure is the answer before somebody's question begins anew; 0: 15 s
	Fresh   time.Duration // how long an image is kept after its last use although room is needed: its machine boots; 0: 1 h
}

// Cache is described on the package. It is safe for use from many goroutines and processes.
type Cache struct {
	cfg   Config
	ctx   context.Context // of the service: fetches outlive the question that began them
	slots chan struct{}   // fetches at once

	mu   sync.Mutex
	jobs map[string]*job // by key; ended ones have failed
}

const (
	fetchesAtOnce = 4
	tries         = 3
)

// New makes the directory. Fetches end with ctx.
func New(ctx context.Context, cfg Config) (*Cache, error) {
	for value, otherwise := range map[*time.Duration]time.Duration{
		&cfg.Silence: time.Minute, &cfg.Most: 6 * time.Hour, &cfg.Pause: time.Second, &cfg.Rest: 15 * time.Second, &cfg.Fresh: time.Hour,
	} {
		if *value <= 0 {
			*value = otherwise
		}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("the image cache: %w", err)
	}
	c := &Cache{cfg: cfg, ctx: ctx, slots: make(chan struct{}, fetchesAtOnce), jobs: map[string]*job{}}
	c.sweep()
	return c, nil
}

// Endings of an image's files, whose names begin with its key.
const (
	partEnd = ".part" // while it arrives
	metaEnd = ".json" // what it is; its time is the last use
	lockEnd = ".lock" // held by whoever fetches or drops it
)

// keyOf names an image with these bytes: another checksum is another image.
func keyOf(d *image.Described) string { return d.ID + "." + d.HashValue[:min(16, len(d.HashValue))] }

// meta is kept beside an image that is whole.
type meta struct {
	ID        string `json:"id"`
	Size      int64  `json:"size"`
	HashAlgo  string `json:"hash_algo"`
	HashValue string `json:"hash_value"`
	ModTime   int64  `json:"mtime_ns"` // of the file when it was checked
	Inode     uint64 `json:"inode"`
}

func (c *Cache) path(key string) string { return filepath.Join(c.cfg.Dir, key) }

// whole returns what is kept of an image whose file is still the one that was checked.
func (c *Cache) whole(key string) (meta, bool) {
	var m meta
	b, err := os.ReadFile(c.path(key + metaEnd))
	if err != nil || json.Unmarshal(b, &m) != nil {
		return m, false
	}
	st, err := os.Stat(c.path(key))
	return m, err == nil && st.Size() == m.Size && st.ModTime().UnixNano() == m.ModTime && inodeOf(st) == m.Inode
}

func inodeOf(st os.FileInfo) uint64 {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return sys.Ino
	}
	return 0
}

// used notes that an image is wanted now.
func (c *Cache) used(key string) {
	now := time.Now()
	_ = os.Chtimes(c.path(key+metaEnd), now, now) // without it the image is dropped sooner
}

// File implements image.Cache.
func (c *Cache) File(d *image.Described) (string, error) {
	if c.cfg.Limit > 0 && d.Size > c.cfg.Limit {
		return "", node.Errorf(node.Invalid, "it has %d bytes, and the image cache of this service holds %d at most (image_cache_size_gb)",
			d.Size, c.cfg.Limit)
	}
	key := keyOf(d)
	if m, ok := c.whole(key); ok && m.HashAlgo == d.HashAlgo && m.HashValue == d.HashValue {
		c.used(key)
		return c.path(key), nil
	}
	if err := c.begin(key, d).state(); err != nil {
		return "", err
	}
	return "", &image.Fetching{Done: d.Size, Total: d.Size} // it ended since: the next question finds it
}

// Kept implements image.Cache.
func (c *Cache) Kept(id string) string {
	found, _ := filepath.Glob(c.path(id + ".*" + metaEnd)) // the pattern is well formed
	for _, path := range found {
		key := strings.TrimSuffix(filepath.Base(path), metaEnd)
		if _, ok := c.whole(key); ok {
			c.used(key)
			return c.path(key)
		}
	}
	return ""
}

// headWait is how long the first bytes are waited for before the question is to be asked again.
const headWait = 5 * time.Second

// Head implements image.Cache.
func (c *Cache) Head(ctx context.Context, d *image.Described) ([]byte, error) {
	j := c.begin(keyOf(d), d)
	timer := time.NewTimer(headWait)
	defer timer.Stop()
	select {
	case <-j.headed:
	case <-j.done:
	case <-timer.C:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	select {
	case <-j.headed:
		return j.head, nil
	default:
	}
	if err := j.state(); err != nil {
		return nil, err
	}
	return nil, nil // whole by now
}

// begin finds the fetch of an image that is under way or has failed lately, or begins one.
func (c *Cache) begin(key string, d *image.Described) *job {
	c.mu.Lock()
	defer c.mu.Unlock()
	if j := c.jobs[key]; j != nil && !j.stale(c.cfg.Rest) {
		return j
	}
	j := newJob(key, d)
	c.jobs[key] = j
	go c.run(j)
	return j
}

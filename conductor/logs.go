package conductor

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/billet-metal/billet/node"
)

// LogKeep bounds the logs in LogDir, of all machines together; the oldest go first. Zero Files and Bytes are their defaults,
// 500 and 1 GiB; zero Age is no bound.
type LogKeep struct {
	Files int
	Bytes int64
	Age   time.Duration

	// Container of Config.Objects in which logs are kept instead; "": LogDir. An object deletes itself after Expires; 0: never.
	Container string
	Expires   time.Duration
}

const sweepLogsEvery = time.Hour

// sweepLogs removes the logs that are too old, or too many since the last run allowed more.
func (c *witness) sweepLogs(ctx context.Context) {
	for c.cfg.LogDir != "" {
		if err := c.cfg.LogKeep.makeRoom(c.cfg.LogDir, node.Now()); err != nil && !os.IsNotExist(err) {
			c.log.Error("old logs of machines were not removed", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(sweepLogsEvery):
		}
	}
}

// shelfTime bounds keeping logs in the object store: a failed flow does not end later for it.
const shelfTime = 20 * time.Second

// keepLog keeps one machine's logs in the object store, where that is wanted, or else in LogDir. A store that is away does not
// lose them: they are kept here, and why says so.
func (c *witness) keepLog(ctx context.Context, name string, logs []byte) (path, why string, err error) {
	keep := c.cfg.LogKeep
	if c.cfg.Objects != nil && keep.Container != "" {
		ctx, cancel := context.WithTimeout(ctx, shelfTime)
		defer cancel()
		err := c.cfg.Objects.Put(ctx, keep.Container, name, bytes.NewReader(logs), keep.Expires)
		if err == nil {
			return "swift:" + keep.Container + "/" + name, "", nil
		}
		why = fmt.Sprintf(" (in the object store they could not be kept: %v)", err)
	}
	path, err = c.writeLogs(name, logs)
	return path, why, err
}

// writeLogs keeps one machine's logs, readable for this service's user alone, and makes room.
func (c *witness) writeLogs(name string, logs []byte) (string, error) {
	dir := c.cfg.LogDir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("making the directory of logs: %w", err)
	}
	path := filepath.Join(dir, name)
	part := path + ".part"
	if err := os.WriteFile(part, logs, 0o600); err != nil {
		os.Remove(part)
		return "", fmt.Errorf("keeping logs: %w", err)
	}
	if err := os.Rename(part, path); err != nil {
		return "", fmt.Errorf("keeping logs: %w", err)
	}
	return path, c.cfg.LogKeep.makeRoom(dir, node.Now())
}

// makeRoom removes the oldest logs until no more than is allowed is left; the newest stays whatever its size.
func (k LogKeep) makeRoom(dir string, now time.Time) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil // no flow has failed yet
	}
	if err != nil {
		return fmt.Errorf("looking at the logs kept: %w", err)
	}
	files, room := cmp.Or(k.Files, 500), cmp.Or(k.Bytes, 1<<30)
	var kept []os.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil && (strings.HasSuffix(e.Name(), logSuffix) || strings.HasSuffix(e.Name(), lineSuffix)) {
			kept = append(kept, info)
			room -= info.Size()
		}
	}
	slices.SortFunc(kept, func(a, b os.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	old := func(f os.FileInfo) bool { return k.Age > 0 && now.Sub(f.ModTime()) > k.Age }
	for len(kept) > 0 && (old(kept[0]) || len(kept) > 1 && (len(kept) > files || room < 0)) {
		if err := os.Remove(filepath.Join(dir, kept[0].Name())); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("making room for logs: %w", err)
		}
		room += kept[0].Size()
		kept = kept[1:]
	}
	return nil
}

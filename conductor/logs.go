package conductor

import (
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
	files, bytes := cmp.Or(k.Files, 500), cmp.Or(k.Bytes, 1<<30)
	var kept []os.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil && (strings.HasSuffix(e.Name(), logSuffix) || strings.HasSuffix(e.Name(), lineSuffix)) {
			kept = append(kept, info)
			bytes -= info.Size()
		}
	}
	slices.SortFunc(kept, func(a, b os.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	old := func(f os.FileInfo) bool { return k.Age > 0 && now.Sub(f.ModTime()) > k.Age }
	for len(kept) > 0 && (old(kept[0]) || len(kept) > 1 && (len(kept) > files || bytes < 0)) {
		if err := os.Remove(filepath.Join(dir, kept[0].Name())); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("making room for logs: %w", err)
		}
		bytes += kept[0].Size()
		kept = kept[1:]
	}
	return nil
}

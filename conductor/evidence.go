package conductor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

const (
	logTime = 30 * time.Second // getting the logs of a machine must not hold its failure up for longer

	// What is kept of all machines together; the oldest go first.
	logFiles = 500
	logBytes = 1 << 30

	logSuffix  = ".tar.gz"
	lineSuffix = ".log"
)

// keepLogs gets the logs of a failed flow's machine while its agent still answers, and keeps them in
// LogDir; it returns their paths. Failing to is told and stops nothing. A crash on the way gets them again.
func (r *run) keepLogs(ctx context.Context) (files []string) {
	if r.c.cfg.LogDir == "" || r.task == nil || r.n.Agent.URL == "" || r.n.Plan.Aborting {
		return nil
	}
	collector, ok := r.task.Hardware.Deploy.(driver.LogCollector)
	if !ok {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, logTime)
	defer cancel()
	var logs []byte
	err := guarded(func() (err error) { logs, err = collector.CollectLogs(limited, r.task); return })
	path := ""
	if err == nil {
		path, err = writeLogs(r.c.cfg.LogDir, r.n.UUID+"-"+stamp(node.Now())+logSuffix, logs)
	}
	switch {
	case ctx.Err() != nil:
	case err != nil:
		r.note(ctx, errorSeverity, fmt.Sprintf("The machine's logs could not be kept: %v", err))
	default:
		r.note(ctx, infoSeverity, "The machine's logs are kept in "+path)
		files = append(files, path)
	}
	return files
}

// keepLines keeps the last lines of the machine's serial line and of its agent, and returns their paths.
func (r *run) keepLines(ctx context.Context, lines ...node.MachineLines) (files []string) {
	if r.c.cfg.LogDir == "" || r.n.Plan.Aborting {
		return nil
	}
	for _, l := range lines {
		if len(l.Lines) == 0 {
			continue
		}
		path, err := writeLogs(r.c.cfg.LogDir, r.n.UUID+"-"+stamp(node.Now())+"-"+string(l.Source)+lineSuffix, linesText(l))
		if err != nil {
			r.note(ctx, errorSeverity, fmt.Sprintf("The machine's last %s lines could not be kept: %v", l.Source, err))
			continue
		}
		r.note(ctx, infoSeverity, fmt.Sprintf("The machine's last %d %s lines are kept in %s", len(l.Lines), l.Source, path))
		files = append(files, path)
	}
	return files
}

func linesText(l node.MachineLines) []byte {
	var b strings.Builder
	for _, line := range l.Lines {
		fmt.Fprintf(&b, "%s %s\n", line.At.UTC().Format("2006-01-02T15:04:05.000Z"), line.Text)
	}
	return []byte(b.String())
}

func stamp(t time.Time) string { return t.UTC().Format("20060102T150405.000Z") }

// writeLogs keeps one machine's logs, readable for this service's user alone, and makes room.
func writeLogs(dir, name string, logs []byte) (string, error) {
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
	return path, makeRoom(dir, logFiles, logBytes)
}

// makeRoom removes the oldest logs until no more than the given number and bytes are left.
func makeRoom(dir string, files int, bytes int64) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("looking at the logs kept: %w", err)
	}
	var kept []os.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil && (strings.HasSuffix(e.Name(), logSuffix) || strings.HasSuffix(e.Name(), lineSuffix)) {
			kept = append(kept, info)
			bytes -= info.Size()
		}
	}
	slices.SortFunc(kept, func(a, b os.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for len(kept) > 1 && (len(kept) > files || bytes < 0) {
		if err := os.Remove(filepath.Join(dir, kept[0].Name())); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("making room for logs: %w", err)
		}
		bytes += kept[0].Size()
		kept = kept[1:]
	}
	return nil
}

package conductor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

const (
	logTime = 30 * time.Second // getting the logs of a machine must not hold its failure up for longer

	logSuffix  = ".tar.gz"
	lineSuffix = ".log"
)

// keepLogs gets the logs of a failed flow's machine while its agent still answers, and writes them to LogDir; it returns
// their paths. When that fails the history says so, and the flow's end goes on. After a crash they are gotten again.
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
	err := guarded(r.log, func() (err error) { logs, err = collector.CollectLogs(limited, r.task); return })
	path, why := "", ""
	if err == nil {
		path, why, err = r.c.keepLog(ctx, r.n.UUID+"-"+stamp(node.Now())+logSuffix, logs)
	}
	switch {
	case ctx.Err() != nil:
	case err != nil:
		r.note(ctx, errorSeverity, fmt.Sprintf("The machine's logs could not be kept: %v", err))
	default:
		r.note(ctx, infoSeverity, "The machine's logs are kept in "+path+why)
		files = append(files, path)
	}
	return files
}

// keepLines writes the last lines of the machine's serial line and of its agent to LogDir, and returns their paths.
func (r *run) keepLines(ctx context.Context, lines ...node.MachineLines) (files []string) {
	if r.c.cfg.LogDir == "" || r.n.Plan.Aborting {
		return nil
	}
	for _, l := range lines {
		if len(l.Lines) == 0 {
			continue
		}
		path, why, err := r.c.keepLog(ctx, r.n.UUID+"-"+stamp(node.Now())+"-"+string(l.Source)+lineSuffix, linesText(l))
		if err != nil {
			r.note(ctx, errorSeverity, fmt.Sprintf("The machine's last %s lines could not be kept: %v", l.Source, err))
			continue
		}
		r.note(ctx, infoSeverity, fmt.Sprintf("The machine's last %d %s lines are kept in %s%s", len(l.Lines), l.Source, path, why))
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

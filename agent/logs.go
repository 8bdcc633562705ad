package agent

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/billet-metal/billet/agent/steps"
	"github.com/billet-metal/billet/wire"
)

// LogBuffer keeps the latest of what the agent logged, for the service to collect, and its last lines, which are
// sent to the service by themselves. It is safe for several goroutines; the zero value is ready.
type LogBuffer struct {
	mu   sync.Mutex
	buf  []byte
	last []logLine
	news chan struct{} // capacity 1: there are new lines; made by the first who asks
}

type logLine struct {
	at   time.Time
	text string
}

const (
	logKept   = 512 << 10
	linesSent = 200
	lineSent  = 500 // bytes
)

// Write adds a line; the oldest ones go.
func (b *LogBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf = append(b.buf, p...)
	if extra := len(b.buf) - logKept; extra > logKept/2 { // not for each line
		rest := b.buf[extra:]
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			rest = rest[i+1:]
		}
		b.buf = append([]byte(nil), rest...)
	}
	for line := range bytes.Lines(p) {
		text := string(bytes.TrimSpace(line[:min(len(line), lineSent)]))
		b.last = append(b.last, logLine{time.Now(), strings.ToValidUTF8(text, "·")})
	}
	if extra := len(b.last) - linesSent; extra > 0 {
		b.last = append(b.last[:0], b.last[extra:]...)
	}
	if b.news != nil {
		select {
		case b.news <- struct{}{}:
		default:
		}
	}
	return len(p), nil
}

// changed is a channel that has an element when lines came since it was last read.
func (b *LogBuffer) changed() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.news == nil {
		b.news = make(chan struct{}, 1)
		if len(b.last) > 0 {
			b.news <- struct{}{}
		}
	}
	return b.news
}

// lines are the last lines with their age.
func (b *LogBuffer) lines(now time.Time) []wire.LogLine {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]wire.LogLine, len(b.last))
	for i, l := range b.last {
		out[i] = wire.LogLine{AgeMS: max(0, now.Sub(l.at).Milliseconds()), Text: l.text}
	}
	return out
}

const (
	linesEvery = 2 * time.Second // the shortest time between two messages
	linesAgain = 5 * time.Second // after one that was not taken
)

// sendLines tells the service the last lines of the log whenever there are new ones, until ctx ends or the service
// says that it does not want them. What goes wrong is not logged: that would be a new line.
func (b *LogBuffer) sendLines(ctx context.Context, send func(context.Context, []wire.LogLine) error) {
	news := b.changed()
	for {
		select {
		case <-ctx.Done():
			return
		case <-news:
		}
		for {
			select {
			case <-news: // came meanwhile, and goes along
			default:
			}
			err := send(ctx, b.lines(time.Now()))
			if answer := (*statusError)(nil); errors.As(err, &answer) && unwanted(answer.code) {
				return
			}
			if err == nil {
				break
			}
			if steps.Pause(ctx, linesAgain) != nil {
				return
			}
		}
		if steps.Pause(ctx, linesEvery) != nil {
			return
		}
	}
}

// unwanted says that a service with this answer will not take the message later either. One that is not Billet may
// ask for a login before it says that there is no such path.
func unwanted(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		return false
	}
	return code >= 400 && code < 500
}

// Bytes is a copy of what is kept.
func (b *LogBuffer) Bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.buf)
}

// packLogs is a gzipped tar of the named texts, in base64.
func packLogs(names []string, texts map[string][]byte, now time.Time) (string, error) {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	tw := tar.NewWriter(zip)
	for _, name := range names {
		h := &tar.Header{Name: name, Mode: 0o600, Size: int64(len(texts[name])), ModTime: now, Typeflag: tar.TypeReg}
		if err := tw.WriteHeader(h); err != nil {
			return "", fmt.Errorf("packing %s: %w", name, err)
		}
		if _, err := tw.Write(texts[name]); err != nil {
			return "", fmt.Errorf("packing %s: %w", name, err)
		}
	}
	if err := tw.Close(); err != nil {
		return "", fmt.Errorf("packing logs: %w", err)
	}
	if err := zip.Close(); err != nil {
		return "", fmt.Errorf("packing logs: %w", err)
	}
	return base64.StdEncoding.EncodeToString(out.Bytes()), nil
}

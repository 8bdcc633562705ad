package agent

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"sync"
	"time"
)

// LogBuffer keeps the latest of what the agent logged, for the service to collect. It is safe for
// several goroutines.
type LogBuffer struct {
	mu  sync.Mutex
	buf []byte
}

const logKept = 512 << 10

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
	return len(p), nil
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

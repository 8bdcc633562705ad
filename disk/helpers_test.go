package disk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/wire"
)

// run runs a program that the tests compare with; one that is missing is a failure that says so.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%s is needed: apt-get install qemu-utils gdisk fdisk util-linux dosfstools mtools genisoimage xz-utils zstd", name)
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// tryRun is run for programs that may fail.
func tryRun(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	return string(out), err
}

// feed is run with standard input.
func feed(t testing.TB, input, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// dirt is what a disk holds that was used before.
const dirt = 0xa5

// dirtyDisk is a file full of dirt, opened as a disk.
func dirtyDisk(t testing.TB, size int64) *Device {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, bytes.Repeat([]byte{dirt}, int(size)), 0o600); err != nil {
		t.Fatal(err)
	}
	return openDevice(t, path)
}

func openDevice(t testing.TB, path string) *Device {
	t.Helper()
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func contents(t testing.TB, d *Device) []byte {
	t.Helper()
	b, err := os.ReadFile(d.Path())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// pattern is n bytes without runs of zeros that differ from place to place.
func pattern(n int) []byte {
	out := make([]byte, n)
	state := uint32(2463534242)
	for i := range out {
		state ^= state << 13
		state ^= state >> 17
		state ^= state << 5
		out[i] = byte(state) | 1
	}
	return out
}

// imageOf is the image_info of a file served at url.
func imageOf(url, format string, file []byte) wire.ImageInfo {
	sum := sha256.Sum256(file)
	return wire.ImageInfo{ID: "the-image", URLs: []string{url}, DiskFormat: format, HashAlgo: "sha256", HashValue: hex.EncodeToString(sum[:])}
}

// serveFile serves one file with ranges and an ETag.
func serveFile(t testing.TB, file []byte) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"one"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file))
	}))
	t.Cleanup(s.Close)
	return s
}

func writer(s *httptest.Server) *Writer {
	return &Writer{Client: s.Client(), Log: slog.New(slog.DiscardHandler)}
}

func write(t testing.TB, s *httptest.Server, d Disk, img wire.ImageInfo, configDrive string) (Written, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return writer(s).WriteImage(ctx, d, img, configDrive)
}

// wantError fails unless err's text holds all parts.
func wantError(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", parts)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q does not say %q", err, p)
		}
	}
}

// firstDifference is where two contents begin to differ; -1 when they do not.
func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	if len(a) != len(b) {
		return min(len(a), len(b))
	}
	return -1
}

func testPool(t testing.TB) *pool {
	t.Helper()
	p, err := newPool(chunks)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	return p
}

// chunkOf is a part of a file in memory that nobody uses again.
func chunkOf(data []byte, off int64) *chunk { return &chunk{data: data, off: off} }

// newSink writes to a disk until the test ends.
func newSink(t testing.TB, d Disk, extents []image.Extent) *sink {
	t.Helper()
	q := newQueue(d, func(error) {})
	t.Cleanup(q.close)
	return &sink{queue: q, extents: extents}
}

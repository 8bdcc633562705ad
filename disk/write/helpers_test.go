package write

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/wire"
)

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

func write(t testing.TB, s *httptest.Server, d disk.Disk, img wire.ImageInfo, configDrive string) (Written, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return writer(s).WriteImage(ctx, d, img, configDrive)
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
func newSink(t testing.TB, d disk.Disk, extents []image.Extent) *sink {
	t.Helper()
	q := newQueue(d, func(error) {})
	t.Cleanup(q.close)
	return &sink{queue: q, extents: extents}
}

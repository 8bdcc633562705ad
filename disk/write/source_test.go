package write

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/billet-metal/billet/disk/disktest"
)

// flaky cuts every connection after a while.
func flaky(t *testing.T, file []byte, after int64, ranges bool) (*httptest.Server, *atomic.Int64) {
	t.Helper()
	var connections atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connections.Add(1)
		if !ranges {
			r.Header.Del("Range")
		}
		w.Header().Set("ETag", `"one"`)
		http.ServeContent(&cutting{ResponseWriter: w, left: after}, r, "", time.Time{}, bytes.NewReader(file))
	}))
	t.Cleanup(s.Close)
	return s, &connections
}

type cutting struct {
	http.ResponseWriter
	left int64
}

func (c *cutting) Write(p []byte) (int, error) {
	if int64(len(p)) > c.left {
		n, _ := c.ResponseWriter.Write(p[:c.left])
		c.ResponseWriter.(http.Flusher).Flush()
		c.left -= int64(n)
		panic(http.ErrAbortHandler)
	}
	c.left -= int64(len(p))
	return c.ResponseWriter.Write(p)
}

func TestDownloadGoesOnWhereTheConnectionBroke(t *testing.T) {
	raw := rawImage(t)
	for _, tt := range []struct {
		name, format string
		file         []byte
	}{
		{"raw", "raw", raw},
		{"qcow2", "qcow2", convert(t, raw, "-O", "qcow2", "-S", "0")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, connections := flaky(t, tt.file, 5<<20, true)
			d := dirtyDisk(t, 20<<20)
			if _, err := write(t, s, d, imageOf(s.URL, tt.format, tt.file), ""); err != nil {
				t.Fatal(err)
			}
			if i := disktest.FirstDifference(contents(t, d), fitted(t, raw, 20<<20)); i >= 0 {
				t.Errorf("differs at %d", i)
			}
			if connections.Load() < 4 {
				t.Errorf("only %d connections: nothing was cut", connections.Load())
			}
		})
	}
}

func TestServerWithoutRanges(t *testing.T) {
	raw := rawImage(t)
	file := convert(t, raw, "-c", "-O", "qcow2")
	s, _ := flaky(t, file, 1<<40, false)
	d := dirtyDisk(t, 20<<20)
	if _, err := write(t, s, d, imageOf(s.URL, "qcow2", file), ""); err != nil {
		t.Fatal(err)
	}
	if i := disktest.FirstDifference(contents(t, d), fitted(t, raw, 20<<20)); i >= 0 {
		t.Errorf("differs at %d", i)
	}
}

// transport answers without a network, so that time can be made to fly.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// body is what a broken or silent server sends.
type body struct {
	io.Reader
	ctx    context.Context
	silent bool
}

func (b *body) Close() error { return nil }
func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF && b.silent {
		<-b.ctx.Done()
		err = b.ctx.Err()
	}
	return n, err
}

// plain serves file without ranges; each connection ends after some bytes, or falls silent.
func plain(file []byte, after int, silent bool) *http.Client {
	return &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
		b := &body{Reader: bytes.NewReader(file[:after]), ctx: r.Context(), silent: silent}
		return &http.Response{StatusCode: 200, ContentLength: int64(len(file)), Header: http.Header{}, Body: b, Request: r}, nil
	})}
}

// Without ranges a broken download starts again and what was read is thrown away; when it breaks at
// the same place each time it ends, after a bounded time.
func TestDownloadThatAlwaysBreaksEnds(t *testing.T) {
	for _, tt := range []struct {
		silent bool
		within time.Duration
		want   string
	}{
		{false, time.Minute, "at byte 1000 of 5000"},
		{true, maxAttempts*stallTimeout + time.Minute, "at byte 1000 of 5000"},
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			src := &source{client: plain(make([]byte, 5000), 1000, tt.silent), url: "http://server/image", size: 5000, auth: func(*http.Request) {}}
			n, err := io.Copy(io.Discard, src.stream(t.Context()))
			if n != 1000 {
				t.Errorf("%d bytes came", n)
			}
			disktest.WantError(t, err, tt.want)
			if took := time.Since(start); took > tt.within {
				t.Errorf("it took %s", took)
			}
		})
	}
}

func TestBothTablesAndDataMustBeFromOneFile(t *testing.T) {
	raw := rawImage(t)
	one := convert(t, raw, "-O", "qcow2")
	two := bytes.Clone(one)
	two[len(two)-1000] ^= 1 // data
	two[0x30000+8] ^= 1     // somewhere in what was read as a table
	var requests atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		file := one
		if r.Header.Get("Range") == "" { // the download proper
			file = two
		}
		requests.Add(1)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file))
	}))
	defer s.Close()
	d := dirtyDisk(t, 20<<20)
	_, err := write(t, s, d, imageOf(s.URL, "qcow2", two), "")
	disktest.WantError(t, err, "the image changed on the server during the download")
	wiped(t, d)
}

func TestResumeOfAnotherFileIsRefused(t *testing.T) {
	raw := rawImage(t)
	var requests atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := requests.Add(1)
		w.Header().Set("ETag", `"one"`)
		left := int64(5 << 20)
		if n > 2 { // replaced after the first download broke
			w.Header().Set("ETag", `"two"`)
			left = 1 << 40
		}
		if strings.HasPrefix(r.Header.Get("Range"), "bytes=0-0") {
			left = 1 << 40
		}
		http.ServeContent(&cutting{ResponseWriter: w, left: left}, r, "", time.Time{}, bytes.NewReader(raw))
	}))
	defer s.Close()
	src, err := openSource(t.Context(), s.Client(), imageOf(s.URL, "raw", raw))
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, src.stream(t.Context()))
	if !errors.Is(err, errChanged) {
		t.Error(err)
	}
}

func TestRedirectsAndCredentials(t *testing.T) {
	raw := rawImage(t)
	mux := http.NewServeMux()
	mux.HandleFunc("/old", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/new", http.StatusFound) })
	mux.HandleFunc("/new", func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "reader" || password != "pass" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(raw))
	})
	s := httptest.NewServer(mux)
	defer s.Close()
	img := imageOf(s.URL+"/old", "raw", raw)
	_, err := write(t, s, dirtyDisk(t, 20<<20), img, "")
	disktest.WantError(t, err, "/old: the server answered 401 Unauthorized")
	img.AuthStrategy, img.AuthUser, img.AuthPassword = "http_basic", "reader", "pass"
	if _, err := write(t, s, dirtyDisk(t, 20<<20), img, ""); err != nil {
		t.Error(err)
	}
}

func TestBusyServerIsAskedAgain(t *testing.T) {
	raw := rawImage(t)
	var requests atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(raw))
	}))
	defer s.Close()
	if _, err := write(t, s, dirtyDisk(t, 20<<20), imageOf(s.URL, "raw", raw), ""); err != nil {
		t.Error(err)
	}
}

func TestShownHidesSecrets(t *testing.T) {
	for given, want := range map[string]string{
		"http://user:pass@host/image?sig=secret#x": "http://host/image",
		"https://host:8443/a/b":                    "https://host:8443/a/b",
		"://":                                      "the given URL",
	} {
		if got := shown(given); got != want {
			t.Errorf("%s is shown as %s", given, got)
		}
	}
}

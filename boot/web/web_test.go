package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/fetch"
	"github.com/billet-metal/billet/node"
)

const (
	mac       = "52:54:00:00:00:01"
	secret    = "0123456789abcdef0123456789abcdef"
	farSecret = "fedcba9876543210fedcba9876543210"
	ended     = "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"
	broken    = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

type fakeLookup struct{ records map[string]*boot.Record }

func (f fakeLookup) Machine(_ context.Context, m string) (boot.Machine, error) {
	switch m {
	case mac:
		return boot.Machine{NodeUUID: "node-1", Record: f.records[secret]}, nil
	case "52:54:00:00:00:03":
		return boot.Machine{NodeUUID: "node-3", Record: &boot.Record{NodeUUID: "node-3", Secret: secret, Kernel: "/disc.iso"}}, nil
	case "52:54:00:00:00:02":
		return boot.Machine{NodeUUID: "node-2"}, nil
	case "52:54:00:00:00:66":
		return boot.Machine{}, errors.New("no database")
	}
	return boot.Machine{}, nil
}

func (f fakeLookup) RecordBySecret(_ context.Context, s string) (*boot.Record, error) {
	if s == broken {
		return nil, errors.New("no database")
	}
	return f.records[s], nil
}

// fakeTrace keeps what was told.
type fakeTrace struct {
	mu   sync.Mutex
	said []string
}

func (f *fakeTrace) Saw(e node.BootEvent) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !e.Kind.Known() || e.File == "" {
		panic(fmt.Sprintf("an event of no known kind, or of no file: %+v", e))
	}
	f.said = append(f.said, e.MAC+" "+e.Service+": "+e.What)
}

var took = regexp.MustCompile(` in [0-9.]+(ns|µs|ms|s)$`)

// all returns what was told, without times, once n things were.
func (f *fakeTrace) all(t *testing.T, n int) []string {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		f.mu.Lock()
		said := append([]string{}, f.said...)
		f.mu.Unlock()
		if len(said) >= n || time.Now().After(deadline) {
			for i := range said {
				said[i] = took.ReplaceAllString(said[i], "")
			}
			return said
		}
		time.Sleep(time.Millisecond) // the handler tells after the client has read
	}
}

func content(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i ^ i>>8)
	}
	return b
}

type fixture struct {
	*httptest.Server
	trace *fakeTrace
	log   *bytes.Buffer
	far   *httptest.Server
	dir   string
}

func start(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{trace: &fakeTrace{}, log: &bytes.Buffer{}, dir: t.TempDir()}
	for name, size := range map[string]int{"kernel": 5000, "image": 1 << 20, "snponly.efi": 700} {
		if err := os.WriteFile(filepath.Join(f.dir, name), content(size), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f.far = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/gone" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("ETag", `"far"`)
		w.Header().Set("X-Private", "not to be passed on")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content(3000)))
	}))
	t.Cleanup(f.far.Close)
	records := map[string]*boot.Record{
		secret: {
			NodeUUID: "node-1", Secret: secret, Kernel: filepath.Join(f.dir, "kernel"), Ramdisk: filepath.Join(f.dir, "gone"),
			Image: filepath.Join(f.dir, "image"), CommandLine: "quiet",
		},
		farSecret: {NodeUUID: "node-2", Secret: farSecret, Kernel: f.far.URL + "/kernel", Ramdisk: f.far.URL + "/gone"},
	}
	h := &Handler{
		Lookup: fakeLookup{records}, BaseURL: "http://10.99.0.1:8080", Loaders: boot.Loaders{Dirs: []string{f.dir}},
		MACOf: func(netip.Addr) string { return mac }, Trace: f.trace, Gate: fetch.Loopback(f.dir),
		Log: slog.New(slog.NewTextHandler(&lockedWriter{w: f.log}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	f.Server = httptest.NewServer(h)
	t.Cleanup(f.Server.Close)
	return f
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func (f *fixture) ask(t *testing.T, method, path string, headers ...string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, f.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, b
}

func TestScript(t *testing.T) {
	f := start(t)
	record := &boot.Record{NodeUUID: "node-1", Secret: secret, Kernel: "/k", Ramdisk: "/r", CommandLine: "quiet"}
	for _, tt := range []struct{ query, want, said string }{
		{"52:54:00:00:00:01", boot.IPXEScript("http://10.99.0.1:8080", mac, record), mac + " http: script: load kernel and ramdisk"},
		{"52-54-00-00-00-01", boot.IPXEScript("http://10.99.0.1:8080", mac, record), mac + " http: script: load kernel and ramdisk"},
		{"52%3A54%3A00%3A00%3A00%3A01", boot.IPXEScript("http://10.99.0.1:8080", mac, record), mac + " http: script: load kernel and ramdisk"},
		{"52:54:00:00:00:03", boot.IPXEScript("http://10.99.0.1:8080", "52:54:00:00:00:03",
			&boot.Record{NodeUUID: "node-3", Secret: secret, Kernel: "/disc.iso"}),
			"52:54:00:00:00:03 http: script: boot a medium"},
		{"52:54:00:00:00:02", boot.IPXEScript("", mac, nil), "52:54:00:00:00:02 http: script: boot its own disk"},
		{"52:54:00:00:00:99", boot.IPXEScript("", mac, nil), "52:54:00:00:00:99 http: script: boot its own disk"},
	} {
		f.trace.said = nil
		resp, b := f.ask(t, "GET", "/boot/ipxe?mac="+tt.query)
		if resp.StatusCode != 200 || string(b) != tt.want {
			t.Errorf("%s: %d\n%s\nwant\n%s", tt.query, resp.StatusCode, b, tt.want)
		}
		if resp.Header.Get("Cache-Control") != "no-store" || resp.ContentLength != int64(len(tt.want)) {
			t.Errorf("%s: headers %v", tt.query, resp.Header)
		}
		if got := f.trace.all(t, 1); len(got) != 1 || got[0] != tt.said {
			t.Errorf("%s: told %q, want %q", tt.query, got, tt.said)
		}
	}
}

func TestFiles(t *testing.T) {
	kernel, image := content(5000), content(1<<20)
	const tag = "the file's own"
	tests := []struct {
		name, method, path string
		headers            []string
		status             int
		body               []byte
		length             int64
		said               []string
	}{
		{"whole", "GET", boot.KernelPath(secret), nil, 200, kernel, 5000, []string{"kernel: first byte sent", "kernel: complete, 5000 bytes"}},
		{"head", "HEAD", boot.KernelPath(secret), nil, 200, nil, 5000, []string{"kernel: asked for its size"}},
		{"image", "GET", boot.ImagePath(secret), nil, 200, image, 1 << 20, []string{"image: first byte sent", "image: complete, 1048576 bytes"}},
		{"first range", "GET", boot.ImagePath(secret), []string{"Range", "bytes=0-99"}, 206, image[:100], 100,
			[]string{"image (bytes=0-99): first byte sent", "image (bytes=0-99): complete, 100 bytes"}},
		{"later range", "GET", boot.ImagePath(secret), []string{"Range", "bytes=1000-1999"}, 206, image[1000:2000], 1000, nil},
		{"last bytes", "GET", boot.ImagePath(secret), []string{"Range", "bytes=-5"}, 206, image[1<<20-5:], 5, nil},
		{"range of the same file", "GET", boot.KernelPath(secret), []string{"Range", "bytes=10-19", "If-Range", tag}, 206, kernel[10:20],
			10, nil},
		{"range of an older file", "GET", boot.KernelPath(secret), []string{"Range", "bytes=10-19", "If-Range", `"old"`}, 200, kernel, 5000, nil},
		{"range behind the end", "GET", boot.KernelPath(secret), []string{"Range", "bytes=6000-"}, 416,
			[]byte("invalid range: failed to overlap\n"), 33, []string{"kernel (bytes=6000-): answered 416"}},
		{"unchanged", "GET", boot.KernelPath(secret), []string{"If-None-Match", tag}, 304, nil, 0, []string{"kernel: answered 304"}},
		{"loader", "GET", "/boot/loader/snponly.efi", nil, 200, content(700), 700,
			[]string{"loader snponly.efi: first byte sent", "loader snponly.efi: complete, 700 bytes"}},
		{"far", "GET", boot.KernelPath(farSecret), nil, 200, content(3000), 3000,
			[]string{"kernel: first byte sent", "kernel: complete, 3000 bytes"}},
		{"far head", "HEAD", boot.KernelPath(farSecret), nil, 200, nil, 3000, []string{"kernel: asked for its size"}},
		{"far range", "GET", boot.KernelPath(farSecret), []string{"Range", "bytes=0-9", "If-Range", `"far"`}, 206, content(10),
			10, []string{"kernel (bytes=0-9): first byte sent", "kernel (bytes=0-9): complete, 10 bytes"}},
		{"far unchanged", "GET", boot.KernelPath(farSecret), []string{"If-None-Match", `"far"`}, 304, nil, 0, []string{"kernel: answered 304"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t)
			st, err := os.Stat(filepath.Join(f.dir, "kernel"))
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range tt.headers {
				tt.headers[i] = strings.ReplaceAll(v, tag, etag(st))
			}
			resp, b := f.ask(t, tt.method, tt.path, tt.headers...)
			if resp.StatusCode != tt.status || !bytes.Equal(b, tt.body) {
				t.Errorf("%d with %d bytes, want %d with %d", resp.StatusCode, len(b), tt.status, len(tt.body))
			}
			if n := resp.ContentLength; tt.status != 304 && n != tt.length {
				t.Errorf("Content-Length %d, want %d", n, tt.length)
			}
			if resp.Header.Get("ETag") == "" && !strings.Contains(tt.path, "loader") && tt.status < 400 {
				t.Error("no ETag")
			}
			if resp.Header.Get("X-Private") != "" {
				t.Error("a header of the other server was passed on")
			}
			var want []string
			for _, s := range tt.said {
				want = append(want, mac+" http: "+s)
			}
			if got := f.trace.all(t, len(want)); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("told\n%q\nwant\n%q", got, want)
			}
			f.Close()
			if strings.Contains(f.log.String(), secret) || strings.Contains(f.log.String(), farSecret) {
				t.Errorf("a secret is in the log:\n%s", f.log)
			}
		})
	}
}

// An agent reads an image in thousands of ranges; they must not push the rest of the boot out of
// what is kept.
func TestRangesAreQuiet(t *testing.T) {
	f := start(t)
	for i := range 50 {
		f.ask(t, "GET", boot.ImagePath(secret), "Range", fmt.Sprintf("bytes=%d-%d", 1000+i*10, 1009+i*10))
	}
	f.Close()
	if len(f.trace.said) != 0 {
		t.Errorf("told %q", f.trace.said)
	}
}

func TestETagFollowsTheFile(t *testing.T) {
	f := start(t)
	before, _ := f.ask(t, "HEAD", boot.KernelPath(secret))
	if err := os.WriteFile(filepath.Join(f.dir, "kernel"), content(5000), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(f.dir, "kernel"), time.Time{}, time.Unix(1, 1)); err != nil {
		t.Fatal(err)
	}
	after, _ := f.ask(t, "HEAD", boot.KernelPath(secret))
	if a, b := before.Header.Get("ETag"), after.Header.Get("ETag"); a == b || b == "" {
		t.Errorf("ETag %s before, %s after the file was written anew", a, b)
	}
}

func TestErrors(t *testing.T) {
	f := start(t)
	tests := []struct {
		method, path string
		status       int
		text         string
	}{
		{"GET", "/boot/ipxe", 400, "the query must have mac=, a MAC address such as 52:54:00:00:00:01"},
		{"GET", "/boot/ipxe?mac=../../etc", 400, "the query must have mac=, a MAC address such as 52:54:00:00:00:01"},
		{"GET", "/boot/ipxe?mac=52:54:00:00:00:66", 500, "the boot service failed; its log has the reason"},
		{"GET", boot.KernelPath(ended), 404, "this boot has ended or never was; power the machine off and on to start again"},
		{"GET", boot.KernelPath(broken), 500, "the boot service failed; its log has the reason"},
		{"GET", boot.ImagePath(farSecret), 404, "this boot has no image"},
		{"GET", boot.RamdiskPath(secret), 404, "the ramdisk of this boot is gone from the server"},
		{"GET", boot.RamdiskPath(farSecret), 502, "the server that has the ramdisk of this boot answered 404 Not Found"},
		{"GET", "/boot/" + secret + "/", 404, "there is nothing at this path of the boot service"},
		{"GET", "/boot/" + secret + "/passwd", 404, "there is nothing at this path of the boot service"},
		{"GET", "/boot/", 404, "there is nothing at this path of the boot service"},
		{"GET", "/", 404, "there is nothing at this path of the boot service"},
		{"GET", "/boot/loader/", 404, "there is no such boot loader"},
		{"GET", "/boot/loader/..%2f..%2fetc%2fpasswd", 404, "there is no such boot loader"},
		{"GET", "/boot/loader/missing.efi", 404, "there is no such boot loader"},
		{"POST", boot.KernelPath(secret), 405, "the boot service only reads"},
		{"DELETE", "/boot/ipxe", 405, "the boot service only reads"},
	}
	for _, tt := range tests {
		resp, b := f.ask(t, tt.method, tt.path)
		if resp.StatusCode != tt.status || string(b) != tt.text+"\n" {
			t.Errorf("%s %s: %d %q, want %d %q", tt.method, tt.path, resp.StatusCode, b, tt.status, tt.text)
		}
		if ct := resp.Header.Get("Content-Type"); ct != "text/plain; charset=utf-8" {
			t.Errorf("%s %s: Content-Type %s", tt.method, tt.path, ct)
		}
	}
	f.far.Close()
	if resp, b := f.ask(t, "GET", boot.KernelPath(farSecret)); resp.StatusCode != 502 ||
		string(b) != "the server that has the kernel of this boot does not answer\n" {
		t.Errorf("a dead server: %d %q", resp.StatusCode, b)
	}
	f.Close()
	for _, s := range []string{secret, farSecret, ended, broken} {
		if strings.Contains(f.log.String(), s) || strings.Contains(fmt.Sprint(f.trace.said), s) {
			t.Errorf("the secret %s is in the log or the trace:\n%s\n%s", s, f.log, f.trace.said)
		}
	}
}

// A machine that goes away in the middle is told about, with how far it came.
func TestBrokenOff(t *testing.T) {
	f := start(t)
	big := filepath.Join(f.dir, "image")
	if err := os.Truncate(big, 1<<30); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.URL+boot.ImagePath(secret), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	cancel()
	resp.Body.Close()
	got := f.trace.all(t, 2)
	if len(got) != 2 || got[0] != mac+" http: image: first byte sent" {
		t.Fatalf("told %q", got)
	}
	rest, ok := strings.CutPrefix(got[1], mac+" http: image: broken off after ")
	sent, whole, _ := strings.Cut(rest, " of ")
	if n, err := strconv.Atoi(sent); !ok || err != nil || n >= 1<<30 || whole != "1073741824 bytes" {
		t.Errorf("told %q", got[1])
	}
}

// curl is a client we did not write: it goes on where it was broken off.
func TestCurlResumes(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatal("curl is missing: apt-get install curl")
	}
	f := start(t)
	part := filepath.Join(t.TempDir(), "part")
	if err := os.WriteFile(part, content(1 << 20)[:300_000], 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("curl", "--silent", "--show-error", "--fail", "--continue-at", "-", "--output", part,
		f.URL+boot.ImagePath(secret)).CombinedOutput()
	if err != nil {
		t.Fatalf("curl: %v: %s", err, out)
	}
	if got, err := os.ReadFile(part); err != nil || !bytes.Equal(got, content(1<<20)) {
		t.Errorf("curl has %d bytes, %v; want the image", len(got), err)
	}
}

func TestMACOfFallsBack(t *testing.T) {
	h := &Handler{}
	for _, remote := range []string{"203.0.113.9:1", "[::1]:1", "nonsense"} {
		if got := h.macOf(&http.Request{RemoteAddr: remote}); got != "" {
			t.Errorf("%s is machine %q", remote, got)
		}
	}
}

package cloud_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// binary is the billet under test, built once for all tests that need it.
var binary = sync.OnceValues(func() (string, error) {
	file := filepath.Join(scratch, "billet")
	build := exec.Command("go", "build", "-o", file, "./cmd/billet")
	build.Dir, build.Stderr = "../..", os.Stderr
	return file, build.Run()
})

// billet is a running service: API and conductor on a database of its own.
type billet struct {
	endpoint string
	log      syncBuffer
}

// startBillet starts the real binary on an address. The test's end stops it.
func startBillet(t *testing.T, address string, args ...string) *billet {
	t.Helper()
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	b := &billet{endpoint: "http://" + address}
	cmd := exec.Command(file, append([]string{
		"serve", "--data-dir", t.TempDir(), "--roles", "api,conductor", "--listen", address,
	}, args...)...)
	cmd.Stdout, cmd.Stderr = &b.log, &b.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("billet ended with: %v", err)
		}
		if t.Failed() {
			t.Log(b.log.String())
		}
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if resp, err := http.Get(b.endpoint + "/"); err == nil {
			resp.Body.Close()
			return b
		}
		if time.Now().After(deadline) {
			t.Fatal("billet does not answer")
		}
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// middle stands between Billet and a service: it counts, and takes the service away.
type middle struct {
	url   string
	away  atomic.Bool
	asked atomic.Int32 // about tokens
	login atomic.Int32
}

func newMiddle(t *testing.T, service string) *middle {
	t.Helper()
	to, err := url.Parse(service)
	if err != nil {
		t.Fatal(err)
	}
	m := &middle{}
	proxy := httputil.NewSingleHostReverseProxy(to)
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method + " " + r.URL.Path {
		case "GET /v3/auth/tokens":
			m.asked.Add(1)
		case "POST /v3/auth/tokens":
			m.login.Add(1)
		}
		if m.away.Load() {
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	m.url = "http://" + l.Addr().String()
	return m
}

// call sends a request with headers (name, value, …) and returns the answer with its body read.
func call(t *testing.T, method, url, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

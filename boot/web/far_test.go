package web

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/fetch"
)

// TestFarServers: a kernel that lies on another server reaches the machine whole, or the machine can
// tell that it does not: a cut kernel must not be booted, and a person must read what went wrong.
func TestFarServers(t *testing.T) {
	kernel := content(200_000)
	flush := func(w http.ResponseWriter) { w.(http.Flusher).Flush() }
	tests := []struct {
		name   string
		far    http.HandlerFunc
		status int
		whole  bool   // the machine has the kernel, and knows that it is all
		told   string // the last of what is told about it
	}{
		{"with a length", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "200000")
			w.Write(kernel)
		}, 200, true, "kernel: complete, 200000 bytes"},
		{"without a length", func(w http.ResponseWriter, r *http.Request) {
			flush(w)
			w.Write(kernel)
		}, 200, true, "kernel: complete, 200000 bytes"},
		{"with a length, and cut", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "200000")
			w.Write(kernel[:90_000])
		}, 200, false, "kernel: broken off after 90000 of 200000 bytes"},
		{"without a length, and cut", func(w http.ResponseWriter, r *http.Request) {
			w.Write(kernel[:90_000])
			flush(w)
			panic(http.ErrAbortHandler)
		}, 200, false, "kernel: broken off after 90000 bytes"},
		{"a part nobody asked for", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-9/200000")
			w.WriteHeader(http.StatusPartialContent)
			w.Write(kernel[:10])
		}, 206, false, "kernel: complete, 10 bytes"}, // the client sees by the status that it is none
		{"forbidden", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusForbidden) }, 502, false,
			"502 the server that has the kernel of this boot answered 403 Forbidden"},
		{"moved for good", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/new" {
				http.Redirect(w, r, "/new", http.StatusMovedPermanently)
				return
			}
			w.Write(kernel)
		}, 200, true, "kernel: complete, 200000 bytes"},
		{"moved in a circle", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/again?sig=signature", http.StatusFound)
		}, 502, false, "502 the server that has the kernel of this boot does not answer"},
		{"hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 502, false,
			"502 the server that has the kernel of this boot does not answer"},
		{"an empty file", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Length", "0") }, 200, false,
			"kernel: complete, 0 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			far := httptest.NewUnstartedServer(tt.far)
			far.Config.ErrorLog = log.New(io.Discard, "", 0)
			far.Start()
			defer far.Close()
			var logged bytes.Buffer
			trace := &fakeTrace{}
			place := strings.Replace(far.URL, "http://", "http://user:password@", 1) + "/kernel?sig=signature"
			h := &Handler{
				Lookup:  fakeLookup{map[string]*boot.Record{secret: {NodeUUID: "node-1", Secret: secret, Kernel: place}}},
				BaseURL: "http://10.99.0.1:8080",
				MACOf:   func(netip.Addr) string { return mac }, Trace: trace, Gate: fetch.Loopback(),
				Log: slog.New(slog.NewTextHandler(&lockedWriter{w: &logged}, &slog.HandlerOptions{Level: slog.LevelDebug})),
			}
			near := httptest.NewUnstartedServer(h)
			near.Config.ErrorLog = log.New(io.Discard, "", 0)
			near.Start()
			defer near.Close()
			resp, err := http.Get(near.URL + boot.KernelPath(secret))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			if resp.StatusCode != tt.status {
				t.Errorf("status %d, want %d", resp.StatusCode, tt.status)
			}
			if whole := err == nil && resp.StatusCode == 200 && bytes.Equal(got, kernel); whole != tt.whole {
				t.Errorf("%d bytes came, %v: whole %v, want %v", len(got), err, whole, tt.whole)
			}
			if err == nil && tt.status == 200 && len(got) > 0 && len(got) < len(kernel) {
				t.Errorf("%d bytes of the kernel are taken for all of it", len(got))
			}
			near.Close() // all is told then
			said := trace.all(t, 1)
			if last := said[len(said)-1]; !strings.Contains(last, tt.told) {
				t.Errorf("told is %q, want %q", last, tt.told)
			}
			if all := fmt.Sprint(said, logged.String()); strings.Contains(all, "signature") || strings.Contains(all, "password") ||
				strings.Contains(string(got), "signature") {
				t.Errorf("what the URL keeps secret is told:\n%s", all)
			}
		})
	}
}

package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/billet-metal/billet/fetch"
)

// big is longer than what is read of an image's head, so that its tail is asked for as well.
var big = []byte(strings.Repeat("some 32 bytes of a raw image...\n", 4096)) // 131,072 bytes

// part answers a range of b as a server might, right or wrong.
func part(w http.ResponseWriter, b []byte, from, to int, contentRange string) {
	w.Header().Set("Content-Range", contentRange)
	w.Header().Set("Content-Length", fmt.Sprint(to-from))
	w.WriteHeader(http.StatusPartialContent)
	w.Write(b[from:to])
}

func honest(w http.ResponseWriter, r *http.Request) {
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(big)))
}

func quiet(t *testing.T, h http.HandlerFunc) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// TestServersThatLie: what a server says of ranges and lengths is compared with what was asked and
// what arrives. A head that is not the head would let a format through that is refused.
func TestServersThatLie(t *testing.T) {
	n := len(big)
	tail := func(h http.HandlerFunc) http.HandlerFunc { // the head is right
		return func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.Header.Get("Range"), "bytes=0-") {
				honest(w, r)
				return
			}
			h(w, r)
		}
	}
	tests := []struct {
		name   string
		server http.HandlerFunc
		want   string // of the error
	}{
		{"honest", honest, ""},
		{"another part", func(w http.ResponseWriter, _ *http.Request) {
			part(w, big, 512, 512+headSize, fmt.Sprintf("bytes 512-%d/%d", 511+headSize, n))
		}, `was asked for the image's bytes from 0 on and sent others: Content-Range "bytes 512-66047/131072"`},
		{"another unit", func(w http.ResponseWriter, _ *http.Request) {
			part(w, big, 0, headSize, fmt.Sprintf("pages 0-%d/%d", headSize-1, n))
		}, "sent others"},
		{"no Content-Range", func(w http.ResponseWriter, _ *http.Request) { part(w, big, 0, headSize, "") },
			"does not say how long the whole is"},
		{"a negative length", func(w http.ResponseWriter, _ *http.Request) { part(w, big, 0, headSize, "bytes 0-65535/-1") },
			"does not say how long the whole is"},
		{"a length beyond 64 bits", func(w http.ResponseWriter, _ *http.Request) {
			part(w, big, 0, headSize, "bytes 0-65535/99999999999999999999")
		}, "does not say how long the whole is"},
		{"less than it promises", func(w http.ResponseWriter, _ *http.Request) {
			part(w, big, 0, 1000, fmt.Sprintf("bytes 0-999/%d", n))
		}, "reading the image's first 65536 bytes: unexpected EOF"},
		{"parts in parts", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "multipart/byteranges; boundary=x")
			w.WriteHeader(http.StatusPartialContent)
			w.Write(big)
		}, "does not say how long the whole is"},
		{"not satisfiable", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusRequestedRangeNotSatisfiable) },
			"image refused: the file is empty"},
		{"no content", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
			"the server answered 204 No Content"},
		{"unauthorized", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
			"the server answered 401 Unauthorized"},
		{"overloaded", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, "the server answered 503"},
		{"hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
		{"hangs up in the head", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(n))
			w.Write(big[:100])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, "reading the image's first 65536 bytes: unexpected EOF"},
		{"the whole instead of a part", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(n))
			w.Write(big)
		}, ""},
		{"no parts of the tail", tail(func(w http.ResponseWriter, _ *http.Request) { w.Write(big) }), ""},
		{"refuses the tail", tail(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }), ""},
		{"the head again for the tail", tail(func(w http.ResponseWriter, _ *http.Request) {
			part(w, big, 0, tailSize, fmt.Sprintf("bytes 0-%d/%d", tailSize-1, n))
		}), "was asked for the image's bytes from 130560 on and sent others"},
		{"a cut tail", tail(func(w http.ResponseWriter, _ *http.Request) {
			part(w, big, n-tailSize, n-1, fmt.Sprintf("bytes %d-%d/%d", n-tailSize, n-1, n))
		}), "reading the image's last 512 bytes: unexpected EOF"},
		{"hangs up at the tail", tail(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), "EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := quiet(t, tt.server)
			r, err := (&Store{Gate: fetch.Loopback()}).Resolve(t.Context(), Ref{Source: s.URL + "/i?sig=secret", Checksum: sha256Of(big)})
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the signature is in the error: %v", err)
			}
			if err == nil && (r.Size != int64(n) || r.Info.Format != Raw) {
				t.Errorf("resolved %+v", r)
			}
		})
	}
}

// TestFooterBehindRanges: a format that shows at the end only is found where ranges are served.
func TestFooterBehindRanges(t *testing.T) {
	vhd := append(append([]byte{}, big...), append([]byte("conectix"), make([]byte, 504)...)...)
	for name, ranges := range map[string]bool{"with ranges": true, "without": false} {
		s := quiet(t, func(w http.ResponseWriter, r *http.Request) {
			if !ranges {
				r.Header.Del("Range")
			}
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(vhd)))
		})
		_, err := (&Store{Gate: fetch.Loopback()}).Resolve(t.Context(), Ref{Source: s.URL + "/i", Checksum: sha256Of(vhd)})
		if refusal := (*Refusal)(nil); errors.As(err, &refusal) != ranges {
			t.Errorf("%s: %v", name, err) // without, the agent finds it when it has read everything
		}
	}
}

// TestRedirects: to mirrors, with what was asked for; not in circles, not out of TLS, not elsewhere
// than HTTP.
func TestRedirects(t *testing.T) {
	mirror := quiet(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/SUMS":
			fmt.Fprintf(w, "%s  i.raw\n", sha256Of(big))
		default:
			honest(w, r)
		}
	})
	var hops atomic.Int32
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hops.Add(1)
		switch r.URL.Path {
		case "/mirror", "/i.raw":
			http.Redirect(w, r, mirror.URL+"/i.raw?sig=secret", http.StatusFound)
		case "/relative":
			w.Header().Set("Location", "direct")
			w.WriteHeader(http.StatusTemporaryRedirect)
		case "/direct":
			honest(w, r)
		case "/circle":
			http.Redirect(w, r, "/circle", http.StatusFound)
		case "/file":
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		case "/nowhere":
			w.WriteHeader(http.StatusFound)
		case "/SUMS":
			http.Redirect(w, r, mirror.URL+"/SUMS", http.StatusMovedPermanently)
		}
	})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	defer plain.Close()
	defer secure.Close()
	tests := []struct {
		name, source, checksum string
		want                   string
	}{
		{"to a mirror", plain.URL + "/mirror", sha256Of(big), ""},
		{"relative", plain.URL + "/relative", sha256Of(big), ""},
		{"the checksum file too", plain.URL + "/i.raw", plain.URL + "/SUMS", ""},
		{"a checksum is found by the source's name, not the mirror's", plain.URL + "/mirror", plain.URL + "/SUMS",
			`no checksum of a file called "mirror"`},
		{"in a circle", plain.URL + "/circle", sha256Of(big), "the server redirects more than 5 times"},
		{"to a file of this machine", plain.URL + "/file", sha256Of(big), "not of the form http(s)://host/path"},
		{"to nowhere", plain.URL + "/nowhere", sha256Of(big), "302"},
		{"within TLS", secure.URL + "/relative", sha256Of(big), ""},
		{"out of TLS", secure.URL + "/mirror", sha256Of(big),
			"the server redirects from https to http at " + strings.TrimPrefix(mirror.URL, "http://") + ", which is not followed"},
		{"a checksum out of TLS", secure.URL + "/direct", secure.URL + "/SUMS",
			"reading the checksum file " + secure.URL + "/SUMS: asking " + strings.TrimPrefix(secure.URL,
				"https://") + ": the server redirects from https to http"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			hops.Store(0)
			gate := fetch.Loopback()
			gate.TLS = secure.Client().Transport.(*http.Transport).TLSClientConfig
			s := &Store{Gate: gate}
			_, err := s.Resolve(t.Context(), Ref{Source: tt.source, Checksum: tt.checksum, User: "me", Password: "secret"})
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("a secret is in the error: %v", err)
			}
			if n := hops.Load(); n > 6 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// TestChecksumFilesThatLie: no checksum is better than a wrong one.
func TestChecksumFilesThatLie(t *testing.T) {
	sum := sha256Of(big)
	tests := []struct {
		name   string
		server http.HandlerFunc
		want   string
	}{
		{"honest", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "%s  i\n", sum) }, ""},
		{"endless", func(w http.ResponseWriter, _ *http.Request) {
			line := []byte(strings.Repeat("0", 64) + "  other\n")
			for range maxSumFile/len(line) + 10 {
				if _, err := w.Write(line); err != nil {
					return
				}
			}
			fmt.Fprintf(w, "%s  i\n", sum) // too far down to be read
		}, fmt.Sprintf("it has more than %d bytes", maxSumFile)},
		{"one endless line", func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, maxSumFile)) }, "it is no checksum file"},
		{"cut in the middle", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprintf(w, "%s  other\n", sum)
		}, "unexpected EOF"},
		{"cut after the line", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprintf(w, "%s  i\n", sum)
		}, "unexpected EOF"},
		{"a page that says it is not there", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "<html><body>Not found. Your request id is 00000000000000000000000000000000</body></html>")
		}, "it is a web page"},
		{"not there", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }, "the server answered 404 Not Found"},
		{"a part of it", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusPartialContent)
			fmt.Fprintf(w, "%s  i\n", sum)
		}, "the server answered 206"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sums, images := quiet(t, tt.server), quiet(t, honest)
			r, err := (&Store{Gate: fetch.Loopback()}).Resolve(t.Context(), Ref{Source: images.URL + "/i", Checksum: sums.URL + "/SUMS"})
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%+v, error %v, want %q", r, err, tt.want)
			}
		})
	}
}

// TestImportFromFlakyServers: an image is in the store whole or not at all, and the one that was
// there before stays.
func TestImportFromFlakyServers(t *testing.T) {
	const patience = 300 * time.Millisecond
	tests := []struct {
		name   string
		server http.HandlerFunc
		want   string
	}{
		{"slow, but never silent for long", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(big)))
			for i := range 8 { // together longer than the store's patience
				time.Sleep(patience / 5)
				w.Write(big[i*len(big)/8 : (i+1)*len(big)/8])
				w.(http.Flusher).Flush()
			}
		}, ""},
		{"silent in the middle", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(big)))
			w.Write(big[:40000])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, "after 40000 bytes: the server was silent for 300ms"},
		{"hangs up in the middle", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(big)))
			w.Write(big[:40000])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, "after 40000 bytes: "},
		{"chunked, and hangs up", func(w http.ResponseWriter, _ *http.Request) {
			w.Write(big[:40000])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, "after 40000 bytes: unexpected EOF"},
		{"chunked and cut: only the checksum can tell", func(w http.ResponseWriter, _ *http.Request) { w.Write(big[:40000]) },
			"its sha256 is " + sha256Of(big[:40000]) + ", but " + sha256Of(big) + " was asked for"},
		{"an error", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
			"the server answered 502 Bad Gateway"},
		{"a part that nobody asked for", func(w http.ResponseWriter, _ *http.Request) { part(w, big, 0, 10, "bytes 0-9/10") },
			"the server answered 206 Partial Content"},
		{"packed on the way, which nobody asked for", func(w http.ResponseWriter, r *http.Request) {
			if got := r.Header.Get("Accept-Encoding"); got != "identity" {
				t.Errorf("packed as %q is asked for", got)
			}
			w.Write(big)
		}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			store := &Store{Dir: dir, Gate: fetch.Loopback(), Timeout: patience}
			before := writeFile(t, filepath.Join(t.TempDir(), "before"), content)
			if _, err := store.Import(t.Context(), "i", before, Ref{}); err != nil {
				t.Fatal(err)
			}
			s := quiet(t, tt.server)
			_, err := store.Import(t.Context(), "i", s.URL+"/i", Ref{Checksum: sha256Of(big)})
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			want := content
			if err == nil {
				want = big
			}
			r, err := store.Resolve(t.Context(), Ref{Source: "i"})
			if err != nil || r.HashValue != sha256Of(want) || r.Size != int64(len(want)) {
				t.Errorf("the store has %+v, %v", r, err)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, ".import-*")); left != nil {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestImportStops: whoever asked for it may give up while bytes still arrive.
func TestImportStops(t *testing.T) {
	started := make(chan struct{})
	s := quiet(t, func(w http.ResponseWriter, r *http.Request) {
		w.Write(big)
		w.(http.Flusher).Flush()
		close(started)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-started; cancel() }()
	dir := t.TempDir()
	_, err := (&Store{Dir: dir, Gate: fetch.Loopback()}).Import(ctx, "i", s.URL+"/i", Ref{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

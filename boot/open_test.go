package boot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/billet-metal/billet/fetch"
)

// far is another server, with files that come in every way.
func far(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/kernel":
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader("the kernel"))
		case "/packed":
			if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
				w.Header().Set("Content-Encoding", "gzip")
			}
			io.WriteString(w, "as it is")
		case "/chunked":
			w.(http.Flusher).Flush()
			io.WriteString(w, "no length")
		case "/cut":
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "only this")
		case "/silent":
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "and then")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case "/slow": // but never silent for long
			w.Header().Set("Content-Length", "8")
			for i := range 8 {
				time.Sleep(40 * time.Millisecond)
				fmt.Fprint(w, i)
				w.(http.Flusher).Flush()
			}
		case "/moved":
			http.Redirect(w, r, "/kernel", http.StatusFound)
		case "/circle":
			http.Redirect(w, r, "/circle?sig=secret", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// gate reads from servers and files of tests.
var gate = fetch.Loopback(os.TempDir())

func setSilence(t *testing.T, d time.Duration) {
	old := silence
	silence = d
	t.Cleanup(func() { silence = old })
}

// TestOpenURL: a file of a boot that lies on another server, whole or with the reason why not; what
// a URL keeps secret stands in no error.
func TestOpenURL(t *testing.T) {
	setSilence(t, 150*time.Millisecond)
	s := far(t)
	host := strings.TrimPrefix(s.URL, "http://")
	tests := []struct {
		path string
		text string
		size int64
		open string // the error of opening
		read string // the error of reading
	}{
		{"/kernel", "the kernel", 10, "", ""},
		{"/moved", "the kernel", 10, "", ""},
		{"/packed", "as it is", 8, "", ""},
		{"/chunked", "no length", -1, "", ""},
		{"/slow", "01234567", 8, "", ""},
		{"/cut", "only this", 100, "", "unexpected EOF"},
		{"/silent", "and then", 100, "", "the server was silent for 150ms"},
		{"/none", "", 0, "asking for http://" + host + "/none: the server answered 404 Not Found", ""},
		{"/circle", "", 0, "asking for http://" + host + "/circle: the server redirects more than 5 times", ""},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			place := "http://user:secret@" + host + tt.path + "?sig=secret"
			src, err := OpenSource(t.Context(), gate, place)
			if (err == nil) != (tt.open == "") || err != nil && err.Error() != tt.open {
				t.Fatalf("opening: %v, want %q", err, tt.open)
			}
			if err != nil {
				return
			}
			defer src.Close()
			text, err := io.ReadAll(src)
			if string(text) != tt.text || src.Size != tt.size || src.File != nil {
				t.Errorf("%q of %d bytes, want %q of %d", text, src.Size, tt.text, tt.size)
			}
			if (err == nil) != (tt.read == "") || err != nil && !strings.Contains(err.Error(), tt.read) {
				t.Errorf("reading: %v, want %q", err, tt.read)
			}
		})
	}
	for _, place := range []string{"http://user:secret@127.0.0.1:1/k?sig=secret", "http://user:secret@[::1/k?sig=secret",
		"http://us\x7fer:secret@h/?sig=secret"} {
		_, err := OpenSource(t.Context(), gate, place)
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", place, err)
		}
	}
}

// A reader that takes its time is not the server's silence: firmware is slow.
func TestASlowReaderIsNoSilence(t *testing.T) {
	setSilence(t, 50*time.Millisecond)
	src, err := OpenSource(t.Context(), gate, far(t).URL+"/kernel")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	var got []byte
	for one := make([]byte, 1); ; {
		n, err := src.Read(one)
		got = append(got, one[:n]...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 3 {
			time.Sleep(200 * time.Millisecond)
		}
	}
	if string(got) != "the kernel" {
		t.Errorf("%q", got)
	}
}

// Whoever asked may give up; the body's end is its reason.
func TestGivingUp(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	src, err := OpenSource(ctx, gate, far(t).URL+"/silent")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	over := errors.New("the machine went away")
	time.AfterFunc(50*time.Millisecond, func() { cancel(over) })
	if _, err := io.ReadAll(src); !errors.Is(err, over) {
		t.Errorf("error %v, want %v", err, over)
	}
}

// Fetch hands ranges and validators through, and takes the body back with its context.
func TestFetchRanges(t *testing.T) {
	s := far(t)
	resp, err := Fetch(t.Context(), gate, http.MethodGet, s.URL+"/kernel", http.Header{"Range": {"bytes=4-5"}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusPartialContent || string(text) != "ke" || err != nil ||
		resp.Header.Get("Content-Range") != "bytes 4-5/10" {
		t.Errorf("%s %q %v", resp.Status, text, err)
	}
	resp.Body.Close()
	if _, err := resp.Body.Read(make([]byte, 1)); err == nil {
		t.Error("a closed body is read")
	}
	head, err := Fetch(t.Context(), gate, http.MethodHead, s.URL+"/kernel", nil)
	if err != nil || head.ContentLength != 10 {
		t.Errorf("%+v, %v", head, err)
	}
	head.Body.Close()
}

// Local files are regular ones; what would hang, or is none, is said at once.
func TestOpenFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "kernel"), []byte("k"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("kernel", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for name, ok := range map[string]bool{"kernel": true, "link": true} {
		src, err := OpenSource(t.Context(), gate, filepath.Join(dir, name))
		if (err == nil) != ok {
			t.Fatalf("%s: %v", name, err)
		}
		text, err := io.ReadAll(src)
		if string(text) != "k" || src.Size != 1 || src.File == nil || err != nil {
			t.Errorf("%s: %q of %d, %v", name, text, src.Size, err)
		}
		src.Close()
	}
	if _, err := OpenSource(t.Context(), gate, filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	for _, name := range []string{"pipe", "."} {
		if _, err := OpenSource(t.Context(), gate, filepath.Join(dir, name)); err == nil ||
			!strings.Contains(err.Error(), "is not a regular file") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

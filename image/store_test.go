package image

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/billet-metal/billet/fetch"
)

var content = []byte(strings.Repeat("not a partition table\n", 5000)) // 110,000 bytes

func sha256Of(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }
func sha512Of(b []byte) string { s := sha512.Sum512(b); return hex.EncodeToString(s[:]) }

func writeFile(t testing.TB, path string, b []byte) string {
	t.Helper()
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// shop serves files, with ranges, and counts.
type shop struct {
	*httptest.Server
	requests []string
	header   http.Header // of the last request
}

func newShop(t *testing.T, files map[string][]byte) *shop {
	s := &shop{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests = append(s.requests, r.Method+" "+r.URL.Path+" "+r.Header.Get("Range"))
		s.header = r.Header
		b, ok := files[r.URL.Path]
		switch {
		case !ok:
			http.NotFound(w, r)
		case strings.HasPrefix(r.URL.Path, "/plain"): // no ranges
			w.Header().Set("Content-Length", fmt.Sprint(len(b)))
			w.Write(b)
		case strings.HasPrefix(r.URL.Path, "/chunked"):
			w.(http.Flusher).Flush()
			w.Write(b)
		case strings.HasPrefix(r.URL.Path, "/cut"):
			w.Header().Set("Content-Length", fmt.Sprint(2*len(b)))
			w.Write(b)
		case strings.HasPrefix(r.URL.Path, "/strange"):
			w.Header().Set("Content-Range", "bytes 0-10/*")
			w.WriteHeader(http.StatusPartialContent)
		default:
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(b)))
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func TestResolveHTTP(t *testing.T) {
	sums := fmt.Sprintf("%s  other.raw\n%s *d.raw\n", sha256Of([]byte("x")), sha256Of(content))
	vhd := append(append([]byte{}, content...), append([]byte("conectix"), make([]byte, 504)...)...)
	s := newShop(t, map[string][]byte{
		"/d.raw": content, "/plain/d.raw": content, "/chunked/d.raw": content, "/cut/d.raw": []byte("short"), "/strange": content,
		"/SHA256SUMS": []byte(sums), "/none": []byte("nothing\n"), "/tiny.qcow2": newTiny(), "/empty": {}, "/d.vhd": vhd,
		"/chunked/small": []byte("small"), "/md5": []byte("d41d8cd98f00b204e9800998ecf8427e"),
		"/d.raw.gz": []byte("\x1f\x8b\x08..."), "/page": []byte("<html>"),
	})
	host := strings.TrimPrefix(s.URL, "http://")
	good := func(path string, size int64) Resolved {
		return Resolved{URL: s.URL + path, Size: size, HashAlgo: "sha256", HashValue: sha256Of(content),
			Info: Info{Format: Raw, VirtualSize: size, Size: size}}
	}
	tests := []struct {
		name string
		ref  Ref
		want Resolved
		err  string
	}{
		{"with ranges", Ref{Source: s.URL + "/d.raw", Checksum: sha256Of(content)}, good("/d.raw", 110000), ""},
		{"capitals", Ref{Source: s.URL + "/d.raw", Checksum: strings.ToUpper(sha256Of(content)), DiskFormat: "RAW"}, good("/d.raw", 110000), ""},
		{"without ranges", Ref{Source: s.URL + "/plain/d.raw", Checksum: sha256Of(content)}, good("/plain/d.raw", 110000), ""},
		{"small, without a length", Ref{Source: s.URL + "/chunked/small", Checksum: sha256Of(content)}, good("/chunked/small", 5), ""},
		{"checksum file", Ref{Source: s.URL + "/d.raw?sig=1", Checksum: s.URL + "/SHA256SUMS"}, good("/d.raw?sig=1", 110000), ""},
		{"hash value", Ref{Source: s.URL + "/tiny.qcow2", HashAlgo: "SHA512", HashValue: sha512Of(newTiny()), DiskFormat: "qcow2"}, Resolved{
			URL: s.URL + "/tiny.qcow2", Size: 2560, HashAlgo: "sha512", HashValue: sha512Of(newTiny()),
			Info: Info{Format: QCOW2, VirtualSize: 2048, Size: 2560, Version: 3, ClusterSize: 512, Compression: Zlib},
		}, ""},
		{"not found", Ref{Source: s.URL + "/no?sig=secret", Checksum: sha256Of(content)}, Resolved{},
			"image http://" + host + "/no: the server answered 404 Not Found"},
		{"no length", Ref{Source: s.URL + "/chunked/d.raw", Checksum: sha256Of(content)}, Resolved{},
			"image http://" + host +
				"/chunked/d.raw: the server does not say how long the image is (no Content-Length), so a cut one could not be " +
				"told from a whole one"},
		{"cut", Ref{Source: s.URL + "/cut/d.raw", Checksum: sha256Of(content)}, Resolved{},
			"image http://" + host + "/cut/d.raw: reading the image's first 10 bytes: unexpected EOF"},
		{"strange ranges", Ref{Source: s.URL + "/strange", Checksum: sha256Of(content)}, Resolved{},
			"image http://" + host +
				`/strange: the server sent a part of the image with the Content-Range "bytes 0-10/*", which does not say how long the whole is`},
		{"empty", Ref{Source: s.URL + "/empty", Checksum: sha256Of(content)}, Resolved{},
			"image http://" + host + "/empty: image refused: the file is empty"},
		{"footer", Ref{Source: s.URL + "/d.vhd", Checksum: sha256Of(content)}, Resolved{},
			"image http://" + host + "/d.vhd: vhd image refused: this format is not written to disks, only raw, gpt, iso and qcow2: convert it " +
				"first (qemu-img convert -O qcow2)"},
		{"compressed", Ref{Source: s.URL + "/d.raw.gz", Checksum: sha256Of(content)}, Resolved{},
			"image http://" + host + "/d.raw.gz: gzip image refused: it cannot be unpacked: unexpected EOF"},
		{"page", Ref{Source: s.URL + "/page", Checksum: sha256Of(content)}, Resolved{},
			"image http://" + host + "/page: image refused: it is a web page or an XML document, not a disk image: is the URL right?"},
		{"not what it is said to be", Ref{Source: s.URL + "/tiny.qcow2", Checksum: sha256Of(content), DiskFormat: "raw"}, Resolved{},
			"image http://" + host + "/tiny.qcow2: qcow2 image refused: it is said to be raw; say qcow2, or nothing"},
		{"checksum file without it", Ref{Source: s.URL + "/d.raw", Checksum: s.URL + "/none"}, Resolved{},
			"image http://" + host + "/d.raw: reading the checksum file http://" + host + `/none: it has no checksum of a file called "d.raw"`},
		{"no checksum file", Ref{Source: s.URL + "/d.raw", Checksum: s.URL + "/gone"}, Resolved{},
			"image http://" + host + "/d.raw: reading the checksum file http://" + host + "/gone: the server answered 404 Not Found"},
		{"md5", Ref{Source: s.URL + "/d.raw", Checksum: s.URL + "/md5"}, Resolved{},
			"image http://" + host +
				"/d.raw: an md5 checksum is not accepted for an image read over HTTP, as it can be forged: give sha256 or sha512"},
		{"nobody there", Ref{Source: "http://u:pass@127.0.0.1:1/d?sig=secret", Checksum: sha256Of(content)}, Resolved{},
			"image http://127.0.0.1:1/d: asking 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := (&Store{Gate: fetch.Loopback()}).Resolve(t.Context(), tt.ref)
			if text := errText(err); text != tt.err {
				t.Errorf("got  %s\nwant %s", text, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	s.requests = nil
	if _, err := (&Store{Gate: fetch.Loopback()}).Resolve(t.Context(),
		Ref{Source: s.URL + "/d.raw", Checksum: sha256Of(content), User: "me", Password: "pw"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"GET /d.raw bytes=0-65535", "GET /d.raw bytes=109488-109999"}, s.requests); diff != "" {
		t.Errorf("requests: %s", diff)
	}
	if got := s.header.Get("Authorization"); got != "Basic bWU6cHc=" {
		t.Errorf("Authorization %q", got)
	}
	r, err := (&Store{Gate: fetch.Loopback(), MD5: AllowMD5}).Resolve(t.Context(), Ref{Source: s.URL + "/d.raw", Checksum: s.URL + "/md5"})
	if err != nil || r.HashAlgo != "md5" {
		t.Errorf("md5 allowed: %+v, %v", r, err)
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestSilentServer: a server that takes the request and says nothing costs the store's timeout.
func TestSilentServer(t *testing.T) {
	end := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-end }))
	defer s.Close()
	defer close(end)
	store := &Store{Dir: t.TempDir(), Gate: fetch.Loopback(), Timeout: 50 * time.Millisecond}
	host := strings.TrimPrefix(s.URL, "http://")
	_, err := store.Resolve(t.Context(), Ref{Source: s.URL + "/d", Checksum: sha256Of(content)})
	if want := "image http://" + host + "/d: asking " + host + ": context deadline exceeded"; errText(err) != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	_, err = store.Import(t.Context(), "d", s.URL+"/d", Ref{})
	if want := "importing http://" + host + `/d as "d": the server was silent for 50ms`; errText(err) != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestValidateRefs(t *testing.T) {
	s := &Store{Dir: "/var/lib/images", Gate: fetch.Loopback("/srv/images/", "relative")}
	const sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	tests := []struct {
		ref Ref
		err string
	}{
		{Ref{Source: "debian-12"}, ""},
		{Ref{Source: "file:///srv/images/a.qcow2"}, ""},
		{Ref{Source: "FILE:///srv/images/sub/a.qcow2", Checksum: sum}, ""},
		{Ref{Source: "https://h/a", Checksum: sum}, ""},
		{Ref{Source: "https://h/a", Checksum: "http://h/SUMS"}, ""},
		{Ref{Source: ""}, `the image source "" is of no known kind: file:///absolute/path, http://, https:// or the name of an image in the ` +
			`store is allowed`},
		{Ref{Source: "oci://h/a"}, `the image source "oci://h/a" is of no known kind: file:///absolute/path, http://, https:// or the name of ` +
			`an image in the store is allowed`},
		{Ref{Source: "../etc/shadow"}, `"../etc/shadow" is not the name of an image: letters, digits, dot, dash and underscore are allowed, at ` +
			`most 128, the first a letter or digit`},
		{Ref{Source: "file:///etc/shadow"}, "file:///etc/shadow may not be read: only files under /srv/images/, relative are allowed"},
		{Ref{Source: "file:///srv/images/../../etc/shadow"},
			"file:///srv/images/../../etc/shadow is not an absolute path without . and ..: file:///directory/file is allowed"},
		{Ref{Source: "file://srv/images/a"}, "file://srv/images/a is not an absolute path without . and ..: file:///directory/file is allowed"},
		{Ref{Source: "file:///srv/imagesX/a"}, "file:///srv/imagesX/a may not be read: only files under /srv/images/, relative are allowed"},
		{Ref{Source: "http://", Checksum: sum}, "the URL http:// is not of the form http(s)://host/path"},
		{Ref{Source: "http://h\x7f/", Checksum: sum}, "the URL http://h\x7f/ cannot be read"},
		{Ref{Source: "http://h/a"}, "an image read over HTTP needs a checksum: set image_checksum (sha256 or sha512, or the URL of a checksum " +
			"file), or image_os_hash_algo and image_os_hash_value"},
		{Ref{Source: "http://h/a", Checksum: "abc"},
			`the checksum "abc" is not one: 64 (sha256), 128 (sha512), 96 (sha384) or 32 (md5) hexadecimal digits are allowed`},
		{Ref{Source: "http://h/a", Checksum: strings.Repeat("g", 64)}, `the checksum "` + strings.Repeat("g", 64) +
			`" is not one: 64 (sha256), 128 (sha512), 96 (sha384) or 32 (md5) hexadecimal digits are allowed`},
		{Ref{Source: "http://h/a", HashAlgo: "sha256"}, "image_os_hash_algo and image_os_hash_value go together; one of them is missing"},
		{Ref{Source: "http://h/a", HashAlgo: "sha1", HashValue: sum},
			"image_os_hash_value has 64 characters and is not a sha1, which has 40 hexadecimal digits"},
		{Ref{Source: "http://h/a", HashAlgo: "sha512", HashValue: sum},
			"image_os_hash_value has 64 characters and is not a sha512, which has 128 hexadecimal digits"},
		{Ref{Source: "debian-12", DiskFormat: "vhd"}, `the disk format "vhd" is not supported; allowed are raw, gpt, iso, qcow2`},
	}
	for _, tt := range tests {
		t.Run(tt.ref.Source+tt.ref.DiskFormat, func(t *testing.T) {
			if got := errText(s.Validate(tt.ref)); got != tt.err {
				t.Errorf("got  %s\nwant %s", got, tt.err)
			}
		})
	}
	if got, want := errText((&Store{Gate: fetch.Loopback()}).Validate(Ref{Source: "debian-12"})),
		`the image "debian-12" is named, but this service has no image store`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestResolveFile(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	path := writeFile(t, filepath.Join(dir, "d.raw"), content)
	writeFile(t, filepath.Join(dir, "bad.qcow2"), func() []byte { b := newTiny(); b.put64(1032, 1536); return b }())
	secret := writeFile(t, filepath.Join(outside, "secret"), content)
	for link, to := range map[string]string{"inside": path, "outside": secret} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := Resolved{Path: path, Size: 110000, HashAlgo: "sha256", HashValue: sha256Of(content),
		Info: Info{Format: Raw, VirtualSize: 110000, Size: 110000}}
	at512 := want
	at512.HashAlgo, at512.HashValue = "sha512", sha512Of(content)
	wrong := strings.Repeat("0", 64)
	tests := []struct {
		name string
		ref  Ref
		want Resolved
		err  string
	}{
		{"no checksum", Ref{Source: "file://" + path}, want, ""},
		{"right checksum", Ref{Source: "file://" + path, Checksum: sha256Of(content)}, want, ""},
		{"sha512", Ref{Source: "file://" + path, Checksum: sha512Of(content)}, at512, ""},
		{"wrong checksum", Ref{Source: "file://" + path, Checksum: wrong}, Resolved{},
			"image file://" + path + ": its sha256 is " + sha256Of(content) + ", but " + wrong + " was asked for"},
		{"not there", Ref{Source: "file://" + dir + "/gone"}, Resolved{}, "image file://" + dir + "/gone: there is no such file"},
		{"directory", Ref{Source: "file://" + dir + "/."}, Resolved{},
			"file://" + dir + "/. is not an absolute path without . and ..: file:///directory/file is allowed"},
		{"pipe", Ref{Source: "file://" + dir + "/pipe"}, Resolved{}, "image file://" + dir + "/pipe: " + dir + "/pipe is not a regular file"},
		{"link inside", Ref{Source: "file://" + dir + "/inside"}, want, ""},
		{"link outside", Ref{Source: "file://" + dir + "/outside"}, Resolved{},
			"the link leads out of the allowed directories: file://" + secret + " may not be read: only files under " + dir + " are allowed"},
		{"tables lie", Ref{Source: "file://" + dir + "/bad.qcow2"}, Resolved{},
			"image file://" + dir + "/bad.qcow2: qcow2 image refused: the data of disk bytes 0 and 512 overlaps at byte 1536 of the file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := (&Store{Gate: fetch.Loopback(dir)}).Resolve(t.Context(), tt.ref)
			if text := errText(err); text != tt.err {
				t.Errorf("got  %s\nwant %s", text, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestSumsAreKept: a file is hashed once until it changes, by this process and the next.
func TestSumsAreKept(t *testing.T) {
	for name, dir := range map[string]string{"in memory": "", "on disk": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			files := t.TempDir()
			path := writeFile(t, filepath.Join(files, "d.raw"), content)
			stamp := time.Unix(1_700_000_000, 0)
			if err := os.Chtimes(path, stamp, stamp); err != nil {
				t.Fatal(err)
			}
			store := &Store{Dir: dir, Gate: fetch.Loopback(files)}
			ref := Ref{Source: "file://" + path}
			first, err := store.Resolve(t.Context(), ref)
			if err != nil {
				t.Fatal(err)
			}
			// Same size, inode and time: only a cache can give the old sum.
			changed := append([]byte("X"), content[1:]...)
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.WriteAt(changed, 0)
			if err = errors.Join(err, f.Close(), os.Chtimes(path, stamp, stamp)); err != nil {
				t.Fatal(err)
			}
			if dir != "" {
				store = &Store{Dir: dir, Gate: fetch.Loopback(files)}
			}
			again, err := store.Resolve(t.Context(), ref)
			if err != nil || again.HashValue != first.HashValue {
				t.Errorf("hashed anew: %v, %v", again.HashValue, err)
			}
			if err := os.Chtimes(path, stamp, stamp.Add(time.Nanosecond)); err != nil {
				t.Fatal(err)
			}
			again, err = store.Resolve(t.Context(), ref)
			if err != nil || again.HashValue != sha256Of(changed) {
				t.Errorf("a changed file keeps its old sum: %v, %v", again.HashValue, err)
			}
		})
	}
}

func TestImportListRemove(t *testing.T) {
	s := newShop(t, map[string][]byte{"/tiny.qcow2": newTiny(),
		"/SUMS": []byte(sha256Of(newTiny()) + "  tiny.qcow2\n" + sha256Of(content) + "  local.raw\n"), "/cut/d.raw": content})
	dir := filepath.Join(t.TempDir(), "images")
	store := &Store{Dir: dir, Gate: fetch.Loopback()}
	if list, err := store.List(); err != nil || list != nil {
		t.Errorf("a store that is not there yet: %v, %v", list, err)
	}
	local := writeFile(t, filepath.Join(t.TempDir(), "local.raw"), content)
	sum := sha256Of(newTiny())
	tests := []struct {
		name, from string
		want       Ref
		err        string
	}{
		{"tiny", s.URL + "/tiny.qcow2", Ref{Checksum: s.URL + "/SUMS"}, ""},
		{"debian-12", local, Ref{Checksum: s.URL + "/SUMS"}, ""},
		{"debian-12", "file://" + local, Ref{Checksum: sha512Of(content)}, ""}, // replaces
		{".hidden", local, Ref{}, `".hidden" is not the name of an image: letters, digits, dot, dash and underscore are allowed, at most 128, ` +
			`the first a letter or digit`},
		{"bad", s.URL + "/tiny.qcow2", Ref{Checksum: strings.Repeat("0", 64)},
			"importing " + s.URL + `/tiny.qcow2 as "bad": its sha256 is ` + sum + ", but " + strings.Repeat("0", 64) + " was asked for"},
		{"bad", s.URL + "/tiny.qcow2", Ref{DiskFormat: "raw"},
			"importing " + s.URL + `/tiny.qcow2 as "bad": qcow2 image refused: it is said to be raw; say qcow2, or nothing`},
		{"bad", s.URL + "/cut/d.raw", Ref{}, "importing " + s.URL + `/cut/d.raw as "bad": after 110000 bytes: unexpected EOF`},
		{"bad", s.URL + "/gone", Ref{}, "importing " + s.URL + `/gone as "bad": the server answered 404 Not Found`},
		{"bad", "/gone", Ref{}, `importing /gone as "bad": there is no such file`},
		{"bad", "ftp://h/x", Ref{}, `importing ftp://h/x as "bad": a path, a file:// URL or an http(s):// URL is allowed`},
	}
	for _, tt := range tests {
		if _, err := store.Import(t.Context(), tt.name, tt.from, tt.want); errText(err) != tt.err {
			t.Errorf("%s from %s:\ngot  %v\nwant %s", tt.name, tt.from, err, tt.err)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := store.Import(cancelled, "bad", local, Ref{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	writeFile(t, filepath.Join(dir, "broken"), []byte("QFI\xfb"))
	list, err := store.List()
	if err != nil {
		t.Fatal(err)
	}
	want := []Named{
		{Name: "broken", Size: 4, Problem: "qcow2 image refused: the file has 4 bytes; the header alone has 72"},
		{Name: "debian-12", Size: 110000, Info: Info{Format: Raw, VirtualSize: 110000, Size: 110000}},
		{Name: "tiny", Size: 2560, Info: Info{Format: QCOW2, VirtualSize: 2048, Size: 2560, Version: 3, ClusterSize: 512, Compression: Zlib}},
	}
	if diff := cmp.Diff(want, list, cmpopts.IgnoreFields(Named{}, "Modified")); diff != "" {
		t.Errorf("list: %s", diff)
	}
	r, err := store.Resolve(t.Context(), Ref{Source: "debian-12"})
	if err != nil || r.Path != filepath.Join(dir, "debian-12") || r.HashValue != sha256Of(content) {
		t.Errorf("resolved %+v, %v", r, err)
	}
	if err := store.Remove("tiny"); err != nil {
		t.Error(err)
	}
	if got, want := errText(store.Remove("tiny")), `removing the image "tiny": there is no such file`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range left {
		names = append(names, e.Name())
	}
	if diff := cmp.Diff([]string{".sums", "broken", "debian-12"}, names); diff != "" {
		t.Errorf("left in the store: %s", diff)
	}
}

package image

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/billet-metal/billet/fetch"
)

// TestManyAtOnce: a hundred deploys of one image, of several stores over one directory, agree.
func TestManyAtOnce(t *testing.T) {
	dir, files := t.TempDir(), t.TempDir()
	path := writeFile(t, filepath.Join(files, "d.raw"), content)
	stores := []*Store{{Dir: dir, Gate: fetch.Loopback(files)}, {Dir: dir, Gate: fetch.Loopback(files)}}
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			r, err := stores[i%2].Resolve(context.Background(), Ref{Source: "file://" + path})
			if err != nil || r.HashValue != sha256Of(content) {
				t.Errorf("%d: %+v, %v", i, r, err)
			}
		})
	}
	wg.Wait()
	left, err := filepath.Glob(filepath.Join(dir, sumDir, "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("the cache holds %v, %v", left, err)
	}
}

// TestWaitingForAHashEnds: who waits for another's hashing keeps to its own deadline.
func TestWaitingForAHashEnds(t *testing.T) {
	files := t.TempDir()
	path := writeFile(t, filepath.Join(files, "d.raw"), content)
	synctest.Test(t, func(t *testing.T) {
		s := &Store{Gate: fetch.Loopback(files)}
		busy := make(hashing, 1)
		busy <- struct{}{}
		s.sums.Store(path, busy)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		_, err := s.Resolve(ctx, Ref{Source: "file://" + path})
		want := "image file://" + path + ": waiting for another task to compute the checksum: context deadline exceeded"
		if errText(err) != want || time.Since(start) != time.Minute {
			t.Errorf("after %s: got %v, want %s", time.Since(start), err, want)
		}
	})
}

// TestHashingStops: a hash under way ends with its context, and the next one is not held up.
func TestHashingStops(t *testing.T) {
	files := t.TempDir()
	path := writeFile(t, filepath.Join(files, "d.raw"), content)
	s := &Store{Gate: fetch.Loopback(files)}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Resolve(ctx, Ref{Source: "file://" + path})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if r, err := s.Resolve(t.Context(), Ref{Source: "file://" + path}); err != nil || r.HashValue != sha256Of(content) {
		t.Errorf("afterwards: %+v, %v", r, err)
	}
}

// TestBadCache: a damaged cache, one of another file, and one that cannot be written cost time only.
func TestBadCache(t *testing.T) {
	files := t.TempDir()
	path := writeFile(t, filepath.Join(files, "d.raw"), content)
	for name, spoil := range map[string]func(s *Store) error{
		"damaged":     func(s *Store) error { return os.WriteFile(s.sumFile(path), []byte(`{"sums":`), 0o644) },
		"wrong shape": func(s *Store) error { return os.WriteFile(s.sumFile(path), []byte(`[]`), 0o644) },
		"another file": func(s *Store) error {
			return os.WriteFile(s.sumFile(path), []byte(`{"path":"/x","sums":{"sha256":"00"}}`), 0o644)
		},
		"no sums": func(s *Store) error { return os.WriteFile(s.sumFile(path), []byte(`{}`), 0o644) },
		"in the way": func(s *Store) error {
			if err := os.RemoveAll(filepath.Join(s.Dir, sumDir)); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(s.Dir, sumDir), nil, 0o644)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Store{Dir: t.TempDir(), Gate: fetch.Loopback(files)}
			if err := errors.Join(os.Mkdir(filepath.Join(s.Dir, sumDir), 0o755), spoil(s)); err != nil {
				t.Fatal(err)
			}
			r, err := s.Resolve(t.Context(), Ref{Source: "file://" + path})
			if err != nil || r.HashValue != sha256Of(content) {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

// TestSweep: what a killed import left goes away after a day, not while it may be at work.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	old := writeFile(t, filepath.Join(dir, ".import-1"), content)
	young := writeFile(t, filepath.Join(dir, ".import-2"), content)
	yesterday := time.Now().Add(-25 * time.Hour)
	if err := os.Chtimes(old, yesterday, yesterday); err != nil {
		t.Fatal(err)
	}
	s := &Store{Dir: dir, Gate: fetch.Loopback()}
	if _, err := s.Import(t.Context(), "d", young, Ref{}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("the old one: %v", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("the young one: %v", err)
	}
	list, err := s.List()
	if err != nil || len(list) != 1 || list[0].Name != "d" {
		t.Errorf("list %+v, %v", list, err)
	}
}

// TestStoreBehindALink: a store's directory may be a link; its images may not lead out of it.
func TestStoreBehindALink(t *testing.T) {
	real := t.TempDir()
	link := filepath.Join(t.TempDir(), "images")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(real, "d"), content)
	if err := errors.Join(os.Symlink("d", filepath.Join(real, "alias")), os.Symlink("/etc/hostname", filepath.Join(real, "out"))); err != nil {
		t.Fatal(err)
	}
	s := &Store{Dir: link, Gate: fetch.Loopback()}
	for _, name := range []string{"d", "alias"} {
		r, err := s.Resolve(t.Context(), Ref{Source: name})
		if err != nil || r.Path != filepath.Join(real, "d") {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	_, err := s.Resolve(t.Context(), Ref{Source: "out"})
	want := "image out: the link leads out of the allowed directories: file:///etc/hostname may not be read: " +
		"only files under " + link + " are allowed"
	if errText(err) != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// TestPasswordStays: a redirect to another host does not take the password along.
func TestPasswordStays(t *testing.T) {
	var got string
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("Authorization")
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(content)))
	}))
	defer other.Close()
	first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, _, _ := r.BasicAuth(); u != "me" {
			t.Errorf("the server itself got the user %q", u)
		}
		http.Redirect(w, r, strings.Replace(other.URL, "127.0.0.1", "localhost", 1)+"/d", http.StatusFound)
	}))
	defer first.Close()
	_, err := (&Store{Gate: fetch.Loopback()}).Resolve(t.Context(),
		Ref{Source: first.URL + "/d", Checksum: sha256Of(content), User: "me", Password: "pw"})
	if err != nil || got != "" {
		t.Errorf("the other host got %q; %v", got, err)
	}
}

// TestSecretsInSources: no error shows what a URL keeps secret.
func TestSecretsInSources(t *testing.T) {
	tests := []struct{ source, want string }{
		{"http://h/a", "http://h/a"},
		{"https://user:pa%40ss@h:81/a?sig=x&y", "https://h:81/a"},
		{"https://user:p@ss@h", "https://h"},
		{"http://h?sig=x", "http://h"},
		{"file:///a?b", "file:///a?b"},
		{"debian", "debian"},
	}
	for _, tt := range tests {
		if got := fetch.Redact(tt.source); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.source, got, tt.want)
		}
	}
	for _, source := range []string{"http://u:secret@127.0.0.1:1/a?sig=secret", "http://u:secret@[::1/a?sig=secret",
		"http://u:secret@/a?sig=secret"} {
		_, err := (&Store{Gate: fetch.Loopback()}).Resolve(t.Context(), Ref{Source: source, Checksum: sha256Of(content)})
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v", err)
		}
		_, err = (&Store{Dir: t.TempDir(), Gate: fetch.Loopback()}).Import(t.Context(), "a", source, Ref{Checksum: source})
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v", err)
		}
	}
}

// TestFormatNames: what is said of an image against what it is.
func TestFormatNames(t *testing.T) {
	infos := map[string]Info{
		"raw": {Format: Raw}, "mbr": {Format: Raw, PartitionTable: "mbr"}, "gpt": {Format: GPT, PartitionTable: "gpt"},
		"iso": {Format: ISO}, "hybrid": {Format: ISO, PartitionTable: "gpt"}, "qcow2": {Format: QCOW2},
	}
	allowed := map[string][]string{
		"": {"raw", "mbr", "gpt", "iso", "hybrid", "qcow2"}, "raw": {"raw", "mbr", "gpt", "iso", "hybrid"},
		"gpt": {"mbr", "gpt", "hybrid"}, "iso": {"iso", "hybrid"}, "qcow2": {"qcow2"}, "QCOW2": {"qcow2"},
	}
	for declared, names := range allowed {
		for name, info := range infos {
			err := checkFormat(declared, info)
			if want := contains(names, name); (err == nil) != want {
				t.Errorf("a %s said to be %q: %v", name, declared, err)
			}
		}
	}
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

package image

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/billet-metal/billet/fetch"
)

// TestAllowedDirectoriesThatAreLinks: an operator may allow a link to a directory. What lies in the
// directory may be read by either name; what its links lead to elsewhere may not.
func TestAllowedDirectoriesThatAreLinks(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	at := func(parts ...string) string { return filepath.Join(append([]string{base}, parts...)...) }
	for _, dir := range []string{"real/sub", "realistic", "other"} {
		if err := os.MkdirAll(at(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"real/a", "real/sub/b", "realistic/c", "other/d"} {
		writeFile(t, at(name), content)
	}
	for name, to := range map[string]string{
		"link": at("real"), "twice": at("link"), "deep": at("link/sub"), "dangling": at("gone"), "loop": at("loop"), "real/out": at("other/d"),
		"real/in": at("real/sub/b"),
		"real/up": "../other/d", "real/dir": at("other"), "real/broken": at("gone"), "other/back": at("real/a"),
	} {
		if err := os.Symlink(to, at(name)); err != nil {
			t.Fatal(err)
		}
	}
	const outside, notListed, gone = "the link leads out of the allowed directories", "may not be read: only files under",
		"there is no such file"
	tests := []struct {
		allowed, path string
		want          string // of the error
	}{
		{"link", "link/a", ""},
		{"link", "link/sub/b", ""},
		{"link", "real/a", ""}, // by its own name
		{"twice", "twice/a", ""},
		{"twice", "real/sub/b", ""},
		{"twice", "link/a", notListed}, // a name nobody gave
		{"deep", "deep/b", ""},
		{"deep", "link/a", notListed},
		{"deep", "real/a", notListed},
		{"link", "link/in", ""},
		{"real", "real/in", ""},
		{"link", "link/out", outside},
		{"real", "real/out", outside},
		{"link", "link/up", outside},
		{"link", "link/dir/d", outside},
		{"link", "realistic/c", notListed}, // begins like it
		{"link", "link", notListed},
		{"link", "link/broken", gone},
		{"real", "other/back", notListed},
		{"dangling", "dangling/a", gone},
		{"dangling", "gone/a", notListed},
		{"loop", "loop/a", "too many links"},
		{"", "real/a", ""}, // the whole of base
	}
	for _, tt := range tests {
		t.Run(tt.allowed+" "+tt.path, func(t *testing.T) {
			s := &Store{Gate: fetch.Loopback("/nowhere", at(tt.allowed))}
			r, err := s.Resolve(t.Context(), Ref{Source: "file://" + at(tt.path)})
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("resolve: %v, want %q", err, tt.want)
			}
			if err == nil && r.HashValue != sha256Of(content) {
				t.Errorf("another file: %+v", r)
			}
			name, err := s.File(t.Context(), "file://"+at(tt.path))
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("file: %v, want %q", err, tt.want)
			}
			if real, _ := filepath.EvalSymlinks(at(tt.path)); err == nil && name != real {
				t.Errorf("file: %s, want %s, which has no links", name, real)
			}
		})
	}
}

// TestDirectoriesThatAllowNothing: an empty list, an empty entry and a relative one open no door.
func TestDirectoriesThatAllowNothing(t *testing.T) {
	dir := t.TempDir()
	path := writeFile(t, filepath.Join(dir, "a"), content)
	t.Chdir(dir)
	for name, allowed := range map[string][]string{"none": nil, "empty": {""}, "here": {"."}, "relative": {filepath.Base(dir)}, "up": {".."},
		"a file": {path}} {
		s := &Store{Gate: fetch.Loopback(allowed...)}
		for _, source := range []string{"file://" + path, "file://a", "file://./a", "file:///proc/self/cwd/a"} {
			if _, err := s.Resolve(t.Context(), Ref{Source: source}); err == nil {
				t.Errorf("%s: %s is read", name, source)
			}
			if got, err := s.File(t.Context(), source); err == nil {
				t.Errorf("%s: %s is %s", name, source, got)
			}
		}
	}
	if _, err := (&Store{Gate: fetch.Loopback("/")}).Resolve(t.Context(), Ref{Source: "file://" + path}); err != nil {
		t.Errorf("an operator who allows everything: %v", err)
	}
}

// TestFile: kernels and ramdisks are files under the same rules, and have something in them.
func TestFile(t *testing.T) {
	dir, store := t.TempDir(), t.TempDir()
	writeFile(t, filepath.Join(dir, "vmlinuz"), content)
	writeFile(t, filepath.Join(dir, "empty"), nil)
	writeFile(t, filepath.Join(store, "kernel-6.1"), content)
	s := &Store{Dir: store, Gate: fetch.Loopback(dir)}
	tests := []struct{ source, want, err string }{
		{"file://" + dir + "/vmlinuz", dir + "/vmlinuz", ""},
		{"kernel-6.1", store + "/kernel-6.1", ""},
		{"file://" + dir + "/empty", "", dir + "/empty is empty"},
		{"file://" + dir, "", "only files under " + dir + " are allowed"},
		{"kernel-5", "", "there is no such file"},
		{"../kernel-6.1", "", "is not the name of an image"},
		{"http://h/k", "http://h/k", ""},
		{"http://169.254.169.254/k", "http://169.254.169.254/k", "a link-local address"},
		{"ftp://h/k", "", "of no known kind"},
	}
	for _, tt := range tests {
		got, err := s.File(t.Context(), tt.source)
		if got != tt.want || !strings.Contains(errText(err), tt.err) || (err == nil) != (tt.err == "") {
			t.Errorf("%s is %q, %v; want %q, %s", tt.source, got, err, tt.want, tt.err)
		}
	}
}

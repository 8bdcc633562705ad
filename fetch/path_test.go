package fetch

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// tree makes folders, files with their own names in them, and links; it returns how a path in it is called.
func tree(t *testing.T, files []string, links map[string]string) (at func(string) string) {
	t.Helper()
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	at = func(name string) string { return filepath.Join(base, name) }
	for _, name := range files {
		if err := os.MkdirAll(filepath.Dir(at(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at(name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range links {
		if err := os.Symlink(strings.ReplaceAll(to, "@", base), at(name)); err != nil {
			t.Fatal(err)
		}
	}
	return at
}

const (
	outside   = "the link leads out of the allowed directories"
	notListed = "may not be read: only files under"
	ours      = "is one of this service's own files"
	gone      = "there is no such file"
	noFile    = "is not a regular file"
)

// TestFiles: what may be read by which name. A path that was allowed is the path that is opened.
func TestFiles(t *testing.T) {
	at := tree(t, []string{"real/a", "real/sub/b", "realistic/c", "other/d", "data/secret.key", "data/billet.db", "data/images/i",
		"data/deploy-logs/l", "data/ramdisk/k", "etc/htpasswd", "pub/x"},
		map[string]string{
			"link": "@/real", "twice": "@/link", "deep": "@/link/sub", "dangling": "@/gone", "loop": "@/loop",
			"real/out": "@/other/d", "real/in": "@/real/sub/b", "real/up": "../other/d", "real/dir": "@/other", "real/broken": "@/gone",
			"other/back": "@/real/a", "real/key": "@/data/secret.key", "data/images/key": "../secret.key",
			"data/images/in": "i", "real/proc": "/proc/self/environ",
			"pub/named": "@/other/d", "datalink": "@/data",
		})
	if err := syscall.Mkfifo(at("real/pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{
		"data/secret.key": "real/hard", "data/deploy-logs/l": "real/hardlog", "etc/htpasswd": "real/hardpass", "data/images/i": "real/hardimage",
	} {
		if err := os.Link(at(from), at(to)); err != nil {
			t.Fatal(err)
		}
	}
	secrets := []string{at("data"), at("etc/htpasswd"), at("not/there/yet")}
	tests := []struct {
		dirs, path string // dirs is a comma list
		want       string // of the error
	}{
		{"link", "link/a", ""},
		{"link", "link/sub/b", ""},
		{"link", "real/a", ""}, // by its own name
		{"real/", "real/a", ""},
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
		{"link", "link/none", gone},
		{"real", "other/none", notListed}, // whether it is there is not told
		{"real", "other/back", notListed},
		{"dangling", "dangling/a", gone},
		{"dangling", "gone/a", notListed},
		{"loop", "loop/a", "too many links"},
		{"real", "real/sub", noFile},
		{"real", "real/pipe", noFile},

		{"real", "real/key", ours},
		{"real", "real/hard", ours},
		{"real", "real/hardlog", ours},
		{"real", "real/hardpass", ours},
		{"data", "data/secret.key", ours},
		{"data", "data/billet.db-wal", ours}, // which is not there
		{"data", "data/deploy-logs/l", ours},
		{"data", "data/images/i", ours},
		{"datalink", "datalink/secret.key", ours},
		{"data,data/images", "data/images/i", ""},
		{"data,data/images", "data/images/in", ""},
		{"data,data/images,real", "real/hardimage", ""},
		{"data,data/images", "data/secret.key", ours},
		{"data/images", "data/images/key", ours},
		{"datalink/images", "data/images/i", ""},
		{".,data/images", "data/deploy-logs/l", ours},
		{".", "etc/htpasswd", ours},
		{".", "data/images/i", ours},
		{".", "other/d", ""},
		{".,etc", "etc/htpasswd", ours},
	}
	for _, tt := range tests {
		t.Run(tt.dirs+" "+tt.path, func(t *testing.T) {
			g := &Gate{Dirs: []string{"/nowhere"}, Secrets: secrets}
			for _, dir := range strings.Split(tt.dirs, ",") {
				if strings.HasSuffix(dir, "/") {
					g.Dirs = append(g.Dirs, at(dir)+"/")
					continue
				}
				g.Dirs = append(g.Dirs, at(dir))
			}
			f, st, err := g.Open(at(tt.path))
			if (err == nil) != (tt.want == "") || !strings.Contains(errText(err), tt.want) {
				t.Fatalf("%v, want %q", err, tt.want)
			}
			if err != nil {
				if !strings.Contains(tt.want, "no such file") && tt.want != "too many links" {
					if d := (*Denial)(nil); !errors.As(err, &d) {
						t.Errorf("%T is no denial", err)
					}
				}
				return
			}
			defer f.Close()
			text, err := io.ReadAll(f)
			real, _ := filepath.EvalSymlinks(at(tt.path))
			if err != nil || int64(len(text)) != st.Size() || f.Name() != real {
				t.Errorf("%q of %d bytes at %s, %v", text, st.Size(), f.Name(), err)
			}
			if err := g.Check(at(tt.path)); err != nil {
				t.Errorf("checked before it is opened: %v", err)
			}
		})
	}
}

// TestFilesOfTheKernel: with the whole machine allowed, what the kernel makes up and what is a device stays shut.
func TestFilesOfTheKernel(t *testing.T) {
	g := &Gate{Dirs: []string{"/"}}
	for _, path := range []string{
		"/proc/self/environ", "/proc/self/mem", "/proc/kcore", "/sys/kernel/notes", "/dev/zero", "/dev/null", "/dev/stdin",
		"/proc/self/fd/0", "/proc/self/root/etc/passwd", "/etc",
	} {
		f, _, err := g.Open(path)
		if err == nil {
			if strings.HasPrefix(path, "/proc/self/root") && f.Name() == "/etc/passwd" {
				f.Close()
				continue // it is that file, and the whole machine is allowed
			}
			t.Errorf("%s is opened as %s", path, f.Name())
			f.Close()
		}
	}
	at := tree(t, []string{"d/a"}, map[string]string{"d/env": "/proc/self/environ"})
	for _, name := range []string{"d/env"} {
		if _, _, err := (&Gate{Dirs: []string{at("d")}}).Open(at(name)); err == nil || !strings.Contains(err.Error(), outside) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPathsThatAreNone: only clean absolute paths are looked at.
func TestPathsThatAreNone(t *testing.T) {
	at := tree(t, []string{"d/a"}, nil)
	t.Chdir(at("d"))
	g := &Gate{Dirs: []string{at("d"), ".", ""}}
	for _, path := range []string{
		"", "a", "./a", "../d/a", at("d") + "/../d/a", at("d") + "//a", at("d") + "/a/", at("d") + "/a\x00", "/proc/self/cwd/a",
	} {
		if f, _, err := g.Open(path); err == nil {
			t.Errorf("%q is opened as %s", path, f.Name())
		}
	}
	for name, g := range map[string]*Gate{
		"nil": nil, "zero": {}, "relative": {Dirs: []string{".", "d", "", ".."}}, "a file": {Dirs: []string{at("d/a")}},
	} {
		if _, _, err := g.Open(at("d/a")); err == nil {
			t.Errorf("%s gate: it is opened", name)
		}
	}
}

// TestSingleFiles: the deploy ramdisk of the configuration is read though its directory is not, wherever it
// lies; a secret is not, whatever the configuration calls it.
func TestSingleFiles(t *testing.T) {
	at := tree(t, []string{"data/ramdisk/k", "data/ramdisk/other", "data/secret.key", "boot/vmlinuz-6.1"},
		map[string]string{"boot/vmlinuz": "vmlinuz-6.1"})
	g := &Gate{Files: []string{at("data/ramdisk/k"), at("boot/vmlinuz"), at("data/secret.key")},
		Secrets: []string{at("data"), at("data/secret.key")}}
	for path, ok := range map[string]bool{
		"data/ramdisk/k": true, "boot/vmlinuz": true, "boot/vmlinuz-6.1": true, "data/ramdisk/other": false, "data/secret.key": false,
	} {
		f, _, err := g.Open(at(path))
		if (err == nil) != ok {
			t.Errorf("%s: %v", path, err)
		}
		if err == nil {
			f.Close()
		}
	}
}

// TestALinkThatComesLate: a link that is put in the path's way after it was looked at leads nowhere.
func TestALinkThatComesLate(t *testing.T) {
	at := tree(t, []string{"d/sub/a", "secret/a"}, nil)
	if err := os.Rename(at("d/sub"), at("d/old")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(at("secret"), at("d/sub")); err != nil {
		t.Fatal(err)
	}
	if f, err := openNoLinks(at("d/sub/a")); err == nil || !errors.Is(err, syscall.ELOOP) {
		t.Errorf("opened %v, %v", f, err)
	}
}

func TestPath(t *testing.T) {
	for source, want := range map[string]string{
		"file:///a/b": "/a/b", "FILE:///a": "/a", "/a": "/a", "file://localhost/a": "/a", "file://host/a": "host/a",
		"file:///a%2e%2e/b": "/a%2e%2e/b", "name": "name", "file:a": "file:a",
	} {
		if got := Path(source); got != want {
			t.Errorf("%s: %q, want %q", source, got, want)
		}
	}
}

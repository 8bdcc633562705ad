package steps

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/fetch"
)

// parsed is a JSON text as a command carries it.
func parsed(t testing.TB, text string) any {
	t.Helper()
	if text == "" {
		return nil
	}
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestReadInjections(t *testing.T) {
	mode, dirMode := uint32(0o600), uint32(0o750)
	files, err := readInjections(
		parsed(t, `[{"path": "/etc//app/../app/a.conf", "content": "aGVsbG8="}]`),
		parsed(t, `[{"path": "/b", "partition": "2", "content": "https://h/{node[uuid]}", "mode": 384, "dirmode": 488,
			"owner": 0, "group": -1, "deleted": false},
			{"path": "/etc/motd", "partition": 1, "deleted": true}]`))
	want := []injection{
		{path: "/etc/app/a.conf", content: "aGVsbG8=", owner: -1, group: -1},
		{path: "/b", partition: 2, content: "https://h/{node[uuid]}", mode: &mode, dirMode: &dirMode, owner: 0, group: -1},
		{path: "/etc/motd", partition: 1, deleted: true, owner: -1, group: -1},
	}
	if d := cmp.Diff(want, files, cmp.AllowUnexported(injection{})); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	if files, err := readInjections(nil, nil); files != nil || err != nil {
		t.Errorf("nothing asked for: %v, %v", files, err)
	}
}

func TestReadInjectionsRefuses(t *testing.T) {
	const file = "file 1 of the argument files: "
	for list, want := range map[string]string{
		`{}`:                                 "the argument files must be a list of objects",
		`["/etc/a"]`:                         file + "it must be an object",
		`[{"content": ""}]`:                  file + "path must be the absolute path of a file",
		`[{"path": 5, "content": ""}]`:       file + "path must be the absolute path of a file",
		`[{"path": "etc/a", "content": ""}]`: file + "path must be the absolute path of a file",
		`[{"path": "/etc/\u0000a", "content": ""}]`:            file + "path must be the absolute path of a file",
		`[{"path": "/etc/a/", "content": ""}]`:                 file + "path /etc/a/ is a folder, not a file",
		`[{"path": "/etc/..", "partition": 1, "content": ""}]`: file + "path /etc/.. is a folder, not a file",
		`[{"path": "/a", "content": ""}]`: file + "path /a is in the root folder, which every " +
			"file system has: say which partition",
		`[{"path": "/etc/../a", "content": ""}]`: file + "path /etc/../a is in the root folder, " +
			"which every file system has: say which partition",
		`[{"path": "/etc/a"}]`:                                 file + "either content or deleted true must be there",
		`[{"path": "/etc/a", "deleted": false}]`:               file + "either content or deleted true must be there",
		`[{"path": "/etc/a", "content": "", "deleted": true}]`: file + "either content or deleted true must be there",
		`[{"path": "/etc/a", "content": 1}]`:                   file + "content must be a text and deleted true or false",
		`[{"path": "/etc/a", "deleted": "yes"}]`:               file + "content must be a text and deleted true or false",
		`[{"path": "/etc/a", "content": "%"}]`:                 file + "content must be base64, or a URL",
		`[{"path": "/etc/a", "content": "", "user": 0}]`: file + `the field "user" is unknown; allowed are ` +
			"path, partition, content, deleted, mode, dirmode, owner, group",
		`[{"path": "/etc/a", "content": "", "mode": "0644"}]`: file + "mode must be a whole number from 0 to " +
			"4095; it is a number as chmod(2) takes it: 420 is rw-r--r--",
		`[{"path": "/etc/a", "content": "", "mode": 4096}]`: file + "mode must be a whole number from 0 to " +
			"4095; it is a number as chmod(2) takes it: 420 is rw-r--r--",
		`[{"path": "/etc/a", "content": "", "dirmode": 0.5}]`: file + "dirmode must be a whole number from 0 to " +
			"4095; it is a number as chmod(2) takes it: 420 is rw-r--r--",
		`[{"path": "/etc/a", "content": "", "owner": -2}]`:    file + "owner must be a whole number from -1 to 4294967294",
		`[{"path": "/etc/a", "content": "", "group": "adm"}]`: file + "group must be a whole number from -1 to 4294967294",
		`[{"path": "/etc/a", "content": "", "partition": 0}]`: file + "partition is 0; the number of a partition " +
			"of the root disk is allowed, from 1",
		`[{"path": "/etc/a", "content": "", "partition": 1.5}]`: file + "partition is 1.5; the number of a " +
			"partition of the root disk is allowed, from 1",
		`[{"path": "/etc/a", "content": "", "partition": "/dev/sda1"}]`: file + "partition is /dev/sda1; the number of a " +
			"partition of the root disk is allowed, from 1",
		`[{"path": "/etc/a", "content": "", "partition": []}]`: file + "partition is []; the number of a partition " +
			"of the root disk is allowed, from 1",
		`[{"path": "/a", "content": ""}, {"path": "/etc/b", "content": ""}, 5]`: file + "path /a is in the root folder, which every " +
			"file system has: say which partition\nfile 3 of the argument files: it must be an object",
	} {
		if files, err := readInjections(nil, parsed(t, list)); fmt.Sprint(err) != want {
			t.Errorf("%s: %v, %v\nwant %s", list, files, err, want)
		}
	}
	if _, err := readInjections("all", nil); fmt.Sprint(err) != "the node's property inject_files must be a list of objects" {
		t.Errorf("a property that is a text: %v", err)
	}
}

var here = []fetch.Place{{Net: netip.MustParsePrefix("127.0.0.0/8")}}

// gated asks servers of this machine only.
func gated(insecure bool) *http.Client {
	g := fetch.Gate{Near: here, TLS: &tls.Config{InsecureSkipVerify: insecure, MinVersion: tls.VersionTLS12}}
	return g.Client()
}

func newInjector(t *testing.T) injector {
	about := parsed(t, `{"node": {"uuid": "n-1", "extra": {"rack": 7, "spare": false, "deep": {}}}, "ports": [{"address": `+
		`"52:54:00:00:00:01"}]}`)
	return injector{Host: &Host{Log: slog.New(slog.DiscardHandler)}, client: gated(false), about: about.(map[string]any)}
}

func TestFillIn(t *testing.T) {
	i := newInjector(t)
	for text, want := range map[string]string{
		"http://h/x": "http://h/x",
		"http://h/{node[uuid]}/{ports[0][address]}": "http://h/n-1/52:54:00:00:00:01",
		"a{{b}}c": "a{b}c",
		"{node[extra][rack]}{node[extra][spare]}": "7false",
		"{node[uuid]":          "!a { without a } after it; {{ stands for one",
		"x}":                   "!a } without a { before it; }} stands for one",
		"{node[none]}":         `!{node[none]}: there is no "none"`,
		"{ports[1][address]}":  `!{ports[1][address]}: there is no "1"`,
		"{ports[-1][address]}": `!{ports[-1][address]}: there is no "-1"`,
		"{node[uuid][x]}":      `!{node[uuid][x]}: there is no "x"`,
		"{node}":               "!{node}: it is no text or number",
		"{node[extra][deep]}":  "!{node[extra][deep]}: it is no text or number",
		"{secret[x]}":          "!{secret[x]}: only node[…] and ports[…] are known",
		"{node.uuid}":          "!{node.uuid}: only node[…] and ports[…] are known",
		"{}":                   "!{}: only node[…] and ports[…] are known",
		"{node[uuid]x}":        "!{node[uuid]x}: it must look like node[key][key]",
		"{node[uuid}":          "!{node[uuid}: it must look like node[key][key]",
	} {
		got, err := fillIn(text, i.about)
		if err != nil {
			got = "!" + err.Error()
		}
		if got != want {
			t.Errorf("%s: %s\nwant %s", text, got, want)
		}
	}
}

// Whatever people write, a text without braces stays as it is, and nothing panics.
func FuzzFillIn(f *testing.F) {
	for _, s := range []string{"", "{node[a]}", "{{}}", "{ports[0][address]}", "{node[", "}{", "{node[a][b]]}"} {
		f.Add(s)
	}
	about := map[string]any{"node": map[string]any{"a": "x", "b": map[string]any{"c": 1.5}}, "ports": []any{map[string]any{"address": "y"}}}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := fillIn(text, about)
		if !strings.ContainsAny(text, "{}") && (got != text || err != nil) {
			t.Errorf("%q became %q, %v", text, got, err)
		}
		if err == nil && strings.Count(got, "{") > strings.Count(text, "{{") {
			t.Errorf("%q became %q: a brace came from nowhere", text, got)
		}
	})
}

// tree is a root file system with traps that lead out of it.
func injectionTree(t *testing.T) (dir, outside string) {
	outside = t.TempDir()
	dir = filepath.Join(outside, "root")
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "etc/app"), 0o755),
		os.WriteFile(filepath.Join(dir, "etc/app/old"), []byte("a longer text than the new one"), 0o640),
		os.Symlink("../../../etc", filepath.Join(dir, "etc/up")), os.Symlink("/made/by/link", filepath.Join(dir, "etc/link")),
		os.Symlink(outside, filepath.Join(dir, "out")), os.Mkdir(filepath.Join(outside, "etc"), 0o755),
		os.Mkdir(filepath.Join(dir, "made"), 0o755), os.Mkdir(filepath.Join(dir, "made/by"), 0o755),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir, outside
}

func read(t *testing.T, path string) (string, fs.FileMode) {
	t.Helper()
	b, err := os.ReadFile(path)
	info, statErr := os.Stat(path)
	if err != nil || statErr != nil {
		t.Fatal(err, statErr)
	}
	return string(b), info.Mode()
}

func TestInjectWrites(t *testing.T) {
	i, hello := newInjector(t), base64.StdEncoding.EncodeToString([]byte("hello"))
	bits := func(m uint32) *uint32 { return &m }
	for _, tt := range []struct {
		name, path, at string // at: where it must be
		f              injection
		want           fs.FileMode
	}{
		{"new", "/etc/new", "etc/new", injection{}, 0o644},
		{"over a longer one", "/etc/app/old", "etc/app/old", injection{}, 0o640},
		{"mode", "/etc/new", "etc/new", injection{mode: bits(0o4711)}, 0o711 | fs.ModeSetuid},
		{"into new folders", "/srv/a/b", "srv/a/b", injection{dirMode: bits(0o700)}, 0o644},
		{"a folder that leads up", "/etc/up/new", "etc/new", injection{}, 0o644},
		{"a link to a file that is not there", "/etc/link", "made/by/link", injection{}, 0o644},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, outside := injectionTree(t)
			tt.f.path, tt.f.content, tt.f.owner, tt.f.group = tt.path, hello, os.Getuid(), os.Getgid()
			what, err := i.act(t.Context(), dir, tt.f)
			if err != nil || what != "written, 5 bytes," {
				t.Fatalf("%q, %v", what, err)
			}
			if text, mode := read(t, filepath.Join(dir, tt.at)); text != "hello" || mode != tt.want {
				t.Errorf("%q, mode %v, want %v", text, mode, tt.want)
			}
			if left, _ := os.ReadDir(filepath.Join(outside, "etc")); len(left) > 0 {
				t.Errorf("something was written outside: %v", left)
			}
			if tt.f.dirMode != nil {
				parent, _ := os.Stat(filepath.Join(dir, "srv"))
				leaf, err := os.Stat(filepath.Join(dir, "srv/a"))
				if err != nil || leaf.Mode().Perm() != 0o700 || parent.Mode().Perm() != 0o755 {
					t.Errorf("folders: %v, %v, %v", parent.Mode(), leaf.Mode(), err)
				}
			}
		})
	}
}

func TestInjectRefuses(t *testing.T) {
	i := newInjector(t)
	for _, tt := range []struct{ path, want string }{
		{"/etc/app", "is a directory"},
		{"/etc/app/old/x", "not a directory"},
	} {
		dir, _ := injectionTree(t)
		if _, err := i.act(t.Context(), dir, injection{path: tt.path, owner: -1, group: -1}); err == nil ||
			!strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.path, err)
		}
	}
}

func TestInjectDeletes(t *testing.T) {
	i := newInjector(t)
	dir, outside := injectionTree(t)
	if err := os.WriteFile(filepath.Join(outside, "etc/kept"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/etc/app/old": "deleted", "/etc/none": "was not there", "/none/at/all": "was not there", "/etc/link": "deleted",
		"/out/etc/kept": "was not there", // the link leads nowhere inside
		"/etc/app":      "!remove /etc/app: is a directory",
	} {
		got, err := i.act(t.Context(), dir, injection{path: path, deleted: true})
		if err != nil {
			got = "!" + err.Error()
		}
		if got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
	if _, err := os.Stat(filepath.Join(outside, "etc/kept")); err != nil {
		t.Errorf("a file outside: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "etc/app/old")); err == nil {
		t.Error("the file is still there")
	}
}

func TestInjectFromURL(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/n-1" {
			http.Error(w, "no", http.StatusNotFound)
			return
		}
		fmt.Fprint(w, strings.Repeat("x", 1<<20))
	})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	dir, _ := injectionTree(t)
	i := newInjector(t)
	f := injection{path: "/etc/app/old", owner: -1, group: -1}
	for _, tt := range []struct{ content, want string }{
		{plain.URL + "/{node[uuid]}", "written, 1048576 bytes,"},
		{plain.URL + "/other?password=geheim", "!content from " + plain.Listener.Addr().String() + ": the server answered 404 Not Found"},
		{secure.URL + "/n-1", "!content from " + secure.Listener.Addr().String() + ": tls: failed to verify certificate: x509: " +
			"certificate signed by unknown authority"},
		{"ftp://h/x", "!content: only http:// and https:// URLs can be read"},
		{"http://{node[none]}/", `!content: {node[none]}: there is no "none"`},
		{"http://127.0.0.1:1/?password=geheim", "!content from 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused"},
	} {
		f.content = tt.content
		before, _ := read(t, filepath.Join(dir, f.path))
		got, err := i.act(t.Context(), dir, f)
		if err != nil {
			got = "!" + err.Error()
			if after, _ := read(t, filepath.Join(dir, f.path)); after != before {
				t.Errorf("%s: the old content is gone", tt.content)
			}
		}
		if got != tt.want {
			t.Errorf("%s:\n%s\nwant %s", tt.content, got, tt.want)
		}
	}
	f.content = secure.URL + "/n-1"
	i.client = gated(true)
	if got, err := i.act(t.Context(), dir, f); err != nil || got != "written, 1048576 bytes," {
		t.Errorf("verify_ca false: %s, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if body, err := i.open(ctx, plain.URL+"/n-1"); err == nil {
		_, err = io.ReadAll(body)
		t.Errorf("after the end: %v", err)
	}
}

// What is wrong with the arguments is refused before any disk is looked at.
func TestInjectFilesStep(t *testing.T) {
	i := Injector{Host: &Host{Log: slog.New(slog.DiscardHandler)}}
	for args, want := range map[string]string{
		`{}`:                  "no files to inject",
		`{"files": []}`:       "no files to inject",
		`{"files": 5}`:        "!inject_files: the argument files must be a list of objects",
		`{"verify_ca": "no"}`: "!Parameter verify_ca is not what is expected: json: cannot unmarshal string into Go value of type bool",
		`{"files": [{"path": "/etc"}]}`: "!inject_files: file 1 of the argument files: path /etc is in the root folder, which every " +
			"file system has: say which partition",
	} {
		call := Call{Args: Params{}}
		if err := json.Unmarshal([]byte(args), &call.Args); err != nil {
			t.Fatal(err)
		}
		got, err := i.injectFiles(t.Context(), call)
		if err != nil {
			got = "!" + err.Error()
		}
		if got != want {
			t.Errorf("%s: %v\nwant %s", args, got, want)
		}
	}
}

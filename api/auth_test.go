package api

import (
	"bytes"
	"encoding/base64"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

func writeHTPasswd(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "htpasswd")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestHTTPBasic(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("open sesame"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld()
	a, err := New(Config{Conductor: w, Reader: w, Templates: w, Auth: "http_basic", HTPasswdFile: writeHTPasswd(t, "# people\n\nada:"+string(hash)+"\n")})
	if err != nil {
		t.Fatal(err)
	}
	basic := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	const required = `{"error":{"code":401,"message":"Authorization required"}}`
	const incorrect = `{"error":{"code":401,"message":"Incorrect username or password"}}`
	for _, tt := range []struct {
		path, header string
		status       int
		body         string
	}{
		{"/", "", 200, ""},
		{"/v1", "", 200, ""},
		{"/v1/lookup?addresses=" + macA, "", 404, ""}, // 1.1 does not know it; nobody asked for a password
		{"/v1/nodes", "", 401, required},
		{"/nodes/", "", 401, required},
		{"/billet/v1/nodes/rack1-u7/progress", "", 401, required},
		{"/billet/v1/nodes/rack1-u7/why", "", 401, required},
		{"/v1/nowhere", "", 401, required},
		{"/v1/nodes", basic("ada:open sesame"), 200, ""},
		{"/v1/nodes", basic("ada:open sesame"), 200, ""}, // remembered
		{"/v1/nodes", "basic " + basic("ada:open sesame")[6:], 200, ""},
		{"/v1/nodes", basic("ada:wrong"), 401, incorrect},
		{"/v1/nodes", basic("ada:"), 401, incorrect},
		{"/v1/nodes", basic("eve:open sesame"), 401, incorrect},
		{"/v1/nodes", basic("ada"), 400, `{"error":{"code":400,"message":"The Authorization header is not base64 of name:password"}}`},
		{"/v1/nodes", "Basic !!!", 400, `{"error":{"code":400,"message":"The Authorization header is not base64 of name:password"}}`},
		{"/v1/nodes", "Bearer x", 400, `{"error":{"code":400,"message":"Unsupported authorization type: only Basic is served here"}}`},
	} {
		r := httptest.NewRequest("GET", tt.path, nil)
		if tt.header != "" {
			r.Header.Set("Authorization", tt.header)
		}
		rec := httptest.NewRecorder()
		a.Handler().ServeHTTP(rec, r)
		if rec.Code != tt.status || tt.body != "" && rec.Body.String() != tt.body {
			t.Errorf("%s %q: %d %s", tt.path, tt.header, rec.Code, rec.Body)
		}
		if got := rec.Header().Get("WWW-Authenticate"); (got == `Basic realm="Baremetal API"`) != (tt.status == 401) {
			t.Errorf("%s %q: WWW-Authenticate %q", tt.path, tt.header, got)
		}
	}
	if resp, _ := send(a.MachineHandler(), "1.62", "GET", "/v1/lookup?addresses="+macA, ""); resp.StatusCode != 200 {
		t.Errorf("a machine was asked for a password: %d", resp.StatusCode)
	}
}

func TestBadHTPasswdFiles(t *testing.T) {
	hash := hashOf(t, "secret", 4)
	whole := "ada:" + hash
	for _, tt := range []struct{ text, want string }{
		{"", " names no user"},
		{"# nobody\n", " names no user"},
		{"ada\n", " line 1: expected name:hash with a bcrypt hash, as `htpasswd -B` writes it"},
		{"\nada:{SHA}c2VjcmV0\n", " line 2: expected name:hash with a bcrypt hash, as `htpasswd -B` writes it"},
		{":$2y$05$abc\n", " line 1: expected name:hash with a bcrypt hash, as `htpasswd -B` writes it"},
		{whole + "\n" + "eve:" + hash[:59] + "\n",
			` line 2: the hash of "eve" is not whole: a bcrypt hash has 60 characters, of . / A-Z a-z 0-9 after the cost, and this one has 59`},
		{"eve:" + hash[:20], ` line 1: the hash of "eve" is not whole: a bcrypt hash has 60 characters, ` +
			`of . / A-Z a-z 0-9 after the cost, and this one has 20`},
		{whole + "x\n", ` line 1: the hash of "ada" is not whole: a bcrypt hash has 60 characters, ` +
			`of . / A-Z a-z 0-9 after the cost, and this one has 61`},
		{whole + "\n" + whole + "\n", ` line 2: the user "ada" has a line before; one of the two must go`},
		{"eve:" + strings.Replace(hash, "$04$", "$20$", 1),
			` line 1: the hash of "eve" has a cost of 20, with which a login takes too long; at most 16 is taken`},
		{"\xff\xfea\x00", " line 1: the file is UTF-16 or binary; save it as plain UTF-8 text"},
		{whole + "\n\xe9ve:" + hash + "\n", " line 2: it is not UTF-8 text"},
	} {
		file := writeHTPasswd(t, tt.text)
		_, _, err := readUsers(file)
		if err == nil || strings.TrimPrefix(err.Error(), file) != tt.want {
			t.Errorf("%q: %v, want %s", tt.text, err, tt.want)
		}
	}
}

func hashOf(t *testing.T, password string, cost int) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

// What is odd in a file that can be used is said at start, by line and name, without a hash; and it is used.
func TestOddHTPasswdFiles(t *testing.T) {
	hash := hashOf(t, "open sesame", 4)
	var log bytes.Buffer
	w := newWorld()
	file := writeHTPasswd(t, "\xef\xbb\xbfada:"+hash+"\r\n# "+hash+"\r\nbob:"+hashOf(t, "x", 10)+"\r\n")
	a, err := New(Config{Conductor: w, Reader: w, Templates: w, Auth: "http_basic", HTPasswdFile: file,
		Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.login(t.Context(), "127.0.0.1", "ada", "open sesame"); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"line 1: a byte-order mark", `line 1: the hash of \"ada\" has a cost of 4`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, &log)
		}
	}
	if strings.Contains(log.String(), hash) || strings.Contains(log.String(), "bob") {
		t.Errorf("the log has too much:\n%s", &log)
	}
}

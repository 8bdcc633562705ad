package api

import (
	"encoding/base64"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/billet-metal/billet/door"
)

// newLoginAPI is an API for the people of an htpasswd file.
func newLoginAPI(t *testing.T, w *world, people string) *API {
	t.Helper()
	file := filepath.Join(t.TempDir(), "htpasswd")
	if err := os.WriteFile(file, []byte(people), 0o600); err != nil {
		t.Fatal(err)
	}
	basic, _, err := door.ReadBasic(file)
	if err != nil {
		t.Fatal(err)
	}
	pages, err := door.NewPages(door.PagesConfig{Login: true})
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(Config{Conductor: conductorOf(w), Reader: w, Kinds: w.kinds(), Auth: basic, Pages: pages})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestHTTPBasic(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("open sesame"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld()
	a := newLoginAPI(t, w, "# people\n\nada:"+string(hash)+"\n")
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

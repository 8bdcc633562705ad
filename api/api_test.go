package api

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/door"
)

// server is an API under test with the world behind it.
type server struct {
	*world
	api *API
}

func newServer(t testing.TB) *server {
	t.Helper()
	w := newWorld()
	a, err := New(Config{Conductor: conductorOf(w), Reader: w, Kinds: w.kinds(), Pages: pagesOf(t, endpoint), Host: "conductor-1",
		PublicEndpoint: endpoint + "/", Clock: func() time.Time { return epoch.Add(2 * time.Minute) }})
	if err != nil {
		t.Fatal(err)
	}
	return &server{w, a}
}

// ask sends a request at a version ("" sends no header) and returns the answer and its body.
func (s *server) ask(version, method, path, body string) (*http.Response, string) {
	return send(s.api.Handler(), version, method, path, body)
}

func send(h http.Handler, version, method, path, body string) (*http.Response, string) {
	r := httptest.NewRequest(method, "http://127.0.0.1:6385"+path, strings.NewReader(body))
	if version != "" {
		r.Header.Set("X-OpenStack-Ironic-API-Version", version)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	b, _ := io.ReadAll(rec.Result().Body)
	return rec.Result(), string(b)
}

// faultstring decodes the double encoding of an error.
func faultstring(t testing.TB, body string) string {
	t.Helper()
	var outer struct {
		Message string `json:"error_message"`
	}
	var inner struct {
		FaultString string `json:"faultstring"`
		Description string `json:"description"`
	}
	if err := json.Unmarshal([]byte(body), &outer); err != nil || outer.Message == "" {
		t.Fatalf("no error_message in %s", body)
	}
	if err := json.Unmarshal([]byte(outer.Message), &inner); err != nil {
		t.Fatalf("error_message is not JSON: %s", outer.Message)
	}
	return inner.FaultString + inner.Description
}

func pretty(body string) string {
	var b bytes.Buffer
	if json.Indent(&b, []byte(body), "", "  ") != nil {
		return body
	}
	return b.String() + "\n"
}

func field(t testing.TB, body string, path ...string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("not JSON: %s", body)
	}
	for _, p := range path {
		m, ok := v.(map[string]any)
		if !ok {
			t.Fatalf("no %v in %s", path, body)
		}
		v = m[p]
	}
	return v
}

// endpoint is the public one that the answers of the tests name.
const endpoint = "http://metal.example:6385"

// pagesOf guards an API where nobody logs in.
func pagesOf(t testing.TB, public string) *door.Pages {
	t.Helper()
	p, err := door.NewPages(door.PagesConfig{PublicEndpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Whatever part is left out, New says which.
func TestNewSaysWhichPartIsMissing(t *testing.T) {
	w := newWorld()
	cfg := Config{Conductor: conductorOf(w), Reader: w, Kinds: w.kinds(), Pages: pagesOf(t, "")}
	for _, parts := range []any{&cfg, &cfg.Conductor, &cfg.Kinds} {
		v := reflect.ValueOf(parts).Elem()
		for i := range v.NumField() {
			name, field := v.Type().Field(i).Name, v.Field(i)
			if field.IsZero() || field.Kind() == reflect.Struct {
				continue
			}
			whole := reflect.New(field.Type()).Elem()
			whole.Set(field)
			field.SetZero()
			want := "api: " + v.Type().Name() + "." + name + " is not set"
			if _, err := New(cfg); err == nil || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
			field.Set(whole)
		}
	}
	if _, err := New(cfg); err != nil {
		t.Error(err)
	}
}

func TestNewSaysWhichSettingIsWrong(t *testing.T) {
	w := newWorld()
	for _, tt := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "api: Config.Reader is not set"},
		{Config{Conductor: conductorOf(w), Reader: w, Kinds: w.kinds(), Pages: pagesOf(t, ""), PublicEndpoint: "metal.example"},
			`api: the public endpoint "metal.example" is not an http or https URL`},
	} {
		if _, err := New(tt.cfg); err == nil || err.Error() != tt.want {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}

func TestPathForms(t *testing.T) {
	s := newServer(t)
	for _, tt := range []struct {
		version, method, path string
		status                int
	}{
		{"1.90", "GET", "/v1/nodes/" + nodeA, 200},
		{"1.90", "GET", "/nodes/" + nodeA, 200},
		{"1.90", "GET", "/v1/nodes/" + nodeA + "/", 200},
		{"1.90", "GET", "/v1//nodes/" + nodeA, 200},
		{"1.90", "GET", "/v1/nodes/" + nodeA + ".json", 200},
		{"1.91", "GET", "/v1/nodes/" + nodeA + ".json", 404},
		{"1.90", "GET", "/v1/nodes.json", 200},
		{"1.90", "HEAD", "/v1/nodes", 200},
		{"1.90", "GET", "/v1/nodes/RACK1-u7", 404},
		{"1.90", "GET", "/v1/nodes/" + strings.ToUpper(nodeA), 200},
		{"1.4", "GET", "/v1/nodes/rack1-u7", 404},
		{"1.5", "GET", "/v1/nodes/rack1-u7", 200},
		{"1.90", "GET", "/v1/nodes/" + nodeA + "/detail", 404},
		{"1.90", "GET", "/v2", 404},
		{"1.1", "GET", "/v1/chassis", 200},
		{"1.90", "GET", "/v1/nodes/..%2f..%2fetc", 404},
		{"1.90", "POST", "/v1", 405},
		{"1.90", "PUT", "/v1/nodes", 405},
		{"1.90", "DELETE", "/v1/nodes", 405},
	} {
		if resp, body := s.ask(tt.version, tt.method, tt.path, ""); resp.StatusCode != tt.status {
			t.Errorf("%s %s at %s: %d, want %d: %s", tt.method, tt.path, tt.version, resp.StatusCode, tt.status, body)
		}
	}
}

func TestMachineDoorOpensNothingElse(t *testing.T) {
	s := newServer(t)
	open := map[string]bool{
		"GET /": true, "GET /v1": true, "GET /v1/lookup": true, "POST /v1/heartbeat/" + nodeA: true,
		"POST /v1/continue_inspection": true, "POST /billet/v1/progress/" + nodeA: true, "POST /billet/v1/log/" + nodeA: true,
		"POST /v1/nodes/" + nodeA + "/vendor_passthru/pass_deploy_info":             true,
		"POST /v1/nodes/" + nodeA + "/vendor_passthru/pass_bootloader_install_info": true,
		"POST /v1/nodes/" + nodeA + "/vendor_passthru/heartbeat":                    true,
		"POST /v1/drivers/ipmi/vendor_passthru/lookup":                              true,
	}
	for _, rt := range s.api.routes() {
		method, path, _ := strings.Cut(rt.pattern, " ")
		path = strings.NewReplacer("{$}", "", "{ident}", nodeA, "{name}", "ipmi", "{trait}", "CUSTOM_A", "{vif}", "x", "{event}",
			"x").Replace(path)
		resp, _ := send(s.api.MachineHandler(), "1.115", method, path, "")
		if got := resp.StatusCode != http.StatusNotFound; got != open[method+" "+path] {
			t.Errorf("%s %s on the machine door: %d", method, path, resp.StatusCode)
		}
		delete(open, method+" "+path)
	}
	if len(open) > 0 {
		t.Errorf("the table has no %v", open)
	}
}

func TestRequestIDs(t *testing.T) {
	s := newServer(t)
	resp, _ := s.ask("", "GET", "/v1/nowhere", "")
	id := resp.Header.Get("openstack-request-id")
	if !requestID.MatchString(id) || resp.Header.Get("x-openstack-request-id") != id {
		t.Errorf("headers %v", resp.Header)
	}
	again, _ := s.ask("", "GET", "/", "")
	if again.Header.Get("openstack-request-id") == id {
		t.Error("two requests got one id")
	}
}

func TestLinksFollowTheClientsHost(t *testing.T) {
	w := newWorld()
	a, err := New(Config{Conductor: conductorOf(w), Reader: w, Kinds: w.kinds(), Pages: pagesOf(t, "")})
	if err != nil {
		t.Fatal(err)
	}
	_, body := send(a.Handler(), "1.1", "GET", "/", "")
	if !strings.Contains(body, `"href":"http://127.0.0.1:6385/v1/"`) {
		t.Errorf("links are %s", body)
	}
}

func TestBodyLimits(t *testing.T) {
	s := newServer(t)
	for _, tt := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", "/v1/nodes", `{"extra":"` + strings.Repeat("x", 1<<20) + `"}`, 413,
			`{"faultcode":"Client","faultstring":"The request body is larger than the 1048576 bytes allowed here."}`},
		{"POST", "/v1/nodes", strings.Repeat(`{"a":`, 26) + "1" + strings.Repeat("}", 26), 400,
			`{"faultcode":"Client","faultstring":"The JSON body nests deeper than the 25 levels allowed."}`},
		{"POST", "/v1/nodes", strings.Repeat("[", 1<<19), 400,
			`{"faultcode":"Client","faultstring":"The JSON body nests deeper than the 25 levels allowed."}`},
	} {
		if resp, body := s.ask("1.90", tt.method, tt.path, tt.body); resp.StatusCode != tt.status || body != tt.want {
			t.Errorf("%d %s, want %d %s", resp.StatusCode, body, tt.status, tt.want)
		}
	}
	deep := `{"driver":"ipmi","extra":` + strings.Repeat(`{"a":`, 24) + `"[[[[{{{{\"[["` + strings.Repeat("}", 24) + "}"
	if resp, body := s.ask("1.90", "POST", "/v1/nodes", deep); resp.StatusCode != 201 {
		t.Errorf("25 levels: %d %s", resp.StatusCode, body)
	}
}

func TestAPanicIsA500WithoutItsText(t *testing.T) {
	s := newServer(t)
	s.nodes[0] = nil
	resp, body := s.ask("1.90", "GET", "/v1/nodes", "")
	if resp.StatusCode != 500 || !strings.HasPrefix(faultstring(t, body), "The service could not handle the request") ||
		strings.Contains(body, "nil pointer") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

package api

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/billet-metal/billet/door"
	"github.com/billet-metal/billet/node"
)

// concrete gives every route of the table as a request: its method and a path that could be real.
func concrete(a *API) [][2]string {
	var out [][2]string
	for _, rt := range a.routes() {
		method, path, _ := strings.Cut(rt.pattern, " ")
		out = append(out, [2]string{method, strings.NewReplacer("{$}", "", "{ident}", nodeA, "{name}", "ipmi", "{trait}", "CUSTOM_A", "{vif}",
			"v", "{event}", "e").Replace(path)})
	}
	return out
}

// openToAll are the calls that need no password: what a machine in a ramdisk asks, and the two documents that say which
// versions there are.
func openToAll(method, path string) bool {
	return path == "/" || path == "/v1" || path == "/v1/lookup" || path == "/v1/continue_inspection" ||
		strings.HasPrefix(path, "/v1/heartbeat/") ||
		strings.HasPrefix(path, "/billet/v1/progress/") || strings.HasPrefix(path, "/billet/v1/log/") ||
		method == "POST" && strings.Contains(path, "/vendor_passthru/")
}

// With a password file, every route but the machines' asks for a password, before it says anything of versions, paths or
// bodies, and nobody is told which nodes exist.
func TestWhichRoutesNeedAPassword(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld()
	a := newLoginAPI(t, w, "ada:"+string(hash)+"\n")
	const required = `{"error":{"code":401,"message":"Authorization required"}}`
	ask := func(method, path, version, user string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "http://127.0.0.1"+path, strings.NewReader("{not even JSON"))
		r.Header.Set("X-OpenStack-Ironic-API-Version", version)
		if user != "" {
			r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user)))
		}
		rec := httptest.NewRecorder()
		a.Handler().ServeHTTP(rec, r)
		return rec
	}
	for _, rt := range concrete(a) {
		method, path := rt[0], rt[1]
		w.calls = nil
		for _, version := range []string{"1.115", "1.1", "9.9", "junk"} {
			rec := ask(method, path, version, "")
			if open := openToAll(method, path); open == (rec.Code == 401) || !open && rec.Body.String() != required {
				t.Errorf("%s %s at %s without a password: %d %s", method, path, version, rec.Code, rec.Body)
			}
			if rec.Header().Get(versionHeader) == "" || rec.Header().Get("Openstack-Request-Id") == "" {
				t.Errorf("%s %s: a refusal without versions and a request id: %v", method, path, rec.Header())
			}
		}
		if rec := ask(method, path, "1.115", "ada:wrong"); !openToAll(method, path) && rec.Code != 401 {
			t.Errorf("%s %s: a wrong password got %d", method, path, rec.Code)
		}
		if len(w.calls) > 0 {
			t.Errorf("%s %s: a stranger made the conductor do %v", method, path, w.calls)
		}
		if rec := ask(method, path, "1.115", "ada:right"); rec.Code == 401 {
			t.Errorf("%s %s: the right password was refused", method, path)
		}
	}
	// What is not there looks like what is, to a stranger.
	w.calls = nil
	for _, path := range []string{"/v1/nodes/nobody", "/v1/nowhere", "/etc/passwd", "/v1/nodes/" + nodeA + "/states/nothing",
		"/v1/nodes/../../x"} {
		for _, method := range []string{"GET", "PUT", "TRACE"} {
			if rec := ask(method, path, "1.115", ""); rec.Code != 401 || rec.Body.String() != required {
				t.Errorf("%s %s: %d %s", method, path, rec.Code, rec.Body)
			}
		}
	}
	if len(w.calls) > 0 {
		t.Errorf("strangers made the conductor do %v", w.calls)
	}
}

// Methods that a path does not have are a 405 that names those it has; what is no path is a 404. Both come in Ironic's form.
func TestMethodsThatAPathDoesNotHave(t *testing.T) {
	s := newServer(t)
	allowed := map[string][]string{}
	for _, rt := range concrete(s.api) {
		allowed[rt[1]] = append(allowed[rt[1]], rt[0])
	}
	// A path that a name could stand in takes that pattern's methods too.
	for _, path := range []string{"/v1/nodes/detail", "/v1/nodes/validate"} {
		allowed[path] = append(allowed[path], "PATCH", "DELETE")
	}
	for _, path := range []string{"/v1/ports/detail", "/v1/portgroups/detail", "/v1/chassis/detail"} {
		allowed[path] = append(allowed[path], "PATCH", "DELETE")
	}
	for path, methods := range allowed {
		if slices.Contains(methods, "GET") {
			methods = append(methods, "HEAD")
		}
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} {
			if slices.Contains(methods, method) {
				continue
			}
			resp, body := s.ask("1.115", method, path, "")
			want := `{"error_message":"{\"code\":405,\"title\":\"Method Not Allowed\",\"description\":\"\"}"}`
			if resp.StatusCode != 405 || body != want {
				t.Errorf("%s %s: %d %s", method, path, resp.StatusCode, body)
			}
			got := strings.Split(resp.Header.Get("Allow"), ", ")
			slices.Sort(got)
			slices.Sort(methods)
			if got, want := slices.Compact(got), slices.Compact(slices.Clone(methods)); !slices.Equal(got, want) {
				t.Errorf("%s %s: Allow %v, want %v", method, path, got, want)
			}
		}
	}
	for _, path := range []string{"/v2", "/v1/x", "/v1/nodes/a/b", "/v1/nodes/a/states/x", "/v1/chassis/a/b", "/v1/runbooks", "/v1/volume/x",
		"/v1/portgroups/a/vifs", "/v1/nodes/a/detail", "/billet/v1", "/billet", "/index.html"} {
		for _, method := range []string{"GET", "POST", "DELETE"} {
			resp, body := s.ask("1.115", method, path, "")
			if resp.StatusCode != 404 || body != `{"error_message":"{\"code\":404,\"title\":\"Not Found\",\"description\":\"\"}"}` ||
				resp.Header.Get("Allow") != "" {
				t.Errorf("%s %s: %d %s %s", method, path, resp.StatusCode, body, resp.Header.Get("Allow"))
			}
		}
	}
	if len(s.calls) > 0 {
		t.Errorf("asked for %v", s.calls)
	}
}

// takesBody are the routes whose body is read, by their pattern, with what a body of a wrong kind answers.
var takesBody = map[string]string{
	"POST /v1/nodes":                                                            "object",
	"PATCH /v1/nodes/{ident}":                                                   "patch",
	"PUT /v1/nodes/{ident}/states/power":                                        "object",
	"PUT /v1/nodes/{ident}/states/provision":                                    "object",
	"PUT /v1/nodes/{ident}/management/boot_device":                              "object",
	"PUT /v1/nodes/{ident}/states/boot_mode":                                    "object",
	"PUT /v1/nodes/{ident}/states/secure_boot":                                  "object",
	"PUT /v1/nodes/{ident}/states/raid":                                         "object",
	"PUT /v1/nodes/{ident}/states/console":                                      "object",
	"PUT /v1/nodes/{ident}/management/inject_nmi":                               "object",
	"PUT /v1/nodes/{ident}/management/indicators/{indicator}":                   "object",
	"POST /v1/nodes/{ident}/vmedia":                                             "object",
	"PUT /v1/nodes/{ident}/maintenance":                                         "object",
	"PUT /v1/nodes/{ident}/traits":                                              "object",
	"PUT /v1/nodes/{ident}/traits/{trait}":                                      "none",
	"POST /v1/nodes/{ident}/vifs":                                               "object",
	"POST /v1/events":                                                           "object",
	"POST /v1/ports":                                                            "object",
	"PATCH /v1/ports/{ident}":                                                   "patch",
	"POST /v1/portgroups":                                                       "object",
	"PATCH /v1/portgroups/{ident}":                                              "patch",
	"POST /v1/chassis":                                                          "object",
	"PATCH /v1/chassis/{uuid}":                                                  "patch",
	"POST /v1/allocations":                                                      "object",
	"PATCH /v1/allocations/{ident}":                                             "patch",
	"POST /v1/volume/connectors":                                                "object",
	"PATCH /v1/volume/connectors/{uuid}":                                        "patch",
	"POST /v1/volume/targets":                                                   "object",
	"PATCH /v1/volume/targets/{uuid}":                                           "patch",
	"POST /v1/deploy_templates":                                                 "object",
	"PATCH /v1/deploy_templates/{ident}":                                        "patch",
	"POST /v1/inspection_rules":                                                 "object",
	"PATCH /v1/inspection_rules/{uuid}":                                         "patch",
	"POST /v1/heartbeat/{ident}":                                                "object",
	"POST /v1/continue_inspection":                                              "object",
	"POST /v1/nodes/{ident}/vendor_passthru/pass_deploy_info":                   "object",
	"POST /v1/nodes/{ident}/vendor_passthru/pass_bootloader_install_info":       "object",
	"POST /v1/nodes/{ident}/vendor_passthru/heartbeat":                          "object",
	"POST /v1/drivers/{name}/vendor_passthru/lookup":                            "object",
	"POST /billet/v1/progress/{ident}":                                          "progress",
	"POST /billet/v1/log/{ident}":                                               "log",
	"DELETE /v1/nodes/{ident}, and everything else that deletes, reads no body": "",
}

// Bodies that are no JSON, of another kind, too deep or too large: each route that takes one says which it is, in one way, and
// asks nobody for anything.
func TestBrokenBodiesOfEveryRoute(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 26) + "1" + strings.Repeat("}", 26)
	const tooDeepText = `{"faultcode":"Client","faultstring":"The JSON body nests deeper than the 25 levels allowed."}`
	const patchText = `A PATCH needs a JSON list of operations, each an object with "op", "path" and, for add and replace, "value".`
	for _, rt := range newServer(t).api.routes() {
		method, path, _ := strings.Cut(rt.pattern, " ")
		kind := takesBody[rt.pattern]
		if method == "GET" || method == "DELETE" {
			continue
		}
		if kind == "" {
			t.Errorf("what body does %s take?", rt.pattern)
			continue
		}
		path = strings.NewReplacer("{ident}", nodeA, "{name}", "ipmi", "{trait}", "CUSTOM_A", "{uuid}", ruleA).Replace(path)
		if strings.HasPrefix(path, "/v1/deploy_templates/") {
			path = "/v1/deploy_templates/" + templateA
		}
		if strings.HasPrefix(path, "/v1/ports/") {
			path = "/v1/ports/" + portA
		}
		for _, tt := range []struct{ body, object string }{
			{"{", "The body is not valid JSON: unexpected EOF."},
			{`{"a" 1}`, "The body is not valid JSON: invalid character '1' after object key."},
			{"{}{}", "The body is not valid JSON: there is something after the JSON value."},
			{"[]", "The body must be a JSON object, not a list."},
			{`"text"`, "The body must be a JSON object, not a string."},
			{"7", "The body must be a JSON object, not a number."},
			{"false", "The body must be a JSON object, not a boolean."},
		} {
			s := newServer(t)
			resp, body := s.ask("1.115", method, path, tt.body)
			want := tt.object
			switch {
			case kind == "patch" && tt.body == "[]": // the one that is right
				continue
			case kind == "patch":
				want = patchText
			case kind == "none":
				want = "No body should be provided when adding a trait."
			case kind == "progress":
				if got := faultstring(t, body); resp.StatusCode != 400 || !strings.HasPrefix(got, "The body is not a progress report: ") &&
					got != `A progress report needs "step", and "done" and "total" of at least 0.` {
					t.Errorf("%s %s: %d %s", rt.pattern, tt.body, resp.StatusCode, body)
				}
				continue
			case kind == "log":
				if got := faultstring(t, body); !strings.HasPrefix(got, "The body is not an agent's log lines: ") || resp.StatusCode != 400 ||
					len(s.calls) > 0 {
					t.Errorf("%s %s: %d %s", rt.pattern, tt.body, resp.StatusCode, body)
				}
				continue
			}
			if resp.StatusCode != 400 || faultstring(t, body) != want || len(s.calls) > 0 {
				t.Errorf("%s %s: %d %s, asked for %v", rt.pattern, tt.body, resp.StatusCode, body, s.calls)
			}
		}
		s := newServer(t)
		if resp, body := s.ask("1.115", method, path, deep); resp.StatusCode != 400 || body != tooDeepText || len(s.calls) > 0 {
			t.Errorf("%s with 26 levels: %d %s", rt.pattern, resp.StatusCode, body)
		}
		limit := map[string]int64{"PUT /v1/nodes/{ident}/states/provision": 64 << 20, "POST /v1/continue_inspection": 16 << 20}[rt.pattern]
		switch {
		case limit == 0 && rt.access == ramdisk:
			limit = 512 << 10
		case limit == 0:
			limit = 1 << 20
		}
		for _, length := range []int64{limit + 1, 1 << 40} { // the length alone says it; nothing is read
			r := httptest.NewRequest(method, "http://127.0.0.1"+path, errReader{t})
			r.ContentLength = length
			r.Header.Set("X-OpenStack-Ironic-API-Version", "1.115")
			rec := httptest.NewRecorder()
			s.api.Handler().ServeHTTP(rec, r)
			want := fmt.Sprintf(`{"faultcode":"Client","faultstring":"The request body is larger than the %d bytes allowed here."}`, limit)
			if rec.Code != 413 || rec.Body.String() != want {
				t.Errorf("%s with %d bytes: %d %s", rt.pattern, length, rec.Code, rec.Body)
			}
		}
	}
}

// errReader is a body that must not be read.
type errReader struct{ t *testing.T }

func (r errReader) Read([]byte) (int, error) {
	r.t.Error("a body that is too long was read")
	return 0, io.EOF
}

// A client that sends no length is cut off at the limit; one that breaks off is told so.
func TestBodiesWithoutALength(t *testing.T) {
	s := newServer(t)
	post := func(body io.Reader) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", "http://127.0.0.1/v1/nodes", body)
		r.ContentLength = -1
		r.Header.Set("X-OpenStack-Ironic-API-Version", "1.115")
		rec := httptest.NewRecorder()
		s.api.Handler().ServeHTTP(rec, r)
		return rec
	}
	if rec := post(io.LimitReader(endless{}, 2<<20)); rec.Code != 413 ||
		!strings.Contains(rec.Body.String(), "larger than the 1048576 bytes") {
		t.Errorf("endless: %d %s", rec.Code, rec.Body)
	}
	if rec := post(io.MultiReader(strings.NewReader(`{"driver":`), brokenOff{})); rec.Code != 400 ||
		faultstring(t, rec.Body.String()) != "The request body could not be read." {
		t.Errorf("broken off: %d %s", rec.Code, rec.Body)
	}
	if rec := post(strings.NewReader(`{"driver":"ipmi"}` + strings.Repeat(" ", 1<<20-17))); rec.Code != 201 {
		t.Errorf("exactly the limit: %d %s", rec.Code, rec.Body)
	}
	if len(s.nodes) != 3 {
		t.Errorf("%d nodes", len(s.nodes))
	}
}

// A client that sends the whole of a body before it listens gets to read why the body is refused, by whichever check.
func TestARefusedBodyIsReadToItsEnd(t *testing.T) {
	s := newServer(t)
	srv := httptest.NewServer(s.api.Handler())
	defer srv.Close()
	for _, tt := range []struct {
		method, path, version string
		size, status          int
	}{
		{"PUT", "/v1/nodes/" + nodeA + "/states/provision", "1.115", maxProvisionBody + 1<<20, 413},
		{"POST", "/v1/continue_inspection", "1.115", maxInspectionBody + 8<<20, 413},
		{"POST", "/v1/nodes", "1.115", 20 << 20, 413},
		{"POST", "/v1/nodes", "9.9", 20 << 20, 406},
		{"POST", "/v1/nothing", "1.115", 20 << 20, 404},
		{"DELETE", "/v1/nodes", "1.115", 20 << 20, 405},
	} {
		for _, chunked := range []bool{false, true} {
			conn, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nX-OpenStack-Ironic-API-Version: %s\r\n", tt.method, tt.path, tt.version)
			if chunked {
				head += fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", tt.size)
			} else {
				head += fmt.Sprintf("Content-Length: %d\r\n\r\n", tt.size)
			}
			_, err = io.WriteString(conn, head)
			if err == nil {
				_, err = io.CopyN(conn, endless{}, int64(tt.size))
			}
			if err == nil && chunked {
				_, err = io.WriteString(conn, "\r\n0\r\n\r\n")
			}
			if err != nil {
				t.Errorf("%v, chunked %t: sending: %v", tt, chunked, err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || resp.StatusCode != tt.status {
				t.Errorf("%v, chunked %t: answered %v, %v", tt, chunked, resp, err)
			}
			conn.Close()
		}
	}
	// Whoever asks first is told without sending anything.
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v1/nodes HTTP/1.1\r\nHost: localhost\r\nX-OpenStack-Ironic-API-Version: 1.115\r\n"+
		"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n", 20<<20)
	began := time.Now()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != 413 || time.Since(began) > door.DrainTime/2 {
		t.Errorf("after %s: %v, %v", time.Since(began), resp, err)
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

type brokenOff struct{}

func (brokenOff) Read([]byte) (int, error) { return 0, errors.New("connection reset by peer") }

// The headers that carry a version, in the forms clients and proxies send them.
func TestVersionHeadersInTheWild(t *testing.T) {
	type header struct{ name, value string }
	const own, standard = "X-OpenStack-Ironic-API-Version", "OpenStack-API-Version"
	for _, tt := range []struct {
		headers []header
		status  int
		version string // of the answer
	}{
		{[]header{{own, " 1.50 "}}, 200, "1.50"},
		{[]header{{"x-openstack-ironic-api-version", "1.50"}}, 200, "1.50"},
		{[]header{{own, ""}}, 200, "1.1"},
		{[]header{{standard, "baremetal 1.50"}}, 200, "1.50"},
		{[]header{{standard, "baremetal   1.50"}}, 200, "1.50"},
		{[]header{{standard, "compute 2.1,baremetal 1.50"}}, 200, "1.50"},
		{[]header{{standard, "compute 2.1"}, {standard, "baremetal 1.50"}}, 200, "1.50"}, // two lines are one list
		{[]header{{standard, "baremetal latest"}, {own, "1.20"}}, 200, "1.115"},
		{[]header{{standard, "baremetal"}, {own, "1.20"}}, 200, "1.20"}, // names no version
		{[]header{{standard, "1.50"}}, 200, "1.1"},
		{[]header{{standard, "baremetals 1.50"}}, 200, "1.1"},
		{[]header{{own, "1.115"}}, 200, "1.115"},
		{[]header{{own, "1.1150"}}, 406, ""},
		{[]header{{own, "1.115.0"}}, 406, ""},
		{[]header{{own, "1,50"}}, 406, ""},
		{[]header{{own, "1.-1"}}, 406, ""},
		{[]header{{own, "-1.50"}}, 406, ""},
		{[]header{{own, "0.50"}}, 406, ""},
		{[]header{{own, "1."}}, 406, ""},
		{[]header{{own, ".50"}}, 406, ""},
		{[]header{{own, "1.99999999999999999999"}}, 406, ""},
		{[]header{{own, "1.5\x000"}}, 406, ""},
		{[]header{{standard, "baremetal 1.0"}, {own, "1.50"}}, 406, ""},
	} {
		r := httptest.NewRequest("GET", "http://127.0.0.1/v1/nodes", nil)
		for _, h := range tt.headers {
			r.Header.Add(h.name, h.value)
		}
		rec := httptest.NewRecorder()
		newServer(t).api.Handler().ServeHTTP(rec, r)
		got := rec.Header()
		if rec.Code != tt.status || tt.status == 200 && got.Get(versionHeader) != tt.version {
			t.Errorf("%v: %d at %s", tt.headers, rec.Code, got.Get(versionHeader))
		}
		if got.Get(minVersionHeader) != "1.1" || got.Get(maxVersionHeader) != "1.115" {
			t.Errorf("%v: no range in %v", tt.headers, got)
		}
		if tt.status != 406 {
			continue
		}
		var outer map[string]string
		var inner framework
		if json.Unmarshal(rec.Body.Bytes(), &outer) != nil || json.Unmarshal([]byte(outer["error_message"]), &inner) != nil ||
			inner.Code != 406 || inner.Title != "Not Acceptable" || inner.Description == "" {
			t.Errorf("%v: %s", tt.headers, rec.Body)
		}
	}
}

// What goes wrong inside is in the log under the id that the client got, and not in the answer; what the client did wrong is
// not in the log. A client's own request id is noted beside ours.
func TestTheLogAndTheAnswerShareAnID(t *testing.T) {
	var log bytes.Buffer
	w := newWorld()
	a, err := New(Config{Conductor: conductorOf(w), Reader: w, Kinds: w.kinds(), Pages: pagesOf(t, ""),
		Log: slog.New(slog.NewJSONHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	const global = "req-11111111-2222-3333-4444-555555555555"
	for _, tt := range []struct {
		fail   error
		status int
		logged bool
	}{
		{errors.New("disk full: " + bmcSecret), 500, true},
		{node.Errorf(node.Unavailable, "all workers are busy"), 503, true},
		{node.Errorf(node.Conflict, "locked"), 409, false},
		{node.Errorf(node.Invalid, "no"), 400, false},
	} {
		log.Reset()
		w.fail = tt.fail
		r := httptest.NewRequest("PUT", "http://127.0.0.1/v1/nodes/rack1-u7/maintenance", nil)
		r.Header.Set("X-OpenStack-Ironic-API-Version", "1.115")
		r.Header.Set("X-OpenStack-Request-Id", global)
		rec := httptest.NewRecorder()
		a.Handler().ServeHTTP(rec, r)
		if rec.Code != tt.status || strings.Contains(rec.Body.String(), bmcSecret) {
			t.Errorf("%v: %d %s", tt.fail, rec.Code, rec.Body)
		}
		if !tt.logged {
			if log.Len() > 0 {
				t.Errorf("%v was logged: %s", tt.fail, log.String())
			}
			continue
		}
		var line struct {
			Request, Method, Path, Level, Error string
			GlobalRequest                       string `json:"global_request"`
		}
		if err := json.Unmarshal(log.Bytes(), &line); err != nil {
			t.Fatalf("%v: logged %q", tt.fail, log.String())
		}
		if line.Request != rec.Header().Get("Openstack-Request-Id") || line.GlobalRequest != global || line.Method != http.MethodPut ||
			line.Path != "/v1/nodes/rack1-u7/maintenance" || line.Level != "ERROR" || line.Error != tt.fail.Error() {
			t.Errorf("%v: logged %+v", tt.fail, line)
		}
	}
}

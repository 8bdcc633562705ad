package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestFaultText(t *testing.T) {
	for _, tt := range []struct{ body, want string }{
		{`{"error_message": "{\"faultcode\": \"Client\", \"faultstring\": \"Node x could not be found.\", \"debuginfo\": null}"}`,
			"Node x could not be found."},
		{`{"error_message": "{\"code\": 404, \"title\": \"Not Found\", \"description\": \"\"}"}`, "Not Found"},
		{`{"error": {"message": "Incorrect username or password", "code": 401}}`, "Incorrect username or password"},
		{`{"error_message": "plain"}`, `{"error_message": "plain"}`},
		{"<html>proxy</html>\n", "<html>proxy</html>"},
		{"", ""},
	} {
		if got := faultText([]byte(tt.body)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.body, got, tt.want)
		}
	}
}

// asked is what a server saw of one request.
type asked struct{ method, path, version, user, password, body string }

// answering is a service that says one thing, and remembers what it was asked.
func answering(t *testing.T, status int, body string) (*client, *asked) {
	t.Helper()
	a := &asked{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		user, password, _ := r.BasicAuth()
		*a = asked{r.Method, r.URL.RequestURI(), r.Header.Get("X-OpenStack-Ironic-API-Version"), user, password, string(b)}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
	t.Cleanup(srv.Close)
	return &client{base: srv.URL, user: "ada", password: "hush", http: http.Client{}}, a
}

func TestClientAsks(t *testing.T) {
	c, a := answering(t, 200, `{"name": "n1"}`)
	var n struct{ Name string }
	if err := c.do(t.Context(), "POST", nodePath("a b/c")+"?x=1", map[string]any{"k": "v"}, &n); err != nil || n.Name != "n1" {
		t.Errorf("%v %v", n, err)
	}
	if want := (asked{"POST", "/v1/nodes/a%20b%2Fc?x=1", clientVersion, "ada", "hush", `{"k":"v"}`}); *a != want {
		t.Errorf("asked %+v, want %+v", *a, want)
	}
}

func TestClientErrors(t *testing.T) {
	for _, tt := range []struct {
		status     int
		body, want string
	}{
		{404, `{"error_message": "{\"faultstring\": \"Node x could not be found.\"}"}`, "Node x could not be found. (HTTP 404)"},
		{401, `{"error": {"message": "Authorization required", "code": 401}}`,
			"Authorization required (HTTP 401; BILLET_USER and BILLET_PASSWORD name who is asking)"},
		{502, "bad gateway", "bad gateway (HTTP 502)"},
		{200, "not JSON", "invalid character"},
		{204, "", ""},
	} {
		c, _ := answering(t, tt.status, tt.body)
		var out map[string]any
		err := c.do(t.Context(), "GET", "/v1/nodes", nil, &out)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%d %s: %v, want %s", tt.status, tt.body, err, tt.want)
		}
	}
	gone := &client{base: "http://127.0.0.1:1"}
	if err := gone.do(t.Context(), "GET", "/", nil, nil); err == nil ||
		!strings.HasSuffix(err.Error(), "(is `billet serve` running there? --api or BILLET_API names it)") {
		t.Error(err)
	}
}

func TestClientFindsTheService(t *testing.T) {
	for _, tt := range []struct{ flag, env, want string }{
		{"", "", "http://127.0.0.1:6385"}, {"", "http://a:1/", "http://a:1"}, {"http://b:2", "http://a:1", "http://b:2"},
	} {
		t.Setenv("BILLET_API", tt.env)
		t.Setenv("BILLET_USER", "ada")
		cmd := &cobra.Command{}
		cmd.Flags().String("api", tt.flag, "")
		if c := newClient(cmd); c.base != tt.want || c.user != "ada" {
			t.Errorf("%+v: %s as %s", tt, c.base, c.user)
		}
	}
}

// A service that asks for a token of Keystone gets one, and the password of BILLET_USER only as long as it has not asked.
func TestClientAnswersKeystone(t *testing.T) {
	var shown []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown = append(shown, r.Header.Get("X-Auth-Token"))
		if b, _ := io.ReadAll(r.Body); string(b) != `{"k":"v"}` {
			t.Errorf("the body is %q", b)
		}
		if r.Header.Get("X-Auth-Token") != "good" {
			w.Header().Set("WWW-Authenticate", `Keystone uri="http://keystone"`)
			w.WriteHeader(401)
			io.WriteString(w, `{"error": {"message": "no entry"}}`)
		}
	}))
	t.Cleanup(srv.Close)
	for _, tt := range []struct{ token, want string }{
		{"good", ""}, {"old", "no entry (HTTP 401; Keystone knows no such token, or it has ended)"},
		{"", "the service wants a token of Keystone: the environment lacks OS_AUTH_URL, OS_USERNAME, OS_PASSWORD, OS_PROJECT_NAME, " +
			"by which the openstack command logs in, too"},
	} {
		for _, name := range strings.Fields("AUTH_URL USERNAME PASSWORD PROJECT_NAME APPLICATION_CREDENTIAL_ID SYSTEM_SCOPE") {
			t.Setenv("OS_"+name, "")
		}
		t.Setenv("OS_TOKEN", tt.token)
		shown = nil
		c := &client{base: srv.URL}
		for range 2 {
			err := c.do(t.Context(), "POST", "/v1/nodes", map[string]any{"k": "v"}, nil)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || err.Error() != tt.want) {
				t.Errorf("%q: %v, want %s", tt.token, err, tt.want)
			}
		}
		if tt.token == "good" && !slices.Equal(shown, []string{"", "good", "good"}) {
			t.Errorf("shown: %q", shown)
		}
	}
}

package api

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/billet-metal/billet/door"
)

// Which requests a page of somebody else may have made, by their host and headers, at each door.
func TestWhoIsTakenForAPage(t *testing.T) {
	w := newWorld()
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	const open, login, machines = "open", "login", "machines"
	doors := map[string]http.Handler{}
	const proxied = "https://metal.example:8443"
	pages, err := door.NewPages(door.PagesConfig{PublicEndpoint: proxied, AllowedHosts: []string{"ironic.svc", "fd00::7"}})
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(Config{Conductor: conductorOf(w), Reader: w, Kinds: w.kinds(), PublicEndpoint: proxied, Pages: pages})
	if err != nil {
		t.Fatal(err)
	}
	doors[open], doors[machines] = a.Handler(), a.MachineHandler()
	doors[login] = newLoginAPI(t, w, "ada:"+string(hash)+"\n").Handler()
	const create, lookup = "POST /v1/nodes", "GET /v1/lookup?addresses=" + macA
	for _, tt := range []struct {
		door, request, host string
		headers             string // "Name: value", separated by "|"
		refused             bool
	}{
		{open, create, "127.0.0.1:6385", "", false}, // curl
		{open, create, "localhost", "Content-Type: text/plain", false},
		{open, create, "LOCALHOST.:6385", "", false},
		{open, create, "[::1]:6385", "", false},
		{open, create, "[::ffff:127.0.0.1]", "", false},
		{open, create, "billet.localhost", "", false},
		{open, create, "192.0.2.7:6385", "", false}, // the address of the connection
		{open, create, "metal.example", "", false},
		{open, create, "ironic.svc:6385", "", false},
		{open, create, "[fd00::7]:6385", "", false},
		{open, create, "metal.example", "Origin: https://metal.example:8443|Sec-Fetch-Site: same-origin", false},
		{open, create, "127.0.0.1:6385", "Origin: https://metal.example:8443", false}, // behind its proxy
		{open, create, "evil.example:6385", "", true},
		{open, "GET /v1/nodes", "evil.example:6385", "", true},
		{open, "GET /", "evil.example", "", true},
		{open, create, "evil.example:6385", "Origin: http://evil.example:6385|Sec-Fetch-Site: same-origin", true},
		{open, create, "192.0.2.8:6385", "", true},
		{open, create, "localhost.evil.example", "", true},
		{open, create, "127.0.0.1.evil.example", "", true},
		{open, create, "127.0.0.1:6385", "Origin: http://evil.example", true},
		{open, create, "127.0.0.1:6385", "Origin: http://127.0.0.1:8080", true}, // another port is another site
		{open, create, "127.0.0.1:6385", "Origin: null", true},
		{open, create, "127.0.0.1:6385", "Sec-Fetch-Site: cross-site", true},
		{open, create, "127.0.0.1:6385", "Sec-Fetch-Site: same-site", true},
		{open, create, "127.0.0.1:6385", "Sec-Fetch-Site: cross-site|Sec-Fetch-Mode: navigate", true}, // a form
		{open, create, "127.0.0.1:6385", "Sec-Fetch-Site: none", false},
		{open, "GET /v1/nodes", "127.0.0.1:6385", "Sec-Fetch-Site: cross-site|Sec-Fetch-Mode: no-cors", true},
		{open, "GET /v1/nodes", "127.0.0.1:6385", "Sec-Fetch-Site: cross-site|Sec-Fetch-Mode: navigate", false}, // a link
		{open, lookup, "127.0.0.1:6385", "", false},
		{open, lookup, "127.0.0.1:6385", "User-Agent: Mozilla/5.0 (X11)", true}, // an image: it would take the token away
		{open, lookup, "127.0.0.1:6385", "Sec-Fetch-Site: cross-site|Sec-Fetch-Mode: navigate", true},
		{login, create, "127.0.0.1", "Sec-Fetch-Site: cross-site", true}, // the browser adds the login it remembers
		{login, create, "127.0.0.1", "Origin: http://evil.example", true},
		{login, create, "any.name.example", "", false},
		{machines, lookup, "10.99.0.1:6386", "User-Agent: iPXE/1.21.1", false},
		{machines, lookup, "10.0.2.2:6386", "", false}, // translated on the way
		{machines, lookup, "", "", false},
		{machines, lookup, "ironic.svc", "", false},
		{machines, lookup, "evil.example", "", true},
		{machines, lookup, "10.99.0.1:6386", "User-Agent: Mozilla/5.0 (X11)", true},
		{machines, "POST /v1/continue_inspection", "10.99.0.1:6386", "Origin: http://evil.example", true},
	} {
		method, path, _ := strings.Cut(tt.request, " ")
		r := httptest.NewRequest(method, "http://x"+path, strings.NewReader(`{"driver":"ipmi"}`))
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey,
			net.Addr(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 6385})))
		r.Host = tt.host
		r.Header.Set("X-OpenStack-Ironic-API-Version", "1.90")
		if tt.door == login {
			r.SetBasicAuth("ada", "secret")
		}
		for h := range strings.SplitSeq(tt.headers, "|") {
			if name, value, ok := strings.Cut(h, ": "); ok {
				r.Header.Set(name, value)
			}
		}
		rec := httptest.NewRecorder()
		nodes := len(w.nodes)
		doors[tt.door].ServeHTTP(rec, r)
		if refused := rec.Code == http.StatusForbidden; refused != tt.refused {
			t.Errorf("%s: %s for %q with %q: %d %s", tt.door, tt.request, tt.host, tt.headers, rec.Code, rec.Body)
		}
		if tt.refused && len(w.nodes) != nodes {
			t.Errorf("%s: %s for %q with %q made a node", tt.door, tt.request, tt.host, tt.headers)
		}
	}
}

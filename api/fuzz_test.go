package api

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Anything a stranger sends gets an answer that is no failure of ours.
func FuzzRequest(f *testing.F) {
	for _, g := range goldens {
		f.Add(g.method, g.path, g.version, g.body)
	}
	f.Add("GET", "/v1/nodes?fields=%00&limit=-9223372036854775808", "1.90", "")
	f.Add("POST", "/v1/continue_inspection", "1.1", `{"inventory":null,"error":{"a":[]}}`)
	f.Add("GET", "/%2e%2e/v1/./nodes//", "baremetal 1.", "")
	f.Fuzz(func(t *testing.T, method, path, version, body string) {
		r, err := http.NewRequest(method, "http://127.0.0.1:6385/"+strings.TrimPrefix(path, "/"), strings.NewReader(body))
		if err != nil {
			return
		}
		r.Header.Set("X-OpenStack-Ironic-API-Version", version)
		s := newServer(t)
		for _, h := range []http.Handler{s.api.Handler(), s.api.MachineHandler()} {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r)
			if rec.Code >= 500 || rec.Header().Get(versionHeader) == "" {
				t.Fatalf("%s %s at %q with %q: %d %s", method, path, version, body, rec.Code, rec.Body)
			}
		}
	})
}

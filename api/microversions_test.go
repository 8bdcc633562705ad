package api

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestVersionNegotiation(t *testing.T) {
	const bad = "Invalid value for X-OpenStack-Ironic-API-Version header"
	minor := func(v string) string {
		return "Version " + v + " was requested but the minor version is not supported by this service. The supported version range is: [1.1, 1.115]."
	}
	for _, tt := range []struct {
		own, standard string
		status        int
		version, text string
	}{
		{"", "", 200, "1.1", ""},
		{"1.1", "", 200, "1.1", ""},
		{"1.115", "", 200, "1.115", ""},
		{"latest", "", 200, "1.115", ""},
		{"1.50", "baremetal 1.60", 200, "1.60", ""},
		{"", "baremetal latest", 200, "1.115", ""},
		{"1.50", "compute 2.90", 200, "1.50", ""},
		{"", "compute 2.90, baremetal 1.9", 200, "1.9", ""},
		{"1.116", "", 406, "1.1", minor("1.116")},
		{"1.0", "", 406, "1.1", minor("1.0")},
		{"1.50", "baremetal 1.999", 406, "1.1", minor("1.999")},
		{"2.1", "", 406, "1.1", "Mutually exclusive versions requested. Version 2.1 requested but not supported by this service. The supported version range is: [1.1, 1.115]."},
		{"1", "", 406, "1.1", bad},
		{"1.x", "", 406, "1.1", bad},
		{"newest", "", 406, "1.1", bad},
	} {
		for _, path := range []string{"/", "/v1/nodes"} {
			r := httptest.NewRequest("GET", "http://127.0.0.1"+path, nil)
			if tt.own != "" {
				r.Header.Set("X-OpenStack-Ironic-API-Version", tt.own)
			}
			if tt.standard != "" {
				r.Header.Set("OpenStack-API-Version", tt.standard)
			}
			rec := httptest.NewRecorder()
			newServer(t).api.Handler().ServeHTTP(rec, r)
			h := rec.Header()
			if rec.Code != tt.status || h.Get(versionHeader) != tt.version || h.Get(minVersionHeader) != "1.1" || h.Get(maxVersionHeader) != "1.115" {
				t.Errorf("%q %q %s: %d %v", tt.own, tt.standard, path, rec.Code, h)
			}
			if tt.text != "" && faultstring(t, rec.Body.String()) != tt.text {
				t.Errorf("%q %q %s: %s", tt.own, tt.standard, path, rec.Body)
			}
		}
	}
}

// Every key of the table names something the code asks about, and no version is out of range: a
// misspelt key would silently mean 1.1.
func TestTheVersionTableNamesThingsThatExist(t *testing.T) {
	paths := map[string]bool{}
	for _, rt := range newServer(t).api.routes() {
		_, path, _ := strings.Cut(rt.pattern, " ")
		paths[path] = true
	}
	for key, v := range since {
		if v < minVersion || v > maxVersion {
			t.Errorf("%s since %s", key, v)
		}
		kind, name, _ := strings.Cut(key, ".")
		known := true
		switch {
		case strings.HasPrefix(key, "/"):
			known = paths[key]
		case kind == "node":
			known = hasColumn(fullNode, name)
		case kind == "port":
			known = hasColumn(portColumns, name)
		case kind == "history":
			known = hasColumn(historyColumns, name)
		case strings.HasPrefix(key, "verb "):
			known = verbs[strings.TrimPrefix(key, "verb ")].event != ""
		}
		if !known {
			t.Errorf("%s is in the version table and nowhere else", key)
		}
	}
}

// A field is shown by exactly the versions that know it.
func TestFieldsAppearWithTheirVersion(t *testing.T) {
	s := newServer(t)
	for key, v := range since {
		name, ok := strings.CutPrefix(key, "node.")
		if !ok || v == minVersion {
			continue
		}
		for _, at := range []version{v - 1, v} {
			_, body := s.ask(at.String(), "GET", "/v1/nodes/"+nodeA, "")
			if _, shown := field(t, body).(map[string]any)[name]; shown != (at == v) {
				t.Errorf("%s at %s: shown %v", name, at, shown)
			}
		}
	}
}

func TestStatesThatOldClientsDoNotKnow(t *testing.T) {
	s := newServer(t)
	s.nodes[0].State = "inspect wait"
	for _, tt := range []struct {
		version, uuid string
		want          any
	}{
		{"1.1", nodeB, nil}, {"1.2", nodeB, "available"},
		{"1.38", nodeA, "inspecting"}, {"1.39", nodeA, "inspect wait"},
	} {
		for _, path := range []string{"", "/states"} {
			_, body := s.ask(tt.version, "GET", "/v1/nodes/"+tt.uuid+path, "")
			if got := field(t, body, "provision_state"); got != tt.want {
				t.Errorf("%s%s at %s: %v, want %v", tt.uuid, path, tt.version, got, tt.want)
			}
		}
	}
}

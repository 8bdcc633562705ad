package api

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/billet-metal/billet/node"
)

// twoHosts is a world where ipmi is carried by two hosts and fake-hardware by one of them.
func twoHosts(t *testing.T) *server {
	s := newServer(t)
	s.drivers = []node.DriverInfo{{Name: "ipmi", Hosts: []string{"b", "a"}}, {Name: "fake-hardware", Hosts: []string{"b"}}}
	return s
}

func TestConductorsAreTheHostsOfTheHardwareTypes(t *testing.T) {
	for _, tt := range []struct{ query, want string }{
		{"?fields=hostname,drivers", "[{a [ipmi]} {b [fake-hardware ipmi]}]"},
		{"?fields=hostname", "[{a []} {b []}]"},
		{"?sort_key=hostname&sort_dir=desc", "[{b []} {a []}]"},
		{"?limit=1", "[{a []}]"},
		{"?limit=1&marker=a", "[{b []}]"},
		{"?marker=b", "[]"},
		{"?detail=true&limit=1", "[{a [ipmi]}]"},
	} {
		resp, body := twoHosts(t).ask("1.49", "GET", "/v1/conductors"+tt.query, "")
		var list struct {
			Conductors []struct {
				Hostname string
				Drivers  []string
			}
		}
		if err := json.Unmarshal([]byte(body), &list); err != nil || resp.StatusCode != 200 || fmt.Sprint(list.Conductors) != tt.want {
			t.Errorf("%s: %d %v\n%s\nwant %s", tt.query, resp.StatusCode, err, body, tt.want)
		}
	}
}

func TestConductorRefusals(t *testing.T) {
	for _, tt := range []struct {
		version, path string
		status        int
		want          string
	}{
		{"1.49", "/v1/conductors/nobody", 404, "Conductor nobody could not be found."},
		{"1.49", "/v1/conductors?sort_key=alive", 400, `The sort_key value "alive" is an invalid field for sorting`},
		{"1.49", "/v1/conductors?fields=colour", 400, `Field(s) "colour" are not valid for a conductor.`},
		{"1.49", "/v1/conductors?fields=hostname&detail=true", 400, "Can't fetch a subset of fields with 'detail' set"},
		{"1.49", "/v1/conductors?marker=c", 404, "Conductor c could not be found."},
	} {
		resp, body := twoHosts(t).ask(tt.version, "GET", tt.path, "")
		if got := faultstring(t, body); resp.StatusCode != tt.status || got != tt.want {
			t.Errorf("%s: %d %s", tt.path, resp.StatusCode, got)
		}
	}
	if resp, body := twoHosts(t).ask("1.48", "GET", "/v1/conductors", ""); resp.StatusCode != 404 {
		t.Errorf("at 1.48: %d %s", resp.StatusCode, body)
	}
}

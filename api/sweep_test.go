package api

import (
	"errors"
	"strings"
	"testing"
)

// sweep asks every route of the table, with what its pattern's names stand for and a body that
// passes the route's own checks.
func sweep(s *server, names *strings.Replacer, visit func(method, path, body string)) {
	bodies := map[string]string{}
	for _, g := range goldens {
		bodies[g.method+" "+g.path] = g.body
	}
	for _, rt := range s.api.routes() {
		method, path, _ := strings.Cut(rt.pattern, " ")
		if !strings.Contains(path, "{") {
			continue
		}
		known := strings.NewReplacer("{ident}", "rack1-u7", "{name}", "ipmi", "{trait}", "CUSTOM_A", "{vif}", "vif-1", "{event}",
			"x").Replace(path)
		body := bodies[method+" "+known]
		if strings.HasPrefix(path, "/v1/heartbeat") || strings.HasPrefix(path, "/billet/v1/progress") ||
			strings.HasPrefix(path, "/billet/v1/log") {
			body = bodies[method+" "+strings.Replace(path, "{ident}", nodeA, 1)]
		}
		if method == "PATCH" {
			body = `[{"op":"add","path":"/extra/a","value":1}]`
		}
		visit(method, names.Replace(path), body)
	}
}

// Every path refuses a name that cannot be one, before anybody is asked.
func TestBadNamesAreRefusedEverywhere(t *testing.T) {
	s := newServer(t)
	bad := strings.NewReplacer("{ident}", "a%20b", "{name}", "x", "{trait}", "CUSTOM_A", "{vif}", "x", "{event}", "x", "{$}", "")
	sweep(s, bad, func(method, path, body string) {
		if !strings.Contains(path, "a%20b") || strings.HasPrefix(path, "/billet/v1/progress") || strings.HasPrefix(path, "/billet/v1/log") {
			return
		}
		resp, answer := s.ask("1.115", method, path, body)
		if resp.StatusCode != 400 || !strings.HasPrefix(faultstring(t, answer), "Expected a ") {
			t.Errorf("%s %s: %d %s", method, path, resp.StatusCode, answer)
		}
	})
	if len(s.calls) > 0 {
		t.Errorf("asked for %v", s.calls)
	}
}

// A lost database is a 500 that says nothing of it, from every path that reads.
func TestALostDatabaseIsA500Everywhere(t *testing.T) {
	s := newServer(t)
	s.lost = errors.New("dial tcp 192.0.2.1:5432: password " + bmcSecret)
	s.fail = s.lost
	for _, g := range goldens {
		switch {
		case g.path == "/" || g.path == "/v1" || g.path == "/v1/volume" || strings.HasPrefix(g.name, "driver-"):
			continue // these read nothing that can be lost
		}
		resp, body := s.ask(g.version, g.method, g.path, g.body)
		const want = "The service could not handle the request; its log says why, under the request id of this answer."
		if resp.StatusCode != 500 || faultstring(t, body) != want {
			t.Errorf("%s: %d %s", g.name, resp.StatusCode, body)
		}
	}
}

// Every path without arguments of its own refuses those it does not know; a typing error in a
// filter must not give the whole list.
func TestUnknownArgumentsAreRefused(t *testing.T) {
	s := newServer(t)
	for _, g := range goldens {
		if g.method != "GET" || strings.Contains(g.path, "?") || g.path == "/" || g.path == "/v1" {
			continue
		}
		resp, body := s.ask(g.version, "GET", g.path+"?colour=red", "")
		takesNone := strings.Contains(g.path, "/management/") || strings.HasSuffix(g.path, "/vifs") || strings.HasSuffix(g.path, "/traits") ||
			strings.Contains(g.path, "/history/") || strings.HasSuffix(g.path, "/inventory") || strings.HasSuffix(g.path, "/validate") ||
			strings.HasSuffix(g.path, "/properties") || strings.HasSuffix(g.path, "/progress") || strings.HasSuffix(g.path, "/why")
		if takesNone && resp.StatusCode == 200 {
			continue // no argument could change what these answer
		}
		if resp.StatusCode != 400 || faultstring(t, body) != "Unexpected arguments: colour" {
			t.Errorf("%s: %d %s", g.path, resp.StatusCode, body)
		}
	}
}

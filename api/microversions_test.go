package api

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestVersionNegotiation(t *testing.T) {
	const bad = "Invalid value for X-OpenStack-Ironic-API-Version header"
	minor := func(v string) string {
		return "Version " +
			v + " was requested but the minor version is not supported by this service. The supported version range is: [1.1, 1.115]."
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
		{"2.1", "", 406, "1.1", "Mutually exclusive versions requested. Version 2.1 requested but not supported by this service. The supported " +
			"version range is: [1.1, 1.115]."},
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
			if rec.Code != tt.status || h.Get(versionHeader) != tt.version || h.Get(minVersionHeader) != "1.1" ||
				h.Get(maxVersionHeader) != "1.115" {
				t.Errorf("%q %q %s: %d %v", tt.own, tt.standard, path, rec.Code, h)
			}
			if tt.text != "" && faultstring(t, rec.Body.String()) != tt.text {
				t.Errorf("%q %q %s: %s", tt.own, tt.standard, path, rec.Body)
			}
		}
	}
}

// asked are all things whose version the code asks for, by the table's keys.
func asked(t *testing.T) map[string]bool {
	t.Helper()
	things := askedByName(t)
	a := newServer(t).api
	for _, rt := range a.routes() {
		things[rt.path()] = true
	}
	add := func(prefix string, names ...string) {
		for _, name := range names {
			things[prefix+name] = true
		}
	}
	add("node.", columnNames(fullNode)...)
	add("node.", creatable()...)
	add("node.", nodePatchable...)
	add("node?", nodeFilters...)
	for _, k := range a.kinds() {
		name, fields, filters := k.(interface {
			things() (name string, fields, filters []string)
		}).things()
		add(name+".", fields...)
		add(name+"?", filters...)
	}
	add("", "driver?type", "driver?detail")
	add("driver.", columnNames(driverColumns)...)
	add("conductor.", columnNames(conductorColumns)...)
	add("history.", columnNames(historyColumns)...)
	add("heartbeat.", heartbeatFields...)
	add("verb ", slices.Collect(maps.Keys(verbs))...)
	add("provision.", "clean_steps", "deploy_steps", "service_steps")
	add("vif.", "port_uuid", "portgroup_uuid")
	return things
}

func (k *records[T, F]) things() (name string, fields, filters []string) {
	return k.name, slices.Concat(columnNames(k.columns), k.writable()), k.filters
}

// askedByName are those that the code names in one piece: arguments of knows, firstOf, needsField, needsFilter and needsArgument.
func askedByName(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	things := map[string]bool{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && !strings.HasSuffix(name, "_test.go") {
				addNamed(things, call)
			}
			return true
		})
	}
	return things
}

func addNamed(things map[string]bool, call *ast.CallExpr) {
	name := ""
	switch f := call.Fun.(type) {
	case *ast.Ident:
		name = f.Name
	case *ast.SelectorExpr:
		name = f.Sel.Name
	}
	sign, asks := map[string]string{"knows": "", "firstOf": "", "needsField": ".", "needsFilter": "?", "needsArgument": "."}[name]
	if !asks {
		return
	}
	var parts []string
	for _, arg := range call.Args {
		lit, ok := arg.(*ast.BasicLit)
		if !ok {
			return
		}
		text, _ := strconv.Unquote(lit.Value)
		parts = append(parts, text)
	}
	things[strings.Join(parts, sign)] = true
}

// Whatever the code asks the table about is in it, and what is in it is asked for: a misspelt key fails on both sides.
func TestTheVersionTableAndTheCodeSayTheSame(t *testing.T) {
	if diff := cmp.Diff(slices.Sorted(maps.Keys(since)), slices.Sorted(maps.Keys(asked(t)))); diff != "" {
		t.Errorf("(-table +code):\n%s", diff)
	}
	for key, v := range since {
		if v < minVersion || v > maxVersion {
			t.Errorf("%s since %s", key, v)
		}
	}
}

// What nobody declared no version knows: a path, a field shown or taken, a filter.
func TestWhatIsNotDeclaredIsNotKnown(t *testing.T) {
	for _, thing := range []string{"/v1/nodes", "node.name", "node?owner", "deploy_template.steps", "verb clean"} {
		first, declared := since[thing]
		if !declared {
			t.Fatalf("%s is not declared", thing)
		}
		delete(since, thing)
		if maxVersion.knows(thing) {
			t.Errorf("%s is known", thing)
		}
		if cmp.Equal(slices.Sorted(maps.Keys(since)), slices.Sorted(maps.Keys(asked(t)))) {
			t.Errorf("nobody misses %s", thing)
		}
		since[thing] = first
	}
	s := newServer(t)
	first := since["port?address"]
	delete(since, "port?address")
	defer func() { since["port?address"] = first }()
	if resp, body := s.ask("1.115", "GET", "/v1/ports?address="+macA, ""); resp.StatusCode != 406 {
		t.Errorf("an undeclared filter: %d %s", resp.StatusCode, body)
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

package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
)

func TestUUIDs(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		u := newUUID()
		if !isUUID(u) || u[14] != '4' || !strings.ContainsRune("89ab", rune(u[19])) || seen[u] {
			t.Fatalf("%s", u)
		}
		seen[u] = true
	}
	for in, want := range map[string]bool{
		nodeA: true, strings.ToUpper(nodeA): true, strings.ReplaceAll(nodeA, "-", ""): true,
		strings.Replace(nodeA, "-", "", 1): true, strings.Replace(strings.ToUpper(nodeA), "-", "", 2): true,
		nodeA[1:]: false, nodeA + "0": false, "g" + nodeA[1:]: false, "": false,
		"{" + nodeA + "}": false, "urn:uuid:" + nodeA: false, nodeA + "\n": false, strings.Replace(nodeA, "-", "--", 1): false,
	} {
		if isUUID(in) != want {
			t.Errorf("%s: %v", in, !want)
		}
		if want && canonicalUUID(in) != nodeA {
			t.Errorf("%s became %s", in, canonicalUUID(in))
		}
	}
}

func TestMACs(t *testing.T) {
	const infiniband = "00:00:00:00:fe:80:00:00:00:00:00:00:02:00:5e:10:00:00:00:01"
	for in, want := range map[string]string{
		"52:54:00:CF:2D:31": macA, "52-54-00-cf-2d-31": macA, "5254.00cf.2d31": macA, infiniband: infiniband,
		"": "", "52:54:00:cf:2d": "", "52:54:00:cf:2d:31:00:00": "", "zz:54:00:cf:2d:31": "",
	} {
		if got, ok := canonicalMAC(in); got != want || ok != (want != "") {
			t.Errorf("%q: %q %v", in, got, ok)
		}
	}
}

func TestNames(t *testing.T) {
	for _, tt := range []struct{ what, name, want string }{
		{"node", "rack1-u7.example_com~x", ""},
		{"port", "states", ""}, // only nodes have paths below their names
		{"node", "a/b", `Cannot use "a/b" as the name of a node. Allowed are letters, digits and the characters - . _ ~`},
		{"port", "é", `Cannot use "é" as the name of a port. Allowed are letters, digits and the characters - . _ ~`},
		{"node", nodeA, fmt.Sprintf("The name of a node may not look like a UUID: %q.", nodeA)},
		{"node", strings.Repeat("x", 256), "The name of a node may have at most 255 characters, not 256."},
	} {
		if got := errText(checkName(tt.what, tt.name)); got != tt.want {
			t.Errorf("%s %q: %q, want %q", tt.what, tt.name, got, tt.want)
		}
	}
	// A name that hides no path must not be refused, and one that does must be.
	a := newServer(t).api
	for _, name := range strings.Fields("maintenance management states vendor_passthru detail validate ports portgroups " +
		"volume vifs traits bios allocation history inventory children firmware vmedia") {
		want := fmt.Sprintf("Cannot use %q as the name of a node: the API has a path of that name.", name)
		if got := errText(a.nodes.checkNodeName(maxVersion, name)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for _, name := range []string{"", "nodes", "drivers", "ident", "power"} {
		if err := a.nodes.checkNodeName(maxVersion, name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Before 1.10 a node's name was a host name, as loosely as Ironic took that.
func TestNamesBefore110(t *testing.T) {
	long := strings.Repeat("a", 63)
	for name, want := range map[string]bool{
		"a": true, "rack1-u7": true, "0": true, "rack1-u7.example.com": true, "rack1.example.": true, "a.-b": true, "a._b.c_d": true, long: true,
		long + "." + long:               true,
		strings.Repeat("a.", 127) + "a": true,
		"A":                             false, "Rack1": false, "a_b": false, "_a": false, "-a": false, "a-": false, "a.b-": false, "a.b_": false,
		"a~b": false, "a..b": false, ".a": false, ".": false, "a..": false,
		long + "a": false, "a." + long + "a": false, strings.Repeat("a.", 127) + "aa": false,
	} {
		if isHostName(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
		if checkNameIn(10, name) != nil || (checkNameIn(9, name) == nil) != want {
			t.Errorf("%q: 1.10 %v, 1.9 %v", name, checkNameIn(10, name), checkNameIn(9, name))
		}
	}
	const refusal = `Cannot use "Rack_1" as the name of a node: before API version 1.10 it must be a host name, in lower case.`
	s := newStack(t)
	s.put(&node.Node{UUID: nodeA, Name: "Old_One", State: node.Enroll})
	for _, tt := range []struct{ method, path, body string }{
		{"POST", "/v1/nodes", `{"driver":"fake-hardware","name":"Rack_1"}`},
		{"PATCH", "/v1/nodes/" + nodeA, `[{"op":"replace","path":"/name","value":"Rack_1"}]`},
	} {
		resp, body := s.ask("1.9", tt.method, tt.path, tt.body)
		s.refused(tt.method, resp, body, 400, refusal)
	}
	if resp, body := s.ask("1.9", "PATCH", "/v1/nodes/"+nodeA, `[{"op":"add","path":"/extra/a","value":"b"}]`); resp.StatusCode != 200 {
		t.Errorf("another field of a node with a newer name: %d %s", resp.StatusCode, body)
	}
	resp, body := s.ask("1.9", "GET", "/v1/nodes/Old_One", "")
	s.refused("by its name", resp, body, 400, `Expected a logical name or UUID but received "Old_One".`)
	if resp, body := s.ask("1.9", "PATCH", "/v1/nodes/"+nodeA, `[{"op":"remove","path":"/name"}]`); resp.StatusCode != 200 ||
		field(t, body, "name") != nil {
		t.Errorf("the name taken away: %d %s", resp.StatusCode, body)
	}
	if resp, body := s.ask("1.10", "POST", "/v1/nodes", `{"driver":"fake-hardware","name":"Rack_1"}`); resp.StatusCode != 201 {
		t.Errorf("1.10: %d %s", resp.StatusCode, body)
	}
}

// The wanted texts are what datetime.isoformat() of Python gives for these times in UTC.
func TestTimesAreISOWithAnOffset(t *testing.T) {
	second := epoch.Truncate(time.Second)
	for _, tt := range []struct {
		at   time.Time
		want any
	}{
		{epoch, "2026-11-03T14:05:06.123456+00:00"},
		{second, "2026-11-03T14:05:06+00:00"},
		{second.Add(228930 * time.Microsecond), "2026-11-03T14:05:06.228930+00:00"},
		{second.Add(100 * time.Millisecond), "2026-11-03T14:05:06.100000+00:00"},
		{second.Add(time.Microsecond), "2026-11-03T14:05:06.000001+00:00"},
		{second.Add(999 * time.Nanosecond), "2026-11-03T14:05:06+00:00"},
		{second.In(time.FixedZone("UTC+2", 7200)), "2026-11-03T14:05:06+00:00"},
		{time.Time{}, nil},
	} {
		if got := stamp(tt.at); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.at, got, tt.want)
		}
	}
}

func TestMoreRefusals(t *testing.T) {
	create := "Allowed are: " + strings.Join(creatable(), ", ")
	for _, tt := range []struct {
		method, path, body string
		want               string
	}{
		{"POST", "/v1/nodes", `{"driver":"ipmi","colour":"red"}`, `A node cannot be created with the field "colour". ` + create},
		{"POST", "/v1/nodes", `{"driver":"ipmi","protected":true}`, `A node cannot be created with the field "protected". ` + create},
		{"POST", "/v1/nodes", `{"driver":"ipmi","provision_state":"active"}`,
			`A node cannot be created with the field "provision_state". ` + create},
		{"POST", "/v1/ports", `{"mac":"x"}`, `A port cannot be created with the field "mac". Allowed are: ` + portFields(t) + ", uuid"},
		{"POST", "/v1/ports", `{"address":5}`, "Expected a MAC address but received 5."},
		{"POST", "/v1/ports", `{"address":"` + macA + `","node_uuid":"rack1-u7"}`, "Expected a UUID for node_uuid but received rack1-u7."},
		{"POST", "/v1/ports", `{"uuid":"x"}`, "Expected a UUID for uuid but received x."},
		{"POST", "/v1/ports", `{"portgroup_uuid":"bond0"}`, `Expected a UUID for portgroup_uuid but received "bond0".`},
		{"POST", "/v1/ports", `{"name":"a b"}`, `Cannot use "a b" as the name of a port. Allowed are letters, digits and the characters - . _ ~`},
		{"GET", "/v1/nodes?provision_state=flying", "", `Provision state "flying" is not valid. Valid states are: ` + joinWords(node.States)},
		{"GET", "/v1/nodes?include_children=perhaps", "", `Invalid input for include_children: unrecognized value "perhaps", acceptable values ` +
			`are: 0, 1, f, false, n, no, off, on, t, true, y, yes`},
		{"GET", "/v1/nodes?parent_node=a%20b", "", `Expected a logical name or UUID but received "a b".`},
		{"GET", "/v1/nodes?%zz", "", `The query of the URL is malformed: invalid URL escape "%zz".`},
		{"GET", "/v1/ports?sort_key=extra", "", `The sort_key value "extra" is an invalid field for sorting`},
		{"GET", "/v1/ports?fields=colour", "", `Field(s) "colour" are not valid for a port.`},
		{"GET", "/v1/drivers?fields=colour", "", `Field(s) "colour" are not valid for a driver.`},
		{"GET", "/v1/drivers?detail=perhaps", "",
			`Invalid input for detail: unrecognized value "perhaps", acceptable values are: 0, 1, f, false, n, no, off, on, t, true, y, yes`},
		{"POST", "/v1/continue_inspection?node_uuid=x", `{"inventory":{}}`, `Expected a UUID for node_uuid but received "x".`},
		{"POST", "/v1/continue_inspection", `{"inventory":{},"error":5}`, "Field error must be a string, not a number."},
		{"POST", "/v1/continue_inspection", `{"inventory":{},"logs":{}}`, "Field logs must be a string, not an object."},
		{"POST", "/billet/v1/log/" + nodeA, `[`, "The body is not an agent's log lines: unexpected EOF."},
		{"POST", "/billet/v1/log/" + nodeA, `{"lines":[{"age_ms":-1}]}`, "The age of a log line must be 0 to 2592000000 milliseconds, not -1."},
		{"POST", "/billet/v1/log/" + nodeA, `{"lines":[{"age_ms":2592000001}]}`,
			"The age of a log line must be 0 to 2592000000 milliseconds, not 2592000001."},
		{"POST", "/billet/v1/log/" + nodeA, `{"lines":[{}` + strings.Repeat(",{}", 200) + `]}`, "At most 200 log lines are taken, not 201."},
		{"POST", "/billet/v1/progress/" + nodeA, `[`, "The body is not a progress report: unexpected EOF."},
	} {
		s := newServer(t)
		resp, body := s.ask("1.115", tt.method, tt.path, tt.body)
		if resp.StatusCode != 400 || faultstring(t, body) != tt.want {
			t.Errorf("%s %s %s:\n got %d %s\nwant 400 %s", tt.method, tt.path, tt.body, resp.StatusCode, faultstring(t, body), tt.want)
		}
		if len(s.calls) > 0 {
			t.Errorf("%s %s: asked for %v", tt.method, tt.path, s.calls)
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

package api

import (
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
)

// Nodes in chassis: put in, listed, taken out, and what is refused.
func TestNodesInChassis(t *testing.T) {
	s := newStack(t)
	for _, body := range []string{`{"uuid":"` + strings.ToUpper(chassisA) + `","description":"rack 7"}`, `{"extra":{"row":2}}`} {
		if resp, body := s.ask("1.1", "POST", "/v1/chassis", body); resp.StatusCode != 201 {
			t.Fatalf("%d %s", resp.StatusCode, body)
		}
	}
	in := `[{"op":"add","path":"/chassis_uuid","value":"` + strings.ToUpper(chassisA) + `"}]`
	s.put(&node.Node{UUID: nodeA, Name: "blade", State: node.Manageable})
	if resp, body := s.ask("1.1", "PATCH", "/v1/nodes/"+nodeA, in); resp.StatusCode != 200 || field(t, body, "chassis_uuid") != chassisA {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if resp, body := s.ask("1.115", "POST", "/v1/nodes",
		`{"driver":"fake-hardware","name":"second","chassis_uuid":"`+chassisA+`"}`); resp.StatusCode != 201 ||
		field(t, body, "chassis_uuid") != chassisA {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	s.put(&node.Node{Name: "loose", State: node.Manageable})
	for path, want := range map[string]string{
		"/v1/chassis/" + chassisA + "/nodes":                              "blade second",
		"/v1/chassis/" + chassisA + "/nodes/detail":                       "blade second",
		"/v1/chassis/" + chassisA + "/nodes?detail=true&sort_dir=desc":    "second blade",
		"/v1/chassis/" + strings.ToUpper(chassisA) + "/nodes?fields=name": "blade second",
		"/v1/nodes?chassis_uuid=" + chassisA:                              "blade second",
	} {
		if resp, body := s.ask("1.115", "GET", path, ""); resp.StatusCode != 200 || names(t, body, "nodes", "name") != want {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	_, body := s.ask("1.115", "GET", "/v1/chassis/"+chassisA+"/nodes?limit=1&fields=name", "")
	next, _ := field(t, body, "next").(string)
	if _, body := s.ask("1.115", "GET", strings.TrimPrefix(next, "http://metal.example:6385"), ""); names(t, body, "nodes",
		"name") != "second" {
		t.Errorf("next is %s: %s", next, body)
	}
	for _, tt := range []struct {
		version, method, path, body string
		status                      int
		want                        string
	}{
		{"1.1", "DELETE", "/v1/chassis/" + chassisA, "", 400,
			"Chassis " + chassisA + " cannot be deleted: it has nodes, which must leave it first."},
		{"1.1", "GET", "/v1/chassis/" + nodeB, "", 404, "Chassis " + nodeB + " could not be found."},
		{"1.1", "GET", "/v1/chassis/" + nodeB + "/nodes", "", 404, "Chassis " + nodeB + " could not be found."},
		{"1.1", "GET", "/v1/chassis/rack", "", 400, `Expected a UUID but received "rack".`},
		{"1.1", "PATCH", "/v1/chassis/" + nodeB, "[]", 404, "Chassis " + nodeB + " could not be found."},
		{"1.1", "POST", "/v1/chassis", `{"name":"rack"}`, 400,
			`A chassis cannot be created with the field "name". Allowed are: description, extra, uuid`},
		{"1.1", "POST", "/v1/chassis", `{"uuid":"` + chassisA + `"}`, 409, "A chassis with UUID " + chassisA + " already exists."},
		{"1.1", "PATCH", "/v1/chassis/" + chassisA, `[{"op":"replace","path":"/description","value":7}]`, 400,
			"Field description must be a string, not a number."},
		{"1.115", "PATCH", "/v1/nodes/blade", `[{"op":"add","path":"/chassis_uuid","value":"` + nodeB + `"}]`, 400,
			"Chassis " + nodeB + " could not be found."},
		{"1.24", "PATCH", "/v1/nodes/blade", `[{"op":"remove","path":"/chassis_uuid"}]`, 406,
			"Request not acceptable. The minimal required API version for taking a node out of its chassis is 1.25."},
		{"1.24", "PATCH", "/v1/nodes/blade", `[{"op":"replace","path":"/chassis_uuid","value":null}]`, 406,
			"Request not acceptable. The minimal required API version for taking a node out of its chassis is 1.25."},
	} {
		resp, body := s.ask(tt.version, tt.method, tt.path, tt.body)
		s.refused(tt.method+" "+tt.path, resp, body, tt.status, tt.want)
	}
	if n := s.node("blade"); n.ChassisUUID != chassisA || n.Lease.Holder != "" {
		t.Errorf("after refusals: %+v", n)
	}
	for _, name := range []string{"blade", "second"} {
		if resp, body := s.ask("1.25", "PATCH", "/v1/nodes/"+name, `[{"op":"remove","path":"/chassis_uuid"}]`); resp.StatusCode != 200 ||
			field(t, body, "chassis_uuid") != nil {
			t.Errorf("%s leaves: %d %s", name, resp.StatusCode, body)
		}
	}
	if resp, body := s.ask("1.1", "DELETE", "/v1/chassis/"+chassisA, ""); resp.StatusCode != 204 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

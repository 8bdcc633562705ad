package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
)

// What an allocation is made of, what it gets, and what is refused.
func TestMakingAllocations(t *testing.T) {
	for _, tt := range []struct {
		version, body string
		status        int
		want          string // a part of the allocation, or the whole refusal
	}{
		{"1.52", `{"resource_class":"bm"}`, 201, `"node_uuid":"` + nodeA + `"`},
		{"1.52", `{"resource_class":"bm"}`, 201, `"state":"active"`},
		{"1.52", `{"resource_class":"bm","name":"web","extra":{"a":1},"traits":null,"candidate_nodes":null}`, 201, `"candidate_nodes":[]`},
		{"1.52", `{"resource_class":"bm","uuid":"` + strings.ToUpper(allocA) + `"}`, 201, `"uuid":"` + allocA + `"`},
		{"1.52", `{"resource_class":"bm","candidate_nodes":["blade","` + strings.ReplaceAll(nodeA, "-", "") + `","blade"],"traits":["CUSTOM_A"]}`,
			201, `"candidate_nodes":["` + nodeA + `","` + nodeA + `"]`},
		{"1.52", `{"resource_class":"gold"}`, 201, `"state":"error"`},
		{"1.52", `{"resource_class":"gold","uuid":"` + allocA + `"}`, 201,
			`"last_error":"No node was found for allocation ` + allocA + `: no node has the resource class gold."`},
		{"1.58", `{"node":"active"}`, 201, `"node_uuid":"` + nodeB + `"`},
		{"1.58", `{"node":"` + strings.ToUpper(nodeB) + `","resource_class":null}`, 201, `"resource_class":"bm"`},
		{"1.60", `{"resource_class":"bm","owner":null}`, 201, `"owner":null`},
		{"1.57", `{"node":"active"}`, 406, "Request not acceptable. The minimal required API version for the field 'node' is 1.58."},
		{"1.59", `{"resource_class":"bm","owner":"ada"}`, 406,
			"Request not acceptable. The minimal required API version for the field 'owner' is 1.60."},
		{"1.58", `{}`, 400,
			`An allocation needs "resource_class", the class of node that is wanted, or "node", the active node that it is the record of.`},
		{"1.58", `{"resource_class":""}`, 400,
			`An allocation needs "resource_class", the class of node that is wanted, or "node", the active node that it is the record of.`},
		{"1.58", `{"node":"active","candidate_nodes":["blade"]}`, 400,
			`An allocation is of one "node", or of one of "candidate_nodes": give only one of them.`},
		{"1.58", `{"node":"nobody"}`, 400, "Node nobody could not be found."},
		{"1.58", `{"node":"a b"}`, 400, `Expected a logical name or UUID but received "a b".`},
		{"1.58", `{"node":"blade"}`, 409, "Node " + nodeA +
			` is in state "available"; an allocation can be made for a node only while it is active.`},
		{"1.52", `{"resource_class":"bm","candidate_nodes":["nobody"]}`, 400, "The candidate node nobody could not be found."},
		{"1.52", `{"resource_class":"bm","candidate_nodes":"blade"}`, 400, "Field candidate_nodes must be a list, not a string."},
		{"1.52", `{"resource_class":"bm","candidate_nodes":["a b"]}`, 400,
			`Expected a logical name or UUID in candidate_nodes but received "a b".`},
		{"1.52", `{"resource_class":"bm","traits":[7]}`, 400, "Field traits must be a list of strings; one of it is a number."},
		{"1.52", `{"resource_class":"bm","traits":["fast"]}`, 400, `The trait "fast" is not valid: a trait is a standard one such as ` +
			`HW_CPU_X86_VMX, or CUSTOM_ followed by A-Z, 0-9 and _, of at most 255 characters.`},
		{"1.52", `{"resource_class":7}`, 400, "Field resource_class must be a string, not a number."},
		{"1.52", `{"resource_class":"` + strings.Repeat("x", 81) + `"}`, 400, "Field resource_class may have at most 80 characters, not 81."},
		{"1.52", `{"resource_class":"bm","name":"a b"}`, 400,
			`Cannot use "a b" as the name of an allocation. Allowed are letters, digits and the characters - . _ ~`},
		{"1.52", `{"resource_class":"bm","name":"taken"}`, 409, "An allocation with name taken already exists."},
		{"1.115", `{"resource_class":"bm","state":"active"}`, 400, `An allocation cannot be created with the field "state". Allowed are: ` +
			`candidate_nodes, extra, name, node, owner, resource_class, traits, uuid`},
	} {
		s := newStack(t)
		s.put(&node.Node{UUID: nodeA, Name: "blade", State: node.Available, ResourceClass: "bm", Power: node.PowerOff,
			Traits: []string{"CUSTOM_A"}})
		s.put(&node.Node{UUID: nodeB, Name: "active", State: node.Active, ResourceClass: "bm", Power: node.PowerOn})
		if err := s.db.Allocations.Create(t.Context(), &node.Allocation{Name: "taken", State: node.AllocationError}); err != nil {
			t.Fatal(err)
		}
		resp, body := s.ask(tt.version, "POST", "/v1/allocations", tt.body)
		if tt.status != 201 {
			s.refused(tt.body, resp, body, tt.status, tt.want)
		} else if resp.StatusCode != 201 || !strings.Contains(body, tt.want) {
			t.Errorf("%s: %d %s, want %s", tt.body, resp.StatusCode, body, tt.want)
		}
		for _, name := range []string{"blade", "active"} {
			n := s.node(name)
			given := strings.Contains(body, `"node_uuid":"`+n.UUID)
			if n.Lease.Holder != "" || (n.AllocationUUID != "") != given || n.InstanceUUID != n.AllocationUUID {
				t.Errorf("%s: %s is %+v", tt.body, name, n)
			}
		}
	}
}

// The life of an allocation, as its owner sees it and as its node shows it.
func TestTheLifeOfAnAllocation(t *testing.T) {
	s := newStack(t)
	s.put(&node.Node{UUID: nodeA, Name: "blade", State: node.Available, ResourceClass: "bm", Power: node.PowerOff})
	var body string
	if resp, body := s.ask("1.52", "GET", "/v1/nodes/blade/allocation", ""); resp.StatusCode != 404 ||
		faultstring(t, body) != "Node "+nodeA+" has no allocation." {
		t.Errorf("before: %d %s", resp.StatusCode, body)
	}
	if resp, answer := s.ask("1.60", "POST", "/v1/allocations", `{"resource_class":"bm","name":"web","traits":[]}`); resp.StatusCode != 201 {
		t.Fatalf("%d %s", resp.StatusCode, answer)
	} else {
		body = answer
	}
	uuid := field(t, body, "uuid").(string)
	if resp, body := s.ask("1.60", "POST", "/v1/allocations", `{"resource_class":"bm","name":"late"}`); resp.StatusCode != 201 ||
		field(t, body, "state") != "error" || field(t, body, "node_uuid") != nil {
		t.Errorf("the second: %d %s", resp.StatusCode, body)
	}
	for _, path := range []string{"/v1/allocations/web", "/v1/allocations/" + strings.ToUpper(uuid), "/v1/nodes/blade/allocation",
		"/allocations/web"} {
		if resp, body := s.ask("1.60", "GET", path, ""); resp.StatusCode != 200 || field(t, body, "uuid") != uuid ||
			field(t, body, "node_uuid") != nodeA {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	for query, want := range map[string]string{
		"": "web late", "?node=blade": "web", "?state=error": "late", "?state=allocating": "", "?resource_class=bm&state=active": "web",
		"?owner=ada":             "",
		"?sort_key=name&limit=1": "late", "?sort_key=name&sort_dir=desc&fields=name": "web late",
	} {
		resp, body := s.ask("1.60", "GET", "/v1/allocations"+query, "")
		if resp.StatusCode != 200 || names(t, body, "allocations", "name") != want {
			t.Errorf("%s: %d %s", query, resp.StatusCode, body)
		}
	}
	if resp, body := s.ask("1.52", "GET", "/v1/nodes/blade", ""); resp.StatusCode != 200 || field(t, body, "allocation_uuid") != uuid ||
		field(t, body, "instance_uuid") != uuid {
		t.Errorf("the node: %d %s", resp.StatusCode, body)
	}
	for _, tt := range []struct {
		patch  string
		status int
		want   string
	}{
		{`[{"op":"replace","path":"/name","value":"web2"},{"op":"add","path":"/extra/a","value":{"b":1}}]`, 200, `"extra":{"a":{"b":1}}`},
		{`[{"op":"remove","path":"/name"}]`, 200, `"name":null`},
		{`[{"op":"add","path":"/name","value":"late"}]`, 409, "An allocation with name late already exists."},
		{`[{"op":"replace","path":"/resource_class","value":"x"}]`, 400,
			"Cannot patch /resource_class. Only the following can be updated: extra, name"},
		{`[{"op":"remove","path":"/node_uuid"}]`, 400, "Cannot patch /node_uuid. Only the following can be updated: extra, name"},
	} {
		resp, body := s.ask("1.57", "PATCH", "/v1/allocations/"+uuid, tt.patch)
		if tt.status != 200 {
			s.refused(tt.patch, resp, body, tt.status, tt.want)
		} else if resp.StatusCode != 200 || !strings.Contains(body, tt.want) || field(t, body, "state") != "active" {
			t.Errorf("%s: %d %s", tt.patch, resp.StatusCode, body)
		}
	}
	if resp, body := s.ask("1.52", "DELETE", "/v1/nodes/blade/allocation", ""); resp.StatusCode != 204 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if n := s.node("blade"); n.AllocationUUID != "" || n.InstanceUUID != "" {
		t.Errorf("the node is %+v", n)
	}
	if resp, body := s.ask("1.52", "DELETE", "/v1/allocations/late", ""); resp.StatusCode != 204 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	for _, method := range []string{"GET", "PATCH", "DELETE"} {
		resp, body := s.ask("1.57", method, "/v1/allocations/late", "[]")
		s.refused(method, resp, body, 404, "Allocation late could not be found.")
	}
	_, body = s.ask("1.52", "GET", "/v1/allocations", "")
	if got := field(t, body, "allocations").([]any); len(got) > 0 {
		t.Errorf("left are %v", got)
	}
}

// Many requests through the API: each node once.
func TestAllocationsThroughTheAPI(t *testing.T) {
	s := newStack(t)
	for i := range 5 {
		s.put(&node.Node{Name: fmt.Sprint("n", i), State: node.Available, ResourceClass: "bm", Power: node.PowerOff})
	}
	got := make(chan string, 9)
	for range cap(got) {
		go func() {
			_, body := s.ask("1.52", "POST", "/v1/allocations", `{"resource_class":"bm"}`)
			uuid, _ := field(t, body, "node_uuid").(string)
			got <- uuid
		}()
	}
	var nodes []string
	for range cap(got) {
		if uuid := <-got; uuid != "" {
			if slices.Contains(nodes, uuid) {
				t.Errorf("node %s was given twice", uuid)
			}
			nodes = append(nodes, uuid)
		}
	}
	if len(nodes) == 0 || len(nodes) > 5 {
		t.Errorf("%d nodes were given", len(nodes))
	}
}

package api

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/node"
)

// patched asks for a PATCH of a node at 1.115 and returns its extra afterwards as JSON.
func (s *stack) patched(uuid, patch string) (status int, text, extra string) {
	s.t.Helper()
	resp, body := s.ask("1.115", "PATCH", "/v1/nodes/"+uuid, patch)
	if resp.StatusCode != 200 {
		text = faultstring(s.t, body)
	}
	b, err := json.Marshal(s.node(uuid).Extra)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, text, string(b)
}

// JSON Patch inside a document: objects, lists and their ends, values of every kind, one operation upon another. A
// patch is one change: when an operation fails, those before it have changed nothing.
func TestPatchingADocument(t *testing.T) {
	s := newStack(t)
	const before = `{"list":[1,2,3],"nested":{"a":{"b":"c"}},"null":null,"text":"t"}`
	couldNot := func(op, path, why string) string {
		return fmt.Sprintf("Couldn't apply patch '%s %s'. Reason: %s", op, path, why)
	}
	missing := func(op, path string) string {
		return couldNot(op, path, fmt.Sprintf("there is no %q to %s in the resource", path, op))
	}
	noParent := func(path string) string {
		i := strings.LastIndex(path, "/")
		return couldNot("add", path, fmt.Sprintf("%s is neither an object nor a list that %q could be added to", path[:i], path[i+1:]))
	}
	for _, tt := range []struct {
		patch string
		text  string // of the refusal; "" when it is done
		want  string // extra afterwards
	}{
		// Objects.
		{`[{"op":"add","path":"/extra/new","value":1}]`, "", `{"list":[1,2,3],"nested":{"a":{"b":"c"}},"new":1,"null":null,"text":"t"}`},
		{`[{"op":"add","path":"/extra/text","value":{"now":"an object"}}]`, "",
			`{"list":[1,2,3],"nested":{"a":{"b":"c"}},"null":null,"text":{"now":"an object"}}`},
		{`[{"op":"replace","path":"/extra/nested/a/b","value":[]}]`, "", `{"list":[1,2,3],"nested":{"a":{"b":[]}},"null":null,"text":"t"}`},
		{`[{"op":"remove","path":"/extra/nested/a"}]`, "", `{"list":[1,2,3],"nested":{},"null":null,"text":"t"}`},
		{`[{"op":"replace","path":"/extra/null","value":false}]`, "", `{"list":[1,2,3],"nested":{"a":{"b":"c"}},"null":false,"text":"t"}`},
		{`[{"op":"remove","path":"/extra/null"}]`, "", `{"list":[1,2,3],"nested":{"a":{"b":"c"}},"text":"t"}`},
		{`[{"op":"replace","path":"/extra/text","value":null}]`, "", `{"list":[1,2,3],"nested":{"a":{"b":"c"}},"null":null,"text":null}`},
		{`[{"op":"add","path":"/extra/ключ","value":"значение"}]`, "",
			`{"list":[1,2,3],"nested":{"a":{"b":"c"}},"null":null,"text":"t","ключ":"значение"}`},
		{`[{"op":"add","path":"/extra/0","value":"a key, no index"}]`, "",
			`{"0":"a key, no index","list":[1,2,3],"nested":{"a":{"b":"c"}},"null":null,"text":"t"}`},
		{`[{"op":"add","path":"/extra/-","value":"a key too"}]`, "",
			`{"-":"a key too","list":[1,2,3],"nested":{"a":{"b":"c"}},"null":null,"text":"t"}`},
		{`[{"op":"remove","path":"/extra"}]`, "", `{}`},
		{`[{"op":"replace","path":"/extra","value":null}]`, "", `{}`},
		{`[{"op":"add","path":"/extra","value":{"only":1}}]`, "", `{"only":1}`},

		// Lists.
		{`[{"op":"add","path":"/extra/list/0","value":0}]`, "", `{"list":[0,1,2,3],"nested":{"a":{"b":"c"}},"null":null,"text":"t"}`},
		{`[{"op":"add","path":"/extra/list/3","value":4}]`, "", `{"list":[1,2,3,4],"nested":{"a":{"b":"c"}},"null":null,"text":"t"}`},
		{`[{"op":"add","path":"/extra/list/-","value":4}]`, "", `{"list":[1,2,3,4],"nested":{"a":{"b":"c"}},"null":null,"text":"t"}`},
		{`[{"op":"replace","path":"/extra/list/1","value":"two"}]`, "", `{"list":[1,"two",3],"nested":{"a":{"b":"c"}},"null":null,"text":"t"}`},
		{`[{"op":"remove","path":"/extra/list/0"},{"op":"remove","path":"/extra/list/0"}]`, "",
			`{"list":[3],"nested":{"a":{"b":"c"}},"null":null,"text":"t"}`},
		{`[{"op":"add","path":"/extra/list/4","value":5}]`, noParent("/extra/list/4"), before},
		{`[{"op":"replace","path":"/extra/list/3","value":4}]`, missing("replace", "/extra/list/3"), before},
		{`[{"op":"remove","path":"/extra/list/3"}]`, missing("remove", "/extra/list/3"), before},
		{`[{"op":"remove","path":"/extra/list/-1"}]`, missing("remove", "/extra/list/-1"), before},
		{`[{"op":"remove","path":"/extra/list/-"}]`, missing("remove", "/extra/list/-"), before},
		{`[{"op":"add","path":"/extra/list/first","value":0}]`, noParent("/extra/list/first"), before},
		{`[{"op":"add","path":"/extra/list/99999999999999999999","value":0}]`, noParent("/extra/list/99999999999999999999"), before},

		// What is not there.
		{`[{"op":"replace","path":"/extra/new","value":1}]`, missing("replace", "/extra/new"), before},
		{`[{"op":"remove","path":"/extra/nested/x"}]`, missing("remove", "/extra/nested/x"), before},
		{`[{"op":"add","path":"/extra/no/such","value":1}]`, noParent("/extra/no/such"), before},
		{`[{"op":"add","path":"/extra/text/deeper","value":1}]`, noParent("/extra/text/deeper"), before},
		{`[{"op":"add","path":"/extra/null/deeper","value":1}]`, noParent("/extra/null/deeper"), before},
		{`[{"op":"remove","path":"/extra/text/deeper"}]`, missing("remove", "/extra/text/deeper"), before},

		// One upon another, and all or nothing.
		{`[{"op":"add","path":"/extra/a","value":{}},{"op":"add","path":"/extra/a/b","value":[]},{"op":"add","path":"/extra/a/b/-","value":1}]`,
			"",
			`{"a":{"b":[1]},"list":[1,2,3],"nested":{"a":{"b":"c"}},"null":null,"text":"t"}`},
		{`[{"op":"add","path":"/extra/a","value":1},{"op":"remove","path":"/extra/a"}]`, "", before},
		{`[{"op":"remove","path":"/extra/text"},{"op":"replace","path":"/extra/text","value":"x"}]`, missing("replace", "/extra/text"), before},
		{`[{"op":"remove","path":"/extra/text"},{"op":"add","path":"/extra/text","value":"x"}]`, "",
			`{"list":[1,2,3],"nested":{"a":{"b":"c"}},"null":null,"text":"x"}`},
		{`[{"op":"add","path":"/extra/a","value":1},{"op":"add","path":"/extra/b","value":2},{"op":"remove","path":"/extra/nothing"}]`,
			missing("remove", "/extra/nothing"), before},
		{`[{"op":"add","path":"/extra/a","value":1},{"op":"replace","path":"/name","value":"not a name"}]`,
			`Cannot use "not a name" as the name of a node. Allowed are letters, digits and the characters - . _ ~`, before},
		{`[{"op":"remove","path":"/extra"},{"op":"add","path":"/extra/a","value":1}]`, noParent("/extra/a"), before},
		{`[]`, "", before},

		// Its form.
		{`[{"op":"add","path":"/extra/a b","value":1}]`,
			`A patch operation needs "path" to be like "/field" or "/field/key", of letters, digits, _ and -.`, before},
		{`[{"op":"add","path":"/extra/a~1b","value":1}]`,
			`A patch operation needs "path" to be like "/field" or "/field/key", of letters, digits, _ and -.`, before},
		{`[{"op":"add","path":"//extra","value":1}]`,
			`A patch operation needs "path" to be like "/field" or "/field/key", of letters, digits, _ and -.`, before},
		{`[{"op":"add","path":5,"value":1}]`, `A patch operation needs "path" to be like "/field" or "/field/key", of letters, digits, _ and -.`,
			before},
		{`[{"op":"ADD","path":"/extra/a","value":1}]`, `A patch operation needs "op" to be one of add, replace and remove.`, before},
		{`[{"OP":"add","path":"/extra/a","value":1}]`, `A patch operation needs "op" to be one of add, replace and remove.`, before},
		{`[{"op":"copy","from":"/driver_info","path":"/extra/a"}]`, `A patch operation needs "op" to be one of add, replace and remove.`, before},
		{`[{"op":"add","path":"/extra/a","from":"/driver_info","value":1}]`, `A patch operation has no "from"; allowed are op, path and value.`,
			before},
		{`[{"op":"replace","path":"/extra/text"}]`, `The patch operation replace of /extra/text needs a "value".`, before},
		{`[[{"op":"remove","path":"/extra"}]]`, `A patch operation must be an object: [{"op":"remove","path":"/extra"}]`, before},
		{`{"op":"remove","path":"/extra"}`,
			`A PATCH needs a JSON list of operations, each an object with "op", "path" and, for add and replace, "value".`, before},
		{`[{"op":"remove","path":"/extra"}] []`,
			`A PATCH needs a JSON list of operations, each an object with "op", "path" and, for add and replace, "value".`, before},
		{`[{"op":"remove","path":"/extra"}`,
			`A PATCH needs a JSON list of operations, each an object with "op", "path" and, for add and replace, "value".`, before},
	} {
		n := s.put(&node.Node{State: node.Manageable, Extra: node.Document{
			"text": "t", "null": nil, "list": []any{1.0, 2.0, 3.0}, "nested": map[string]any{"a": map[string]any{"b": "c"}}}})
		status, text, extra := s.patched(n.UUID, tt.patch)
		if wantStatus := map[bool]int{true: 200, false: 400}[tt.text == ""]; status != wantStatus || text != tt.text {
			t.Errorf("%s:\n got %d %s\nwant %d %s", tt.patch, status, text, wantStatus, tt.text)
		}
		if extra != tt.want {
			t.Errorf("%s: extra is %s, want %s", tt.patch, extra, tt.want)
		}
		if s.node(n.UUID).Lease.Holder != "" {
			t.Errorf("%s: the node is still held", tt.patch)
		}
	}
}

// Of a key given twice the last counts, for the checks as for what is done: nobody slips a path past the rules.
func TestAPatchsDoubledKeys(t *testing.T) {
	s := newStack(t)
	s.put(&node.Node{UUID: nodeA, State: node.Manageable, Extra: node.Document{"a": 1.0}})
	status, _, _ := s.patched(nodeA, `[{"op":"remove","path":"/extra/a","path":"/uuid"}]`)
	if status != 400 {
		t.Errorf("a path hid behind another: %d", status)
	}
	status, _, extra := s.patched(nodeA, `[{"op":"replace","path":"/uuid","path":"/extra/a","op":"add","value":1,"value":2}]`)
	if status != 200 || extra != `{"a":2}` || s.node(nodeA).UUID != nodeA {
		t.Errorf("%d, extra %s", status, extra)
	}
}

// Every text field of a node takes its longest text, and null, and refuses one character more or another kind; characters are
// counted, not bytes.
func TestTextFieldsOfANode(t *testing.T) {
	for name, limit := range map[string]int{
		"instance_name": 255, "resource_class": 80, "owner": 255, "lessee": 255, "description": 4096, "shard": 255,
	} {
		s := newServer(t)
		for _, tt := range []struct {
			value  any
			status int
			want   string
		}{
			{strings.Repeat("é", limit), 200, ""},
			{strings.Repeat("é", limit+1), 400, fmt.Sprintf("Field %s may have at most %d characters, not %d.", name, limit, limit+1)},
			{nil, 200, ""},
			{"", 200, ""},
			{5, 400, "Field " + name + " must be a string, not a number."},
			{true, 400, "Field " + name + " must be a string, not a boolean."},
			{[]string{"x"}, 400, "Field " + name + " must be a string, not a list."},
			{map[string]any{}, 400, "Field " + name + " must be a string, not an object."},
		} {
			body, err := json.Marshal([]map[string]any{{"op": "add", "path": "/" + name, "value": tt.value}})
			if err != nil {
				t.Fatal(err)
			}
			resp, answer := s.ask("1.115", "PATCH", "/v1/nodes/rack1-u7", string(body))
			if resp.StatusCode != tt.status || tt.want != "" && faultstring(t, answer) != tt.want {
				t.Errorf("%s %.30v: %d %s, want %d %s", name, tt.value, resp.StatusCode, answer, tt.status, tt.want)
			}
			if text, ok := tt.value.(string); tt.status == 200 {
				var want any
				if ok && text != "" {
					want = text
				}
				if got := field(t, answer, name); got != want {
					t.Errorf("%s is %.30v, want %.30v", name, got, want)
				}
			}
		}
	}
}

// Interfaces and the driver: they may change only where nothing runs or stands on them, or in maintenance, and only to what
// the hardware type has.
func TestInterfacesInEveryState(t *testing.T) {
	s := newStack(t)
	open := []node.State{node.Enroll, node.InspectWait, node.Manageable, node.Available}
	for _, state := range node.States {
		for _, maintenance := range []bool{false, true} {
			for _, tt := range []struct{ what, patch string }{
				{"interfaces", `[{"op":"replace","path":"/boot_interface","value":"fake"}]`},
				{"driver", `[{"op":"replace","path":"/driver","value":"fake-hardware"}]`},
			} {
				n := &node.Node{State: state, Maintenance: maintenance, Interfaces: map[node.Interface]string{node.Boot: "other"}}
				if tt.what == "driver" {
					n.Driver = "gone"
				}
				s.put(n)
				resp, body := s.ask("1.115", "PATCH", "/v1/nodes/"+n.UUID, tt.patch)
				what := fmt.Sprintf("%s of a node that is %s, maintenance %v", tt.what, state, maintenance)
				switch {
				case state == node.Inspecting:
					s.refused(what, resp, body, 409, fmt.Sprintf("Cannot update node %q in state %q.", n.UUID, state))
				case maintenance || slices.Contains(open, state):
					if tt.what == "driver" { // the old interface is not the new driver's
						s.refused(what, resp, body, 400, `Could not find the following interface in the hardware type fake-hardware: boot_interface `+
							`"other". Valid interfaces are: fake.`)
					} else if resp.StatusCode != 200 || s.node(n.UUID).Interfaces[node.Boot] != "fake" {
						t.Errorf("%s: %d %s", what, resp.StatusCode, body)
					}
				default:
					s.refused(what, resp, body, 409, fmt.Sprintf("The %s of node %s can not be changed in state %q; allowed are the states enroll, "+
						"inspecting, inspect wait, manageable, available, or any in maintenance.", tt.what, n.UUID, state))
				}
			}
		}
	}
}

func TestChangingTheDriver(t *testing.T) {
	const to = `{"op":"replace","path":"/driver","value":"fake-hardware"}`
	for _, tt := range []struct {
		what, query, patch string
		console            bool
		status             int
		want               string // of the refusal, or the boot interface
	}{
		{"the old interfaces are not its own", "", "[" + to + "]", false, 400,
			`Could not find the following interface in the hardware type fake-hardware: boot_interface "other". Valid interfaces are: fake.`},
		{"named anew", "", `[` + to + `,{"op":"replace","path":"/boot_interface","value":"fake"}]`, false, 200, "fake"},
		{"removed", "", `[` + to + `,{"op":"remove","path":"/boot_interface"}]`, false, 200, "fake"},
		{"reset", "?reset_interfaces=true", "[" + to + "]", false, 200, "fake"},
		{"reset and named wrong", "?reset_interfaces=true", `[` + to + `,{"op":"replace","path":"/boot_interface","value":"odd"}]`, false, 400,
			`Could not find the following interface in the hardware type fake-hardware: boot_interface "odd". Valid interfaces are: fake.`},
		{"not reset after all", "?reset_interfaces=no", "[" + to + "]", false, 400,
			`Could not find the following interface in the hardware type fake-hardware: boot_interface "other". Valid interfaces are: fake.`},
		{"reset of what stays", "?reset_interfaces=true", `[{"op":"add","path":"/extra/a","value":1}]`, false, 400,
			"The reset_interfaces parameter can only be used when changing the node's driver."},
		{"to none there is", "", `[{"op":"replace","path":"/driver","value":"magic"}]`, false, 400,
			"No valid host was found. Reason: No conductor service registered which supports driver magic for conductor group ''. Available are " +
				"the drivers fake-hardware for conductor group ''."},
		{"to null", "", `[{"op":"replace","path":"/driver","value":null}]`, false, 400,
			"'/driver' is a mandatory attribute and can not be removed"},
		{"under an open console", "?reset_interfaces=true", "[" + to + "]", true, 409,
			"Node " + nodeA + " can not change its driver while its console is enabled; stop the console first."},
		{"to another group", "", `[{"op":"replace","path":"/conductor_group","value":"East"}]`, false, 400,
			"No valid host was found. Reason: No conductor service registered which supports driver old for conductor group 'east'. Available are " +
				"the drivers fake-hardware for conductor group ''."},
	} {
		s := newStack(t)
		s.put(&node.Node{UUID: nodeA, Driver: "old", State: node.Manageable, ConsoleEnabled: tt.console,
			Interfaces: map[node.Interface]string{node.Boot: "other"}})
		before := s.node(nodeA)
		resp, body := s.ask("1.115", "PATCH", "/v1/nodes/"+nodeA+tt.query, tt.patch)
		if tt.status != 200 {
			s.refused(tt.what, resp, body, tt.status, tt.want)
			after := s.node(nodeA)
			after.Lease, after.UpdatedAt = before.Lease, before.UpdatedAt
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("%s changed the node:\n%s", tt.what, diff)
			}
			continue
		}
		if n := s.node(nodeA); resp.StatusCode != 200 || n.Driver != "fake-hardware" || n.Interfaces[node.Boot] != tt.want ||
			n.Interfaces[node.Power] != "fake" {
			t.Errorf("%s: %d %s, driver %s, interfaces %v", tt.what, resp.StatusCode, body, n.Driver, n.Interfaces)
		}
	}
}

// An instance is associated once, whatever the spelling of its UUID; it is let go and found again.
func TestAnInstancesAssociation(t *testing.T) {
	s := newStack(t)
	s.put(&node.Node{UUID: nodeA, State: node.Available})
	s.put(&node.Node{UUID: nodeB, State: node.Available})
	const instance = "abcdefab-0000-4000-8000-00000000000a"
	upper, bare := strings.ToUpper(instance), strings.ReplaceAll(instance, "-", "")
	set := func(op, value string) string {
		return fmt.Sprintf(`[{"op":%q,"path":"/instance_uuid","value":%q}]`, op, value)
	}
	for _, tt := range []struct {
		uuid, patch string
		status      int
		want        string
	}{
		{nodeA, set("add", "web-1"), 400, `Expected a UUID for instance_uuid but received "web-1".`},
		{nodeA, `[{"op":"add","path":"/instance_uuid","value":7}]`, 400, "Field instance_uuid must be a string, not a number."},
		{nodeA, set("add", upper), 200, ""},
		{nodeA, set("replace", instance), 200, ""}, // the same one
		{nodeA, set("replace", bare), 200, ""},
		{nodeA, set("replace", nodeB), 409, "Node " + nodeA + " is associated with instance " + instance + "."},
		{nodeB, set("add", instance), 409, "Instance " + instance +
			" is already associated with a node, it cannot be associated with this other node " + nodeB + "."},
		{nodeB, set("add", bare), 409, "Instance " + instance +
			" is already associated with a node, it cannot be associated with this other node " + nodeB + "."},
		{nodeA, `[{"op":"remove","path":"/instance_uuid"}]`, 200, ""},
		{nodeB, set("add", bare), 200, ""},
	} {
		resp, body := s.ask("1.115", "PATCH", "/v1/nodes/"+tt.uuid, tt.patch)
		if tt.status != 200 {
			s.refused(tt.patch, resp, body, tt.status, tt.want)
		} else if resp.StatusCode != 200 {
			t.Errorf("%s: %d %s", tt.patch, resp.StatusCode, body)
		}
	}
	for _, spelled := range []string{instance, upper, bare} {
		_, body := s.ask("1.115", "GET", "/v1/nodes?instance_uuid="+spelled, "")
		if got := names(t, body, "nodes", "uuid"); got != nodeB {
			t.Errorf("instance %s is on %q", spelled, got)
		}
	}
	_, body := s.ask("1.115", "GET", "/v1/nodes/"+nodeB+"?fields=instance_uuid", "")
	if got := field(t, body, "instance_uuid"); got != instance {
		t.Errorf("shown as %v", got)
	}
}

// While a node is on its way it may not be patched, but for the one removal that maintenance allows.
func TestTheOneRemovalThatMaintenanceAllows(t *testing.T) {
	const remove = `{"op":"remove","path":"/instance_uuid"}`
	moving := "Node " + nodeA + " can not be updated while a state transition is in progress."
	for _, tt := range []struct {
		maintenance bool
		patch       string
		status      int
	}{
		{true, "[" + remove + "]", 200},
		{false, "[" + remove + "]", 409},
		{true, "[" + remove + `,{"op":"add","path":"/extra/a","value":1}]`, 409},
		{true, "[" + remove + "," + remove + "]", 409},
		{true, `[{"op":"replace","path":"/instance_uuid","value":null}]`, 409},
	} {
		s := newStack(t)
		s.put(&node.Node{UUID: nodeA, State: node.DeployWait, TargetState: node.Active, InstanceUUID: nodeB, Maintenance: tt.maintenance})
		resp, body := s.ask("1.115", "PATCH", "/v1/nodes/"+nodeA, tt.patch)
		if tt.status == 409 {
			s.refused(tt.patch, resp, body, 409, moving)
		}
		if gone := s.node(nodeA).InstanceUUID == ""; resp.StatusCode != tt.status || gone != (tt.status == 200) {
			t.Errorf("%s, maintenance %v: %d %s", tt.patch, tt.maintenance, resp.StatusCode, body)
		}
	}
}

// What one field's change does to another.
func TestFieldsThatChangeOthers(t *testing.T) {
	for _, tt := range []struct {
		what, patch string
		before      node.Node
		check       func(n *node.Node) bool
	}{
		{"leaving maintenance clears its reason and the fault", `[{"op":"replace","path":"/maintenance","value":"no"}]`,
			node.Node{Maintenance: true, MaintenanceReason: "disk", Fault: node.CleanFailure},
			func(n *node.Node) bool { return !n.Maintenance && n.MaintenanceReason == "" && n.Fault == node.NoFault }},
		{"removing maintenance leaves it too", `[{"op":"remove","path":"/maintenance"}]`,
			node.Node{Maintenance: true, MaintenanceReason: "disk", Fault: node.CleanFailure},
			func(n *node.Node) bool { return !n.Maintenance && n.MaintenanceReason == "" && n.Fault == node.NoFault }},
		{"staying in maintenance keeps both", `[{"op":"replace","path":"/maintenance","value":true}]`,
			node.Node{Maintenance: true, MaintenanceReason: "disk", Fault: node.PowerFailure},
			func(n *node.Node) bool { return n.MaintenanceReason == "disk" && n.Fault == node.PowerFailure }},
		{"an end of protection clears its reason", `[{"op":"replace","path":"/protected","value":false}]`,
			node.Node{State: node.Active, Protected: true, ProtectedReason: "mine"},
			func(n *node.Node) bool { return !n.Protected && n.ProtectedReason == "" }},
		{"an end of retirement clears its reason", `[{"op":"remove","path":"/retired"}]`,
			node.Node{Retired: true, RetiredReason: "old"}, func(n *node.Node) bool { return !n.Retired && n.RetiredReason == "" }},
		{"the compute service's display name names the instance", `[{"op":"add","path":"/instance_info/display_name","value":"web"}]`,
			node.Node{}, func(n *node.Node) bool { return n.InstanceName == "web" }},
		{"but does not rename it", `[{"op":"add","path":"/instance_info/display_name","value":"web"}]`,
			node.Node{InstanceName: "db"}, func(n *node.Node) bool { return n.InstanceName == "db" }},
		{"a group is kept in lower case", `[{"op":"add","path":"/conductor_group","value":""}]`,
			node.Node{}, func(n *node.Node) bool { return n.ConductorGroup == "" }},
		{"removing a config drive keeps the rest of instance_info", `[{"op":"remove","path":"/instance_info/configdrive"}]`,
			node.Node{ConfigDrive: "https://x/", InstanceInfo: node.Document{"a": "b"}},
			func(n *node.Node) bool { return n.ConfigDrive == "" && n.InstanceInfo["a"] == "b" }},
		{"a patch of instance_info keeps the config drive", `[{"op":"add","path":"/instance_info/a","value":"c"}]`,
			node.Node{ConfigDrive: "https://x/", InstanceInfo: node.Document{"a": "b"}},
			func(n *node.Node) bool { return n.ConfigDrive == "https://x/" && n.InstanceInfo["a"] == "c" }},
		{"replacing instance_info drops the config drive", `[{"op":"replace","path":"/instance_info","value":{"z":1}}]`,
			node.Node{ConfigDrive: "https://x/", InstanceInfo: node.Document{"a": "b"}},
			func(n *node.Node) bool {
				return n.ConfigDrive == "" && len(n.InstanceInfo) == 1 && n.InstanceInfo["z"] == 1.0
			}},
		{"automated_clean has three values", `[{"op":"replace","path":"/automated_clean","value":null}]`,
			node.Node{AutomatedClean: new(bool)}, func(n *node.Node) bool { return n.AutomatedClean == nil }},
		{"a parent is kept by its UUID", `[{"op":"add","path":"/parent_node","value":"parent"}]`,
			node.Node{}, func(n *node.Node) bool { return n.ParentNode == nodeB }},
		{"and is forgotten", `[{"op":"remove","path":"/parent_node"}]`,
			node.Node{ParentNode: nodeB}, func(n *node.Node) bool { return n.ParentNode == "" }},
	} {
		s := newStack(t)
		s.put(&node.Node{UUID: nodeB, Name: "parent", State: node.Manageable})
		n := tt.before
		n.UUID = nodeA
		if n.State == "" {
			n.State = node.Manageable
		}
		s.put(&n)
		resp, body := s.ask("1.115", "PATCH", "/v1/nodes/"+nodeA, tt.patch)
		if after := s.node(nodeA); resp.StatusCode != 200 || !tt.check(after) {
			t.Errorf("%s: %d %s\n%+v", tt.what, resp.StatusCode, body, after)
		}
	}
}

// Patches of ports on a real database: what each field takes, and what it answers when it does not.
func TestPatchingAPort(t *testing.T) {
	for _, tt := range []struct {
		patch  string
		status int
		want   string // of the refusal, or a part of the port
	}{
		{`[{"op":"replace","path":"/address","value":"AA-BB-CC-DD-EE-FF"}]`, 200, `"address":"aa:bb:cc:dd:ee:ff"`},
		{`[{"op":"replace","path":"/address","value":"aa:bb:cc"}]`, 400, "Expected a MAC address but received aa:bb:cc."},
		{`[{"op":"remove","path":"/address"}]`, 400, "Expected a MAC address but received <nil>."},
		{`[{"op":"replace","path":"/address","value":"52:54:00:00:00:02"}]`, 409, "A port with MAC address 52:54:00:00:00:02 already exists."},
		{`[{"op":"replace","path":"/name","value":"eth1"}]`, 409, "A port with name eth1 already exists."},
		{`[{"op":"replace","path":"/name","value":"left"}]`, 200, `"name":"left"`},
		{`[{"op":"remove","path":"/name"}]`, 200, `"name":null`},
		{`[{"op":"replace","path":"/node_uuid","value":"blade"}]`, 400, "Expected a UUID for node_uuid but received blade."},
		{`[{"op":"replace","path":"/node_uuid","value":"` + portA + `"}]`, 400, "Node " + portA + " could not be found."},
		{`[{"op":"replace","path":"/node_uuid","value":"` + strings.ToUpper(nodeB) + `"}]`, 200, `"node_uuid":"` + nodeB + `"`},
		{`[{"op":"remove","path":"/node_uuid"}]`, 400, "Expected a UUID for node_uuid but received <nil>."},
		{`[{"op":"replace","path":"/pxe_enabled","value":"off"}]`, 200, `"pxe_enabled":false`},
		{`[{"op":"remove","path":"/pxe_enabled"}]`, 200, `"pxe_enabled":true`},
		{`[{"op":"replace","path":"/pxe_enabled","value":2}]`, 400, "Field pxe_enabled must be a boolean, not a number."},
		{`[{"op":"replace","path":"/is_smartnic","value":"perhaps"}]`, 400, "Field is_smartnic must be a boolean, not a string."},
		{`[{"op":"add","path":"/physical_network","value":"` + strings.Repeat("p", 65) + `"}]`, 400,
			"Field physical_network may have at most 64 characters, not 65."},
		{`[{"op":"add","path":"/vendor","value":"` + strings.Repeat("v", 33) + `"}]`, 400,
			"Field vendor may have at most 32 characters, not 33."},
		{`[{"op":"add","path":"/category","value":"` + strings.Repeat("c", 81) + `"}]`, 400,
			"Field category may have at most 80 characters, not 81."},
		{`[{"op":"add","path":"/description","value":"` + strings.Repeat("d", 256) + `"}]`, 400,
			"Field description may have at most 255 characters, not 256."},
		{`[{"op":"add","path":"/local_link_connection/switch_info","value":"leaf-7"}]`, 200, `"switch_info":"leaf-7"`},
		{`[{"op":"replace","path":"/local_link_connection","value":"leaf-7"}]`, 400,
			"Field local_link_connection must be an object, not a string."},
		{`[{"op":"add","path":"/extra/vif_port_id","value":"v"}]`, 200, `"extra":{"vif_port_id":"v"}`},
		// says the conductor
		{`[{"op":"add","path":"/portgroup_uuid","value":"` + nodeA + `"}]`, 400, "Portgroup " + nodeA + " could not be found."},
		{`[{"op":"add","path":"/portgroup_uuid","value":"bond0"}]`, 400, `Expected a UUID for portgroup_uuid but received "bond0".`},
		{`[{"op":"add","path":"/portgroup_uuid","value":null}]`, 200, `"portgroup_uuid":null`},
		{`[{"op":"add","path":"/colour","value":1}]`, 400, "Adding a new attribute (/colour) to the root of the resource is not allowed"},
		{`[{"op":"add","path":"/internal_info/tenant_vif_port_id","value":"v"}]`, 400,
			"Cannot patch /internal_info. Only the following can be updated: " + portFields(t)},
	} {
		s := newStack(t)
		s.put(&node.Node{UUID: nodeA, Name: "blade", State: node.Manageable})
		s.put(&node.Node{UUID: nodeB, State: node.Manageable})
		for i, uuid := range []string{portA, portA[:35] + "2"} {
			p := node.Port{UUID: uuid, NodeUUID: nodeA, Name: fmt.Sprint("eth", i), Address: fmt.Sprintf("52:54:00:00:00:0%d", i+1),
				PXEEnabled: true}
			if err := s.db.Ports.Create(t.Context(), &p); err != nil {
				t.Fatal(err)
			}
		}
		before, err := s.db.Ports.Get(t.Context(), portA)
		if err != nil {
			t.Fatal(err)
		}
		resp, body := s.ask("1.115", "PATCH", "/v1/ports/"+portA, tt.patch)
		if tt.status == 200 {
			if resp.StatusCode != 200 || !strings.Contains(body, tt.want) {
				t.Errorf("%s: %d %s, want %s", tt.patch, resp.StatusCode, body, tt.want)
			}
			continue
		}
		s.refused(tt.patch, resp, body, tt.status, tt.want)
		if after, err := s.db.Ports.Get(t.Context(), portA); err != nil || !cmp.Equal(before, after) {
			t.Errorf("%s changed the port: %v", tt.patch, cmp.Diff(before, after))
		}
	}
}

package api

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/node"
)

func TestNodePatches(t *testing.T) {
	no := false
	for _, tt := range []struct {
		patch string
		want  func(n *node.Node)
	}{
		{`[]`, func(*node.Node) {}},
		{`[{"op":"add","path":"/name","value":"new"}]`, func(n *node.Node) { n.Name = "new" }},
		{`[{"op":"replace","path":"/name","value":null}]`, func(n *node.Node) { n.Name = "" }},
		{`[{"op":"remove","path":"/name"}]`, func(n *node.Node) { n.Name = "" }},
		{`[{"op":"add","path":"/driver_info/ipmi_port","value":6230}]`, func(n *node.Node) { n.DriverInfo["ipmi_port"] = 6230.0 }},
		{`[{"op":"replace","path":"/driver_info/ipmi_password","value":"new"}]`, func(n *node.Node) { n.DriverInfo["ipmi_password"] = "new" }},
		{`[{"op":"remove","path":"/driver_info/ipmi_password"}]`, func(n *node.Node) { delete(n.DriverInfo, "ipmi_password") }},
		{`[{"op":"remove","path":"/driver_info"}]`, func(n *node.Node) { n.DriverInfo = node.Document{} }},
		{`[{"op":"replace","path":"/driver_info","value":{"a":1}}]`, func(n *node.Node) { n.DriverInfo = node.Document{"a": 1.0} }},
		{`[{"op":"add","path":"/instance_info/root_gb","value":20}]`, func(n *node.Node) { n.InstanceInfo["root_gb"] = 20.0 }},
		{`[{"op":"remove","path":"/instance_info/configdrive"}]`, func(n *node.Node) { n.ConfigDrive = "" }},
		{`[{"op":"add","path":"/instance_info/configdrive","value":"http://x/d"}]`, func(n *node.Node) { n.ConfigDrive = "http://x/d" }},
		{`[{"op":"replace","path":"/instance_info","value":{}}]`, func(n *node.Node) { n.ConfigDrive, n.InstanceInfo = "", node.Document{} }},
		{`[{"op":"add","path":"/properties/list","value":[1]},{"op":"add","path":"/properties/list/-","value":2},{"op":"add","path":"/` +
			`properties/list/0","value":0}]`,
			func(n *node.Node) { n.Properties["list"] = []any{0.0, 1.0, 2.0} }},
		{`[{"op":"add","path":"/extra/big","value":12345678901234567890}]`,
			func(n *node.Node) { n.Extra["big"] = json.Number("12345678901234567890") }},
		{`[{"op":"remove","path":"/instance_uuid"}]`, func(n *node.Node) { n.InstanceUUID = "" }},
		{`[{"op":"replace","path":"/automated_clean","value":"false"}]`, func(n *node.Node) { n.AutomatedClean = &no }},
		{`[{"op":"remove","path":"/automated_clean"}]`, func(n *node.Node) { n.AutomatedClean = nil }},
		{`[{"op":"remove","path":"/conductor_group"}]`, func(n *node.Node) { n.ConductorGroup = "" }},
		{`[{"op":"add","path":"/conductor_group","value":"Rack-1"}]`, func(n *node.Node) { n.ConductorGroup = "rack-1" }},
		{`[{"op":"add","path":"/boot_interface","value":"pxe"}]`, func(n *node.Node) { n.Interfaces[node.Boot] = "pxe" }},
		{`[{"op":"remove","path":"/boot_interface"}]`, func(n *node.Node) { delete(n.Interfaces, node.Boot) }},
		{`[{"op":"replace","path":"/maintenance","value":true}]`, func(n *node.Node) { n.Maintenance = true }},
		{`[{"op":"add","path":"/parent_node","value":"` + nodeB + `"}]`, func(n *node.Node) { n.ParentNode = nodeB }},
		{`[{"op":"add","path":"/owner","value":"me"},{"op":"add","path":"/protected","value":true},{"op":"add","path":"/protected_reason",` +
			`"value":"mine"}]`,
			func(n *node.Node) { n.Owner, n.Protected, n.ProtectedReason = "me", true, "mine" }},
	} {
		s := newServer(t)
		want := deploying().Clone()
		tt.want(want)
		resp, body := s.ask("1.115", "PATCH", "/v1/nodes/rack1-u7", tt.patch)
		if resp.StatusCode != 200 || field(t, body, "uuid") != nodeA {
			t.Errorf("%s: %d %s", tt.patch, resp.StatusCode, body)
		}
		if diff := cmp.Diff(want, s.nodes[0].Clone()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.patch, diff)
		}
		if leak := leaks(body); leak != "" {
			t.Errorf("%s: the answer holds %q", tt.patch, leak)
		}
	}
}

func TestPatchRefusals(t *testing.T) {
	cannot := func(what string) string {
		return "Cannot patch " + what + ". Only the following can be updated: " + strings.Join(nodePatchable, ", ")
	}
	const notAList = `A PATCH needs a JSON list of operations, each an object with "op", "path" and, for add and replace, "value".`
	const badPath = `A patch operation needs "path" to be like "/field" or "/field/key", of letters, digits, _ and -.`
	for _, tt := range []struct {
		version, patch string
		status         int
		want           string
	}{
		{"1.90", ``, 400, notAList},
		{"1.90", `{}`, 400, notAList},
		{"1.90", `null`, 400, notAList},
		{"1.90", `[5]`, 400, "A patch operation must be an object: 5"},
		{"1.90", `[{"op":"move","path":"/extra/a","from":"/extra/b"}]`, 400,
			`A patch operation needs "op" to be one of add, replace and remove.`},
		{"1.90", `[{"op":"test","path":"/driver_info/ipmi_password","value":"guess"}]`, 400,
			`A patch operation needs "op" to be one of add, replace and remove.`},
		{"1.90", `[{"op":"add","value":1}]`, 400, badPath},
		{"1.90", `[{"op":"add","path":"extra","value":1}]`, 400, badPath},
		{"1.90", `[{"op":"add","path":"/extra/a.b","value":1}]`, 400, badPath},
		{"1.90", `[{"op":"add","path":"","value":{}}]`, 400, badPath},
		{"1.90", `[{"op":"add","path":"/extra/","value":{}}]`, 400, badPath},
		{"1.90", `[{"op":"add","path":"/extra/a"}]`, 400, `The patch operation add of /extra/a needs a "value".`},
		{"1.90", `[{"op":"remove","path":"/extra/rack","why":1}]`, 400, `A patch operation has no "why"; allowed are op, path and value.`},
		{"1.90", `[{"op":"add","path":"/colour","value":"red"}]`, 400,
			"Adding a new attribute (/colour) to the root of the resource is not allowed"},
		{"1.90", `[{"op":"replace","path":"/colour","value":"red"}]`, 400, cannot("/colour")},
		{"1.90", `[{"op":"replace","path":"/uuid","value":"` + nodeB +
			`"},{"op":"replace","path":"/power_state","value":"power on"},{"op":"add","path":"/extra/a","value":1}]`, 400,
			cannot("/power_state, /uuid")},
		{"1.90", `[{"op":"add","path":"/traits/-","value":"CUSTOM_A"}]`, 400, cannot("/traits")},
		{"1.49", `[{"op":"replace","path":"/owner","value":"me"}]`, 406,
			"Request not acceptable. The minimal required API version for the field 'owner' is 1.50."},
		{"1.90", `[{"op":"add","path":"/extra/a","value":1},{"op":"replace","path":"/extra/nothing","value":1}]`, 400,
			`Couldn't apply patch 'replace /extra/nothing'. Reason: there is no "/extra/nothing" to replace in the resource`},
		{"1.90", `[{"op":"remove","path":"/extra/nothing"}]`, 400,
			`Couldn't apply patch 'remove /extra/nothing'. Reason: there is no "/extra/nothing" to remove in the resource`},
		{"1.90", `[{"op":"add","path":"/extra/a/b","value":1}]`, 400,
			`Couldn't apply patch 'add /extra/a/b'. Reason: /extra/a is neither an object nor a list that "b" could be added to`},
		{"1.90", `[{"op":"add","path":"/driver_info/ipmi_password/x","value":1}]`, 400, `Couldn't apply patch 'add /driver_info/ipmi_password/` +
			`x'. Reason: /driver_info/ipmi_password is neither an object nor a list that "x" could be added to`},
		{"1.90", `[{"op":"remove","path":"/driver"}]`, 400, "'/driver' is a mandatory attribute and can not be removed"},
		{"1.90", `[{"op":"replace","path":"/extra","value":"x"}]`, 400, "Field extra must be an object, not a string."},
		{"1.90", `[{"op":"replace","path":"/maintenance","value":"perhaps"}]`, 400, "Field maintenance must be a boolean, not a string."},
		{"1.90", `[{"op":"replace","path":"/instance_uuid","value":"web-1"}]`, 400, `Expected a UUID for instance_uuid but received "web-1".`},
		{"1.90", `[{"op":"replace","path":"/name","value":"detail"}]`, 400,
			`Cannot use "detail" as the name of a node: the API has a path of that name.`},
		{"1.90", `[{"op":"replace","path":"/parent_node","value":"nobody"}]`, 400, `The parent node "nobody" could not be found.`},
		{"1.90", `[{"op":"add","path":"/instance_info/configdrive","value":{}}]`, 400,
			"instance_info.configdrive must be a string, not an object."},
	} {
		s := newServer(t)
		resp, body := s.ask(tt.version, "PATCH", "/v1/nodes/rack1-u7", tt.patch)
		if got := faultstring(t, body); resp.StatusCode != tt.status || got != tt.want {
			t.Errorf("%s:\n got %d %s\nwant %d %s", tt.patch, resp.StatusCode, got, tt.status, tt.want)
		}
		if diff := cmp.Diff(deploying().Clone(), s.nodes[0].Clone()); diff != "" {
			t.Errorf("%s changed the node:\n%s", tt.patch, diff)
		}
	}
}

// What the conductor is told about a PATCH.
func TestPatchOptions(t *testing.T) {
	for _, tt := range []struct {
		version, path, patch string
		want                 node.UpdateOptions
	}{
		{"1.38", "", `[{"op":"remove","path":"/instance_uuid"}]`,
			node.UpdateOptions{OnlyRemovesInstance: true, Fields: []string{"instance_uuid"}}},
		{"1.39", "",
			`[{"op":"remove","path":"/instance_uuid"},{"op":"add","path":"/extra/a","value":1},{"op":"add","path":"/extra/b","value":1}]`,
			node.UpdateOptions{KnowsInspectWait: true, Fields: []string{"instance_uuid", "extra"}}},
		{"1.45", "?reset_interfaces=true", `[{"op":"replace","path":"/driver","value":"x"}]`,
			node.UpdateOptions{KnowsInspectWait: true, ResetInterfaces: true, Fields: []string{"driver"}}},
	} {
		s := newServer(t)
		if resp, body := s.ask(tt.version, "PATCH", "/v1/nodes/rack1-u7"+tt.path, tt.patch); resp.StatusCode != 200 {
			t.Errorf("%s: %d %s", tt.patch, resp.StatusCode, body)
		}
		if diff := cmp.Diff(updated{"rack1-u7", tt.want}, s.calls[0]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.patch, diff)
		}
	}
	s := newServer(t)
	resp, body := s.ask("1.44", "PATCH", "/v1/nodes/rack1-u7?reset_interfaces=true", `[{"op":"replace","path":"/driver","value":"x"}]`)
	if resp.StatusCode != 406 ||
		faultstring(t, body) != "Request not acceptable. The minimal required API version for the query argument 'reset_interfaces' is 1.45." {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	resp, body = s.ask("1.45", "PATCH", "/v1/nodes/rack1-u7?reset_interfaces=true", `[{"op":"add","path":"/extra/a","value":1}]`)
	if resp.StatusCode != 400 || faultstring(t, body) != "The reset_interfaces parameter can only be used when changing the node's driver." {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

func TestPortPatches(t *testing.T) {
	s := newServer(t)
	resp, body := s.ask("1.115", "PATCH", "/v1/ports/eth0", `[
		{"op":"replace","path":"/address","value":"52-54-00-AA-BB-CC"},{"op":"remove","path":"/pxe_enabled"},
		{"op":"add","path":"/local_link_connection/switch_id","value":"0a:1b:2c:3d:4e:5f"},{"op":"replace","path":"/node_uuid","value":"`+nodeB+
		`"},
		{"op":"replace","path":"/name","value":null},{"op":"add","path":"/is_smartnic","value":true},{"op":"add","path":"/vendor","value":"Intel"}]`)
	if resp.StatusCode != 200 {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	want := node.Port{ID: 1, UUID: portA, NodeUUID: nodeB, Address: "52:54:00:aa:bb:cc", PXEEnabled: true, IsSmartNIC: true, Vendor: "Intel",
		CreatedAt:           epoch,
		LocalLinkConnection: node.Document{"port_id": "Gi1/0/7", "switch_id": "0a:1b:2c:3d:4e:5f"}}
	if diff := cmp.Diff(want, s.ports[0]); diff != "" {
		t.Error(diff)
	}
	resp, body = s.ask("1.115", "PATCH", "/v1/ports/"+portA, `[{"op":"replace","path":"/internal_info","value":{}}]`)
	refused := "Cannot patch /internal_info. Only the following can be updated: " + portFields(t)
	if resp.StatusCode != 400 || faultstring(t, body) != refused {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

// Whatever a client sends, secrets it does not name stay, and the answer shows none.
func FuzzPatch(f *testing.F) {
	for _, p := range []string{
		`[{"op":"add","path":"/extra/a","value":{"b":[1,2.5e3,null]}}]`, `[{"op":"remove","path":"/driver_info/nested/list/0"}]`,
		`[{"op":"replace","path":"/properties/capabilities","value":"******"}]`, `[{"op":"add","path":"/extra/-","value":1}]`,
		`[{"op":"remove","path":"/instance_info"},{"op":"add","path":"/instance_info/x","value":1}]`, `[[]]`, `[{}]`,
		"[{\"op\":\"add\",\"path\":\"/\xff\"}]",
	} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, patch string) {
		s := newServer(t)
		resp, body := s.ask("1.115", "PATCH", "/v1/nodes/rack1-u7", patch)
		if resp.StatusCode != 200 && resp.StatusCode != 400 {
			t.Fatalf("%q: %d %s", patch, resp.StatusCode, body)
		}
		if !strings.Contains(patch, "driver_info") && s.nodes[0].DriverInfo["ipmi_password"] != bmcSecret {
			t.Errorf("%q changed the BMC's password", patch)
		}
		if leak := leaks(body); leak != "" && !strings.Contains(patch, leak) {
			t.Errorf("%q: the answer holds %q", patch, leak)
		}
	})
}

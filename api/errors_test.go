package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/billet-metal/billet/door"
	"github.com/billet-metal/billet/node"
)

// The whole body of an error is what clients parse.
func TestErrorBodies(t *testing.T) {
	locked := node.Locked(&node.Node{UUID: nodeA, Lease: node.Lease{Holder: "conductor-1"}})
	for _, tt := range []struct {
		err    error
		status int
		want   string
	}{
		{locked, 409, `{"error_message":"{\"faultcode\":\"Client\",\"faultstring\":\"Node 1be26c0b-03f2-4d2e-ae87-c02d7f33c123 is locked by ` +
			`host conductor-1, please retry after the current operation is completed.\",\"debuginfo\":null}"}`},
		{fmt.Errorf("reserving: %w", locked), 409, `{"error_message":"{\"faultcode\":\"Client\",\"faultstring\":\"Node ` +
			`1be26c0b-03f2-4d2e-ae87-c02d7f33c123 is locked by host conductor-1, please retry after the current operation is ` +
			`completed.\",\"debuginfo\":null}"}`},
		{node.Errorf(node.Invalid, `a "quoted" <text> & more`), 400,
			`{"error_message":"{\"faultcode\":\"Client\",\"faultstring\":\"a \\\"quoted\\\" <text> & more\",\"debuginfo\":null}"}`},
		{node.Errorf(node.Forbidden, "protected"), 403,
			`{"error_message":"{\"faultcode\":\"Client\",\"faultstring\":\"protected\",\"debuginfo\":null}"}`},
		{node.NodeNotFound("x"), 404,
			`{"error_message":"{\"faultcode\":\"Client\",\"faultstring\":\"Node x could not be found.\",\"debuginfo\":null}"}`},
		{node.Errorf(node.NotAllowed, "no"), 405, `{"error_message":"{\"faultcode\":\"Client\",\"faultstring\":\"no\",\"debuginfo\":null}"}`},
		{node.Errorf(node.NotAcceptable, "no"), 406, `{"error_message":"{\"faultcode\":\"Client\",\"faultstring\":\"no\",\"debuginfo\":null}"}`},
		{node.Errorf(node.Unavailable, "busy"), 503,
			`{"error_message":"{\"faultcode\":\"Server\",\"faultstring\":\"busy\",\"debuginfo\":null}"}`},
		{&node.Err{Kind: node.Internal, Msg: "the database is gone", Cause: errors.New("dial tcp: " + bmcSecret)}, 500,
			`{"error_message":"{\"faultcode\":\"Server\",\"faultstring\":\"the database is gone\",\"debuginfo\":null}"}`},
		{errors.New("dial tcp: " + bmcSecret), 500,
			`{"error_message":"{\"faultcode\":\"Server\",\"faultstring\":\"The service could not handle ` +
				`the request; its log says why, under the request id of this answer.\",\"debuginfo\":null}"}`},
		{fmt.Errorf("read node x: %w", node.StoreAway(errors.New("dial tcp: "+bmcSecret))), 503,
			`{"error_message":"{\"faultcode\":\"Server\",\"faultstring\":\"The service can not use its database at the moment, please ` +
				`retry.\",\"debuginfo\":null}"}`},
		{node.ErrLeaseLost, 409, `{"error_message":"{\"faultcode\":\"Client\",\"faultstring\":\"The node was taken over by another conductor ` +
			`while this request ran, please retry.\",\"debuginfo\":null}"}`},
		{aborted(404, ""), 404, `{"error_message":"{\"code\":404,\"title\":\"Not Found\",\"description\":\"\"}"}`},
		{aborted(405, ""), 405, `{"error_message":"{\"code\":405,\"title\":\"Method Not Allowed\",\"description\":\"\"}"}`},
		{&flatError{413, "large"}, 413, `{"faultcode":"Client","faultstring":"large"}`},
		{&door.Refusal{Status: 401, Text: "Authorization required"}, 401, `{"error":{"code":401,"message":"Authorization required"}}`},
		{&door.Refusal{Status: 400, Text: "malformed"}, 400, `{"error":{"code":400,"message":"malformed"}}`},
	} {
		rec := httptest.NewRecorder()
		writeError(rec, slog.New(slog.DiscardHandler), tt.err)
		if got := rec.Body.String(); rec.Code != tt.status || got != tt.want {
			t.Errorf("%v:\n got %d %s\nwant %d %s", tt.err, rec.Code, got, tt.status, tt.want)
		}
		if ct := rec.Header().Get("Content-Type"); ct != "application/json" {
			t.Errorf("%v: content type %s", tt.err, ct)
		}
	}
}

func TestOnlyOurOwnFailuresAreLogged(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	writeError(httptest.NewRecorder(), logger, node.Errorf(node.Invalid, "yours"))
	if log.Len() > 0 {
		t.Errorf("logged %s", log.String())
	}
	writeError(httptest.NewRecorder(), logger, errors.New("ours"))
	if !strings.Contains(log.String(), "msg=\"request failed\" error=ours") {
		t.Errorf("logged %s", log.String())
	}
}

// What the API itself refuses: the whole text, and the conductor never hears of it.
func TestRefusals(t *testing.T) {
	node1 := "/v1/nodes/rack1-u7"
	for _, tt := range []struct {
		version, method, path, body string
		status                      int
		want                        string
	}{
		{"1.90", "GET", "/v1/nowhere", "", 404, ""},
		{"1.90", "GET", "/v1/nodes/no-such-node", "", 404, "Node no-such-node could not be found."},
		{"1.90", "GET", "/v1/nodes/a%20b", "", 400, `Expected a logical name or UUID but received "a b".`},
		{"1.90", "GET", node1 + "?colour=red", "", 400, "Unexpected arguments: colour"},
		{"1.90", "GET", "/v1/nodes?b=1&a=2", "", 400, "Unexpected arguments: a, b"},
		{"1.90", "GET", "/v1/nodes?limit=0", "", 400, "Limit must be positive"},
		{"1.90", "GET", "/v1/nodes?limit=many", "", 400, `Invalid input for limit: "many" is not an integer.`},
		{"1.90", "GET", "/v1/nodes?sort_dir=up", "", 400, "Invalid sort direction: up. Acceptable values are 'asc' or 'desc'"},
		{"1.90", "GET", "/v1/nodes?sort_key=extra", "", 400, `The sort_key value "extra" is an invalid field for sorting`},
		{"1.90", "GET", "/v1/nodes?sort_key=colour", "", 400, `The sort_key value "colour" is an invalid field for sorting`},
		{"1.20", "GET", "/v1/nodes?sort_key=owner", "", 406,
			"Request not acceptable. The minimal required API version for the field 'owner' is 1.50."},
		{"1.90", "GET", "/v1/nodes?marker=" + portA, "", 404, "Node " + portA + " could not be found."},
		{"1.7", "GET", "/v1/nodes?fields=uuid", "", 406,
			"Request not acceptable. The minimal required API version for the query argument 'fields' is 1.8."},
		{"1.90", "GET", "/v1/nodes?fields=uuid,colour", "", 400, `Field(s) "colour" are not valid for a node.`},
		{"1.20", "GET", "/v1/nodes?fields=owner", "", 406,
			"Request not acceptable. The minimal required API version for the field 'owner' is 1.50."},
		{"1.90", "GET", "/v1/nodes?fields=uuid&detail=true", "", 400, "Can't fetch a subset of fields with 'detail' set"},
		{"1.42", "GET", "/v1/nodes?detail=true", "", 400, "Invalid query parameter ?detail=true received. It needs API version 1.43."},
		{"1.8", "GET", "/v1/nodes?provision_state=active", "", 406,
			"Request not acceptable. The minimal required API version for the filter 'provision_state' is 1.9."},
		{"1.90", "GET", "/v1/nodes?fault=flu", "", 400, `Unrecognized fault "flu" is specified, allowed fault types are: power failure, clean ` +
			`failure, rescue abort failure, service failure`},
		{"1.90", "GET", "/v1/nodes?instance_uuid=x", "", 400, `Expected UUID for instance_uuid: "x"`},
		{"1.90", "GET", "/v1/nodes?maintenance=perhaps", "", 400, `Invalid input for maintenance: unrecognized value "perhaps", acceptable ` +
			`values are: 0, 1, f, false, n, no, off, on, t, true, y, yes`},
		{"1.90", "GET", "/v1/nodes/validate", "", 400, "The query needs node=<UUID or name>."},

		{"1.90", "POST", "/v1/nodes", "", 400, `A node needs the field "driver": the name of a hardware type.`},
		{"1.90", "POST", "/v1/nodes", "[]", 400, "The body must be a JSON object, not a list."},
		{"1.90", "POST", "/v1/nodes", "{", 400, "The body is not valid JSON: unexpected EOF."},
		{"1.90", "POST", "/v1/nodes", "{} {}", 400, "The body is not valid JSON: there is something after the JSON value."},
		{"1.90", "POST", "/v1/nodes", `{"driver":5}`, 400, "Field driver must be a string, not a number."},
		{"1.90", "POST", "/v1/nodes", `{"driver":"ipmi","uuid":"x"}`, 400, "Expected a UUID for uuid but received x."},
		{"1.90", "POST", "/v1/nodes", `{"driver":"ipmi","properties":[]}`, 400, "Field properties must be an object, not a list."},
		{"1.90", "POST", "/v1/nodes", `{"driver":"ipmi","name":"states"}`, 400,
			`Cannot use "states" as the name of a node: the API has a path of that name.`},
		{"1.90", "POST", "/v1/nodes", `{"driver":"ipmi","name":"a b"}`, 400,
			`Cannot use "a b" as the name of a node. Allowed are letters, digits and the characters - . _ ~`},
		{"1.90", "POST", "/v1/nodes", `{"driver":"ipmi","name":"` + nodeB + `"}`, 400,
			`The name of a node may not look like a UUID: "` + nodeB + `".`},
		{"1.20", "POST", "/v1/nodes", `{"driver":"ipmi","owner":"me"}`, 406,
			"Request not acceptable. The minimal required API version for the field 'owner' is 1.50."},
		{"1.90", "POST", "/v1/nodes", `{"driver":"ipmi","resource_class":"` + strings.Repeat("x", 81) + `"}`, 400,
			"Field resource_class may have at most 80 characters, not 81."},
		{"1.90", "POST", "/v1/nodes", `{"driver":"ipmi","chassis_uuid":"rack1"}`, 400, `Expected a UUID for chassis_uuid but received "rack1".`},
		{"1.90", "POST", "/v1/nodes", `{"driver":"ipmi","conductor_group":"a/b"}`, 400,
			`Value "a/b" for conductor_group is not allowed: use letters, digits and the characters _ - .`},
		{"1.90", "POST", "/v1/nodes", `{"driver":"ipmi","parent_node":"nobody"}`, 400, `The parent node "nobody" could not be found.`},

		{"1.90", "PUT", node1 + "/states/power", `{"target":"reboot"}`, 400,
			"The power state reboot is not valid. Allowed are: power on, power off, rebooting, soft power off, soft rebooting"},
		{"1.90", "PUT", node1 + "/states/power", `{"target":null}`, 400,
			`The body needs "target": one of power on, power off, rebooting, soft power off, soft rebooting`},
		{"1.90", "PUT", node1 + "/states/power", `{"target":"explode"}`, 400,
			"The power state explode is not valid. Allowed are: power on, power off, rebooting, soft power off, soft rebooting"},
		{"1.26", "PUT", node1 + "/states/power", `{"target":"soft power off"}`, 406,
			"Request not acceptable. The minimal required API version for the power state 'soft power off' is 1.27."},
		{"1.26", "PUT", node1 + "/states/power", `{"target":"power on","timeout":5}`, 406,
			"Request not acceptable. The minimal required API version for the argument 'timeout' is 1.27."},
		{"1.90", "PUT", node1 + "/states/power", `{"target":"power on","timeout":0}`, 400,
			"The timeout must be a whole number of seconds of at least 1, not 0."},
		{"1.90", "PUT", node1 + "/states/power", `{"target":"power on","when":"now"}`, 400, "Unexpected arguments: when"},
		{"1.90", "PUT", node1 + "/management/boot_device", `{}`, 400, `The body needs "boot_device": the name of a boot device.`},
		{"1.90", "PUT", node1 + "/management/boot_device", `{"boot_device":"pxe","persistent":5}`, 400,
			"Field persistent must be a boolean, not a number."},
		{"1.90", "PUT", node1 + "/maintenance", `{"why":"x"}`, 400, "Unexpected arguments: why"},

		{"1.11", "PUT", node1 + "/states/raid", `{}`, 404, "The resource could not be found."},
		{"1.12", "PUT", node1 + "/states/raid", "", 400,
			"The body must be the RAID configuration, a JSON object; {} takes back the one there is."},
		{"1.12", "PUT", node1 + "/states/raid", `[]`, 400, "The body must be a JSON object, not a list."},
		{"1.11", "GET", "/v1/drivers/ipmi/raid/logical_disk_properties", "", 404, "The resource could not be found."},
		{"1.12", "GET", "/v1/drivers/ilo/raid/logical_disk_properties", "", 404,
			"Could not find the following driver(s) or hardware type(s): ilo."},
		{"1.12", "GET", "/v1/drivers/ipmi/raid/logical_disk_properties?fields=x", "", 400, "Unexpected arguments: fields"},

		{"1.36", "GET", node1 + "/traits", "", 404, "The resource could not be found."},
		{"1.90", "PUT", node1 + "/traits/custom_x", "", 400, `The trait "custom_x" is not valid: a trait is a standard one such as ` +
			`HW_CPU_X86_VMX, or CUSTOM_ followed by A-Z, 0-9 and _, of at most 255 characters.`},
		{"1.90", "PUT", node1 + "/traits/CUSTOM_X", "{}", 400, "No body should be provided when adding a trait."},
		{"1.90", "PUT", node1 + "/traits", `{"traits":"CUSTOM_X"}`, 400, `The body needs "traits": a list of strings.`},
		{"1.90", "DELETE", node1 + "/traits/CUSTOM_X", "", 404, "Node " + nodeA + " doesn't have a trait 'CUSTOM_X'"},
		{"1.90", "POST", node1 + "/vifs", `{}`, 400, `The body needs "id": the virtual interface to attach.`},
		{"1.90", "DELETE", node1 + "/vifs/x", "", 400, "VIF x is not attached to node " + nodeA},
		{"1.77", "GET", node1 + "/history", "", 404, "The resource could not be found."},
		{"1.90", "GET", node1 + "/history?sort_key=event", "", 400, `The sort_key value "event" is an invalid field for sorting`},
		{"1.90", "GET", node1 + "/history/x", "", 404, "Node history record x could not be found."},
		{"1.80", "GET", node1 + "/inventory", "", 404, "The resource could not be found."},

		{"1.90", "POST", "/v1/ports", `{"address":"52:54:00:00:00:01"}`, 400,
			`A port needs "address", its MAC address, and "node_uuid", the node it belongs to.`},
		{"1.90", "POST", "/v1/ports", `{"address":"52:54","node_uuid":"` + nodeA + `"}`, 400, "Expected a MAC address but received 52:54."},
		{"1.90", "POST", "/v1/ports", `{"address":"52:54:00:00:00:01","node_uuid":"` + portA + `"}`, 400,
			"Node " + portA + " could not be found."},
		{"1.18", "POST", "/v1/ports", `{"address":"52:54:00:00:00:01","node_uuid":"` + nodeA + `","pxe_enabled":true}`, 406,
			"Request not acceptable. The minimal required API version for the field 'pxe_enabled' is 1.19."},
		{"1.90", "GET", "/v1/ports?node=rack1-u7&shard=a", "", 403, "Ports can be listed by node, portgroup or shard, by one of them at a time."},
		{"1.90", "GET", "/v1/ports?address=x", "", 400, "Expected a MAC address but received x."},
		{"1.87", "GET", "/v1/ports/eth0", "", 400, `Expected a UUID but received "eth0".`},
		{"1.90", "DELETE", "/v1/ports/eth0", "", 400, `Expected a UUID but received "eth0".`},
		{"1.90", "GET", "/v1/ports/" + nodeA, "", 404, "Port " + nodeA + " could not be found."},
		{"1.115", "PATCH", "/v1/ports/" + portA, `[{"op":"replace","path":"/available_for_dynamic_portgroup","value":false}]`, 400,
			"available_for_dynamic_portgroup can only be true here: port groups are made by people only."},

		{"1.90", "GET", "/v1/drivers/none", "", 404, "Could not find the following driver(s) or hardware type(s): none."},
		{"1.29", "GET", "/v1/drivers?type=dynamic", "", 406,
			"Request not acceptable. The minimal required API version for the query argument 'type' is 1.30."},
		{"1.90", "GET", "/v1/drivers?type=odd", "", 400, `The driver type must be "classic" or "dynamic", not "odd".`},

		{"1.21", "GET", "/v1/lookup?addresses=" + macA, "", 404, "The resource could not be found."},
		{"1.62", "GET", "/v1/lookup?addresses=junk", "", 400, `A lookup needs at least one valid MAC address in "addresses", or "node_uuid".`},
		{"1.62", "GET", "/v1/lookup?node_uuid=rack1-u7", "", 400, `Expected a UUID for node_uuid but received "rack1-u7".`},
		{"1.67", "POST", "/v1/heartbeat/" + nodeA, `{"callback_url":"https://x","agent_verify_ca":"PEM"}`, 400,
			`Field "agent_verify_ca" not recognized: it needs API version 1.68.`},
		{"1.68", "POST", "/v1/heartbeat/" + nodeA, `{}`, 400, `A heartbeat needs "callback_url": the address of the agent's own API.`},
		{"1.68", "POST", "/v1/heartbeat/" + nodeA, `{"callback_url":"ftp://x"}`, 400, `The callback_url "ftp://x" is not an http or https URL.`},
		{"1.68", "POST", "/v1/heartbeat/" + nodeA, `{"callback_url":"https://x"}`, 400,
			`A heartbeat needs "agent_version" (API version 1.36 or later).`},
		{"1.68", "POST", "/v1/heartbeat/" + nodeA, `{"callback_url":"https://x","agent_version":"1"}`, 400,
			"Agent token is required for heartbeat processing (API version 1.62 or later)."},
		{"1.68", "POST", "/v1/heartbeat/" + nodeA, `{"callback_url":"https://x","mood":"good"}`, 400, "Unexpected arguments: mood"},
		{"1.50", "POST", "/v1/continue_inspection", `{"inventory":{}}`, 404, "Resource could not be found."},
		{"", "POST", "/v1/continue_inspection", ``, 400, `The body needs what the ramdisk found: an object with "inventory".`},
		{"", "POST", "/v1/continue_inspection", `{"inventory":5}`, 400, "Field inventory must be an object, not a number."},
		{"", "POST", "/billet/v1/progress/" + nodeA, `{"step":"x","done":-1}`, 400,
			`A progress report needs "step", and "done" and "total" of at least 0.`},
	} {
		s := newServer(t)
		resp, body := s.ask(tt.version, tt.method, tt.path, tt.body)
		if resp.StatusCode != tt.status || faultstring(t, body) != tt.want {
			t.Errorf("%s %s %s at %s:\n got %d %s\nwant %d %s", tt.method, tt.path, tt.body, tt.version, resp.StatusCode, faultstring(t, body),
				tt.status, tt.want)
		}
		for _, call := range s.calls {
			switch call.(type) {
			case updated, node.NodeFilter, node.Page:
			default:
				t.Errorf("%s %s: the conductor was asked to %#v", tt.method, tt.path, call)
			}
		}
	}
}

// What the conductor refuses reaches the client with its status and text, from every call.
func TestTheConductorsRefusalsAreAnswered(t *testing.T) {
	for _, g := range goldens {
		if g.method == "GET" && !strings.HasPrefix(g.name, "lookup") && !strings.HasPrefix(g.name, "validate") {
			continue
		}
		s := newServer(t)
		s.fail = node.Errorf(node.Conflict, "not now")
		resp, body := s.ask(g.version, g.method, g.path, g.body)
		if resp.StatusCode != 409 || faultstring(t, body) != "not now" || resp.Header.Get("Location") != "" {
			t.Errorf("%s: %d %s %s", g.name, resp.StatusCode, body, resp.Header.Get("Location"))
		}
	}
}

func TestLookupTellsNothingToStrangers(t *testing.T) {
	s := newServer(t)
	for _, text := range []string{"no node has these MACs", "node x is in state active"} {
		s.fail = node.Errorf(node.NotFound, "%s", text)
		resp, body := s.ask("1.62", "GET", "/v1/lookup?addresses="+macA, "")
		if resp.StatusCode != 404 || faultstring(t, body) != "Resource could not be found." {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
	}
}

// A client that has left, and one that only stopped sending, cannot be told apart: the refusal is written to both.
func TestARefusalIsWrittenToAClientThatStoppedSending(t *testing.T) {
	s := newServer(t)
	s.fail = context.Canceled
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequest("PUT", "http://127.0.0.1/v1/nodes/"+nodeA+"/maintenance", nil).WithContext(ctx)
	rec := httptest.NewRecorder()
	s.api.Handler().ServeHTTP(rec, r)
	if rec.Code != 500 || rec.Body.Len() == 0 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

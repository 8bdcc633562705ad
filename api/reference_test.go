package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/node"
)

// The tables of this file are Ironic's own, written out by hand from its reference. They do not come from the
// table since, so that a wrong number there shows here.

// nodeFieldsAt are the fields of a node by the minor version that first shows them.
var nodeFieldsAt = map[int]string{
	1: "uuid created_at updated_at chassis_uuid console_enabled driver driver_info extra instance_info instance_uuid last_error links " +
		"maintenance maintenance_reason ports power_state properties provision_state provision_updated_at reservation target_power_state " +
		"target_provision_state",
	3:  "driver_internal_info",
	5:  "name",
	6:  "inspection_started_at inspection_finished_at",
	7:  "clean_step",
	12: "raid_config target_raid_config",
	14: "states",
	20: "network_interface",
	21: "resource_class",
	24: "portgroups",
	31: "boot_interface console_interface deploy_interface inspect_interface management_interface power_interface raid_interface " +
		"vendor_interface",
	32:  "volume",
	33:  "storage_interface",
	37:  "traits",
	38:  "rescue_interface",
	40:  "bios_interface",
	42:  "fault",
	44:  "deploy_step",
	46:  "conductor_group",
	47:  "automated_clean",
	48:  "protected protected_reason",
	49:  "conductor",
	50:  "owner",
	51:  "description",
	52:  "allocation_uuid",
	61:  "retired retired_reason",
	65:  "lessee",
	66:  "network_data",
	75:  "boot_mode secure_boot",
	82:  "shard",
	83:  "parent_node",
	86:  "firmware_interface",
	87:  "service_step",
	95:  "disable_power_off",
	104: "instance_name",
	109: "health",
}

var portFieldsAt = map[int]string{
	1:   "uuid address node_uuid extra created_at updated_at links",
	18:  "internal_info",
	19:  "local_link_connection pxe_enabled",
	24:  "portgroup_uuid",
	34:  "physical_network",
	53:  "is_smartnic",
	88:  "name",
	97:  "description",
	100: "vendor",
	101: "category",
	111: "available_for_dynamic_portgroup",
}

var portgroupFieldsAt = map[int]string{
	23:  "uuid address name node_uuid extra internal_info standalone_ports_supported created_at updated_at links",
	24:  "ports",
	26:  "mode properties",
	102: "physical_network",
	103: "category",
	111: "dynamic_portgroup",
}

var allocationFieldsAt = map[int]string{
	52: "uuid name node_uuid state last_error resource_class traits candidate_nodes extra created_at updated_at links",
	60: "owner",
}

var chassisFieldsAt = map[int]string{1: "uuid description extra created_at updated_at links nodes"}

var connectorFieldsAt = map[int]string{32: "uuid node_uuid type connector_id extra created_at updated_at links"}

var targetFieldsAt = map[int]string{32: "uuid node_uuid volume_type boot_index volume_id properties extra created_at updated_at links"}

var historyFieldsAt = map[int]string{
	78:  "uuid created_at severity event_type event conductor user links",
	113: "project",
	115: "state target_provision_state duration_seconds",
}

var templateFieldsAt = map[int]string{
	55:  "uuid name steps extra created_at updated_at links",
	112: "description",
}

// keysUpTo are the fields a version knows, sorted.
func keysUpTo(at map[int]string, minor int) []string {
	var keys []string
	for first, names := range at {
		if first <= minor {
			keys = append(keys, strings.Fields(names)...)
		}
	}
	slices.Sort(keys)
	return keys
}

func keysOf(t *testing.T, v any) []string {
	t.Helper()
	m, ok := v.(map[string]any)
	if !ok {
		t.Fatalf("not an object: %v", v)
	}
	return slices.Sorted(maps.Keys(m))
}

// Each of the 115 versions shows exactly the fields that the reference gives it, of every kind of resource.
func TestEveryVersionShowsItsFields(t *testing.T) {
	s := newServer(t)
	for _, r := range []struct {
		name string
		path string
		in   string // the list the resource is in; "" when the answer is the resource
		at   map[int]string
		from int
	}{
		{"node", "/v1/nodes/" + nodeA, "", nodeFieldsAt, 1},
		{"node in a list", "/v1/nodes/detail", "nodes", nodeFieldsAt, 1},
		{"port", "/v1/ports/" + portA, "", portFieldsAt, 1},
		{"port in a list", "/v1/ports/detail", "ports", portFieldsAt, 1},
		{"port of a node", "/v1/nodes/" + nodeA + "/ports/detail", "ports", portFieldsAt, 1},
		{"portgroup", "/v1/portgroups/" + groupA, "", portgroupFieldsAt, 23},
		{"portgroup in a list", "/v1/portgroups/detail", "portgroups", portgroupFieldsAt, 23},
		{"portgroup of a node", "/v1/nodes/" + nodeA + "/portgroups/detail", "portgroups", portgroupFieldsAt, 24},
		{"volume connector", "/v1/volume/connectors/" + connA, "", connectorFieldsAt, 32},
		{"volume connector in a list", "/v1/volume/connectors?detail=true", "connectors", connectorFieldsAt, 32},
		{"volume target", "/v1/volume/targets/" + targetA, "", targetFieldsAt, 32},
		{"volume target of a node", "/v1/nodes/" + nodeA + "/volume/targets?detail=true", "targets", targetFieldsAt, 32},
		{"allocation", "/v1/allocations/web", "", allocationFieldsAt, 52},
		{"allocation in a list", "/v1/allocations", "allocations", allocationFieldsAt, 52},
		{"allocation of a node", "/v1/nodes/" + nodeB + "/allocation", "", allocationFieldsAt, 52},
		{"chassis", "/v1/chassis/" + chassisA, "", chassisFieldsAt, 1},
		{"chassis in a list", "/v1/chassis/detail", "chassis", chassisFieldsAt, 1},
		{"history event", "/v1/nodes/" + nodeA + "/history/e5840e39-b4ba-4a93-8071-cff9aa2c9633", "", historyFieldsAt, 78},
		{"history", "/v1/nodes/" + nodeA + "/history?detail=true", "history", historyFieldsAt, 78},
		{"deploy template", "/v1/deploy_templates/" + templateA, "", templateFieldsAt, 55},
	} {
		for minor := r.from; minor <= 115; minor++ {
			resp, body := s.ask(fmt.Sprint("1.", minor), "GET", r.path, "")
			if resp.StatusCode != 200 {
				t.Fatalf("%s at 1.%d: %d %s", r.name, minor, resp.StatusCode, body)
			}
			got := field(t, body)
			if r.in != "" {
				got = field(t, body, r.in).([]any)[0]
			}
			if diff := cmp.Diff(keysUpTo(r.at, minor), keysOf(t, got)); diff != "" {
				t.Errorf("%s at 1.%d (-want +got):\n%s", r.name, minor, diff)
			}
		}
	}
}

// A field one version too new is a 406 wherever a client can name it: in fields, as a sort key, in a new node, in a
// PATCH. Known or not, a field that is not written stays unwritten.
func TestFieldsOneVersionTooNew(t *testing.T) {
	unsorted := strings.Fields("properties driver_info extra instance_info driver_internal_info clean_step deploy_step raid_config " +
		"target_raid_config traits network_data service_step links health conductor ports states portgroups volume")
	unnamed := strings.Fields("ports states portgroups volume") // links of the whole node, not fields to be asked for
	for first, names := range nodeFieldsAt {
		before := fmt.Sprint("1.", first-1)
		for _, name := range strings.Fields(names) {
			if first == 1 || slices.Contains(unnamed, name) {
				continue
			}
			want := fmt.Sprintf("Request not acceptable. The minimal required API version for the field '%s' is 1.%d.", name, first)
			calls := []struct{ method, path, body string }{}
			if first > 8 { // fields= is known since 1.8
				calls = append(calls, struct{ method, path, body string }{"GET", "/v1/nodes?fields=" + name, ""})
				calls = append(calls, struct{ method, path, body string }{"GET", "/v1/nodes/" + nodeA + "?fields=uuid," + name, ""})
			}
			if !slices.Contains(unsorted, name) {
				calls = append(calls, struct{ method, path, body string }{"GET", "/v1/nodes?sort_key=" + name, ""})
			}
			if nodeSetters[name] != nil {
				calls = append(calls, struct{ method, path, body string }{"PATCH", "/v1/nodes/" + nodeA,
					`[{"op":"add","path":"/` + name + `","value":null}]`})
				calls = append(calls, struct{ method, path, body string }{"PATCH", "/v1/nodes/" + nodeA, `[{"op":"remove","path":"/` + name + `"}]`})
			}
			if slices.Contains(creatable(), name) {
				calls = append(calls, struct{ method, path, body string }{"POST", "/v1/nodes", `{"driver":"ipmi","` + name + `":null}`})
			}
			for _, c := range calls {
				s := newServer(t)
				resp, body := s.ask(before, c.method, c.path, c.body)
				if resp.StatusCode != 406 || faultstring(t, body) != want {
					t.Errorf("%s %s %s at %s: %d %s", c.method, c.path, c.body, before, resp.StatusCode, body)
				}
				if len(s.nodes) != 2 || !cmp.Equal(s.nodes[0].Clone(), deploying().Clone()) {
					t.Errorf("%s %s %s at %s changed something", c.method, c.path, c.body, before)
				}
			}
		}
	}
}

// What PATCH may write, as the reference lists it for each resource.
func TestWhatMayBePatched(t *testing.T) {
	interfaces := "bios boot console deploy firmware inspect management network power raid rescue storage vendor"
	ofNode := strings.Fields("automated_clean chassis_uuid conductor_group description disable_power_off driver driver_info extra " +
		"instance_info instance_name instance_uuid lessee maintenance name network_data owner parent_node properties protected " +
		"protected_reason resource_class retired retired_reason shard")
	for _, i := range strings.Fields(interfaces) {
		ofNode = append(ofNode, i+"_interface")
	}
	slices.Sort(ofNode)
	for _, tt := range []struct {
		path string
		want []string
	}{
		{"/v1/nodes/" + nodeA, ofNode},
		{"/v1/ports/" + portA, strings.Fields("address available_for_dynamic_portgroup category description extra is_smartnic " +
			"local_link_connection name node_uuid physical_network portgroup_uuid pxe_enabled vendor")},
		{"/v1/portgroups/" + groupA,
			strings.Fields("address category extra mode name node_uuid physical_network properties standalone_ports_supported")},
		{"/v1/chassis/" + chassisA, strings.Fields("description extra")},
		{"/v1/allocations/web", strings.Fields("extra name")},
		{"/v1/volume/connectors/" + connA, strings.Fields("connector_id extra node_uuid type")},
		{"/v1/volume/targets/" + targetA, strings.Fields("boot_index extra node_uuid properties volume_id volume_type")},
		{"/v1/deploy_templates/" + templateA, strings.Fields("description extra name steps")},
	} {
		resp, body := newServer(t).ask("1.115", "PATCH", tt.path, `[{"op":"replace","path":"/uuid","value":"x"}]`)
		want := "Cannot patch /uuid. Only the following can be updated: " + strings.Join(tt.want, ", ")
		if resp.StatusCode != 400 || faultstring(t, body) != want {
			t.Errorf("%s:\n got %d %s\nwant %s", tt.path, resp.StatusCode, faultstring(t, body), want)
		}
	}
	for _, name := range strings.Fields("uuid created_at updated_at " +
		"power_state target_power_state provision_state target_provision_state reservation " +
		"last_error traits raid_config target_raid_config driver_internal_info boot_mode secure_boot console_enabled fault conductor " +
		"allocation_uuid links clean_step deploy_step service_step health maintenance_reason provision_updated_at") {
		s := newServer(t)
		for _, op := range []string{`{"op":"replace","path":"/` + name + `","value":"x"}`, `{"op":"remove","path":"/` + name + `"}`,
			`{"op":"add","path":"/` + name + `","value":"x"}`} {
			resp, body := s.ask("1.115", "PATCH", "/v1/nodes/rack1-u7", "["+op+"]")
			if resp.StatusCode != 400 || !strings.HasPrefix(faultstring(t, body), "Cannot patch /"+name+". ") {
				t.Errorf("%s: %d %s", op, resp.StatusCode, body)
			}
		}
		if !cmp.Equal(s.nodes[0].Clone(), deploying().Clone()) {
			t.Errorf("%s was written", name)
		}
	}
}

// Which filters a list of nodes and of ports takes at which version.
func TestFiltersByVersion(t *testing.T) {
	nodes := map[int]string{
		1: "associated maintenance instance_uuid chassis_uuid", 9: "provision_state", 16: "driver", 21: "resource_class", 42: "fault",
		46: "conductor_group",
		49: "conductor", 50: "owner", 51: "description_contains", 61: "retired", 65: "lessee project", 82: "shard sharded",
		83:  "parent_node include_children",
		104: "instance_name",
	}
	ports := map[int]string{1: "node node_uuid address", 24: "portgroup", 82: "shard", 97: "description_contains", 99: "conductor_groups"}
	groups := map[int]string{23: "node address", 99: "conductor_groups", 106: "shard"}
	volumes := map[int]string{32: "node"}
	requests := map[int]string{52: "node resource_class state", 60: "owner"}
	value := map[string]string{
		"portgroup":  groupA,
		"associated": "true", "maintenance": "false", "instance_uuid": nodeB, "chassis_uuid": nodeB, "provision_state": "active",
		"fault":   "power+failure",
		"retired": "no", "sharded": "1", "parent_node": nodeA, "include_children": "on", "node": nodeA, "node_uuid": nodeA, "address": macA,
	}
	for _, list := range []struct {
		path string
		at   map[int]string
	}{{"/v1/nodes", nodes}, {"/v1/nodes/detail", nodes}, {"/v1/ports", ports}, {"/v1/ports/detail", ports},
		{"/v1/portgroups", groups}, {"/v1/portgroups/detail", groups}, {"/v1/volume/connectors", volumes}, {"/v1/volume/targets", volumes},
		{"/v1/allocations", requests}} {
		for first, names := range list.at {
			for _, name := range strings.Fields(names) {
				v := value[name]
				if v == "" {
					v = "x"
				}
				s := newServer(t)
				if resp, body := s.ask(fmt.Sprint("1.", first), "GET", list.path+"?"+name+"="+v, ""); resp.StatusCode != 200 {
					t.Errorf("%s?%s at 1.%d: %d %s", list.path, name, first, resp.StatusCode, body)
				}
				if first == 1 || first == 23 || first == 32 || first == 52 { // as old as the list
					continue
				}
				resp, body := s.ask(fmt.Sprint("1.", first-1), "GET", list.path+"?"+name+"="+v, "")
				want := fmt.Sprintf("Request not acceptable. The minimal required API version for the filter '%s' is 1.%d.", name, first)
				if resp.StatusCode != 406 || faultstring(t, body) != want {
					t.Errorf("%s?%s at 1.%d: %d %s", list.path, name, first-1, resp.StatusCode, body)
				}
			}
		}
	}
}

// Which paths a version knows. Older versions find nothing there; writes of deploy templates are answered 405.
func TestPathsByVersion(t *testing.T) {
	for _, tt := range []struct {
		first        int
		method, path string
		body         string
		before       int // status of older versions
	}{
		{22, "GET", "/v1/lookup?addresses=" + macA, "", 404},
		{22, "POST", "/v1/heartbeat/" + nodeA, `{"callback_url":"http://192.0.2.9:9999","agent_version":"1","agent_token":"t"}`, 404},
		{23, "GET", "/v1/portgroups", "", 404},
		{23, "GET", "/v1/portgroups/detail", "", 404},
		{23, "GET", "/v1/portgroups/bond0", "", 404},
		{23, "POST", "/v1/portgroups", `{"node_uuid":"` + nodeA + `"}`, 404},
		{23, "PATCH", "/v1/portgroups/bond0", `[]`, 404},
		{23, "DELETE", "/v1/portgroups/bond0", "", 404},
		{24, "GET", "/v1/portgroups/bond0/ports", "", 404},
		{24, "GET", "/v1/portgroups/bond0/ports/detail", "", 404},
		{24, "GET", "/v1/nodes/" + nodeA + "/portgroups", "", 404},
		{24, "GET", "/v1/nodes/" + nodeA + "/portgroups/detail", "", 404},
		{52, "GET", "/v1/allocations", "", 404},
		{52, "GET", "/v1/allocations/web", "", 404},
		{52, "POST", "/v1/allocations", `{"resource_class":"baremetal"}`, 405},
		{57, "PATCH", "/v1/allocations/web", `[]`, 405},
		{52, "DELETE", "/v1/allocations/web", "", 405},
		{52, "GET", "/v1/nodes/" + nodeB + "/allocation", "", 404},
		{52, "DELETE", "/v1/nodes/" + nodeB + "/allocation", "", 405},
		{32, "GET", "/v1/volume", "", 404},
		{32, "GET", "/v1/volume/connectors", "", 404},
		{32, "GET", "/v1/volume/targets", "", 404},
		{32, "POST", "/v1/volume/connectors", `{"node_uuid":"` + nodeA + `","type":"ip","connector_id":"192.0.2.1"}`, 404},
		{32, "POST", "/v1/volume/targets", `{"node_uuid":"` + nodeA + `","volume_type":"iscsi","boot_index":1,"volume_id":"v"}`, 404},
		{32, "PATCH", "/v1/volume/connectors/" + connA, `[]`, 404},
		{32, "PATCH", "/v1/volume/targets/" + targetA, `[]`, 404},
		{32, "DELETE", "/v1/volume/connectors/" + connA, "", 404},
		{32, "DELETE", "/v1/volume/targets/" + targetA, "", 404},
		{32, "GET", "/v1/nodes/" + nodeA + "/volume", "", 404},
		{32, "GET", "/v1/nodes/" + nodeA + "/volume/connectors", "", 404},
		{32, "GET", "/v1/nodes/" + nodeA + "/volume/targets", "", 404},
		{28, "GET", "/v1/nodes/" + nodeA + "/vifs", "", 404},
		{28, "POST", "/v1/nodes/" + nodeA + "/vifs", `{"id":"v"}`, 404},
		{28, "DELETE", "/v1/nodes/" + nodeB + "/vifs/v", "", 404},
		{29, "PUT", "/v1/nodes/" + nodeA + "/management/inject_nmi", "{}", 404},
		{40, "GET", "/v1/nodes/" + nodeA + "/bios", "", 404},
		{63, "GET", "/v1/nodes/" + nodeA + "/management/indicators", "", 404},
		{76, "PUT", "/v1/nodes/" + nodeA + "/states/boot_mode", `{"target":"bios"}`, 404},
		{76, "PUT", "/v1/nodes/" + nodeA + "/states/secure_boot", `{"target":false}`, 404},
		{82, "GET", "/v1/shards", "", 404},
		{83, "GET", "/v1/nodes/" + nodeA + "/children", "", 404},
		{86, "GET", "/v1/nodes/" + nodeA + "/firmware", "", 404},
		{37, "GET", "/v1/nodes/" + nodeA + "/traits", "", 404},
		{37, "PUT", "/v1/nodes/" + nodeA + "/traits", `{"traits":[]}`, 404},
		{37, "PUT", "/v1/nodes/" + nodeA + "/traits/CUSTOM_A", "", 404},
		{37, "DELETE", "/v1/nodes/" + nodeA + "/traits/CUSTOM_FAST", "", 404},
		{37, "DELETE", "/v1/nodes/" + nodeA + "/traits", "", 404},
		{49, "GET", "/v1/conductors", "", 404},
		{49, "GET", "/v1/conductors/conductor-1", "", 404},
		{55, "GET", "/v1/deploy_templates", "", 404},
		{55, "GET", "/v1/deploy_templates/" + templateA, "", 404},
		{55, "POST", "/v1/deploy_templates", `{"name":"CUSTOM_B","steps":[{"interface":"raid","step":"x","priority":1}]}`, 405},
		{55, "PATCH", "/v1/deploy_templates/" + templateA, `[]`, 405},
		{55, "DELETE", "/v1/deploy_templates/" + templateA, "", 405},
		{96, "GET", "/v1/inspection_rules", "", 404},
		{96, "GET", "/v1/inspection_rules/" + ruleA, "", 404},
		{96, "POST", "/v1/inspection_rules", `{"actions":[{"op":"fail","args":["x"]}]}`, 405},
		{96, "PATCH", "/v1/inspection_rules/" + ruleA, `[]`, 405},
		{96, "DELETE", "/v1/inspection_rules/" + ruleA, "", 405},
		{96, "DELETE", "/v1/inspection_rules", "", 405},
		{78, "GET", "/v1/nodes/" + nodeA + "/history", "", 404},
		{78, "GET", "/v1/nodes/" + nodeA + "/history/e5840e39-b4ba-4a93-8071-cff9aa2c9633", "", 404},
		{81, "GET", "/v1/nodes/" + nodeA + "/inventory", "", 404},
	} {
		for minor := 1; minor <= 115; minor++ {
			s := newServer(t)
			resp, body := s.ask(fmt.Sprint("1.", minor), tt.method, tt.path, tt.body)
			if minor >= tt.first {
				// Agents older than their own version and token are turned away by the body's rules.
				oldAgent := strings.HasPrefix(tt.path, "/v1/heartbeat") && minor < 62
				if got := resp.StatusCode < 300; got == oldAgent {
					t.Errorf("%s %s at 1.%d: %d %s", tt.method, tt.path, minor, resp.StatusCode, body)
				}
				continue
			}
			if resp.StatusCode != tt.before || len(s.calls) > 0 {
				t.Errorf("%s %s at 1.%d: %d %s, asked for %v", tt.method, tt.path, minor, resp.StatusCode, body, s.calls)
			}
		}
	}
}

// Verbs of provisioning by version; the alias undeploy is as old as deleted.
func TestVerbsByVersion(t *testing.T) {
	first := map[string]int{
		"active": 1, "rebuild": 1, "deleted": 1, "undeploy": 1, "manage": 4, "provide": 4, "inspect": 6, "abort": 13, "clean": 15, "adopt": 17,
		"rescue":   38,
		"unrescue": 38, "deploy": 73, "unhold": 85, "service": 87,
	}
	if got, want := slices.Sorted(maps.Keys(verbs)), slices.Sorted(maps.Keys(first)); !slices.Equal(got, want) {
		t.Errorf("served are %v, want %v", got, want)
	}
	for target, from := range first {
		for _, minor := range []int{from - 1, from} {
			if minor == 0 {
				continue
			}
			s := newServer(t)
			s.nodes[0].State = node.CleanWait // where the oldest abort is known
			resp, body := s.ask(fmt.Sprint("1.", minor), "PUT", "/v1/nodes/"+nodeA+"/states/provision", bodyOf(target))
			if minor == from {
				if resp.StatusCode != 202 || len(s.calls) != 1 {
					t.Errorf("%s at 1.%d: %d %s", target, minor, resp.StatusCode, body)
				}
				continue
			}
			want := fmt.Sprintf("Request not acceptable. The minimal required API version for the target '%s' is 1.%d.", target, from)
			if resp.StatusCode != 406 || faultstring(t, body) != want || len(s.calls) > 0 {
				t.Errorf("%s at 1.%d: %d %s", target, minor, resp.StatusCode, body)
			}
		}
	}
}

// The status of every call that succeeds, with or without a body and a Location.
func TestStatusCodes(t *testing.T) {
	at := "http://metal.example:6385/v1/"
	for _, tt := range []struct {
		method, path, body string
		status             int
		location           string // "*" is one that ends in the new UUID
		empty              bool
	}{
		{"POST", "nodes", `{"driver":"ipmi"}`, 201, "*", false},
		{"POST", "ports", `{"address":"52:54:00:00:00:99","node_uuid":"` + nodeA + `"}`, 201, "*", false},
		{"POST", "portgroups", `{"node_uuid":"` + nodeA + `"}`, 201, "*", false},
		{"POST", "chassis", `{}`, 201, "*", false},
		{"PATCH", "chassis/" + chassisA, `[]`, 200, "", false},
		{"DELETE", "chassis/" + chassisA, "", 204, "", true},
		{"POST", "allocations", `{"resource_class":"baremetal"}`, 201, "*", false},
		{"PATCH", "allocations/web", `[]`, 200, "", false},
		{"DELETE", "allocations/web", "", 204, "", true},
		{"DELETE", "nodes/" + nodeB + "/allocation", "", 204, "", true},
		{"POST", "volume/connectors", `{"node_uuid":"` + nodeA + `","type":"ip","connector_id":"192.0.2.1"}`, 201, "*", false},
		{"POST", "volume/targets", `{"node_uuid":"` + nodeA + `","volume_type":"iscsi","boot_index":1,"volume_id":"v"}`, 201, "*", false},
		{"PATCH", "portgroups/bond0", `[]`, 200, "", false},
		{"PATCH", "volume/connectors/" + connA, `[]`, 200, "", false},
		{"PATCH", "volume/targets/" + targetA, `[]`, 200, "", false},
		{"DELETE", "portgroups/bond0", "", 204, "", true},
		{"DELETE", "volume/connectors/" + connA, "", 204, "", true},
		{"DELETE", "volume/targets/" + targetA, "", 204, "", true},
		{"POST", "deploy_templates", `{"name":"CUSTOM_B","steps":[{"interface":"raid","step":"x","priority":1}]}`, 201, "*", false},
		{"PATCH", "nodes/rack1-u7", `[]`, 200, "", false},
		{"PATCH", "ports/" + portA, `[]`, 200, "", false},
		{"PATCH", "deploy_templates/" + templateA, `[]`, 200, "", false},
		{"DELETE", "nodes/rack1-u7", "", 204, "", true},
		{"DELETE", "ports/" + portA, "", 204, "", true},
		{"DELETE", "deploy_templates/" + templateA, "", 204, "", true},
		{"PUT", "nodes/rack1-u7/states/power", `{"target":"power on"}`, 202, at + "nodes/rack1-u7/states", true},
		{"PUT", "nodes/rack1-u7/states/provision", `{"target":"active"}`, 202, at + "nodes/rack1-u7/states", true},
		{"PUT", "nodes/rack1-u7/management/boot_device", `{"boot_device":"disk"}`, 204, "", true},
		{"PUT", "nodes/rack1-u7/maintenance", `{"reason":"x"}`, 202, "", true},
		{"DELETE", "nodes/rack1-u7/maintenance", "", 202, "", true},
		{"PUT", "nodes/rack1-u7/traits", `{"traits":["CUSTOM_A"]}`, 204, "", true},
		{"PUT", "nodes/rack1-u7/traits/CUSTOM_A", "", 204, at + "nodes/rack1-u7/traits/CUSTOM_A", true},
		{"DELETE", "nodes/rack1-u7/traits", "", 204, "", true},
		{"DELETE", "nodes/rack1-u7/traits/CUSTOM_FAST", "", 204, "", true},
		{"POST", "nodes/rack1-u7/vifs", `{"id":"v"}`, 204, "", true},
		{"DELETE", "nodes/" + nodeB + "/vifs/v", "", 204, "", true},
		{"POST", "heartbeat/" + nodeA, `{"callback_url":"http://192.0.2.9:9999","agent_version":"1","agent_token":"t"}`, 202, "", true},
		{"POST", "continue_inspection?node_uuid=" + nodeA, `{"inventory":{}}`, 202, "", false},
	} {
		resp, body := newServer(t).ask("1.115", tt.method, "/v1/"+tt.path, tt.body)
		if resp.StatusCode != tt.status || (body == "") != tt.empty {
			t.Errorf("%s %s: %d %q", tt.method, tt.path, resp.StatusCode, body)
			continue
		}
		want := tt.location
		if want == "*" {
			want = at + tt.path + "/" + field(t, body, "uuid").(string)
		}
		if got := resp.Header.Get("Location"); got != want {
			t.Errorf("%s %s: Location %q, want %q", tt.method, tt.path, got, want)
		}
		if ct := resp.Header.Get("Content-Type"); !tt.empty && ct != "application/json" {
			t.Errorf("%s %s: content type %q", tt.method, tt.path, ct)
		}
	}
}

// What a list shows of each thing when it is not asked for more, under which key, with which links.
func TestShortLists(t *testing.T) {
	const at = "http://metal.example:6385"
	for _, tt := range []struct{ path, key, fields, self, bookmark string }{
		{"/v1/nodes", "nodes", "instance_uuid links maintenance name power_state provision_state uuid", "/v1/nodes/" + nodeA, "/nodes/" + nodeA},
		{"/v1/ports", "ports", "address links uuid", "/v1/ports/" + portA, "/ports/" + portA},
		{"/v1/nodes/rack1-u7/ports", "ports", "address links uuid", "/v1/ports/" + portA, "/ports/" + portA},
		{"/v1/portgroups", "portgroups", "address links name uuid", "/v1/portgroups/" + groupA, "/portgroups/" + groupA},
		{"/v1/nodes/rack1-u7/portgroups", "portgroups", "address links name uuid", "/v1/portgroups/" + groupA, "/portgroups/" + groupA},
		{"/v1/chassis", "chassis", "description links uuid", "/v1/chassis/" + chassisA, "/chassis/" + chassisA},
		{"/v1/allocations", "allocations",
			"candidate_nodes created_at extra last_error links name node_uuid owner resource_class state traits updated_at uuid",
			"/v1/allocations/" + allocA, "/allocations/" + allocA},
		{"/v1/volume/connectors", "connectors", "connector_id links node_uuid type uuid", "/v1/volume/connectors/" + connA,
			"/volume/connectors/" + connA},
		{"/v1/volume/targets", "targets", "boot_index links node_uuid uuid volume_id volume_type", "/v1/volume/targets/" + targetA,
			"/volume/targets/" + targetA},
		{"/v1/deploy_templates", "deploy_templates", "links name uuid", "/v1/deploy_templates/" + templateA, "/deploy_templates/" + templateA},
		{"/v1/inspection_rules", "inspection_rules", "description links phase priority uuid", "/v1/inspection_rules/" + ruleA,
			"/inspection_rules/" + ruleA},
		{"/v1/conductors", "conductors", "alive conductor_group hostname links", "/v1/conductors/conductor-1", "/conductors/conductor-1"},
		{"/v1/drivers", "drivers", "hosts links name properties type", "/v1/drivers/ipmi", "/drivers/ipmi"},
		{"/v1/nodes/rack1-u7/history", "history", "created_at event event_type links severity uuid",
			"/v1/nodes/" + nodeA + "/history/e5840e39-b4ba-4a93-8071-cff9aa2c9633", ""},
	} {
		s := newServer(t)
		_, body := s.ask("1.115", "GET", tt.path, "")
		first := field(t, body, tt.key).([]any)[0].(map[string]any)
		if got := strings.Join(keysOf(t, first), " "); got != tt.fields {
			t.Errorf("%s shows %s, want %s", tt.path, got, tt.fields)
		}
		want := []any{map[string]any{"rel": "self", "href": at + tt.self}}
		if tt.bookmark != "" {
			want = append(want, map[string]any{"rel": "bookmark", "href": at + tt.bookmark})
		}
		if diff := cmp.Diff(want, first["links"]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.path, diff)
		}
		// Both links lead to the thing itself.
		for _, l := range first["links"].([]any) {
			href := l.(map[string]any)["href"].(string)
			if resp, body := s.ask("1.115", "GET", strings.TrimPrefix(href, at), ""); resp.StatusCode != 200 {
				t.Errorf("%s: %d %s", href, resp.StatusCode, body)
			}
		}
	}
}

// The version document grows with the version: a client finds there what it may call.
func TestTheVersionDocumentGrows(t *testing.T) {
	s := newServer(t)
	grows := map[int]string{1: "nodes ports drivers chassis", 22: "lookup heartbeat", 23: "portgroups", 32: "volume", 49: "conductors",
		52: "allocations", 54: "events", 55: "deploy_templates", 82: "shards", 84: "continue_inspection", 96: "inspection_rules"}
	fixed := strings.Fields("id links media_types version")
	for minor := 1; minor <= 115; minor++ {
		_, body := s.ask(fmt.Sprint("1.", minor), "GET", "/v1", "")
		want := append(slices.Clone(fixed), keysUpTo(grows, minor)...)
		slices.Sort(want)
		if diff := cmp.Diff(want, keysOf(t, field(t, body))); diff != "" {
			t.Errorf("at 1.%d (-want +got):\n%s", minor, diff)
		}
	}
	_, body := s.ask("", "GET", "/v1", "")
	var doc struct {
		MediaTypes map[string]string `json:"media_types"`
		Version    struct {
			Min string `json:"min_version"`
			Max string `json:"version"`
		}
		Nodes []link
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.MediaTypes["base"] != "application/json" || doc.MediaTypes["type"] != "application/vnd.openstack.ironic.v1+json" {
		t.Errorf("media types %v: clients expect one object, not a list", doc.MediaTypes)
	}
	if doc.Version.Min != "1.1" || doc.Version.Max != "1.115" {
		t.Errorf("range %+v", doc.Version)
	}
	for method, status := range map[string]int{"HEAD": 200, "POST": 405, "PUT": 405, "PATCH": 405, "DELETE": 405} {
		if resp, _ := s.ask("1.115", method, "/v1", ""); resp.StatusCode != status {
			t.Errorf("%s /v1: %d, want %d", method, resp.StatusCode, status)
		}
	}
}

// Interfaces of hardware types appear in detailed answers with the version that knows the node's field.
func TestDriverFieldsByVersion(t *testing.T) {
	first := map[string]int{
		"boot": 30, "console": 30, "deploy": 30, "inspect": 30, "management": 30, "network": 30, "power": 30, "raid": 30, "vendor": 30,
		"storage": 33, "rescue": 38, "bios": 40, "firmware": 86,
	}
	s := newServer(t)
	for minor := 30; minor <= 115; minor++ {
		_, body := s.ask(fmt.Sprint("1.", minor), "GET", "/v1/drivers?detail=true", "")
		d := field(t, body, "drivers").([]any)[0].(map[string]any)
		for iface, from := range first {
			_, def := d["default_"+iface+"_interface"]
			_, enabled := d["enabled_"+iface+"_interfaces"]
			if def != (minor >= from) || enabled != def {
				t.Errorf("%s at 1.%d: default %v, enabled %v", iface, minor, def, enabled)
			}
		}
	}
	for minor, want := range map[int]string{1: "hosts links name", 14: "hosts links name properties", 30: "hosts links name properties type"} {
		for _, m := range []int{minor, min(minor+12, 29)} {
			if m < minor {
				continue
			}
			_, body := s.ask(fmt.Sprint("1.", m), "GET", "/v1/drivers", "")
			if got := strings.Join(keysOf(t, field(t, body, "drivers").([]any)[0]), " "); got != want {
				t.Errorf("a list at 1.%d shows %s, want %s", m, got, want)
			}
		}
	}
}

// A HEAD is a GET whose body stays here, headers and all; it changes nothing.
func TestHeadIsGetWithoutABody(t *testing.T) {
	for _, path := range []string{"/", "/v1", "/v1/nodes", "/v1/nodes/rack1-u7", "/v1/nodes/nobody", "/v1/ports/" + portA, "/v1/drivers"} {
		s := newServer(t)
		head, _ := s.ask("1.115", http.MethodHead, path, "")
		get, body := s.ask("1.115", http.MethodGet, path, "")
		if head.StatusCode != get.StatusCode || head.Header.Get("Content-Length") != fmt.Sprint(len(body)) {
			t.Errorf("%s: HEAD %d %s, GET %d and %d bytes", path, head.StatusCode, head.Header.Get("Content-Length"), get.StatusCode, len(body))
		}
	}
}

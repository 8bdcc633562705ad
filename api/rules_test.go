package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/node"
)

// Each filter picks the right nodes out of a real database, in every spelling that it takes.
func TestNodeFiltersOnARealDatabase(t *testing.T) {
	s := newStack(t)
	uuid := func(i int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", i) }
	for i, n := range []*node.Node{
		{Name: "plain", State: node.Available},
		{Name: "used", State: node.Active, InstanceUUID: nodeA, InstanceName: "web-1", Owner: "red", Lessee: "blue"},
		{Name: "broken", State: node.CleanFailed, Maintenance: true, Fault: node.CleanFailure, ResourceClass: "big"},
		{Name: "old", State: node.Manageable, Retired: true, Shard: "s1", Description: "Rack 7, 100% full_up"},
		{Name: "other", State: node.Manageable, Shard: "s2", Owner: "blue", ConductorGroup: "north"},
		{Name: "child", State: node.Enroll, ParentNode: uuid(0), Shard: "s1"},
	} {
		n.UUID = uuid(i)
		s.put(n)
	}
	for _, tt := range []struct {
		query string
		want  string
	}{
		{"", "plain used broken old other"},
		{"associated=true", "used"}, {"associated=False", "plain broken old other"}, {"associated=1", "used"},
		{"maintenance=yes", "broken"}, {"maintenance=off", "plain used old other"},
		{"instance_uuid=" + nodeA, "used"}, {"instance_uuid=" + strings.ToUpper(nodeA), "used"}, {"instance_uuid=" + nodeB, ""},
		{"instance_name=web-1", "used"}, {"instance_name=web", ""},
		{"provision_state=manageable", "old other"}, {"provision_state=clean%20failed", "broken"},
		{"driver=fake-hardware", "plain used broken old other"}, {"driver=ipmi", ""},
		{"resource_class=big", "broken"}, {"resource_class=BIG", ""},
		{"fault=clean%20failure", "broken"}, {"fault=power%20failure", ""},
		{"conductor_group=NORTH", "other"}, {"conductor_group=", "plain used broken old"},
		{"conductor=conductor-1", "plain used broken old other"}, {"conductor=elsewhere", ""},
		{"owner=blue", "other"}, {"lessee=blue", "used"}, {"project=blue", "used other"},
		{"description_contains=rack%207", "old"}, {"description_contains=0%25%20F", "old"}, {"description_contains=0_", ""},
		{"description_contains=l_u", "old"},
		{"retired=true", "old"}, {"shard=s1", "old"}, {"shard=s1,s2", "old other"}, {"sharded=true", "old other"},
		{"sharded=n", "plain used broken"},
		{"include_children=true", "plain used broken old other child"}, {"parent_node=plain", "child"}, {"parent_node=" + uuid(0), "child"},
		{"parent_node=" + uuid(1), ""},
		{"shard=s1&include_children=true", "old child"}, {"provision_state=manageable&owner=blue", "other"},
		{"sort_key=name", "broken old other plain used"}, {"sort_key=name&sort_dir=desc&limit=2", "used plain"},
		{"marker=" + uuid(2), "old other"}, {"marker=" + strings.ToUpper(uuid(2)), "old other"},
	} {
		resp, body := s.ask("1.115", "GET", "/v1/nodes?fields=name&"+tt.query, "")
		if resp.StatusCode != 200 {
			t.Errorf("%s: %d %s", tt.query, resp.StatusCode, body)
			continue
		}
		var names []string
		for _, n := range field(t, body, "nodes").([]any) {
			names = append(names, n.(map[string]any)["name"].(string))
		}
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.query, got, tt.want)
		}
	}
}

// A filter that is newer than the client's version is a 406 that names it, one version before it is known.
func TestFiltersBeforeTheirVersion(t *testing.T) {
	s := newStack(t)
	for _, key := range nodeFilters {
		first := since["node?"+key]
		if first == minVersion {
			continue
		}
		resp, body := s.ask((first - 1).String(), "GET", "/v1/nodes?"+key+"=1", "")
		s.refused(key, resp, body, 406, fmt.Sprintf("Request not acceptable. The minimal required API version for the filter '%s' is %s.", key,
			first))
	}
}

// What a field's PATCH needs of the node's state, in each of the 30 states: those that may be changed
// there are named in the refusal.
func TestFieldsThatNeedAState(t *testing.T) {
	open := []node.State{node.Enroll, node.Inspecting, node.InspectWait, node.Manageable, node.Available}
	const openText = "; allowed are the states enroll, inspecting, inspect wait, manageable, available, or any in maintenance."
	for _, tt := range []struct {
		patch   string
		allowed func(node.State) bool
		status  int
		want    string // with the state's and the node's place
	}{
		{`[{"op":"replace","path":"/resource_class","value":"new"}]`, func(s node.State) bool { return slices.Contains(open, s) }, 409,
			"The resource_class of node UUID can not be changed in state \"STATE\"" + openText},
		{`[{"op":"replace","path":"/protected","value":true}]`, func(s node.State) bool { return s == node.Active || s == node.Rescue }, 409,
			"Node UUID can not be protected in state \"STATE\"; allowed are the states active, rescue."},
		{`[{"op":"replace","path":"/retired","value":true}]`, func(s node.State) bool { return s != node.Available }, 409,
			"Node UUID can not be retired in state \"STATE\"; move it to manageable first."},
		{`[{"op":"add","path":"/protected_reason","value":"mine"}]`, func(node.State) bool { return false }, 400,
			"protected_reason of node UUID needs protected to be true."},
		{`[{"op":"add","path":"/retired_reason","value":"old"}]`, func(node.State) bool { return false }, 400,
			"retired_reason of node UUID needs retired to be true."},
	} {
		s := newStack(t)
		for _, state := range node.States {
			n := s.put(&node.Node{State: state, ResourceClass: "old"})
			before := s.node(n.UUID)
			resp, body := s.ask("1.65", "PATCH", "/v1/nodes/"+n.UUID, tt.patch)
			if state == node.Inspecting { // nobody who knows of "inspect wait" may patch there
				s.refused(string(state), resp, body, 409, fmt.Sprintf("Cannot update node %q in state %q.", n.UUID, state))
				continue
			}
			if tt.allowed(state) {
				if resp.StatusCode != 200 {
					t.Errorf("%s in %s: %d %s", tt.patch, state, resp.StatusCode, body)
				}
				continue
			}
			s.refused(tt.patch, resp, body, tt.status, strings.NewReplacer("UUID", n.UUID, "STATE", string(state)).Replace(tt.want))
			after := s.node(n.UUID)
			after.Lease, before.Lease, after.UpdatedAt = node.Lease{}, node.Lease{}, before.UpdatedAt
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("%s in %s changed the node: %s", tt.patch, state, diff)
			}
		}
	}
}

// Power is refused while a machine is cleaned, off is refused where the operator forbade it, and
// everything else is accepted in every state.
func TestPowerInEveryState(t *testing.T) {
	s := newStack(t)
	for _, state := range node.States {
		n := s.put(&node.Node{State: state})
		resp, body := s.ask("1.27", "PUT", "/v1/nodes/"+n.UUID+"/states/power", `{"target":"soft rebooting","timeout":1}`)
		if state == node.Cleaning || state == node.CleanWait {
			s.refused(string(state), resp, body, 400, fmt.Sprintf("The power state of node %s can not be changed while it is in state %q.", n.UUID,
				state))
		} else if resp.StatusCode != 202 || s.node(n.UUID).TargetPower != node.SoftRebooting {
			t.Errorf("%s: %d %s, target %q", state, resp.StatusCode, body, s.node(n.UUID).TargetPower)
		}
	}
	n := s.put(&node.Node{State: node.Active, DisablePowerOff: true})
	for target, status := range map[string]int{"power off": 409, "soft power off": 409, "power on": 202, "rebooting": 202} {
		resp, body := s.ask("1.95", "PUT", "/v1/nodes/"+n.UUID+"/states/power", `{"target":"`+target+`"}`)
		if status == 202 && resp.StatusCode != 202 {
			t.Errorf("%s: %d %s", target, resp.StatusCode, body)
		}
		if status == 409 {
			s.refused(target, resp, body, 409, "Node "+n.UUID+" has disable_power_off set: it can be powered on and rebooted, not switched off.")
		}
	}
}

// Bodies that are hostile, broken or in any script: a 400 that says what is wrong, and no node.
func TestHostileBodies(t *testing.T) {
	s := newStack(t)
	for body, want := range map[string]string{
		"{\"driver\":\"fake-hardware\",\"name\":\"a\\u0000b\"}": "Cannot use \"a\\x00b\" as the name of a node. " +
			"Allowed are letters, digits and the characters - . _ ~",
		`{"driver":"fake-hardware","name":"узел"}`: `Cannot use "узел" as the name of a node. Allowed ` +
			`are letters, digits and the characters - . _ ~`,
		`{"driver":"fake-hardware","name":"` + strings.Repeat("x",
			256) + `"}`: "Field name may have at most 255 characters, not 256.",
		`{"driver":"fake-hardware","name":["a"]}`: "Field name must be a string, not a list.",
		`{"driver":"fake-hardware","extra":[]}`:   "Field extra must be an object, not a list.",
		`{"driver":"fake-hardware","description":"` + strings.Repeat("é",
			4097) + `"}`: "Field description may have at most 4096 characters, not 4097.",
		`{"driver":"fake-hardware","uuid":"../../etc/passwd"}`: "Expected a UUID for uuid but received " +
			"../../etc/passwd.",
		`{"driver":"fake-hardware"`:           "The body is not valid JSON: unexpected EOF.",
		`{"driver":"fake-hardware"} trailing`: "The body is not valid JSON: there is something after the JSON value.",
		`{"driver":"fake-hardware","chassis_uuid":"1be26c0b-03f2-4d2e-ae87-c02d7f33c123"}`: "Chassis 1be26c0b-03f2-4d2e-ae87-c02d7f33c123 " +
			"could not be found.",
		`{"driver":null}`: "'/driver' is a mandatory attribute and can not be removed",
		`{"driver":"fake-hardware","boot_interface":"magic"}`: `Could not find the following interface in the hardware type fake-hardware: ` +
			`boot_interface "magic". Valid interfaces are: fake.`,
		`{"driver":"fake-hardware","conductor_group":"a b"}`: `Value "a b" for conductor_group is not allowed: use letters, digits and the ` +
			`characters _ - .`,
		`{}`: "A node needs the field \"driver\": the name of a hardware type.",
	} {
		resp, answer := s.ask("1.115", "POST", "/v1/nodes", body)
		s.refused(body[:min(len(body), 80)], resp, answer, 400, want)
	}
	if _, body := s.ask("1.115", "GET", "/v1/nodes", ""); body != `{"nodes":[]}` {
		t.Errorf("a refused node was kept: %s", body)
	}
}

// Texts of any script, and numbers of any size, come back as they were sent, over the database too.
func TestDocumentsComeBackAsSent(t *testing.T) {
	s := newStack(t)
	const extra = `{"big":12345678901234567890,"empty":"","html":"<a href='x'>&amp;</a>","list":[1,2.5,null,true,{"a":[]}],"text":"стойка 7 ` +
		`— 機架 🗄"}`
	resp, body := s.ask("1.115", "POST", "/v1/nodes",
		`{"driver":"fake-hardware","uuid":"`+nodeA+`","description":"стойка 🗄","extra":`+extra+`}`)
	if resp.StatusCode != 201 {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	_, body = s.ask("1.115", "GET", "/v1/nodes/"+nodeA+"?fields=extra,description", "")
	if !strings.Contains(body, `"extra":`+extra) || field(t, body, "description") != "стойка 🗄" {
		t.Errorf("came back as %s", body)
	}
}

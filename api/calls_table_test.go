package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/node"
)

// What a list of ports by node is asked with; node_uuid wins over node, and each names one node.
func TestPortsOfANodeNamedTwice(t *testing.T) {
	for _, tt := range []struct {
		query  string
		status int
		want   string // addresses, or the refusal
	}{
		{"node=rack1-u7", 200, macA},
		{"node=" + nodeA, 200, macA},
		{"node_uuid=" + nodeA, 200, macA},
		{"node_uuid=" + nodeB + "&node=rack1-u7", 200, ""},
		{"node_uuid=" + nodeA + "&node=nobody", 200, macA},
		{"node=nobody", 404, "Node nobody could not be found."},
		{"node=", 200, macA}, // names none
		{"node=a%20b", 400, `Expected a logical name or UUID but received "a b".`},
		{"portgroup=x&shard=y", 403, "Ports can be listed by node, portgroup or shard, by one of them at a time."},
		{"node_uuid=" + nodeA + "&portgroup=x", 403, "Ports can be listed by node, portgroup or shard, by one of them at a time."},
		{"address=52540-cf2d31", 400, "Expected a MAC address but received 52540-cf2d31."},
	} {
		resp, body := newServer(t).ask("1.115", "GET", "/v1/ports?"+tt.query, "")
		if resp.StatusCode != tt.status || tt.status == 200 && names(t, body, "ports", "address") != tt.want ||
			tt.status != 200 && faultstring(t, body) != tt.want {
			t.Errorf("%s: %d %s", tt.query, resp.StatusCode, body)
		}
	}
}

func TestPortsByConductorGroup(t *testing.T) {
	s := newStack(t)
	for i, group := range []string{"", "east", "west"} {
		n := s.put(&node.Node{State: node.Manageable, ConductorGroup: group})
		if err := s.db.Ports.Create(t.Context(), &node.Port{NodeUUID: n.UUID, Name: "of-" + group + "-",
			Address: fmt.Sprintf("52:54:00:00:00:0%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	for query, want := range map[string]string{
		"east": "of-east-", "EAST": "of-east-", "west,east": "of-east- of-west-", "": "of--", ",west": "of-- of-west-", "north": "",
		"east&address=52:54:00:00:00:02": "",
	} {
		_, body := s.ask("1.99", "GET", "/v1/ports?fields=name&conductor_groups="+query, "")
		if got := names(t, body, "ports", "name"); got != want {
			t.Errorf("conductor_groups=%s: %q, want %q", query, got, want)
		}
	}
}

// A virtual interface goes to the port that the client chose (1.67), or says why not.
func TestAVirtualInterfaceOnAChosenPort(t *testing.T) {
	const second, vifs = "d2b30520-907d-46c8-bfee-c5586e6fb3a2", "/v1/nodes/rack1-u7/vifs"
	for _, tt := range []struct {
		version, body string
		status        int
		want          string // of the refusal, or the ports' VIFs afterwards
	}{
		{"1.67", `{"id":"v","port_uuid":"` + second + `"}`, 204, "- v"},
		{"1.67", `{"id":"v","port_uuid":"` + strings.ToUpper(second) + `"}`, 204, "- v"},
		{"1.67", `{"id":"v","port_uuid":"` + portA + `"}`, 204, "v -"},
		{"1.67", `{"id":"v","port_uuid":null,"portgroup_uuid":null}`, 204, "v -"},
		{"1.28", `{"id":"v"}`, 204, "v -"},
		{"1.66", `{"id":"v","port_uuid":"` + second + `"}`, 406,
			"Request not acceptable. The minimal required API version for the argument 'port_uuid' is 1.67."},
		{"1.66", `{"id":"v","portgroup_uuid":"` + second + `"}`, 406,
			"Request not acceptable. The minimal required API version for the argument 'portgroup_uuid' is 1.67."},
		{"1.67", `{"id":"v","port_uuid":"` + nodeA + `"}`, 400, "Port " + nodeA + " is not a port of node " + nodeA + "."},
		{"1.67", `{"id":"v","port_uuid":"eth0"}`, 400, `Expected a UUID for port_uuid but received "eth0".`},
		{"1.67", `{"id":"v","port_uuid":7}`, 400, "Field port_uuid must be a string, not a number."},
		{"1.67", `{"id":"v","portgroup_uuid":"` + second + `"}`, 400, "Portgroup " + second + " is not a portgroup of node " + nodeA + "."},
		{"1.67", `{"id":"v","portgroup_uuid":"` + groupA + `","port_uuid":"` + second + `"}`, 400,
			"A virtual interface is attached to a port or to a portgroup: give port_uuid or portgroup_uuid, not both."},
		{"1.67", `{"id":"taken","port_uuid":"` + second + `"}`, 409,
			"Unable to attach VIF because VIF taken is already attached to Ironic Port " + portA},
		{"1.67", `{"id":"w","port_uuid":"` + portA + `"}`, 409, "Unable to attach VIF w because port " + portA + " has VIF taken."},
		{"1.67", `{"port_uuid":"` + portA + `"}`, 400, `The body needs "id": the virtual interface to attach.`},
	} {
		s := newServer(t)
		s.ports = append(s.ports, node.Port{UUID: second, NodeUUID: nodeA, Address: "52:54:00:cf:2d:32"})
		taken := tt.status == 409
		if taken {
			s.ports[0].InternalInfo = node.Document{node.VIFKey: "taken"}
		}
		resp, body := s.ask(tt.version, "POST", strings.Replace(vifs, "rack1-u7", nodeA, 1), tt.body)
		if tt.status != 204 {
			if resp.StatusCode != tt.status || faultstring(t, body) != tt.want {
				t.Errorf("%s: %d %s", tt.body, resp.StatusCode, body)
			}
			if len(s.calls) > 0 || s.ports[1].InternalInfo != nil {
				t.Errorf("%s was done in part: %v", tt.body, s.calls)
			}
			continue
		}
		var got []string
		for _, p := range s.ports {
			id := p.InternalInfo.String(node.VIFKey)
			if id == "" {
				id = "-"
			}
			got = append(got, id)
		}
		if resp.StatusCode != 204 || strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %d %s, then %v", tt.body, resp.StatusCode, body, got)
		}
	}
}

// Nodes as they are made: what each field takes and what it becomes.
func TestMakingNodes(t *testing.T) {
	for _, tt := range []struct {
		body   string
		status int
		want   string // a part of the node, or the whole refusal
	}{
		{`{"driver":"fake-hardware"}`, 201, `"provision_state":"enroll"`},
		{`{"driver":"fake-hardware"}`, 201, `"boot_interface":"fake"`},
		{`{"driver":"fake-hardware","name":null,"properties":null,"automated_clean":null}`, 201, `"name":null`},
		{`{"driver":"fake-hardware","uuid":"` + strings.ToUpper(nodeB) + `"}`, 201, `"uuid":"` + nodeB + `"`},
		{`{"driver":"fake-hardware","uuid":"` + strings.ReplaceAll(nodeB, "-", "") + `"}`, 201, `"uuid":"` + nodeB + `"`},
		{`{"driver":"fake-hardware","uuid":5}`, 400, "Expected a UUID for uuid but received 5."},
		{`{"driver":"fake-hardware","uuid":""}`, 400, "Expected a UUID for uuid but received ."},
		{`{"driver":"fake-hardware","automated_clean":"no"}`, 201, `"automated_clean":false`},
		{`{"driver":"fake-hardware","retired":true,"retired_reason":"old"}`, 201, `"retired_reason":"old"`},
		{`{"driver":"fake-hardware","maintenance":true}`, 201, `"maintenance":true`},
		{`{"driver":"fake-hardware","console_enabled":true}`, 201, `"console_enabled":true`},
		{`{"driver":"fake-hardware","secure_boot":null}`, 201, `"secure_boot":null`},
		{`{"driver":"fake-hardware","secure_boot":"yes"}`, 201, `"secure_boot":true`},
		{`{"driver":"fake-hardware","boot_mode":"uefi"}`, 201, `"boot_mode":"uefi"`},
		{`{"driver":"fake-hardware","boot_mode":"a very long boot mode"}`, 400, "Field boot_mode may have at most 16 characters, not 21."},
		{`{"driver":"fake-hardware","chassis_uuid":null}`, 201, `"chassis_uuid":null`},
		{`{"driver":"fake-hardware","instance_info":{"display_name":"web"}}`, 201, `"instance_name":"web"`},
		{`{"driver":"fake-hardware","driver_info":{"password":"` + bmcSecret + `"}}`, 201, `"driver_info":{"password":"******"}`},
		{`{"driver":"fake-hardware","network_data":{"links":[],"networks":[],"services":[],"x":1}}`, 201,
			`"network_data":{"links":[],"networks":[],"services":[],"x":1}`},
		{`{"driver":"fake-hardware","network_data":{}}`, 201, `"network_data":{}`},
		{`{"driver":"fake-hardware","network_data":{"links":[{"type":"phy"}]}}`, 400,
			`network_data/links[0] has no "ethernet_mac_address"; needed is a MAC address such as fa:16:3e:9c:bf:3d.`},
		{`{"driver":"fake-hardware","power_interface":""}`, 201, `"power_interface":"fake"`},
		{`{"driver":"fake-hardware","raid_interface":"fake"}`, 201, `"raid_interface":"fake"`},
		{`{"driver":"fake-hardware","raid_interface":"agent"}`, 400,
			`Could not find the following interface in the hardware type fake-hardware: raid_interface "agent". Valid interfaces are: fake.`},
		{`{"driver":"fake-hardware","bios_interface":"fake"}`, 400,
			`The hardware type fake-hardware has no bios interface, so bios_interface can not be "fake".`},
		{`{"driver":"ipmi"}`, 400,
			"No valid host was found. Reason: No conductor service registered which supports driver ipmi for conductor group ''. " +
				"Available are the drivers fake-hardware for conductor group ''."},
		{`{"driver":"fake-hardware","conductor_group":"East"}`, 400, "No valid host was found. Reason: No conductor service registered which " +
			"supports driver fake-hardware for conductor group 'east'. Available are the drivers fake-hardware for conductor group ''."},
		{`{"driver":"fake-hardware","instance_uuid":"web"}`, 400, `Expected a UUID for instance_uuid but received "web".`},
		{`{"driver":"fake-hardware","instance_uuid":"` + strings.ToUpper(nodeB) + `"}`, 201, `"instance_uuid":"` + nodeB + `"`},
		{`{"driver":"fake-hardware","traits":["CUSTOM_A"]}`, 400,
			`A node cannot be created with the field "traits". Allowed are: ` + strings.Join(creatable(), ", ")},
		{`{"driver":"fake-hardware","power_state":"power on"}`, 400,
			`A node cannot be created with the field "power_state". Allowed are: ` + strings.Join(creatable(), ", ")},
		{`{"driver":"fake-hardware","protected_reason":"x"}`, 400,
			`A node cannot be created with the field "protected_reason". Allowed are: ` + strings.Join(creatable(), ", ")},
		{`{"driver":"fake-hardware","disable_power_off":"maybe"}`, 400, "Field disable_power_off must be a boolean, not a string."},
	} {
		s := newStack(t)
		resp, body := s.ask("1.115", "POST", "/v1/nodes", tt.body)
		if tt.status == 201 {
			if resp.StatusCode != 201 || !strings.Contains(body, tt.want) || leaks(body) != "" {
				t.Errorf("%s: %d %s, want %s", tt.body, resp.StatusCode, body, tt.want)
			}
			// What was answered is what a later question is answered.
			if _, again := s.ask("1.115", "GET", "/v1/nodes/"+field(t, body, "uuid").(string), ""); !sameJSON(t, body, again) {
				t.Errorf("%s:\nanswered %s\n    then %s", tt.body, body, again)
			}
			continue
		}
		s.refused(tt.body, resp, body, tt.status, tt.want)
		if _, list := s.ask("1.115", "GET", "/v1/nodes", ""); list != `{"nodes":[]}` {
			t.Errorf("%s was kept: %s", tt.body, list)
		}
	}
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal([]byte(a), &x); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(b), &y); err != nil {
		t.Fatal(err)
	}
	return cmp.Equal(x, y)
}

// Who may delete what, in every state.
func TestDeletingNodesInEveryState(t *testing.T) {
	s := newStack(t)
	free := map[node.State]bool{node.Enroll: true, node.Manageable: true, node.AdoptFailed: true}
	for _, state := range node.States {
		for _, tt := range []struct {
			what   string
			n      node.Node
			status int
			want   string
		}{
			{"idle", node.Node{}, map[bool]int{true: 204, false: 409}[free[state]],
				"Can not delete node %q while it is in provision state %q. Valid provision states to perform deletion are: enroll, manageable, adopt " +
					"failed, or any in maintenance."},
			{"in maintenance", node.Node{Maintenance: true}, 204, ""},
			{"in maintenance with an instance", node.Node{Maintenance: true, InstanceUUID: uniqueUUID(state, 1)}, 204, ""},
			{"with an instance", node.Node{InstanceUUID: uniqueUUID(state, 2)}, 409,
				"Node %s is associated with instance " + uniqueUUID(state, 2) + "."},
			{"protected", node.Node{Protected: true, Maintenance: true}, 403, "Node %s is protected and can not be undeployed, rebuilt or deleted."},
		} {
			n := tt.n
			n.State = state
			s.put(&n)
			resp, body := s.ask("1.115", "DELETE", "/v1/nodes/"+n.UUID, "")
			what := string(state) + ", " + tt.what
			if tt.status == 204 {
				if resp.StatusCode != 204 || body != "" {
					t.Errorf("%s: %d %s", what, resp.StatusCode, body)
				}
				resp, body = s.ask("1.115", "GET", "/v1/nodes/"+n.UUID, "")
				s.refused(what, resp, body, 404, "Node "+n.UUID+" could not be found.")
				continue
			}
			want := fmt.Sprintf(strings.ReplaceAll(tt.want, "%q", "%[1]q"), n.UUID)
			if strings.Contains(tt.want, "%q") {
				want = fmt.Sprintf(tt.want, n.UUID, state)
			}
			s.refused(what, resp, body, tt.status, want)
		}
	}
}

// uniqueUUID is another UUID for every state.
func uniqueUUID(state node.State, kind int) string {
	for i, s := range node.States {
		if s == state {
			return fmt.Sprintf("00000000-0000-4000-%d000-%012d", 8+kind, i)
		}
	}
	return ""
}

// Ports whose node has an instance: they are taken away in maintenance only.
func TestDeletingPorts(t *testing.T) {
	s := newStack(t)
	for i, tt := range []struct {
		n      node.Node
		vif    string
		status int
		want   string // PORT and NODE stand for their UUIDs
	}{
		{node.Node{State: node.Available}, "", 204, ""},
		{node.Node{State: node.Active, InstanceUUID: uniqueUUID(node.Active, 1)}, "", 409,
			"Port PORT can not be deleted while node NODE has an instance, unless the node is in maintenance."},
		{node.Node{State: node.Active, InstanceUUID: uniqueUUID(node.Active, 2), Maintenance: true}, "", 204, ""},
		{node.Node{State: node.Available}, "v", 409,
			"Port PORT has the virtual interface v attached; detach it first, or put node NODE in maintenance."},
		{node.Node{State: node.Available, Maintenance: true}, "v", 204, ""},
	} {
		s.put(&tt.n)
		p := node.Port{NodeUUID: tt.n.UUID, Address: fmt.Sprintf("52:54:00:00:00:0%d", i)}
		if tt.vif != "" {
			p.InternalInfo = node.Document{node.VIFKey: tt.vif}
		}
		if err := s.db.Ports.Create(t.Context(), &p); err != nil {
			t.Fatal(err)
		}
		resp, body := s.ask("1.115", "DELETE", "/v1/ports/"+p.UUID, "")
		if tt.status == 204 {
			if resp.StatusCode != 204 {
				t.Errorf("%d: %d %s", i, resp.StatusCode, body)
			}
			resp, body = s.ask("1.115", "DELETE", "/v1/ports/"+p.UUID, "")
			s.refused("again", resp, body, 404, "Port "+p.UUID+" could not be found.")
			continue
		}
		s.refused(fmt.Sprint(i), resp, body, tt.status, strings.NewReplacer("PORT", p.UUID, "NODE", tt.n.UUID).Replace(tt.want))
	}
}

// Node validation: in the path or in the query, by name or by UUID.
func TestWhichNodeIsValidated(t *testing.T) {
	for _, tt := range []struct {
		version, path string
		status        int
		want          string
	}{
		{"1.115", "/v1/nodes/rack1-u7/validate", 200, ""},
		{"1.115", "/v1/nodes/validate?node=rack1-u7", 200, ""},
		{"1.1", "/v1/nodes/validate?node=" + nodeA, 200, ""},
		{"1.1", "/v1/nodes/validate?node_uuid=" + strings.ToUpper(nodeA), 200, ""},
		{"1.115", "/v1/nodes/validate?node_uuid=" + nodeA + "&node=nobody", 200, ""},
		{"1.4", "/v1/nodes/validate?node=rack1-u7", 404, "Node rack1-u7 could not be found."},
		{"1.115", "/v1/nodes/validate?node=nobody", 404, "Node nobody could not be found."},
		{"1.115", "/v1/nodes/validate?node=a%2Fb", 400, `Expected a logical name or UUID but received "a/b".`},
		{"1.115", "/v1/nodes/validate?name=rack1-u7", 400, "Unexpected arguments: name"},
	} {
		resp, body := newServer(t).ask(tt.version, "GET", tt.path, "")
		if tt.status != 200 {
			if resp.StatusCode != tt.status || faultstring(t, body) != tt.want {
				t.Errorf("%s: %d %s", tt.path, resp.StatusCode, body)
			}
			continue
		}
		want := `{"console":{"reason":"not supported","result":null},"deploy":{"reason":"instance_info has no ` +
			`image_source","result":false},"power":{"result":true}}`
		if resp.StatusCode != 200 || body != want {
			t.Errorf("%s: %d %s", tt.path, resp.StatusCode, body)
		}
	}
}

// Every answer that holds a node hides its secrets, whatever the version, the fields and the way to it.
func TestSecretsInNoAnswerOfAnyVersion(t *testing.T) {
	s := newServer(t)
	for minor := 1; minor <= 115; minor++ {
		for _, path := range []string{
			"/v1/nodes/" + nodeA, "/v1/nodes/detail", "/v1/nodes/" + nodeA + "/states", "/v1/ports/detail", "/v1/nodes/" + nodeA + "/vifs",
			"/v1/nodes?fields=driver_info,instance_info", "/v1/nodes/" + nodeA + "?fields=driver_internal_info,deploy_step",
			"/v1/deploy_templates?detail=true",
		} {
			if _, body := s.ask(fmt.Sprint("1.", minor), "GET", path, ""); leaks(body) != "" {
				t.Fatalf("%s at 1.%d holds %q", path, minor, leaks(body))
			}
		}
	}
	// The masks stand where the secrets are, and what is none is told.
	_, body := s.ask("1.115", "GET", "/v1/nodes/"+nodeA, "")
	for _, tt := range []struct {
		path []string
		want any
	}{
		{[]string{"driver_info", "ipmi_password"}, node.Mask}, {[]string{"driver_info", "ipmi_hex_kg_key"}, node.Mask},
		{[]string{"driver_info", "ipmi_username"}, "admin"}, {[]string{"driver_info", "ipmi_address"}, "192.0.2.7"},
		{[]string{"instance_info", "configdrive"}, node.Mask}, {[]string{"instance_info", "image_url"}, node.Mask},
		{[]string{"instance_info", "image_source"}, "http://192.0.2.1/debian.qcow2"},
		{[]string{"driver_internal_info", "agent_secret_token"}, node.Mask}, {[]string{"driver_internal_info", "rescue_password"}, node.Mask},
		{[]string{"driver_internal_info", "agent_secret_token_pregenerated"}, false},
		{[]string{"deploy_step", "args", "password"}, node.Mask}, {[]string{"deploy_step", "args", "disk"}, "sda"},
	} {
		if got := field(t, body, tt.path...); got != tt.want {
			t.Errorf("%v is %v, want %v", tt.path, got, tt.want)
		}
	}
}

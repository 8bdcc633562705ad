package api

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
)

// hurt overwrites columns of node_documents of the node with what nobody can open.
func (s *stack) hurt(uuid string, columns ...string) {
	s.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.dir, "billet.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	for _, c := range columns {
		if _, err := db.Exec(`UPDATE node_documents SET `+c+` = X'0102' WHERE node_id = (SELECT id FROM nodes WHERE uuid = $1)`,
			uuid); err != nil {
			s.t.Fatal(err)
		}
	}
}

const damage = "The database's record of node " + nodeA + " is damaged; unreadable are: driver_info (sealed value of " + nodeA +
	" driver_info is damaged). " +
	"Nothing is done with the machine until that is mended: write the field anew, restore the database or its sealing key, or delete the " +
	"node (in maintenance it can be deleted in every state)."

// A node whose secrets cannot be opened is listed and shown with the reason, nothing is done with its machine, and it can be
// put into maintenance and deleted. The other nodes are none the worse.
func TestANodeWhoseSecretsAreDamaged(t *testing.T) {
	for _, state := range []node.State{node.Enroll, node.Manageable, node.Active, node.DeployWait, node.Deploying, node.CleanFailed} {
		s := newStack(t)
		s.put(&node.Node{UUID: nodeA, Name: "hurt", State: state, DriverInfo: node.Document{"ipmi_password": "hunter2"},
			Extra: node.Document{"a": "b"}, LastError: "old"})
		s.put(&node.Node{UUID: nodeB, Name: "sound", State: state, DriverInfo: node.Document{"ipmi_password": "hunter2"}})
		s.hurt(nodeA, "driver_info")
		for _, path := range []string{"/v1/nodes/detail", "/v1/nodes?detail=True", "/v1/nodes?fields=uuid,driver_info,last_error,extra"} {
			resp, body := s.ask("1.115", "GET", path, "")
			nodes, _ := field(t, body, "nodes").([]any)
			if resp.StatusCode != 200 || len(nodes) != 2 {
				t.Fatalf("%s, %s: %d %s", state, path, resp.StatusCode, body)
			}
			bad, good := nodes[0].(map[string]any), nodes[1].(map[string]any)
			if info, ok := bad["driver_info"].(map[string]any); !ok || len(info) > 0 || bad["last_error"] != damage ||
				bad["extra"].(map[string]any)["a"] != "b" {
				t.Errorf("%s, %s: shown as %v", state, path, bad)
			}
			if good["driver_info"].(map[string]any)["ipmi_password"] != node.Mask || good["last_error"] != nil {
				t.Errorf("%s, %s: the other is shown as %v", state, path, good)
			}
		}
		if resp, body := s.ask("1.115", "GET", "/v1/nodes/hurt/states", ""); resp.StatusCode != 200 || field(t, body, "last_error") != damage {
			t.Errorf("%s: states %d %s", state, resp.StatusCode, body)
		}
		resp, body := s.ask("1.115", "PUT", "/v1/nodes/hurt/states/power", `{"target":"power off"}`)
		s.refused(string(state)+" power", resp, body, 500, damage)
		resp, body = s.ask("1.115", "PUT", "/v1/nodes/hurt/management/boot_device", `{"boot_device":"pxe"}`)
		s.refused(string(state)+" boot device", resp, body, 500, damage)
		resp, body = s.ask("1.115", "GET", "/v1/nodes/hurt/validate", "")
		s.refused(string(state)+" validate", resp, body, 500, damage)
		if state == node.Manageable {
			resp, body = s.ask("1.115", "PUT", "/v1/nodes/hurt/states/provision", `{"target":"provide"}`)
			s.refused("provide", resp, body, 500, damage)
		}
		if n := s.node(nodeA); n.State != state || n.TargetPower != "" || n.Lease.Holder != "" || n.LastError != "old" {
			t.Errorf("%s: after requests that were refused: %+v", state, n)
		}
		if state != node.Enroll && state != node.Manageable {
			if resp, body := s.ask("1.115", "PUT", "/v1/nodes/hurt/maintenance", `{"reason":"damaged"}`); resp.StatusCode != 202 {
				t.Errorf("%s: maintenance %d %s", state, resp.StatusCode, body)
			}
		}
		if resp, body := s.ask("1.115", "DELETE", "/v1/nodes/hurt", ""); resp.StatusCode != 204 {
			t.Errorf("%s: delete %d %s", state, resp.StatusCode, body)
		}
		if _, body := s.ask("1.115", "GET", "/v1/nodes/detail", ""); strings.Contains(body, nodeA) || !strings.Contains(body, nodeB) {
			t.Errorf("%s: after the deletion: %s", state, body)
		}
	}
}

// Whoever knows what was in the damaged field writes it anew, and the node is as good as before. Other fields can be
// changed meanwhile, without harm to what is damaged.
func TestADamagedFieldWrittenAnew(t *testing.T) {
	s := newStack(t)
	s.put(&node.Node{UUID: nodeA, Name: "hurt", State: node.Manageable, DriverInfo: node.Document{"ipmi_password": "hunter2"}})
	s.hurt(nodeA, "driver_info")
	resp, body := s.ask("1.115", "PATCH", "/v1/nodes/hurt",
		`[{"op":"add","path":"/extra/rack","value":"7"},{"op":"replace","path":"/name","value":"still-hurt"}]`)
	if resp.StatusCode != 200 || field(t, body, "name") != "still-hurt" || field(t, body, "last_error") != damage {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	resp, body = s.ask("1.115", "PATCH", "/v1/nodes/still-hurt", `[{"op":"add","path":"/driver_info/ipmi_password","value":"hunter3"}]`)
	if resp.StatusCode != 200 || field(t, body, "last_error") != nil || field(t, body, "driver_info", "ipmi_password") != node.Mask {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	if resp, body := s.ask("1.115", "PUT", "/v1/nodes/still-hurt/states/power", `{"target":"power on"}`); resp.StatusCode != 202 {
		t.Errorf("power: %d %s", resp.StatusCode, body)
	}
	if n := s.node(nodeA); n.DriverInfo["ipmi_password"] != "hunter3" || n.Extra["rack"] != "7" {
		t.Errorf("stored %+v", n)
	}
}

// An agent's token that cannot be opened is a token that nobody has: it stops nothing but the agent.
func TestADamagedAgentToken(t *testing.T) {
	s := newStack(t)
	s.put(&node.Node{UUID: nodeA, Name: "hurt", State: node.DeployWait})
	if _, err := s.db.GiveAgentToken(t.Context(), nodeA, strings.Repeat("a", 43), node.Caller{}); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.dir, "billet.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`UPDATE node_agent SET token = X'0102'`); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{strings.Repeat("a", 43), ""} {
		resp, body := s.ask("1.68", "POST", "/v1/heartbeat/"+nodeA,
			`{"callback_url":"https://10.0.0.5:9999","agent_version":"1","agent_token":"`+token+`"}`)
		if resp.StatusCode != 400 {
			t.Errorf("a heartbeat with the token %q: %d %s", token, resp.StatusCode, body)
		}
	}
	if resp, body := s.ask("1.68", "GET", "/v1/lookup?node_uuid="+nodeA, ""); resp.StatusCode != 200 ||
		field(t, body, "config", "agent_token") != node.Mask {
		t.Errorf("a lookup: %d %s", resp.StatusCode, body)
	}
	if resp, body := s.ask("1.115", "PUT", "/v1/nodes/hurt/states/power", `{"target":"power off"}`); resp.StatusCode != 202 {
		t.Errorf("power off: %d %s", resp.StatusCode, body)
	}
}

// A template, a rule or a port of which something cannot be read stays in lists, with null for what is not known; shown alone it says
// what is wrong and what to do. Nobody acts on it. It can be mended by writing the field anew, and deleted.
func TestDamagedTemplatesRulesAndPorts(t *testing.T) {
	s := newStack(t)
	s.put(&node.Node{UUID: nodeA, Name: "a", State: node.Available, Traits: []string{"CUSTOM_A"},
		InstanceInfo: node.Document{"traits": []any{"CUSTOM_A"}}})
	template := node.DeployTemplate{UUID: nodeA, Name: "CUSTOM_A",
		Steps: []node.PlannedStep{{Interface: node.Power, Step: "reboot", Priority: 1}}}
	sound := node.DeployTemplate{UUID: nodeB, Name: "CUSTOM_B", Steps: template.Steps}
	rule := node.InspectionRule{UUID: nodeB, Phase: node.MainPhase, Actions: []node.RuleOperation{{Op: "fail", Args: []any{"x"}}}}
	port := node.Port{UUID: nodeB, NodeUUID: nodeA, Address: "52:54:00:00:00:01", Extra: node.Document{"a": "b"}}
	for _, err := range []error{s.db.DeployTemplates.Create(t.Context(), &template), s.db.DeployTemplates.Create(t.Context(), &sound),
		s.db.InspectionRules.Create(t.Context(), &rule), s.db.Ports.Create(t.Context(), &port)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.dir, "billet.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	hurt := func(change string) {
		t.Helper()
		if _, err := db.Exec(change); err != nil {
			t.Fatal(err)
		}
	}
	const mend = "write the field anew, restore the database or its sealing key, or delete the "
	for _, tt := range []struct {
		path, key, uuid, hurt, field string
		others                       int    // records in the list
		wrong                        string // shown alone
		other, anew                  string // patches
	}{
		{"/v1/deploy_templates", "deploy_templates", nodeA, `UPDATE deploy_templates SET steps = X'01' WHERE name = 'CUSTOM_A'`, "steps", 2,
			"The database's record of deploy template CUSTOM_A (" + nodeA + ") is damaged; unreadable are: steps (sealed value of " + nodeA +
				" deploy_template.steps is damaged). No deploy gets its steps until that is mended: " + mend + "deploy template.",
			`[{"op":"add","path":"/description","value":"x"}]`,
			`[{"op":"replace","path":"/steps","value":[{"interface":"power","step":"reboot","args":{},"priority":5}]}]`},
		{"/v1/inspection_rules", "inspection_rules", nodeB, `UPDATE inspection_rules SET actions = X'01'`, "actions", 1,
			"The database's record of inspection rule " + nodeB + " is damaged; unreadable are: actions (sealed value of " + nodeB +
				" inspection_rule.actions is damaged). No inspection can end until that is mended: " + mend + "inspection rule.",
			`[{"op":"add","path":"/description","value":"x"}]`, `[{"op":"replace","path":"/actions","value":[{"op":"log","args":{"msg":"x"}}]}]`},
		{"/v1/ports", "ports", nodeB, `UPDATE ports SET extra = '{'`, "extra", 1,
			"The database's record of port " + nodeB +
				" is damaged; unreadable are: extra (read a document: unexpected EOF). Nothing is done with the machine of node " + nodeA +
				" until that is mended: " + mend + "port.",
			"", `[{"op":"add","path":"/extra","value":{"a":"c"}}]`},
	} {
		hurt(tt.hurt)
		resp, body := s.ask("1.115", "GET", tt.path+"?detail=True", "")
		list, _ := field(t, body, tt.key).([]any)
		if resp.StatusCode != 200 || len(list) != tt.others {
			t.Fatalf("%s: %d %s", tt.path, resp.StatusCode, body)
		}
		if bad := list[0].(map[string]any); bad["uuid"] != tt.uuid || bad[tt.field] != nil {
			t.Errorf("%s: listed as %v", tt.path, bad)
		}
		resp, body = s.ask("1.115", "GET", tt.path+"/"+tt.uuid, "")
		s.refused(tt.path, resp, body, 500, tt.wrong)
		if tt.other != "" {
			resp, body = s.ask("1.115", "PATCH", tt.path+"/"+tt.uuid, tt.other)
			s.refused("another field of "+tt.path, resp, body, 500, tt.wrong)
		}
		if tt.key == "ports" {
			resp, body = s.ask("1.115", "PUT", "/v1/nodes/a/states/power", `{"target":"power off"}`)
			s.refused("power", resp, body, 500, tt.wrong)
		}
		if tt.key == "deploy_templates" {
			resp, body = s.ask("1.115", "PUT", "/v1/nodes/a/states/provision", `{"target":"active"}`)
			s.refused("a deploy with the template", resp, body, 500, tt.wrong)
		}
		resp, body = s.ask("1.115", "PATCH", tt.path+"/"+tt.uuid, tt.anew)
		if resp.StatusCode != 200 || field(t, body, tt.field) == nil {
			t.Errorf("mending it of %s: %d %s", tt.path, resp.StatusCode, body)
		}
		if resp, body = s.ask("1.115", "GET", tt.path+"/"+tt.uuid, ""); resp.StatusCode != 200 {
			t.Errorf("mended, of %s: %d %s", tt.path, resp.StatusCode, body)
		}
		hurt(tt.hurt)
		if resp, body := s.ask("1.115", "DELETE", tt.path+"/"+strings.ToUpper(tt.uuid), ""); resp.StatusCode != 204 {
			t.Errorf("deleting it of %s: %d %s", tt.path, resp.StatusCode, body)
		}
		if resp, body := s.ask("1.115", "DELETE", tt.path+"/"+tt.uuid, ""); resp.StatusCode != 404 {
			t.Errorf("deleting it of %s again: %d %s", tt.path, resp.StatusCode, body)
		}
	}
}

// A template that cannot be read is deleted by its name too, and a virtual interface is not put over one that nobody can read.
func TestDamagedByNameAndVIF(t *testing.T) {
	s := newStack(t)
	s.put(&node.Node{UUID: nodeA, Name: "a", State: node.Available, Interfaces: map[node.Interface]string{node.Network: "flat"}})
	template := node.DeployTemplate{UUID: nodeA, Name: "CUSTOM_A",
		Steps: []node.PlannedStep{{Interface: node.Power, Step: "reboot", Priority: 1}}}
	port := node.Port{UUID: nodeB, NodeUUID: nodeA, Address: "52:54:00:00:00:01"}
	if err := s.db.DeployTemplates.Create(t.Context(), &template); err != nil {
		t.Fatal(err)
	}
	if err := s.db.Ports.Create(t.Context(), &port); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.dir, "billet.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`UPDATE deploy_templates SET steps = X'01'; UPDATE ports SET internal_info = 'vif'`); err != nil {
		t.Fatal(err)
	}
	if resp, body := s.ask("1.115", "DELETE", "/v1/deploy_templates/CUSTOM_A", ""); resp.StatusCode != 204 {
		t.Errorf("deleting the template by name: %d %s", resp.StatusCode, body)
	}
	resp, body := s.ask("1.115", "POST", "/v1/nodes/a/vifs", `{"id":"`+nodeB+`"}`)
	if resp.StatusCode != 500 || !strings.Contains(body,
		"record of port "+nodeB+" is damaged; unreadable are: internal_info (read a document: invalid character") {
		t.Errorf("attaching: %d %s", resp.StatusCode, body)
	}
	var kept string
	if err := db.QueryRow(`SELECT internal_info FROM ports`).Scan(&kept); err != nil || kept != "vif" {
		t.Errorf("internal_info is %q, %v", kept, err)
	}
}

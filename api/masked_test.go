package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/node"
)

// What a client reads and sends back keeps every secret: the whole field, a key, a key below, an item of a list.
func TestASecretSentBackMaskedIsKept(t *testing.T) {
	before := func() *node.Node {
		return &node.Node{
			UUID: nodeA, Name: "bay-1", State: node.Enroll,
			ConfigDrive: "H4sIsecret", InstanceInfo: node.Document{"image_url": "https://u:p@x/i", "root_gb": 4.0},
			DriverInfo: node.Document{
				"ipmi_address": "192.0.2.7", "ipmi_password": "hunter2", "pin_token": 1234.0,
				"proxies": []any{map[string]any{"host": "a", "password": "one"}, map[string]any{"host": "b", "password": "two"}},
				"site":    map[string]any{"secret": map[string]any{"deep": "x"}, "floor": 1.0},
			},
		}
	}
	shown := func(s *stack, field string) string {
		resp, body := s.ask("1.90", "GET", "/v1/nodes/bay-1", "")
		if resp.StatusCode != 200 {
			t.Fatalf("%d %s", resp.StatusCode, body)
		}
		b, err := json.Marshal(shownField(t, body, field))
		if err != nil || !strings.Contains(string(b), node.Mask) {
			t.Fatalf("%s shows %s %v", field, b, err)
		}
		return string(b)
	}
	for _, tt := range []struct {
		name  string
		patch func(s *stack) string
		want  func(n *node.Node)
	}{
		{"all of driver_info", func(s *stack) string {
			return fmt.Sprintf(`[{"op":"replace","path":"/driver_info","value":%s}]`, shown(s, "driver_info"))
		}, func(*node.Node) {}},
		{"all of instance_info", func(s *stack) string {
			return fmt.Sprintf(`[{"op":"add","path":"/instance_info","value":%s}]`, shown(s, "instance_info"))
		}, func(*node.Node) {}},
		{"a key", func(*stack) string {
			return `[{"op":"add","path":"/driver_info/ipmi_password","value":"******"},` +
				`{"op":"replace","path":"/driver_info/pin_token","value":"******"}]`
		}, func(*node.Node) {}},
		{"a key below", func(*stack) string {
			return `[{"op":"replace","path":"/driver_info/site","value":{"secret":"******","floor":2}}]`
		}, func(n *node.Node) { n.DriverInfo["site"].(map[string]any)["floor"] = 2.0 }},
		{"the first item of a list is gone", func(*stack) string {
			return `[{"op":"replace","path":"/driver_info/proxies","value":[{"host":"b","password":"******"}]}]`
		}, func(n *node.Node) { n.DriverInfo["proxies"] = n.DriverInfo["proxies"].([]any)[1:] }},
		{"an item is removed and the rest sent back", func(*stack) string {
			return `[{"op":"remove","path":"/driver_info/proxies/0"},{"op":"replace","path":"/driver_info/proxies/0/password","value":"******"}]`
		}, func(n *node.Node) { n.DriverInfo["proxies"] = n.DriverInfo["proxies"].([]any)[1:] }},
		{"another secret is changed", func(*stack) string {
			return `[{"op":"replace","path":"/driver_info","value":{"ipmi_address":"192.0.2.8","ipmi_password":"******","pin_token":"77"}}]`
		}, func(n *node.Node) {
			n.DriverInfo = node.Document{"ipmi_address": "192.0.2.8", "ipmi_password": "hunter2", "pin_token": "77"}
		}},
	} {
		s := newStack(t)
		s.put(before())
		want := before()
		tt.want(want)
		resp, body := s.ask("1.90", "PATCH", "/v1/nodes/bay-1", tt.patch(s))
		n := s.node("bay-1")
		if diff := cmp.Diff(want.DriverInfo, n.DriverInfo) + cmp.Diff(want.InstanceInfo, n.InstanceInfo); resp.StatusCode != 200 ||
			diff != "" || n.ConfigDrive != want.ConfigDrive {
			t.Errorf("%s: %d %s\n%s config drive %q", tt.name, resp.StatusCode, body, diff, n.ConfigDrive)
		}
		if strings.Contains(body, "hunter2") {
			t.Errorf("%s: the answer shows the secret: %s", tt.name, body)
		}
	}
}

func shownField(t *testing.T, body, name string) any { t.Helper(); return field(t, body, name) }

// A mask with no secret behind it is refused wherever one could be written, and nothing has changed.
func TestAMaskIsNoSecret(t *testing.T) {
	s := newStack(t)
	s.put(&node.Node{UUID: nodeA, Name: "bay-1", State: node.Manageable, Power: node.PowerOff,
		DriverInfo: node.Document{"ipmi_username": "root",
			"proxies": []any{map[string]any{"host": "a", "password": "one"}, map[string]any{"host": "a", "password": "two"}}}})
	const template = `{"name":"CUSTOM_T","steps":[{"interface":"deploy","step":"write","priority":10,"args":{"password":%q}}]}`
	if resp, body := s.ask("1.90", "POST", "/v1/deploy_templates", fmt.Sprintf(template, "kept-secret")); resp.StatusCode != 201 {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	target := fmt.Sprintf(`{"node_uuid":%q,"volume_type":"iscsi","boot_index":0,"volume_id":"v","properties":{"auth_password":%%q}}`, nodeA)
	none := func(at string) string {
		return at + ` is "******", which stands for a secret in answers, and there is none to keep. Send the secret itself, or leave the key out.`
	}
	for _, tt := range []struct{ method, path, body, want string }{
		{"POST", "/v1/nodes", `{"driver":"fake-hardware","driver_info":{"ipmi_password":"******"}}`, none("driver_info/ipmi_password")},
		{"POST", "/v1/nodes", `{"driver":"fake-hardware","instance_info":{"image_url":"******"}}`, none("instance_info/image_url")},
		{"POST", "/v1/nodes", `{"driver":"fake-hardware","instance_info":{"configdrive":"******"}}`, none("instance_info/configdrive")},
		{"PATCH", "/v1/nodes/bay-1", `[{"op":"add","path":"/driver_info/ipmi_password","value":"******"}]`, none("driver_info/ipmi_password")},
		{"PATCH", "/v1/nodes/bay-1", `[{"op":"add","path":"/driver_info","value":{"a":{"b":[{"api_token":"******"}]}}}]`,
			none("driver_info/a/b/api_token")},
		{"PATCH", "/v1/nodes/bay-1", `[{"op":"add","path":"/instance_info/configdrive","value":"******"}]`, none("instance_info/configdrive")},
		// Two secrets that were shown alike: neither may take the other's place.
		{"PATCH", "/v1/nodes/bay-1",
			`[{"op":"add","path":"/driver_info/proxies","value":[{"host":"c","password":"x"},{"host":"d"},{"host":"a","password":"******"}]}]`,
			none("driver_info/proxies/password")},
		{"PUT", "/v1/nodes/bay-1/states/provision",
			`{"target":"clean","clean_steps":[{"interface":"deploy","step":"x","args":{"password":"******"}}]}`,
			none("the body/clean_steps/args/password")},
		{"PUT", "/v1/nodes/bay-1/states/provision", `{"target":"rescue","rescue_password":"******"}`, none("the body/rescue_password")},
		{"PUT", "/v1/nodes/bay-1/states/provision", `{"target":"active","configdrive":"******"}`, none("the body/configdrive")},
		{"POST", "/v1/volume/targets", fmt.Sprintf(target, "******"), none("properties/auth_password")},
		{"POST", "/v1/deploy_templates", strings.Replace(fmt.Sprintf(template, "******"), "CUSTOM_T", "CUSTOM_U", 1),
			none("steps/args/password")},
		{"PATCH", "/v1/deploy_templates/CUSTOM_T",
			`[{"op":"replace","path":"/steps","value":[{"interface":"deploy","step":"other","priority":10,"args":{"password":"******"}}]}]`,
			none("steps/args/password")},
	} {
		resp, body := s.ask("1.90", tt.method, tt.path, tt.body)
		if resp.StatusCode != 400 || faultstring(t, body) != tt.want {
			t.Errorf("%s %s %s: %d %s", tt.method, tt.path, tt.body, resp.StatusCode, body)
		}
	}
	resp, body := s.ask("1.90", "POST", "/v1/volume/targets", fmt.Sprintf(target, "chap-secret"))
	uuid, _ := field(t, body, "uuid").(string)
	if resp.StatusCode != 201 || field(t, body, "properties", "auth_password") != node.Mask {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	if resp, body = s.ask("1.90", "PATCH", "/v1/volume/targets/"+uuid,
		`[{"op":"replace","path":"/properties","value":{"auth_password":"******","lun":1}}]`); resp.StatusCode == 200 {
		v, err := s.db.VolumeTargets.Get(t.Context(), uuid)
		if err != nil || v.Properties["auth_password"] != "chap-secret" {
			t.Errorf("the volume target has %v %v", v.Properties, err)
		}
	} else {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if resp, body = s.ask("1.90", "PATCH", "/v1/deploy_templates/CUSTOM_T", `[{"op":"replace","path":"/steps",`+
		`"value":[{"interface":"deploy","step":"write","priority":10,"args":{"password":"******"}}]}]`); resp.StatusCode != 200 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	kept, err := s.db.DeployTemplates.Get(t.Context(), "CUSTOM_T")
	if err != nil || len(kept.Steps) != 1 || kept.Steps[0].Args["password"] != "kept-secret" {
		t.Errorf("the deploy template has %+v %v", kept, err)
	}
}

// A sensitive rule shows null for what it does; null sent back keeps it.
func TestASensitiveRuleSentBackIsKept(t *testing.T) {
	s := newStack(t)
	resp, body := s.ask("1.96", "POST", "/v1/inspection_rules",
		`{"sensitive":true,"conditions":[{"op":"eq","args":["{node.name}","x"]}],"actions":[{"op":"log","args":["x"]}]}`)
	uuid, _ := field(t, body, "uuid").(string)
	if resp.StatusCode != 201 || field(t, body, "actions") != nil {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	resp, body = s.ask("1.96", "PATCH", "/v1/inspection_rules/"+uuid,
		`[{"op":"replace","path":"/conditions","value":null},{"op":"replace","path":"/actions","value":null},`+
			`{"op":"replace","path":"/description","value":"new"}]`)
	r, err := s.db.InspectionRules.Get(t.Context(), uuid)
	if resp.StatusCode != 200 || err != nil || len(r.Conditions) != 1 || len(r.Actions) != 1 || r.Description != "new" {
		t.Errorf("%d %s; the rule is %+v %v", resp.StatusCode, body, r, err)
	}
}

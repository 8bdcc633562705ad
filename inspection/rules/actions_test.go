package rules_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/billet-metal/billet/inspection/rules"
	"github.com/billet-metal/billet/node"
)

func TestActions(t *testing.T) {
	capabilities := func(want any) func(*rules.Machine) {
		return func(m *rules.Machine) { m.Node.Properties["capabilities"] = want }
	}
	for _, tt := range []struct {
		action string
		change func(*rules.Machine)
	}{
		{`{"op":"set-attribute","args":{"path":"/driver","value":"redfish"}}`, func(m *rules.Machine) { m.Node.Driver = "redfish" }},
		{`{"op":"set-attribute","args":["driver_info.redfish_address","https://{inventory[bmc_address]}"]}`,
			func(m *rules.Machine) { m.Node.DriverInfo["redfish_address"] = "https://192.0.2.7" }},
		{`{"op":"set-attribute","args":{"path":"driver_info/ipmi_password","value":"changed-secret"}}`,
			func(m *rules.Machine) { m.Node.DriverInfo["ipmi_password"] = "changed-secret" }},
		{`{"op":"set-attribute","args":{"path":"/extra/deep/er/est","value":{"{node.name}":["{inventory[cpu][count]}",7,true]}}}`,
			func(m *rules.Machine) {
				m.Node.Extra["deep"].(map[string]any)["er"] = map[string]any{"est": map[string]any{"blade-7": []any{"4", 7.0, true}}}
			}},
		{`{"op":"set-attribute","args":{"path":"/extra","value":{"a":1}}}`, func(m *rules.Machine) { m.Node.Extra = node.Document{"a": 1.0} }},
		{`{"op":"set-attribute","args":{"path":"/extra","value":null}}`, func(m *rules.Machine) { m.Node.Extra = nil }},
		{`{"op":"set-attribute","args":{"path":"name","value":"{inventory[system_vendor][product_name]}-{node.name}"}}`,
			func(m *rules.Machine) { m.Node.Name = "R640-blade-7" }},
		{`{"op":"set-attribute","args":{"path":"shard","value":7}}`, func(m *rules.Machine) { m.Node.Shard = "7" }},
		{`{"op":"set-attribute","args":{"path":"automated_clean","value":"no"}}`, func(m *rules.Machine) { m.Node.AutomatedClean = new(bool) }},
		{`{"op":"set-attribute","args":{"path":"disable_power_off","value":true}}`, func(m *rules.Machine) { m.Node.DisablePowerOff = true }},
		{`{"op":"set-attribute","args":{"path":"inspect_interface","value":"agent"}}`,
			func(m *rules.Machine) { m.Node.Interfaces[node.Inspect] = "agent" }},
		{`{"op":"set-attribute","args":{"path":"{item[path]}","value":"{item[value]}"},"loop":[{"path":"owner","value":"{node.name}"},` +
			`{"path":"lessee","value":"{node.owner}"}]}`,
			func(m *rules.Machine) { m.Node.Owner, m.Node.Lessee = "blade-7", "None" }},
		{`{"op":"set-attribute","args":{"path":"{item[path]}","value":"{item[value]}"},"loop":{"path":"owner","value":"{inventory[hostname]}"}}`,
			func(m *rules.Machine) { m.Node.Owner = "it's {node.uuid}" }}, // the machine's words are not read again
		{`{"op":"del-attribute","args":{"path":"/deploy_interface"}}`, func(m *rules.Machine) { delete(m.Node.Interfaces, node.Deploy) }},
		{`{"op":"del-attribute","args":["/name"]}`, func(m *rules.Machine) { m.Node.Name = "" }},
		{`{"op":"del-attribute","args":["extra/deep/n"]}`, func(m *rules.Machine) { m.Node.Extra["deep"] = map[string]any{} }},
		{`{"op":"del-attribute","args":["extra/no/such/way"]}`, func(*rules.Machine) {}},
		{`{"op":"extend-attribute","args":{"path":"extra/racks","value":"{node.driver}"}}`,
			func(m *rules.Machine) { m.Node.Extra["racks"] = []any{"a", "ipmi"} }},
		{`{"op":"extend-attribute","args":{"path":"extra/racks","value":"a"}}`,
			func(m *rules.Machine) { m.Node.Extra["racks"] = []any{"a", "a"} }},
		{`{"op":"extend-attribute","args":["extra.racks","a",true]}`, func(*rules.Machine) {}},
		{`{"op":"extend-attribute","args":["properties.new.list",1]}`,
			func(m *rules.Machine) { m.Node.Properties["new"] = map[string]any{"list": []any{1.0}} }},
		{`{"op":"set-capability","args":{"name":"class","value":"{inventory[cpu][count]}"}}`, capabilities("boot_mode:uefi,class:4")},
		{`{"op":"set-capability","args":["boot_mode","bios"]}`, capabilities("boot_mode:bios")},
		{`{"op":"unset-capability","args":["boot_mode"]}`, capabilities("")},
		{`{"op":"unset-capability","args":["nothing"]}`, func(*rules.Machine) {}},
		{`{"op":"add-trait","args":{"name":"CUSTOM_BIG"}}`, func(m *rules.Machine) { m.Node.Traits = append(m.Node.Traits, "CUSTOM_BIG") }},
		{`{"op":"add-trait","args":{"name":"CUSTOM_{item}"},"loop":["A","B","OLD"]}`,
			func(m *rules.Machine) { m.Node.Traits = append(m.Node.Traits, "CUSTOM_A", "CUSTOM_B") }},
		{`{"op":"remove-trait","args":["CUSTOM_OLD"]}`, func(m *rules.Machine) { m.Node.Traits = nil }},
		{`{"op":"remove-trait","args":["CUSTOM_NONE"]}`, func(*rules.Machine) {}},
		{`{"op":"set-plugin-data","args":{"path":"root_disk.name","value":"{node.name}"}}`,
			func(m *rules.Machine) { m.PluginData["root_disk"].(map[string]any)["name"] = "blade-7" }},
		{`{"op":"extend-plugin-data","args":{"path":"macs","value":"x","unique":true}}`,
			func(m *rules.Machine) { m.PluginData["macs"] = []any{portMAC, "x"} }},
		{`{"op":"extend-plugin-data","args":{"path":"new/list","value":{"a":"{node.driver}"}}}`,
			func(m *rules.Machine) {
				m.PluginData["new"] = map[string]any{"list": []any{map[string]any{"a": "ipmi"}}}
			}},
		{`{"op":"unset-plugin-data","args":["root_disk.size"]}`, func(m *rules.Machine) { m.PluginData["root_disk"] = map[string]any{} }},
		{`{"op":"unset-plugin-data","args":["no.such"]}`, func(*rules.Machine) {}},
		{`{"op":"set-port-attribute","args":{"port_id":"` + portUUID + `","path":"physical_network","value":"net-{node.driver}"}}`,
			func(m *rules.Machine) { m.Ports[0].PhysicalNetwork = "net-ipmi" }},
		{`{"op":"set-port-attribute","args":{"port_id":"52:54:00:00:00:01","path":"pxe_enabled","value":false}}`,
			func(m *rules.Machine) { m.Ports[0].PXEEnabled = false }},
		{`{"op":"set-port-attribute","args":{"port_id":"{item}","path":"local_link_connection/switch_info","value":"leaf1"},` +
			`"loop":["{inventory[interfaces][0][mac_address]}"]}`,
			func(m *rules.Machine) { m.Ports[0].LocalLinkConnection["switch_info"] = "leaf1" }},
		{`{"op":"extend-port-attribute","args":["` + portMAC + `","extra/vlans",7]}`,
			func(m *rules.Machine) { m.Ports[0].Extra["vlans"] = []any{7.0} }},
		{`{"op":"del-port-attribute","args":["` + portMAC + `","local_link_connection.port_id"]}`,
			func(m *rules.Machine) { delete(m.Ports[0].LocalLinkConnection, "port_id") }},
		{`{"op":"del-port-attribute","args":["` + portMAC + `","pxe_enabled"]}`, func(m *rules.Machine) { m.Ports[0].PXEEnabled = false }},
	} {
		got, want := machine(t), machine(t)
		tt.change(want)
		if applied, err := apply(t, got, rule(t, `[]`, "["+tt.action+"]")); len(applied) != 1 || err != nil {
			t.Errorf("%s: %q, %v", tt.action, applied, err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.action, diff)
		}
	}
}

// An action that cannot be carried out names the rule, the action and what is wrong, and nothing has
// changed, not even by the rules and actions before.
func TestActionsThatFail(t *testing.T) {
	for _, tt := range []struct{ action, want string }{
		{`{"op":"fail","args":{"msg":"{node.name} has {inventory[cpu][count]} CPUs"}}`,
			"(fail): the rule refuses this machine: blade-7 has 4 CPUs."},
		{`{"op":"log","args":["x","loud"]}`, "(log): there is no such log level: loud; allowed are debug, info, warning, error, critical."},
		{`{"op":"log","args":["{inventory[typo]}"]}`, "(log): the machine has nothing under a reference: {inventory[typo]}."},
		{`{"op":"log","args":["x"],"loop":["{inventory[typo]}"]}`, "(log): the machine has nothing under a reference: {inventory[typo]}."},
		{`{"op":"log","args":{"msg":{"a":1}}}`, "(log): an argument is not a text: msg is an object."},
		{`{"op":"set-attribute","args":["provision_state","active"]}`,
			"(set-attribute): its path begins with a field that rules may not change: provision_state; allowed are " + strings.Join(fieldNames,
				", ") + "."},
		{`{"op":"set-attribute","args":["uuid","x"]}`,
			"(set-attribute): its path begins with a field that rules may not change: uuid; allowed are " + strings.Join(fieldNames, ", ") + "."},
		{`{"op":"set-attribute","args":["driver/x","y"]}`, "(set-attribute): its path leads into a field that is no object: driver."},
		{`{"op":"set-attribute","args":["extra/racks/0","y"]}`,
			"(set-attribute): its path leads through something that is no object: racks is a text."},
		{`{"op":"set-attribute","args":["extra//x","y"]}`,
			`(set-attribute): its path is not one: "extra//x"; a path is like /driver_info/ipmi_address or driver_info.ipmi_address.`},
		{`{"op":"set-attribute","args":["","y"]}`,
			`(set-attribute): its path is not one: ""; a path is like /driver_info/ipmi_address or driver_info.ipmi_address.`},
		{`{"op":"set-attribute","args":[7,"y"]}`, "(set-attribute): its path begins with a field that rules may not change: 7; allowed are " +
			strings.Join(fieldNames, ", ") + "."},
		{`{"op":"set-attribute","args":["driver_info/ipmi_password","{node.driver_info[ipmi_password]}"]}`,
			`(set-attribute): a reference shows a secret masked, and the mask cannot become the secret: ipmi_password would be "******".`},
		{`{"op":"set-attribute","args":["driver_info",{"ipmi_password":"******"}]}`,
			`(set-attribute): a reference shows a secret masked, and the mask cannot become the secret: ipmi_password would be "******".`},
		{`{"op":"set-attribute","args":["driver_info/ipmi_password","{inventory[bmc_password]}"]}`,
			`(set-attribute): a reference shows a secret masked, and the mask cannot become the secret: ipmi_password would be "***".`},
		{`{"op":"extend-attribute","args":["extra/tokens","{node.driver_info[ipmi_password]}"]}`,
			`(extend-attribute): a reference shows a secret masked, and the mask cannot become the secret: tokens would be "******".`},
		{`{"op":"set-attribute","args":["driver",{"a":1}]}`, "(set-attribute): the field takes a text: not an object."},
		{`{"op":"set-attribute","args":["extra","x"]}`, "(set-attribute): the field takes an object: not a text."},
		{`{"op":"set-attribute","args":["retired","x"]}`, "(set-attribute): the field takes a boolean: not a text."},
		{`{"op":"set-attribute","args":["automated_clean",[]]}`, "(set-attribute): the field takes a boolean or null: not a list."},
		{`{"op":"set-attribute","args":["extra/x","{inventory[typo]}"]}`,
			"(set-attribute): the machine has nothing under a reference: {inventory[typo]}."},
		{`{"op":"extend-attribute","args":["driver","x"]}`, "(extend-attribute): only a list can be extended: no field of a node or a port is " +
			"one; name a key in a field, such as extra/racks, or use add-trait."},
		{`{"op":"extend-attribute","args":["extra/deep","x"]}`, "(extend-attribute): only a list can be extended: deep is an object."},
		{`{"op":"extend-attribute","args":["extra/racks","x","perhaps"]}`, "(extend-attribute): an argument is not a boolean: unique is a text."},
		{`{"op":"del-attribute","args":["nothing"]}`,
			"(del-attribute): its path begins with a field that rules may not change: nothing; allowed are " + strings.Join(fieldNames, ", ") + "."},
		{`{"op":"set-capability","args":["a:b","x"]}`,
			`(set-capability): its name is not one of a capability: "a:b"; a name has no comma, colon or space.`},
		{`{"op":"set-capability","args":["a","x,y:z"]}`, `(set-capability): a capability's value holds a comma: a is "x,y:z".`},
		{`{"op":"add-trait","args":["lower"]}`, `(add-trait): its name is not one of a trait: "lower"; a trait is a standard one such as ` +
			`HW_CPU_X86_VMX, or CUSTOM_ followed by A-Z, 0-9 and _.`},
		{`{"op":"set-port-attribute","args":["52:54:00:00:00:99","name","x"]}`,
			`(set-port-attribute): the node has no such port: "52:54:00:00:00:99"; a port is named by UUID or MAC address.`},
		{`{"op":"set-port-attribute","args":["` + portMAC + `","address","x"]}`,
			"(set-port-attribute): its path begins with a field that rules may not change: address; allowed are " + strings.Join(portFieldNames,
				", ") + "."},
		{`{"op":"extend-plugin-data","args":["root_disk","x"]}`, "(extend-plugin-data): only a list can be extended: root_disk is an object."},
		{`{"op":"set-plugin-data","args":["text.x","y"]}`,
			"(set-plugin-data): its path leads through something that is no object: text is a text."},
	} {
		got := machine(t)
		first := rule(t, `[]`, `[{"op":"set-attribute","args":["extra/racks","gone"]},{"op":"add-trait","args":["CUSTOM_X"]},`+
			`{"op":"set-plugin-data","args":["macs",1]},{"op":"set-port-attribute","args":["`+portMAC+`","extra/a",1]}]`)
		second := rule(t, `[]`, `[{"op":"log","args":["fine"]},`+tt.action+`]`)
		second.Description = "the second"
		_, err := apply(t, got, first, second)
		want := `Inspection rule 7be26c0b-03f2-4d2e-ae87-c02d7f33c123 "the second", action 2 ` + tt.want
		if err == nil || err.Error() != want || node.KindOf(err) != node.Invalid {
			t.Errorf("%s:\n got %v\nwant %s", tt.action, err, want)
		}
		if diff := cmp.Diff(machine(t), got); diff != "" {
			t.Errorf("%s: a failed rule changed the machine:\n%s", tt.action, diff)
		}
	}
}

// Of a sensitive rule neither the error nor the log shows what it says.
func TestSensitiveRulesAreQuiet(t *testing.T) {
	for action, want := range map[string]string{
		`{"op":"fail","args":{"msg":"top-secret"}}`:                         "the rule refuses this machine",
		`{"op":"set-attribute","args":["top-secret/x","top-secret"]}`:       "its path begins with a field that rules may not change",
		`{"op":"set-attribute","args":["extra/x","{inventory[t-secret]}"]}`: "the machine has nothing under a reference",
		`{"op":"api-call","args":["http://u:top-secret@h/top-secret"]}`:     "its call failed",
	} {
		m := machine(t)
		lines := said(m)
		m.Get = func(context.Context, rules.Call) error { return errors.New("top-secret") }
		r := rule(t, `[]`, `[{"op":"log","args":["top-secret"]},`+action+`]`)
		r.Sensitive, r.Description = true, "top-secret"
		_, err := apply(t, m, r)
		if err == nil || strings.Contains(err.Error(), "-secret") ||
			!strings.Contains(err.Error(), want+" (the rule is sensitive: nothing of it is shown).") ||
			!strings.Contains(err.Error(), r.UUID+", action 2") {
			t.Errorf("%s: %v", action, err)
		}
		if diff := cmp.Diff([]string{"INFO (a sensitive rule's message)"}, *lines); diff != "" {
			t.Error(diff)
		}
	}
	r := rule(t, `[{"op":"lt","args":[["top-secret",4]]}]`, `[{"op":"log","args":["x"]}]`)
	r.Sensitive = true
	if _, err := apply(t, machine(t), r); err == nil || strings.Contains(err.Error(), "secret'") ||
		!strings.Contains(err.Error(), "two values have no order (") {
		t.Error(err)
	}
}

func TestTheOrderOfRules(t *testing.T) {
	m := machine(t)
	lines := said(m)
	var rules []node.InspectionRule
	for i, priority := range []int{0, 100, -5, 100, 9999} {
		r := rule(t, `[]`,
			fmt.Sprintf(`[{"op":"log","args":["rule %d sees {node.owner}","warning"]},{"op":"set-attribute","args":["owner","%d"]}]`, i, i))
		r.UUID, r.Priority = fmt.Sprint(i), priority
		rules = append(rules, r)
	}
	rules = append(rules, rule(t, `[{"op":"eq","args":[["{node.owner}","3"]]}]`, `[{"op":"fail","args":["never"]}]`))
	applied, err := apply(t, m, rules...)
	if diff := cmp.Diff([]string{"4", "1", "3", "0", "2"}, applied); diff != "" || err != nil {
		t.Errorf("applied %v\n%s", err, diff)
	}
	want := []string{"WARN rule 4 sees None", "WARN rule 1 sees 4", "WARN rule 3 sees 1", "WARN rule 0 sees 3", "WARN rule 2 sees 0"}
	if diff := cmp.Diff(want, *lines); diff != "" {
		t.Error(diff)
	}
	if rules[0].UUID != "0" {
		t.Error("the caller's list was sorted")
	}
}

// A value with a comma would be a second capability, however the node has its others, or has none.
func TestCapabilityWithComma(t *testing.T) {
	for have, refused := range map[any]bool{nil: true, "": true, "a:b": true, `{"a": "b"}`: false} {
		m := machine(t)
		m.Node.Properties["capabilities"] = have
		if have == nil {
			delete(m.Node.Properties, "capabilities")
		}
		_, err := apply(t, m, rule(t, `[]`, `[{"op":"set-capability","args":["profile","x,boot_mode:bios"]}]`))
		if refused != (err != nil) || refused && !strings.Contains(err.Error(), "a capability's value holds a comma") {
			t.Errorf("with %v: %v", have, err)
		}
		if !refused && m.Node.Capability("profile") != "x,boot_mode:bios" {
			t.Errorf("with %v: %v", have, m.Node.Properties["capabilities"])
		}
		if got := m.Node.Capability("boot_mode"); got != "" {
			t.Errorf("with %v: the boot mode is %q", have, got)
		}
	}
}

// What a sensitive rule set is in no error, also when it takes another rule to make it wrong.
func TestSensitiveRulesLeaveTheNodeUnusableQuietly(t *testing.T) {
	quiet := rule(t, `[]`, `[{"op":"set-attribute","args":["name","hush hush"]}]`)
	quiet.Sensitive = true
	_, err := apply(t, machine(t), quiet)
	if want := "The inspection rules " + quiet.UUID +
		" leave the node unusable: what is wrong is not shown, as one of them is sensitive."; err == nil || err.Error() != want {
		t.Errorf(" got %v\nwant %s", err, want)
	}
}

func TestNodesThatRulesLeaveUnusable(t *testing.T) {
	for action, want := range map[string]string{
		`["name","a b"]`: `"a b" is no name of a node: allowed are letters, digits and - . _ ~, 255 at ` +
			`most, and nothing that looks like a UUID`,
		`["name","` + testUUID + `"]`: `"` + testUUID +
			`" is no name of a node: allowed are letters, digits and - . _ ~, 255 at most, and nothing that looks like a UUID`,
		`["driver",""]`: "it has no driver",
		`["owner","` + strings.Repeat("o", 256) + `"]`:        "its owner has more than 255 characters",
		`["description","` + strings.Repeat("ö", 4097) + `"]`: "its description has more than 4096 characters",
		`["retired_reason","old"]`:                            "retired_reason needs retired to be true",
	} {
		_, err := apply(t, machine(t), rule(t, `[]`, `[{"op":"set-attribute","args":`+action+`}]`))
		if full := "The inspection rules 7be26c0b-03f2-4d2e-ae87-c02d7f33c123 leave the node unusable: " + want + "."; err == nil ||
			err.Error() != full {
			t.Errorf("%s:\n got %v\nwant %s", action, err, full)
		}
	}
	var many []any
	for i := range 50 {
		many = append(many, fmt.Sprint(i))
	}
	r := rule(t, `[]`, `[{"op":"add-trait","args":["CUSTOM_{item}"]}]`)
	r.Actions[0].Loop = many
	if _, err := apply(t, machine(t), r); err == nil || !strings.Contains(err.Error(), "it has 51 traits; 50 are allowed") {
		t.Error(err)
	}
}

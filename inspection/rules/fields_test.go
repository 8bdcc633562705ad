package rules_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/billet-metal/billet/inspection/rules"
	"github.com/billet-metal/billet/node"
)

// one runs a single action.
func one(t *testing.T, m *rules.Machine, op string, args ...any) error {
	t.Helper()
	_, err := rules.Apply(t.Context(), []node.InspectionRule{{UUID: "r", Actions: []node.RuleOperation{{Op: op, Args: args}}}}, m)
	return err
}

// fieldNames and portFieldNames are what rules may change, as an error lists them.
var (
	fieldNames = []string{
		"automated_clean", "conductor_group", "description", "disable_power_off", "driver", "driver_info", "extra", "instance_info",
		"lessee", "name", "network_data", "owner", "properties", "resource_class", "retired", "retired_reason", "shard",
		"bios_interface", "boot_interface", "console_interface", "deploy_interface", "firmware_interface",
		"inspect_interface", "management_interface", "network_interface", "power_interface", "raid_interface",
		"rescue_interface", "storage_interface", "vendor_interface",
	}
	portFieldNames = []string{
		"category", "description", "extra", "is_smartnic", "local_link_connection", "name", "physical_network", "pxe_enabled", "vendor",
	}
)

// portValue is a field of a port as rules write it.
func portValue(p node.Port, name string) any {
	return map[string]any{
		"category": p.Category, "description": p.Description, "extra": map[string]any(p.Extra), "is_smartnic": p.IsSmartNIC,
		"local_link_connection": map[string]any(p.LocalLinkConnection), "name": p.Name, "physical_network": p.PhysicalNetwork,
		"pxe_enabled": p.PXEEnabled, "vendor": p.Vendor,
	}[name]
}

// expanded is what a reference finds.
func expanded(t *testing.T, m *rules.Machine, reference string) string {
	t.Helper()
	text, err := expand(t, m, reference)
	if err != nil {
		t.Errorf("%s: %v", reference, err)
	}
	return text
}

// Every field of a node that rules may change: what is written is what a reference then finds, in either
// form of a path, and deleting the field empties it.
func TestEveryFieldOfANode(t *testing.T) {
	for _, name := range fieldNames {
		var value, want, empty any
		switch {
		case slices.Contains([]string{"driver_info", "extra", "instance_info", "network_data", "properties"}, name):
			value, want, empty = map[string]any{"a": "b"}, "{'a': 'b'}", "{}"
		case slices.Contains([]string{"automated_clean", "disable_power_off", "retired"}, name):
			value, want, empty = true, "True", "False"
			if name == "automated_clean" { // it may also be unknown
				empty = "None"
			}
		default:
			value, want, empty = "some-text", "some-text", "None"
		}
		for _, path := range []string{name, "/" + name, name + "/"} {
			m := machine(t)
			m.Node.Retired = true // retired_reason needs it
			if err := one(t, m, "set-attribute", path, value); err != nil {
				t.Errorf("setting %s: %v", path, err)
				continue
			}
			if got := expanded(t, m, "{node."+name+"}"); got != want {
				t.Errorf("%s: {node.%s} is %s, want %s", path, name, got, want)
			}
			if name == "driver" { // a node cannot be without
				continue
			}
			if err := one(t, m, "del-attribute", path); err != nil {
				t.Errorf("deleting %s: %v", path, err)
			}
			if got := expanded(t, m, "{node."+name+"}"); got != empty {
				t.Errorf("deleted %s: {node.%s} is %s, want %s", path, name, got, empty)
			}
		}
	}
}

// A text given to a field of another kind, and the other way round, is refused and names what the field takes.
func TestFieldsRefuseOtherKinds(t *testing.T) {
	for _, name := range fieldNames {
		m := machine(t)
		before := m.Node.Clone()
		var wrong any = []any{"x"}
		if err := one(t, m, "set-attribute", name, wrong); err == nil || !strings.Contains(err.Error(), "the field takes ") ||
			!strings.Contains(err.Error(), "not a list") {
			t.Errorf("%s took a list: %v", name, err)
		}
		if diff := cmp.Diff(before, m.Node, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// What a node is and where it stands is no rule's business.
func TestFieldsThatAreNotForRules(t *testing.T) {
	for _, name := range []string{
		"uuid", "id", "provision_state", "target_provision_state", "power_state", "reservation", "maintenance", "fault", "last_error",
		"instance_uuid",
		"allocation_uuid", "driver_internal_info", "traits", "protected", "created_at", "boot_mode", "secure_boot", "raid_config", "links", "",
		"Driver", "vendor interface",
	} {
		for _, op := range []string{"set-attribute", "extend-attribute", "del-attribute"} {
			args := []any{name, "x"}
			if op == "del-attribute" {
				args = args[:1]
			}
			m := machine(t)
			if err := one(t, m, op, args...); err == nil {
				t.Errorf("%s of %q was allowed", op, name)
			}
			if diff := cmp.Diff(machine(t), m); diff != "" {
				t.Errorf("%s of %q: %s", op, name, diff)
			}
		}
	}
}

func TestEveryFieldOfAPort(t *testing.T) {
	for _, name := range portFieldNames {
		var value any = "some-text"
		switch name {
		case "extra", "local_link_connection":
			value = map[string]any{"a": "b"}
		case "is_smartnic", "pxe_enabled":
			value = true
		}
		for _, id := range []string{portUUID, strings.ToUpper(portUUID), portMAC, strings.ToUpper(portMAC)} {
			m := machine(t)
			m.Ports[0].PXEEnabled = false
			if err := one(t, m, "set-port-attribute", id, name, value); err != nil {
				t.Errorf("%s of %s: %v", name, id, err)
				continue
			}
			if got := portValue(m.Ports[0], name); !cmp.Equal(got, value) {
				t.Errorf("%s is %v, want %v", name, got, value)
			}
			if err := one(t, m, "del-port-attribute", id, name); err != nil {
				t.Errorf("deleting %s of %s: %v", name, id, err)
			}
			want := machine(t).Ports
			want[0].PXEEnabled = false
			switch name {
			case "extra":
				want[0].Extra = nil
			case "local_link_connection":
				want[0].LocalLinkConnection = nil
			}
			if diff := cmp.Diff(want, m.Ports, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("after deleting %s: %s", name, diff)
			}
		}
	}
	for _, name := range []string{"address", "uuid", "node_uuid", "portgroup_uuid", "internal_info"} {
		if err := one(t, machine(t), "set-port-attribute", portMAC, name, "x"); err == nil {
			t.Errorf("%s of a port was changed", name)
		}
	}
}

// Of two ports only the one that is named changes.
func TestTheRightPort(t *testing.T) {
	m := machine(t)
	m.Ports = append(m.Ports, node.Port{UUID: "3be26c0b-03f2-4d2e-ae87-c02d7f33c123", Address: "52:54:00:00:00:02"})
	if err := one(t, m, "set-port-attribute", "52:54:00:00:00:02", "physical_network", "second"); err != nil {
		t.Fatal(err)
	}
	if m.Ports[0].PhysicalNetwork != "" || m.Ports[1].PhysicalNetwork != "second" {
		t.Errorf("%+v", m.Ports)
	}
}

// Rules may share documents with whoever loaded the node: theirs must never change.
func TestTheCallersDocumentsStay(t *testing.T) {
	m := machine(t)
	properties, deep, plugin, link := m.Node.Properties, m.Node.Extra["deep"].(map[string]any), m.PluginData, m.Ports[0].LocalLinkConnection
	for _, args := range [][]any{
		{"set-attribute", "properties/new", "x"}, {"set-attribute", "extra/deep/n", "x"}, {"extend-attribute", "extra/racks", "x"},
		{"set-plugin-data", "root_disk/size", "x"}, {"set-port-attribute", portMAC, "local_link_connection/port_id", "x"},
		{"set-capability", "a", "b"},
	} {
		if err := one(t, m, args[0].(string), args[1:]...); err != nil {
			t.Fatal(err)
		}
	}
	if properties["new"] != nil || deep["n"] != 1.0 || plugin["root_disk"].(map[string]any)["size"] == "x" || link["port_id"] != "e1" {
		t.Errorf("%v %v %v %v", properties, deep, plugin, link)
	}
	if m.Node.Properties["new"] != "x" || m.PluginData["root_disk"].(map[string]any)["size"] != "x" {
		t.Error("and the machine's own did not change")
	}
}

// A machine with next to nothing: references find nothing, actions make what is missing.
func TestAnEmptyMachine(t *testing.T) {
	m := &rules.Machine{Node: &node.Node{UUID: testUUID, Driver: "ipmi"}}
	for _, args := range [][]any{
		{"set-attribute", "properties/a/b", 1.0}, {"extend-attribute", "extra/list", "x"}, {"set-plugin-data", "a.b", "c"},
		{"set-capability", "k", "v"},
		{"unset-capability", "none"}, {"unset-plugin-data", "none.at.all"}, {"del-attribute", "driver_info/none"},
		{"remove-trait", "CUSTOM_NONE"}, {"add-trait", "CUSTOM_A"},
		{"set-attribute", "deploy_interface", "direct"},
	} {
		if err := one(t, m, args[0].(string), args[1:]...); err != nil {
			t.Errorf("%v: %v", args, err)
		}
	}
	want := &node.Node{
		UUID: testUUID, Driver: "ipmi", Traits: []string{"CUSTOM_A"}, Extra: node.Document{"list": []any{"x"}},
		Interfaces: map[node.Interface]string{node.Deploy: "direct"},
		Properties: node.Document{"a": map[string]any{"b": 1.0}, "capabilities": "k:v"},
	}
	if diff := cmp.Diff(want, m.Node, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(node.Document{"a": map[string]any{"b": "c"}}, m.PluginData); diff != "" {
		t.Error(diff)
	}
	if err := one(t, m, "log", "{inventory[x]}"); err == nil || !strings.Contains(err.Error(), "{inventory[x]}") {
		t.Error(err)
	}
}

// No rules, and rules of which none holds, change nothing and name nothing.
func TestNothingApplies(t *testing.T) {
	never := rule(t, `[{"op":"eq","args":[[1,2]]}]`, `[{"op":"fail","args":["x"]}]`)
	for _, rules := range [][]node.InspectionRule{nil, {}, {never}, {never, never}} {
		m := machine(t)
		applied, err := apply(t, m, rules...)
		if len(applied) > 0 || err != nil {
			t.Errorf("%v, %v", applied, err)
		}
		if diff := cmp.Diff(machine(t), m, cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	}
}

// Of several conditions each must hold, and none is looked at after the first that does not: one that cannot be
// checked is guarded by those before it.
func TestConditionsGuardEachOther(t *testing.T) {
	guard := `{"op":"!is-empty","args":["{inventory[gpu]}"]}`
	broken := `{"op":"in-net","args":["{inventory[gpu]}","10.0.0.0/8"]}`
	for conditions, want := range map[string]string{
		"[" + guard + "," + broken + "]": "",
		"[" + broken + "," + guard + "]": "an argument is no IP address",
	} {
		applied, err := apply(t, machine(t), rule(t, conditions, `[{"op":"log","args":["x"]}]`))
		if len(applied) > 0 || (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", conditions, applied, err)
		}
	}
}

// Operations that were never checked, as an older program may have stored them, fail by name.
func TestOperationsThatDoNotExist(t *testing.T) {
	for _, r := range []node.InspectionRule{
		{UUID: "r", Conditions: []node.RuleOperation{{Op: "like", Args: []any{}}}},
		{UUID: "r", Actions: []node.RuleOperation{{Op: "reboot", Args: []any{}}}},
		{UUID: "r", Actions: []node.RuleOperation{{Op: "log", Args: "x"}}},
		{UUID: "r", Actions: []node.RuleOperation{{Op: "log"}}},
		{UUID: "r", Conditions: []node.RuleOperation{{Op: "eq", Args: map[string]any{}}}},
	} {
		_, err := apply(t, machine(t), r)
		if err == nil || !strings.HasPrefix(err.Error(), "Inspection rule r, ") || node.KindOf(err) != node.Invalid {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

// Numbers of every size and spelling have one order; a text that is no number has its letters'.
func TestOrderIsConsistent(t *testing.T) {
	for _, ascending := range [][]any{
		{-5.0, "-4", -0.5, 0.0, "0.25", 1.0, "10", 16384.0, "16385"},
		{"a", "b", "ba"},
		{"", "a"},
	} {
		for i, a := range ascending {
			for k, b := range ascending {
				for op, want := range map[string]bool{"lt": i < k, "le": i <= k, "gt": i > k, "ge": i >= k, "eq": i == k, "ne": i != k} {
					r := node.InspectionRule{UUID: "r", Conditions: []node.RuleOperation{{Op: op, Args: []any{[]any{a, b}}}}}
					if applied, err := apply(t, machine(t), r); (len(applied) == 1) != want || err != nil {
						t.Errorf("%v %s %v: %v, %v", a, op, b, applied, err)
					}
				}
			}
		}
	}
}

// A loop sees what its earlier rounds have changed.
func TestLoopsSeeTheirOwnChanges(t *testing.T) {
	m := machine(t)
	r := rule(t, `[]`, `[{"op":"set-attribute","args":{"path":"description","value":"{node.description}+{item}"},"loop":["a","b","c"]}]`)
	m.Node.Description = "start"
	if _, err := apply(t, m, r); err != nil || m.Node.Description != "start+a+b+c" {
		t.Errorf("%q, %v", m.Node.Description, err)
	}
	for _, loop := range []any{[]any{}, map[string]any{}, nil} {
		r.Actions[0].Loop = loop
		if _, err := apply(t, m, r); err != nil || m.Node.Description != "{node.description}+{item}" {
			t.Errorf("without items: %q, %v", m.Node.Description, err)
		}
	}
}

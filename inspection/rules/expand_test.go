package rules_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// What a text becomes; a reference that finds nothing is named after "lost".
func TestExpand(t *testing.T) {
	for _, tt := range []struct{ text, want, lost string }{
		{"", "", ""},
		{"plain", "plain", ""},
		{"{inventory[cpu][count]}", "4", ""},
		{"a {inventory[cpu][count]} b {node.name}!", "a 4 b blade-7!", ""},
		{"{inventory[interfaces][0][mac_address]}", "52:54:00:00:00:01", ""},
		{"{node.driver}", "ipmi", ""},
		{"{node.deploy_interface}", "direct", ""},
		{"{node.owner}", "None", ""},
		{"{node.automated_clean}", "None", ""},
		{"{node.retired} {node.provision_state}", "False inspect wait", ""},
		{"{node.properties[cpu_arch]}", "x86_64", ""},
		{"{node.traits}", "['CUSTOM_OLD']", ""},
		{"{node.driver_info[ipmi_address]}", "192.0.2.7", ""},
		{"{node.driver_info[ipmi_password]}", "******", ""},
		{"{node.driver_info}", "{'ipmi_address': '192.0.2.7', 'ipmi_password': '******'}", ""},
		{"{inventory[bmc_password]}", "***", ""},
		{"{inventory[system_vendor]}", "{'manufacturer': 'Dell Inc.', 'product_name': 'R640', 'serial_number': None}", ""},
		{"{inventory[hostname]}", "it's {node.uuid}", ""}, // what a machine says is no reference
		{"{plugin_data[auto_discovered]}", "True", ""},
		{"{plugin_data[root_disk][size]}", "8589934592", ""},
		{"{plugin_data[macs]}", "['52:54:00:00:00:01']", ""},
		{"{item[path]} {item[n]}", "extra/x 2", ""},
		{"{{}} {{node.name}}", "{} {node.name}", ""},
		{`{"a": "{node.name}"}`, `{"a": "{node.name}"}`, ""}, // JSON is no template: it stays
		{"{", "{", ""}, {"}", "}", ""}, {"{}", "{}", ""}, {"a}b{node.name}", "a}b{node.name}", ""},
		{"{other[x]}", "{other[x]}", ""}, {"^[a-z]{2,4}$", "^[a-z]{2,4}$", ""},
		{"{inventory[nothing]}", "", "{inventory[nothing]}"},
		{"{inventory.cpu}", "", "{inventory.cpu}"},
		{"{node[name]}", "", "{node[name]}"},
		{"{node.nothing}", "", "{node.nothing}"},
		{"{node.properties.cpu_arch}", "", "{node.properties.cpu_arch}"},
		{"{inventory[disks][0]}", "", "{inventory[disks][0]}"},
		{"{inventory[interfaces][-1]}", "", "{inventory[interfaces][-1]}"},
		{"{inventory[interfaces][x]}", "", "{inventory[interfaces][x]}"},
		{"{inventory[cpu}", "", "{inventory[cpu}"},
		{"{node.name!r}", "", "{node.name!r}"},
		{"{inventory[cpu][count]:>4}", "", "{inventory[cpu][count]:>4}"},
		{"{node.name[0]}", "", "{node.name[0]}"},
	} {
		got, err := expand(t, machine(t), tt.text)
		switch {
		case tt.lost != "":
			want := "Inspection rule r, action 1 (log): the machine has nothing under a reference: " + tt.lost + "."
			if err == nil || err.Error() != want {
				t.Errorf("%s: %q, %v", tt.text, got, err)
			}
		case got != tt.want || err != nil:
			t.Errorf("%s: %q, %v, want %q", tt.text, got, err, tt.want)
		}
	}
}

func TestPythonTexts(t *testing.T) {
	for text, want := range map[string]string{
		`null`: "None", `true`: "True", `false`: "False", `1`: "1", `1.5`: "1.5", `-0.25`: "-0.25", `1e21`: "1000000000000000000000",
		`"x"`: "x", `["x",1,null,[]]`: "['x', 1, None, []]", `{"b":{},"a":"it's"}`: `{'a': "it's", 'b': {}}`,
		`["a'b\"c","a\\b\n"]`:                     `['a\'b"c', 'a\\b\n']`,
		`{"auth_token":"x","k":{"password":"y"}}`: "{'auth_token': '***', 'k': {'password': '***'}}",
	} {
		m := machine(t)
		m.PluginData["v"] = value(t, text)
		if got, err := expand(t, m, "{plugin_data[v]}"); got != want || err != nil {
			t.Errorf("%s: %s, %v, want %s", text, got, err, want)
		}
	}
	m := machine(t)
	m.PluginData["v"] = json.Number("9007199254740993")
	if got, err := expand(t, m, "{plugin_data[v]}"); got != "9007199254740993" || err != nil {
		t.Error(got, err)
	}
}

// FuzzExpand: no text makes it panic, none shows a secret, and a text without braces is what it was.
func FuzzExpand(f *testing.F) {
	for _, text := range []string{"{node.driver}", "{inventory[cpu][count]:x}", "{{{node.name}}}", "}{", "{node.driver_info}{inventory}",
		"{plugin_data[macs][0]}", "{item[[]}", "{inventory[a]b}"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := expand(t, machine(t), text)
		if !strings.Contains(text, "hunter2") && strings.Contains(got, "hunter2") {
			t.Errorf("%q shows a secret: %s", text, got)
		}
		if !strings.ContainsAny(text, "{}") && (got != text || err != nil) {
			t.Errorf("%q became %q, %v", text, got, err)
		}
	})
}

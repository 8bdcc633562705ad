package rules

import (
	"encoding/json"
	"strings"
	"testing"
)

// What a text becomes; a reference that finds nothing is named after "lost".
func TestExpand(t *testing.T) {
	s := machine(t).copy().scope().with(map[string]any{"path": "extra/x", "n": 2.0})
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
		got, _, err := s.expand(tt.text)
		switch {
		case tt.lost != "":
			if want := "the machine has nothing under a reference: " + tt.lost; err == nil || err.Error() != want {
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
		if got := python(value(t, text)); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	if got := python(json.Number("9007199254740993")); got != "9007199254740993" {
		t.Error(got)
	}
}

// FuzzExpand: no text makes it panic, none shows a secret, and a text without braces is what it was.
func FuzzExpand(f *testing.F) {
	for _, text := range []string{"{node.driver}", "{inventory[cpu][count]:x}", "{{{node.name}}}", "}{", "{node.driver_info}{inventory}",
		"{plugin_data[macs][0]}", "{item[[]}", "{inventory[a]b}"} {
		f.Add(text)
	}
	s := machine(f).copy().scope()
	f.Fuzz(func(t *testing.T, text string) {
		got, _, err := s.expand(text)
		if !strings.Contains(text, "hunter2") && strings.Contains(got, "hunter2") {
			t.Errorf("%q shows a secret: %s", text, got)
		}
		if !strings.ContainsAny(text, "{}") && (got != text || err != nil) {
			t.Errorf("%q became %q, %v", text, got, err)
		}
	})
}

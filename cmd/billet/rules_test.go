package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBuiltInRules(t *testing.T) {
	const good = `
- uuid: dell-bmc
  description: Dell's
  priority: 100
  sensitive: true
  conditions:
    - {op: "!contains", args: {value: "{inventory[system_vendor][manufacturer]}", regex: "(?i)dell"}}
    - op: lt
      args: [["{inventory[cpu][count]}", 4]]
  actions:
    - op: set-attribute
      args: {path: /driver_info/ipmi_username, value: root}
- actions:
    - {op: fail, args: ["x"]}
`
	for _, tt := range []struct{ yaml, err string }{
		{good, ""}, {"", ""}, {"[]", ""},
		{"rules: []", "not a YAML list of rules: "},
		{"- a\n- b", "rule 1 is not a mapping"},
		{"- actions: [{op: like, args: []}]", `rule 1: actions[0] of the inspection rule is wrong: there is no action "like"`},
		{good + "- {uuid: dell-bmc, actions: [{op: fail, args: [x]}]}", "rule 3: the uuid dell-bmc is another rule's too"},
		{"- {actions: [{op: fail, args: {1: x}}]}", "a key that is no text: "},
		{"- [", "not a YAML list of rules: "},
	} {
		list, err := readRules([]byte(tt.yaml))
		if (err == nil) != (tt.err == "") || err != nil && !strings.HasPrefix(err.Error(), tt.err) {
			t.Errorf("%s: %v", tt.yaml, err)
		}
		if tt.yaml == good && (len(list) != 2 || list[0].UUID != "dell-bmc" || !list[0].Sensitive || list[0].Priority != 100 ||
			len(list[0].Conditions) != 2 || list[1].UUID != "00000000-0000-0000-0000-000000000001") {
			t.Errorf("%+v", list)
		}
	}
	path := filepath.Join(t.TempDir(), "rules.yaml")
	if _, err := builtInRules(path); err == nil || !strings.HasPrefix(err.Error(), "inspection_rules_built_in: open "+path) {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("- {}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := builtInRules(path); err == nil ||
		err.Error() != "inspection_rules_built_in: "+path+`: rule 1: An inspection rule needs "actions": a list of at least one action.` {
		t.Error(err)
	}
	if list, err := builtInRules(""); list != nil || err != nil {
		t.Error(list, err)
	}
}

func TestDiscoveryNeedsItsDriver(t *testing.T) {
	if _, err := load(t, "", nil, []string{"--discovery=true", "--enabled-hardware-types", "fake-hardware"}); err == nil ||
		err.Error() != "discovery_driver: ipmi is not among enabled_hardware_types" {
		t.Error(err)
	}
	c, err := load(t, "", nil, []string{"--discovery=true", "--discovery-driver", "fake-hardware"})
	if err != nil || discovery(c).Driver != "fake-hardware" {
		t.Error(err)
	}
	if c, err := load(t, "", nil, []string{"--enabled-hardware-types", "fake-hardware"}); err != nil || discovery(c).Driver != "" {
		t.Error(err)
	}
}

package rules_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"

	"github.com/billet-metal/billet/inspection/rules"
	"github.com/billet-metal/billet/node"
)

const (
	testUUID = "1be26c0b-03f2-4d2e-ae87-c02d7f33c123"
	portUUID = "2be26c0b-03f2-4d2e-ae87-c02d7f33c123"
	portMAC  = "52:54:00:00:00:01"
)

func value(t testing.TB, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func object(t testing.TB, text string) map[string]any {
	t.Helper()
	return value(t, text).(map[string]any)
}

// machine is one that an inspection has found.
func machine(t testing.TB) *rules.Machine {
	return &rules.Machine{
		Node: &node.Node{
			UUID: testUUID, Name: "blade-7", Driver: "ipmi", State: node.InspectWait, Interfaces: map[node.Interface]string{node.Deploy: "direct"},
			Properties: object(t, `{"cpu_arch":"x86_64","capabilities":"boot_mode:uefi"}`), Traits: []string{"CUSTOM_OLD"},
			DriverInfo: object(t, `{"ipmi_address":"192.0.2.7","ipmi_password":"hunter2-secret"}`),
			Extra:      object(t, `{"racks":["a"],"deep":{"n":1}}`),
		},
		Ports: []node.Port{{ID: 1, UUID: portUUID, Address: portMAC, PXEEnabled: true, Extra: node.Document{},
			LocalLinkConnection: node.Document{"port_id": "e1"}}},
		Inventory: object(t,
			`{"cpu":{"count":4,"architecture":"x86_64","flags":["aes","vmx"]},"memory":{"physical_mb":16384},"bmc_address":"192.0.2.7",
			"system_vendor":{"manufacturer":"Dell Inc.","product_name":"R640","serial_number":null},"interfaces":[{"name":"eno1","mac_address":"52:54:00:00:00:01"}],
			"boot":{"current_boot_mode":"uefi"},"disks":[],"hostname":"it's {node.uuid}","bmc_password":"hunter2-secret"}`),
		PluginData: object(t, `{"auto_discovered":true,"macs":["52:54:00:00:00:01"],"root_disk":{"size":8589934592},"zero":0,"text":""}`),
	}
}

// rule is one of people's, from its operations as JSON lists.
func rule(t testing.TB, conditions, actions string) node.InspectionRule {
	t.Helper()
	r, err := rules.Read(map[string]any{"conditions": value(t, conditions), "actions": value(t, actions)})
	if err != nil {
		t.Fatal(err)
	}
	r.UUID = "7be26c0b-03f2-4d2e-ae87-c02d7f33c123"
	return r
}

func apply(t testing.TB, m *rules.Machine, list ...node.InspectionRule) ([]string, error) {
	t.Helper()
	return rules.Apply(t.Context(), list, m)
}

// expand is what becomes of a text with references, in a loop over one item.
func expand(t testing.TB, m *rules.Machine, text string) (string, error) {
	t.Helper()
	expanded := ""
	m.Log = func(_ context.Context, _ slog.Level, text string) { expanded = text }
	_, err := apply(t, m, node.InspectionRule{UUID: "r", Actions: []node.RuleOperation{
		{Op: "log", Args: []any{text}, Loop: []any{map[string]any{"path": "extra/x", "n": 2.0}}},
	}})
	return expanded, err
}

// said collects what log actions say.
func said(m *rules.Machine) *[]string {
	var lines []string
	m.Log = func(_ context.Context, level slog.Level, text string) { lines = append(lines, level.String()+" "+text) }
	return &lines
}

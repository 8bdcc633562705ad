package e2e

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// A machine that nobody has enrolled boots over the network and becomes a node: with its port and its
// inventory, with what an inspection rule makes of it, and however often it boots, one. The rule gave it the
// BMC's password, so it can be managed; the next rule refuses it, and the inspection fails by that rule's name.
func TestDiscovery(t *testing.T) {
	s := newSite(t, "--discovery=true", "--inspection-hooks",
		"ramdisk-error,validate-interfaces,ports,architecture,memory,cpus,root-device,boot-mode")
	s.version = "1.115"
	m := s.virtual("stray", "--firmware", "bios", "--memory", "384", "--disk", "5G", "--nic-model", "virtio")
	driverInfo := func(key, value string) map[string]any {
		return map[string]any{"path": "driver_info/ipmi_" + key, "value": value}
	}
	var rule struct{ UUID string }
	s.call("POST", "/v1/inspection_rules", map[string]any{
		"description": "the lab's machines", "sensitive": true,
		"conditions": []any{
			map[string]any{"op": "is-true", "args": map[string]any{"value": "{plugin_data[auto_discovered]}"}},
			map[string]any{"op": "eq", "args": map[string]any{"values": []any{"{inventory[system_vendor][product_name]}", "Lab machine"}}},
		},
		"actions": []any{
			map[string]any{"op": "set-attribute", "args": map[string]any{"path": "{item[path]}", "value": "{item[value]}"}, "loop": []any{
				driverInfo("address", "127.0.0.1"), driverInfo("port", strconv.Itoa(m.BMC.Port)), driverInfo("username", m.BMC.User),
				driverInfo("password", m.BMC.Password),
				map[string]any{"path": "name", "value": "lab-{inventory[system_vendor][serial_number]}"},
			}},
			map[string]any{"op": "set-port-attribute", "args": map[string]any{"port_id": m.NICs[0].MAC, "path": "physical_network", "value": "lab"}},
			map[string]any{"op": "add-trait", "args": map[string]any{"name": "CUSTOM_LAB"}},
		},
	}, &rule, 201)

	began := time.Now()
	s.lab("power", m.name, "on")
	var nodes struct{ Nodes []struct{ UUID string } }
	s.eventually(10*time.Minute, "the machine to be discovered", func() (bool, string) {
		s.call("GET", "/v1/nodes", nil, &nodes, 200)
		return len(nodes.Nodes) > 0, tail(m.console(), 2000)
	})
	t.Logf("discovered in %.1f s", time.Since(began).Seconds())
	m.uuid = nodes.Nodes[0].UUID
	var n struct {
		Name       string
		State      string `json:"provision_state"`
		BootMode   string `json:"boot_mode"`
		Traits     []string
		Properties map[string]any
		Info       map[string]any `json:"driver_info"`
		Internal   map[string]any `json:"driver_internal_info"`
	}
	s.call("GET", "/v1/nodes/"+m.uuid, nil, &n, 200)
	if n.Name != "lab-stray" || n.State != "enroll" || n.BootMode != "bios" || len(n.Traits) != 1 || n.Internal["auto_discovered"] != true ||
		n.Info["ipmi_password"] != "******" ||
		n.Properties["cpu_arch"] != "x86_64" || n.Properties["local_gb"] != 4.0 || n.Properties["cpus"] != 1.0 ||
		n.Properties["capabilities"] != "boot_mode:bios" {
		t.Errorf("discovered as %+v", n)
	}
	var ports struct {
		Ports []struct {
			Address string
			PXE     bool   `json:"pxe_enabled"`
			Network string `json:"physical_network"`
		}
	}
	s.call("GET", "/v1/nodes/"+m.uuid+"/ports/detail", nil, &ports, 200)
	if p := ports.Ports; len(p) != 1 || p[0].Address != m.NICs[0].MAC || !p[0].PXE || p[0].Network != "lab" {
		t.Errorf("ports %+v", ports.Ports)
	}
	var inv struct {
		Inventory struct {
			Disks  []map[string]any
			Vendor map[string]any `json:"system_vendor"`
		}
		Plugin map[string]any `json:"plugin_data"`
	}
	s.call("GET", "/v1/nodes/"+m.uuid+"/inventory", nil, &inv, 200)
	if len(inv.Inventory.Disks) != 1 || inv.Inventory.Disks[0]["serial"] != m.Disks[0].Serial ||
		inv.Inventory.Vendor["serial_number"] != "stray" || inv.Plugin["auto_discovered"] != true {
		t.Errorf("inventory %+v", inv)
	}

	// Known now, it boots its own disk, and stays one node.
	s.lab("power", m.name, "reset")
	m.prints(3*time.Minute, "starting the local disk")
	m.provision(map[string]any{"target": "manage"})
	m.arrive("manageable", time.Minute)
	s.call("DELETE", "/v1/inspection_rules/"+rule.UUID, nil, nil, 204)
	s.call("POST", "/v1/inspection_rules", map[string]any{
		"description": "big machines only",
		"conditions":  []any{map[string]any{"op": "lt", "args": map[string]any{"values": []any{"{inventory[memory][physical_mb]}", 1024}}}},
		"actions":     []any{map[string]any{"op": "fail", "args": map[string]any{"msg": "{node.name} has too little memory"}}},
	}, &rule, 201)
	m.provision(map[string]any{"target": "inspect"})
	failed := m.arrive("inspect failed", 10*time.Minute)
	want := "Inspection rule " + rule.UUID +
		` "big machines only", action 1 (fail): the rule refuses this machine: lab-stray has too little memory.`
	if failed.LastError == nil || !strings.HasSuffix(*failed.LastError, want) {
		t.Errorf("%+v\nwant last_error %s", failed, want)
	}
	s.call("GET", "/v1/nodes", nil, &nodes, 200)
	if len(nodes.Nodes) != 1 {
		t.Errorf("%d nodes", len(nodes.Nodes))
	}
}

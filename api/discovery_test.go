package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/conductor"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/driver/agent"
	"github.com/billet-metal/billet/driver/fake"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/store"
)

// newDiscovery is the whole service but its hardware: unknown machines that report are enrolled.
func newDiscovery(t *testing.T, hardwareType string) *stack {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{DataDir: t.TempDir(), Host: "conductor-1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	types := driver.Types{{
		Name: "fake-hardware", Power: []driver.Power{fake.NewPower()}, Management: []driver.Management{fake.NewManagement()},
		Boot: []driver.Boot{fake.NewBoot()}, Deploy: []driver.Deploy{fake.NewDeploy()},
		Inspect: []driver.Inspect{fake.NewInspect(), &agent.Inspect{}},
		Network: []driver.Network{fake.NewNetwork()},
	}}
	c := conductor.New(conductor.Config{Store: keeps(db), Types: types, Host: "conductor-1", LockAttempts: 1,
		Discovery: conductor.Discovery{Driver: hardwareType, Inspect: "agent"}})
	a, err := New(Config{Conductor: conductorOf(c), Reader: db, Kinds: kindsOf(db), Pages: pagesOf(t, endpoint), Host: "conductor-1",
		PublicEndpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	return &stack{t: t, db: db, api: a}
}

// reportOf is what a ramdisk sends of a machine whose one card has the MAC address.
func reportOf(mac string) string {
	return fmt.Sprintf(
		`{"inventory":{"interfaces":[{"name":"eno1","mac_address":%q,"ipv4_address":"10.0.0.9"},
			{"name":"eno2","mac_address":"52:54:00:00:00:ff"}],
		"cpu":{"count":4,"architecture":"x86_64"},"memory":{"physical_mb":16384},"disks":[],"bmc_address":"0.0.0.0","bmc_v6address":"::/0","system_vendor":{"manufacturer":"Dell Inc."},
		"boot":{"current_boot_mode":"uefi"}},"boot_interface":%q,"root_disk":null,"error":null,"logs":"TE9HUw=="}`, mac, mac)
}

// A ramdisk that nobody expected, over the wire, in both forms of the call: with rules made over the same API.
func TestDiscoveryOverHTTP(t *testing.T) {
	s := newDiscovery(t, "fake-hardware")
	resp, body := s.ask("1.96", "POST", "/v1/inspection_rules",
		`{"sensitive":true,"conditions":[{"op":"is-true","args":{"value":"{plugin_data[auto_discovered]}"}}],
		"actions":[{"op":"set-attribute","args":{"path":"{item[path]}","value":"{item[value]}"},"loop":[{"path":"driver_info/ipmi_password","value":"`+bmcSecret+`"},{"path":"owner","value":"{inventory[system_vendor][manufacturer]}"}]},
		{"op":"set-port-attribute","args":{"port_id":"52:54:00:00:00:01","path":"physical_network","value":"racks"}}]}`)
	if resp.StatusCode != 201 || leaks(body) != "" {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	resp, body = send(s.api.MachineHandler(), "", "POST", "/v1/continue_inspection", reportOf("52:54:00:00:00:01"))
	uuid, _ := field(t, body, "uuid").(string)
	if resp.StatusCode != 202 || !isUUID(uuid) || body != `{"uuid":"`+uuid+`"}` {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	resp, body = send(s.api.MachineHandler(), "1.84", "POST", "/v1/continue_inspection", reportOf("52:54:00:00:00:01"))
	if resp.StatusCode != 202 || field(t, body, "node", "uuid") != uuid || leaks(body) != "" {
		t.Errorf("again: %d %s", resp.StatusCode, body)
	}
	n := s.node(uuid)
	if n.State != node.Enroll || n.Interfaces[node.Inspect] != "agent" || n.DriverInfo["ipmi_password"] != bmcSecret ||
		n.Owner != "Dell Inc." || n.BootMode != "uefi" {
		t.Errorf("%+v", n)
	}
	_, body = s.ask("1.115", "GET", "/v1/nodes/"+uuid+"/inventory", "")
	if got := field(t, body, "plugin_data", "auto_discovered"); got != true || field(t, body, "inventory", "cpu", "count") != 4.0 ||
		strings.Contains(body, "TE9HUw") {
		t.Errorf("inventory %s", body)
	}
	_, body = s.ask("1.115", "GET", "/v1/nodes/"+uuid+"/ports?fields=address,physical_network,pxe_enabled", "")
	ports, _ := field(t, body, "ports").([]any)
	if len(ports) != 1 {
		t.Fatalf("ports %s", body)
	}
	port := ports[0].(map[string]any)
	delete(port, "links")
	if diff := cmp.Diff(map[string]any{"address": "52:54:00:00:00:01", "physical_network": "racks", "pxe_enabled": true}, port); diff != "" {
		t.Error(diff)
	}
	_, body = s.ask("1.115", "GET", "/v1/nodes/"+uuid+"/history", "")
	if !strings.Contains(body, "Enrolled by discovery") || leaks(body) != "" {
		t.Errorf("history %s", body)
	}
	// It is an ordinary node now.
	if resp, body := s.ask("1.115", "PUT", "/v1/nodes/"+uuid+"/states/provision", `{"target":"manage"}`); resp.StatusCode != 202 {
		t.Errorf("managing it: %d %s", resp.StatusCode, body)
	}
	resp, body = send(s.api.MachineHandler(), "", "POST", "/v1/continue_inspection", reportOf("52:54:00:00:00:01"))
	if resp.StatusCode/100 != 4 {
		t.Errorf("a report of a node in another state: %d %s", resp.StatusCode, body)
	}
}

// What does not make a node, with the status that tells the ramdisk whether to come again.
func TestReportsThatEnrolNobody(t *testing.T) {
	for _, tt := range []struct {
		name, driver, version, body string
		status                      int
		want                        string
	}{
		{"discovery is off", "", "", reportOf("52:54:00:00:00:01"), 404, "No node waits for an inspection report."},
		{"the machine failed", "fake-hardware", "", strings.Replace(reportOf("52:54:00:00:00:01"), `"error":null`, `"error":"no disks"`, 1), 400,
			"The machine reported a failed inspection: no disks"},
		{"no interfaces", "fake-hardware", "", `{"inventory":{"interfaces":[]}}`, 400,
			"The inspection found no network interface with a MAC address among 0."},
		{"no processor", "fake-hardware", "1.84", strings.Replace(reportOf("52:54:00:00:00:01"), `"architecture":"x86_64"`, `"x":1`, 1), 400,
			"The inventory does not say the architecture of the machine's processors."},
		{"a nonsensical inventory", "fake-hardware", "", `{"inventory":{"interfaces":"x"}}`, 400, "The inspection's inventory cannot be read: " +
			"json: cannot unmarshal string into Go struct field Inventory.interfaces of type []wire.NIC."},
		{"a version between", "fake-hardware", "1.50", reportOf("52:54:00:00:00:01"), 404, "Resource could not be found."},
	} {
		s := newDiscovery(t, tt.driver)
		resp, body := send(s.api.MachineHandler(), tt.version, "POST", "/v1/continue_inspection", tt.body)
		s.refused(tt.name, resp, body, tt.status, tt.want)
		_, body = s.ask("1.115", "GET", "/v1/nodes", "")
		if nodes, _ := field(t, body, "nodes").([]any); len(nodes) != 0 {
			t.Errorf("%s: %s", tt.name, body)
		}
	}
	s := newDiscovery(t, "fake-hardware")
	if resp, _ := send(s.api.MachineHandler(), "1.96", "GET", "/v1/inspection_rules", ""); resp.StatusCode != http.StatusNotFound {
		t.Errorf("rules are shown to machines: %d", resp.StatusCode)
	}
}

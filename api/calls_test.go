package api

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/node"
)

// What the conductor is asked for, decoded and in canonical forms.
func TestCallsReachTheConductor(t *testing.T) {
	for _, tt := range []struct {
		version, method, path, body string
		want                        any
	}{
		{"1.27", "PUT", "/v1/nodes/rack1-u7/states/power", `{"target":"soft power off","timeout":90}`,
			powered{"rack1-u7", node.SoftPowerOff, 90 * time.Second}},
		{"1.5", "PUT", "/v1/nodes/" + strings.ToUpper(nodeA) + "/states/power", `{"target":"rebooting"}`, powered{nodeA, node.Rebooting, 0}},
		{"1.5", "PUT", "/v1/nodes/rack1-u7/management/boot_device", `{"boot_device":"pxe"}`,
			bootDeviceSet{"rack1-u7", node.BootDevice{Device: "pxe"}}},
		{"1.12", "PUT", "/v1/nodes/rack1-u7/states/raid", `{"logical_disks":[{"size_gb":100,"raid_level":"1"}]}`,
			raidAsked{"rack1-u7", node.Document{"logical_disks": []any{map[string]any{"size_gb": 100.0, "raid_level": "1"}}}}},
		{"1.12", "PUT", "/v1/nodes/rack1-u7/states/raid", `{}`, raidAsked{"rack1-u7", node.Document{}}},
		{"1.5", "PUT", "/v1/nodes/rack1-u7/maintenance", ``, updated{"rack1-u7", maintenanceFields}},
		{"1.5", "PUT", "/v1/nodes/rack1-u7/maintenance", `null`, updated{"rack1-u7", maintenanceFields}},
		{"1.5", "DELETE", "/v1/nodes/rack1-u7", "", deleted{"rack1-u7"}},
		{"1.5", "DELETE", "/v1/ports/" + strings.ToUpper(portA), "", deleted{portA}},
		{"1.22", "GET", "/v1/lookup?addresses=" + strings.ToUpper(macA) + ",,junk", "", looked{[]string{macA}, "", false}},
		{"1.62", "GET", "/v1/lookup?node_uuid=" + nodeA, "", looked{nil, nodeA, true}},
		{"1.68", "POST", "/v1/heartbeat/" + nodeA,
			`{"callback_url":"https://[fd00::1]:9999","agent_token":"t","agent_version":"1","agent_verify_ca":"PEM"}`,
			beat{nodeA, node.Heartbeat{CallbackURL: "https://[fd00::1]:9999", AgentToken: "t", AgentVersion: "1", VerifyCA: "PEM"}}},
		{"1.72", "POST", "/v1/heartbeat/" + nodeA,
			`{"callback_url":"http://192.0.2.1","agent_token":"t","agent_version":"1","agent_status":"end","agent_status_message":null}`,
			beat{nodeA, node.Heartbeat{CallbackURL: "http://192.0.2.1", AgentToken: "t", AgentVersion: "1"}}},
		{"", "POST", "/v1/continue_inspection?node_uuid=" + nodeA,
			`{"inventory":{"a":1},"error":"no disk","logs":"TE9H","boot_interface":"01-52-54-00-CF-2D-31","root_disk":null}`,
			node.InspectionData{NodeUUID: nodeA, Inventory: node.Document{"a": 1.0}, Error: "no disk", Logs: "TE9H", BootInterface: macA,
				PluginData: node.Document{"boot_interface": "01-52-54-00-CF-2D-31", "root_disk": nil}}},
		{"", "POST", "/billet/v1/log/" + nodeA, `{"agent_token":"t","lines":[{"age_ms":1500,"text":"a"},{"age_ms":0,"text":"b"}]}`,
			logged{nodeA, "t", []node.Line{{At: epoch.Add(2*time.Minute - 1500*time.Millisecond), Text: "a"},
				{At: epoch.Add(2 * time.Minute), Text: "b"}}}},
		{"", "POST", "/billet/v1/progress/" + nodeA, `{"agent_token":"t","step":"write_image","detail":"d","done":1,"total":2}`,
			progressed{nodeA, "t", node.Progress{Step: "write_image", Detail: "d", Done: 1, Total: 2, At: epoch.Add(2 * time.Minute)}}},
		{"", "POST", "/billet/v1/progress/" + nodeA,
			`{"agent_token":"t","step":"erase_devices","disks":[{"name":"/dev/sda","serial":"S1","what":"` + strings.Repeat("ö",
				150) + `","done":-5,"total":7},{}]}`,
			progressed{nodeA, "t", node.Progress{Step: "erase_devices", At: epoch.Add(2 * time.Minute),
				Disks: []node.DiskProgress{{Name: "/dev/sda", Serial: "S1", What: strings.Repeat("ö", 100), Total: 7}, {}}}}},
		{"", "POST", "/billet/v1/progress/" + nodeA,
			`{"agent_token":"t","step":"erase_devices","disks":[` + strings.Repeat("{},", 256) + `{"name":"too many"}]}`,
			progressed{nodeA, "t", node.Progress{Step: "erase_devices", At: epoch.Add(2 * time.Minute), Disks: make([]node.DiskProgress, 256)}}},
	} {
		s := newServer(t)
		resp, body := s.ask(tt.version, tt.method, tt.path, tt.body)
		if resp.StatusCode >= 300 || len(s.calls) != 1 {
			t.Errorf("%s %s: %d %s %v", tt.method, tt.path, resp.StatusCode, body, s.calls)
			continue
		}
		if diff := cmp.Diff(tt.want, s.calls[0]); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", tt.method, tt.path, diff)
		}
	}
}

func TestCreateNode(t *testing.T) {
	s := newServer(t)
	resp, body := s.ask("1.115", "POST", "/v1/nodes", `{"driver":"ipmi","name":"ns~n4","driver_info":{"ipmi_port":6230,"big":9007199254740993},
		"boot_interface":"pxe","power_interface":null,"automated_clean":false,"parent_node":"rack1-u7","retired":true,"secure_boot":true,"instance_info":{"configdrive":"https://x/"}}`)
	if resp.StatusCode != 201 || !strings.Contains(body, `"big":9007199254740993`) {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	n := s.nodes[2]
	if !isUUID(n.UUID) || n.State != node.Enroll || n.Name != "ns~n4" || n.DriverInfo["ipmi_port"] != 6230.0 || *n.AutomatedClean ||
		n.ParentNode != nodeA || !n.Retired || !*n.SecureBoot || n.ConfigDrive != "https://x/" || len(n.InstanceInfo) != 0 {
		t.Errorf("%+v", n)
	}
	if diff := cmp.Diff(map[node.Interface]string{node.Boot: "pxe"}, n.Interfaces); diff != "" {
		t.Error(diff)
	}
	s.ask("1.10", "POST", "/v1/nodes", `{"driver":"ipmi","uuid":null}`)
	if n := s.nodes[3]; n.State != node.Available || !isUUID(n.UUID) {
		t.Errorf("a node of 1.10 is %s", n.State)
	}
}

func TestMaintenance(t *testing.T) {
	s := newServer(t)
	s.ask("1.90", "PUT", "/v1/nodes/rack1-u7/maintenance", `{"reason":"new disk"}`)
	if n := s.nodes[0]; !n.Maintenance || n.MaintenanceReason != "new disk" {
		t.Errorf("%v %q", n.Maintenance, n.MaintenanceReason)
	}
	s.nodes[0].Fault = node.PowerFailure
	s.ask("1.90", "DELETE", "/v1/nodes/rack1-u7/maintenance", "")
	if n := s.nodes[0]; n.Maintenance || n.MaintenanceReason != "" || n.Fault != node.NoFault {
		t.Errorf("%v %q %q", n.Maintenance, n.MaintenanceReason, n.Fault)
	}
}

func TestTraits(t *testing.T) {
	s := newServer(t)
	for _, tt := range []struct {
		method, path, body string
		want               []string
	}{
		{"PUT", "/CUSTOM_A", "", []string{"CUSTOM_A", "CUSTOM_FAST", "HW_CPU_X86_VMX"}},
		{"PUT", "/CUSTOM_A", "null", []string{"CUSTOM_A", "CUSTOM_FAST", "HW_CPU_X86_VMX"}},
		{"DELETE", "/CUSTOM_FAST", "", []string{"CUSTOM_A", "HW_CPU_X86_VMX"}},
		{"PUT", "", `{"traits":["CUSTOM_C","CUSTOM_B","CUSTOM_C"]}`, []string{"CUSTOM_B", "CUSTOM_C"}},
		{"DELETE", "", "", nil},
	} {
		if resp, body := s.ask("1.90", tt.method, "/v1/nodes/rack1-u7/traits"+tt.path, tt.body); resp.StatusCode != 204 {
			t.Errorf("%s %s: %s", tt.method, tt.path, body)
		}
		if diff := cmp.Diff(tt.want, s.nodes[0].Traits); diff != "" {
			t.Errorf("%s %s: %s", tt.method, tt.path, diff)
		}
	}
	many := `{"traits":["CUSTOM_0"`
	for i := range 50 {
		many += `,"CUSTOM_X` + strings.Repeat("X", i) + `"`
	}
	resp, body := s.ask("1.90", "PUT", "/v1/nodes/rack1-u7/traits", many+"]}")
	if resp.StatusCode != 400 || faultstring(t, body) != "A node may have at most 50 traits, not 51." {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

func TestVIFs(t *testing.T) {
	s := newServer(t)
	vifs := "/v1/nodes/rack1-u7/vifs"
	second := node.Port{UUID: portA[:35] + "2", NodeUUID: nodeA, Address: "52:54:00:cf:2d:32"}
	s.ports = append([]node.Port{second}, s.ports...)
	for _, tt := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", vifs, `{"id":"a"}`, 204, `{"vifs":[{"id":"a"}]}`},
		{"POST", vifs, `{"id":"a"}`, 409, `{"vifs":[{"id":"a"}]}`},
		{"POST", vifs, `{"id":"b"}`, 204, `{"vifs":[{"id":"b"},{"id":"a"}]}`}, // a took the port that boots
		{"POST", vifs, `{"id":"c"}`, 400, `{"vifs":[{"id":"b"},{"id":"a"}]}`},
		{"DELETE", vifs + "/a", "", 204, `{"vifs":[{"id":"b"}]}`},
		{"DELETE", vifs + "/a", "", 400, `{"vifs":[{"id":"b"}]}`},
		{"POST", "/v1/nodes/" + nodeB + "/vifs", `{"id":"x"}`, 204, `{"vifs":[{"id":"b"}]}`}, // noop
	} {
		resp, body := s.ask("1.90", tt.method, tt.path, tt.body)
		_, got := s.ask("1.90", "GET", vifs, "")
		if resp.StatusCode != tt.status || got != tt.want {
			t.Errorf("%s %s %s: %d %s, then %s", tt.method, tt.path, tt.body, resp.StatusCode, body, got)
		}
	}
}

func TestBootDeviceUnknownAndNothingSupported(t *testing.T) {
	s := newServer(t)
	s.device = node.BootDevice{}
	if _, body := s.ask("1.90", "GET", "/v1/nodes/rack1-u7/management/boot_device", ""); body != `{"boot_device":null,"persistent":null}` {
		t.Error(body)
	}
}

// Boot events are shown from the flow's start, or of the last 15 minutes when nothing runs.
func TestProgressAsksForTheRightBootEvents(t *testing.T) {
	s := newServer(t)
	s.ask("", "GET", "/billet/v1/nodes/rack1-u7/progress", "")
	if !s.since.Equal(epoch) {
		t.Errorf("since %s", s.since)
	}
	s.nodes[0].Plan = nil
	s.ask("", "GET", "/billet/v1/nodes/rack1-u7/progress", "")
	if want := epoch.Add(2*time.Minute - 15*time.Minute); !s.since.Equal(want) {
		t.Errorf("since %s, want %s", s.since, want)
	}
}

// A step that is not for people, and a lease that ran out, are not shown.
func TestHiddenStepsAndStaleLeases(t *testing.T) {
	s := newServer(t)
	s.nodes[0].Plan.Index, s.nodes[0].Lease.Until = 0, epoch
	_, body := s.ask("1.115", "GET", "/v1/nodes/rack1-u7?fields=deploy_step,clean_step,reservation,driver_internal_info", "")
	if got := field(t, body, "deploy_step"); len(got.(map[string]any)) != 0 {
		t.Errorf("deploy_step %v", got)
	}
	if field(t, body, "reservation") != nil || field(t, body, "driver_internal_info", "deploy_step_index") != nil {
		t.Error(body)
	}
	s.nodes[0].Plan = &node.Plan{Flow: node.FlowClean,
		Steps: []node.PlannedStep{{Interface: node.Deploy, Step: "erase_devices", Priority: 10, Abortable: true, Reboot: true}}}
	_, body = s.ask("1.115", "GET", "/v1/nodes/rack1-u7?fields=clean_step,driver_internal_info", "")
	want := map[string]any{"interface": "deploy", "step": "erase_devices", "priority": 10.0, "args": nil, "abortable": true,
		"reboot_requested": true}
	if diff := cmp.Diff(want, field(t, body, "clean_step")); diff != "" {
		t.Error(diff)
	}
	if field(t, body, "driver_internal_info", "clean_step_index") != 0.0 {
		t.Error(body)
	}
}

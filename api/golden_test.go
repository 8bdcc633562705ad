package api

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// goldens are one answer or more of every endpoint, kept in testdata. UPDATE_GOLDEN=1 writes them
// anew; the diff is for a person to read.
var goldens = []struct{ name, version, method, path, body string }{
	{"root", "", "GET", "/", ""},
	{"v1-1.1", "", "GET", "/v1", ""},
	{"v1-1.115", "1.115", "GET", "/v1", ""},
	{"nodes-1.1", "1.1", "GET", "/v1/nodes", ""},
	{"nodes-1.115", "1.115", "GET", "/v1/nodes", ""},
	{"nodes-fields", "1.115", "GET", "/v1/nodes?fields=uuid,Traits,reservation", ""},
	{"nodes-page", "1.115", "GET", "/v1/nodes?limit=1&provision_state=available&sort_key=name&sort_dir=desc", ""},
	{"nodes-detail-1.1", "1.1", "GET", "/v1/nodes/detail", ""},
	{"nodes-detail-1.115", "1.115", "GET", "/v1/nodes?detail=true", ""},
	{"node-1.1", "1.1", "GET", "/v1/nodes/" + nodeA, ""},
	{"node-1.31", "1.31", "GET", "/v1/nodes/rack1-u7", ""},
	{"node-1.72", "1.72", "GET", "/v1/nodes/rack1-u7", ""},
	{"node-1.115", "1.115", "GET", "/v1/nodes/rack1-u7", ""},
	{"node-available-1.1", "1.1", "GET", "/v1/nodes/" + nodeB + "", ""},
	{"node-create-1.1", "1.1", "POST", "/v1/nodes", `{"uuid":"33333333-3333-4333-8333-333333333333","driver":"ipmi"}`},
	{"node-create-1.115", "1.115", "POST", "/v1/nodes",
		`{"uuid":"33333333-3333-4333-8333-333333333333","driver":"ipmi","name":"n3","driver_info":{"ipmi_password":"` + bmcSecret +
			`"},"power_interface":"ipmitool","boot_mode":"uefi"}`},
	{"node-patch", "1.115", "PATCH", "/v1/nodes/rack1-u7",
		`[{"op":"add","path":"/driver_info/ipmi_port","value":6230},{"op":"remove","path":"/name"}]`},
	{"node-delete", "1.115", "DELETE", "/v1/nodes/rack1-u7", ""},
	{"validate", "1.115", "GET", "/v1/nodes/rack1-u7/validate", ""},
	{"validate-query", "1.115", "GET", "/v1/nodes/validate?node=rack1-u7", ""},
	{"states-1.1", "1.1", "GET", "/v1/nodes/" + nodeA + "/states", ""},
	{"states-1.115", "1.115", "GET", "/v1/nodes/rack1-u7/states", ""},
	{"power", "1.115", "PUT", "/v1/nodes/rack1-u7/states/power", `{"target":"soft rebooting","timeout":30}`},
	{"provision", "1.115", "PUT", "/v1/nodes/rack1-u7/states/provision", `{"target":"active"}`},
	{"boot-mode", "1.115", "PUT", "/v1/nodes/rack1-u7/states/boot_mode", `{"target":"uefi"}`},
	{"secure-boot", "1.76", "PUT", "/v1/nodes/rack1-u7/states/secure_boot", `{"target":"on"}`},
	{"inject-nmi", "1.29", "PUT", "/v1/nodes/rack1-u7/management/inject_nmi", `{}`},
	{"indicators", "1.63", "GET", "/v1/nodes/rack1-u7/management/indicators", ""},
	{"bios", "1.74", "GET", "/v1/nodes/rack1-u7/bios?detail=true", ""},
	{"firmware", "1.86", "GET", "/v1/nodes/rack1-u7/firmware", ""},
	{"node-vendor-methods", "1.115", "GET", "/v1/nodes/rack1-u7/vendor_passthru/methods", ""},
	{"driver-vendor-methods", "1.115", "GET", "/v1/drivers/ipmi/vendor_passthru/methods", ""},
	{"children", "1.83", "GET", "/v1/nodes/rack1-u7/children", ""},
	{"shards", "1.82", "GET", "/v1/shards", ""},
	{"events", "1.54", "POST", "/v1/events", `{"events":[{"event":"network.bind_port","port_id":"2c3a84ab-7c5a-4b32-9e36-4b0ec1f7a3c5",` +
		`"mac_address":"52:54:00:00:00:0a","status":"ACTIVE","binding:host_id":"` + nodeA + `","binding:vnic_type":"baremetal"}]}`},
	{"boot-device", "1.115", "GET", "/v1/nodes/rack1-u7/management/boot_device", ""},
	{"boot-device-set", "1.115", "PUT", "/v1/nodes/rack1-u7/management/boot_device", `{"boot_device":"disk","persistent":true}`},
	{"boot-device-supported", "1.115", "GET", "/v1/nodes/rack1-u7/management/boot_device/supported", ""},
	{"raid-set", "1.115", "PUT", "/v1/nodes/rack1-u7/states/raid",
		`{"logical_disks":[{"size_gb":"MAX","raid_level":"1","controller":"software"}]}`},
	{"driver-logical-disk-properties", "1.12", "GET", "/v1/drivers/ipmi/raid/logical_disk_properties", ""},
	{"maintenance-set", "1.115", "PUT", "/v1/nodes/rack1-u7/maintenance", `{"reason":"new disk"}`},
	{"maintenance-unset", "1.115", "DELETE", "/v1/nodes/rack1-u7/maintenance", ""},
	{"node-ports", "1.115", "GET", "/v1/nodes/rack1-u7/ports", ""},
	{"node-ports-detail", "1.115", "GET", "/v1/nodes/rack1-u7/ports/detail", ""},
	{"traits", "1.115", "GET", "/v1/nodes/rack1-u7/traits", ""},
	{"traits-set", "1.115", "PUT", "/v1/nodes/rack1-u7/traits", `{"traits":["CUSTOM_B","CUSTOM_A"]}`},
	{"traits-remove", "1.115", "DELETE", "/v1/nodes/rack1-u7/traits", ""},
	{"trait-add", "1.115", "PUT", "/v1/nodes/rack1-u7/traits/CUSTOM_A", ""},
	{"trait-remove", "1.115", "DELETE", "/v1/nodes/rack1-u7/traits/CUSTOM_FAST", ""},
	{"vifs", "1.115", "GET", "/v1/nodes/rack1-u7/vifs", ""},
	{"vif-attach", "1.115", "POST", "/v1/nodes/rack1-u7/vifs", `{"id":"vif-1"}`},
	{"vif-detach", "1.115", "DELETE", "/v1/nodes/" + nodeB + "/vifs/vif-1", ""},
	{"history", "1.115", "GET", "/v1/nodes/rack1-u7/history", ""},
	{"history-detail", "1.115", "GET", "/v1/nodes/rack1-u7/history?detail=true&limit=1", ""},
	{"history-detail-path", "1.115", "GET", "/v1/nodes/rack1-u7/history/detail?limit=1", ""},
	{"history-event-1.78", "1.78", "GET", "/v1/nodes/rack1-u7/history/e5840e39-b4ba-4a93-8071-cff9aa2c9633", ""},
	{"history-event-1.115", "1.115", "GET", "/v1/nodes/rack1-u7/history/e5840e39-b4ba-4a93-8071-cff9aa2c9633", ""},
	{"inventory", "1.115", "GET", "/v1/nodes/rack1-u7/inventory", ""},
	{"ports-1.1", "1.1", "GET", "/v1/ports", ""},
	{"ports-detail-1.115", "1.115", "GET", "/v1/ports/detail", ""},
	{"port-1.1", "1.1", "GET", "/v1/ports/" + portA, ""},
	{"port-1.115", "1.115", "GET", "/v1/ports/eth0", ""},
	{"port-create", "1.115", "POST", "/v1/ports",
		`{"uuid":"44444444-4444-4444-8444-444444444444","address":"52-54-00-AA-BB-CC","node_uuid":"` + nodeA + `"}`},
	{"port-patch", "1.115", "PATCH", "/v1/ports/" + portA, `[{"op":"replace","path":"/pxe_enabled","value":false}]`},
	{"port-delete", "1.115", "DELETE", "/v1/ports/" + portA, ""},
	{"portgroups-1.23", "1.23", "GET", "/v1/portgroups", ""},
	{"portgroups-page", "1.115", "GET", "/v1/portgroups?limit=1&sort_key=name&sort_dir=desc&node=rack1-u7&fields=name,mode", ""},
	{"portgroups-detail", "1.115", "GET", "/v1/portgroups/detail", ""},
	{"portgroup-1.23", "1.23", "GET", "/v1/portgroups/" + groupA, ""},
	{"portgroup-1.115", "1.115", "GET", "/v1/portgroups/bond0", ""},
	{"portgroup-create-1.23", "1.23", "POST", "/v1/portgroups", `{"uuid":"77777777-7777-4777-8777-777777777777","node_uuid":"` + nodeA + `"}`},
	{"portgroup-create-1.115", "1.115", "POST", "/v1/portgroups",
		`{"uuid":"77777777-7777-4777-8777-777777777777","node_uuid":"` + nodeA + `","address":"52-54-00-AA-BB-CC","name":"b1",` +
			`"mode":"balance-rr","standalone_ports_supported":"no","properties":{"miimon":50},"category":"blue"}`},
	{"portgroup-patch", "1.26", "PATCH", "/v1/portgroups/bond0",
		`[{"op":"remove","path":"/address"},{"op":"replace","path":"/properties/miimon","value":200},{"op":"remove","path":"/mode"}]`},
	{"portgroup-delete", "1.23", "DELETE", "/v1/portgroups/bond0", ""},
	{"portgroup-ports", "1.24", "GET", "/v1/portgroups/bond0/ports", ""},
	{"portgroup-ports-detail", "1.115", "GET", "/v1/portgroups/bond0/ports/detail", ""},
	{"node-portgroups", "1.24", "GET", "/v1/nodes/rack1-u7/portgroups", ""},
	{"node-portgroups-detail", "1.26", "GET", "/v1/nodes/rack1-u7/portgroups/detail", ""},
	{"allocations-1.52", "1.52", "GET", "/v1/allocations", ""},
	{"allocations-fields", "1.115", "GET", "/v1/allocations?fields=name,state&state=active&limit=1", ""},
	{"allocation", "1.115", "GET", "/v1/allocations/web", ""},
	{"allocation-create", "1.60", "POST", "/v1/allocations", `{"uuid":"77777777-7777-4777-8777-777777777777","name":"db",` +
		`"resource_class":"baremetal","traits":["CUSTOM_A","CUSTOM_A"],"candidate_nodes":["rack1-u7"],"owner":"ada","extra":{"a":1}}`},
	{"allocation-create-backfill", "1.58", "POST", "/v1/allocations", `{"uuid":"77777777-7777-4777-8777-777777777777","node":"rack1-u7"}`},
	{"allocation-patch", "1.57", "PATCH", "/v1/allocations/web",
		`[{"op":"replace","path":"/name","value":"web2"},{"op":"add","path":"/extra/a","value":1}]`},
	{"allocation-delete", "1.52", "DELETE", "/v1/allocations/web", ""},
	{"node-allocation", "1.52", "GET", "/v1/nodes/" + nodeB + "/allocation", ""},
	{"node-allocation-delete", "1.52", "DELETE", "/v1/nodes/" + nodeB + "/allocation", ""},
	{"chassis-1.1", "1.1", "GET", "/v1/chassis", ""},
	{"chassis-detail", "1.1", "GET", "/v1/chassis/detail", ""},
	{"chassis-fields", "1.115", "GET", "/v1/chassis?fields=extra&limit=1", ""},
	{"chassis", "1.1", "GET", "/v1/chassis/" + chassisA, ""},
	{"chassis-create", "1.1", "POST", "/v1/chassis", `{"uuid":"77777777-7777-4777-8777-777777777777","description":"rack 8"}`},
	{"chassis-patch", "1.1", "PATCH", "/v1/chassis/" + chassisA,
		`[{"op":"replace","path":"/extra/row","value":3},{"op":"remove","path":"/description"}]`},
	{"chassis-delete", "1.1", "DELETE", "/v1/chassis/" + chassisA, ""},
	{"chassis-nodes", "1.1", "GET", "/v1/chassis/" + chassisA + "/nodes?limit=1", ""},
	{"chassis-nodes-detail", "1.1", "GET", "/v1/chassis/" + chassisA + "/nodes/detail?limit=1", ""},
	{"volume", "1.32", "GET", "/v1/volume", ""},
	{"volume-connectors", "1.32", "GET", "/v1/volume/connectors", ""},
	{"volume-connectors-detail", "1.32", "GET", "/v1/volume/connectors?detail=True&limit=1&node=rack1-u7", ""},
	{"volume-connector", "1.32", "GET", "/v1/volume/connectors/" + connA, ""},
	{"volume-connector-create", "1.32", "POST", "/v1/volume/connectors",
		`{"uuid":"77777777-7777-4777-8777-777777777777","node_uuid":"` + nodeA + `","type":"wwpn","connector_id":"20000025B5110012"}`},
	{"volume-connector-patch", "1.32", "PATCH", "/v1/volume/connectors/" + connA,
		`[{"op":"replace","path":"/connector_id","value":"iqn.x"},{"op":"add","path":"/extra/a","value":1}]`},
	{"volume-connector-delete", "1.32", "DELETE", "/v1/volume/connectors/" + connA, ""},
	{"volume-targets", "1.32", "GET", "/v1/volume/targets", ""},
	{"volume-targets-fields", "1.115", "GET", "/v1/volume/targets?fields=properties&limit=1", ""},
	{"volume-target", "1.32", "GET", "/v1/volume/targets/" + targetA, ""},
	{"volume-target-create", "1.32", "POST", "/v1/volume/targets",
		`{"uuid":"77777777-7777-4777-8777-777777777777","node_uuid":"` + nodeA +
			`","volume_type":"iscsi","boot_index":"1","volume_id":"v2","properties":{"auth_password":"` + bmcSecret + `"}}`},
	{"volume-target-patch", "1.32", "PATCH", "/v1/volume/targets/" + targetA,
		`[{"op":"replace","path":"/boot_index","value":-1},{"op":"replace","path":"/properties/target_portal","value":"192.0.2.21:3260"}]`},
	{"volume-target-delete", "1.32", "DELETE", "/v1/volume/targets/" + targetA, ""},
	{"node-volume", "1.32", "GET", "/v1/nodes/rack1-u7/volume", ""},
	{"node-volume-connectors", "1.32", "GET", "/v1/nodes/rack1-u7/volume/connectors?detail=true", ""},
	{"node-volume-targets", "1.115", "GET", "/v1/nodes/" + nodeB + "/volume/targets", ""},
	{"deploy-templates", "1.55", "GET", "/v1/deploy_templates", ""},
	{"deploy-templates-detail", "1.115", "GET", "/v1/deploy_templates?detail=true&limit=1", ""},
	{"deploy-templates-fields", "1.55", "GET", "/v1/deploy_templates?fields=name,steps", ""},
	{"deploy-template", "1.55", "GET", "/v1/deploy_templates/CUSTOM_RAID1", ""},
	{"deploy-template-create", "1.115", "POST", "/v1/deploy_templates", `{"uuid":"66666666-6666-4666-8666-666666666666",` +
		`"name":"CUSTOM_FAST","description":"no waiting","extra":{"a":1},"steps":[{"interface":"power","step":"reboot","priority":5}]}`},
	{"deploy-template-patch", "1.112", "PATCH", "/v1/deploy_templates/" + templateA,
		`[{"op":"add","path":"/steps","value":[{"interface":"raid","step":"create","priority":90,"args":{"token":"` + bmcSecret +
			`"}}]},{"op":"remove","path":"/description"}]`},
	{"deploy-template-delete", "1.55", "DELETE", "/v1/deploy_templates/CUSTOM_RAID1", ""},
	{"inspection-rules", "1.96", "GET", "/v1/inspection_rules", ""},
	{"inspection-rules-detail", "1.115", "GET", "/v1/inspection_rules?detail=true&limit=2", ""},
	{"inspection-rules-fields", "1.96", "GET", "/v1/inspection_rules?fields=sensitive,actions&phase=main", ""},
	{"inspection-rule", "1.96", "GET", "/v1/inspection_rules/" + ruleA, ""},
	{"inspection-rule-sensitive", "1.96", "GET", "/v1/inspection_rules/" + ruleB, ""},
	{"inspection-rule-create", "1.96", "POST", "/v1/inspection_rules", `{"uuid":"88888888-8888-4888-8888-888888888888",` +
		`"description":"small","priority":7,"conditions":[{"op":"lt","args":{"values":["{inventory[cpu][count]}",4]}}],"actions":[{"op":"fail",` +
		`"args":{"msg":"too small"}}]}`},
	{"inspection-rule-create-sensitive", "1.115", "POST", "/v1/inspection_rules", `{"uuid":"88888888-8888-4888-8888-888888888888",` +
		`"sensitive":true,"actions":[{"op":"set-attribute","args":["driver_info/ipmi_password","` + bmcSecret + `"]}]}`},
	{"inspection-rule-patch", "1.96", "PATCH", "/v1/inspection_rules/" + ruleA, `[{"op":"replace","path":"/priority","value":5},` +
		`{"op":"remove","path":"/description"},{"op":"add","path":"/actions/1","value":{"op":"add-trait","args":["CUSTOM_X"]}}]`},
	{"inspection-rule-delete", "1.96", "DELETE", "/v1/inspection_rules/" + ruleB, ""},
	{"inspection-rules-delete", "1.96", "DELETE", "/v1/inspection_rules", ""},
	{"drivers-1.1", "1.1", "GET", "/v1/drivers", ""},
	{"drivers-1.115", "1.115", "GET", "/v1/drivers?detail=true", ""},
	{"driver-1.31", "1.31", "GET", "/v1/drivers/ipmi", ""},
	{"driver-properties", "1.115", "GET", "/v1/drivers/ipmi/properties", ""},
	{"conductors", "1.49", "GET", "/v1/conductors", ""},
	{"conductors-detail", "1.115", "GET", "/v1/conductors?detail=true", ""},
	{"conductor", "1.49", "GET", "/v1/conductors/conductor-1", ""},
	{"lookup-1.22", "1.22", "GET", "/v1/lookup?addresses=" + macA, ""},
	{"lookup-1.62", "1.62", "GET", "/v1/lookup?addresses=junk,52:54:00:CF:2D:31&node_uuid=" + nodeA, ""},
	{"heartbeat", "1.68", "POST", "/v1/heartbeat/" + nodeA,
		`{"callback_url":"https://192.0.2.50:9999","agent_token":"` + agentToken + `","agent_version":"11","agent_verify_ca":"PEM"}`},
	{"continue-inspection-1.1", "", "POST", "/v1/continue_inspection",
		`{"inventory":{"cpu":{"count":2}},"error":null,"boot_interface":"01-52-54-00-cf-2d-31","root_disk":{"name":"/dev/sda"}}`},
	{"continue-inspection-1.84", "1.84", "POST", "/v1/continue_inspection?node_uuid=" + nodeA, `{"inventory":{}}`},
	{"pass-deploy-info", "", "POST", "/v1/nodes/" + nodeA + "/vendor_passthru/pass_deploy_info",
		`{"address":"192.0.2.50","key":"k","iqn":"iqn.2008-10.org.openstack:x","error":""}`},
	{"pass-bootloader-install-info", "", "POST", "/v1/nodes/" + nodeA + "/vendor_passthru/pass_bootloader_install_info",
		`{"address":"192.0.2.50","key":"k","status":"SUCCEEDED","error":""}`},
	{"heartbeat-old", "", "POST", "/v1/nodes/" + nodeA + "/vendor_passthru/heartbeat",
		`{"agent_url":"https://192.0.2.50:9999","agent_token":"` + agentToken + `"}`},
	{"lookup-old", "", "POST", "/v1/drivers/ipmi/vendor_passthru/lookup",
		`{"version":"2","inventory":{"interfaces":[{"name":"eth0","mac_address":"` + macA + `"}]}}`},
	{"agent-progress", "", "POST", "/billet/v1/progress/" + nodeA,
		`{"agent_token":"` + agentToken + `","step":"write_image","done":5,"total":10}`},
	{"progress", "", "GET", "/billet/v1/nodes/rack1-u7/progress", ""},
	{"agent-log", "", "POST", "/billet/v1/log/" + nodeA,
		`{"agent_token":"` + agentToken + `","lines":[{"age_ms":5,"text":"billet-agent starts"}]}`},
	{"why-running", "", "GET", "/billet/v1/nodes/rack1-u7/why", ""},
	{"why-failed", "", "GET", "/billet/v1/nodes/" + nodeB + "/why", ""},
	{"strangers", "", "GET", "/billet/v1/strangers", ""},
	{"addresses", "", "GET", "/billet/v1/addresses", ""},
	{"progress-idle", "", "GET", "/billet/v1/nodes/" + nodeB + "/progress", ""},
}

// answer is a response as a golden file holds it: status, Location, body.
func answer(resp *http.Response, body string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d\n", resp.StatusCode)
	if l := resp.Header.Get("Location"); l != "" {
		fmt.Fprintf(&b, "Location: %s\n", l)
	}
	b.WriteString(pretty(body))
	return b.String()
}

func TestGoldenAnswers(t *testing.T) {
	for _, tt := range goldens {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t)
			resp, body := s.ask(tt.version, tt.method, tt.path, tt.body)
			got, file := answer(resp, body), filepath.Join("testdata", tt.name+".json")
			if os.Getenv("UPDATE_GOLDEN") != "" {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("%v; UPDATE_GOLDEN=1 writes it", err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s %s at %q (-want +got):\n%s", tt.method, tt.path, tt.version, diff)
			}
			if resp.StatusCode >= 400 {
				t.Errorf("a golden answer is an error: %s", got)
			}
			if s := leaks(strings.ReplaceAll(body, `"agent_token":"`+agentToken+`"`, "")); s != "" {
				t.Errorf("the secret %q is in the answer", s)
			}
		})
	}
}

// alwaysRefused are the routes of abilities that no hardware has; TestWhatNoHardwareHas has their answers.
var alwaysRefused = []string{"/states/console", "/indicators/{indicator}", "/bios/{setting}", "/vmedia"}

// Every other line of the route table has a golden answer.
func TestEveryRouteHasAGolden(t *testing.T) {
	a := newServer(t).api
	for _, rt := range a.routes() {
		method, path, _ := strings.Cut(rt.pattern, " ")
		form := regexp.QuoteMeta(strings.TrimSuffix(path, "{$}"))
		form = "^" + regexp.MustCompile(`\\\{[a-z]+\\\}`).ReplaceAllString(form, `[^/?]+`) + `(\?.*)?$`
		found := slices.ContainsFunc(alwaysRefused, func(end string) bool { return strings.HasSuffix(path, end) })
		for _, g := range goldens {
			found = found || g.method == method && regexp.MustCompile(form).MatchString(g.path)
		}
		if !found {
			t.Errorf("no golden answer for %s", rt.pattern)
		}
	}
}

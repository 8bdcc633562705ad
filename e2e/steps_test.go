package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// A deploy with a trait gets the steps of the deploy template of that name: on the machine the agent
// erases the disk's metadata before the image is written, the request's own step wins over the template's,
// and a step that is switched off does not run. The history tells the order.
func TestDeployTemplate(t *testing.T) {
	s := newSite(t)
	m := s.machine("templated", "--firmware", "bios", "--memory", "384", "--disk", "5G")
	m.patch("/properties/capabilities", "boot_mode:bios")
	s.call("PUT", "/v1/nodes/"+m.uuid+"/traits", map[string]any{"traits": []string{"CUSTOM_FRESH", "CUSTOM_UNUSED"}}, nil, 204)
	step := func(iface, name string, priority int, args map[string]any) map[string]any {
		return map[string]any{"interface": iface, "step": name, "priority": priority, "args": args}
	}
	for name, steps := range map[string][]map[string]any{
		"CUSTOM_FRESH": {
			step("deploy", "erase_devices_metadata", 95, nil), step("power", "wait", 70, map[string]any{"seconds": 1}),
			step("power", "reboot", 10, nil),
		},
		"CUSTOM_UNUSED": {step("power", "power_off", 5, nil)},
	} {
		s.call("POST", "/v1/deploy_templates", map[string]any{"name": name, "steps": steps}, nil, 201)
	}
	m.available()
	info := imageInfo(t, "tiny.raw")
	info["traits"] = []string{"CUSTOM_MISSING"}
	m.patch("/instance_info", info)
	s.call("PUT", "/v1/nodes/"+m.uuid+"/states/provision", map[string]any{"target": "active"}, nil, 400)
	info["traits"] = []string{"CUSTOM_FRESH"}
	m.patch("/instance_info", info)
	began := time.Now()
	m.provision(map[string]any{"target": "active", "deploy_steps": []map[string]any{
		step("power", "wait", 90, map[string]any{"seconds": 2}), step("power", "reboot", 0, nil),
	}})
	m.arrive("active", 5*time.Minute)
	t.Logf("active after %.1f s", time.Since(began).Seconds())
	m.boots(1)
	var ran []string
	for line := range strings.Lines(m.history()) {
		if name, ok := strings.CutPrefix(line, "Step "); ok && strings.HasSuffix(name, " started.\n") {
			ran = append(ran, strings.TrimSuffix(name, " started.\n"))
		}
	}
	want := []string{
		"deploy.erase_devices_metadata", "power.wait", "deploy.write_image", "deploy.prepare_instance_boot",
		"deploy.tear_down_agent", "deploy.switch_to_tenant_network", "deploy.boot_instance",
	}
	if !slices.Equal(ran, want) {
		t.Errorf("ran %q\nwant %q\n%s", ran, want, m.history())
	}
}

package e2e

import (
	"strings"
	"testing"
	"time"
)

// Not only a deploy: an inspection, a cleaning, a rescue and a service whose ramdisk dies end in their own failed
// state within two minutes, with the console's words in the reason, evidence for `billet node why`, and a way back.
func TestLongOtherFlowsFail(t *testing.T) {
	s := newSite(t)
	m := s.machine("others", "--firmware", "bios", "--memory", "384", "--disk", "5G")
	m.patch("/properties/capabilities", "boot_mode:bios")
	dead := s.deadRamdisk()
	breaks := func() {
		m.patch("/driver_info/deploy_ramdisk", dead)
		m.patch("/driver_info/rescue_ramdisk", dead)
	}
	mends := func() {
		for _, key := range []string{"deploy_ramdisk", "rescue_ramdisk"} {
			s.call("PATCH", "/v1/nodes/"+m.uuid, []map[string]any{{"op": "remove", "path": "/driver_info/" + key}}, nil, 200)
		}
	}
	fails := func(state, noun string, body map[string]any) {
		t.Helper()
		began := time.Now()
		m.provision(body)
		n := m.arrive(state, 4*time.Minute)
		took := time.Since(began)
		t.Logf("%s after %.0f s: %v", state, took.Seconds(), *n.LastError)
		for _, word := range []string{"the machine's kernel panicked", "Kernel panic - not syncing"} {
			if !strings.Contains(*n.LastError, word) {
				t.Errorf("%s: last_error does not name %q: %s", state, word, *n.LastError)
			}
		}
		why := string(s.billet("node", "why", m.uuid))
		for _, word := range []string{"Why: " + *n.LastError, "whole ramdisk, ", "The serial line, the last ", "-serial.log", noun} {
			if !strings.Contains(why, word) {
				t.Errorf("%s: billet node why does not show %q:\n%s", state, word, why)
			}
		}
		if n.Power == nil || *n.Power != "power off" {
			t.Errorf("%s: the machine's power is %v", state, n.Power)
		}
	}
	m.provision(map[string]any{"target": "manage"})
	m.arrive("manageable", time.Minute)
	breaks()
	fails("inspect failed", "inspect", map[string]any{"target": "inspect"})
	m.provision(map[string]any{"target": "manage"})
	m.arrive("manageable", time.Minute)
	fails("clean failed", "clean", map[string]any{"target": "provide"})
	m.provision(map[string]any{"target": "manage"})
	m.arrive("manageable", time.Minute)
	s.call("DELETE", "/v1/nodes/"+m.uuid+"/maintenance", nil, nil, 202)
	mends()
	m.patch("/automated_clean", false)
	m.provision(map[string]any{"target": "provide"})
	m.arrive("available", time.Minute)
	m.deploy(imageInfo(t, "tiny.raw"))
	m.arrive("active", 5*time.Minute)
	m.boots(1)
	breaks()
	fails("rescue failed", "rescue", map[string]any{"target": "rescue", "rescue_password": "Rettung 1912!"})
	m.provision(map[string]any{"target": "unrescue"})
	m.arrive("active", time.Minute)
	m.boots(2)
	fails("service failed", "service", map[string]any{"target": "service",
		"service_steps": []map[string]any{{"interface": "deploy", "step": "list_disks"}}})
	s.call("DELETE", "/v1/nodes/"+m.uuid+"/maintenance", nil, nil, 202)
	m.provision(map[string]any{"target": "abort"})
	m.arrive("active", time.Minute)
	s.call("PUT", "/v1/nodes/"+m.uuid+"/states/power", map[string]any{"target": "power on"}, nil, 202)
	m.boots(3)
}

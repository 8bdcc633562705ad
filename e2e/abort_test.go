package e2e

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"
)

// Aborting ends whatever waits, in every state that allows it, and each has its way back: an inspection, a cleaning
// that waits, is held, or is in the middle of overwriting a disk, a deploy that is held, a rescue and a held service.
// No rescue is in the way of the instance's end.
func TestLongAbortEverywhere(t *testing.T) {
	s := newSite(t, "--shred-random-overwrite-iterations", "3", "--automated-clean", "false")
	s.version = "1.110"
	m := s.machine("aborts", "--firmware", "bios", "--memory", "384", "--disk", "5G", "--disk", "400M")
	m.patch("/properties/capabilities", "boot_mode:bios")
	abort := func(wait, failed, noun string) {
		t.Helper()
		m.arriveHeld(wait, 5*time.Minute)
		began := time.Now()
		m.provision(map[string]any{"target": "abort"})
		n := m.arrive(failed, time.Minute)
		if want := "The " + noun + " was aborted by request."; n.LastError == nil || *n.LastError != want {
			t.Errorf("%s: last_error is %v, want %s", failed, n.LastError, want)
		}
		if n.Fault != nil {
			t.Errorf("%s: fault %s", failed, *n.Fault)
		}
		t.Logf("%s → %s after %.1f s", wait, failed, time.Since(began).Seconds())
	}
	isOff := func() {
		t.Helper()
		if n := m.show(); n.Power == nil || *n.Power != "power off" {
			t.Errorf("power is %v", n.Power)
		}
	}
	manage := func() {
		t.Helper()
		m.provision(map[string]any{"target": "manage"})
		m.arrive("manageable", time.Minute)
	}
	hold := []map[string]any{{"interface": "power", "step": "hold"}, {"interface": "deploy", "step": "erase_devices_metadata"}}
	manage()
	m.provision(map[string]any{"target": "inspect"})
	abort("inspect wait", "inspect failed", "inspection")
	isOff()
	manage()

	m.provision(map[string]any{"target": "clean", "clean_steps": hold})
	abort("clean hold", "clean failed", "cleaning")
	isOff()
	manage()
	fill(t, m.Disks[1].Path)
	m.provision(map[string]any{"target": "clean", "clean_steps": []map[string]any{{"interface": "deploy", "step": "erase_devices"}}})
	m.overwrites(t)
	var p struct {
		Progress struct {
			Disks []struct {
				Name, Serial, What string
				Done, Total        int64
			}
		}
	}
	s.call("GET", "/billet/v1/nodes/"+m.uuid+"/progress", nil, &p, 200)
	if d := p.Progress.Disks; len(d) != 2 || d[0].Total != 5<<30 || d[1].Total != 400<<20 || d[1].Serial != m.Disks[1].Serial ||
		!strings.Contains(d[0].What, "overwriting") {
		t.Errorf("the progress of the disks is %+v", d)
	}
	abort("clean wait", "clean failed", "cleaning")
	isOff()
	if b, err := os.ReadFile(m.Disks[1].Path); err != nil || !bytes.Contains(b, []byte("somebody's data.")) {
		t.Errorf("the erase was not stopped in the middle (%v)", err)
	}
	manage()
	m.provision(map[string]any{"target": "clean", "clean_steps": hold})
	m.arriveHeld("clean hold", 5*time.Minute)
	m.provision(map[string]any{"target": "unhold"})
	m.arrive("manageable", 5*time.Minute)

	m.provision(map[string]any{"target": "provide"}) // no automated cleaning
	m.arrive("available", time.Minute)
	if h := m.history(); strings.Count(h, "Step deploy.erase_devices_metadata started") != 1 {
		t.Errorf("with automated_clean off the history is\n%s", h)
	}
	m.patch("/instance_info", imageInfo(t, "tiny.raw"))
	m.provision(map[string]any{"target": "active", "deploy_steps": []map[string]any{{"interface": "power", "step": "hold", "priority": 70}}})
	abort("deploy hold", "deploy failed", "deploy")
	isOff()
	m.provision(map[string]any{"target": "active"})
	m.arriveHeld("wait call-back", time.Minute)
	m.provision(map[string]any{"target": "deleted"})
	m.arrive("available", time.Minute)
	isOff()
	m.patch("/instance_info", imageInfo(t, "tiny.raw"))
	m.provision(map[string]any{"target": "active"})
	m.arrive("active", 5*time.Minute)
	m.boots(1)

	m.provision(map[string]any{"target": "rescue", "rescue_password": "Rettung 1912!"})
	abort("rescue wait", "rescue failed", "rescue")
	m.provision(map[string]any{"target": "unrescue"})
	m.arrive("active", time.Minute)
	m.boots(2)
	m.provision(map[string]any{"target": "service", "service_steps": hold[:1]})
	abort("service hold", "service failed", "service")
	m.boots(3)
	m.provision(map[string]any{"target": "rescue", "rescue_password": "Rettung 1912!"})
	m.arrive("rescue", 5*time.Minute)
	m.provision(map[string]any{"target": "deleted"})
	m.arrive("available", time.Minute)
	isOff()
}

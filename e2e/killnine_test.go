package e2e

import (
	"bytes"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// killedWhile kills the service with -9 at a random moment within span from now, starts it again at once, and waits
// until the flow has ended where it was to lead.
func (m *machine) killedWhile(goal string, span time.Duration) {
	m.s.t.Helper()
	after := time.Duration(rand.Int64N(int64(span)))
	time.Sleep(after)
	state := m.show().State
	m.s.stop(syscall.SIGKILL)
	if state == goal {
		m.s.t.Errorf("the node was %s before the service was killed after %.1f s: nothing was tried", goal, after.Seconds())
	}
	m.s.start()
	m.s.t.Logf("kill -9 %.1f s on the way to %s, in state %q", after.Seconds(), goal, state)
	m.arrive(goal, 6*time.Minute)
}

// The service dies while the machine's agent overwrites its disk: the agent works on, its new masters hear from it, and the
// disk is empty at the end. The step has run once.
func TestLongCleaningSurvivesKillNine(t *testing.T) {
	s := newSite(t, "--shred-random-overwrite-iterations", "3")
	m := s.machine("clean9", "--firmware", "bios", "--memory", "384", "--disk", "256M")
	m.cleanSlowly(t)
	s.stop(syscall.SIGKILL)
	s.start()
	m.arrive("manageable", 8*time.Minute)
	if b, err := os.ReadFile(m.Disks[0].Path); err != nil || !bytes.Equal(b, make([]byte, len(b))) {
		t.Errorf("the disk still holds something (%v)", err)
	}
	h := m.history()
	if n := strings.Count(h, "Step deploy.erase_devices started."); n != 1 || strings.Contains(h, "begins anew") {
		t.Errorf("erase_devices was started %d times, or began anew:\n%s", n, h)
	}
	if out := string(s.billet("node", "erased", m.uuid)); strings.Count(out, "overwritten with random data 3 times, then with zeros") != 1 {
		t.Errorf("billet node erased says:\n%s", out)
	}
}

// The service dies in an inspection, a rescue, its end, a service and a tear-down: each goes on and ends well.
func TestLongEveryFlowSurvivesKillNine(t *testing.T) {
	s := newSite(t)
	m := s.machine("cat", "--firmware", "bios", "--memory", "384", "--disk", "5G")
	m.patch("/properties/capabilities", "boot_mode:bios")
	m.provision(map[string]any{"target": "manage"})
	m.arrive("manageable", time.Minute)

	m.provision(map[string]any{"target": "inspect"})
	m.killedWhile("manageable", 5*time.Second)
	var inventory struct {
		Inventory map[string]any `json:"inventory"`
	}
	s.call("GET", "/v1/nodes/"+m.uuid+"/inventory", nil, &inventory, 200)
	if inventory.Inventory["disks"] == nil {
		t.Errorf("the inventory has no disks: %v", inventory.Inventory)
	}

	m.provision(map[string]any{"target": "provide"})
	m.killedWhile("available", 5*time.Second)
	m.deploy(imageInfo(t, "tiny.raw"))
	m.killedWhile("active", 5*time.Second)
	m.boots(1)

	m.provision(map[string]any{"target": "rescue", "rescue_password": "Rettung 1912!"})
	m.killedWhile("rescue", 5*time.Second)
	found := regexp.MustCompile(`at ([0-9.]+)\.\n`).FindStringSubmatch(m.history())
	if found == nil {
		t.Fatalf("the history does not say where to log in:\n%s", m.history())
	}
	if out, err := login(found[1], "rescue", "Rettung 1912!", "id -u"); err != nil || out != "0\n" {
		t.Errorf("login: %v: %q", err, out)
	}
	m.provision(map[string]any{"target": "unrescue"})
	m.killedWhile("active", time.Second)
	m.boots(2)

	m.provision(map[string]any{"target": "service", "service_steps": []map[string]any{{"interface": "deploy", "step": "list_disks"}}})
	m.killedWhile("active", 5*time.Second)
	m.boots(3)

	m.provision(map[string]any{"target": "deleted"})
	m.killedWhile("available", 5*time.Second)
	if h := m.history(); strings.Contains(h, "failed") {
		t.Errorf("the history tells of failures:\n%s", h)
	}
}

// The service dies while the agent builds a mirror: there is one at the end, and a machine can be deployed onto it.
func TestLongRAIDSurvivesKillNine(t *testing.T) {
	s := newSite(t)
	m := s.machine("raid9", "--firmware", "bios", "--memory", "512", "--disk", "4G", "--disk", "4G")
	m.patch("/properties/capabilities", "boot_mode:bios")
	m.patch("/raid_interface", "agent")
	m.patch("/automated_clean", false)
	s.call("PUT", "/v1/nodes/"+m.uuid+"/states/raid", mirror(2), nil, 204)
	m.provision(map[string]any{"target": "manage"})
	m.arrive("manageable", time.Minute)
	m.provision(map[string]any{"target": "clean",
		"clean_steps": []map[string]any{raidStep("delete_configuration"), raidStep("create_configuration")}})
	s.eventually(2*time.Minute, "the first RAID step", func() (bool, string) {
		h := m.history()
		return strings.Contains(h, "Step raid.delete_configuration started."), h
	})
	m.killedWhile("manageable", time.Second)
	built := m.raid().RAID.LogicalDisks
	if len(built) != 1 || built[0].Level != "1" || len(built[0].Members) != 2 || len(built[0].UUID) != 35 {
		t.Fatalf("raid_config is %+v", built)
	}
	m.provision(map[string]any{"target": "provide"})
	m.arrive("available", time.Minute)
	m.deploy(s.raidImage("whole-disk"))
	m.arrive("active", 4*time.Minute)
}

package e2e

import (
	"strings"
	"testing"
	"time"
)

// What comes after a deploy, on UEFI: its firmware has boot entries of its own, and each time the ramdisk was booted over
// the network the instance must be what starts next. A rescue and its end, a service, a rebuild, a reboot.
func TestLongUEFIAfterDeploy(t *testing.T) {
	s := newSite(t)
	m := s.machine("uefi-later", "--firmware", "uefi", "--memory", "384", "--disk", "5G")
	m.patch("/properties/capabilities", "boot_mode:uefi")
	m.available()
	m.deploy(imageInfo(t, "tiny.raw"))
	m.arrive("active", 5*time.Minute)
	m.boots(1)

	m.provision(map[string]any{"target": "rescue", "rescue_password": "Rettung 1912!"})
	m.arrive("rescue", 5*time.Minute)
	m.prints(time.Minute, "rescue login:")
	m.provision(map[string]any{"target": "unrescue"})
	m.arrive("active", time.Minute)
	m.boots(2)

	m.provision(map[string]any{"target": "service", "service_steps": []map[string]any{{"interface": "deploy", "step": "list_disks"}}})
	m.arrive("active", 5*time.Minute)
	m.boots(3)
	if h := m.history(); !strings.Contains(h, "Step deploy.list_disks finished") {
		t.Errorf("the service's step did not run:\n%s", h)
	}

	m.patch("/instance_info", imageInfo(t, "grub.qcow2"))
	m.provision(map[string]any{"target": "rebuild"})
	m.arrive("active", 5*time.Minute)
	m.prints(3*time.Minute, "BILLET-INSTANCE-UP grub")
	s.call("PUT", "/v1/nodes/"+m.uuid+"/states/power", map[string]any{"target": "rebooting"}, nil, 202)
	m.boots(5)
	if n := m.ramdisks(); n != 4 {
		t.Errorf("the ramdisk was booted %d times, want once for each of deploy, rescue, service and rebuild", n)
	}
}

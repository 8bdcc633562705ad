package e2e

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

// What comes after a deploy does not depend on how the instance boots: over the network, in memory, or from a disk that
// was written through iSCSI. A person is let in to rescue it, a service looks at its disks, and after each the instance
// starts the way it did.
func TestLongRescueAndServiceOfEveryInstance(t *testing.T) {
	for _, c := range []cell{
		{"bios", "direct", "partition", "netboot", "qcow2", ""},
		{"uefi", "ramdisk", "kernel", "netboot", "initramfs", ""},
		{"bios", "iscsi", "whole-disk", "local", "raw", ""},
		{"uefi", "iscsi", "partition", "netboot", "qcow2", ""},
	} {
		t.Run(c.name(), func(t *testing.T) {
			s := newSite(t)
			m := s.machine("afterwards", "--firmware", c.firmware, "--memory", "512", "--disk", "5G")
			m.patch("/properties/capabilities", "boot_mode:"+c.firmware)
			m.patch("/deploy_interface", c.deploy)
			m.available()
			m.deploy(c.info(s))
			m.arrive("active", 5*time.Minute)
			up := c.up(m.name)
			m.comesUp(up, 1)

			m.provision(map[string]any{"target": "rescue", "rescue_password": "Rettung 1912!"})
			m.arrive("rescue", 5*time.Minute)
			found := regexp.MustCompile(`at ([0-9.]+)\.\n`).FindStringSubmatch(m.history())
			if found == nil {
				t.Fatalf("the history does not say where to log in:\n%s", m.history())
			}
			if out, err := login(found[1], "rescue", "Rettung 1912!", "id -u"); err != nil || out != "0\n" {
				t.Fatalf("login: %v: %s", err, out)
			}
			m.provision(map[string]any{"target": "unrescue"})
			m.arrive("active", 2*time.Minute)
			m.comesUp(up, 2)

			m.provision(map[string]any{"target": "service", "service_steps": []map[string]any{{"interface": "deploy", "step": "list_disks"}}})
			m.arrive("active", 5*time.Minute)
			m.comesUp(up, 3)
			if h := m.history(); !strings.Contains(h, "Step deploy.list_disks finished") {
				t.Errorf("the service's step did not run:\n%s", h)
			}
		})
	}
}

// A BMC that is gone just when a rescue is to end, and when a running machine is adopted: both fail with the reason, and
// go on from there once it is back.
func TestLongUnrescueAndAdoptFail(t *testing.T) {
	s := newSite(t)
	m := s.deployed("stuck")
	m.provision(map[string]any{"target": "rescue", "rescue_password": "Rettung 1912!"})
	m.arrive("rescue", 2*time.Minute)
	fails := func(target, state string) {
		t.Helper()
		s.lab("bmc", m.name, "--dead")
		m.provision(map[string]any{"target": target})
		n := m.arrive(state, 3*time.Minute)
		if n.LastError == nil || !strings.Contains(*n.LastError, "127.0.0.1") {
			t.Errorf("%s: last_error %v does not name the BMC", state, n.LastError)
		}
		s.lab("bmc", m.name, "--ok")
	}
	fails("unrescue", "unrescue failed")
	m.provision(map[string]any{"target": "unrescue"})
	m.arrive("active", 2*time.Minute)
	m.boots(2)

	s.call("PUT", "/v1/nodes/"+m.uuid+"/maintenance", map[string]any{"reason": "it goes to another management"}, nil, 202)
	s.call("DELETE", "/v1/nodes/"+m.uuid, nil, nil, 204)
	m.uuid = m.enrol()
	m.patch("/instance_info", map[string]any{"image_source": imageInfo(t, "tiny.raw")["image_source"]})
	m.provision(map[string]any{"target": "manage"})
	m.arrive("manageable", time.Minute)
	fails("adopt", "adopt failed")
	m.provision(map[string]any{"target": "adopt"})
	m.arrive("active", time.Minute)
	s.call("PUT", "/v1/nodes/"+m.uuid+"/states/power", map[string]any{"target": "rebooting"}, nil, 202)
	m.boots(3)
}

// A deploy uses the ramdisk on that a manual cleaning left running; and boots a new one when its agent has been silent
// for longer than fast_track_timeout.
func TestLongFastTrackAfterManualCleaning(t *testing.T) {
	s := newSite(t, "--fast-track-timeout", "40s")
	m := s.machine("fastclean", "--firmware", "bios", "--memory", "384", "--disk", "5G")
	m.patch("/properties/capabilities", "boot_mode:bios")
	m.patch("/driver_info/fast_track", true)
	m.patch("/automated_clean", false)
	clean := map[string]any{"target": "clean", "clean_steps": []map[string]any{{"interface": "deploy", "step": "erase_devices_metadata"}}}
	m.provision(map[string]any{"target": "manage"})
	m.arrive("manageable", time.Minute)
	m.provision(clean)
	m.arrive("manageable", 2*time.Minute)
	m.provision(map[string]any{"target": "provide"})
	m.arrive("available", time.Minute)
	m.agentCalls(time.Minute)
	m.deploy(imageInfo(t, "tiny.raw"))
	m.arrive("active", 2*time.Minute)
	m.boots(1)
	if n := m.ramdisks(); n != 1 {
		t.Errorf("the ramdisk was started %d times, want once for the cleaning and the deploy", n)
	}

	m.provision(map[string]any{"target": "deleted"})
	m.arrive("available", time.Minute)
	m.provision(map[string]any{"target": "manage"})
	m.arrive("manageable", time.Minute)
	m.provision(clean)
	m.arrive("manageable", 2*time.Minute)
	time.Sleep(45 * time.Second) // it calls every 90 to 180 s
	before := m.ramdisks()
	m.provision(map[string]any{"target": "provide"})
	m.arrive("available", time.Minute)
	m.deploy(imageInfo(t, "tiny.raw"))
	m.arrive("active", 2*time.Minute)
	m.boots(2)
	if n := m.ramdisks(); n != before+1 {
		t.Errorf("the ramdisk was started %d times, %d of them before: want another, as the agent had been silent", n, before)
	}
}

package e2e

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// The instance is started by kexec: the firmware is passed once only, for the deploy ramdisk, and
// every later boot is an ordinary one from the disk.
func TestKexec(t *testing.T) {
	for _, firmware := range []string{"bios", "uefi"} {
		t.Run(firmware, func(t *testing.T) {
			s := newSite(t)
			m := s.machine("kexec-"+firmware, "--firmware", firmware, "--memory", "512", "--disk", "5G")
			m.patch("/properties/capabilities", "boot_mode:"+firmware)
			m.available()
			m.patch("/instance_info", imageInfo(t, "tiny.raw"))
			began := time.Now()
			m.provision(map[string]any{
				"target":       "active",
				"configdrive":  map[string]any{"meta_data": map[string]any{"hostname": m.name}},
				"deploy_steps": []map[string]any{{"interface": "deploy", "step": "kexec_instance", "priority": 50}},
			})
			s.eventually(10*time.Minute, "the image to be written", func() (bool, string) {
				if n := m.show(); n.State == "deploy failed" {
					t.Fatalf("the deploy failed: %s", *n.LastError)
				}
				said := m.history()
				return strings.Contains(said, "Step deploy.write_image finished"), said
			})
			written := time.Now()
			m.prints(10*time.Minute, m.name+" login:")
			t.Logf("image written after %.1f s, login prompt %.1f s later", written.Sub(began).Seconds(), time.Since(written).Seconds())
			m.arrive("active", 5*time.Minute)
			if n := bytes.Count(m.console(), []byte("loads its ramdisk from")); n != 1 {
				t.Errorf("the ramdisk was started %d times", n)
			}
			if said := m.history(); !strings.Contains(said, "started by kexec") {
				t.Errorf("the history does not say how the instance was started: %s", said)
			}
			s.call("PUT", "/v1/nodes/"+m.uuid+"/states/power", map[string]any{"target": "rebooting"}, nil, 202)
			s.eventually(5*time.Minute, "the second boot, from the disk", func() (bool, string) {
				seen := m.console()
				return bytes.Count(seen, []byte(m.name+" login:")) > 1, tail(seen, 2000)
			})
			if n := bytes.Count(m.console(), []byte("loads its ramdisk from")); n != 1 {
				t.Errorf("a later boot went into the ramdisk: it was started %d times", n)
			}
		})
	}
}

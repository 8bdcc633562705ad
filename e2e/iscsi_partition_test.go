package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A partition image through iSCSI with everything there is: the conductor makes swap and the ephemeral
// file system on the far disk, the ramdisk installs the image's GRUB, the config drive is applied, and
// a rebuild keeps what the ephemeral partition holds.
func TestISCSIPartition(t *testing.T) {
	for _, firmware := range []string{"bios", "uefi"} {
		t.Run(firmware, func(t *testing.T) {
			s := newSite(t)
			m := s.iscsiMachine("ipart-"+firmware, firmware)
			info := s.partitionImage(map[string]any{"swap_mb": 64, "ephemeral_gb": 1})
			if firmware == "uefi" {
				info["ephemeral_format"] = "vfat"
			}
			began := time.Now()
			m.deploy(info)
			m.arrive("active", 8*time.Minute)
			t.Logf("active after %.1f s", time.Since(began).Seconds())
			m.comesUp(m.name+" login:", 1) // the name is the config drive's
			m.prints(time.Minute, "BILLET-INSTANCE-UP tiny-root")
			if firmware == "uefi" {
				s.call("PUT", "/v1/nodes/"+m.uuid+"/states/power", map[string]any{"target": "power off"}, nil, 202)
				m.isOff()
				m.ephemeral(201<<20, "vfat") // after the EFI system partition
				return                       // the rest has nothing to do with firmware
			}
			s.call("PUT", "/v1/nodes/"+m.uuid+"/states/power", map[string]any{"target": "power off"}, nil, 202)
			m.isOff()
			uuid := m.ephemeralUUID(1 << 20)

			m.patch("/instance_info/preserve_ephemeral", true)
			m.provision(map[string]any{"target": "rebuild"})
			m.arrive("active", 8*time.Minute)
			m.comesUp("BILLET-INSTANCE-UP tiny-root", 2)
			s.call("PUT", "/v1/nodes/"+m.uuid+"/states/power", map[string]any{"target": "power off"}, nil, 202)
			m.isOff()
			if again := m.ephemeralUUID(1 << 20); again != uuid {
				t.Errorf("after the rebuild the ephemeral file system is %s, want %s", again, uuid)
			}
			m.provision(map[string]any{"target": "deleted"})
			m.arrive("available", time.Minute)
		})
	}
}

// A root file system without GRUB cannot boot from its disk: the ramdisk says so, and the deploy fails with
// its words instead of a machine that does not come up.
func TestISCSILoaderFails(t *testing.T) {
	s := newSite(t)
	m := s.iscsiMachine("noloader", "bios")
	m.deploy(map[string]any{"image_source": "file://" + s.bareRoot("bare.raw"), "image_type": "partition", "root_gb": 1})
	n := m.arrive("deploy failed", 4*time.Minute)
	t.Logf("last_error: %s", *n.LastError)
	for _, words := range []string{"prepare_instance_boot", "installing the boot loader failed, the deploy ramdisk says:",
		"the image has no grub-install"} {
		m.says(*n.LastError, words)
	}
	m.provision(map[string]any{"target": "deleted"})
	m.arrive("available", time.Minute)
}

// says fails the test unless a text has the words.
func (m *machine) says(text, words string) {
	m.s.t.Helper()
	if !strings.Contains(text, words) {
		m.s.t.Errorf("%s does not say %q: %s", m.name, words, text)
	}
}

// bareRoot is a partition image with an empty file system.
func (s *site) bareRoot(name string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if out, err := exec.Command("mke2fs", "-q", "-t", "ext4", path, "16M").CombinedOutput(); err != nil {
		s.t.Fatalf("mke2fs: %v: %s", err, out)
	}
	return path
}

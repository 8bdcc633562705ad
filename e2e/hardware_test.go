package e2e

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Hardware as ordinary servers have it needs the generic deploy kernel. Every machine has two disks,
// of which the hint names one, and some have two network cards, of which only the last is enrolled:
// the firmware asks by the first in vain.
func TestOrdinaryHardware(t *testing.T) {
	ordinaryHardware(t, "bios", "nvme", "e1000e", "1", 0)
	ordinaryHardware(t, "uefi", "ahci", "e1000e", "1", 1) // OVMF takes minutes to give a card up that gets no answer
}

func TestLongOrdinaryHardware(t *testing.T) {
	ordinaryHardware(t, "bios", "scsi", "e1000", "2", 0) // a BIOS starts its first disk alone
	ordinaryHardware(t, "uefi", "nvme", "virtio", "1", 1)
}

// ordinaryHardware deploys to the disk of this number, which has the root device hint.
func ordinaryHardware(t *testing.T, firmware, disk, nic, nics string, root int) {
	name := firmware + "-" + disk + "-" + nic
	t.Run(name, func(t *testing.T) {
		s := newSite(t)
		out := filepath.Join(cache, "generic")
		s.billet("ramdisk", "build", "--flavor", "generic", "--out", out)
		memory := map[string]string{"bios": "256", "uefi": "384"}[firmware]
		m := s.virtual(name, "--firmware", firmware, "--memory", memory, "--disk", "5G", "--disk", "6G",
			"--disk-model", disk, "--nic-model", nic, "--nics", nics)
		m.NICs = m.NICs[len(m.NICs)-1:]
		m.uuid = m.enrol()
		m.patch("/properties/capabilities", "boot_mode:"+firmware)
		m.patch("/driver_info/deploy_kernel", filepath.Join(out, "vmlinuz"))
		m.patch("/driver_info/deploy_ramdisk", filepath.Join(out, "initramfs"))
		m.available()
		info := imageInfo(t, "grub.raw")
		info["root_device"] = map[string]any{"serial": m.Disks[root].Serial}
		m.deploy(info)
		m.arrive("active", 8*time.Minute)
		m.prints(4*time.Minute, "BILLET-INSTANCE-UP grub")
		m.untouched(1 - root)
	})
}

// untouched fails unless nothing was ever written to one of the machine's disks.
func (m *machine) untouched(i int) {
	m.s.t.Helper()
	out, err := exec.Command("qemu-img", "map", "-U", "--output=json", m.Disks[i].Path).Output()
	var extents []struct {
		Start, Length int64
		Data          bool
	}
	if err != nil || json.Unmarshal(out, &extents) != nil || len(extents) == 0 {
		m.s.t.Fatalf("qemu-img map of disk %d: %v: %s", i, err, out)
	}
	for _, e := range extents {
		if e.Data {
			m.s.t.Errorf("%s wrote %d bytes at %d of disk %d, which no hint names", m.name, e.Length, e.Start, i)
		}
	}
}

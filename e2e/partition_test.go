package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// partitionImage is the instance_info of the small partition image.
func (s *site) partitionImage(extra map[string]any) map[string]any {
	s.t.Helper()
	images := filepath.Join(cache, "images")
	s.lab("image", "tiny-root", "--out", images)
	info := imageInfo(s.t, "tiny-root.qcow2")
	info["image_type"] = "partition"
	info["root_gb"] = 1
	info["kernel"] = "file://" + filepath.Join(images, "tiny-root.vmlinuz")
	info["ramdisk"] = "file://" + filepath.Join(images, "tiny-root.initrd")
	for k, v := range extra {
		info[k] = v
	}
	return info
}

// diskReport is what sgdisk or sfdisk, and blkid, say of a machine's disk. The machine must be off.
func (m *machine) diskReport() string {
	m.s.t.Helper()
	path := m.Disks[0].Path
	raw := filepath.Join(m.s.dir, m.name+".raw")
	defer os.Remove(raw)
	if out, err := exec.Command("qemu-img", "convert", "-U", "-O", "raw", path, raw).CombinedOutput(); err != nil {
		m.s.t.Fatalf("qemu-img: %v: %s", err, out)
	}
	out, err := exec.Command("sfdisk", "--dump", raw).CombinedOutput()
	if err != nil {
		m.s.t.Fatalf("sfdisk: %v: %s", err, out)
	}
	return string(out)
}

// A partition image boots from its disk by the GRUB that the agent had it install, on both
// firmwares and with both kinds of partition table, with swap and an ephemeral partition, and applies its config
// drive. A rebuild with another config drive applies that.
func TestLongPartitionLocalBoot(t *testing.T) {
	for _, tt := range []struct{ name, firmware, label string }{
		{"bios", "bios", ""}, {"bios-gpt", "bios", "gpt"}, {"uefi", "uefi", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			m := s.machine("part-"+tt.name, "--firmware", tt.firmware, "--memory", "512", "--disk", "5G")
			m.patch("/properties/capabilities", "boot_mode:"+tt.firmware)
			m.available()
			extra := map[string]any{"swap_mb": 128, "ephemeral_gb": 1}
			if tt.label != "" {
				extra["capabilities"] = map[string]any{"disk_label": tt.label}
			}
			began := time.Now()
			m.deploy(s.partitionImage(extra))
			m.arrive("active", 8*time.Minute)
			t.Logf("active after %.1f s", time.Since(began).Seconds())
			m.prints(5*time.Minute, "BILLET-INSTANCE-UP tiny-root", " ext4", m.name+" login:")
			t.Logf("login prompt after %.1f s", time.Since(began).Seconds())
			if tt.label == "" {
				return
			}
			m.provision(map[string]any{"target": "rebuild", "configdrive": map[string]any{"meta_data": map[string]any{"hostname": "another"}}})
			m.arrive("active", 8*time.Minute)
			m.prints(5*time.Minute, "another login:")
			s.call("PUT", "/v1/nodes/"+m.uuid+"/states/power", map[string]any{"target": "power off"}, nil, 202)
			m.isOff()
			report := m.diskReport()
			if strings.Count(report, "start=") != 5 || !strings.Contains(report, "label: gpt\n") { // bios_grub, ephemeral, swap, root, config drive
				t.Errorf("want 5 partitions of a gpt table:\n%s", report)
			}
			m.ephemeralUUID(2 << 20)
		})
	}
}

// Netboot: every boot of the instance takes the image's own kernel and ramdisk from the service.
func TestLongPartitionNetboot(t *testing.T) {
	s := newSite(t)
	m := s.machine("part-net", "--firmware", "bios", "--memory", "512", "--disk", "5G")
	m.available()
	m.deploy(s.partitionImage(map[string]any{
		"capabilities": map[string]any{"boot_mode": "bios", "boot_option": "netboot"}, "kernel_append_params": "console=ttyS0,115200n8",
	}))
	m.arrive("active", 8*time.Minute)
	m.prints(5*time.Minute, "part-net login:")
	first := bytes.Count(m.console(), []byte("part-net login:"))
	s.call("PUT", "/v1/nodes/"+m.uuid+"/states/power", map[string]any{"target": "rebooting"}, nil, 202)
	s.eventually(5*time.Minute, "the second boot", func() (bool, string) {
		seen := m.console()
		return bytes.Count(seen, []byte("part-net login:")) > first, tail(seen, 2000)
	})
	m.provision(map[string]any{"target": "deleted"})
	m.arrive("available", 4*time.Minute)
}

// What the ephemeral partition holds outlives a rebuild that asks for it; one whose layout does not
// match is refused before anything is written.
func TestLongEphemeralIsPreserved(t *testing.T) {
	s := newSite(t)
	m := s.machine("part-keep", "--firmware", "bios", "--memory", "512", "--disk", "5G")
	m.patch("/properties/capabilities", "boot_mode:bios")
	m.available()
	info := s.partitionImage(map[string]any{"swap_mb": 64, "ephemeral_gb": 1})
	m.deploy(info)
	m.arrive("active", 8*time.Minute)
	s.call("PUT", "/v1/nodes/"+m.uuid+"/states/power", map[string]any{"target": "power off"}, nil, 202)
	m.isOff()
	uuid := m.ephemeralUUID(1 << 20)
	t.Logf("the ephemeral file system is %s", uuid)

	m.patch("/instance_info/preserve_ephemeral", true)
	m.provision(map[string]any{"target": "rebuild"})
	m.arrive("active", 8*time.Minute)
	s.call("PUT", "/v1/nodes/"+m.uuid+"/states/power", map[string]any{"target": "power off"}, nil, 202)
	m.isOff()
	if again := m.ephemeralUUID(1 << 20); again != uuid {
		t.Errorf("after the rebuild the ephemeral file system is %s, want %s", again, uuid)
	}
	before := m.diskReport()

	m.patch("/instance_info/ephemeral_gb", 2)
	m.provision(map[string]any{"target": "rebuild"})
	n := m.arrive("deploy failed", 4*time.Minute)
	t.Logf("last_error: %s", *n.LastError)
	if !strings.Contains(*n.LastError, "nothing was written") {
		t.Errorf("last_error does not say that nothing was written: %s", *n.LastError)
	}
	if after := m.diskReport(); after != before {
		t.Errorf("the disk was changed:\n%s\nwas\n%s", after, before)
	}

	m.patch("/instance_info/ephemeral_format", "xfs")
	s.call("PUT", "/v1/nodes/"+m.uuid+"/states/provision", map[string]any{"target": "active"}, nil, 400)
	for key, value := range map[string]any{"ephemeral_format": "vfat", "ephemeral_gb": 1, "preserve_ephemeral": false} {
		m.patch("/instance_info/"+key, value)
	}
	m.provision(map[string]any{"target": "active"})
	m.arrive("active", 8*time.Minute)
	s.call("PUT", "/v1/nodes/"+m.uuid+"/states/power", map[string]any{"target": "power off"}, nil, 202)
	m.isOff()
	m.ephemeral(1<<20, "vfat")
}

func (m *machine) isOff() {
	m.s.t.Helper()
	m.s.eventually(time.Minute, m.name+" to be off", func() (bool, string) {
		n := m.show()
		return n.Power != nil && *n.Power == "power off" && n.Target == nil, fmt.Sprint(n.Power)
	})
}

// ephemeralUUID is the UUID of the ephemeral ext4 file system that begins at that byte of the disk.
func (m *machine) ephemeralUUID(at int64) string { return m.ephemeral(at, "ext4") }

// ephemeral reads the ephemeral file system, which begins at that byte of the disk, with blkid, and has its own checker
// look at it. It returns its UUID.
func (m *machine) ephemeral(at int64, kind string) string {
	m.s.t.Helper()
	raw := filepath.Join(m.s.dir, m.name+".raw")
	defer os.Remove(raw)
	if out, err := exec.Command("qemu-img", "convert", "-O", "raw", m.Disks[0].Path, raw).CombinedOutput(); err != nil {
		m.s.t.Fatalf("qemu-img: %v: %s", err, out)
	}
	out, err := exec.Command("blkid", "--probe", "--offset", fmt.Sprint(at), "--output", "export", raw).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("LABEL=ephemeral0")) || !bytes.Contains(out, []byte("TYPE="+kind)) {
		m.s.t.Fatalf("blkid: %v: %s", err, out)
	}
	check := exec.Command("e2fsck", "-f", "-n", fmt.Sprintf("%s?offset=%d", raw, at))
	if kind == "vfat" { // fsck.vfat takes no offset
		part := raw + ".vfat"
		defer os.Remove(part)
		if out, err := exec.Command("dd", "if="+raw, "of="+part, "iflag=skip_bytes,count_bytes", fmt.Sprint("skip=", at), "count=1G", "bs=1M",
			"conv=sparse").CombinedOutput(); err != nil {
			m.s.t.Fatalf("dd: %v: %s", err, out)
		}
		check = exec.Command("fsck.vfat", "-n", part)
	}
	if out, err := check.CombinedOutput(); err != nil {
		m.s.t.Errorf("%s: %v: %s", check.Path, err, out)
	}
	for line := range strings.Lines(string(out)) {
		if uuid, ok := strings.CutPrefix(strings.TrimSpace(line), "UUID="); ok {
			return uuid
		}
	}
	m.s.t.Fatalf("blkid names no UUID: %s", out)
	return ""
}

// An image larger than the root partition is refused before the machine boots anything.
func TestPartitionImageTooLarge(t *testing.T) {
	s := newSite(t)
	m := s.machine("part-big", "--firmware", "bios", "--memory", "512", "--disk", "5G")
	m.available()
	info := imageInfo(t, "grub.qcow2")
	info["image_source"] = "file://" + s.sparse("large.raw", 2<<30)
	delete(info, "image_os_hash_algo")
	delete(info, "image_os_hash_value")
	info["image_type"], info["root_gb"] = "partition", 1
	m.deploy(info)
	n := m.arrive("deploy failed", 2*time.Minute)
	t.Logf("last_error: %s", *n.LastError)
	for _, word := range []string{"2147483648", "root_gb is 1", "1073741824"} {
		if !strings.Contains(*n.LastError, word) {
			t.Errorf("last_error does not name %q: %s", word, *n.LastError)
		}
	}
	m.provision(map[string]any{"target": "deleted"})
	m.arrive("available", time.Minute)
}

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ramdisks counts how often the machine has started a ramdisk over the network.
func (m *machine) ramdisks() int {
	return bytes.Count(m.console(), []byte("loads its ramdisk from"))
}

// agentCalls waits until the agent has called while nothing is under way.
func (m *machine) agentCalls(within time.Duration) {
	m.s.t.Helper()
	m.s.eventually(within, "the agent of "+m.name+" to call", func() (bool, string) {
		var n struct {
			Internal map[string]any `json:"driver_internal_info"`
			State    string         `json:"provision_state"`
		}
		m.s.call("GET", "/v1/nodes/"+m.uuid, nil, &n, 200)
		return n.Internal["agent_last_heartbeat"] != nil, fmt.Sprintf("%s: %v\n%s", n.State, n.Internal, tail(m.console(), 2000))
	})
}

// With fast track inspection, cleaning and deploy share one boot of the ramdisk. A machine that somebody
// switched off meanwhile is booted anew, however young its agent's last call.
func TestFastTrack(t *testing.T) {
	s := newSite(t)
	m := s.machine("fast", "--firmware", "bios", "--memory", "384", "--disk", "5G")
	m.patch("/properties/capabilities", "boot_mode:bios")
	m.patch("/driver_info/fast_track", true)
	m.provision(map[string]any{"target": "manage"})
	m.arrive("manageable", time.Minute)
	m.provision(map[string]any{"target": "inspect"})
	m.arrive("manageable", 2*time.Minute)
	if n := m.show(); n.Power == nil || *n.Power != "power on" {
		t.Errorf("after the inspection the machine's power is %v", n.Power)
	}
	m.agentCalls(time.Minute)
	began := time.Now()
	m.provision(map[string]any{"target": "provide"})
	m.arrive("available", time.Minute)
	cleaned := time.Now()
	m.deploy(imageInfo(t, "tiny.raw"))
	m.arrive("active", 2*time.Minute)
	t.Logf("cleaned in %.1f s, deployed in %.1f s", cleaned.Sub(began).Seconds(), time.Since(cleaned).Seconds())
	m.boots(1)
	if n := m.ramdisks(); n != 1 {
		t.Errorf("the ramdisk was started %d times", n)
	}
	if h := m.history(); strings.Count(h, "without a reboot (fast track)") != 2 ||
		!strings.Contains(h, "Step deploy.erase_devices_metadata finished") {
		t.Errorf("the history:\n%s", h)
	}

	m.provision(map[string]any{"target": "deleted"})
	m.arrive("available", 2*time.Minute)
	if n := m.ramdisks(); n != 2 {
		t.Errorf("after the instance's end the ramdisk has been started %d times", n)
	}
	s.lab("power", m.name, "off")
	m.deploy(imageInfo(t, "tiny.raw"))
	m.arrive("active", 2*time.Minute)
	m.boots(2)
	if n := m.ramdisks(); n != 3 {
		t.Errorf("the ramdisk has been started %d times", n)
	}
}

// stick writes what somebody would carry to a machine without a BMC onto the machine's own disk: GRUB, as
// the tiny image has it, with the deploy ramdisk and its parameters.
func (m *machine) stick(params string) {
	t := m.s.t
	t.Helper()
	const sector, espStart, mib = 512, 4096, 64
	esp, config := filepath.Join(m.s.dir, "stick.fat"), filepath.Join(m.s.dir, "grub.cfg")
	text := "serial --unit=0 --speed=115200\nterminal_output serial\necho BILLET-STICK\n" +
		"linux ($root)/vmlinuz console=ttyS0 rootfstype=ramfs " + params + "\ninitrd ($root)/initramfs\nboot\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v: %s", name, args, err, out)
		}
	}
	run("truncate", "-s", fmt.Sprintf("%dM", mib), esp)
	run("mkfs.vfat", "-F", "16", "-n", "BILLETESP", esp)
	run("mmd", "-i", esp, "::/grub")
	run("mcopy", "-i", esp, config, "::/grub/grub.cfg")
	for _, name := range []string{"vmlinuz", "initramfs"} {
		run("mcopy", "-i", esp, filepath.Join(cache, "ramdisk", name), "::/"+name)
	}
	disk := m.Disks[0].Path
	run("sgdisk", "--clear", "--new", "1:2048:4095", "--typecode", "1:ef02", "--new", fmt.Sprintf("2:%d:%d", espStart, espStart+mib*2048-1),
		"--typecode", "2:ef00", disk)
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	copyRange := func(from string, at, to, length int64) {
		t.Helper()
		in, err := os.Open(from)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		if _, err := io.Copy(io.NewOffsetWriter(f, to), io.NewSectionReader(in, at, length)); err != nil {
			t.Fatal(err)
		}
	}
	tiny := filepath.Join(cache, "images", "tiny.raw")
	copyRange(tiny, 0, 0, 0x1b8)                             // boot code
	copyRange(tiny, 2048*sector, 2048*sector, 2048*sector)   // GRUB's core
	copyRange(esp, 0, espStart*sector, int64(mib)*1024*1024) // its configuration, the kernel and the ramdisk
}

// A machine without a BMC: somebody switches it on with the deploy ramdisk in it, and from there on its
// agent is all the service has. It is verified, cleaned and deployed, and reboots itself; after the instance's end somebody must come
// again.
func TestLongManualManagement(t *testing.T) {
	s := newSite(t, "--enabled-hardware-types", "manual-management", "--fast-track", "true")
	m := s.virtual("manual", "--firmware", "bios", "--memory", "384", "--disk", "5G")
	m.uuid = strings.TrimSpace(string(s.billet("node", "create", m.name, "--driver", "manual-management", "--mac", m.NICs[0].MAC)))
	m.patch("/properties/capabilities", "boot_mode:bios")

	m.provision(map[string]any{"target": "manage"})
	if n := m.arrive("enroll", time.Minute); n.LastError == nil || !strings.Contains(*n.LastError, "Agent seems offline") {
		t.Errorf("without an agent: %v", n.LastError)
	}
	m.stick("ipa-api-url=http://" + s.ip + ":6386")
	s.lab("power", m.name, "on")
	m.prints(2*time.Minute, "BILLET-STICK")
	m.agentCalls(2 * time.Minute)
	m.provision(map[string]any{"target": "manage"})
	m.arrive("manageable", time.Minute)
	power := "/v1/nodes/" + m.uuid + "/states/power"
	for _, target := range []string{"power off", "power on", "soft power off"} {
		s.call("PUT", power, map[string]any{"target": target}, nil, 400)
	}
	s.call("PUT", power, map[string]any{"target": "rebooting"}, nil, 202)
	m.prints(2*time.Minute, "BILLET-STICK")
	s.eventually(2*time.Minute, "the machine to reboot itself", func() (bool, string) {
		return bytes.Count(m.console(), []byte("BILLET-STICK")) == 2, tail(m.console(), 2000)
	})
	m.agentCalls(2 * time.Minute)
	m.patch("/properties/root_device", map[string]any{"serial": m.Disks[0].Serial})
	m.provision(map[string]any{"target": "provide"}) // cleaning wipes the stick: what runs is in memory
	m.arrive("available", time.Minute)
	began := time.Now()
	m.deploy(imageInfo(t, "tiny.raw"))
	m.arrive("active", 2*time.Minute)
	t.Logf("active after %.1f s", time.Since(began).Seconds())
	m.boots(1)
	m.prints(time.Minute, m.name+" login:")
	if n := bytes.Count(m.console(), []byte("BILLET-STICK")); n != 2 || m.ramdisks() != 0 {
		t.Errorf("the stick was booted %d times, the network %d times", n, m.ramdisks())
	}
	m.provision(map[string]any{"target": "deleted"})
	if n := m.arrive("clean failed", time.Minute); n.LastError == nil ||
		!strings.Contains(*n.LastError, "boot the deploy ramdisk on it by hand") {
		t.Errorf("last_error %v", n.LastError)
	}
}

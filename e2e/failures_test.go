package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func listen(ip string) (net.Listener, error) { return net.Listen("tcp", ip+":0") }

// Every failure ends in its own state with a reason that names the cause, and the node has a way
// back: the deploy failures leave a node that can be undeployed.
func TestDeployFailures(t *testing.T) {
	s := newSite(t, "--deploy-callback-timeout", "60s")
	for _, tt := range []struct {
		name    string
		prepare func(m *machine, info map[string]any)
		says    []string
	}{
		{"wrong-checksum", func(m *machine, info map[string]any) {
			info["image_source"] = s.webServer() + "/grub.qcow2"
			info["image_os_hash_value"] = strings.Repeat("ab", 32)
		}, []string{"checksum", "abababab", "grub.qcow2"}},
		{"too-big", func(m *machine, info map[string]any) {
			info["image_source"] = "file://" + s.sparse("huge.raw", 6<<30)
			delete(info, "image_os_hash_algo")
			delete(info, "image_os_hash_value")
		}, []string{"6442450944", "5368709120", "/dev/vda"}},
		{"no-disk", func(m *machine, info map[string]any) {
			info["root_device"] = map[string]any{"serial": "not-this-one"}
		}, []string{"not-this-one", "/dev/vda"}},
		{"agent-silent", func(m *machine, info map[string]any) {
			m.patch("/driver_info/deploy_ramdisk", s.deadRamdisk())
		}, []string{"agent", "heartbeat", "kernel"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			defer swap(s, t)()
			m := s.machine(tt.name, "--firmware", "bios", "--memory", "384", "--disk", "5G")
			m.available()
			info := imageInfo(t, "grub.qcow2")
			tt.prepare(m, info)
			m.deploy(info)
			n := m.arrive("deploy failed", 4*time.Minute)
			t.Logf("last_error: %s", *n.LastError)
			for _, word := range tt.says {
				if !strings.Contains(*n.LastError, word) {
					t.Errorf("last_error does not name %q: %s", word, *n.LastError)
				}
			}
			m.provision(map[string]any{"target": "deleted"})
			m.arrive("available", time.Minute)
			s.lab("destroy", m.name)
		})
	}
}

// A machine that goes wrong on its way to the agent fails its deploy long before the step's deadline of half an
// hour, with the phase it got to.
func TestStalledBoots(t *testing.T) {
	s := newSite(t, "--boot-phase-timeout", "25s")
	for _, tt := range []struct {
		name    string
		prepare func(m *machine)
		says    []string
	}{
		{"kernel-panic", func(m *machine) { m.patch("/driver_info/deploy_ramdisk", s.deadRamdisk()) },
			[]string{"Gave up after", "the machine's kernel panicked", "Kernel panic - not syncing"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			defer swap(s, t)()
			m := s.machine(tt.name, "--firmware", "bios", "--memory", "384", "--disk", "5G")
			m.available()
			tt.prepare(m)
			m.deploy(imageInfo(t, "grub.qcow2"))
			began := time.Now()
			n := m.arrive("deploy failed", 8*time.Minute)
			t.Logf("after %.0f s, last_error: %s", time.Since(began).Seconds(), *n.LastError)
			for _, word := range tt.says {
				if !strings.Contains(*n.LastError, word) {
					t.Errorf("last_error does not name %q: %s", word, *n.LastError)
				}
			}
			s.lab("destroy", m.name)
		})
	}
}

// DHCP answers but nobody serves TFTP: the reason says so.
func TestDHCPButNoTFTP(t *testing.T) {
	s := newSite(t, "--deploy-callback-timeout", "45s", "--tftp-port", "6969")
	m := s.machine("no-tftp", "--firmware", "bios", "--memory", "384", "--disk", "5G")
	m.patch("/boot_interface", "pxe")
	m.available()
	m.deploy(imageInfo(t, "grub.qcow2"))
	n := m.arrive("deploy failed", 4*time.Minute)
	t.Logf("last_error: %s", *n.LastError)
	for _, word := range []string{"DHCP", "TFTP"} {
		if !strings.Contains(*n.LastError, word) {
			t.Errorf("last_error does not name %s: %s", word, *n.LastError)
		}
	}
}

// A BMC that does not answer, or refuses the password, keeps a node in enroll with the reason.
func TestBMCFailures(t *testing.T) {
	s := newSite(t)
	m := s.machine("bmc", "--firmware", "bios", "--memory", "256", "--disk", "5G")
	for _, tt := range []struct {
		name  string
		wrong map[string]any
		bmc   []string
		says  []string
	}{
		{"dead", nil, []string{"--dead"}, []string{"127.0.0.1", "no answer"}},
		{"nobody-there", map[string]any{"ipmi_port": 1}, nil, []string{"127.0.0.1:1", "nothing listens"}},
		{"password", map[string]any{"ipmi_password": "wrong-secret"}, nil, []string{"127.0.0.1", "password is wrong"}},
		{"slow", nil, []string{"--slow", "20s"}, []string{"127.0.0.1", "answer"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			defer swap(s, t)()
			s.lab(append([]string{"bmc", m.name}, tt.bmc...)...)
			for key, value := range tt.wrong {
				m.patch("/driver_info/"+key, value)
			}
			began := time.Now()
			m.provision(map[string]any{"target": "manage"})
			var n nodeView
			s.eventually(2*time.Minute, "verification to fail", func() (bool, string) {
				n = m.show()
				return n.State == "enroll" && n.LastError != nil, n.State
			})
			t.Logf("after %.1f s, last_error: %s", time.Since(began).Seconds(), *n.LastError)
			for _, word := range tt.says {
				if !strings.Contains(strings.ToLower(*n.LastError), word) {
					t.Errorf("last_error does not name %q: %s", word, *n.LastError)
				}
			}
			if strings.Contains(*n.LastError, "wrong-secret") {
				t.Errorf("last_error holds the password: %s", *n.LastError)
			}
			m.patch("/driver_info/ipmi_port", m.BMC.Port)
			m.patch("/driver_info/ipmi_password", m.BMC.Password)
		})
	}
	s.lab("bmc", m.name, "--ok")
	s.eventually(2*time.Minute, "the healed BMC to be verified", func() (bool, string) { // late answers are still on their way
		if n := m.show(); n.State == "enroll" {
			m.provision(map[string]any{"target": "manage"})
		}
		n := m.show()
		return n.State == "manageable", n.State
	})
}

// swap lets a subtest fail in its own name while the site is shared.
func swap(s *site, t *testing.T) func() {
	parent := s.t
	s.t = t
	return func() { s.t = parent }
}

// sparse makes a file of the given size that holds nothing but a marker of a boot sector.
func (s *site) sparse(name string, size int64) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	f, err := os.Create(path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{0x55, 0xaa}, 510); err != nil {
		s.t.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// deadRamdisk is an initramfs without an init: the kernel starts and panics, no agent ever calls.
func (s *site) deadRamdisk() string {
	s.t.Helper()
	path := filepath.Join(s.dir, "dead.cpio")
	trailer := "07070100000000000000000000000000000000000000010000000000000000000000000000000000000000000000000000000B00000000TRAILER!!!\x00"
	if err := os.WriteFile(path, []byte(fmt.Sprintf("%-512s", trailer)), 0o644); err != nil {
		s.t.Fatal(err)
	}
	return path
}

package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
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
// hour, with the phase it got to and what its console says.
func TestStalledBoots(t *testing.T) {
	s := newSite(t, "--boot-phase-timeout", "25s")
	for _, tt := range []struct {
		name    string
		prepare func(m *machine)
		within  time.Duration // of the deploy's request
		says    []string
		shows   []string // by billet node why
	}{
		{"kernel-panic", func(m *machine) { m.patch("/driver_info/deploy_ramdisk", s.deadRamdisk()) }, 2 * time.Minute,
			[]string{"Gave up after", "the machine's kernel panicked", "Kernel panic - not syncing"},
			[]string{"whole ramdisk, ", "The serial line, the last ", "Kernel panic - not syncing", "-serial.log"}},
		{"no-dhcp", func(m *machine) { m.unplug() }, 3 * time.Minute,
			[]string{"Gave up after", "said that it cannot go on", "no DHCP request was seen from any of the node's ports", "On its console"},
			[]string{"The serial line, the last ", "-serial.log"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			defer swap(s, t)()
			m := s.machine(tt.name, "--firmware", "bios", "--memory", "384", "--disk", "5G")
			m.available()
			tt.prepare(m)
			m.deploy(imageInfo(t, "grub.qcow2"))
			began := time.Now()
			m.fails(tt.within, tt.says, tt.shows)
			t.Logf("after %.0f s", time.Since(began).Seconds())
			s.lab("destroy", m.name)
		})
	}
}

// fails waits until the node's deploy has failed with a reason and evidence that name the texts.
func (m *machine) fails(within time.Duration, says, shows []string) {
	m.s.t.Helper()
	m.failsAs("deploy failed", within, says, shows)
}

// failsAs is fails for the flow that leads to the given state.
func (m *machine) failsAs(state string, within time.Duration, says, shows []string) {
	t := m.s.t
	t.Helper()
	n := m.arrive(state, within)
	t.Logf("last_error: %s", *n.LastError)
	for _, word := range says {
		if !strings.Contains(*n.LastError, word) {
			t.Errorf("last_error does not name %q: %s", word, *n.LastError)
		}
	}
	why := string(m.s.billet("node", "why", m.uuid))
	for _, word := range append(shows, "Why: "+*n.LastError) {
		if !strings.Contains(why, word) {
			t.Errorf("billet node why does not show %q:\n%s", word, why)
		}
	}
	if strings.Contains(why, m.BMC.Password) {
		t.Errorf("billet node why shows the BMC's password:\n%s", why)
	}
}

// unplug takes the machine's network card off the lab's bridge.
func (m *machine) unplug() {
	m.s.t.Helper()
	out, err := exec.Command("ip", "-n", "billet-"+m.s.name, "link", "set", m.NICs[0].Tap, "nomaster").CombinedOutput()
	if err != nil {
		m.s.t.Fatalf("taking %s off the bridge: %v: %s", m.NICs[0].Tap, err, out)
	}
}

// An agent that looks for the service and does not find it says so on the console, and the reason quotes it: in a
// deploy, and in an inspection, whose agent has no other way to say that its report is not taken.
func TestLongNoRouteFromTheRamdisk(t *testing.T) {
	s := newSite(t, "--boot-phase-timeout", "25s")
	for _, tt := range []struct {
		name, state, says string
		begin             func(m *machine)
	}{
		{"deploy", "deploy failed", "msg=lookup", func(m *machine) {
			m.available()
			m.deploy(imageInfo(t, "grub.qcow2"))
		}},
		{"inspect", "inspect failed", `inspection data not taken`, func(m *machine) {
			m.provision(map[string]any{"target": "manage"})
			m.arrive("manageable", time.Minute)
			m.provision(map[string]any{"target": "inspect"})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			defer swap(s, t)()
			m := s.machine("no-route-"+tt.name, "--firmware", "bios", "--memory", "384", "--disk", "5G")
			tt.begin(m)
			s.eventually(3*time.Minute, "the ramdisk to be loaded", func() (bool, string) {
				why := string(s.billet("node", "why", m.uuid))
				return strings.Contains(why, "whole ramdisk"), why
			})
			m.deafen()
			began := time.Now()
			m.failsAs(tt.state, 4*time.Minute, []string{"Gave up after", "the agent said that it cannot go on",
				"is there a route from there to the API?", "On its console the agent said", tt.says},
				[]string{"dhcp of the ramdisk", "The serial line, the last "})
			t.Logf("after %.0f s without a route", time.Since(began).Seconds())
			s.lab("destroy", m.name)
		})
	}
}

// deafen has this host send what is meant for the machine's address to a card that does not exist: whatever the
// machine asks for over TCP is not answered. DHCP is.
func (m *machine) deafen() {
	t := m.s.t
	t.Helper()
	iface := "billet-" + m.s.name
	out, err := exec.Command("ip", "-o", "neigh", "show", "dev", iface).CombinedOutput()
	if err != nil {
		t.Fatalf("ip neigh: %v: %s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if ip, _, _ := strings.Cut(line, " "); strings.Contains(line, m.NICs[0].MAC) {
			if out, err := exec.Command("ip", "neigh", "replace", ip, "lladdr", "02:00:00:00:00:01", "nud", "permanent", "dev",
				iface).CombinedOutput(); err != nil {
				t.Fatalf("ip neigh replace: %v: %s", err, out)
			}
			return
		}
	}
	t.Fatalf("this host does not know the machine's address: %s", out)
}

// A machine that dies in the middle of writing fails its deploy soon, with what it did last: at once when it is off,
// and within two minutes when it is only silent.
func TestAgentDiesWhileItWrites(t *testing.T) {
	diesWhileItWrites(t, "power", func(s *site, m *machine) { s.lab("power", m.name, "off") },
		"The deploy failed at step deploy.write_image", "the machine is off, as its BMC says", "The agent's last log line")
}

func TestLongAgentLosesNetworkWhileItWrites(t *testing.T) {
	diesWhileItWrites(t, "network", func(_ *site, m *machine) { m.unplug() },
		"The deploy failed at step deploy.write_image", "nobody has listened at the agent's address", `s ago: "level=`)
}

func diesWhileItWrites(t *testing.T, name string, kill func(*site, *machine), says ...string) {
	const within = 2 * time.Minute
	s := newSite(t)
	m := s.machine("dies-"+name, "--firmware", "bios", "--memory", "384", "--disk", "5G")
	m.available()
	info := imageInfo(t, "grub.qcow2")
	begun := make(chan struct{})
	info["image_source"] = s.halfServer(begun) + "/grub.qcow2"
	m.deploy(info)
	select {
	case <-begun:
	case <-time.After(3 * time.Minute):
		t.Fatalf("the image was not asked for; console:\n%s", tail(m.console(), 3000))
	}
	time.Sleep(5 * time.Second) // what the agent said of it has been sent
	kill(s, m)
	began := time.Now()
	m.fails(within+2*time.Minute, says, []string{"deploy.write_image has not ended", "The agent's log, the last ", "-agent.log"})
	if took := time.Since(began); took > within {
		t.Errorf("told after %s, want %s", took, within)
	} else {
		t.Logf("after %.0f s", took.Seconds())
	}
}

// Whoever takes the console during a deploy gets it and keeps it, with the tool people use, and the deploy goes on.
func TestSomebodyTakesTheConsole(t *testing.T) {
	s := newSite(t)
	m := s.machine("console", "--firmware", "bios", "--memory", "384", "--disk", "5G")
	m.available()
	m.deploy(imageInfo(t, "grub.qcow2"))
	why := func() string { return string(s.billet("node", "why", m.uuid)) }
	s.eventually(2*time.Minute, "the serial line to be heard", func() (bool, string) {
		now := why()
		return strings.Contains(now, "iPXE"), now
	})
	ipmitool := fmt.Sprintf("ipmitool -I lanplus -C 17 -H 127.0.0.1 -p %d -U %s -P %s sol ", m.BMC.Port, m.BMC.User, m.BMC.Password)
	if out, err := exec.Command("sh", "-c", ipmitool+"deactivate").CombinedOutput(); err != nil {
		t.Fatalf("ipmitool sol deactivate: %v: %s", err, out)
	}
	seen := filepath.Join(s.dir, "typescript")
	terminal := exec.Command("script", "-qfc", ipmitool+"activate", seen) // ipmitool insists on a terminal
	typed, err := terminal.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := terminal.Start(); err != nil {
		t.Fatal(err)
	}
	defer terminal.Wait()
	defer typed.Close()
	defer terminal.Process.Kill()
	s.eventually(time.Minute, "the note that the console was taken", func() (bool, string) {
		now := why()
		return strings.Contains(now, "somebody else took the console"), now
	})
	m.arrive("active", 4*time.Minute)
	s.eventually(2*time.Minute, "the instance to speak on the console that was taken", func() (bool, string) {
		text, _ := os.ReadFile(seen)
		return strings.Contains(string(text), "BILLET-INSTANCE-UP grub"), tail(text, 2000)
	})
}

// halfServer serves a machine the images' first half and then nothing more, and Billet, which looks at an image
// beforehand, all of it; begun is closed when a machine has got its half.
func (s *site) halfServer(begun chan struct{}) string {
	s.t.Helper()
	l, err := listen(s.ip)
	if err != nil {
		s.t.Fatal(err)
	}
	var once sync.Once
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := filepath.Join(cache, "images", filepath.Base(r.URL.Path))
		image, err := os.ReadFile(path)
		if host, _, _ := net.SplitHostPort(r.RemoteAddr); err != nil || host == s.ip || r.Method == http.MethodHead {
			http.ServeFile(w, r, path)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(image)))
		w.Write(image[:len(image)/2])
		w.(http.Flusher).Flush()
		once.Do(func() { close(begun) })
		<-r.Context().Done()
	})}
	go srv.Serve(l)
	s.t.Cleanup(func() { srv.Close() })
	return "http://" + l.Addr().String()
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

package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// deployed makes a machine with the tiny image on it, up to its login prompt.
func (s *site) deployed(name string, labArgs ...string) *machine {
	s.t.Helper()
	m := s.machine(name, append([]string{"--firmware", "bios", "--memory", "384", "--disk", "5G"}, labArgs...)...)
	m.patch("/properties/capabilities", "boot_mode:bios")
	m.available()
	m.deploy(imageInfo(s.t, "tiny.raw"))
	m.arrive("active", 2*time.Minute)
	m.boots(1)
	return m
}

// boots waits until the instance has come up that many times.
func (m *machine) boots(times int) {
	m.s.t.Helper()
	m.s.eventually(2*time.Minute, m.name+" to start its instance again", func() (bool, string) {
		seen := m.console()
		return bytes.Count(seen, []byte("BILLET-INSTANCE-UP")) >= times, tail(seen, 2000)
	})
}

// says returns the newest history events of the node, newest last.
func (m *machine) history() string {
	m.s.t.Helper()
	var h struct{ History []struct{ Event string } }
	m.s.call("GET", "/v1/nodes/"+m.uuid+"/history/detail", nil, &h, 200)
	var all strings.Builder
	for _, e := range h.History {
		all.WriteString(e.Event + "\n")
	}
	return all.String()
}

// login runs a command on the machine over SSH.
func login(address, user, password, command string) (string, error) {
	c, err := ssh.Dial("tcp", address+":22", &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.Password(password)}, Timeout: 20 * time.Second,
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), // a key of this boot, which nobody can know
	})
	if err != nil {
		return "", err
	}
	defer c.Close()
	session, err := c.NewSession()
	if err != nil {
		return "", err
	}
	defer session.Close()
	out, err := session.CombinedOutput(command)
	return string(out), err
}

// A person logs in to a machine that really runs the rescue ramdisk, sees its disk, and hands it
// back: the instance starts as it was.
func TestRescue(t *testing.T) {
	s := newSite(t)
	m := s.deployed("rescued")
	began := time.Now()
	m.provision(map[string]any{"target": "rescue", "rescue_password": "Rettung 1912!"})
	m.arrive("rescue", 2*time.Minute)
	t.Logf("rescued after %.1f s", time.Since(began).Seconds())
	found := regexp.MustCompile(`at ([0-9.]+)\.\n`).FindStringSubmatch(m.history())
	if found == nil {
		t.Fatalf("the history does not say where to log in:\n%s", m.history())
	}
	if out, err := login(found[1], "rescue", "wrong", "id"); err == nil {
		t.Errorf("a wrong password lets in: %s", out)
	}
	out, err := login(found[1], "rescue", "Rettung 1912!",
		"id -u; ls /bin/vi; head -c 512 /dev/vda | tail -c 2 | hexdump -e '2/1 \"%02x\"'; exit 3")
	if exit, ok := err.(*ssh.ExitError); !ok || exit.ExitStatus() != 3 {
		t.Fatalf("login: %v: %s", err, out)
	}
	if out != "0\n/bin/vi\n55aa" {
		t.Errorf("the commands say %q, want root, the commands and the disk's boot sector", out)
	}
	m.prints(10*time.Second, "rescue login:")

	m.provision(map[string]any{"target": "unrescue"})
	m.arrive("active", time.Minute)
	m.boots(2)
	var n struct {
		InstanceInfo map[string]any `json:"instance_info"`
	}
	s.call("GET", "/v1/nodes/"+m.uuid, nil, &n, 200)
	if _, kept := n.InstanceInfo["hashed_rescue_password"]; kept {
		t.Error("the password's hash is still in instance_info")
	}
}

// A service step runs on an active node in the ramdisk, a hold parks it in the middle, and the
// instance comes back. A second service is aborted while it waits for the ramdisk.
func TestService(t *testing.T) {
	s := newSite(t)
	m := s.deployed("serviced")
	steps := []map[string]any{
		{"interface": "power", "step": "hold"},
		{"interface": "deploy", "step": "list_disks"},
	}
	m.provision(map[string]any{"target": "service", "service_steps": steps})
	m.arriveHeld("service hold", 2*time.Minute)
	m.provision(map[string]any{"target": "unhold"})
	m.arrive("active", 2*time.Minute)
	m.boots(2)
	if h := m.history(); !strings.Contains(h, "Step deploy.list_disks finished") {
		t.Errorf("the agent's step did not run:\n%s", h)
	}

	m.provision(map[string]any{"target": "service", "service_steps": steps[1:]})
	m.arriveHeld("service wait", time.Minute)
	m.provision(map[string]any{"target": "abort"})
	if n := m.arrive("service failed", time.Minute); n.LastError == nil || *n.LastError != "The service was aborted by request." {
		t.Errorf("last_error %v", n.LastError)
	}
	m.boots(3) // the instance goes on by itself
	m.provision(map[string]any{"target": "abort"})
	if n := m.arrive("active", time.Minute); n.LastError != nil {
		t.Errorf("active again, but last_error is %s", *n.LastError)
	}
}

// arriveHeld waits for a state on the way, whose target is not reached yet.
func (m *machine) arriveHeld(state string, within time.Duration) {
	m.s.t.Helper()
	m.s.eventually(within, m.name+" to be "+state, func() (bool, string) {
		n := m.show()
		if strings.HasSuffix(n.State, "failed") {
			m.s.t.Fatalf("%s is %q instead of %q: %v", m.name, n.State, state, *n.LastError)
		}
		return n.State == state, n.State
	})
}

// Abort where the machine is waited for, hold and unhold in a deploy, and a retired node that is not
// offered again.
func TestAbortHoldRetire(t *testing.T) {
	s := newSite(t)
	m := s.machine("aborted", "--firmware", "bios", "--memory", "384", "--disk", "5G")
	m.available()
	m.patch("/instance_info", imageInfo(t, "tiny.raw"))
	m.provision(map[string]any{"target": "active"})
	m.arriveHeld("wait call-back", time.Minute)
	s.version = "1.110" // aborting a deploy is that new
	m.provision(map[string]any{"target": "abort"})
	m.arrive("deploy failed", time.Minute)
	m.provision(map[string]any{"target": "deleted"})
	m.arrive("available", time.Minute)

	m.patch("/instance_info", imageInfo(t, "tiny.raw"))
	m.provision(map[string]any{"target": "active", "deploy_steps": []map[string]any{{"interface": "power", "step": "hold", "priority": 70}}})
	m.arriveHeld("deploy hold", 2*time.Minute)
	m.provision(map[string]any{"target": "unhold"})
	m.arrive("active", time.Minute)
	m.boots(1)

	m.patch("/protected", true)
	s.call("PUT", "/v1/nodes/"+m.uuid+"/states/provision", map[string]any{"target": "deleted"}, nil, 403)
	m.patch("/protected", false)
	m.patch("/retired", true)
	m.provision(map[string]any{"target": "deleted"})
	m.arrive("manageable", time.Minute)
	s.call("PUT", "/v1/nodes/"+m.uuid+"/states/provision", map[string]any{"target": "provide"}, nil, 400)
	m.provision(map[string]any{"target": "clean", "clean_steps": []map[string]any{{"interface": "deploy", "step": "erase_devices_metadata"}}})
	m.arriveHeld("clean wait", time.Minute)
	m.provision(map[string]any{"target": "abort"})
	m.arrive("clean failed", time.Minute)
}

// An instance that lives in memory boots the user's own kernel and ramdisk at every start, and the
// disk stays as it was.
func TestRamdiskDeploy(t *testing.T) {
	s := newSite(t)
	m := s.machine("diskless", "--firmware", "bios", "--memory", "384", "--disk", "5G")
	m.patch("/deploy_interface", "ramdisk")
	m.available()
	info := map[string]any{"ramdisk_kernel_arguments": "console=ttyS0 quiet billet-diskless"}
	for key, file := range map[string]string{"kernel": "vmlinuz", "ramdisk": "initramfs"} {
		path := filepath.Join(s.dir, file)
		b, err := os.ReadFile(filepath.Join(cache, "ramdisk", file))
		if err == nil {
			err = os.WriteFile(path, b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		info[key] = "file://" + path
	}
	m.patch("/instance_info", map[string]any{"kernel": "file:///etc/passwd", "ramdisk": info["ramdisk"]})
	s.call("PUT", "/v1/nodes/"+m.uuid+"/states/provision", map[string]any{"target": "active"}, nil, 400)
	m.patch("/instance_info", info)
	m.provision(map[string]any{"target": "active"})
	m.arrive("active", time.Minute)
	// The ramdisk is the agent's, without its parameters: it says so, as an instance would say hello.
	hello := []byte("kernel parameter ipa-api-url is missing")
	for n := range 2 {
		if n > 0 {
			s.call("PUT", "/v1/nodes/"+m.uuid+"/states/power", map[string]any{"target": "rebooting"}, nil, 202)
		}
		seen := bytes.Count(m.console(), hello)
		s.eventually(2*time.Minute, "the instance to start from memory", func() (bool, string) {
			return bytes.Count(m.console(), hello) > seen || n == 0 && seen > 0, tail(m.console(), 1500)
		})
	}
	m.provision(map[string]any{"target": "deleted"})
	m.arrive("available", time.Minute)
}

// A rebuild writes another image over the instance; a machine that runs an instance already is adopted
// without a reboot; what fails on a machine leaves its logs behind.
func TestLongRebuildAdoptLogs(t *testing.T) {
	s := newSite(t)
	m := s.deployed("rebuilt")
	m.patch("/instance_info", imageInfo(t, "grub.qcow2"))
	m.provision(map[string]any{"target": "rebuild"})
	m.arrive("active", 2*time.Minute)
	m.prints(time.Minute, "BILLET-INSTANCE-UP grub")

	m.patch("/maintenance", true)
	s.call("DELETE", "/v1/nodes/"+m.uuid, nil, nil, 204) // forgets the node, not the machine
	boots := bytes.Count(m.console(), []byte("BILLET-INSTANCE-UP"))
	m.uuid = m.enrol()
	m.provision(map[string]any{"target": "manage"})
	m.arrive("manageable", time.Minute)
	m.patch("/instance_info", imageInfo(t, "grub.qcow2"))
	m.provision(map[string]any{"target": "adopt"})
	if n := m.arrive("active", time.Minute); n.Power == nil || *n.Power != "power on" {
		t.Errorf("adopted with power %v", n.Power)
	}
	if now := bytes.Count(m.console(), []byte("BILLET-INSTANCE-UP")); now != boots {
		t.Errorf("the adoption booted the machine: %d starts, then %d", boots, now)
	}

	info := imageInfo(t, "grub.qcow2")
	info["root_device"] = map[string]any{"serial": "not-this-one"}
	m.patch("/instance_info", info)
	m.provision(map[string]any{"target": "rebuild"})
	m.arrive("deploy failed", 2*time.Minute)
	kept, err := filepath.Glob(filepath.Join(s.dir, "data", "deploy-logs", m.uuid+"-*.tar.gz"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("logs kept: %q, %v", kept, err)
	}
	out, err := exec.Command("tar", "-xzOf", kept[0], "agent.log").CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("not-this-one")) {
		t.Errorf("%v: the agent's log does not name the cause: %s", err, tail(out, 2000))
	}
	if why, err := s.try("node", "why", m.uuid); err != nil || !bytes.Contains(why, []byte(kept[0])) {
		t.Errorf("billet node why does not name %s: %v\n%s", kept[0], err, why)
	}
}

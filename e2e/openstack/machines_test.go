package openstack

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/billet-metal/billet/compat/cloud"
)

// machine is a virtual machine of the lab and its node.
type machine struct {
	s          *stage
	name, uuid string
	NICs       []struct{ MAC string }
	BMC        struct {
		Port           int
		User, Password string
	}
	Serial string `json:"serial_log"`
}

// machine makes a virtual machine and enrols it with the openstack command, as an operator does. It is cleaned, so that its first
// boot is over Neutron's DHCP, and the scheduler knows it when machine returns.
func (s *stage) machine(name, class string, labArgs, nodeArgs []string) *machine {
	s.t.Helper()
	m := &machine{s: s, name: name}
	if err := json.Unmarshal([]byte(s.lab(append([]string{"create", name, "--disk", "5G"}, labArgs...)...)), m); err != nil {
		s.t.Fatal(err)
	}
	s.root.Cleanup(func() {
		if s.root.Failed() {
			s.root.Logf("the console of %s:\n%s", name, m.console())
		}
	})
	m.uuid = s.MustOpenStack("admin", append([]string{"baremetal", "node", "create", "--name", name, "--driver", "ipmi",
		"--resource-class", class, "--network-interface", "flat",
		"--driver-info", "ipmi_address=127.0.0.1", "--driver-info", fmt.Sprint("ipmi_port=", m.BMC.Port),
		"--driver-info", "ipmi_username=" + m.BMC.User, "--driver-info", "ipmi_password=" + m.BMC.Password,
		"--property", "cpus=1", "--property", "memory_mb=1024", "--property", "local_gb=4", "--property", "cpu_arch=x86_64",
		"-f", "value", "-c", "uuid"}, nodeArgs...)...)
	link := cloud.LocalLink("")
	s.MustOpenStack("admin", "baremetal", "port", "create", "--node", m.uuid, "--physical-network", "prov",
		"--local-link-connection", "switch_id="+link["switch_id"], "--local-link-connection", "port_id="+link["port_id"],
		"--local-link-connection", "switch_info="+link["switch_info"], m.NICs[0].MAC)
	s.step(name+" enrolled and cleaned", func() { s.provide(m.uuid) })
	s.offered(class, m.uuid)
	return m
}

// discard takes a machine out of cloud and lab.
func (m *machine) discard() {
	m.s.t.Helper()
	m.s.retire(m.uuid)
	m.s.lab("destroy", m.name)
}

// console is the end of what the machine said on its serial line.
func (m *machine) console() string {
	b, _ := os.ReadFile(m.Serial)
	return string(b[max(0, len(b)-3000):])
}

// debian uploads the image of which Debian's own cloud-init sets an instance up.
func (s *stage) debian() (id string) {
	s.t.Helper()
	s.step("image debian", func() { id = s.upload("debian", "qcow2", filepath.Join(s.cache, "images", "debian-cloud.qcow2")) })
	return id
}

// guest is a server that SSH reaches with Nova's key pair, at the address that Neutron gave.
type guest struct {
	*machine
	id, address string
}

// guestOf finds the address of a server, and checks that it is this machine's.
func (m *machine) guestOf(v server) *guest {
	m.s.t.Helper()
	n := m.s.node(m.uuid)
	if v.Node != m.uuid || n.Instance != v.ID {
		m.s.t.Fatalf("server %s is on node %s; %s has instance %s", v.ID, v.Node, m.name, n.Instance)
	}
	if len(v.Addresses["prov"]) != 1 || v.Addresses["prov"][0].MAC != m.NICs[0].MAC {
		m.s.t.Fatalf("server %s has the addresses %+v, the machine %s", v.ID, v.Addresses, m.NICs[0].MAC)
	}
	return &guest{m, v.ID, v.Addresses["prov"][0].Addr}
}

func (g *guest) ssh(command string) (string, error) {
	out, err := exec.Command("ssh", "-i", filepath.Join(g.s.dir, "key"), "-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=/dev/null",
		"-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=60", "debian@"+g.address, command).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// answers waits until a command succeeds in the instance, and returns what it prints.
func (g *guest) answers(command string) (said string) {
	g.s.t.Helper()
	g.s.until(15*time.Minute, g.name+" to answer by SSH at "+g.address, func() (bool, string) {
		out, err := g.ssh(command)
		said = out
		return err == nil, fmt.Sprintf("%v: %s\nconsole:\n%s", err, out, g.console())
	})
	return said
}

// A server on a machine that boots: Neutron's DHCP serves ramdisk and instance, Glance the image; its owner logs in with the key
// that Nova has, at the address that Neutron gave; when it is deleted the machine is cleaned and offered again.
func life(s *stage) {
	image := s.debian()
	s.flavor("metal", "metal", nil)
	m := s.machine("iron", "metal", []string{"--firmware", "bios", "--memory", "1024"}, nil)
	var g *guest
	s.step("server create until ACTIVE", func() {
		id := s.create("web1", "metal", "--image", image)
		g = m.guestOf(s.becomes(id, "ACTIVE", 15*time.Minute))
	})
	s.step("SSH with the key of Nova", func() { g.answers("true") })
	s.step("cloud-init has applied the config drive", func() {
		if out := g.answers("cloud-init status --wait --long; hostname"); !strings.Contains(out, "status: done") ||
			!strings.Contains(out, "DataSourceConfigDrive") || !strings.HasSuffix(out, "web1") {
			s.t.Errorf("cloud-init says %s", out)
		}
	})
	s.step("delete, with cleaning", func() {
		s.vanish(g.id)
		s.undone(m.uuid)
	})
	m.discard()
}

package openstack

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// What a user does to a running server on a machine that boots: each reaches the machine, and Nova says so. The tiny image tells its
// serial line of each of its starts.
func changes(s *stage) {
	image := s.upload("tiny", "raw", filepath.Join(s.cache, "images", "tiny.raw"))
	s.flavor("tin", "tin", nil)
	m := s.machine("tin", "tin", []string{"--firmware", "bios", "--memory", "512"}, nil)
	var g *guest
	s.step("server create", func() {
		g = m.guestOf(s.becomes(s.create("tin1", "tin", "--image", image), "ACTIVE", 10*time.Minute))
		m.started(1)
	})
	s.step("reboot --hard", func() { g.does("ACTIVE", "reboot", "--hard"); m.started(2) })
	s.step("stop", func() {
		g.does("SHUTOFF", "stop") // the image does not listen, so Nova waits a minute
		if power := s.node(m.uuid).Power; power != "power off" {
			s.t.Errorf("after the stop the machine is %q", power)
		}
	})
	s.step("start", func() { g.does("ACTIVE", "start"); m.started(3) })
	s.step("rescue", g.rescued)
	s.step("unrescue", func() { g.does("ACTIVE", "unrescue"); m.started(4) })
	g.ends(image, 5)
	m.discard()
}

// ends builds a server anew, its instance's start number times, and deletes it. From 2.93 on a rebuild asks Nova's driver for volumes to
// be written anew, which it refuses, whether there are any or not; the command takes the newest.
func (g *guest) ends(image string, times int) {
	s := g.s
	s.t.Helper()
	s.step("rebuild", func() {
		s.as("--os-compute-api-version", "2.92", "server", "rebuild", "--image", image, g.id)
		g.guestOf(s.becomes(g.id, "ACTIVE", 10*time.Minute))
		g.started(times)
	})
	s.step("delete, with cleaning", func() {
		s.vanish(g.id)
		s.undone(g.uuid)
	})
}

// does runs a command of the server, and waits for what becomes of it.
func (g *guest) does(status, command string, args ...string) {
	g.s.t.Helper()
	g.s.as(append(append([]string{"server", command}, args...), g.id)...)
	g.s.becomes(g.id, status, 10*time.Minute)
}

// started waits until the tiny image has started so often.
func (m *machine) started(times int) {
	m.s.t.Helper()
	m.s.until(5*time.Minute, fmt.Sprintf("start %d of the instance", times), func() (bool, string) {
		b, err := os.ReadFile(m.Serial)
		n := bytes.Count(b, []byte("BILLET-INSTANCE-UP tiny"))
		if n > times {
			m.s.t.Errorf("the instance has started %d times, want %d", n, times)
		}
		return n >= times, fmt.Sprintf("%d starts, %v; console:\n%s", n, err, m.console())
	})
}

// rescued asks for the rescue ramdisk and logs in to it.
func (g *guest) rescued() {
	g.s.t.Helper()
	g.does("RESCUE", "rescue", "--password", "Rettung1912")
	said := ""
	g.s.until(2*time.Minute, "the rescue ramdisk to answer at "+g.address, func() (bool, string) {
		out, err := login(g.address, "rescue", "Rettung1912", "id -u")
		said = out
		return err == nil, fmt.Sprintf("%v %s\n%s", err, out, g.console())
	})
	if strings.TrimSpace(said) != "0" {
		g.s.t.Errorf("in the rescue ramdisk id says %q", said)
	}
}

// login runs a command on a machine over SSH with a password.
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

package e2e

import (
	"bytes"
	"encoding/base64"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	services "github.com/billet-metal/billet/compat/cloud"
)

// A machine's agent reads a large config drive from the real Swift by a temporary URL, and its instance has the name that is on it.
// The object lies there for as long as the instance lives, and its URL stands nowhere.
func TestLongConfigDriveInSwift(t *testing.T) {
	venv := services.Venv(t)
	s := newSite(t)
	c := services.New(t, venv, "http://"+s.listen)
	c.Start("db", "keystone", "swift")
	s.stop(syscall.SIGTERM)
	s.flags = append(s.flags, "--openstack-auth-url", c.AuthURL(), "--openstack-username", "nova", "--openstack-password", services.Password,
		"--openstack-interface", "public", "--neutron=false", "--configdrive-use-object-store=true",
		"--swift-temp-url-endpoint", "http://"+s.relay(strings.TrimPrefix(c.URL("swift"), "http://")))
	s.start()
	objects := func() []string {
		out, err := c.OpenStack("nova", "object", "list", "ironic_configdrive_container", "-f", "value")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(out)
	}

	m := s.machine("large", "--firmware", "bios", "--memory", "384", "--disk", "5G")
	m.patch("/properties/capabilities", "boot_mode:bios")
	m.available()
	random := make([]byte, 200<<10)
	for i := range random {
		random[i] = byte(rand.N(256))
	}
	m.patch("/instance_info", imageInfo(t, "tiny.raw"))
	m.provision(map[string]any{"target": "active", "configdrive": map[string]any{
		"meta_data": map[string]any{"hostname": "from-swift"},
		"user_data": "#!/bin/sh\n# " + base64.StdEncoding.EncodeToString(random) + "\n",
	}})
	m.arrive("active", 15*time.Minute)
	m.boots(1)
	m.prints(2*time.Minute, "hostname: from-swift")
	if there := objects(); len(there) != 1 || !strings.HasPrefix(there[0], m.uuid+"-") {
		t.Errorf("in Swift are %v", there)
	}
	var shown map[string]any
	s.call("GET", "/v1/nodes/"+m.uuid, nil, &shown, 200)
	if drive := shown["instance_info"].(map[string]any)["configdrive"]; drive != "******" {
		t.Errorf("the node shows its config drive as %v", drive)
	}
	m.provision(map[string]any{"target": "deleted"})
	m.arrive("available", 5*time.Minute)
	if there := objects(); len(there) > 0 {
		t.Errorf("after the end of the instance, in Swift are %v", there)
	}
	log, err := os.ReadFile(filepath.Join(s.dir, "serve.log"))
	if err != nil || !bytes.Contains(log, []byte("is kept in the object store")) || bytes.Contains(log, []byte("temp_url_sig=")) ||
		strings.Contains(m.history(), "temp_url_sig=") {
		t.Errorf("%v; a URL stands in the log or in the history", err)
	}
}

// relay lets the lab's machines reach a service of this host's loopback, and returns where.
func (s *site) relay(to string) string {
	s.t.Helper()
	l, err := net.Listen("tcp", s.ip+":0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer in.Close()
				out, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer out.Close()
				go func() { _, _ = io.Copy(out, in) }()
				_, _ = io.Copy(in, out)
			}()
		}
	}()
	return l.Addr().String()
}

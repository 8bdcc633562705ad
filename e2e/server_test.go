package e2e

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// servers runs `billet server …` and returns the server that it prints.
func (s *site) servers(args ...string) (v struct {
	UUID, Name, State string
	Addresses         []string
}) {
	s.t.Helper()
	if err := json.Unmarshal(s.billet(append([]string{"server", "-o", "json"}, args...)...), &v); err != nil {
		s.t.Fatal(err)
	}
	return v
}

// `billet server create` chooses the one machine of a class and deploys Debian to it. The address that it prints is where SSH
// answers, with the key and under the name that it was given; cloud-init has the allocation's UUID for its instance's. Then the
// server is rebuilt with another image on the same machine, and deleted, and the machine is another's.
func TestLongServer(t *testing.T) {
	s := newSite(t)
	c := s.cloudMachine("rack1")
	c.patch("/resource_class", "bm")
	other := s.machine("rack2", "--memory", "384", "--disk", "5G")
	other.patch("/resource_class", "other")
	other.available()
	script := filepath.Join(s.dir, "user-data")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho was-here > /var/marker\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	image := imageInfo(t, "debian-cloud.qcow2")
	began := time.Now()
	v := s.servers("create", "web", "--image", image["image_source"].(string), "--checksum", image["image_os_hash_value"].(string),
		"--resource-class", "bm", "--key", c.key+".pub", "--user-data", script, "--wait")
	active := time.Since(began)
	if v.State != "active" || len(v.Addresses) != 1 {
		t.Fatalf("%+v", v)
	}
	c.address = v.Addresses[0]
	c.answers()
	t.Logf("active after %s, answers after %s", active, time.Since(began))
	c.says(map[string]string{"hostname": "web", "cat /var/marker": "was-here", "sudo cat /var/lib/cloud/data/instance-id": v.UUID})

	tiny := imageInfo(t, "tiny.raw")
	again := s.servers("rebuild", "web", "--image", tiny["image_source"].(string), "--checksum", tiny["image_os_hash_value"].(string),
		"--wait")
	if again.UUID != v.UUID || again.State != "active" {
		t.Errorf("%+v", again)
	}
	c.prints(3*time.Minute, "web login:", " (DHCP)") // its own config drive once more

	s.billet("server", "delete", "web", "--wait")
	c.arrive("available", time.Minute)

	// The next one is told its address.
	ip := netip.MustParseAddr(s.ip).As4()
	ip[3] = 77
	told := netip.AddrFrom4(ip).String()
	v = s.servers("create", "db", "--image", tiny["image_source"].(string), "--resource-class", "bm", "--address", told+"/24", "--wait")
	if len(v.Addresses) != 1 || v.Addresses[0] != told {
		t.Errorf("%+v", v)
	}
	c.prints(3*time.Minute, "db login:", told)
	s.billet("server", "delete", "db")
	if n := other.show(); n.State != "available" {
		t.Errorf("the other machine is %s", n.State)
	}
}

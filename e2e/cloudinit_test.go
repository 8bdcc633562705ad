package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// cloud is a machine that Debian's own cloud-init sets up, and the key that opens it.
type cloud struct {
	*machine
	key     string // file with the private key
	address string // of the instance
}

// cloudMachine is an available machine for the image debian-cloud, with a key that nobody else has.
func (s *site) cloudMachine(name string, labArgs ...string) *cloud {
	s.t.Helper()
	s.lab("image", "debian-cloud", "--out", filepath.Join(cache, "images"))
	c := &cloud{machine: s.machine(name, append([]string{"--memory", "1024", "--disk", "5G"}, labArgs...)...),
		key: filepath.Join(s.dir, name+".key")}
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", c.key).CombinedOutput(); err != nil {
		s.t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
	c.available()
	return c
}

// ssh runs a command in the instance.
func (c *cloud) ssh(command string) (string, error) {
	out, err := exec.Command("ssh", "-i", c.key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes",
		"-o", "LogLevel=ERROR", "-o", "ConnectTimeout=60", "debian@"+c.address, command).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// answers waits until the instance can be reached by SSH, which is all that a user of it wants, and
// cloud-init says that it is done.
func (c *cloud) answers() {
	t := c.s.t
	t.Helper()
	c.s.eventually(15*time.Minute, c.name+" to answer by SSH at "+c.address, func() (bool, string) {
		out, err := c.ssh("true")
		return err == nil, fmt.Sprintf("%v: %s\nconsole:\n%s", err, out, tail(c.console(), 3000))
	})
	if out, err := c.ssh("cloud-init status --wait --long"); err != nil || !strings.Contains(out, "status: done") ||
		!strings.Contains(out, "DataSourceConfigDrive") {
		t.Errorf("cloud-init: %v: %s", err, out)
	}
}

// says compares what commands print in the instance.
func (c *cloud) says(want map[string]string) {
	c.s.t.Helper()
	for command, text := range want {
		if out, err := c.ssh(command); err != nil || out != text {
			c.s.t.Errorf("%s: %q %v, want %q", command, out, err, text)
		}
	}
}

// Without network data Debian's cloud-init asks DHCP: the machine that `billet node deploy` made of a
// host name, a key and a script is reached by SSH. Its root partition has grown up to the config drive.
func TestLongCloudInitByDHCP(t *testing.T) {
	s := newSite(t)
	c := s.cloudMachine("cloud-dhcp")
	script := filepath.Join(s.dir, "user-data")
	text := "#!/bin/sh\necho was-here > /var/marker\n" +
		"echo \"ADDRESS=$(ip -4 -o addr show scope global | sed 's/.* inet //; s,/.*,,')=\" > /dev/ttyS0\n"
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c.patch("/instance_info", imageInfo(t, "debian-cloud.qcow2"))
	s.billet("node", "deploy", c.uuid, "--hostname", "web-1.example.org", "--ssh-key", c.key+".pub", "--user-data", script)
	began := time.Now()
	c.arrive("active", 12*time.Minute)
	active := time.Since(began)
	c.prints(15*time.Minute, "ADDRESS=")
	found := regexp.MustCompile(`ADDRESS=([0-9.]*)=`).FindSubmatch(c.console())
	if found == nil || len(found[1]) == 0 {
		t.Fatalf("the instance has no address: %s", tail(c.console(), 3000))
	}
	c.address = string(found[1])
	c.answers()
	t.Logf("active after %s, answers after %s", active, time.Since(began))
	c.says(map[string]string{
		"hostname": "web-1", "hostname -f": "web-1.example.org", "cat /var/marker": "was-here",
		"sudo blkid -s TYPE -o value -t LABEL=config-2":                "iso9660",
		"sudo grep -c dhcp4 /etc/netplan/50-cloud-init.yaml":           "1",
		"test $(findmnt -bno SIZE /) -gt 4000000000 && echo has grown": "has grown",
	})
}

// With network data the instance has the address that they give and no other; a cloud-config as user
// data and another as vendor data are applied. The drive is read on UEFI as well.
func TestLongCloudInitByNetworkData(t *testing.T) {
	s := newSite(t)
	c := s.cloudMachine("cloud-static", "--firmware", "uefi")
	c.patch("/properties/capabilities", "boot_mode:uefi")
	public, err := os.ReadFile(c.key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	c.address = strings.TrimSuffix(s.ip, ".1") + ".251"
	c.patch("/instance_info", imageInfo(t, "debian-cloud.qcow2"))
	c.provision(map[string]any{"target": "active", "configdrive": map[string]any{
		"meta_data": map[string]any{"hostname": "db-1", "public_keys": map[string]any{"k": string(public)}},
		"network_data": map[string]any{
			"links": []any{map[string]any{"id": "nic0", "type": "phy", "ethernet_mac_address": c.NICs[0].MAC, "mtu": 1400}},
			"networks": []any{map[string]any{"id": "n0", "link": "nic0", "type": "ipv4", "ip_address": c.address, "netmask": "255.255.255.0",
				"routes": []any{map[string]any{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": s.ip}}}},
			"services": []any{map[string]any{"type": "dns", "address": "192.0.2.53"}},
		},
		"user_data":   "#cloud-config\nwrite_files:\n- {path: /var/from-user, content: user}\nruncmd:\n- [touch, /var/has-run]\n",
		"vendor_data": map[string]any{"cloud-init": "#cloud-config\nbootcmd:\n- [touch, /var/from-vendor]\n"},
	}})
	c.arrive("active", 12*time.Minute)
	c.answers()
	c.says(map[string]string{
		"hostname": "db-1", "cat /var/from-user": "user", "ls /var/has-run": "/var/has-run",
		"ip -4 -o addr show scope global | wc -l": "1", "ip -o link | grep -c 'mtu 1400'": "1",
		"ip route show default | cut -d' ' -f3": s.ip,
		"ls /var/from-vendor":                   "/var/from-vendor",
	})
}

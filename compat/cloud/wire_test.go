package cloud_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/compat/cloud"
)

// A port of the switch is on the VLAN of its port of Neutron's, and on no other; on a flat network is who is on a joined bridge. The
// machines are network namespaces, their DHCP client is busybox's.
func TestSwitchOfTheRealNeutron(t *testing.T) {
	c := cloud.Shared(t, "db", "bus", "keystone", "switch", "neutron", "dhcp")
	flatNetwork(t, c)
	vlanNetwork(t, c)
}

func flatNetwork(t *testing.T, c *cloud.Cloud) {
	lab := namespace(t)
	run(t, "ip", "-n", lab, "link", "add", "br0", "type", "bridge")
	run(t, "ip", "-n", lab, "link", "set", "br0", "up")
	c.Join(lab, "br0")
	m := newMachine(t, "52:54:00:98:00:01")
	run(t, "ip", "link", "set", m.outside, "netns", lab)
	run(t, "ip", "-n", lab, "link", "set", m.outside, "master", "br0", "up")
	network := c.Network(cloud.Network{Name: "flat", CIDR: "10.98.0.0/24"})
	port := bound(t, c, network, m.mac, cloud.LocalLink(""))
	m.leases(t, "10.98.0.1")
	c.Neutron("DELETE", "/ports/"+port, nil, nil)
	c.Neutron("DELETE", "/networks/"+network, nil, nil) // there can be one
}

func vlanNetwork(t *testing.T, c *cloud.Cloud) {
	m := newMachine(t, "52:54:00:98:00:02")
	c.Plug(m.outside, cloud.Parked)
	c.Access(120, "10.97.20.1/24")
	var networks []string
	for _, vlan := range []int{120, 130} {
		n := cloud.Network{Name: fmt.Sprint("vlan", vlan), VLAN: vlan, CIDR: fmt.Sprintf("10.97.%d.0/24", vlan-100)}
		networks = append(networks, c.Network(n))
	}
	for i, want := range []struct {
		vlan      int
		reaches   bool // the address that this host has on VLAN 120
		addressed string
	}{{120, true, "10.97.20.1"}, {130, false, "10.97.30.1"}} {
		port := bound(t, c, networks[i], m.mac, cloud.LocalLink(m.outside))
		if got := c.VLAN(m.outside); got != want.vlan {
			t.Errorf("the port is on VLAN %d, not %d", got, want.vlan)
		}
		m.leases(t, want.addressed)
		m.reaches(t, want.reaches)
		c.Neutron("DELETE", "/ports/"+port, nil, nil)
		if got := c.VLAN(m.outside); got != cloud.Parked {
			t.Errorf("unbound, the port is on VLAN %d", got)
		}
	}
}

// bound makes a port of Neutron's for a machine's card, and returns when it is active.
func bound(t *testing.T, c *cloud.Cloud, network, mac string, link map[string]string) (id string) {
	made := map[string]struct{ ID, Status string }{}
	c.Neutron("POST", "/ports", map[string]any{"port": map[string]any{
		"network_id": network, "mac_address": mac, "binding:vnic_type": "baremetal", "binding:host_id": "any", "device_owner": "baremetal:none",
		"binding:profile": map[string]any{"local_link_information": []any{link}},
	}}, &made)
	id = made["port"].ID
	for end := time.Now().Add(10 * time.Minute); made["port"].Status != "ACTIVE"; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the port is %+v", made["port"])
		}
		c.Neutron("GET", "/ports/"+id, nil, &made)
	}
	return id
}

// machine is a network namespace with one card, whose cable ends outside.
type machine struct{ namespace, mac, outside string }

func newMachine(t *testing.T, mac string) machine {
	m := machine{namespace: namespace(t), mac: mac, outside: fmt.Sprintf("m%d%s", os.Getpid()%100000, mac[15:])}
	run(t, "ip", "link", "add", m.outside, "type", "veth", "peer", "name", "eth0", "address", mac, "netns", m.namespace)
	run(t, "ip", "-n", m.namespace, "link", "set", "eth0", "up")
	run(t, "ip", "link", "set", m.outside, "up")
	return m
}

// leases asks for an address by DHCP, takes it, and reports an address that does not begin as wanted.
func (m machine) leases(t *testing.T, begins string) {
	t.Helper()
	run(t, "ip", "-n", m.namespace, "addr", "flush", "dev", "eth0")
	out, err := exec.Command("ip", "netns", "exec", m.namespace, "busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "10",
		"-s", "/bin/true").CombinedOutput()
	_, rest, found := strings.Cut(string(out), "lease of ")
	if err != nil || !found || !strings.HasPrefix(rest, begins) {
		t.Fatalf("%v %s", err, out)
	}
	address, _, _ := strings.Cut(rest, " ")
	// Wide: nothing but the switch keeps it from the other network.
	run(t, "ip", "-n", m.namespace, "addr", "add", address+"/16", "dev", "eth0")
}

func (m machine) reaches(t *testing.T, want bool) {
	t.Helper()
	out, err := exec.Command("ip", "netns", "exec", m.namespace, "busybox", "ping", "-c", "3", "-W", "2", "10.97.20.1").CombinedOutput()
	if got := err == nil; got != want {
		t.Errorf("it reaches VLAN 120: %v, want %v: %s", got, want, out)
	}
}

var namespaces int

func namespace(t *testing.T) string {
	namespaces++
	name := fmt.Sprintf("cloud%d-%d", os.Getpid(), namespaces)
	run(t, "ip", "netns", "add", name)
	t.Cleanup(func() { run(t, "ip", "netns", "del", name) })
	return name
}

func run(t *testing.T, command string, args ...string) {
	t.Helper()
	if out, err := exec.Command(command, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v %s", command, strings.Join(args, " "), err, out)
	}
}

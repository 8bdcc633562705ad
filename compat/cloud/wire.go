package cloud

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// Join lays a wire from the switch to a bridge in another network namespace, such as br0 of a lab: whoever is on that bridge is on the
// flat networks of the physical network "prov". It returns the wire's name, which is a port of the switch. The wire goes with the cloud,
// also when the test is killed. The service "switch" must run.
func (c *Cloud) Join(namespace, bridge string) (port string) {
	c.t.Helper()
	port = c.newWire()
	inside := port + "i"
	ip(c, "link", "add", port, "type", "veth", "peer", "name", inside, "netns", namespace)
	ip(c, "-n", namespace, "link", "set", inside, "master", bridge, "up")
	ip(c, "link", "set", port, "up")
	c.Plug(port, 0)
	return port
}

// Access gives this host an address in a VLAN: an interface of its own, which is a port of the switch. It goes with the cloud.
func (c *Cloud) Access(vlan int, cidr string) (port string) {
	c.t.Helper()
	port = c.newWire()
	c.mustVSwitch("add-port", c.Bridge, port, fmt.Sprint("tag=", vlan), "--", "set", "interface", port, "type=internal")
	ip(c, "addr", "add", cidr, "dev", port)
	ip(c, "link", "set", port, "up")
	return port
}

// newWire is the name of an interface that ends with the cloud. What has it already was left by a killed run, for the number in it is
// that of a port that this cloud holds.
func (c *Cloud) newWire() string {
	name := fmt.Sprintf("os%d-%d", c.base, len(c.wires))
	_ = exec.Command("ip", "link", "del", name).Run()
	c.wires = append(c.wires, name)
	c.write("", "run", name+".wire")
	return name
}

func (c *Cloud) endWires() {
	for _, name := range c.wires {
		_ = exec.Command("ip", "link", "del", name).Run() // its other namespace may have taken it along
	}
}

func ip(c *Cloud, args ...string) {
	c.t.Helper()
	c.once(nil, "ip", args...)
}

// Parked is the VLAN of a switch port that no port of Neutron is bound to. Nobody else is there.
const Parked = 99

// Plug puts an interface into the switch, on a VLAN. On VLAN 0 it carries all of them, as a link between switches does.
func (c *Cloud) Plug(port string, vlan int) {
	c.t.Helper()
	args := []string{"--may-exist", "add-port", c.Bridge, port}
	if vlan != 0 {
		args = append(args, fmt.Sprint("tag=", vlan), "vlan_mode=access")
	}
	c.mustVSwitch(args...)
}

// Unplug pulls an interface out of the switch.
func (c *Cloud) Unplug(port string) {
	c.t.Helper()
	c.mustVSwitch("--if-exists", "del-port", c.Bridge, port)
}

// VLAN is what the switch says of a port: its VLAN, 0 for none.
func (c *Cloud) VLAN(port string) int {
	c.t.Helper()
	out, err := c.VSwitch("get", "port", port, "tag")
	if err != nil {
		c.t.Fatalf("the VLAN of port %s: %v %s", port, err, out)
	}
	n, _ := strconv.Atoi(out) // "[]": none
	return n
}

// LocalLink is the local_link_connection of a machine's port whose cable ends in a port of the switch: by it Neutron's driver sets the
// VLAN. With port "" it names the switch that only takes note of what it is told: for machines on a wire of Join.
func LocalLink(port string) map[string]string {
	if port == "" {
		return map[string]string{"switch_id": "00:00:00:00:00:00", "switch_info": "noted", "port_id": "any"}
	}
	return map[string]string{"switch_id": "00:00:00:00:00:01", "switch_info": "ovs", "port_id": port}
}

// Network is a provider network on the physical network "prov", with one subnet.
type Network struct {
	Name    string
	VLAN    int    // 0: flat; there can be one
	CIDR    string // IPv4, 24 bits; Neutron gives the addresses from 100 to 199
	Gateway string // "": none
}

// Network makes a network that every project may use, and returns its ID.
func (c *Cloud) Network(n Network) (id string) {
	c.t.Helper()
	network := section{
		"name": n.Name, "shared": true, "provider:network_type": "flat", "provider:physical_network": "prov", "port_security_enabled": false,
	}
	if n.VLAN != 0 {
		network["provider:network_type"], network["provider:segmentation_id"] = "vlan", n.VLAN
	}
	made := map[string]struct{ ID string }{}
	c.Neutron("POST", "/networks", section{"network": network}, &made)
	id = made["network"].ID
	start := strings.TrimSuffix(n.CIDR, "0/24")
	var gateway any
	if n.Gateway != "" {
		gateway = n.Gateway
	}
	c.Neutron("POST", "/subnets", section{"subnet": section{
		"name": n.Name, "network_id": id, "ip_version": 4, "cidr": n.CIDR, "gateway_ip": gateway,
		"allocation_pools": []section{{"start": start + "100", "end": start + "199"}},
	}}, nil)
	return id
}

// Neutron asks Neutron's API as a service, for nobody else may bind ports; path begins below /v2.0. A refusal ends the test.
func (c *Cloud) Neutron(method, path string, in, out any) {
	c.t.Helper()
	if c.neutron == nil {
		c.neutron = c.speaker("neutron")
		c.neutron.url = c.URL("neutron") + "/v2.0"
	}
	c.neutron.do(method, path, in, out)
}

// Mirror is an interface at which every frame of a VLAN comes out that the switch handles, whichever ports it goes between.
func (c *Cloud) Mirror(vlan int) (port string) {
	c.t.Helper()
	port = c.newWire()
	c.mustVSwitch("add-port", c.Bridge, port, "--", "set", "interface", port, "type=internal", "--", "--id=@p", "get", "port", port,
		"--", "--id=@m", "create", "mirror", "name="+port, "select-all=true", fmt.Sprint("select-vlan=", vlan), "output-port=@p",
		"--", "add", "bridge", c.Bridge, "mirrors", "@m")
	ip(c, "link", "set", port, "up")
	return port
}

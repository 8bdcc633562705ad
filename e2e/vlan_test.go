package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	openstack "github.com/billet-metal/billet/compat/cloud"
)

// The VLANs of the test. This host, which Billet serves from, has an address in the first two, and none in the tenant's.
const (
	provisioningVLAN, cleaningVLAN, tenantVLAN = 120, 121, 130

	provisioningHost, cleaningHost = "10.97.20.1", "10.97.21.1"
)

// TestLongVLANs takes a machine through a tenant's time on a switch whose VLANs the real Neutron sets: deployed on one, let to the tenant
// on another, cleaned on a third, and never on two of them. Whoever has the machine cannot reach where others are provisioned.
func TestLongVLANs(t *testing.T) {
	v := newVLANs(t)
	m := v.machine("m1")
	m.refusesToStartTooSoon()
	m.isDeployed()
	m.isAlone()
	m.isCleaned()
	bondGoesAlong(t, v)
}

// vlans is a site on the switch of a cloud.
type vlans struct {
	*site
	cloud    *openstack.Cloud
	networks map[int]string // IDs, by VLAN
}

func newVLANs(t *testing.T) *vlans {
	t.Helper()
	venv := openstack.Venv(t)
	s := newLab(t)
	v := &vlans{site: s, cloud: openstack.New(t, venv, "http://"+s.listen), networks: map[int]string{}}
	v.cloud.Start("db", "bus", "keystone", "switch", "neutron", "dhcp")
	v.furnish()
	return v
}

// furnish makes the networks and starts Billet with Neutron for its network.
func (v *vlans) furnish() {
	v.t.Helper()
	port := v.cloud.Access(provisioningVLAN, provisioningHost+"/24")
	v.cloud.Access(cleaningVLAN, cleaningHost+"/24")
	for vlan, gateway := range map[int]string{provisioningVLAN: "", cleaningVLAN: cleaningHost, tenantVLAN: ""} {
		v.networks[vlan] = v.cloud.Network(openstack.Network{
			Name: fmt.Sprint("vlan", vlan), VLAN: vlan, CIDR: fmt.Sprintf("10.97.%d.0/24", vlan-100), Gateway: gateway,
		})
	}
	v.flags = []string{
		"--provision-interface", port, "--dhcp-provider", "neutron", "--openstack-auth-url", v.cloud.AuthURL(),
		"--openstack-username", "neutron", "--openstack-password", openstack.Password,
		"--neutron-provisioning-network", v.networks[provisioningVLAN], "--neutron-cleaning-network", v.networks[cleaningVLAN],
	}
	v.start()
}

// vlanned is a machine on the switch.
type vlanned struct {
	*machine
	v    *vlans
	vif  string // the tenant's port of Neutron
	port string // of the switch
	seen map[int]*frames
	tags *tags
}

// machine enrols a machine whose disk starts an earlier tenant's system, plugs it in, and watches its frames on every VLAN.
func (v *vlans) machine(name string) *vlanned {
	v.t.Helper()
	m := &vlanned{machine: v.virtual(name, "--switch-port", "--memory", "512"), v: v, seen: map[int]*frames{}}
	m.port = m.NICs[0].SwitchPort
	v.cloud.Plug(m.port, openstack.Parked)
	image, err := os.ReadFile(filepath.Join(cache, "images", "tiny.raw"))
	if err != nil {
		v.t.Fatal(err)
	}
	if err := pour(m.Disks[0].Path, image); err != nil {
		v.t.Fatal(err)
	}
	m.uuid = m.enrol()
	m.patch("/network_interface", "neutron")
	m.cable()
	m.available()
	for _, vlan := range []int{provisioningVLAN, cleaningVLAN, tenantVLAN, openstack.Parked} {
		m.seen[vlan] = watch(v.t, v.cloud.Mirror(vlan), m.NICs[0].MAC)
	}
	m.tags = record(v.t, func() (string, error) { return v.cloud.VSwitch("get", "port", m.port, "tag") })
	m.vif = v.tenantPort(name)
	v.call("POST", "/v1/nodes/"+m.uuid+"/vifs", map[string]any{"id": m.vif}, nil, 204)
	return m
}

// cable tells Billet into which port of which switch the machine is plugged.
func (m *vlanned) cable() {
	m.s.t.Helper()
	var list struct{ Ports []struct{ UUID string } }
	m.s.call("GET", "/v1/ports?node="+m.uuid, nil, &list, 200)
	m.s.call("PATCH", "/v1/ports/"+list.Ports[0].UUID, []map[string]any{
		{"op": "add", "path": "/local_link_connection", "value": openstack.LocalLink(m.port)},
		{"op": "add", "path": "/physical_network", "value": "prov"},
	}, nil, 200)
}

// neutronPort is what Neutron says of a port.
type neutronPort struct {
	ID, Status, Name string
	MAC              string `json:"mac_address"`
	Host             string `json:"binding:host_id"`
	Owner            string `json:"device_owner"`
	Addresses        []struct {
		IP string `json:"ip_address"`
	} `json:"fixed_ips"`
}

func (v *vlans) tenantPort(name string) (id string) {
	v.t.Helper()
	made := map[string]neutronPort{}
	v.cloud.Neutron("POST", "/ports", map[string]any{"port": map[string]any{
		"name": name, "network_id": v.networks[tenantVLAN], "binding:vnic_type": "baremetal",
	}}, &made)
	return made["port"].ID
}

func (v *vlans) neutronPort(id string) neutronPort {
	v.t.Helper()
	got := map[string]neutronPort{}
	v.cloud.Neutron("GET", "/ports/"+id, nil, &got)
	return got["port"]
}

// ofRamdisks are the ports that ramdisks have.
func (v *vlans) ofRamdisks() []neutronPort {
	v.t.Helper()
	got := map[string][]neutronPort{}
	v.cloud.Neutron("GET", "/ports?device_owner=baremetal:none", nil, &got)
	return got["ports"]
}

// refusesToStartTooSoon: while Neutron's DHCP hangs the provisioning port is not ACTIVE. Switched on now, the machine would find no address
// and start the earlier tenant's system.
func (m *vlanned) refusesToStartTooSoon() {
	t := m.s.t
	t.Helper()
	m.v.cloud.Signal("neutron-dhcp-agent", syscall.SIGSTOP)
	m.deploy(imageInfo(t, "tiny.raw"))
	n := m.arrive("deploy failed", 10*time.Minute)
	m.v.cloud.Signal("neutron-dhcp-agent", syscall.SIGCONT)
	if n.LastError == nil || !strings.Contains(*n.LastError, "was to be ACTIVE within") || !strings.Contains(*n.LastError, "not switched on") {
		t.Errorf("the deploy failed with %v", n.LastError)
	}
	if said := m.console(); len(said) > 0 {
		t.Errorf("the machine was switched on: %s", tail(said, 2000))
	}
	for vlan, f := range m.seen {
		if sent := f.after(time.Time{}); len(sent) > 0 {
			t.Errorf("the machine sent on VLAN %d: %q", vlan, sent)
		}
	}
}

// isDeployed on the provisioning VLAN, and ends on the tenant's with the address of the tenant's port.
func (m *vlanned) isDeployed() {
	t := m.s.t
	t.Helper()
	m.tags.forget()
	m.deploy(imageInfo(t, "tiny.raw"))
	m.arrive("active", 15*time.Minute)
	p := m.v.neutronPort(m.vif)
	if p.Status != "ACTIVE" || p.MAC != m.NICs[0].MAC || p.Host != m.uuid || len(p.Addresses) != 1 {
		t.Fatalf("the tenant's port is %+v", p)
	}
	m.prints(5*time.Minute, "BILLET-INSTANCE-UP tiny", " "+p.Addresses[0].IP+"/24 (DHCP)")
	if got := m.tags.past(); !slices.Equal(got, []int{provisioningVLAN, tenantVLAN}) {
		t.Errorf("the switch port was on the VLANs %v", got)
	}
	if len(m.seen[provisioningVLAN].after(time.Time{})) == 0 || len(m.seen[tenantVLAN].after(time.Time{})) == 0 {
		t.Error("the machine's frames were not seen on the VLANs that it was on: this test would not see them where they must not be")
	}
	if left := m.v.ofRamdisks(); len(left) > 0 {
		t.Errorf("ramdisks still have ports: %+v", left)
	}
}

// isAlone: whatever address it gives itself, the instance reaches nobody on the provisioning network, and its neighbours on its own.
func (m *vlanned) isAlone() {
	t := m.s.t
	t.Helper()
	since := m.tags.since(tenantVLAN)
	neighbour, billet := m.v.dhcpServer(tenantVLAN)+":53", provisioningHost+":6386"
	if got := m.reach("10.97.30.250/24", neighbour); got != "yes" {
		t.Errorf("the instance reaches %s on its own network: %s", neighbour, got)
	}
	if got := m.reach("10.97.20.250/24", billet); !strings.HasPrefix(got, "no:") {
		t.Errorf("the instance reaches Billet at %s: %s", billet, got)
	}
	for _, vlan := range []int{provisioningVLAN, cleaningVLAN} {
		if f := m.seen[vlan].after(since); len(f) > 0 {
			t.Errorf("since %s it is the tenant's, and has sent on VLAN %d: %q", since, vlan, f)
		}
	}
	// Without the switch nothing would keep it away.
	m.v.retag(m.port, provisioningVLAN)
	if got := m.reach("10.97.20.251/24", billet); got != "yes" {
		t.Errorf("on the provisioning VLAN it does not reach Billet either: %s", got)
	}
	m.v.retag(m.port, tenantVLAN)
	m.s.eventually(time.Minute, "the switch port to be seen on the tenant's VLAN again", func() (bool, string) {
		return m.tags.now() == tenantVLAN, fmt.Sprint(m.tags.past())
	})
}

// isCleaned on the cleaning VLAN, and has no port of Neutron after that.
func (m *vlanned) isCleaned() {
	t := m.s.t
	t.Helper()
	m.patch("/automated_clean", true)
	m.tags.forget()
	m.provision(map[string]any{"target": "deleted"})
	m.arrive("available", 15*time.Minute)
	if got := m.tags.past(); !slices.Equal(got, []int{tenantVLAN, cleaningVLAN}) {
		t.Errorf("the switch port was on the VLANs %v", got)
	}
	if got := m.v.cloud.VLAN(m.port); got != openstack.Parked {
		t.Errorf("the switch port of an available machine is on VLAN %d", got)
	}
	if p := m.v.neutronPort(m.vif); p.Host != "" || p.MAC == m.NICs[0].MAC {
		t.Errorf("the tenant's port is still bound: %+v", p)
	}
	if left := m.v.ofRamdisks(); len(left) > 0 {
		t.Errorf("ramdisks still have ports: %+v", left)
	}
	if f := m.seen[openstack.Parked].after(time.Time{}); len(f) > 0 {
		t.Errorf("the machine was on while its port was on no network: %q", f)
	}
}

// dhcpServer is the address of Neutron's DHCP server on a VLAN; its dnsmasq answers DNS too.
func (v *vlans) dhcpServer(vlan int) string {
	v.t.Helper()
	got := map[string][]neutronPort{}
	v.cloud.Neutron("GET", "/ports?device_owner=network:dhcp&network_id="+v.networks[vlan], nil, &got)
	if len(got["ports"]) != 1 || len(got["ports"][0].Addresses) != 1 {
		v.t.Fatalf("the DHCP servers of VLAN %d: %+v", vlan, got)
	}
	return got["ports"][0].Addresses[0].IP
}

package cloud_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/compat/cloud"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/driver/pxe"
	"github.com/billet-metal/billet/network"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/openstack"
)

// site is a Neutron with its switch and its DHCP agent.
type site struct {
	authURL, neutron string
	dhcp             string // folder of dnsmasq's files, by network
	noted            string // switch_info of the switch that only takes note
	token            string // of an administrator

	client *openstack.Networks
	task   *driver.Task
	nets   map[string]string
}

const (
	blade = "5bdc3e9a-91c1-4b19-8a6f-4e4b0f9f8a02"
	mac   = "52:54:00:68:32:01"
)

// The network interfaces at the real Neutron, whose agents make ports ACTIVE and write dnsmasq's files.
func TestNetworkInterfacesAtTheRealNeutron(t *testing.T) {
	c := cloud.Shared(t, "db", "bus", "keystone", "switch", "neutron", "dhcp")
	networkInterfaces(t, &site{
		authURL: c.AuthURL(), neutron: c.URL("neutron"), token: c.MustOpenStack("admin", "token", "issue", "-f", "value", "-c", "id"),
		dhcp: filepath.Join(c.Dir, "data", "neutron", "dhcp"), noted: "noted",
	})
}

func networkInterfaces(t *testing.T, s *site) {
	session, err := openstack.Open(openstack.Config{
		AuthURL: s.authURL, Username: "nova", Password: cloud.Password, Project: "service", Region: "RegionOne",
	})
	if err != nil {
		t.Fatal(err)
	}
	s.client, s.nets = &openstack.Networks{Session: session}, map[string]string{}
	for name, vlan := range map[string]int{"ramdisk": 171, "tenant": 172} {
		s.nets[name] = s.make(t, "network", map[string]any{"name": "billet-" + name, "provider:network_type": "vlan",
			"provider:physical_network": "prov", "provider:segmentation_id": vlan})
		s.make(t, "subnet", map[string]any{"network_id": s.nets[name], "cidr": fmt.Sprintf("10.99.%d.0/24", vlan), "ip_version": 4})
		s.make(t, "port", map[string]any{"network_id": s.nets[name], "name": "the first"})
	}
	for name := range s.nets {
		// A network that no DHCP agent serves yet does not keep ports from being ACTIVE.
		s.wantFile(t, name, "opts", "option:router")
	}
	loaders := t.TempDir()
	if err := os.WriteFile(filepath.Join(loaders, "undionly.kpxe"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	boots := &pxe.Boot{Loader: boot.IPXE, APIURL: "http://10.99.0.1:6386", Server: netip.MustParseAddr("10.99.0.1"),
		Loaders: boot.Loaders{Dirs: []string{loaders}}}
	s.task = &driver.Task{
		Hardware: &driver.Hardware{Boot: boots},
		Node: &node.Node{UUID: blade, State: node.Available, DriverInfo: node.Document{},
			Properties: node.Document{"capabilities": "boot_mode:bios"}},
		Ports: []node.Port{{UUID: "p1", Address: mac, PXEEnabled: true, InternalInfo: node.Document{}, PhysicalNetwork: "prov",
			LocalLinkConnection: node.Document{"switch_id": "00:00:00:00:00:00", "port_id": "eth1", "switch_info": s.noted}}},
	}
	for _, tt := range []struct {
		name string
		test func(*testing.T, *site, *network.Cloud)
	}{
		{"flat", flatAtNeutron}, {"neutron", neutronAtNeutron}, {"crash", crashAtNeutron}, {"no switch", noSwitchAtNeutron},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.test(t, s, &network.Cloud{
				Neutron: s.client, DHCP: true,
				Networks: map[driver.NetworkPurpose]string{
					driver.CleaningNetwork: "billet-ramdisk", driver.ProvisioningNetwork: s.nets["ramdisk"],
				},
			})
		})
	}
}

// patient does what the conductor does: it calls again while Neutron is at work.
func patient(t *testing.T, call func(context.Context) error) (waited int) {
	t.Helper()
	for began := time.Now(); ; waited++ {
		err := call(t.Context())
		notYet, ok := errors.AsType[*driver.NotYet](err)
		if err == nil {
			return waited
		}
		if !ok || time.Since(began) > 2*time.Minute {
			t.Fatal(err)
		}
		time.Sleep(notYet.Every)
	}
}

func (s *site) connect(t *testing.T, n driver.Network, p driver.NetworkPurpose) {
	t.Helper()
	waited := patient(t, func(ctx context.Context) error { return n.Connect(ctx, s.task, p) })
	t.Logf("%s: the %s network after %d looks", n.Name(), p, waited)
}

func (s *site) port(t *testing.T, id string) openstack.Port {
	t.Helper()
	p, err := s.client.Port(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return *p
}

func (s *site) wantBound(t *testing.T, id, network string) {
	t.Helper()
	p := s.port(t, id)
	if p.Status != openstack.PortActive || p.Host != blade || p.MACAddress != mac || p.VIFType != "other" || p.NetworkID != s.nets[network] {
		t.Errorf("port of network %s: %+v", network, p)
	}
	s.wantFile(t, network, "host", mac+",")
	for _, want := range []string{
		"tag:ipxe,67,http://10.99.0.1:6386/boot/ipxe?mac=" + mac, "tag:!ipxe,67,undionly.kpxe", "66,10.99.0.1", "150,10.99.0.1",
		"server-ip-address,10.99.0.1",
	} {
		s.wantFile(t, network, "opts", want)
	}
}

// wantFile looks into a file of dnsmasq. On a busy machine the agent lags behind the port's status.
func (s *site) wantFile(t *testing.T, network, file, want string) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		text, err := os.ReadFile(filepath.Join(s.dhcp, s.nets[network], file))
		if err == nil && strings.Contains(string(text), want) {
			t.Logf("%s has %q after %.1f s", file, want, time.Since(began).Seconds())
			return
		}
		if time.Since(began) > 5*time.Minute {
			t.Fatalf("dnsmasq's %s has no %q: %v\n%s", file, want, err, text)
		}
	}
}

func (s *site) wantUnbound(t *testing.T, id string) {
	t.Helper()
	if p := s.port(t, id); p.Host != "" || p.MACAddress == mac || len(p.Profile) > 0 || p.VIFType != "unbound" || len(p.DHCP) > 0 {
		t.Errorf("the tenant's port: %+v", p)
	}
}

func (s *site) tenantPort(t *testing.T) string {
	return s.make(t, "port", map[string]any{"network_id": s.nets["tenant"], "name": "a server's"})
}

// make makes a thing as an administrator does, and deletes it when the test ends.
func (s *site) make(t *testing.T, kind string, fields map[string]any) (id string) {
	t.Helper()
	body, err := json.Marshal(map[string]any{kind: fields})
	if err != nil {
		t.Fatal(err)
	}
	var made map[string]struct{ ID string }
	s.ask(t, http.MethodPost, kind+"s", body, &made)
	t.Cleanup(func() { s.ask(t, http.MethodDelete, kind+"s/"+made[kind].ID, nil, nil) })
	return made[kind].ID
}

func (s *site) ask(t *testing.T, method, path string, body []byte, out any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.neutron+"/v2.0/"+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", s.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(resp.Body)
	if resp.StatusCode > 299 || out != nil && json.Unmarshal(answer, out) != nil {
		t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, answer)
	}
}

// ramdiskPorts are those of ramdisks on a network, the DHCP agent's aside.
func (s *site) ramdiskPorts(t *testing.T) (ids []string) {
	t.Helper()
	var out struct{ Ports []struct{ ID string } }
	s.ask(t, http.MethodGet, "ports?device_owner=baremetal:none&network_id="+s.nets["ramdisk"], nil, &out)
	for _, p := range out.Ports {
		ids = append(ids, p.ID)
	}
	return ids
}

func (s *site) attached(t *testing.T, n driver.Network, id string) {
	t.Helper()
	if err := n.AttachVIF(t.Context(), s.task, node.VIF{ID: id}); err != nil {
		t.Fatal(err)
	}
}

// A server's life with the network interface flat: attached, deployed, detached, cleaned.
func flatAtNeutron(t *testing.T, s *site, c *network.Cloud) {
	n, vif := network.Flat{Cloud: c}, s.tenantPort(t)
	s.attached(t, n, vif)
	s.connect(t, n, driver.ProvisioningNetwork)
	s.wantBound(t, vif, "tenant")
	s.connect(t, n, driver.TenantNetwork)
	patient(t, func(ctx context.Context) error { return n.Disconnect(ctx, s.task, driver.TenantNetwork) })
	patient(t, func(ctx context.Context) error { return n.DetachVIF(ctx, s.task, vif) })
	s.wantUnbound(t, vif)
	s.cleans(t, n)
}

// cleans connects the machine to the network of a ramdisk and leaves it.
func (s *site) cleans(t *testing.T, n driver.Network) {
	t.Helper()
	s.connect(t, n, driver.CleaningNetwork)
	id := s.task.Ports[0].InternalInfo.String("cleaning_vif_port_id")
	s.wantBound(t, id, "ramdisk")
	if got := s.ramdiskPorts(t); !slices.Equal(got, []string{id}) {
		t.Errorf("ports of ramdisks: %v, want %s", got, id)
	}
	patient(t, func(ctx context.Context) error { return n.Disconnect(ctx, s.task, driver.CleaningNetwork) })
	if got := s.ramdiskPorts(t); len(got) > 0 {
		t.Errorf("left: %v", got)
	}
}

// With neutron the machine is on one network at a time, and its MAC address moves with it.
func neutronAtNeutron(t *testing.T, s *site, c *network.Cloud) {
	n, vif := network.Neutron{Cloud: c}, s.tenantPort(t)
	if err := n.Validate(t.Context(), s.task); err != nil {
		t.Error(err)
	}
	s.attached(t, n, vif)
	s.wantUnbound(t, vif)
	s.connect(t, n, driver.ProvisioningNetwork)
	s.wantBound(t, s.task.Ports[0].InternalInfo.String("provisioning_vif_port_id"), "ramdisk")
	s.connect(t, n, driver.TenantNetwork)
	s.wantBound(t, vif, "tenant")
	if got := s.ramdiskPorts(t); len(got) > 0 {
		t.Errorf("on two networks: %v", got)
	}
	patient(t, func(ctx context.Context) error { return n.Disconnect(ctx, s.task, driver.TenantNetwork) })
	s.wantUnbound(t, vif)
	patient(t, func(ctx context.Context) error { return n.DetachVIF(ctx, s.task, vif) })
}

// A port that nobody noted, because the process died, is removed; a tenant's port that kept the MAC address gives it back.
func crashAtNeutron(t *testing.T, s *site, c *network.Cloud) {
	n := network.Flat{Cloud: c}
	s.task.SaveWiring = func(context.Context) error { return errors.New("the process dies") }
	if err := n.Connect(t.Context(), s.task, driver.CleaningNetwork); err == nil {
		t.Fatal("it lives")
	}
	s.task.SaveWiring = nil
	lost := s.ramdiskPorts(t)
	s.task.Ports[0].InternalInfo = node.Document{}
	if len(lost) != 1 {
		t.Fatalf("ports of ramdisks: %v", lost)
	}
	s.cleans(t, n)

	vif := s.tenantPort(t)
	s.attached(t, n, vif)
	s.task.Ports[0].InternalInfo = node.Document{}
	c.Networks[driver.CleaningNetwork] = "billet-tenant"
	s.connect(t, n, driver.CleaningNetwork)
	s.wantUnbound(t, vif)
	patient(t, func(ctx context.Context) error { return n.Disconnect(ctx, s.task, driver.CleaningNetwork) })
}

// A switch that Neutron does not know is said at once, and nothing is left.
func noSwitchAtNeutron(t *testing.T, s *site, c *network.Cloud) {
	n, vif := network.Flat{Cloud: c}, s.tenantPort(t)
	s.task.Ports[0].LocalLinkConnection = node.Document{"switch_id": "00:00:00:00:00:09", "port_id": "eth1", "switch_info": "nobody's"}
	err := n.AttachVIF(t.Context(), s.task, node.VIF{ID: vif})
	if err == nil || !strings.Contains(err.Error(), "binding_failed") || node.KindOf(err) != node.Conflict {
		t.Errorf("attach: %v", err)
	}
	s.wantUnbound(t, vif)
	err = n.Connect(t.Context(), s.task, driver.CleaningNetwork)
	if _, again := errors.AsType[*driver.NotYet](err); err == nil || again || !strings.Contains(err.Error(), "binding_failed") {
		t.Errorf("connect: %v", err)
	}
	patient(t, func(ctx context.Context) error { return n.Disconnect(ctx, s.task, driver.CleaningNetwork) })
	if got := s.ramdiskPorts(t); len(got) > 0 {
		t.Errorf("left: %v", got)
	}
}

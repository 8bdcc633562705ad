package cloud_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/compat/cloud"
	"github.com/billet-metal/billet/openstack"
)

// service is Billet as the Bare Metal API of a cloud.
type service struct {
	t     *testing.T
	url   string
	token string
	log   string // path
}

// serve starts Billet where the cloud's catalog names it.
func serve(t *testing.T, c *cloud.Cloud, more ...string) *service {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "billet")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/billet-metal/billet/cmd/billet").CombinedOutput(); err != nil {
		t.Fatalf("building billet: %v %s", err, out)
	}
	register := exec.Command(program, "openstack", "register", "--public-url", c.BareMetal)
	register.Env = append(append(os.Environ(), c.Environment("admin")...), "BILLET_OPENSTACK_PASSWORD="+cloud.Password)
	if out, err := register.CombinedOutput(); err != nil {
		t.Fatalf("billet openstack register: %v %s", err, out)
	}
	s := &service{t: t, url: c.BareMetal, token: c.Token("ironic"), log: filepath.Join(dir, "log")}
	log, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(program, append([]string{"serve", "--data-dir", filepath.Join(dir, "data"), "--roles", "api,conductor",
		"--listen", strings.TrimPrefix(c.BareMetal, "http://"), "--enabled-hardware-types", "fake-hardware", "--auth", "keystone",
		"--openstack-auth-url", c.AuthURL(), "--openstack-username", "ironic", "--openstack-region", "RegionOne"}, more...)...)
	cmd.Env = append(os.Environ(), "BILLET_OPENSTACK_PASSWORD="+cloud.Password)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("billet:\n%s", s.text())
		}
	})
	s.until("it serves", func() bool { return strings.Contains(s.text(), "API serves") })
	return s
}

func (s *service) text() string {
	text, err := os.ReadFile(s.log)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// until waits, on a machine that others use too.
func (s *service) until(what string, so func() bool) {
	s.t.Helper()
	for end := time.Now().Add(4 * time.Minute); !so(); time.Sleep(300 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// ask asks Billet with a token of the cloud.
func (s *service) ask(token, method, path string, in, out any) (status int) {
	s.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("X-Auth-Token", token)
	r.Header.Set("X-OpenStack-Ironic-API-Version", "1.109")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || out != nil && json.Unmarshal(text, out) != nil {
		s.t.Fatalf("%s %s: %d %s (%v)", method, path, resp.StatusCode, text, err)
	}
	return resp.StatusCode
}

// Neutron and its agents at a Billet with their Keystone: the notifier tells what becomes of a machine's port, ironic-neutron-agent
// makes a node an agent of its own, and Neutron says of the port what `why` tells people.
func TestNeutronsOwnClientsOfBillet(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	c := cloud.New(t, cloud.Venv(t), "http://"+l.Addr().String())
	c.Notifies = true
	c.Start("db", "bus", "keystone")
	s := serve(t, c, "--dhcp-provider", "neutron")
	c.Start("switch", "neutron", "dhcp")
	const mac = "52:54:00:68:33:01"
	var n struct{ UUID string }
	link := cloud.LocalLink("")
	if s.ask(s.token, "POST", "/v1/nodes", map[string]any{"driver": "fake-hardware", "name": "blade-h3"}, &n) != 201 ||
		s.ask(s.token, "POST", "/v1/ports", map[string]any{"node_uuid": n.UUID, "address": mac, "physical_network": "prov",
			"local_link_connection": link}, nil) != 201 {
		t.Fatal("the node could not be made")
	}

	s.until("ironic-neutron-agent has made the node an agent", func() bool {
		var list struct {
			Agents []struct {
				Host           string
				Alive          bool
				Configurations map[string]any
			}
		}
		c.Neutron("GET", "/agents?agent_type=Baremetal+Node", nil, &list)
		for _, a := range list.Agents {
			if a.Host == n.UUID && a.Alive {
				return strings.Contains(fmt.Sprint(a.Configurations["bridge_mappings"]), "prov")
			}
		}
		return false
	})

	network := c.Network(cloud.Network{Name: "events", CIDR: "10.95.0.0/24"})
	var made struct{ Port struct{ ID, Status string } }
	c.Neutron("POST", "/ports", map[string]any{"port": map[string]any{
		"network_id": network, "mac_address": mac, "binding:vnic_type": "baremetal", "binding:host_id": n.UUID, "device_owner": "baremetal:none",
		"binding:profile": map[string]any{"local_link_information": []any{link}},
	}}, &made)
	heard := func(event, status string) func() bool {
		return func() bool {
			for line := range strings.Lines(s.text()) {
				if strings.Contains(line, "network service spoke of a port") && strings.Contains(line, "node="+n.UUID) &&
					strings.Contains(line, "event="+event) && strings.Contains(line, "status="+status) {
					return true
				}
			}
			return false
		}
	}
	s.until("Neutron tells that the port is bound", heard("network.bind_port", "ACTIVE"))

	session, err := openstack.Open(openstack.Config{AuthURL: c.AuthURL(), Username: "ironic", Password: cloud.Password, Project: "service",
		Region: "RegionOne"})
	if err != nil {
		t.Fatal(err)
	}
	report := (&openstack.Networks{Session: session}).Report(t.Context(), n.UUID, []string{mac})
	if len(report.Ports) != 1 || report.Silent != "" {
		t.Fatalf("Neutron says %+v", report)
	}
	p := report.Ports[0]
	if !p.Bound || !p.Up || p.Failed || p.Status != "ACTIVE" || p.MAC != mac || p.Network != network || len(p.Addresses) != 1 ||
		p.DHCP.Off || p.DHCP.Silent != "" || len(p.DHCP.Agents) != 1 || !p.DHCP.Agents[0].Alive {
		t.Errorf("Neutron says of the port %+v", p)
	}

	c.Neutron("DELETE", "/ports/"+made.Port.ID, nil, nil)
	s.until("Neutron tells that the port is gone", heard("network.delete_port", "DELETED"))
	forged := map[string]any{"events": []any{map[string]any{"event": "network.bind_port", "port_id": made.Port.ID, "mac_address": mac,
		"status": "ACTIVE"}}}
	if status := s.ask(c.Token("demo"), "POST", "/v1/events", forged, nil); status != http.StatusForbidden {
		t.Errorf("an event of somebody without a role: %d", status)
	}
}

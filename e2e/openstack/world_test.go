package openstack

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
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/compat/cloud"
)

// furnish makes what every server of the tests wants.
func (s *stage) furnish() {
	s.network = s.Network(cloud.Network{Name: "prov", CIDR: "10.98.0.0/24"})
	s.MustOpenStack("admin", "quota", "set", "--instances", "50", "--cores", "50", "demo")
	s.MustOpenStack("admin", "quota", "set", "--instances", "50", "--cores", "50", "admin")
	file := filepath.Join(s.dir, "nothing")
	if err := os.WriteFile(file, bytes.Repeat([]byte("no machine reads this"), 100), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.image = s.upload("nothing", "raw", file)
	key := filepath.Join(s.dir, "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		s.t.Fatalf("ssh-keygen: %v %s", err, out)
	}
	s.MustOpenStack("demo", "keypair", "create", "--public-key", key+".pub", "mine")
}

// upload gives Glance an image that everybody may use.
func (s *stage) upload(name, format, file string, more ...string) (id string) {
	s.t.Helper()
	return s.MustOpenStack("admin", append([]string{"image", "create", "--public", "--disk-format", format, "--container-format", "bare",
		"--file", file, name, "-f", "value", "-c", "id"}, more...)...)
}

// flavor makes a flavor of machines of a resource class, with more extra specs.
func (s *stage) flavor(name, class string, specs map[string]string) {
	s.t.Helper()
	var made struct{ Flavor struct{ ID string } }
	s.compute("POST", "/flavors", map[string]any{"flavor": map[string]any{"name": name, "ram": 512, "disk": 3, "vcpus": 1}}, &made)
	all := map[string]string{
		"resources:CUSTOM_" + strings.ToUpper(class): "1", "resources:VCPU": "0", "resources:MEMORY_MB": "0", "resources:DISK_GB": "0",
	}
	for k, v := range specs {
		all[k] = v
	}
	s.compute("POST", "/flavors/"+made.Flavor.ID+"/os-extra_specs", map[string]any{"extra_specs": all}, nil)
}

// token logs a user in, once.
func (s *stage) token(user string) string {
	s.t.Helper()
	if s.tokens[user] == "" {
		s.tokens[user] = s.MustOpenStack(user, "token", "issue", "-f", "value", "-c", "id")
	}
	return s.tokens[user]
}

// compute, baremetal and placement ask a service as the administrator; a refusal ends the test. They look at what the openstack
// command did, and set the scene where its start would take longer than all the rest.
func (s *stage) compute(method, path string, in, out any) {
	s.t.Helper()
	s.ask(method, s.URL("nova")+"/v2.1"+path, in, out)
}

func (s *stage) baremetal(method, path string, in, out any) {
	s.t.Helper()
	s.ask(method, "http://"+s.listen+path, in, out)
}

func (s *stage) placement(method, path string, in, out any) {
	s.t.Helper()
	s.ask(method, s.URL("placement")+path, in, out)
}

func (s *stage) neutron(method, path string, in, out any) {
	s.t.Helper()
	s.ask(method, s.URL("neutron")+"/v2.0"+path, in, out)
}

func (s *stage) ask(method, url string, in, out any) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Second) {
		status, body, err := s.http(method, url, s.token("admin"), in)
		if status == http.StatusConflict && time.Now().Before(deadline) {
			continue // a node that somebody else works on just now
		}
		if err != nil || status >= 300 {
			s.t.Fatalf("%s %s: %d %v %s", method, url, status, err, body)
		}
		if out != nil {
			if err := json.Unmarshal(body, out); err != nil {
				s.t.Fatalf("%s %s: %v %s", method, url, err, body)
			}
		}
		return
	}
}

var client = http.Client{Timeout: time.Minute}

func (s *stage) http(method, url, token string, in any) (status int, body []byte, err error) {
	var sent bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&sent).Encode(in); err != nil {
			return 0, nil, err
		}
	}
	req, err := http.NewRequest(method, url, &sent)
	if err != nil {
		return 0, nil, err
	}
	for k, v := range map[string]string{
		"Content-Type": "application/json", "X-Auth-Token": token, "X-OpenStack-Ironic-API-Version": "1.95",
		"OpenStack-API-Version": versions[strings.TrimPrefix(url, s.URL("placement")) != url],
	} {
		req.Header.Set(k, v)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// post asks Nova for a server; it returns its ID, or "" and what Nova says.
func (s *stage) post(token string, in any) (id, said string) {
	status, body, err := s.http("POST", s.URL("nova")+"/v2.1/servers", token, in)
	var made struct{ Server struct{ ID string } }
	if err == nil {
		err = json.Unmarshal(body, &made)
	}
	return made.Server.ID, fmt.Sprintf("%d %v %s", status, err, body)
}

// versions are the microversions that placement, and everybody else, are asked for.
var versions = map[bool]string{true: "placement 1.36", false: "compute 2.90"}

func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// as runs the openstack command as the cloud's user demo, who is nobody special.
func (s *stage) as(args ...string) string {
	s.t.Helper()
	return s.MustOpenStack("demo", args...)
}

// restart starts a nova-compute anew that Kill took away.
func (s *stage) restart(host string) {
	s.t.Helper()
	s.Compute(host, nil)
	s.up(host)
}

// up waits for nova-computes.
func (s *stage) up(hosts ...string) {
	s.t.Helper()
	s.until(3*time.Minute, "nova-compute to be up", func() (bool, string) {
		states := s.services()
		return !slices.ContainsFunc(hosts, func(host string) bool { return states[host] != "up" }), fmt.Sprint(states)
	})
}

// services are the states of the nova-computes, by host.
func (s *stage) services() map[string]string {
	s.t.Helper()
	var list struct {
		Services []struct{ Host, Binary, State string }
	}
	s.compute("GET", "/os-services?binary=nova-compute", nil, &list)
	states := map[string]string{}
	for _, v := range list.Services {
		states[v.Host] = v.State
	}
	return states
}

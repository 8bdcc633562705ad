// Package cloud starts released OpenStack services as plain processes on loopback, for tests of Billet among its real neighbours.
// Every file of theirs is below one folder, every port in one range, and they end with the test, also when it is killed. It
// imports nothing of Billet: a test says which Bare Metal API the catalog names.
package cloud

import (
	"context"
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
)

// Cloud is a set of services. Root is needed.
type Cloud struct {
	Dir       string // scratch folder: etc, log, data, run
	BareMetal string // URL of the Bare Metal API, for the catalog, Nova and Neutron
	Notifies  bool   // Neutron tells the Bare Metal API of ports, and does not start without it
	Bridge    string // Open vSwitch bridge of the physical network "prov"

	t        testing.TB
	venv     string
	base     int
	claim    io.Closer // holds the range of ports
	services map[string]*service
	wires    []string    // interfaces that end with the cloud
	neutron  *rest       // once somebody has asked
	identity *Identities // an administrator's, once Keystone runs
	guard    io.Closer
}

// Password is that of every user of the cloud: admin and demo have their own name.
const Password = "secret"

// New makes an empty cloud with ports of its own, which ends with the test. venv is the environment that install made.
func New(t testing.TB, venv, bareMetal string) *Cloud {
	t.Helper()
	c := build(t, venv, bareMetal)
	t.Cleanup(func() { c.stop(t.Failed(), t.Logf) })
	return c
}

func build(t testing.TB, venv, bareMetal string) *Cloud {
	t.Helper()
	venv, err := filepath.Abs(venv)
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		t.Fatal("the services need root")
	}
	dir, err := os.MkdirTemp("", "cloud")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // dnsmasq reads Neutron's files as somebody else
		t.Fatal(err)
	}
	c := &Cloud{Dir: dir, BareMetal: bareMetal, Bridge: "br-prov", t: t, venv: venv, services: map[string]*service{},
		identity: &Identities{}}
	c.base, c.claim = freeRange(t)
	for _, sub := range []string{"etc", "log", "data", "run"} {
		c.mkdir(sub)
	}
	c.guard = guard(t, c.Dir)
	return c
}

// freeRange finds 1,000 ports of which the first is free; the services take few of them. Whoever asks next gets another range.
func freeRange(t testing.TB) (base int, claim io.Closer) {
	for base := 19000; base < 30000; base += 1000 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", base))
		if err == nil {
			return base, l
		}
	}
	t.Fatal("no range of ports is free")
	return 0, nil
}

func (c *Cloud) path(parts ...string) string {
	return filepath.Join(append([]string{c.Dir}, parts...)...)
}

func (c *Cloud) mkdir(parts ...string) string {
	p := c.path(parts...)
	if err := os.MkdirAll(p, 0o755); err != nil {
		c.t.Fatal(err)
	}
	return p
}

func (c *Cloud) write(text string, parts ...string) string {
	c.mkdir(parts[:len(parts)-1]...)
	p := c.path(parts...)
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return p
}

// URL is where a service answers: keystone, glance, swift, neutron, placement, nova.
func (c *Cloud) URL(name string) string { return fmt.Sprintf("http://127.0.0.1:%d", c.port(name)) }

// AuthURL is Keystone's.
func (c *Cloud) AuthURL() string { return c.URL("keystone") + "/v3" }

var ports = map[string]int{
	"db": 306, "memcached": 211, "epmd": 369, "rabbit": 672, "rabbit-dist": 673, "keystone": 500, "glance": 292, "swift": 80,
	"object": 600, "container": 601, "account": 602, "placement": 778, "neutron": 696, "openflow": 633, "switch": 822, "nova": 774,
}

func (c *Cloud) port(name string) int {
	offset, ok := ports[name]
	if !ok {
		c.t.Fatalf("no service %q has a port", name)
	}
	return c.base + offset
}

// Start starts services in the order given; each comes after those it needs: db, bus, keystone, glance, swift, placement, switch,
// neutron, dhcp, nova, compute.
func (c *Cloud) Start(names ...string) {
	c.t.Helper()
	for _, name := range names {
		need(c, name)
	}
	for _, name := range names {
		begin := time.Now()
		start := map[string]func(){
			"db": c.startDatabase, "bus": c.startBus, "keystone": c.startKeystone, "glance": c.startGlance, "swift": c.startSwift,
			"placement": c.startPlacement, "switch": c.startSwitch, "neutron": c.startNeutron, "dhcp": c.startDHCP,
			"nova": c.startNova, "compute": func() { c.Compute("cloud", nil) },
		}[name]
		if start == nil {
			c.t.Fatalf("no service %q", name)
		}
		enlist(c, name)
		start()
		c.t.Logf("%s is up after %.1f s", name, time.Since(begin).Seconds())
	}
}

// OpenStack runs the openstack command as one of the cloud's users and returns what it prints.
func (c *Cloud) OpenStack(user string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(c.venv, "bin", "openstack"), args...)
	cmd.Env = append(os.Environ(), c.Environment(user)...)
	out, err := cmd.Output()
	var failed *exec.ExitError
	if asExit(err, &failed) {
		err = fmt.Errorf("openstack %s: %w: %s", strings.Join(args, " "), err, failed.Stderr)
	}
	return strings.TrimSpace(string(out)), err
}

// MustOpenStack is OpenStack where a failure ends the test.
func (c *Cloud) MustOpenStack(user string, args ...string) string {
	c.t.Helper()
	out, err := c.OpenStack(user, args...)
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

// Environment are the variables by which clients log in as a user: admin, demo, or a service's name.
func (c *Cloud) Environment(user string) []string {
	project, password := userOf(user)
	return []string{
		"OS_AUTH_URL=" + c.AuthURL(), "OS_USERNAME=" + user, "OS_PASSWORD=" + password, "OS_PROJECT_NAME=" + project,
		"OS_USER_DOMAIN_ID=default", "OS_PROJECT_DOMAIN_ID=default", "OS_IDENTITY_API_VERSION=3", "OS_REGION_NAME=RegionOne",
		"PYTHONWARNINGS=ignore",
	}
}

func userOf(name string) (project, password string) {
	if name == "admin" || name == "demo" {
		return name, name
	}
	return "service", Password
}

// await waits until ready, at most so long.
func (c *Cloud) await(what string, most time.Duration, ready func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(most); !ready(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("%s is not up after %s; its log says:\n%s", what, most, c.Log(what))
		}
	}
}

// answers reports whether somebody speaks HTTP at a URL, whatever they say.
func answers(url string) func() bool {
	client := &http.Client{Timeout: 5 * time.Second}
	return func() bool {
		resp, err := client.Get(url)
		if err != nil {
			return false
		}
		resp.Body.Close()
		return true
	}
}

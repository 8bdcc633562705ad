package cloud_test

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	gophercloudopenstack "github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/nodes"

	"github.com/billet-metal/billet/compat/cloud"
)

// The real binary at the real Keystone: it registers, today's clients find it in the catalog and log in, and it knows whose a token is.
func TestBilletAtTheRealKeystone(t *testing.T) {
	c := cloud.Shared(t, "db", "keystone")
	m := newMiddle(t, c.URL("keystone"))
	t.Setenv("BILLET_OPENSTACK_PASSWORD", cloud.Password)
	address := freeAddress(t)
	t.Run("register", func(t *testing.T) { registers(t, c, "http://"+address) })
	b := startBillet(t, address, "--auth", "keystone", "--openstack-auth-url", m.url, "--openstack-username", "ironic",
		"--www-authenticate-uri", c.AuthURL())
	t.Run("command line", func(t *testing.T) { commandLine(t, c) })
	t.Run("roles", func(t *testing.T) { roles(t, c, b) })
	t.Run("without a token", func(t *testing.T) { nobody(t, c, b) })
	t.Run("revoked", func(t *testing.T) { revoked(t, c, b) })
	t.Run("service tokens", func(t *testing.T) { serviceTokens(t, c, b) })
	t.Run("a flood", func(t *testing.T) { flood(t, c, b, m) })
	t.Run("Keystone away", func(t *testing.T) { away(t, c, b, m) })
	for _, secret := range []string{cloud.Password, "gAAAAA"} {
		if strings.Contains(b.log.String(), secret) {
			t.Errorf("the log holds %s", secret)
		}
	}
}

// registers makes the account and the endpoints from nothing, and again, and as somebody who may not.
func registers(t *testing.T, c *cloud.Cloud, url string) {
	register := func(user string, args ...string) (string, error) {
		file, err := binary()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(file, append([]string{"openstack", "register", "--public-url", url}, args...)...)
		cmd.Env = append(cmd.Environ(), c.Environment(user)...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := register("demo"); err == nil || !strings.Contains(out, "it takes an administrator of the cloud") {
		t.Errorf("as demo: %v\n%s", err, out)
	}
	out, err := register("admin")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"there already: project service", "made user ironic", "gave user ironic the role admin in project service",
		"gave user ironic the role service in project service", "made service ironic", "made endpoint internal of ironic",
		"made endpoint public of ironic",
	} {
		if !strings.Contains(out, want+"\n") {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	again, err := register("admin")
	if err != nil || !strings.HasSuffix(again, "everything was there\n") || strings.Contains(again, "made") ||
		!strings.Contains(again, "there already: user ironic, with that password\n") {
		t.Errorf("again: %v\n%s", err, again)
	}
	moved, err := register("admin", "--internal-url", "http://127.0.0.1:1")
	if err != nil || !strings.Contains(moved, "changed endpoint internal of ironic: url") {
		t.Errorf("moved: %v\n%s", err, moved)
	}
}

// commandLine is today's client with the login of an administrator, who finds Billet in the catalog.
func commandLine(t *testing.T, c *cloud.Cloud) {
	cli := newClient(t, c)
	if out, err := cli.run("admin", "baremetal", "node", "create", "--driver", "fake-hardware", "--name", "seen", "-f", "json"); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	out, err := cli.run("admin", "baremetal", "node", "list", "-f", "value", "-c", "Name")
	if err != nil || strings.TrimSpace(out) != "seen" {
		t.Errorf("%v %s", err, out)
	}
	out, err = newClient(t, c).run("demo", "baremetal", "node", "list")
	if err == nil || !strings.Contains(out, "Access was denied") || !strings.Contains(out, "403") {
		t.Errorf("demo: %v %s", err, out)
	}
	var made struct{ ID, Secret string }
	out, err = cli.run("admin", "application", "credential", "create", rand.Text(), "-f", "json")
	if err != nil || json.Unmarshal([]byte(out[max(0, strings.Index(out, "{")):]), &made) != nil {
		t.Fatalf("%v %s", err, out)
	}
	out, err = newClient(t, c).with("--os-auth-type", "v3applicationcredential", "--os-auth-url", c.AuthURL(),
		"--os-application-credential-id", made.ID, "--os-application-credential-secret", made.Secret,
		"baremetal", "node", "list", "-f", "value", "-c", "Name")
	if err != nil || strings.TrimSpace(out) != "seen" {
		t.Errorf("an application credential: %v %s", err, out)
	}
	provider, err := gophercloudopenstack.AuthenticatedClient(t.Context(), gophercloud.AuthOptions{
		IdentityEndpoint: c.AuthURL(), Username: "admin", Password: "admin", TenantName: "admin", DomainID: "default",
	})
	if err != nil {
		t.Fatal(err)
	}
	metal, err := gophercloudopenstack.NewBareMetalV1(provider, gophercloud.EndpointOpts{Region: "RegionOne"})
	if err != nil {
		t.Fatal(err)
	}
	metal.Microversion = "1.95"
	if n, err := nodes.Get(t.Context(), metal, "seen").Extract(); err != nil || n.Name != "seen" {
		t.Errorf("gophercloud: %v %v", n, err)
	}
	const sdk = `import openstack; print([n.name for n in openstack.connect().baremetal.nodes()])`
	python := exec.Command(filepath.Join(cloud.Venv(t), "bin", "python3"), "-c", sdk)
	python.Env = append(python.Environ(), c.Environment("admin")...)
	if out, err := python.CombinedOutput(); err != nil || !strings.Contains(string(out), "['seen']") {
		t.Errorf("openstacksdk: %v %s", err, out)
	}
	file, _ := binary()
	own := exec.Command(file, "node", "list", "--api", baremetalURL(t, c))
	own.Env = append(own.Environ(), c.Environment("admin")...)
	if out, err := own.CombinedOutput(); err != nil || !strings.Contains(string(out), "seen") {
		t.Errorf("billet node list: %v %s", err, out)
	}
}

// roles are what a token may: read, change, nothing.
func roles(t *testing.T, c *cloud.Cloud, b *billet) {
	people := c.Identities()
	people.User("watcher", "service", "reader")
	people.User("worker", "service", "service")
	people.User("member", "demo", "member")
	system := c.TokenFor("admin", "admin", "")
	for name, tt := range map[string]struct {
		token       string
		read, write int
	}{
		"admin":                    {c.Token("admin"), 200, 201},
		"admin of the system":      {system, 200, 201},
		"service":                  {c.Token("worker"), 200, 201},
		"reader of the services'":  {c.Token("watcher"), 200, 403},
		"member, who is a reader ": {c.TokenFor("member", cloud.Password, "demo"), 403, 403},
		"nonsense":                 {"gAAAAABnonsense", 401, 401},
	} {
		resp, text := call(t, "GET", b.endpoint+"/v1/nodes", "", "X-Auth-Token", tt.token)
		if resp.StatusCode != tt.read {
			t.Errorf("%s reads: %d %s", name, resp.StatusCode, text)
		}
		if tt.read == 403 && !strings.Contains(text, `"error_message"`) {
			t.Errorf("%s is told %s", name, text)
		}
		resp, text = call(t, "POST", b.endpoint+"/v1/nodes", `{"driver": "fake-hardware"}`, "X-Auth-Token", tt.token)
		if resp.StatusCode != tt.write {
			t.Errorf("%s writes: %d %s", name, resp.StatusCode, text)
		}
	}
}

// nobody shows no token: what is public answers, a ramdisk is heard, and all else says where to get one.
func nobody(t *testing.T, c *cloud.Cloud, b *billet) {
	for path, want := range map[string]int{"GET /": 200, "GET /v1": 200, "GET /v1/": 200, "GET /v1/nodes": 401, "GET /v1/nothing": 401,
		"GET /v1/lookup?addresses=52:54:00:00:00:01": 404, "POST /v1/heartbeat/00000000-0000-4000-8000-000000000000": 404} {
		method, path, _ := strings.Cut(path, " ")
		resp, text := call(t, method, b.endpoint+path, `{"callback_url": "http://127.0.0.1:9999", "agent_token": "x", "agent_version": "11.0.0"}`,
			"X-OpenStack-Ironic-API-Version", "1.68")
		if resp.StatusCode != want {
			t.Errorf("%s %s: %d %s", method, path, resp.StatusCode, text)
		}
		challenge := fmt.Sprintf("Keystone uri=%q", c.AuthURL())
		if got := resp.Header.Get("WWW-Authenticate"); (want == 401) != (got == challenge) {
			t.Errorf("%s %s: told %q", method, path, got)
		}
	}
}

// revoked tokens change nothing, though a moment ago they were good; one that Billet has not met reads nothing either.
func revoked(t *testing.T, c *cloud.Cloud, b *billet) {
	known, unmet := c.Token("admin"), c.Token("admin")
	if resp, text := call(t, "GET", b.endpoint+"/v1/nodes", "", "X-Auth-Token", known); resp.StatusCode != 200 {
		t.Fatalf("%d %s", resp.StatusCode, text)
	}
	c.Identities().Revoke(known)
	c.Identities().Revoke(unmet)
	for method, token := range map[string]string{"POST": known, "GET": unmet} {
		if resp, text := call(t, method, b.endpoint+"/v1/nodes", `{"driver": "fake-hardware"}`, "X-Auth-Token", token); resp.StatusCode != 401 {
			t.Errorf("%s: %d %s", method, resp.StatusCode, text)
		}
	}
	if resp, _ := call(t, "GET", b.endpoint+"/v1/nodes", "", "X-Auth-Token", known); resp.StatusCode != 401 {
		t.Errorf("after it was refused once, it reads: %d", resp.StatusCode)
	}
}

// serviceTokens stand beside the user's.
func serviceTokens(t *testing.T, c *cloud.Cloud, b *billet) {
	admin, nova, demo := c.Token("admin"), c.Token("nova"), c.Token("demo")
	for name, tt := range map[string]struct {
		user, service string
		want          int
	}{
		"a service for an administrator": {admin, nova, 200},
		"a service for a person":         {demo, nova, 403}, // it is the person's roles that count
		"nonsense for an administrator":  {admin, "nonsense", 401},
	} {
		resp, text := call(t, "GET", b.endpoint+"/v1/nodes", "", "X-Auth-Token", tt.user, "X-Service-Token", tt.service)
		if resp.StatusCode != tt.want {
			t.Errorf("%s: %d %s", name, resp.StatusCode, text)
		}
	}
	if resp, text := call(t, "GET", b.endpoint+"/v1/nodes", "", "X-Service-Token", nova); resp.StatusCode != 401 {
		t.Errorf("a service for nobody: %d %s", resp.StatusCode, text)
	}
}

// flood is of wrong tokens: Keystone is asked about each once, Billet's own login is not repeated, and who is known goes on.
func flood(t *testing.T, c *cloud.Cloud, b *billet, m *middle) {
	admin := c.Token("admin")
	if resp, text := call(t, "GET", b.endpoint+"/v1/nodes", "", "X-Auth-Token", admin); resp.StatusCode != 200 {
		t.Fatalf("%d %s", resp.StatusCode, text)
	}
	asked, logins := m.asked.Load(), m.login.Load()
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			resp, text := call(t, "GET", b.endpoint+"/v1/nodes", "", "X-Auth-Token", fmt.Sprint("gAAAAABwrong", i%20))
			if resp.StatusCode != 401 && resp.StatusCode != 429 {
				t.Errorf("%d %s", resp.StatusCode, text)
			}
		})
	}
	if resp, text := call(t, "GET", b.endpoint+"/v1/nodes", "", "X-Auth-Token", admin); resp.StatusCode != 200 {
		t.Errorf("who is known: %d %s", resp.StatusCode, text)
	}
	all.Wait()
	if n := m.asked.Load() - asked; n > 20 {
		t.Errorf("Keystone was asked %d times about 20 wrong tokens", n)
	}
	if n := m.login.Load() - logins; n != 0 {
		t.Errorf("Billet logged in %d times more", n)
	}
}

// away is Keystone: the answer is 503 with a time to come again, and all is well when it is back.
func away(t *testing.T, c *cloud.Cloud, b *billet, m *middle) {
	known, unmet := c.Token("admin"), c.Token("admin")
	call(t, "GET", b.endpoint+"/v1/nodes", "", "X-Auth-Token", known)
	m.away.Store(true)
	for method, token := range map[string]string{"GET": unmet, "POST": known} {
		resp, text := call(t, method, b.endpoint+"/v1/nodes", `{"driver": "fake-hardware"}`, "X-Auth-Token", token)
		if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", method, resp.StatusCode, text)
		}
	}
	for method, path := range map[string]string{"GET": "/v1/nodes", "HEAD": "/"} { // what is remembered, and what is public
		if resp, text := call(t, method, b.endpoint+path, "", "X-Auth-Token", known); resp.StatusCode != 200 {
			t.Errorf("%s %s: %d %s", method, path, resp.StatusCode, text)
		}
	}
	m.away.Store(false)
	for _, token := range []string{unmet, known} {
		if resp, text := call(t, "POST", b.endpoint+"/v1/nodes", `{"driver": "fake-hardware"}`, "X-Auth-Token", token); resp.StatusCode != 201 {
			t.Errorf("back: %d %s", resp.StatusCode, text)
		}
	}
}

// baremetalURL is what the catalog has.
func baremetalURL(t *testing.T, c *cloud.Cloud) string {
	t.Helper()
	_, text := call(t, "GET", c.AuthURL()+"/auth/catalog", "", "X-Auth-Token", c.Token("admin"))
	var body struct {
		Catalog []struct {
			Type      string
			Endpoints []struct{ Interface, URL string }
		}
	}
	if err := json.Unmarshal([]byte(text), &body); err != nil {
		t.Fatal(err)
	}
	for _, service := range body.Catalog {
		for _, e := range service.Endpoints {
			if service.Type == "baremetal" && e.Interface == "public" {
				return e.URL
			}
		}
	}
	t.Fatal("the catalog has no baremetal endpoint")
	return ""
}

// client is the openstack command of the services' release: all commands of a user in one process, which logs in once.
type client struct {
	c   *cloud.Cloud
	in  *json.Encoder
	out *json.Decoder
}

func newClient(t *testing.T, c *cloud.Cloud) *client {
	t.Helper()
	python := filepath.Join(cloud.Venv(t), "bin", "python3")
	cmd := exec.Command(python, "-B", "../testdata/commandline.py")
	cmd.Env = append(cmd.Environ(), "PYTHONWARNINGS=ignore")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the client's process: %v", err)
		}
	})
	return &client{c, json.NewEncoder(in), json.NewDecoder(bufio.NewReader(out))}
}

// run runs a command as one of the cloud's users, and returns what it prints.
func (cli *client) run(user string, args ...string) (string, error) {
	var login []string
	env := map[string]string{}
	for _, pair := range cli.c.Environment(user) {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if rest, ok := strings.CutPrefix(name, "OS_"); ok {
			login = append(login, "--os-"+strings.ToLower(strings.ReplaceAll(rest, "_", "-")), env[name])
		}
	}
	return cli.with(append(login, args...)...)
}

func (cli *client) with(args ...string) (string, error) {
	if err := cli.in.Encode(args); err != nil {
		return "", err
	}
	var answer struct {
		Stdout, Stderr string
		Status         any
	}
	if err := cli.out.Decode(&answer); err != nil {
		return "", err
	}
	if answer.Status != 0.0 {
		return answer.Stdout + answer.Stderr, fmt.Errorf("exit status %v", answer.Status)
	}
	return answer.Stdout, nil
}

package compat

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/billet-metal/billet/openstack/openstacktest"
)

// shop is a service with fake machines of the class bm, behind a password, and the commands that make servers of them.
type shop struct {
	*billet
	t   *testing.T
	env []string
}

func newShop(t *testing.T, machines int, driverInfo ...string) *shop {
	t.Helper()
	s := &shop{t: t, billet: startBillet(t, "--auth", "http_basic", "--htpasswd-file", htpasswd(t))}
	s.env = []string{"BILLET_API=" + s.endpoint, "BILLET_USER=ada", "BILLET_PASSWORD=open sesame", "HOME=" + t.TempDir()}
	for i := range machines {
		name := fmt.Sprintf("m%d", i)
		args := []string{"node", "create", name, "--driver", "fake-hardware", "--resource-class", "bm", "--mac",
			fmt.Sprintf("52:54:00:00:00:%02x", i)}
		for _, kv := range driverInfo {
			args = append(args, "--driver-info", kv)
		}
		s.must(args...)
		s.must("node", "manage", name, "--wait")
		s.must("node", "provide", name, "--wait")
	}
	return s
}

func (s *shop) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(s.t.Context(), binary, args...)
	cmd.Env = s.env
	return cmd
}

// run is one command; what it says is on both its outputs.
func (s *shop) run(args ...string) (out string, code int) {
	said, err := s.command(args...).CombinedOutput()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		s.t.Error(err)
	} else if err != nil {
		code = exit.ExitCode()
	}
	return string(said), code
}

func (s *shop) must(args ...string) string {
	s.t.Helper()
	var out, errs bytes.Buffer
	cmd := s.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("billet %s: %v\n%s%s", strings.Join(args, " "), err, &out, &errs)
	}
	return out.String()
}

// fails is for a command that is to end with 1 and to say all of these.
func (s *shop) fails(args []string, say ...string) {
	s.t.Helper()
	out, code := s.run(args...)
	for _, words := range say {
		if code != 1 || !strings.Contains(out, words) {
			s.t.Errorf("billet %s: exit %d\n%s\nwant %q", strings.Join(args, " "), code, out, words)
		}
	}
}

type shownServer struct {
	UUID, Name, State, Image string
	Node                     string `json:"node_uuid"`
	NodeName                 string `json:"node_name"`
}

func (s *shop) list() []shownServer {
	s.t.Helper()
	return decode[[]shownServer](s.t, s.must("server", "list", "-o", "json"))
}

// isEmpty checks that there is no server, and that every machine gets to be available again.
func (s *shop) isEmpty(after string) {
	s.t.Helper()
	if list := s.list(); len(list) > 0 {
		s.t.Errorf("%s: %+v", after, list)
	}
	var nodes string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		nodes = s.must("node", "list")
		if strings.Count(nodes, "available") == strings.Count(nodes, "\n")-1 {
			return
		}
	}
	s.t.Errorf("%s: not all are available:\n%s", after, nodes)
}

// Six commands at once want one of four machines each: four get one, no two the same, and two say why not. Their servers are
// shown, rebuilt and deleted, and a name is used once.
func TestServersOfFourMachines(t *testing.T) {
	t.Parallel()
	s := newShop(t, 4)
	var all sync.WaitGroup
	var mu sync.Mutex
	refused := 0
	for i := range 6 {
		all.Go(func() {
			out, code := s.run("server", "create", fmt.Sprintf("web%d", i), "--image", "file:///images/x.raw", "--resource-class", "bm",
				"--key", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJpbGxldAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "--wait")
			mu.Lock()
			defer mu.Unlock()
			switch {
			case code == 1 && strings.Contains(out, "no available node has the resource class bm: of 4 that have it, "):
				refused++
			case code == 1 && strings.Contains(out, "given away in the meantime"):
				refused++
			case code != 0:
				t.Errorf("web%d: exit %d\n%s", i, code, out)
			}
		})
	}
	all.Wait()
	made := s.list()
	on := map[string]bool{}
	for _, v := range made {
		if on[v.Node] = true; v.State != "active" || v.Image != "file:///images/x.raw" {
			t.Errorf("%+v", v)
		}
	}
	if len(made) != 4 || len(on) != 4 || refused != 2 {
		t.Fatalf("%d servers on %d machines, %d refused: %+v", len(made), len(on), refused, made)
	}
	first := made[0]
	s.fails([]string{"server", "create", first.Name, "--image", "x", "--resource-class", "bm"},
		"There is a server "+first.Name+" already, on node "+first.Node, "`billet server delete "+first.Name+"`")
	s.must("server", "rebuild", first.Name, "--image", "file:///images/y.raw", "--wait")
	if v := decode[shownServer](t, s.must("server", "show", first.Name, "-o", "json")); v.Image != "file:///images/y.raw" ||
		v.State != "active" || v.UUID != first.UUID || v.Node != first.Node {
		t.Errorf("rebuilt: %+v", v)
	}
	for _, v := range made {
		s.must("server", "delete", v.Name, "--wait")
	}
	s.fails([]string{"server", "delete", first.Name}, "There is no server "+first.Name)
	s.isEmpty("all are deleted")

	// With --count those that have no machine are named, and the others stay.
	s.fails([]string{"server", "create", "many", "--count", "5", "--image", "x", "--resource-class", "bm", "--wait"},
		"1 of 5 servers were not made", "server many-")
	if made = s.list(); len(made) != 4 {
		t.Errorf("%+v", made)
	}
	for _, v := range made {
		s.must("server", "delete", v.UUID)
	}
	s.isEmpty("all are deleted by UUID")
}

// What is wrong by itself is said before a machine is taken, and why none fits is said.
func TestServersThatCannotBe(t *testing.T) {
	t.Parallel()
	s := newShop(t, 2)
	big := t.TempDir() + "/big"
	if err := os.WriteFile(big, make([]byte, 1<<20+1), 0o600); err != nil {
		t.Fatal(err)
	}
	secret := t.TempDir() + "/id"
	if err := os.WriteFile(secret, []byte("-----BEGIN OPENSSH PRIVATE KEY-----\nhush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ args, want string }{
		{"web --resource-class bm", "A server needs an image"},
		{"web --image x", "needs a resource class"},
		{"web_1 --image x --resource-class bm", `can not be called "web_1"`},
		{"web --image http://x/y --resource-class bm", "needs a checksum"},
		{"web --image x --resource-class bm --key nothing", "--key: open nothing: no such file"},
		{"web --image x --resource-class bm --key " + secret, "is a private key"},
		{"web --image x --resource-class bm --user-data " + big, "has more than 1048576 bytes"},
		{"web --image x --resource-class bm --count 0", "--count 0: from 1 to 100"},
		{"web --image x --resource-class bm --count 2 --hostname a", "are for one server"},
		{"web --image x --resource-class bm --address 192.0.2.7", "--address \"192.0.2.7\" is not ADDRESS/LENGTH"},
		{"web --image x --resource-class bm --address 192.0.2.7/24 --gateway 10.0.0.1", "is no address of the network 192.0.2.0/24"},
		{"web --image x --resource-class bm --dns 10.0.0.1", "need --address"},
		{"web --image x --resource-class bm --network n", "OS_AUTH_URL"},
		{"web --image x --resource-class gold", "no node has the resource class gold"},
		{"web --image x --resource-class bm --trait CUSTOM_FAST",
			"of 2 available nodes with the resource class bm, none fits: 2 without the trait"},
		{"web --image x --resource-class bm --node m9", "candidate node m9 could not be found"},
		{"web --image x --resource-class bm -o yaml", "use text or json"},
	} {
		s.fails(append([]string{"server", "create"}, strings.Fields(tt.args)...), tt.want)
	}
	if out := s.must("node", "list"); strings.Count(out, "available") != 2 {
		t.Errorf("machines were taken:\n%s", out)
	}
	s.isEmpty("nothing was made")
}

// A deploy that fails, one that is stopped and one whose command is killed: of the first two nothing is left but a machine that is
// being cleaned, and what the third leaves is found by its name.
func TestServersAreTakenBack(t *testing.T) {
	t.Parallel()
	t.Run("the deploy fails", func(t *testing.T) {
		s := newShop(t, 1, "fake_write_image_fail=the disk is too small")
		s.fails([]string{"server", "create", "web", "--image", "x", "--resource-class", "bm", "--wait"},
			"server web was not made: ", "the disk is too small", "`billet node why m0` shows what was seen", "All of it was taken back")
		s.isEmpty("the deploy failed")
	})
	s := newShop(t, 1, "fake_write_image_delay=10m")
	begun := func() *exec.Cmd {
		t.Helper()
		cmd := s.command("server", "create", "web", "--image", "x", "--resource-class", "bm", "--wait")
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(time.Minute); !strings.Contains(s.must("server", "list"), "wait call-back"); {
			if time.Sleep(50 * time.Millisecond); time.Now().After(deadline) {
				t.Fatalf("the deploy does not begin:\n%s", s.must("server", "list"))
			}
		}
		return cmd
	}
	stopped := begun()
	if err := stopped.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := stopped.Wait(); err == nil ||
		!strings.Contains(fmt.Sprint(stopped.Stdout), "server web was not made: stopped. All of it was taken back") {
		t.Errorf("%v: %s", err, stopped.Stdout)
	}
	s.isEmpty("the command was stopped")

	killed := begun()
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait()
	s.fails([]string{"server", "create", "web", "--image", "x", "--resource-class", "bm"},
		"There is a server web already", "`billet server delete web`")
	s.must("server", "delete", "web", "--wait")
	s.isEmpty("the command was killed")

	// Not active in time is a failure as well.
	s.fails([]string{"server", "create", "web", "--image", "x", "--resource-class", "bm", "--wait", "--timeout", "2s"},
		"it is not active after 2s", "All of it was taken back")
	s.isEmpty("it took too long")
}

// In a cloud a server's port is made with the user's own login, attached, and deleted with the server; also when Neutron stumbles. A
// port that was there before stays. What Neutron refuses is said, and nothing is left of the server.
func TestServersOnNetworksOfACloud(t *testing.T) {
	t.Parallel()
	s := newShop(t, 1)
	cloud := openstacktest.New(t)
	cloud.Neutron.AddNetwork("9c1f2a30-0000-4000-8000-000000000001", "tenant")
	cloud.Neutron.AddPort("9c1f2a30-0000-4000-8000-000000000002", "9c1f2a30-0000-4000-8000-000000000001", nil)
	s.env = append(s.env, "OS_AUTH_URL="+cloud.AuthURL(), "OS_USERNAME="+openstacktest.Username, "OS_PASSWORD="+openstacktest.Password,
		"OS_PROJECT_NAME="+openstacktest.Project)
	only := func(after string) {
		t.Helper()
		if ports := cloud.Neutron.Ports(); len(ports) != 1 {
			t.Errorf("%s: ports %q", after, ports)
		}
		s.isEmpty(after)
	}
	create := []string{"server", "create", "web", "--image", "x", "--resource-class", "bm", "--wait", "-o", "json"}
	onTenant := append(slices.Clone(create), "--network", "tenant")

	made := decode[shownServer](t, s.must(onTenant...))
	if len(cloud.Neutron.Ports()) != 2 || made.State != "active" {
		t.Errorf("%+v, %q", made, cloud.Neutron.Ports())
	}
	cloud.Neutron.Fail(openstacktest.On("DELETE ", openstacktest.Times(2, openstacktest.Answer(503, "{}"))))
	s.must("server", "delete", "web", "--wait")
	if asked := cloud.Neutron.Asked("DELETE "); len(asked) != 3 {
		t.Errorf("Neutron was asked %q", asked)
	}
	only("deleted")

	s.must(append(slices.Clone(create), "--port", "9c1f2a30-0000-4000-8000-000000000002")...)
	s.must("server", "delete", "web", "--wait")
	only("deleted with a port of another's")

	cloud.Neutron.Fail(openstacktest.On("POST ", openstacktest.Answer(409,
		`{"NeutronError": {"message": "Quota exceeded for resources: ['port']."}}`)))
	s.fails(onTenant, "Quota exceeded for resources", "All of it was taken back")
	only("over quota")
	cloud.Neutron.Fail(nil)
	s.fails(append(slices.Clone(create), "--network", "nowhere"), "Neutron has no network nowhere")
	s.fails(append(slices.Clone(create), "--port", "9c1f2a30-0000-4000-8000-000000000009"), "9c1f2a30-0000-4000-8000-000000000009")
	only("no such network")
}

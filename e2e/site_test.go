// Package e2e drives the real binary and virtual machines that really boot, as a user would. It
// needs root (network namespace, bridge, taps) and Debian's packages (scripts/deps test).
package e2e

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
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
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var (
	billet string // the binary under test
	cache  string // images and ramdisk, kept between runs
)

func TestMain(m *testing.M) {
	root, err := filepath.Abs("..")
	if err != nil {
		panic(err)
	}
	billet, cache = filepath.Join(root, "bin", "billet"), filepath.Join(root, ".cache", "e2e")
	if _, err := os.Stat(billet); err != nil {
		fmt.Fprintln(os.Stderr, "e2e: bin/billet is missing; run `make test-lab`, which builds it")
		os.Exit(1)
	}
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "e2e: virtual machines need a network namespace, a bridge and taps: run as root")
		os.Exit(1)
	}
	for _, args := range [][]string{
		{"ramdisk", "build", "--flavor", "cloud", "--out", filepath.Join(cache, "ramdisk")},
		{"lab", "image", "grub", "--out", filepath.Join(cache, "images")},
		{"lab", "image", "tiny", "--out", filepath.Join(cache, "images")},
	} {
		if out, err := exec.Command(billet, args...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "e2e: billet %s: %v\n%s", strings.Join(args, " "), err, out)
			os.Exit(1)
		}
	}
	for _, name := range []string{"grub", "tiny"} {
		if err := compress(filepath.Join(cache, "images", name)); err != nil {
			fmt.Fprintf(os.Stderr, "e2e: %v\n", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// compress makes base.qcow2, with compressed clusters, of base.raw, and its checksum.
func compress(base string) error {
	out, err := exec.Command("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", base+".raw", base+".qcow2").CombinedOutput()
	if err != nil {
		return fmt.Errorf("qemu-img convert: %w: %s", err, out)
	}
	b, err := os.ReadFile(base + ".qcow2")
	if err != nil {
		return err
	}
	return os.WriteFile(base+".qcow2.sha256", fmt.Appendf(nil, "%x  %s.qcow2\n", sha256.Sum256(b), filepath.Base(base)), 0o644)
}

// site is a provisioning network with its virtual machines and one `billet serve`.
type site struct {
	t      *testing.T
	dir    string
	name   string // of the lab
	ip     string // of this host on the lab's network
	listen string
	flags  []string
	// version is the microversion of call; "" is 1.95.
	version string
	serve   *exec.Cmd
	log     *os.File
}

// sites counts the sites of this process: each has a network of its own, so that tests, and test
// runs, may go side by side.
var sites atomic.Int64

func newSite(t *testing.T, flags ...string) *site {
	t.Helper()
	t.Parallel() // most of a test is waiting for one machine
	s := newLab(t)
	s.flags = flags
	s.start()
	return s
}

// newLab is a site whose service does not run yet.
func newLab(t *testing.T) *site {
	t.Helper()
	dir := shortDir(t)
	name, ip := freeNetwork(t)
	s := &site{t: t, dir: dir, listen: freePort(t), name: name, ip: ip}
	s.lab("up", "--cidr", s.ip+"/24")
	t.Cleanup(func() {
		s.stop(syscall.SIGTERM)
		s.lab("down")
		if t.Failed() {
			out, _ := os.ReadFile(filepath.Join(dir, "serve.log"))
			t.Logf("the service's log:\n%s", tail(out, 12000))
		}
	})
	return s
}

// freeNetwork chooses the name of a lab and this host's address on its network, past those which a killed
// test run left behind or which another run, whose process has a like number, uses.
func freeNetwork(t *testing.T) (name, ip string) {
	t.Helper()
	for run := os.Getpid()%250 + 1; ; {
		n := sites.Add(1)
		if 60+n > 255 {
			t.Fatalf("no lab name e%d-N is free: remove what killed runs left (billet lab down --name NAME; ip netns)", run)
		}
		name = fmt.Sprintf("e%d-%d", run, n)
		if _, err := net.InterfaceByName("billet-" + name); err == nil {
			continue
		}
		if _, err := os.Stat("/run/netns/billet-" + name); err == nil {
			continue
		}
		return name, fmt.Sprintf("10.%d.%d.1", 60+n, run)
	}
}

// shortDir is a temporary directory whose path, unlike t.TempDir's, leaves room for the names of sockets,
// which the kernel bounds to 107 characters with their directory.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// freePort finds a loopback address to listen on.
func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs `billet serve` and returns when it answers.
func (s *site) start() {
	s.t.Helper()
	log, err := os.OpenFile(filepath.Join(s.dir, "serve.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	args := append([]string{"serve", "--data-dir", filepath.Join(s.dir, "data"), "--listen", s.listen, "--auth", "noauth",
		"--provision-interface", "billet-" + s.name,
		"--file-url-allowed-paths", cache + "," + s.dir,
		"--deploy-kernel", filepath.Join(cache, "ramdisk", "vmlinuz"), "--deploy-ramdisk", filepath.Join(cache, "ramdisk", "initramfs"),
		// An emulated timer that gets no time on a busy host makes Linux panic over it.
		"--kernel-append-params", "nofb vga=normal rootfstype=ramfs no_timer_check",
	}, s.flags...)
	s.log, s.serve = log, exec.Command(billet, args...)
	s.serve.Stdout, s.serve.Stderr, s.serve.Env = log, log, ownEnviron()
	if err := os.MkdirAll(filepath.Join(s.dir, "data"), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := s.serve.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.eventually(30*time.Second, "the service to answer", func() (bool, string) {
		resp, err := http.Get("http://" + s.listen + "/")
		if err != nil {
			return false, err.Error()
		}
		resp.Body.Close()
		return resp.StatusCode == 200, resp.Status
	})
}

// ownEnviron is this process's environment without what is for its tests: the binary takes every BILLET_… for a key of its own.
func ownEnviron() []string {
	return slices.DeleteFunc(os.Environ(), func(line string) bool { return strings.HasPrefix(line, "BILLET_TEST_") })
}

// stop ends the service with a signal; SIGKILL is how a crash is made.
func (s *site) stop(sig syscall.Signal) {
	s.t.Helper()
	if s.serve == nil {
		return
	}
	s.serve.Process.Signal(sig)
	err := s.serve.Wait()
	if sig == syscall.SIGTERM && err != nil {
		s.t.Errorf("billet serve did not stop in order: %v", err)
	}
	s.serve = nil
	s.log.Close()
}

// lab runs `billet lab …` for this site's own network.
func (s *site) lab(args ...string) []byte {
	s.t.Helper()
	return s.billet(append([]string{"lab", "--name", s.name, "--dir", filepath.Join(s.dir, "lab")}, args...)...)
}

func (s *site) billet(args ...string) []byte {
	s.t.Helper()
	out, err := s.try(args...)
	if err != nil {
		s.t.Fatalf("billet %s: %v", strings.Join(args, " "), err)
	}
	return out
}

func (s *site) try(args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, billet, args...)
	cmd.Env = append(ownEnviron(), "BILLET_API=http://"+s.listen)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.Bytes(), fmt.Errorf("%w: %s", err, tail(errs.Bytes(), 4000))
	}
	return out.Bytes(), nil
}

// machine is one virtual machine and its node.
type machine struct {
	s    *site
	name string
	uuid string
	NICs []struct {
		MAC, Tap   string
		SwitchPort string `json:"switch_port"`
	}
	BMC struct {
		Port           int
		User, Password string
	}
	Disks  []struct{ Serial, Path string }
	Serial string `json:"serial_log"` // path; everything the machine ever said
}

// virtual creates a virtual machine; labArgs are options of `billet lab create`.
func (s *site) virtual(name string, labArgs ...string) *machine {
	s.t.Helper()
	m := &machine{s: s, name: name}
	if err := json.Unmarshal(s.lab(append([]string{"create", name}, labArgs...)...), m); err != nil {
		s.t.Fatal(err)
	}
	return m
}

// machine creates a virtual machine and enrols it.
func (s *site) machine(name string, labArgs ...string) *machine {
	s.t.Helper()
	m := s.virtual(name, labArgs...)
	m.uuid = m.enrol()
	return m
}

// enrol makes the machine's node.
func (m *machine) enrol() string {
	return strings.TrimSpace(string(m.s.billet("node", "create", m.name, "--driver", "ipmi", "--mac", m.NICs[0].MAC,
		"--driver-info", "ipmi_address=127.0.0.1", "--driver-info", fmt.Sprintf("ipmi_port=%d", m.BMC.Port),
		"--driver-info", "ipmi_username="+m.BMC.User, "--driver-info", "ipmi_password="+m.BMC.Password)))
}

type nodeView struct {
	State     string  `json:"provision_state"`
	Target    *string `json:"target_provision_state"`
	Power     *string `json:"power_state"`
	LastError *string `json:"last_error"`
	Fault     *string `json:"fault"`
}

func (m *machine) show() nodeView {
	m.s.t.Helper()
	var n nodeView
	m.s.call("GET", "/v1/nodes/"+m.uuid, nil, &n, 200)
	return n
}

func (m *machine) patch(path string, value any) {
	m.s.t.Helper()
	m.s.call("PATCH", "/v1/nodes/"+m.uuid, []map[string]any{{"op": "add", "path": path, "value": value}}, nil, 200)
}

// provision asks for a provision state, retrying while the node is locked.
func (m *machine) provision(body map[string]any) {
	m.s.t.Helper()
	m.s.call("PUT", "/v1/nodes/"+m.uuid+"/states/provision", body, nil, 202)
}

// arrive waits until the node is in a state, and fails at once when it is in a failed one instead.
func (m *machine) arrive(state string, within time.Duration) nodeView {
	m.s.t.Helper()
	var n nodeView
	m.s.eventually(within, m.name+" to be "+state, func() (bool, string) {
		n = m.show()
		wrong := strings.HasSuffix(n.State, "failed") || n.State == "error"
		if wrong && n.State != state {
			why, _ := m.s.try("node", "why", m.uuid)
			m.s.t.Fatalf("%s is %q instead of %q:\n%s\nconsole:\n%s", m.name, n.State, state, why, tail(m.console(), 3000))
		}
		return n.State == state && n.Target == nil || n.State == state && wrong, n.State
	})
	return n
}

// available takes a new machine to available without cleaning it.
func (m *machine) available() {
	m.s.t.Helper()
	m.patch("/automated_clean", false)
	m.provision(map[string]any{"target": "manage"})
	m.arrive("manageable", time.Minute)
	m.provision(map[string]any{"target": "provide"})
	m.arrive("available", time.Minute)
}

// deploy starts a deploy of an image file with a config drive that names the machine.
func (m *machine) deploy(info map[string]any) {
	m.s.t.Helper()
	m.patch("/instance_info", info)
	m.provision(map[string]any{"target": "active", "configdrive": map[string]any{
		"meta_data": map[string]any{"hostname": m.name,
			"public_keys": map[string]any{"k": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJpbGxldA test"}},
	}})
}

// console returns all the machine has ever written to its serial port.
func (m *machine) console() []byte {
	out, _ := os.ReadFile(m.Serial)
	return out
}

// prints waits until the console shows each text, in any order.
func (m *machine) prints(within time.Duration, texts ...string) {
	m.s.t.Helper()
	for _, text := range texts {
		m.s.eventually(within, fmt.Sprintf("%s to print %q", m.name, text), func() (bool, string) {
			seen := m.console()
			return bytes.Contains(seen, []byte(text)), tail(seen, 3000)
		})
	}
}

// call speaks the API; it waits out a locked node, as clients do.
func (s *site) call(method, path string, in, out any, status int) {
	s.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		s.t.Fatal(err)
	}
	s.eventually(time.Minute, method+" "+path, func() (bool, string) {
		req, _ := http.NewRequest(method, "http://"+s.listen+path, bytes.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-OpenStack-Ironic-API-Version", cmp.Or(s.version, "1.95"))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false, err.Error()
		}
		defer resp.Body.Close()
		answer, _ := io.ReadAll(resp.Body)
		if resp.StatusCode == http.StatusConflict {
			return false, string(answer)
		}
		if resp.StatusCode != status {
			s.t.Fatalf("%s %s: %s %s", method, path, resp.Status, answer)
		}
		if out != nil {
			if err := json.Unmarshal(answer, out); err != nil {
				s.t.Fatal(err)
			}
		}
		return true, ""
	})
}

// eventually polls until ok; the second result says how things stand, for the failure's text.
func (s *site) eventually(within time.Duration, what string, ok func() (bool, string)) {
	s.t.Helper()
	deadline := time.Now().Add(within)
	for {
		done, stands := ok()
		if done {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("waited %s for %s; it stands at: %s", within, what, stands)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func tail(b []byte, n int) string {
	if len(b) > n {
		b = b[len(b)-n:]
	}
	return string(b)
}

// sha256Of reads the sidecar file beside an image of the cache.
func sha256Of(t *testing.T, image string) string {
	t.Helper()
	b, err := os.ReadFile(image + ".sha256")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(b))[0]
}

// imageInfo is the instance_info for an image of the cache.
func imageInfo(t *testing.T, name string) map[string]any {
	t.Helper()
	path := filepath.Join(cache, "images", name)
	return map[string]any{"image_source": "file://" + path, "image_os_hash_algo": "sha256", "image_os_hash_value": sha256Of(t, path)}
}

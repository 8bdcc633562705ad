// Package openstack drives released OpenStack services, one Billet among them, and virtual machines that really boot, as a
// cloud's user would: with the openstack command. One cloud serves all of its tests, because it takes minutes to start.
// It needs root and what `make test-openstack` installs.
package openstack

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/billet-metal/billet/compat/cloud"
)

// stage is the cloud, Billet in it, and the lab whose wire is the cloud's physical network.
type stage struct {
	*cloud.Cloud
	t       *testing.T // of the case that runs
	root    *testing.T
	dir     string
	labName string
	listen  string // of Billet's API
	billet  string // the binary under test
	cache   string // images and ramdisk, kept between runs
	tokens  map[string]string
	network string // ID of the network prov
	image   string // ID of an image that no machine reads
	flags   []string
}

const (
	host   = "10.98.0.1" // of this host on the lab's wire
	region = "RegionOne"
)

// TestMain makes ramdisk and images while there is a way to Debian's packages: the cloud itself may have none.
func TestMain(m *testing.M) {
	if _, asked := os.LookupEnv("BILLET_TEST_OPENSTACK"); asked {
		for _, args := range [][]string{
			{"ramdisk", "build", "--flavor", "cloud", "--out", "../../.cache/e2e/ramdisk"},
			{"lab", "image", "tiny", "--out", "../../.cache/e2e/images"},
			{"lab", "image", "debian-cloud", "--out", "../../.cache/e2e/images"},
		} {
			if out, err := exec.Command("../../bin/billet", args...).CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "billet %s: %v\n%s", strings.Join(args, " "), err, out)
				os.Exit(1)
			}
		}
	}
	os.Exit(m.Run())
}

// newStage starts everything; it skips where the services are not installed.
func newStage(t *testing.T) *stage {
	venv := cloud.Venv(t)
	s := &stage{t: t, root: t, dir: t.TempDir(), listen: freePort(t), tokens: map[string]string{}}
	s.labName = fmt.Sprint("s", os.Getpid()%1000000)
	s.billet, s.cache = absolute(t, "../../bin/billet"), absolute(t, "../../.cache/e2e")
	s.Cloud = cloud.New(t, venv, "http://"+s.listen)
	s.wire()
	s.Start("db", "bus", "keystone")
	s.step("billet registered and started", func() {
		s.register()
		s.serve()
	})
	s.Start("glance", "swift", "placement", "switch")
	s.Join("billet-"+s.labName, "br0")
	s.Start("neutron", "dhcp", "nova", "compute")
	s.step("nova-compute is up", func() { s.up("cloud"); cloud.DiscoverHosts(s.Cloud) })
	s.step("network, image, key and quotas", s.furnish)
	t.Cleanup(s.epilogue)
	return s
}

// wire makes the lab. It goes away when this process does.
func (s *stage) wire() {
	dir := filepath.Join(s.Dir, "lab")
	end := exec.Command("sh", "-c", `cat >/dev/null; exec "$0" lab --name "$1" --dir "$2" down`, s.billet, s.labName, dir)
	end.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	pipe, err := end.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := end.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = pipe.Close(); _ = end.Wait() })
	s.lab("up", "--cidr", host+"/24")
}

// register makes Billet known to Keystone with Billet's own command, twice: the second time finds all done.
func (s *stage) register() {
	for _, want := range []string{"endpoint", "everything was there"} {
		cmd := exec.Command(s.billet, "openstack", "register", "--public-url", "http://"+s.listen)
		cmd.Env = append(append(os.Environ(), s.Environment("admin")...), "BILLET_OPENSTACK_PASSWORD="+cloud.Password)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			s.t.Fatalf("billet openstack register: %v\n%s\nwant %q", err, out, want)
		}
	}
}

// serve runs Billet and returns when it answers.
func (s *stage) serve() {
	s.t.Helper()
	args := append([]string{"serve", "--data-dir", filepath.Join(s.Dir, "data", "billet"), "--listen", s.listen, "--auth", "keystone",
		"--openstack-auth-url", s.AuthURL(), "--openstack-username", "ironic", "--openstack-region", region,
		"--provision-interface", "billet-" + s.labName, "--dhcp-provider", "neutron",
		"--neutron-cleaning-network", "prov", "--neutron-inspection-network", "prov",
		"--deploy-kernel", filepath.Join(s.cache, "ramdisk", "vmlinuz"), "--deploy-ramdisk", filepath.Join(s.cache, "ramdisk", "initramfs"),
		"--kernel-append-params", "nofb vga=normal rootfstype=ramfs no_timer_check",
	}, s.flags...)
	unset := []string{"-u", "BILLET_TEST_OPENSTACK", "-u", "BILLET_TEST_KEEP", "-u", "BILLET_TEST_RUN"} // it takes them for its own keys
	s.Run("billet", []string{"BILLET_OPENSTACK_PASSWORD=" + cloud.Password}, "env", slices.Concat(unset, []string{s.billet}, args)...)
	s.until(time.Minute, "Billet to answer", func() (bool, string) {
		status, body, err := s.http("GET", "http://"+s.listen+"/", "", nil)
		return status == 200, fmt.Sprintf("%d %s %v\n%s", status, body, err, s.Log("billet"))
	})
}

// epilogue says what a failed run needs, and how much memory each part of the cloud takes.
func (s *stage) epilogue() {
	s.root.Logf("resident memory:\n%s", cloud.MemoryTable(s.Cloud))
	if s.root.Failed() {
		for _, name := range []string{"billet", cloud.ComputeName("cloud")} {
			s.root.Logf("the log of %s:\n%s", name, s.Log(name))
		}
	}
}

// step says how long a part took.
func (s *stage) step(what string, do func()) {
	s.t.Helper()
	begin := time.Now()
	do()
	s.t.Logf("%s: %.1f s", what, time.Since(begin).Seconds())
}

func (s *stage) run(args ...string) string {
	s.t.Helper()
	out, err := exec.Command(s.billet, args...).Output()
	if err != nil {
		s.t.Fatalf("billet %s: %v %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (s *stage) lab(args ...string) string {
	s.t.Helper()
	return s.run(append([]string{"lab", "--name", s.labName, "--dir", filepath.Join(s.Dir, "lab")}, args...)...)
}

// why is what an operator reads about a node.
func (s *stage) why(uuid string) string {
	cmd := exec.Command(s.billet, "node", "why", uuid)
	cmd.Env = append(append(os.Environ(), s.Environment("admin")...), "BILLET_API=http://"+s.listen)
	out, _ := cmd.CombinedOutput()
	return string(out)
}

// until polls until ok; its second result says how things stand.
func (s *stage) until(most time.Duration, what string, ok func() (bool, string)) {
	s.t.Helper()
	for deadline := time.Now().Add(most); ; time.Sleep(500 * time.Millisecond) {
		done, stands := ok()
		if done {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("waited %s for %s; it stands at: %s", most, what, stands)
		}
	}
}

func absolute(t *testing.T, path string) string {
	p, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

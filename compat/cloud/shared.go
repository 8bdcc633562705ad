package cloud

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Venv is the environment of the real services, which BILLET_TEST_OPENSTACK names; without it the test is skipped.
func Venv(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("BILLET_TEST_OPENSTACK")
	if dir == "" {
		t.Skip("NOT TESTED: the real OpenStack services. make test-openstack installs them and runs their tests.")
	}
	return dir
}

// common is the cloud that the tests of a package share. Tests of one package that use it do not run at the same time.
var common struct {
	cloud   *Cloud
	started map[string]bool
	failed  bool
}

// Shared returns the cloud of a package's tests, with these services: starting them costs a minute. A test names its things so that
// no other meets them, and stops no service. The package's TestMain is Run.
func Shared(t testing.TB, names ...string) *Cloud {
	t.Helper()
	if common.cloud == nil {
		common.cloud, common.started = build(t, Venv(t), "http://127.0.0.1:6385"), map[string]bool{}
	}
	t.Cleanup(func() { common.failed = common.failed || t.Failed() })
	mine := *common.cloud
	mine.t = t
	common.cloud = &mine // with the wires it will lay
	for _, name := range names {
		need(&mine, name)
	}
	for _, name := range names {
		if !common.started[name] {
			mine.Start(name)
			common.started[name] = true
		}
	}
	return &mine
}

// Run runs a package's tests and ends the cloud they shared.
func Run(m *testing.M) int {
	status := m.Run()
	if common.cloud != nil {
		common.cloud.stop(common.failed, func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) })
	}
	return status
}

// programs are what a service needs that is not everywhere the others are: `make test` installs Keystone, Glance and Swift alone.
var programs = map[string]string{
	"bus": "/usr/lib/rabbitmq/bin/rabbitmq-server", "switch": "ovs-vswitchd", "placement": "placement-manage",
	"neutron": "neutron-rpc-server", "dhcp": "neutron-dhcp-agent", "nova": "nova-conductor", "compute": "nova-compute",
}

// need skips a test of a service that is not installed.
func need(c *Cloud, name string) {
	c.t.Helper()
	program := programs[name]
	if program == "" || isFile(filepath.Join(c.venv, "bin", program)) {
		return
	}
	if _, err := exec.LookPath(program); err != nil {
		c.t.Skipf("NOT TESTED: %s is not installed here (%s). make test-openstack installs it and runs its tests.", name, program)
	}
}

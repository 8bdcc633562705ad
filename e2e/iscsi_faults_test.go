package e2e

import (
	"context"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/billet-metal/billet/iscsi"
)

// step is the step of the deploy under way.
func (m *machine) step() string {
	m.s.t.Helper()
	var n struct {
		Step struct{ Step string } `json:"deploy_step"`
	}
	m.s.call("GET", "/v1/nodes/"+m.uuid, nil, &n, 200)
	return n.Step.Step
}

// killNine kills the service with -9 as soon as a deploy is at the given step, and starts it again.
func (m *machine) killNine(step string) {
	m.s.t.Helper()
	deadline := time.Now().Add(3 * time.Minute)
	for m.step() != step { // no pause: some steps are short
		if state := m.show().State; strings.HasSuffix(state, "failed") || state == "active" || time.Now().After(deadline) {
			m.s.t.Fatalf("%s came to %q and not to the step %s", m.name, state, step)
		}
	}
	m.s.stop(syscall.SIGKILL)
	m.s.t.Logf("kill -9 at %s", step)
	m.s.start()
}

// The service dies while it writes the far disk, and again while the ramdisk installs the boot loader: each
// time the next process goes on, and the instance comes up.
func TestLongISCSISurvivesKillNine(t *testing.T) {
	s := newSite(t)
	m := s.iscsiMachine("iphoenix", "bios")
	m.deploy(s.partitionImage(map[string]any{"swap_mb": 64}))
	m.killNine("write_image")
	m.killNine("prepare_instance_boot")
	m.arrive("active", 5*time.Minute)
	m.comesUp("iphoenix login:", 1)
}

// exported finds the machine's iSCSI target on the site's network.
func (m *machine) exported() string {
	m.s.t.Helper()
	found := ""
	m.s.eventually(time.Minute, m.name+" to export its disk", func() (bool, string) {
		for last := 128; last < 136; last++ { // the first addresses that DHCP lends
			address := net.JoinHostPort(fmt.Sprintf("%s.%d", m.s.ip[:strings.LastIndex(m.s.ip, ".")], last), iscsi.DefaultPort)
			if c, err := net.DialTimeout("tcp", address, 200*time.Millisecond); err == nil {
				c.Close()
				found = address
				return true, ""
			}
		}
		return false, "no target"
	})
	return found
}

// Strangers on the network, without credentials or with made-up ones, are not let into a machine's disk by
// the kernel's target.
func (m *machine) refusesStrangers(address string) {
	m.s.t.Helper()
	for name, chap := range map[string]*iscsi.CHAP{
		"nobody":      nil,
		"a stranger":  {User: "stranger", Secret: "stranger-danger"},
		"an impostor": iscsi.DeploymentCHAP(m.uuid, strings.Repeat("0", 32), strings.Repeat("0", 64)),
	} {
		d, err := iscsi.Open(context.Background(), iscsi.Options{
			Address: address, Target: "iqn.2008-10.org.openstack:" + m.uuid, LUN: iscsi.ExportLUN, CHAP: chap, Patience: 5 * time.Second,
			Initiator: "iqn.2026-11.org.example:stranger",
		})
		if err == nil {
			d.Close()
			m.s.t.Errorf("%s was let into the disk", name)
			continue
		}
		if !strings.Contains(err.Error(), "logging in:") {
			m.s.t.Errorf("%s was kept out by something else: %v", name, err)
		}
		m.s.t.Logf("%s: %v", name, err)
	}
}

package conductor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/billet-metal/billet/diagnosis"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// What the BMC said of its boot device reaches the diagnosis.
func TestTheDiagnosisHearsWhatTheBMCSaid(t *testing.T) {
	pxe := node.BootDevice{Device: "pxe"}
	for _, tt := range []struct {
		answer driver.OverrideAnswer
		want   diagnosis.OverrideAnswer
	}{
		{driver.OverrideUntold, diagnosis.OverrideUntold},
		{driver.OverrideLost, diagnosis.OverrideLost},
		{driver.OverrideKept, diagnosis.OverrideKept},
	} {
		n := &node.Node{Plan: &node.Plan{}}
		driver.Override.Set(&driver.Task{Node: n}, driver.BootOverride{Asked: pxe, Answer: tt.answer})
		want := diagnosis.Override{Device: "pxe", Answer: tt.want}
		if got := New(Config{}).waitOf(n).Override; got != want {
			t.Errorf("%s: %+v, want %+v", tt.answer, got, want)
		}
	}
	if got := New(Config{}).waitOf(&node.Node{Plan: &node.Plan{}}).Override; got != (diagnosis.Override{}) {
		t.Errorf("of nothing: %+v", got)
	}
}

// neutron says of each node's ports what it is given, or nothing within its caller's time.
type neutron struct {
	report node.NetworkReport
	hangs  bool
	asked  atomic.Int32
}

func (s *neutron) Report(ctx context.Context, _ string, macs []string) node.NetworkReport {
	s.asked.Add(1)
	if !slices.Equal(macs, []string{mac1}) {
		return node.NetworkReport{Service: "Neutron", Silent: fmt.Sprint("asked for ", macs)}
	}
	if s.hangs {
		<-ctx.Done()
		return node.NetworkReport{Service: "Neutron", Silent: ctx.Err().Error()}
	}
	return s.report
}

// Where Neutron serves DHCP it is asked for evidence when something is told to people: early, by `why`, and in the failure's
// words, which are kept. It is not asked at every look, and one that hangs holds nobody up for long.
func TestNeutronIsAskedForEvidence(t *testing.T) {
	for _, hangs := range []bool{false, true} {
		inWorld(t, func(w *world) {
			service := &neutron{hangs: hangs, report: node.NetworkReport{Service: "Neutron", Ports: []node.NetworkPort{
				{ID: "p1", MAC: mac1, Status: "DOWN", Up: true, Bound: true}}}}
			w.cfg.BootPhaseTimeout, w.cfg.FirmwareTimeout = 110*time.Second, 5*time.Minute
			w.cfg.OtherDHCP, w.cfg.Network = "Neutron", service
			want := "port p1 of " + mac1 + " is DOWN instead of ACTIVE"
			if hangs {
				want = "Neutron did not say what it knows of them (context deadline exceeded)"
			}
			w.enroll("test", node.Available)
			c, _ := w.start(w.cfg)
			w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
			w.reach(node.DeployWait)
			began := node.Now()
			running, _, err := c.Why(w.t.Context(), uuid1)
			if err != nil || !strings.Contains(running.Sentence, want) || running.Network == nil || node.Since(began) > time.Minute {
				t.Fatalf("after %s: %+v, %v", node.Since(began), running, err)
			}
			n := w.settle()
			if n.State != node.DeployFailed || !strings.Contains(n.LastError, want) || strings.Contains(n.LastError, "no DHCP request") {
				t.Errorf("the node is %s: %s", n.State, n.LastError)
			}
			if w.said(want) == 0 {
				t.Errorf("not told early: %q", w.events())
			}
			_, failed, err := c.Why(w.t.Context(), uuid1)
			if err != nil || failed == nil || failed.Network == nil || failed.Network.Service != "Neutron" {
				t.Errorf("kept: %+v, %v", failed, err)
			}
			if asked := service.asked.Load(); asked > 6 {
				t.Errorf("Neutron was asked %d times", asked)
			}
		})
	}
}

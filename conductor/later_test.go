package conductor

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// refuse has what the machine does answered with err from now on; nil: it works.
func (m *machine) refuse(what string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail[what] = err
}

func notYet(what string, kind node.AwaitKind, within time.Duration) error {
	return &driver.NotYet{
		Await: node.Await{For: kind, Text: what}, Within: within, Every: 2 * time.Second, Err: errors.New(what + " is not there"),
	}
}

// A step that cannot go on yet waits without the lease, is run again, and goes on by itself.
func TestAStepThatCannotGoOnYet(t *testing.T) {
	inWorld(t, func(w *world) {
		c, _ := w.start(w.cfg)
		w.enroll("test", node.Available)
		w.m.refuse("boot_deploy", notYet("the port", node.Link, 2*time.Minute))
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
		time.Sleep(time.Minute)
		synctest.Wait()
		n := w.node()
		w.wantState(n, node.DeployWait)
		if n.Lease.Holder != "" || n.Plan.WaitingFor != "the port" || n.Plan.Awaits != node.Link {
			t.Errorf("lease %q, waits for %q (%s)", n.Lease.Holder, n.Plan.WaitingFor, n.Plan.Awaits)
		}
		if runs := w.m.count("boot_deploy"); runs < 20 || runs > 40 {
			t.Errorf("the step was run %d times in a minute", runs)
		}
		// The service behind it goes away: that has its own time, the flow's.
		w.m.refuse("boot_deploy", notYet("Neutron", node.Service, 0))
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		w.wantState(w.node(), node.DeployWait)
		w.m.refuse("boot_deploy", nil)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		n = w.node()
		w.wantState(n, node.DeployWait)
		if n.Plan.Awaits != node.FirstCall || node.Until(n.Plan.Deadline) < 25*time.Minute {
			t.Errorf("waits for %q until %s", n.Plan.WaitingFor, n.Plan.Deadline)
		}
	})
}

// A wait that was in vain is the flow's failure, in the words of whoever could not go on.
func TestAStepThatCannotGoOnInTime(t *testing.T) {
	for _, tt := range []struct {
		err    error
		before time.Duration // it waits still
		after  time.Duration // and has failed
	}{
		{notYet("the port", node.Link, 2*time.Minute), 110 * time.Second, 130 * time.Second},
		{notYet("Neutron", node.Service, 0), 29 * time.Minute, 31 * time.Minute},
		{notYet("the port", node.Link, time.Hour), 29 * time.Minute, 31 * time.Minute}, // the flow's time is the most
	} {
		inWorld(t, func(w *world) {
			c, _ := w.start(w.cfg)
			w.enroll("test", node.Available)
			w.m.refuse("boot_deploy", tt.err)
			w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
			time.Sleep(tt.before)
			synctest.Wait()
			w.wantState(w.node(), node.DeployWait)
			time.Sleep(tt.after - tt.before)
			synctest.Wait()
			n := w.node()
			w.wantState(n, node.DeployFailed)
			if want := "The deploy failed at step deploy.boot_deploy: " + tt.err.Error(); n.LastError != want {
				t.Errorf("got %q, want %q", n.LastError, want)
			}
		})
	}
}

// A flow without a wait state waits under its lease, and one whose process dies while it waits is gone on with.
func TestTearingDownWaitsToo(t *testing.T) {
	inWorld(t, func(w *world) {
		c, stop := w.start(w.cfg)
		w.enroll("test", node.Active)
		w.m.refuse("tear_down", notYet("Neutron", node.Service, 0))
		w.provision(c, node.ProvisionRequest{Event: node.EventDelete})
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		w.wantState(w.node(), node.Deleting)
		stop()
		w.m.refuse("tear_down", nil)
		w.start(w.cfg)
		time.Sleep(time.Minute)
		synctest.Wait()
		w.wantState(w.node(), node.CleanWait)
	})
}

// Tidying up tries again for as long as it may take, and its failure is told.
func TestTidyingUpTriesAgain(t *testing.T) {
	for _, away := range []time.Duration{time.Minute, time.Hour} {
		inWorld(t, func(w *world) {
			c, _ := w.start(w.cfg)
			w.enroll("test", node.Available)
			w.m.refuse("boot_deploy", errors.New("broken"))
			w.m.refuse("tidy_up", notYet("Neutron", node.Service, 0))
			w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
			time.Sleep(min(away, 10*time.Minute))
			if away < tidyTime {
				w.wantState(w.node(), node.Deploying)
			}
			w.m.refuse("tidy_up", nil)
			time.Sleep(10 * time.Second)
			synctest.Wait()
			w.wantState(w.node(), node.DeployFailed)
			told := strings.Contains(strings.Join(w.events(), "\n"), "Tidying up after the deploy: Neutron is not there")
			if told != (away > tidyTime) {
				t.Errorf("away for %s: %q", away, w.events())
			}
		})
	}
}

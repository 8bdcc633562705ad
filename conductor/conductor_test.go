package conductor

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// No secret of a node ever shows in a log line, in history or in last_error.
func TestSecretsStaySecret(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		drive := "H4sIAAAAAAAAAwMAAAAAAAAAAAA="
		w.edit(func(n *node.Node) { n.InstanceInfo["image_server_password"] = "imagepass" })
		c, _ := w.start(w.cfg)
		var token string
		w.m.onDo = func(_ string, n *node.Node) {
			token = n.Agent.Token
			w.m.mu.Lock()
			defer w.m.mu.Unlock()
			w.m.fail["write_image"] = errors.New("agent said: " + token + " hunter2-secret imagepass " + n.ConfigDrive)
		}
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy, ConfigDrive: drive})
		w.reach(node.DeployWait)
		w.heartbeat(c)
		n := w.settle()
		w.wantState(n, node.DeployFailed)
		if want := "The deploy failed at step deploy.write_image: agent said: ****** ****** ****** ******"; n.LastError != want {
			t.Errorf("last_error %q", n.LastError)
		}
		for _, where := range []string{w.log.String(), strings.Join(w.events(), "\n"), n.LastError} {
			for _, secret := range []string{w.node().Agent.Token, "hunter2-secret", "imagepass", drive} {
				if secret != "" && strings.Contains(where, secret) {
					t.Errorf("%q shows", secret)
				}
			}
		}
	})
}

func TestProgressIsKeptUntilTheFlowEnds(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Active)
		r := &run{c: New(w.cfg).engine, n: w.node(), log: w.cfg.Log}
		r.n.Plan = &node.Plan{Flow: node.FlowDeploy, Steps: []node.PlannedStep{{Step: "write_image"}}}
		r.progress(w.t.Context(), node.Progress{Done: 3, Total: 7})
		want := node.Progress{NodeUUID: uuid1, Flow: node.FlowDeploy, Step: "write_image", Done: 3, Total: 7, At: node.Now()}
		if got := w.progress(); !reflect.DeepEqual(got, &want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		r.clearProgress(w.t.Context())
		if w.progress() != nil {
			t.Error("the progress of an ended flow is still there")
		}
	})
}

// What other processes want looked at is looked at at once, and a closed channel does no harm.
func TestWakeups(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("fake-hardware", node.Available)
		wakeups := make(chan string)
		running := w.cfg
		running.Wakeups, running.WorkInterval = wakeups, time.Hour
		w.start(running)
		api := w.cfg
		api.Notify = func(_ context.Context, uuid string) error { wakeups <- uuid; return nil }
		began := time.Now()
		w.provision(New(api), node.ProvisionRequest{Event: node.EventDeploy})
		w.wantState(w.settle(), node.Active)
		if took := time.Since(began); took > time.Second {
			t.Errorf("took %v", took)
		}
		close(wakeups)
		synctest.Wait()
	})
}

func TestRunEndsAllItStarted(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("fake-hardware", node.Available)
		w.edit(func(n *node.Node) { n.DriverInfo["fake_write_image_delay"] = "500ms" })
		w.cfg.PowerSyncInterval = time.Minute
		c, stop := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
		time.Sleep(100 * time.Millisecond)
		stop() // synctest fails the test when a goroutine is left
		if c.spawn(func(context.Context) {}) {
			t.Error("a stopped conductor starts work")
		}
		c.Wake(uuid1) // does no harm
		if len(c.looks) > 0 || len(c.carried) > 0 || len(c.verbs) > 0 || len(c.wakes) > 0 {
			t.Errorf("left behind: %v %v %d %d", c.looks, c.carried, len(c.verbs), len(c.wakes))
		}
	})
}

// Every busy state of the flows table leads where the transition table says, by events it has.
func TestTheFlowsTableFitsTheTransitions(t *testing.T) {
	for _, f := range flows {
		if f.busy.Class() != node.Busy {
			t.Errorf("%s runs in %q, which is not busy", f.name, f.busy)
		}
		n := &node.Node{State: f.busy, TargetState: node.Available}
		if _, ok := f.busy.Next(f.done(n)); !ok {
			t.Errorf("%s ends with %s, which %q does not know", f.name, f.done(n), f.busy)
		}
		if _, ok := f.busy.Next(node.EventFail); !ok {
			t.Errorf("%s cannot fail", f.name)
		}
		if f.timeout == nil || f.noun == "" || f.done == nil {
			t.Errorf("%s is not complete", f.name)
		}
		if f.next != "" {
			if to, _ := f.busy.Next(f.done(n)); flowNamed(f.next) == nil || flowNamed(f.next).busy != to {
				t.Errorf("%s leads to %q, which is not where %s runs", f.name, to, f.next)
			}
		}
	}
}

// tidier is an inspect interface that tidies up after itself.
type tidier struct {
	driver.Inspect
	err error
}

func (i tidier) TidyUp(context.Context, *driver.Task) error { return i.err }

func TestWhoTidiesUpAfterAnInspection(t *testing.T) {
	own, deploys := errors.New("inspect's"), errors.New("deploy's")
	m := newMachine()
	m.fail["tidy_up"] = deploys
	h := &driver.Hardware{Deploy: testDeploy{m, "direct"}, Inspect: testInspect{m: m}}
	task := &driver.Task{Node: &node.Node{}}
	if err := tidyInspect(h)(t.Context(), task); !errors.Is(err, deploys) {
		t.Errorf("without one of its own: %v", err)
	}
	h.Inspect = tidier{h.Inspect, own}
	if err := tidyInspect(h)(t.Context(), task); !errors.Is(err, own) {
		t.Errorf("with one of its own: %v", err)
	}
}

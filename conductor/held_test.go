package conductor

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// panicky is a storage interface with a mistake.
type panicky struct{}

func (panicky) Name() string                                 { return "noop" }
func (panicky) Properties() map[string]string                { return nil }
func (panicky) Validate(context.Context, *driver.Task) error { panic("hunter2-secret") }

// A driver with a mistake refuses a request; the node is let go as it was.
func TestADriverThatPanicsWhenItIsAsked(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		w.cfg.Types[1].Other[node.Storage] = []driver.Implementation{panicky{}}
		c := New(w.cfg)
		err := c.Provision(w.t.Context(), uuid1, node.ProvisionRequest{Event: node.EventDeploy})
		if node.KindOf(err) != node.Invalid || !strings.Contains(err.Error(), "storage: a mistake in the driver") ||
			strings.Contains(err.Error()+w.log.String(), "hunter2") {
			t.Errorf("got %v", err)
		}
		w.wantState(w.node(), node.Available)
		if holder := w.node().Lease.Holder; holder != "" {
			t.Errorf("the node stays locked by %s", holder)
		}
	})
}

// talker is a deploy interface whose tear-down takes a while and tells how it goes.
type talker struct{ testDeploy }

func (talker) Name() string { return "talker" }

func (talker) Steps() []driver.Step {
	return []driver.Step{{Name: "tear_down", Priority: map[node.Flow]int{node.FlowDelete: 100},
		Run: func(context.Context, *driver.Task) (driver.Result, error) {
			return driver.Result{WaitFor: finishing("tear_down"), Within: time.Hour, PollEvery: 10 * time.Second, Says: "begun"}, nil
		},
		Poll: func(_ context.Context, t *driver.Task) (driver.Result, error) {
			if node.Since(t.Step().StartedAt) > 25*time.Second {
				return driver.Result{Says: "ended"}, nil
			}
			return driver.Result{WaitFor: finishing("tear_down"), PollEvery: 10 * time.Second, Says: "going on"}, nil
		}}}
}

// A flow without a wait state tells people what its step says, as the others do.
func TestAWaitUnderTheLeaseTells(t *testing.T) {
	inWorld(t, func(w *world) {
		ty := &w.cfg.Types[1]
		ty.Deploy = append(ty.Deploy, talker{testDeploy{w.m, ""}})
		c, _ := w.start(w.cfg)
		w.enroll("test", node.Active)
		w.edit(func(n *node.Node) { n.Interfaces = map[node.Interface]string{node.Deploy: "talker"} })
		w.provision(c, node.ProvisionRequest{Event: node.EventDelete})
		time.Sleep(time.Minute)
		w.settle()
		for text, times := range map[string]int{"begun": 1, "going on": 2, "ended": 1} {
			if said := w.said("Step deploy.tear_down: " + text); said != times {
				t.Errorf("%q is said %d times: %q", text, said, w.events())
			}
		}
	})
}

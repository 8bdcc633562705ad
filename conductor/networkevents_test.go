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

// What the network service says has the node that waits asked again at once, by the MAC address of its port or by the node that
// the port is bound to; what it says of others, and of nobody, has nobody asked. What is said decides nothing: the step does.
func TestNetworkEventsWakeWhoWaits(t *testing.T) {
	const stranger = "52:54:00:99:99:99"
	for _, tt := range []struct {
		name  string
		event node.NetworkEvent
		ready bool // what the step waits for has happened
		wakes bool
	}{
		{"by its MAC address", node.NetworkEvent{Name: "network.bind_port", MAC: mac1, Status: "ACTIVE"}, true, true},
		{"by the node it is bound to", node.NetworkEvent{Name: "network.bind_port", MAC: stranger, Host: uuid1}, true, true},
		{"a status that nobody has to believe", node.NetworkEvent{Name: "network.bind_port", MAC: mac1, Status: "ACTIVE"}, false, true},
		{"a port of nobody", node.NetworkEvent{Name: "network.bind_port", MAC: stranger, Host: "bm-compute"}, true, false},
		{"a node that is not there", node.NetworkEvent{Name: "network.bind_port", MAC: stranger, Host: id("p9")}, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", node.Manageable)
				link := node.Await{For: node.Link, Text: "a port to be ACTIVE"}
				w.m.fail["boot_clean"] = &driver.NotYet{Await: link, Within: time.Hour, Every: 10 * time.Minute, Err: errors.New("not ACTIVE")}
				c, _ := w.start(w.cfg)
				w.provision(c, node.ProvisionRequest{Event: node.EventProvide})
				if n := w.reach(node.CleanWait); n.Plan.Awaits != node.Link {
					t.Fatalf("it waits for %s", n.Plan.WaitingFor)
				}
				w.m.mu.Lock()
				if tt.ready {
					delete(w.m.fail, "boot_clean")
				}
				w.m.mu.Unlock()
				before, asked := node.Now(), w.m.count("boot_clean")
				if err := c.NetworkEvents(t.Context(), []node.NetworkEvent{tt.event, tt.event}); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				n := w.node()
				if goesOn := n.Plan.Awaits == node.FirstCall; goesOn != (tt.ready && tt.wakes) || !node.Now().Equal(before) {
					t.Errorf("after the event the node waits for %s, %s later", n.Plan.WaitingFor, node.Since(before))
				}
				if again := w.m.count("boot_clean") > asked; again != tt.wakes {
					t.Errorf("the step was asked again: %v", again)
				}
			})
		})
	}
}

// Who does not wait is left alone, and the log tells of the event.
func TestNetworkEventsInVain(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		c, _ := w.start(w.cfg)
		event := []node.NetworkEvent{{Name: "network.delete_port", MAC: mac1, Status: "DELETED"}}
		if err := c.NetworkEvents(t.Context(), event); err != nil || w.node().State != node.Available || w.node().Lease.Holder != "" {
			t.Errorf("%v, the node is %s, held by %q", err, w.node().State, w.node().Lease.Holder)
		}
		if !strings.Contains(w.log.String(), "network service spoke of a port") {
			t.Error("the log does not tell of the event")
		}
	})
}

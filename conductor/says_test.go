package conductor

import (
	"slices"
	"testing"

	"github.com/billet-metal/billet/node"
)

// How a step says that it ended is in the node's history after the cleaning.
func TestWhatAStepSaysIsInTheHistory(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Manageable)
		w.m.offers = []node.PlannedStep{{Interface: node.Deploy, Step: "erase_devices", Priority: 10}}
		w.m.agentOK["erase_devices"], w.m.says = true, `erased: /dev/sda (serial "A1", 512 bytes: overwritten with hunter2-secret)`
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventProvide})
		w.reach(node.CleanWait)
		w.heartbeat(c)
		w.reach(node.CleanWait)
		w.heartbeat(c)
		w.wantState(w.settle(), node.Available)
		want := `INFO clean: Step deploy.erase_devices: erased: /dev/sda (serial "A1", 512 bytes: overwritten with ******)`
		if events := w.events(); !slices.Contains(events, want) {
			t.Errorf("the history is %q", events)
		}
	})
}

// What happens to a step that goes on waiting is in the history once, when it happens.
func TestWhatHappensToAWaitingStepIsInTheHistory(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Manageable)
		w.m.offers = []node.PlannedStep{{Interface: node.Deploy, Step: "erase_devices", Priority: 10}}
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventProvide})
		w.reach(node.CleanWait)
		w.m.happens = "the machine lost power"
		w.heartbeat(c)
		w.reach(node.CleanWait)
		w.heartbeat(c)
		w.reach(node.CleanWait)
		count := func() (n int) {
			for _, e := range w.events() {
				if e == "INFO clean: Step deploy.erase_devices: the machine lost power" {
					n++
				}
			}
			return n
		}
		if n := count(); n != 1 {
			t.Errorf("it is %d times in the history: %q", n, w.events())
		}
		w.m.agentOK["erase_devices"] = true
		w.heartbeat(c)
		w.wantState(w.settle(), node.Available)
		if n := count(); n != 1 {
			t.Errorf("it is %d times in the history in the end: %q", n, w.events())
		}
	})
}

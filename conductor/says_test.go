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

package conductor

import (
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
)

// Discovery enrols so many machines and no more until people have taken some in hand; what it has enrolled may report again.
func TestDiscoveryHasACap(t *testing.T) {
	discovering(t, func(w *world, c *Conductor) {
		c.cfg.Discovery.Limit = 1
		first, err := c.ContinueInspection(w.t.Context(), stranger("192.0.2.77"))
		if err != nil {
			t.Fatal(err)
		}
		other := stranger("192.0.2.78")
		other.Inventory["interfaces"] = []any{map[string]any{"mac_address": "52:54:00:00:00:42"}}
		_, err = c.ContinueInspection(w.t.Context(), other)
		if node.KindOf(err) != node.Unavailable || !strings.HasPrefix(err.Error(),
			"The machine was not enrolled: 1 discovered machines wait in the state enroll, as many as discovery_limit allows.") {
			t.Errorf("one too many: %v", err)
		}
		if got := w.nodes(); len(got) != 2 {
			t.Errorf("%d nodes", len(got))
		}
		large := stranger("192.0.2.77")
		large.PluginData["noise"] = strings.Repeat("x", 2<<20)
		if _, err := c.ContinueInspection(w.t.Context(), large); node.KindOf(err) != node.Invalid ||
			!strings.Contains(err.Error(), "at most 2097152 are kept") {
			t.Errorf("a large report of the first: %v", err)
		}
		if _, err := c.ContinueInspection(w.t.Context(), stranger("192.0.2.77")); err != nil {
			t.Errorf("the first again: %v", err)
		}
		w.store.Edit(first.UUID, func(n *node.Node) { n.State = node.Manageable })
		if err := w.store.Ports.Delete(w.t.Context(), portOf(t, w, first.UUID)); err != nil { // the test's machines all have the same
			t.Fatal(err)
		}
		if _, err := c.ContinueInspection(w.t.Context(), other); node.KindOf(err) == node.Unavailable && err != nil {
			t.Errorf("after one was taken in hand: %v", err)
		}
	})
}

func portOf(t *testing.T, w *world, uuid string) string {
	t.Helper()
	ports, err := w.store.Ports.List(t.Context(), node.PortFilter{NodeUUID: uuid}, node.Page{})
	if err != nil || len(ports) == 0 {
		t.Fatal(ports, err)
	}
	return ports[0].UUID
}

// A report is read when a node may wait for it, and not otherwise.
func TestWhichReportsAreExpected(t *testing.T) {
	for _, tt := range []struct {
		state     node.State
		discovery string
		uuid      string
		want      string
	}{
		{node.Available, "", "", "No node waits for an inspection report."},
		{node.Available, "test", "", ""},
		{node.InspectWait, "", "", ""},
		{node.Inspecting, "", "", ""}, // it is faster than its conductor, which tells it to come again
		{node.InspectWait, "", uuid1, ""},
		{node.Available, "", uuid1, "Node " + uuid1 + " does not wait for an inspection report."},
		{node.Enroll, "test", uuid1, "Node " + uuid1 + " does not wait for an inspection report."},
		{node.InspectWait, "", "n2", "Node n2 could not be found."},
	} {
		inWorld(t, func(w *world) {
			w.cfg.Discovery.Driver = tt.discovery
			w.enroll("test", tt.state)
			c := New(w.cfg) // it does not run, and leaves the state as it is
			got := ""
			if err := c.ExpectsReport(w.t.Context(), tt.uuid); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("%+v: %q", tt, got)
			}
		})
	}
}

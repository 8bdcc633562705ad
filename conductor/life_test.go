package conductor

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
)

// A step that takes a day is waited for as long as it shows signs of life, and no longer than its deadline after
// the last one.
func TestTheDeadlineFollowsSignsOfLife(t *testing.T) {
	const alive = 2 * time.Hour
	for _, tt := range []struct {
		name      string
		follows   bool
		beats     time.Duration // how long the agent calls, every two minutes
		tells     time.Duration // how long the step tells its progress, as often
		about     string        // the step that it is of
		unread    bool          // the store does not tell it
		from, end time.Duration // when the cleaning fails, since the step began
	}{
		{"progress for a day", true, 30 * time.Hour, 24 * time.Hour, "erase_devices", false, 26 * time.Hour, 26*time.Hour + 3*time.Minute},
		{"heartbeats alone", true, 24 * time.Hour, 0, "", false, 26 * time.Hour, 26*time.Hour + 3*time.Minute},
		{"heartbeats of a step that hangs", true, 24 * time.Hour, time.Hour, "erase_devices", false, 3 * time.Hour, 3*time.Hour + 3*time.Minute},
		{"progress of another step", true, 5 * time.Hour, 9 * time.Hour, "write_image", false, 7 * time.Hour, 7*time.Hour + 3*time.Minute},
		{"progress that nobody can read", true, 5 * time.Hour, 9 * time.Hour, "erase_devices", true, 7 * time.Hour, 7*time.Hour + 3*time.Minute},
		{"no sign", true, 0, 0, "", false, 2 * time.Hour, 2*time.Hour + 3*time.Minute},
		{"a deadline that follows nothing", false, 24 * time.Hour, 24 * time.Hour, "erase_devices", false, 2 * time.Hour,
			2*time.Hour + 3*time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", node.Manageable)
				w.m.offers = []node.PlannedStep{{Interface: node.Deploy, Step: "erase_devices", Priority: 10}}
				w.m.runs = alive
				if tt.follows {
					w.m.alive = alive
				}
				c, _ := w.start(w.cfg)
				w.provision(c, node.ProvisionRequest{Event: node.EventProvide})
				w.reach(node.CleanWait)
				w.heartbeat(c)
				w.reach(node.CleanWait)
				began := time.Now()
				if tt.unread {
					w.way.fails(errors.New("disk full"), "Progress")
				}
				for w.node().State == node.CleanWait && time.Since(began) < 40*time.Hour {
					time.Sleep(2 * time.Minute)
					if w.node().State != node.CleanWait {
						break
					}
					if time.Since(began) <= tt.tells {
						w.store.SaveProgress(w.t.Context(), node.Progress{NodeUUID: uuid1, Step: tt.about, Done: 1, Total: 9, At: node.Now()})
					}
					if time.Since(began) <= tt.beats {
						w.heartbeat(c)
					}
				}
				n := w.settle()
				w.wantState(n, node.CleanFailed)
				if took := n.ProvisionUpdatedAt.Sub(began); took < tt.from-3*time.Minute || took > tt.end {
					t.Errorf("failed after %s, want between %s and %s", took, tt.from, tt.end)
				}
				if !strings.Contains(n.LastError, "waiting for the agent to finish erase_devices") {
					t.Errorf("last_error: %s", n.LastError)
				}
			})
		})
	}
}

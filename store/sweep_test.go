package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
)

// Bounds that are smaller than those of the last run are met at the start, batch by batch, on both databases; what is newest
// stays, and nobody loses what is his for what another had too much of.
func TestSweep(t *testing.T) {
	for name, cfg := range map[string]Config{"sqlite": {}, "postgres": {URL: NewPostgresDatabase(t)}} {
		t.Run(name, func(t *testing.T) {
			cfg.DataDir, cfg.Host = t.TempDir(), "here"
			s, err := Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			nodes := []*node.Node{{State: node.Enroll}, {State: node.Enroll}}
			for i, n := range nodes {
				if err := s.CreateNode(t.Context(), n); err != nil {
					t.Fatal(err)
				}
				for e := range []int{250, 5}[i] {
					if err := s.AddHistory(t.Context(), node.HistoryEvent{NodeUUID: n.UUID, Event: fmt.Sprint(e)}); err != nil {
						t.Fatal(err)
					}
				}
			}
			for i := range 3000 {
				s.Saw(node.BootEvent{MAC: []string{"52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:03"}[i%3], What: fmt.Sprint(i),
					At: node.Now().Add(-time.Duration(3000-i) * time.Minute)})
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			cfg.Keep = Keep{History: 7, EventsOfMachine: 100, Events: 250, EventsFor: 900 * time.Minute}
			if s, err = Open(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			if _, err := s.sweep(t.Context()); err != nil { // beside the one that the start began
				t.Fatal(err)
			}
			for i, want := range []string{"7 from 243", "5 from 0"} {
				h, err := s.History(t.Context(), nodes[i].UUID, node.Page{})
				if err != nil || fmt.Sprintf("%d from %s", len(h), h[0].Event) != want {
					t.Errorf("history of node %d: %d from %s, %v; want %s", i, len(h), h[0].Event, err, want)
				}
			}
			events, err := s.BootEvents(t.Context(), []string{"52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:03"}, time.Time{})
			if err != nil || len(events) != 250 || events[len(events)-1].What != "2999" || events[0].What != "2750" {
				t.Errorf("%d boot events, %v", len(events), err)
			}
			if gone, err := s.sweep(t.Context()); gone != 0 || err != nil {
				t.Errorf("again: %d, %v", gone, err)
			}
			s.keep.EventsOfMachine, s.keep.EventsFor = 10, 50*time.Minute // the last 50 minutes: some 17 of each machine
			if gone, err := s.sweep(t.Context()); gone < 215 || err != nil {
				t.Errorf("fewer: %d, %v", gone, err)
			}
			if events, err = s.BootEvents(t.Context(), []string{"52:54:00:00:00:01"}, time.Time{}); err != nil || len(events) != 10 {
				t.Errorf("%d of one machine, %v", len(events), err)
			}
		})
	}
}

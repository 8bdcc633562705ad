package conductor

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/store"
)

// site is a real SQLite database with conductors on it, in real time.
type site struct {
	t  *testing.T
	db *store.Store
}

func newSite(t *testing.T) site {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{DataDir: t.TempDir(), Host: "host-1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return site{t, db}
}

func (s site) start(host string, through Store) (*Conductor, func()) {
	c := New(Config{Store: through, Types: testTypes(newMachine()), Host: host, AutomatedClean: true,
		LeaseTTL: 2 * time.Second, WorkInterval: 50 * time.Millisecond, LockInterval: 20 * time.Millisecond})
	ctx, cancel := context.WithCancel(s.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Errorf("Run: %v", err)
		}
	})
	s.t.Cleanup(stop)
	for !c.spawn(func(context.Context) {}) {
		time.Sleep(time.Millisecond)
	}
	return c, stop
}

// rest waits until the node rests in a state.
func (s site) rest(uuid string, want node.State) *node.Node {
	s.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		n, err := s.db.Node(s.t.Context(), uuid)
		if err != nil {
			s.t.Fatal(err)
		}
		if n.State == want && n.Lease.Holder == "" {
			return n
		}
	}
	n, _ := s.db.Node(s.t.Context(), uuid)
	s.t.Fatalf("state %q, want %q; lease %+v, last_error %q, plan %+v", n.State, want, n.Lease, n.LastError, n.Plan)
	return nil
}

func (s site) create(c *Conductor, info node.Document) string {
	s.t.Helper()
	n, err := c.CreateNode(s.t.Context(), &node.Node{Driver: "fake-hardware", DriverInfo: info})
	if err != nil {
		s.t.Fatal(err)
	}
	return n.UUID
}

// On the real database, with real time: a life, and its history.
func TestALifeOnSQLite(t *testing.T) {
	s := newSite(t)
	c, _ := s.start("host-1", inSQL(s.db))
	uuid := s.create(c, node.Document{"fake_write_image_delay": "120ms"})
	for _, step := range []struct {
		event node.Event
		want  node.State
	}{
		{node.EventManage, node.Manageable}, {node.EventInspect, node.Manageable}, {node.EventProvide, node.Available},
		{node.EventDeploy, node.Active}, {node.EventDelete, node.Available},
	} {
		if err := c.Provision(t.Context(), uuid, node.ProvisionRequest{Event: step.event}); err != nil {
			t.Fatal(err)
		}
		n := s.rest(uuid, step.want)
		if n.Plan != nil || n.LastError != "" || n.Power == node.PowerUnknown {
			t.Errorf("after %s: plan %+v, last_error %q, power %q", step.event, n.Plan, n.LastError, n.Power)
		}
	}
	events, err := s.db.History(t.Context(), uuid, node.Page{})
	if err != nil || len(events) < 20 {
		t.Errorf("%d history events, %v", len(events), err)
	}
}

// A deploy that waits while the program is replaced by one of this version goes on, and what people were told of its
// machine is known.
func TestADeployOfAnEarlierVersionGoesOn(t *testing.T) {
	s := newSite(t)
	c, stop := s.start("host-1", inSQL(s.db))
	uuid := s.create(c, node.Document{"fake_write_image_delay": "500ms"})
	for _, step := range []struct {
		event node.Event
		want  node.State
	}{
		{node.EventManage, node.Manageable}, {node.EventProvide, node.Available}, {node.EventDeploy, node.DeployWait},
	} {
		if err := c.Provision(t.Context(), uuid, node.ProvisionRequest{Event: step.event}); err != nil {
			t.Fatal(err)
		}
		s.rest(uuid, step.want)
	}
	stop()
	n, err := s.db.Reserve(t.Context(), uuid, "host-1", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	n.Plan.Memo = map[string]string{ // as version 0.1 kept it
		"conductor.suspect": `{"Since":"2026-11-30T10:01:30Z","Phase":"work","Told":["deploy.write_image work"]}`,
	}
	if err := s.db.Release(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	s.start("host-1", inSQL(s.db))
	if n := s.rest(uuid, node.Active); n.Plan != nil || n.LastError != "" {
		t.Errorf("plan %+v, last_error %q", n.Plan, n.LastError)
	}
	events, err := s.db.History(t.Context(), uuid, node.Page{})
	back := slices.DeleteFunc(events, func(e node.HistoryEvent) bool { return e.Event != "The machine that was quiet (work) goes on." })
	if err != nil || len(back) != 1 {
		t.Errorf("%v: %+v", err, back)
	}
}

// The same crash test as in memory, on the real database: a deploy that waits once, killed at each
// of its writes.
func TestADeployOnSQLiteSurvivesKills(t *testing.T) {
	for _, k := range []int{1, 2, 3, 5, 7, 9} {
		t.Run(fmt.Sprintf("after %d writes", k), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			through := newProcess(immortal)
			c, stop := s.start("host-1", through.to(inSQL(s.db)))
			uuid := s.create(c, node.Document{"fake_write_image_delay": "60ms"})
			for _, step := range []struct {
				event node.Event
				want  node.State
			}{{node.EventManage, node.Manageable}, {node.EventProvide, node.Available}} {
				if err := c.Provision(t.Context(), uuid, node.ProvisionRequest{Event: step.event}); err != nil {
					t.Fatal(err)
				}
				s.rest(uuid, step.want)
			}
			through.lives(k + 1) // the lease is the first
			if err := c.Provision(t.Context(), uuid, node.ProvisionRequest{Event: node.EventDeploy}); err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(2 * time.Second); !through.dead() && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			stop()
			s.start("host-2", inSQL(s.db))
			n := s.rest(uuid, node.Active)
			if n.Plan != nil || n.LastError != "" || n.Power != node.PowerOn {
				t.Errorf("plan %+v, last_error %q, power %q", n.Plan, n.LastError, n.Power)
			}
		})
	}
}

package conductor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
)

// settable is the clock of a host and of a database, which a test sets, in fake time.
type settable struct {
	mu       sync.Mutex
	set      time.Duration // what the host's clock was set forward by
	database time.Duration // the same of the database's
	shared   bool
	away     error
	marks    []node.TimeMark
}

func (s *settable) forward(host, database time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set, s.database = s.set+host, s.database+database
}

func (s *settable) clock() *node.Clock {
	began := time.Now()
	return &node.Clock{Wall: func() time.Time {
		s.mu.Lock()
		defer s.mu.Unlock()
		return time.Now().Round(0).Add(s.set)
	}, Passed: func() time.Duration { return time.Since(began) }}
}

func (s *settable) SharedTime(context.Context) (time.Time, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Round(0).Add(s.database), s.shared, s.away
}

func (s *settable) SaveTimeMark(_ context.Context, m node.TimeMark) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marks = append(s.marks, m)
	return nil
}

// A clock set forward by a day, or back, ends no flow, moves no deadline, and is told once.
func TestAClockThatIsSet(t *testing.T) {
	for _, tt := range []struct {
		step time.Duration
		told string
	}{
		{25 * time.Hour, "INFO deploy: The clock of the host here was set forward by 25h0m0s. " +
			"The deadlines of the flow are kept: they follow the time that passes."},
		{-25 * time.Hour, "INFO deploy: The clock of the host here was set back by 25h0m0s. " +
			"The deadlines of the flow are kept: they follow the time that passes."},
	} {
		for _, answers := range []bool{true, false} {
			t.Run(fmt.Sprint(tt.step, answers), func(t *testing.T) {
				inWorld(t, func(w *world) {
					s := &settable{}
					w.cfg.Clock, w.cfg.Time, w.cfg.TimeMark = s.clock(), s, func() node.TimeMark { return node.TimeMark{Boot: "b", Uptime: time.Hour} }
					defer node.KeepTime(w.cfg.Clock)()
					w.enroll("test", node.Available)
					w.m.within = 20 * time.Minute
					c, _ := w.start(w.cfg)
					w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
					w.reach(node.DeployWait)
					time.Sleep(10 * time.Minute)
					s.forward(tt.step, 0)
					time.Sleep(9 * time.Minute)
					w.wantState(w.node(), node.DeployWait)
					if answers {
						w.heartbeat(c)
						w.wantState(w.settle(), node.Active)
					} else {
						began := time.Now()
						w.wantState(w.settle(), node.DeployFailed)
						if took := time.Since(began); took < 50*time.Second || took > 65*time.Second {
							t.Errorf("failed %s later, a minute is wanted", took)
						}
						if n := w.node(); !strings.HasPrefix(n.LastError, "Timed out after 1200 s waiting") {
							t.Errorf("last_error %q", n.LastError)
						}
					}
					told := slices.DeleteFunc(w.events(), func(e string) bool { return !strings.Contains(e, "clock") })
					same(t, "history of the clock", told, []string{strings.ReplaceAll(tt.told, "host here", "host "+w.cfg.Host)})
					if n := strings.Count(w.log.String(), "this host's clock was set"); n != 1 {
						t.Errorf("the log says it %d times", n)
					}
					s.mu.Lock()
					defer s.mu.Unlock()
					if last := s.marks[len(s.marks)-1]; last.Ahead != tt.step || last.Boot != "b" || last.Uptime != time.Hour {
						t.Errorf("left behind %+v", last)
					}
				})
			})
		}
	}
}

// Where processes share a database its clock counts: see compare.
func TestTheDatabasesClock(t *testing.T) {
	const day = 24 * time.Hour
	for _, tt := range []struct {
		name           string
		host, database time.Duration // what each was set forward by
		away           error
		follows        time.Duration
		says           string
	}{
		{"a trifle", 0, time.Second, nil, time.Second, ""},
		{"the host alone", day, 0, nil, 0, "this host's clock was set forward"},
		{"the database alone", 0, day, nil, 0, "the database's clock was set"},
		{"both, as after a host that slept", day, day, nil, day, "it follows them"},
		{"both, differently", day, -day, nil, 0, "the database's clock was set"},
		{"the database is away", 0, day, errors.New("gone"), 0, "the database's clock is not known"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				s := &settable{shared: true, away: tt.away}
				clock := s.clock()
				clock.Now()
				w.cfg.Clock, w.cfg.Time, w.cfg.Log = clock, s, slog.New(slog.NewTextHandler(w.log, nil))
				k := &timekeeper{c: New(w.cfg).core, clock: clock}
				k.look(w.t.Context())
				s.forward(tt.host, tt.database)
				began := time.Now()
				for range 3 {
					k.look(w.t.Context())
				}
				if got := clock.Now().Sub(began); got != tt.follows {
					t.Errorf("follows by %s, want %s", got, tt.follows)
				}
				if tt.says != "" && tt.away == nil && strings.Count(w.log.String(), tt.says) != 1 || !strings.Contains(w.log.String(), tt.says) {
					t.Errorf("says %s, want once %q", w.log, tt.says)
				}
				if len(s.marks) > 0 {
					t.Errorf("left behind %+v", s.marks)
				}
			})
		})
	}
}

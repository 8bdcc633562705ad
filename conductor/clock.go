package conductor

import (
	"context"
	"fmt"
	"time"

	"github.com/billet-metal/billet/node"
)

// TimeStore is what a store knows of time.
type TimeStore interface {
	// SharedTime is the clock of a database that several processes go by; false when this process is alone with it.
	SharedTime(ctx context.Context) (now time.Time, shared bool, err error)
	SaveTimeMark(ctx context.Context, m node.TimeMark) error
}

const (
	clockInterval = 10 * time.Second // how often the clocks are compared
	clockTrifle   = 2 * time.Second  // a difference that is followed without a word: clocks are slewed, questions take time
)

// timekeeper compares this process's time with the host's clock and the database's.
type timekeeper struct {
	c     *core
	clock *node.Clock
	mark  func() node.TimeMark // where the host stands
	ahead time.Duration        // how far the host's clock was ahead when people were told
	off   time.Duration        // how far the database's was
}

// keepTime watches the clocks until ctx ends. Nothing that waits follows a clock that is set: see node.Clock.
func (c *core) keepTime(ctx context.Context) {
	k := &timekeeper{c: c, clock: c.cfg.Clock, mark: c.cfg.TimeMark, ahead: c.cfg.Clock.Ahead()}
	tick := time.NewTicker(clockInterval)
	defer tick.Stop()
	for {
		k.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (k *timekeeper) look(ctx context.Context) {
	ahead := k.clock.Ahead()
	step := ahead - k.ahead
	if step.Abs() > clockTrifle {
		k.ahead = ahead
		k.tell(ctx, step, ahead)
	}
	shared, err := k.compare(ctx)
	switch {
	case err != nil && ctx.Err() == nil:
		k.c.log.Warn("the database's clock is not known; this process's goes on", "error", err)
	case err == nil && !shared:
		if ahead.Abs() <= clockTrifle {
			k.clock.Set(k.clock.Now().Add(ahead))
			k.ahead = 0
		}
		m := k.mark()
		m.At, m.Ahead = k.clock.Now(), k.clock.Ahead()
		if err := k.c.cfg.Time.SaveTimeMark(ctx, m); err != nil && ctx.Err() == nil {
			k.c.log.Warn("the service's time not saved", "error", err)
		}
	}
}

// compare follows the database's clock, where processes share one. A clock that was set is followed only when the
// host's own agrees with it, as after a host that slept; else the database's host was set, and the flows of all
// processes would end.
func (k *timekeeper) compare(ctx context.Context) (shared bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, clockInterval)
	defer cancel()
	theirs, shared, err := k.c.cfg.Time.SharedTime(ctx)
	if err != nil || !shared {
		return shared, err
	}
	off := theirs.Sub(k.clock.Now())
	agreed := (k.clock.Ahead() - off).Abs() <= clockTrifle
	switch {
	case off.Abs() <= clockTrifle || agreed:
		if off.Abs() > clockTrifle {
			k.c.log.Warn("this process's time was behind or ahead of the database's and the host's; it follows them",
				"by", off.Round(time.Millisecond))
		}
		k.clock.Set(k.clock.Now().Add(off))
		k.off, k.ahead = 0, k.clock.Ahead()
	case (off - k.off).Abs() > clockTrifle:
		k.off = off
		k.c.log.Error("the database's clock was set: deadlines go on by the time that passes, but processes that start now go by the "+
			"database's; put its clock right", "database_ahead", off.Round(time.Millisecond), "host_ahead", k.clock.Ahead().Round(time.Millisecond))
	}
	return shared, nil
}

// tell says once that the host's clock was set: in the log, and in the history of each node with a flow under way.
func (k *timekeeper) tell(ctx context.Context, step, ahead time.Duration) {
	way := "forward"
	if step < 0 {
		way = "back"
	}
	by := step.Abs().Round(time.Second)
	k.c.log.Warn("this host's clock was set "+way+"; what waits goes on by the time that passes",
		"by", by, "clock_is_ahead", ahead.Round(time.Second))
	page := node.Page{Limit: workBatch}
	for {
		nodes, err := k.c.nodes.Nodes(ctx, node.NodeFilter{IncludeChildren: true}, page)
		if err != nil {
			if ctx.Err() == nil {
				k.c.log.Warn("nodes not read; their history does not have the clock", "error", err)
			}
			return
		}
		for _, n := range nodes {
			if n.Plan != nil {
				k.c.note(ctx, n, string(n.Plan.Flow), infoSeverity,
					fmt.Sprintf("The clock of the host %s was set %s by %s. The deadlines of the flow are kept: "+
						"they follow the time that passes.", k.c.cfg.Host, way, by))
			}
		}
		if len(nodes) < workBatch {
			return
		}
		page.Marker = nodes[len(nodes)-1].UUID
	}
}

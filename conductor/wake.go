package conductor

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/billet-metal/billet/node"
)

// waker has nodes looked at by this process, each by one goroutine at a time.
type waker struct {
	*life
	look         func(ctx context.Context, uuid string)
	notifyOthers func(ctx context.Context, uuid string) error // nil: there are none
	log          *slog.Logger
	wakes        lane // nodes that go on after a call, a poll or a crash

	mu    sync.Mutex
	looks map[string]*look
}

// look is one node that is to be looked at by this process.
type look struct{ again bool }

// Wake has the node looked at soon: its machine called, a poll is due, or nobody works on it. Many
// calls for one node while it is looked at are one more look. It does not wait for that.
func (c *waker) Wake(uuid string) {
	c.mu.Lock()
	if e, ok := c.looks[uuid]; ok {
		e.again = true
		c.mu.Unlock()
		return
	}
	e := &look{}
	c.looks[uuid] = e
	c.mu.Unlock()
	started := c.spawn(func(ctx context.Context) {
		if c.wakes.queue(ctx) {
			defer c.wakes.leave()
			c.look(ctx, uuid)
		}
		for c.wantsMore(ctx, uuid, e) {
			c.look(ctx, uuid)
		}
	})
	if !started {
		c.mu.Lock()
		delete(c.looks, uuid)
		c.mu.Unlock()
		c.notify(uuid)
	}
}

// notify asks another process to do what Wake would have done here.
func (c *waker) notify(uuid string) {
	if c.notifyOthers == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), notifyTime)
	defer cancel()
	if err := c.notifyOthers(ctx, uuid); err != nil {
		c.log.Warn("other conductors not told of the node; they find it as work", "node", uuid, "error", err)
	}
}

// notifyTime bounds telling the other processes.
const notifyTime = 5 * time.Second

// wantsMore ends the look unless somebody woke the node meanwhile.
func (c *waker) wantsMore(ctx context.Context, uuid string, e *look) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.again && ctx.Err() == nil {
		e.again = false
		return true
	}
	delete(c.looks, uuid)
	return false
}

// wakeIn wakes the node after d, unless the conductor stops before.
func (c *waker) wakeIn(uuid string, d time.Duration) {
	c.spawn(func(ctx context.Context) {
		select {
		case <-time.After(d):
			c.Wake(uuid)
		case <-ctx.Done():
		}
	})
}

// look carries the node on if it needs a conductor. A node that somebody else holds is left
// alone: whoever lets it go sees for itself whether the machine called meanwhile (see release).
func (c *engine) look(ctx context.Context, uuid string) {
	n, err := c.nodes.Node(ctx, uuid)
	if err != nil || !needsConductor(n) || n.State.Class() == node.Busy && n.Lease.Held(node.Now()) {
		return
	}
	// A process so slow that its lease ran out still works on the node, and mostly keeps it.
	if n.Lease.Holder == c.cfg.Host && c.carries(uuid) {
		return
	}
	n, err = c.reserveAny(ctx, uuid)
	if err != nil {
		if k := node.KindOf(err); k != node.Conflict && k != node.NotFound && ctx.Err() == nil {
			c.log.Warn("node not reserved", "node", uuid, "error", err)
		}
		return
	}
	if needsConductor(n) {
		c.carry(ctx, n)
		return
	}
	if err := c.release(ctx, n); err != nil { // it changed between the two reads
		c.log.Warn("node not released", "node", uuid, "error", err)
	}
}

// needsConductor reports whether a node has work for whoever gets its lease.
func needsConductor(n *node.Node) bool {
	if n.TargetPower != node.PowerUnknown {
		return true
	}
	failing := n.Plan != nil && n.Plan.Failure != ""
	switch n.State.Class() {
	case node.Busy:
		return true
	case node.Waiting:
		now := node.Now()
		return failing || !n.Maintenance || n.Plan == nil || due(n.Plan.PollAt, now) || due(n.Plan.Deadline, now)
	case node.Held:
		return failing
	default:
		return false
	}
}

func due(t, now time.Time) bool { return !t.IsZero() && !t.After(now) }

// wakeUnfinished looks once at every node that an earlier process may have left in the middle of
// something: calls it took down but did not act on, power changes, aborts.
func (c *engine) wakeUnfinished(ctx context.Context) {
	page := node.Page{Hot: true, Limit: workBatch}
	for {
		nodes, err := c.nodes.Nodes(ctx, node.NodeFilter{IncludeChildren: true}, page)
		if err != nil {
			if ctx.Err() == nil {
				c.log.Error("nodes not read at the start; those with work are found later", "error", err)
			}
			return
		}
		for _, n := range nodes {
			if n.State.Class() == node.Waiting || n.State.Class() == node.Held || n.TargetPower != node.PowerUnknown {
				c.Wake(n.UUID)
			}
		}
		if len(nodes) < workBatch {
			return
		}
		page.Marker = nodes[len(nodes)-1].UUID
	}
}

// workBatch is how many nodes the store is asked for at once.
const workBatch = 500

// findWork asks the store for work, and hears what other processes say, until ctx ends.
func (c *engine) findWork(ctx context.Context) {
	tick := time.NewTicker(c.cfg.WorkInterval)
	defer tick.Stop()
	wakeups := c.cfg.Wakeups
	c.wakeForWork(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.wakeForWork(ctx)
		case uuid, ok := <-wakeups:
			if !ok {
				wakeups = nil
				continue
			}
			c.Wake(uuid)
		}
	}
}

func (c *engine) wakeForWork(ctx context.Context) {
	work, err := c.queue.Work(ctx, node.Now(), workBatch)
	if err != nil && ctx.Err() == nil {
		c.log.Error("work not read", "error", err)
	}
	for _, w := range work {
		c.Wake(w.UUID)
	}
}

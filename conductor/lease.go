package conductor

import (
	"context"
	"errors"
	"time"

	"github.com/billet-metal/billet/node"
)

// releaseTime bounds the last write of a node when the conductor stops.
const releaseTime = 10 * time.Second

// reserve takes the node's lease to work on it, trying again while somebody else holds it. A node whose record is
// damaged is refused.
func (c *core) reserve(ctx context.Context, ident string) (*node.Node, error) {
	n, err := c.reserveAny(ctx, ident)
	if err != nil {
		return nil, err
	}
	if err := n.Damage(); err != nil {
		return nil, c.giveUp(ctx, n, err)
	}
	return n, nil
}

// reserveAny is reserve for what can be done to a damaged node too.
func (c *core) reserveAny(ctx context.Context, ident string) (*node.Node, error) {
	for try := 1; ; try++ {
		n, err := c.nodes.Reserve(ctx, ident, c.cfg.Host, c.cfg.LeaseTTL)
		if node.KindOf(err) != node.Conflict || err == nil || try >= c.cfg.LockAttempts {
			return n, err
		}
		select {
		case <-time.After(c.cfg.LockInterval):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// underLease calls do while the lease of a node is held. do leaves the node itself as it is.
func (c *core) underLease(ctx context.Context, ident string, do func(n *node.Node) error) error {
	n, err := c.reserve(ctx, ident)
	if err != nil {
		return err
	}
	return c.holding(ctx, n, func() error { return do(n) })
}

// holding is underLease for a node whose lease is held already: it ends with do.
func (c *core) holding(ctx context.Context, n *node.Node, do func() error) error {
	defer c.letGo(ctx, n)
	return do()
}

// letGo ends the lease of a node that is left as it is. When it cannot, the lease ends by itself.
func (c *core) letGo(ctx context.Context, n *node.Node) {
	if err := c.release(ctx, n); err != nil {
		c.log.Warn("node not released", "node", n.UUID, "error", err)
	}
}

// changeNode lets change edit a node under its lease, saves the node and lets it go. What change refuses, or the store, has
// changed nothing.
func (c *core) changeNode(ctx context.Context, ident string, change func(context.Context, *node.Node) error) error {
	n, err := c.reserve(ctx, ident)
	if err != nil {
		return err
	}
	return c.changeHeld(ctx, n, change)
}

// changeHeld is changeNode for a node whose lease is held already.
func (c *core) changeHeld(ctx context.Context, n *node.Node, change func(context.Context, *node.Node) error) error {
	before := n.Clone()
	held, stop := c.keepLease(ctx, n)
	defer stop()
	err := change(held, n)
	if err == nil {
		err = c.release(held, n)
	}
	if err != nil {
		return c.giveUp(ctx, before, err)
	}
	return nil
}

// giveUp lets a node go as it was before a request that is refused.
func (c *core) giveUp(ctx context.Context, before *node.Node, why error) error {
	c.letGo(ctx, before)
	return why
}

// keepLease renews n's lease until stop is called. The context it returns ends with cause
// node.ErrLeaseLost as soon as the lease cannot be kept: nothing of n may be written after that.
func (c *core) keepLease(ctx context.Context, n *node.Node) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	// The renewing goroutine has its own copy: the steps write n meanwhile.
	held := &node.Node{ID: n.ID, UUID: n.UUID, Lease: n.Lease}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(c.cfg.LeaseTTL / 3)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := c.renew(ctx, held); err != nil {
				cancel(err)
				return
			}
		}
	}()
	return ctx, func() { cancel(nil); <-ended }
}

// renew keeps the lease once. A database that is away for a moment is no loss until the lease ends.
func (c *core) renew(ctx context.Context, held *node.Node) error {
	try, cancel := context.WithTimeout(ctx, c.cfg.LeaseTTL/3)
	defer cancel()
	err := c.nodes.Renew(try, held, c.cfg.LeaseTTL)
	switch {
	case err == nil, ctx.Err() != nil:
		return nil
	case errors.Is(err, node.ErrLeaseLost):
		c.log.Warn("lease lost, work on the node stops", "node", held.UUID)
		return node.ErrLeaseLost
	case !node.Now().Add(c.cfg.LeaseTTL / 3).Before(held.Lease.Until):
		c.log.Error("lease cannot be renewed, work on the node stops", "node", held.UUID, "error", err)
		return node.ErrLeaseLost
	}
	c.log.Warn("lease not renewed yet", "node", held.UUID, "error", err)
	return nil
}

// leaseLost reports whether the work under ctx lost its lease.
func leaseLost(ctx context.Context) bool { return errors.Is(context.Cause(ctx), node.ErrLeaseLost) }

// release saves n and lets it go, even when ctx has ended because the conductor stops. A call from
// the machine that came in while n was held found it locked; release sees to it that such a call
// is looked at now.
func (c *core) release(ctx context.Context, n *node.Node) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	seen := n.Agent.LastHeartbeat
	if err := c.nodes.Release(ctx, n); err != nil {
		return err
	}
	if n.State.Class() != node.Waiting {
		return nil
	}
	now, err := c.nodes.Node(ctx, n.UUID)
	if err == nil && now.Agent.LastHeartbeat.After(seen) {
		c.Wake(n.UUID)
	}
	return nil
}

// handOver has take get a node under its lease for the API, and work carry it on without the caller and let it go.
// take returns nil when nothing is left to do. While Run does not run, another conductor is told of the node.
func (c *core) handOver(ctx context.Context, take func() (*node.Node, error), work func(context.Context, *node.Node)) error {
	if !c.verbs.enter() {
		return noWorker()
	}
	handedOver := false
	defer func() {
		if !handedOver {
			c.verbs.leave()
		}
	}()
	n, err := take()
	if n == nil || err != nil {
		return err
	}
	handedOver = c.spawn(func(ctx context.Context) {
		defer c.verbs.leave()
		work(ctx, n)
	})
	if handedOver {
		return nil
	}
	err = c.release(ctx, n)
	c.notify(n.UUID)
	return err
}

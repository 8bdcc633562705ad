package conductor

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

const (
	powerLanes   = 8 // BMCs asked at once
	suspectLanes = 2 // of BMCs that did not answer last time: they can only wait for each other
	powerStrikes = 3 // unanswered questions until maintenance

	// powerAnswerTime is how long a BMC may take to say its power state.
	powerAnswerTime = 30 * time.Second
)

// syncPower asks every BMC for its power state, once each interval, until ctx ends. Each BMC has a
// deadline of its own, and those that failed last time have lanes of their own, so dead ones never
// starve the others.
func (c *power) syncPower(ctx context.Context) {
	for {
		select {
		case <-time.After(c.cfg.PowerSyncInterval):
		case <-ctx.Done():
			return
		}
		c.syncPowerOnce(ctx)
	}
}

func (c *power) syncPowerOnce(ctx context.Context) {
	nodes, err := c.nodes.Nodes(ctx, node.NodeFilter{IncludeChildren: true}, node.Page{Hot: true})
	if err != nil {
		if ctx.Err() == nil {
			c.log.Error("nodes not read for power sync", "error", err)
		}
		return
	}
	var healthy, suspect []string
	for _, n := range nodes {
		switch {
		case !syncsPower(n):
		case n.PowerFailures > 0 || n.Fault == node.PowerFailure:
			suspect = append(suspect, n.UUID)
		default:
			healthy = append(healthy, n.UUID)
		}
	}
	var lanes sync.WaitGroup
	lanes.Go(func() { c.askAll(ctx, healthy, powerLanes) })
	lanes.Go(func() { c.askAll(ctx, suspect, suspectLanes) })
	lanes.Wait()
}

// askAll asks the nodes' BMCs in n lanes, and not for longer than one interval: those that are
// left come next time, after the first ones.
func (c *power) askAll(ctx context.Context, uuids []string, n int) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.PowerSyncInterval)
	defer cancel()
	queue := make(chan string)
	var lanes sync.WaitGroup
	for range n {
		lanes.Go(func() {
			for uuid := range queue {
				c.askPower(ctx, uuid)
			}
		})
	}
	start := c.syncFrom(len(uuids), n)
	for i := range uuids {
		next := (start + i) % len(uuids)
		select {
		case queue <- uuids[next]:
			continue
		case <-ctx.Done():
			c.syncNext(n, next)
		}
		break
	}
	close(queue)
	lanes.Wait()
}

// syncFrom is where a round of the given lanes begins: where the last one was cut short.
func (c *power) syncFrom(count, lanes int) int {
	c.syncing.Lock()
	defer c.syncing.Unlock()
	if count == 0 {
		return 0
	}
	from := c.syncAt[lanes] % count
	delete(c.syncAt, lanes)
	return from
}

func (c *power) syncNext(lanes, at int) {
	c.syncing.Lock()
	defer c.syncing.Unlock()
	c.syncAt[lanes] = at
}

// syncsPower reports whether power sync may look at the node: nobody works on it, and somebody has
// shown that its BMC can be reached.
func syncsPower(n *node.Node) bool {
	idle := n.State.Class() == node.Stable || n.State.Class() == node.Failed
	if !idle || n.State == node.Enroll || n.Lease.Held(node.Now()) || n.TargetPower != node.PowerUnknown {
		return false
	}
	return !n.Maintenance || n.Fault == node.PowerFailure
}

// askPower asks one BMC and writes what it says.
func (c *power) askPower(ctx context.Context, uuid string) {
	n, err := c.nodes.Node(ctx, uuid)
	if err != nil || !syncsPower(n) {
		return
	}
	if h, err := c.cfg.Types.Resolve(n); err == nil && !driver.CanSet(h.Power, node.PowerOn) {
		return // there is no BMC to ask
	}
	state, err := c.powerOf(ctx, n)
	if ctx.Err() != nil {
		return
	}
	if now, again := c.nodes.Node(ctx, uuid); again != nil || !syncsPower(now) || now.Power != n.Power {
		return // somebody works on it by now: what the BMC said is old
	}
	switch {
	case err == nil && n.Fault == node.PowerFailure:
		err = c.recoverPower(ctx, uuid, state)
	case err == nil && (state != n.Power || n.PowerFailures > 0):
		if n.Power != node.PowerUnknown && state != n.Power {
			c.note(ctx, n, "power", infoSeverity, fmt.Sprintf("The machine is now %s; it was %s. Nobody asked Billet for that.", state, n.Power))
		}
		err = c.nodes.SavePower(ctx, uuid, state, 0)
	case err != nil && n.Fault != node.PowerFailure:
		err = c.powerStrike(ctx, n, err)
	default:
		err = nil
	}
	if err != nil && ctx.Err() == nil {
		c.log.Warn("power state not saved", "node", uuid, "error", err)
	}
}

func (c *power) powerOf(ctx context.Context, n *node.Node) (state node.PowerState, err error) {
	task, err := c.task(ctx, n)
	if err != nil {
		return node.PowerUnknown, err
	}
	ctx, cancel := context.WithTimeout(ctx, min(powerAnswerTime, c.cfg.PowerTimeout))
	defer cancel()
	err = guarded(c.log.With("node", n.UUID), func() error {
		state, err = task.Hardware.Power.PowerState(ctx, task)
		return err
	})
	return state, err
}

// powerStrike counts a BMC that did not answer; the last strike puts the node in maintenance.
func (c *power) powerStrike(ctx context.Context, n *node.Node, why error) error {
	strikes := n.PowerFailures + 1
	c.log.Warn("BMC did not tell the power state", "node", n.UUID, "failures", strikes, "error", scrub(n, why.Error()))
	if strikes < powerStrikes {
		return c.nodes.SavePower(ctx, n.UUID, n.Power, strikes)
	}
	return c.edit(ctx, n.UUID, func(n *node.Node) {
		n.PowerFailures = strikes
		n.Maintenance, n.Fault = true, node.PowerFailure
		n.Power = node.PowerError
		n.LastError = cut(scrub(n, fmt.Sprintf("The power state could not be read %d times in a row: %v", strikes, why)))
		n.MaintenanceReason = n.LastError
		c.note(ctx, n, "power", errorSeverity, n.LastError)
	})
}

// recoverPower takes a node out of the maintenance that power sync put it in.
func (c *power) recoverPower(ctx context.Context, uuid string, state node.PowerState) error {
	return c.edit(ctx, uuid, func(n *node.Node) {
		if n.Fault != node.PowerFailure {
			return
		}
		n.Maintenance, n.MaintenanceReason, n.Fault = false, "", node.NoFault
		n.Power, n.PowerFailures = state, 0
		c.note(ctx, n, "power", infoSeverity, fmt.Sprintf("The BMC answers again: the machine is %s; maintenance has ended.", state))
	})
}

// edit changes a node under its lease when nobody else holds it; else it changes nothing.
func (c *core) edit(ctx context.Context, uuid string, change func(*node.Node)) error {
	n, err := c.nodes.Reserve(ctx, uuid, c.cfg.Host, c.cfg.LeaseTTL)
	if err != nil {
		if node.KindOf(err) == node.Conflict {
			return nil
		}
		return err
	}
	change(n)
	return c.release(ctx, n)
}

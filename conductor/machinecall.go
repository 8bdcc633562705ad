package conductor

import (
	"context"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// MachineCall gives a call of a node's ramdisk to the node's deploy interface, under the lease, and
// has the node looked at. A node that is worked on is a Conflict: the ramdisk calls again.
func (c *callers) MachineCall(ctx context.Context, ident string, call node.MachineCall) error {
	n, err := c.nodes.Node(ctx, ident)
	if err != nil {
		return err
	}
	if n, err = c.reserve(ctx, n.UUID); err != nil {
		return err
	}
	before := n.Clone()
	if n.State != node.DeployWait || n.Plan.Current() == nil {
		return c.giveUp(ctx, before, node.Errorf(node.Conflict, "Node %s is in state %q; %s is taken in state %q only.", n.UUID, n.State,
			call.Method, node.DeployWait))
	}
	if err := c.takeCall(ctx, n, call); err != nil {
		logFor(c.log, n).Warn("call of a ramdisk refused", "method", call.Method, "error", err)
		return c.giveUp(ctx, before, err)
	}
	n.Plan.PollAt = node.Now() // found as work even when the wake-up below is lost
	if err := c.release(ctx, n); err != nil {
		return err
	}
	c.log.Info("ramdisk called", "node", n.UUID, "method", call.Method)
	c.Wake(n.UUID)
	return nil
}

func (c *callers) takeCall(ctx context.Context, n *node.Node, call node.MachineCall) error {
	how, err := c.prove(ctx, n, call.Caller)
	if err != nil {
		return err
	}
	if how == refuted {
		return node.Errorf(node.Forbidden, "The call %s is not from the ramdisk that node %s boots now.", call.Method, n.UUID)
	}
	task, err := c.task(ctx, n)
	if err != nil {
		return err
	}
	call.Reachable = func(address string) error { return c.callable(ctx, n, call.Caller, address, 0) }
	callee, ok := task.Hardware.Deploy.(driver.MachineCallee)
	if !ok {
		return node.Errorf(node.Invalid, "The deploy interface %s of node %s has no method %s.", task.Hardware.Deploy.Name(), n.UUID, call.Method)
	}
	return guarded(c.log.With("node", n.UUID), func() error { return callee.TakeCall(ctx, task, call) })
}

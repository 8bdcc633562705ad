package conductor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/billet-metal/billet/node"
)

const (
	// allocationTime is how long the search for a node may take. Another process takes it up afterwards.
	allocationTime = 30 * time.Second
	// allocationSweep is how often allocations are looked for whose process has died.
	allocationSweep = 15 * time.Second
)

// allocations is the part of a conductor that gives nodes to who asks for one.
type allocations struct {
	*core
	all Allocations
}

// CreateAllocation finds a node for a request and gives it the node, or says in the allocation why there is none. With
// a.NodeUUID (or name) it is the record of an instance that is on that node already. It returns the allocation as stored.
func (c *allocations) CreateAllocation(ctx context.Context, a node.Allocation) (node.Allocation, error) {
	if a.NodeUUID != "" {
		return c.backfill(ctx, a)
	}
	for i, ident := range a.CandidateNodes {
		n, err := c.nodes.Node(ctx, ident)
		if err != nil && node.KindOf(err) == node.NotFound {
			err = node.Errorf(node.Invalid, "The candidate node %s could not be found.", ident)
		}
		if err != nil {
			return a, err
		}
		a.CandidateNodes[i] = n.UUID
	}
	a.State = node.Allocating
	if err := c.all.Create(ctx, &a); err != nil {
		return a, err
	}
	// The client may leave: the node is looked for all the same, and it will find the answer where it looks.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), allocationTime)
	defer cancel()
	if err := c.allocate(ctx, a); err != nil {
		c.log.Error("allocation not ended; it is taken up again", "allocation", a.UUID, "error", err)
	}
	return c.all.Get(ctx, a.UUID)
}

// allocate looks for a node for a and writes down how that ended. It may be repeated, and run twice at the same time.
func (c *allocations) allocate(ctx context.Context, a node.Allocation) error {
	n, reason, err := c.findNode(ctx, a)
	if err != nil {
		return err
	}
	if now, err := c.all.Get(ctx, a.UUID); n == nil && err == nil && now.NodeUUID != "" { // another process was faster
		_, err := c.all.End(ctx, a.UUID, node.Allocated, "")
		return err
	}
	if n == nil {
		c.log.Warn("no node for an allocation", "allocation", a.UUID, "reason", reason)
		_, err := c.all.End(ctx, a.UUID, node.AllocationError, "No node was found for allocation "+a.UUID+": "+reason)
		return err
	}
	there, err := c.all.End(ctx, a.UUID, node.Allocated, "")
	if err != nil {
		return err
	}
	if !there { // deleted while it was being served
		return c.freeNode(ctx, n.UUID, a.UUID)
	}
	c.note(ctx, n, "allocation", infoSeverity, fmt.Sprintf("The node was given to allocation %s.", a.UUID))
	return nil
}

// backfill makes the allocation of an instance that is on its node already.
func (c *allocations) backfill(ctx context.Context, a node.Allocation) (node.Allocation, error) {
	n, err := c.reserveOwner(ctx, a.NodeUUID)
	if err != nil {
		return a, err
	}
	if err := mayBackfill(n, a); err != nil {
		return a, c.giveUp(ctx, n, err)
	}
	a.UUID, a.ResourceClass = cmp.Or(a.UUID, n.InstanceUUID), n.ResourceClass
	a.State, a.NodeUUID = node.Allocated, n.UUID
	if err := c.all.Create(ctx, &a); err != nil {
		return a, c.giveUp(ctx, n, err)
	}
	before := n.Clone()
	take(n, a)
	if err := c.release(ctx, n); err != nil {
		return a, c.giveUp(ctx, before, errors.Join(err, c.all.Delete(ctx, a.UUID)))
	}
	return c.all.Get(ctx, a.UUID)
}

// mayBackfill checks that an active node and an allocation belong together.
func mayBackfill(n *node.Node, a node.Allocation) error {
	switch {
	case n.AllocationUUID != "":
		return node.Errorf(node.Conflict, "Node %s has the allocation %s already.", n.UUID, n.AllocationUUID)
	case n.State != node.Active:
		return node.Errorf(node.Conflict, "Node %s is in state %q; an allocation can be made for a node only while it is active.",
			n.UUID, n.State)
	case a.ResourceClass != "" && n.ResourceClass != a.ResourceClass:
		return node.Errorf(node.Conflict, "Node %s has the resource class %q and not %q.", n.UUID, n.ResourceClass, a.ResourceClass)
	case a.UUID != "" && n.InstanceUUID != "" && a.UUID != n.InstanceUUID:
		return node.Errorf(node.Conflict, "Node %s is associated with instance %s, which must be the UUID of its allocation.",
			n.UUID, n.InstanceUUID)
	}
	if lack := misfit(n, node.Allocation{Traits: a.Traits, Owner: a.Owner}); lack != "" {
		return node.Errorf(node.Conflict, "Node %s does not fit the allocation: it is %s.", n.UUID, lack)
	}
	return nil
}

// UpdateAllocation lets change edit what an allocation is called and its extra; no node changes with them.
func (c *allocations) UpdateAllocation(ctx context.Context, uuid string, change func(*node.Allocation) error) (node.Allocation, error) {
	a, err := c.all.Get(ctx, uuid)
	if err != nil {
		return a, err
	}
	a.Extra = a.Extra.Clone()
	if err := change(&a); err != nil {
		return a, err
	}
	return a, c.all.Save(ctx, &a)
}

// DeleteAllocation forgets an allocation and frees its node, unless an instance is on it.
func (c *allocations) DeleteAllocation(ctx context.Context, uuid string) error {
	a, err := c.all.Get(ctx, uuid)
	if err != nil {
		return err
	}
	if a.NodeUUID != "" {
		if err := c.freeNode(ctx, a.NodeUUID, a.UUID); err != nil {
			return err
		}
	}
	return c.all.Delete(ctx, a.UUID)
}

// freeNode takes an allocation's node from it. The allocation's own row is not searched for again: it is ended first.
func (c *allocations) freeNode(ctx context.Context, nodeUUID, allocation string) error {
	n, err := c.reserveAny(ctx, nodeUUID)
	if err != nil {
		return err
	}
	if n.AllocationUUID != allocation {
		c.letGo(ctx, n) // torn down meanwhile
		return nil
	}
	if !isOpen(n) {
		return c.giveUp(ctx, n, node.Errorf(node.Conflict, "Allocation %s can not be deleted: its node %s is in state %q. "+
			"Allowed are the states %s, or any in maintenance; undeploy the node first.", allocation, n.UUID, n.State, joined(openStates)))
	}
	before := n.Clone()
	if err := c.endAllocationOf(ctx, n); err != nil {
		return c.giveUp(ctx, before, err)
	}
	untake(n)
	if err := c.release(ctx, n); err != nil {
		return c.giveUp(ctx, before, err)
	}
	return nil
}

// endAllocationOf makes sure that nobody looks for another node for a node's allocation, now that it is to lose this one.
func (c *allocations) endAllocationOf(ctx context.Context, n *node.Node) error {
	if n.AllocationUUID == "" {
		return nil
	}
	_, err := c.all.End(ctx, n.AllocationUUID, node.Allocated, "")
	return err
}

// forgetAllocation deletes the allocation that a node had, unless it is gone already.
func (c *allocations) forgetAllocation(ctx context.Context, uuid string) error {
	if uuid == "" {
		return nil
	}
	err := c.all.Delete(ctx, uuid)
	if node.KindOf(err) == node.NotFound {
		return nil
	}
	return err
}

// sweepAllocations ends allocations whose process died while it looked for a node.
func (c *allocations) sweepAllocations(ctx context.Context) {
	for {
		select {
		case <-time.After(allocationSweep):
		case <-ctx.Done():
			return
		}
		c.sweepAllocationsOnce(ctx, node.Now().Add(-2*allocationTime))
	}
}

func (c *allocations) sweepAllocationsOnce(ctx context.Context, before time.Time) {
	left, err := c.all.List(ctx, node.AllocationFilter{State: node.Allocating, Before: before}, node.Page{})
	for _, a := range left {
		err = errors.Join(err, c.allocate(ctx, a))
	}
	if err != nil && ctx.Err() == nil {
		c.log.Error("allocations not ended", "error", err)
	}
}

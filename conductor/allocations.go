package conductor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/billet-metal/billet/node"
)

const (
	// allocationTime is how long the search for a node may take. Another process takes it up afterwards.
	allocationTime = 30 * time.Second
	// allocationSweep is how often allocations are looked for whose process has died.
	allocationSweep = 15 * time.Second
)

// CreateAllocation finds a node for a request and gives it the node, or says in the allocation why there is none. With
// a.NodeUUID (or name) it is the record of an instance that is on that node already. It returns the allocation as stored.
func (c *Conductor) CreateAllocation(ctx context.Context, a node.Allocation) (node.Allocation, error) {
	if a.NodeUUID != "" {
		return c.backfill(ctx, a)
	}
	for i, ident := range a.CandidateNodes {
		n, err := c.store.Nodes.Node(ctx, ident)
		if err != nil && node.KindOf(err) == node.NotFound {
			err = node.Errorf(node.Invalid, "The candidate node %s could not be found.", ident)
		}
		if err != nil {
			return a, err
		}
		a.CandidateNodes[i] = n.UUID
	}
	a.State = node.Allocating
	if err := c.store.Allocations.Create(ctx, &a); err != nil {
		return a, err
	}
	// The client may leave: the node is looked for all the same, and it will find the answer where it looks.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), allocationTime)
	defer cancel()
	if err := c.allocate(ctx, a); err != nil {
		c.log.Error("allocation not ended; it is taken up again", "allocation", a.UUID, "error", err)
	}
	return c.store.Allocations.Get(ctx, a.UUID)
}

// allocate looks for a node for a and writes down how that ended. It may be repeated, and run twice at the same time.
func (c *Conductor) allocate(ctx context.Context, a node.Allocation) error {
	n, reason, err := c.findNode(ctx, a)
	if err != nil {
		return err
	}
	if now, err := c.store.Allocations.Get(ctx, a.UUID); n == nil && err == nil && now.NodeUUID != "" { // another process was faster
		_, err := c.store.Allocations.End(ctx, a.UUID, node.Allocated, "")
		return err
	}
	if n == nil {
		c.log.Warn("no node for an allocation", "allocation", a.UUID, "reason", reason)
		_, err := c.store.Allocations.End(ctx, a.UUID, node.AllocationError, "No node was found for allocation "+a.UUID+": "+reason)
		return err
	}
	there, err := c.store.Allocations.End(ctx, a.UUID, node.Allocated, "")
	if err != nil {
		return err
	}
	if !there { // deleted while it was being served
		return c.freeNode(ctx, n.UUID, a.UUID)
	}
	c.note(ctx, n, "allocation", infoSeverity, fmt.Sprintf("The node was given to allocation %s.", a.UUID))
	return nil
}

// findNode gives one of the nodes that fit to a and returns it; or the reason why there is none.
func (c *Conductor) findNode(ctx context.Context, a node.Allocation) (got *node.Node, reason string, err error) {
	no := false
	wanted := node.NodeFilter{State: node.Available, ResourceClass: a.ResourceClass, Maintenance: &no, Associated: &no, IncludeChildren: true}
	for try := 1; ; try++ {
		all, err := c.store.Nodes.Nodes(ctx, wanted, node.Page{})
		if err != nil {
			return nil, "", err
		}
		fit, reason := fitting(all, a)
		rand.Shuffle(len(fit), func(i, k int) { fit[i], fit[k] = fit[k], fit[i] }) // requests at the same time seldom meet
		locked := 0
		for _, n := range fit {
			got, err := c.giveNode(ctx, n.UUID, a)
			if err != nil || got != nil {
				return got, "", err
			}
			locked++
		}
		switch {
		case locked == 0:
			return nil, reason, nil
		case try >= c.cfg.LockAttempts:
			return nil, fmt.Sprintf("%d nodes fit, and all of them are locked or were given away in the meantime; please try again.", locked), nil
		}
		select {
		case <-time.After(c.cfg.LockInterval):
		case <-ctx.Done():
			return nil, "", ctx.Err()
		}
	}
}

// fitting are the nodes that a could have; and what the others lack, for people.
func fitting(all []*node.Node, a node.Allocation) (fit []*node.Node, reason string) {
	if err := a.Damage(); err != nil { // without the traits or candidates it asked for, any node would fit
		return nil, err.Error()
	}
	free := slices.DeleteFunc(slices.Clone(all), func(n *node.Node) bool { return !isFree(n) || n.ResourceClass != a.ResourceClass })
	if len(free) == 0 {
		return nil, fmt.Sprintf("no available node has the resource class %s.", a.ResourceClass)
	}
	lacks := map[string]int{}
	for _, n := range free {
		if lack := misfit(n, a); lack != "" {
			lacks[lack]++
			continue
		}
		fit = append(fit, n)
	}
	var told []string
	for lack, count := range lacks {
		told = append(told, fmt.Sprintf("%d %s", count, lack))
	}
	slices.Sort(told)
	return fit, fmt.Sprintf("of %d available nodes with the resource class %s, none fits: %s.", len(free), a.ResourceClass, strings.Join(told, ", "))
}

func isFree(n *node.Node) bool {
	return n.State == node.Available && !n.Maintenance && !n.Retired && n.InstanceUUID == "" && n.Power != node.PowerUnknown && n.Damage() == nil
}

// misfit is what a free node of the right class lacks for a; "" when it fits.
func misfit(n *node.Node, a node.Allocation) string {
	switch {
	case len(a.CandidateNodes) > 0 && !slices.Contains(a.CandidateNodes, n.UUID):
		return "not among the candidate nodes"
	case a.Owner != "" && n.Owner != a.Owner:
		return "of another owner"
	}
	for _, trait := range a.Traits {
		if !slices.Contains(n.Traits, trait) {
			return "without the trait " + trait
		}
	}
	return ""
}

// giveNode gives a node to a under the node's lease, when it still fits; nil when it does not, or when somebody holds it.
func (c *Conductor) giveNode(ctx context.Context, uuid string, a node.Allocation) (*node.Node, error) {
	n, err := c.store.Nodes.Reserve(ctx, uuid, c.cfg.Host, c.cfg.LeaseTTL)
	if kind := node.KindOf(err); err != nil && (kind == node.Conflict || kind == node.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !isFree(n) || n.ResourceClass != a.ResourceClass || misfit(n, a) != "" {
		return nil, c.giveUp(ctx, n, nil)
	}
	before := n.Clone()
	take(n, a)
	if err := c.release(ctx, n); err != nil {
		if node.KindOf(err) == node.Conflict { // another process has served a with another node
			return nil, c.giveUp(ctx, before, nil)
		}
		return nil, c.giveUp(ctx, before, err)
	}
	return n, nil
}

// take writes onto a node what belongs to an allocation.
func take(n *node.Node, a node.Allocation) {
	n.InstanceUUID, n.AllocationUUID = a.UUID, a.UUID
	if len(a.Traits) > 0 {
		n.InstanceInfo = n.InstanceInfo.Clone()
		traits := make([]any, len(a.Traits))
		for i, t := range a.Traits {
			traits[i] = t
		}
		n.InstanceInfo["traits"] = traits
	}
}

// untake takes it back.
func untake(n *node.Node) {
	n.InstanceUUID, n.AllocationUUID, n.InstanceName = "", "", ""
	n.InstanceInfo = n.InstanceInfo.Clone()
	delete(n.InstanceInfo, "traits")
}

// backfill makes the allocation of an instance that is on its node already.
func (c *Conductor) backfill(ctx context.Context, a node.Allocation) (node.Allocation, error) {
	n, err := c.reserveOwner(ctx, a.NodeUUID)
	if err != nil {
		return a, err
	}
	switch {
	case n.AllocationUUID != "":
		err = node.Errorf(node.Conflict, "Node %s has the allocation %s already.", n.UUID, n.AllocationUUID)
	case n.State != node.Active:
		err = node.Errorf(node.Conflict, "Node %s is in state %q; an allocation can be made for a node only while it is active.", n.UUID, n.State)
	case a.ResourceClass != "" && n.ResourceClass != a.ResourceClass:
		err = node.Errorf(node.Conflict, "Node %s has the resource class %q and not %q.", n.UUID, n.ResourceClass, a.ResourceClass)
	case a.UUID != "" && n.InstanceUUID != "" && a.UUID != n.InstanceUUID:
		err = node.Errorf(node.Conflict, "Node %s is associated with instance %s, which must be the UUID of its allocation.", n.UUID, n.InstanceUUID)
	default:
		lack := misfit(n, node.Allocation{Traits: a.Traits, Owner: a.Owner})
		if lack != "" {
			err = node.Errorf(node.Conflict, "Node %s does not fit the allocation: it is %s.", n.UUID, lack)
		}
	}
	if err != nil {
		return a, c.giveUp(ctx, n, err)
	}
	a.UUID, a.ResourceClass = cmp.Or(a.UUID, n.InstanceUUID), n.ResourceClass
	a.State, a.NodeUUID = node.Allocated, n.UUID
	if err := c.store.Allocations.Create(ctx, &a); err != nil {
		return a, c.giveUp(ctx, n, err)
	}
	before := n.Clone()
	take(n, a)
	if err := c.release(ctx, n); err != nil {
		return a, c.giveUp(ctx, before, errors.Join(err, c.store.Allocations.Delete(ctx, a.UUID)))
	}
	return c.store.Allocations.Get(ctx, a.UUID)
}

// UpdateAllocation lets change edit what an allocation is called and its extra; no node changes with them.
func (c *Conductor) UpdateAllocation(ctx context.Context, uuid string, change func(*node.Allocation) error) (node.Allocation, error) {
	a, err := c.store.Allocations.Get(ctx, uuid)
	if err != nil {
		return a, err
	}
	a.Extra = a.Extra.Clone()
	if err := change(&a); err != nil {
		return a, err
	}
	return a, c.store.Allocations.Save(ctx, &a)
}

// DeleteAllocation forgets an allocation and frees its node, unless an instance is on it.
func (c *Conductor) DeleteAllocation(ctx context.Context, uuid string) error {
	a, err := c.store.Allocations.Get(ctx, uuid)
	if err != nil {
		return err
	}
	if a.NodeUUID != "" {
		if err := c.freeNode(ctx, a.NodeUUID, a.UUID); err != nil {
			return err
		}
	}
	return c.store.Allocations.Delete(ctx, a.UUID)
}

// freeNode takes an allocation's node from it. The allocation's own row is not searched for again: it is ended first.
func (c *Conductor) freeNode(ctx context.Context, nodeUUID, allocation string) error {
	n, err := c.reserveAny(ctx, nodeUUID)
	if err != nil {
		return err
	}
	if n.AllocationUUID != allocation {
		return c.giveUp(ctx, n, nil) // torn down meanwhile
	}
	if !isOpen(n) {
		return c.giveUp(ctx, n, node.Errorf(node.Conflict, "Allocation %s can not be deleted: its node %s is in state %q. Allowed are the states %s, or any in maintenance; undeploy the node first.",
			allocation, n.UUID, n.State, joined(openStates)))
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
func (c *Conductor) endAllocationOf(ctx context.Context, n *node.Node) error {
	if n.AllocationUUID == "" {
		return nil
	}
	_, err := c.store.Allocations.End(ctx, n.AllocationUUID, node.Allocated, "")
	return err
}

// forgetAllocation deletes the allocation that a node had; one that is gone is none.
func (c *Conductor) forgetAllocation(ctx context.Context, uuid string) error {
	if uuid == "" {
		return nil
	}
	err := c.store.Allocations.Delete(ctx, uuid)
	if node.KindOf(err) == node.NotFound {
		return nil
	}
	return err
}

// sweepAllocations ends allocations whose process died while it looked for a node.
func (c *Conductor) sweepAllocations(ctx context.Context) {
	for {
		select {
		case <-time.After(allocationSweep):
		case <-ctx.Done():
			return
		}
		c.sweepAllocationsOnce(ctx, node.Now().Add(-2*allocationTime))
	}
}

func (c *Conductor) sweepAllocationsOnce(ctx context.Context, before time.Time) {
	left, err := c.store.Allocations.List(ctx, node.AllocationFilter{State: node.Allocating, Before: before}, node.Page{})
	for _, a := range left {
		err = errors.Join(err, c.allocate(ctx, a))
	}
	if err != nil && ctx.Err() == nil {
		c.log.Error("allocations not ended", "error", err)
	}
}

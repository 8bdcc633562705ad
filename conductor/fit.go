package conductor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/billet-metal/billet/node"
)

// findNode gives one of the nodes that fit to a and returns it; or the reason why there is none.
func (c *allocations) findNode(ctx context.Context, a node.Allocation) (got *node.Node, reason string, err error) {
	no := false
	wanted := node.NodeFilter{State: node.Available, ResourceClass: a.ResourceClass, Maintenance: &no, Associated: &no, IncludeChildren: true}
	for try := 1; ; try++ {
		all, err := c.nodes.Nodes(ctx, wanted, node.Page{})
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
	return fit, fmt.Sprintf("of %d available nodes with the resource class %s, none fits: %s.", len(free), a.ResourceClass,
		strings.Join(told, ", "))
}

func isFree(n *node.Node) bool {
	return n.State == node.Available && !n.Maintenance && !n.Retired && n.InstanceUUID == "" && n.Power != node.PowerUnknown &&
		n.Damage() == nil
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
func (c *allocations) giveNode(ctx context.Context, uuid string, a node.Allocation) (*node.Node, error) {
	n, err := c.nodes.Reserve(ctx, uuid, c.cfg.Host, c.cfg.LeaseTTL)
	if kind := node.KindOf(err); err != nil && (kind == node.Conflict || kind == node.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !isFree(n) || n.ResourceClass != a.ResourceClass || misfit(n, a) != "" {
		c.letGo(ctx, n)
		return nil, nil
	}
	before := n.Clone()
	take(n, a)
	if err := c.release(ctx, n); err != nil {
		c.letGo(ctx, before)
		if node.KindOf(err) == node.Conflict { // another process has served a with another node
			return nil, nil
		}
		return nil, err
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

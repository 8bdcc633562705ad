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
		case locked == 0 && reason == "":
			reason, err := c.whyNoneIsFree(ctx, a.ResourceClass)
			return nil, reason, err
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

// whyNoneIsFree says of the nodes of a class, none of which can be given away, what is in the way.
func (c *allocations) whyNoneIsFree(ctx context.Context, class string) (string, error) {
	all, err := c.nodes.Nodes(ctx, node.NodeFilter{ResourceClass: class, IncludeChildren: true}, node.Page{})
	if err != nil {
		return "", err
	}
	all = slices.DeleteFunc(all, func(n *node.Node) bool { return n.ResourceClass != class })
	told := counted(all, whyNotFree)
	switch len(all) {
	case 0:
		return fmt.Sprintf("no node has the resource class %s.", class), nil
	case 1:
		return fmt.Sprintf("no available node has the resource class %s: the one that has it is %s.", class, strings.TrimPrefix(told, "1 ")), nil
	}
	return fmt.Sprintf("no available node has the resource class %s: of %d that have it, %s.", class, len(all), told), nil
}

// whyNotFree is what keeps a node from being given away.
func whyNotFree(n *node.Node) string {
	switch {
	case n.Damage() != nil:
		return "damaged"
	case n.Maintenance:
		return "in maintenance"
	case n.Retired:
		return "retired"
	case n.State != node.Available:
		return fmt.Sprintf("in state %q", n.State)
	case n.InstanceUUID != "":
		return "given away already"
	case n.Power == node.PowerUnknown:
		return "of unknown power state"
	}
	return "free meanwhile"
}

// counted lists what is said of nodes, with how many it is said of; "" is not counted.
func counted(all []*node.Node, say func(*node.Node) string) string {
	counts := map[string]int{}
	for _, n := range all {
		if what := say(n); what != "" {
			counts[what]++
		}
	}
	var told []string
	for what, count := range counts {
		told = append(told, fmt.Sprintf("%d %s", count, what))
	}
	slices.Sort(told)
	return strings.Join(told, ", ")
}

// fitting are the nodes that a could have; and what the others lack, for people. "" is for nodes none of which is free.
func fitting(all []*node.Node, a node.Allocation) (fit []*node.Node, reason string) {
	if err := a.Damage(); err != nil { // without the traits or candidates it asked for, any node would fit
		return nil, err.Error()
	}
	free := slices.DeleteFunc(slices.Clone(all), func(n *node.Node) bool { return !isFree(n) || n.ResourceClass != a.ResourceClass })
	if len(free) == 0 {
		return nil, ""
	}
	for _, n := range free {
		if misfit(n, a) == "" {
			fit = append(fit, n)
		}
	}
	return fit, fmt.Sprintf("of %d available nodes with the resource class %s, none fits: %s.", len(free), a.ResourceClass,
		counted(free, func(n *node.Node) string { return misfit(n, a) }))
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

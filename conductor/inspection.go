package conductor

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/inspection"
	"github.com/billet-metal/billet/node"
)

// reports takes what machines report of themselves: whose a report is, what it changes, and who becomes a node by it.
type reports struct {
	*core
	rules       Records[node.InspectionRule, node.InspectionRuleFilter]
	discovering sync.Mutex // held while an unknown machine is enrolled
}

// ContinueInspection takes a machine's inspection report: the node's inspect interface reads it, the
// inspection rules run on it, what was found is stored, and the inspection goes on. A report that cannot
// be used fails the inspection, not the call. A machine of no node is enrolled when discovery is on. It
// returns the node that reported.
func (c *reports) ContinueInspection(ctx context.Context, data node.InspectionData) (*node.Node, error) {
	found, err := c.reporter(ctx, data)
	if err == nil && found != nil {
		data.Bound, err = c.boundReport(ctx, found, data)
	}
	switch {
	case err != nil:
		return nil, err
	case found == nil && c.cfg.Discovery.Driver != "":
		return c.discover(ctx, data)
	case found == nil:
		return nil, noReporter(inspection.MACs(data))
	case c.cfg.Discovery.Driver != "" && inspection.Discovered(found) && found.State == node.Enroll:
		return c.rediscover(ctx, found, data)
	case found.State != node.InspectWait:
		return nil, notInspectingYet(found)
	}
	return c.takeAwaited(ctx, found.UUID, data)
}

// takeAwaited takes the report that a node waits for, under its lease, and has the inspection go on.
func (c *reports) takeAwaited(ctx context.Context, uuid string, data node.InspectionData) (*node.Node, error) {
	n, err := c.reserve(ctx, uuid)
	if err != nil {
		return nil, err
	}
	before := n.Clone()
	if n.State != node.InspectWait || n.Plan == nil {
		return nil, c.giveUp(ctx, before, notInspecting(n.UUID))
	}
	kept, stop := c.keepLease(ctx, n)
	err = c.takeReport(kept, n, data)
	if err == nil && data.Bound { // with fast track the agent looks its node up when the boot's record is gone
		err = c.agents.KeepBootKey(kept, n.UUID, data.Caller.BootKey)
	}
	stop()
	if err != nil {
		return nil, c.giveUp(ctx, before, err)
	}
	n.Plan.PollAt = node.Now()
	if err := c.release(ctx, n); err != nil {
		return nil, err
	}
	c.Wake(n.UUID)
	return n, nil
}

// boundReport reports whether a report comes from the boot that the node waits for. One without the key of that boot
// is refused, in the words for a machine that nobody knows.
func (c *reports) boundReport(ctx context.Context, n *node.Node, data node.InspectionData) (bool, error) {
	if n.State != node.InspectWait && n.State != node.Inspecting {
		return false, nil
	}
	how, err := c.prove(ctx, n, data.Caller)
	if err == nil && how == refuted {
		c.log.Warn("an inspection report without the key of the node's boot is refused", "node", n.UUID, "from", data.Caller.Address)
		err = noReporter(inspection.MACs(data))
	}
	return how == proven, err
}

func noReporter(macs []string) error {
	return node.Errorf(node.NotFound,
		"No node that waits for an inspection report has a port with one of the addresses %s, or the reported BMC address.", strings.Join(macs,
			", "))
}

// notInspectingYet tells an agent that is faster than its conductor to come again.
func notInspectingYet(n *node.Node) error {
	if n.State == node.Inspecting {
		return node.Locked(n)
	}
	return notInspecting(n.UUID)
}

func notInspecting(uuid string) error {
	return node.Errorf(node.NotFound, "Node %s does not wait for an inspection report.", uuid)
}

// takeReport reads the report and stores what it found. An error is the store's; what is wrong with the report, and a
// rule that fails, becomes the failure of the inspection.
func (c *reports) takeReport(ctx context.Context, n *node.Node, data node.InspectionData) error {
	task, err := c.task(ctx, n)
	if err != nil {
		return err
	}
	found, err := c.readReport(ctx, task, data)
	if err != nil && isStores(ctx, err) {
		return err
	}
	if err != nil {
		n.Plan.Failure = cut(scrub(n, fmt.Sprintf("The inspection failed on the machine's report: %v", err)))
		return nil
	}
	if err := c.saveFindings(ctx, task, found); err != nil {
		return err
	}
	driver.Reported.Set(task, node.Now())
	return nil
}

// saveFindings stores what was found, but for the node itself.
func (c *reports) saveFindings(ctx context.Context, t *driver.Task, found node.Findings) error {
	for _, text := range found.Notes {
		c.note(ctx, t.Node, string(node.FlowInspect), infoSeverity, text)
	}
	for _, p := range found.Gone {
		if err := c.ports.Delete(ctx, p.UUID); err != nil && node.KindOf(err) != node.NotFound {
			return err
		}
		c.log.Info("port removed by inspection", "node", t.Node.UUID, "mac", p.Address)
	}
	for _, p := range found.Ports {
		if p.ID != 0 { // one the node has, of which more is known now
			if err := c.ports.Save(ctx, &p); err != nil {
				return err
			}
			continue
		}
		p.NodeUUID = t.Node.UUID
		if err := c.ports.Create(ctx, &p); err != nil && node.KindOf(err) != node.Conflict {
			return err
		} else if err != nil { // the node, or another one, has the port already: no reason to fail
			c.log.Info("port not added by inspection", "node", t.Node.UUID, "mac", p.Address, "error", err)
		}
	}
	return c.notes.SaveInventory(ctx, t.Node.UUID, found.Inventory)
}

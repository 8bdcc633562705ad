package conductor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// autoDiscovered marks, in driver_internal_info and in the plugin data, what discovery has enrolled.
const autoDiscovered = "auto_discovered"

func discovered(n *node.Node) bool { return n.DriverInternalInfo[autoDiscovered] == true }

// discover enrols the machine of a report that no node is known for, with its ports and inventory, when
// the hooks and the inspection rules take it. A machine that they refuse is not enrolled: the error says
// why. One machine becomes one node: it is known again by its MAC addresses, or by its BMC's.
func (c *Conductor) discover(ctx context.Context, data node.InspectionData) (*node.Node, error) {
	n, fresh, err := c.enrolStranger(ctx, data)
	if err != nil || fresh {
		return n, err
	}
	return c.rediscover(ctx, n, data)
}

// enrolStranger makes the node of a machine, or finds the one that it became before: fresh says which. It waits for
// no node that others hold, which would hold up the reports of all machines.
func (c *Conductor) enrolStranger(ctx context.Context, data node.InspectionData) (n *node.Node, fresh bool, err error) {
	c.discovering.Lock() // two reports of one machine at the same time
	defer c.discovering.Unlock()
	known, err := c.knownStranger(ctx, data)
	if err != nil || known != nil {
		return known, false, err
	}
	n, err = c.newStranger(ctx, data)
	return n, true, err
}

func (c *Conductor) newStranger(ctx context.Context, data node.InspectionData) (*node.Node, error) {
	err := c.roomForStranger(ctx)
	if err == nil {
		err = modest(data)
	}
	if err != nil {
		c.log.Warn("a machine was discovered and not enrolled", "macs", reportedMACs(data), "error", err)
		return nil, err
	}
	t, err := c.stranger(data)
	if err != nil {
		return nil, err
	}
	found, err := c.read(ctx, t, flagged(data))
	if err != nil {
		c.log.Warn("a machine was discovered and not enrolled", "macs", reportedMACs(data), "error", err)
		return nil, err
	}
	if len(found.Ports) == 0 { // nothing to know it by the next time
		return nil, node.Errorf(node.Invalid, "The machine was not enrolled: none of its interfaces became a port.")
	}
	n := t.Node
	if err := c.store.Nodes.EnrolNode(ctx, n, found.Ports, found.Inventory); err != nil { // a Conflict: another process was faster
		return nil, err
	}
	var macs []string
	for _, p := range found.Ports {
		macs = append(macs, p.Address)
	}
	for _, text := range found.Notes {
		c.note(ctx, n, string(node.FlowInspect), infoSeverity, text)
	}
	c.note(ctx, n, string(node.FlowInspect), infoSeverity, fmt.Sprintf("Enrolled by discovery: a machine with the MAC addresses %s reported.", strings.Join(macs, ", ")))
	return n, nil
}

// knownStranger finds the node that a discovered machine became before: by its ports, which may be there
// since the caller looked, or by its BMC's address. A node with that BMC that discovery did not make is an
// error: a second node would be the same machine.
func (c *Conductor) knownStranger(ctx context.Context, data node.InspectionData) (*node.Node, error) {
	if len(reportedMACs(data)) > 0 {
		n, err := c.byAddresses(ctx, claimOf(data))
		if err == nil && (!discovered(n) || n.State != node.Enroll) {
			err = notInspectingYet(n)
		}
		if err == nil || node.KindOf(err) != node.NotFound || n != nil {
			return n, err
		}
	}
	same, err := c.withBMC(ctx, data.Inventory, node.NodeFilter{IncludeChildren: true})
	if err != nil || len(same) == 0 {
		return nil, err
	}
	if n := same[0]; len(same) == 1 && discovered(n) && n.State == node.Enroll {
		return n, nil
	}
	c.log.Warn("a machine was discovered and not enrolled: its BMC is that of a node which has none of its MAC addresses", "node", same[0].UUID, "macs", reportedMACs(data))
	return nil, noReporter(reportedMACs(data))
}

// stranger is a task on the node that a machine would become. It is in no store yet.
func (c *Conductor) stranger(data node.InspectionData) (*driver.Task, error) {
	n := &node.Node{
		UUID: uuid.NewString(), Driver: c.cfg.DiscoveryDriver, State: node.Enroll, ConductorGroup: strings.ToLower(c.cfg.ConductorGroup),
		Interfaces: map[node.Interface]string{}, Properties: node.Document{}, DriverInfo: node.Document{}, InstanceInfo: node.Document{},
		Extra: node.Document{}, DriverInternalInfo: node.Document{autoDiscovered: true},
		InspectionStartedAt: node.Now(), InspectionFinishedAt: node.Now(),
	}
	info, err := c.cfg.Types.Describe(n.Driver)
	if err != nil {
		return nil, err
	}
	if slices.Contains(info.Enabled[node.Inspect], "agent") {
		n.Interfaces[node.Inspect] = "agent" // it has inspected already
	}
	if _, takes := info.Properties["ipmi_address"]; takes {
		if addresses := bmcAddresses(data.Inventory); len(addresses) > 0 {
			n.DriverInfo["ipmi_address"] = addresses[0].String()
		}
	}
	h, err := c.cfg.Types.Resolve(n)
	if err != nil {
		return nil, err
	}
	n.Interfaces = h.Names()
	return &driver.Task{Node: n, Hardware: h, Log: logFor(c.log, n)}, nil
}

func flagged(data node.InspectionData) node.InspectionData {
	data.PluginData = data.PluginData.Clone()
	data.PluginData[autoDiscovered] = true
	return data
}

// rediscover takes a further report of a machine that discovery has enrolled and nobody has touched since.
func (c *Conductor) rediscover(ctx context.Context, found *node.Node, data node.InspectionData) (*node.Node, error) {
	if err := modest(data); err != nil {
		return nil, err
	}
	n, err := c.reserve(ctx, found.UUID)
	if err != nil {
		return nil, err
	}
	before := n.Clone()
	if n.State != node.Enroll {
		return nil, c.giveUp(ctx, before, notInspecting(n.UUID))
	}
	kept, stop := c.keepLease(ctx, n)
	err = c.refresh(kept, n, flagged(data))
	stop()
	if err != nil {
		return nil, c.giveUp(ctx, before, err)
	}
	if err := c.release(ctx, n); err != nil {
		return nil, err
	}
	return n, nil
}

func (c *Conductor) refresh(ctx context.Context, n *node.Node, data node.InspectionData) error {
	t, err := c.task(ctx, n)
	if err != nil {
		return err
	}
	findings, err := c.read(ctx, t, data)
	if err != nil {
		return err
	}
	if err := c.keep(ctx, t, findings); err != nil {
		return err
	}
	n.InspectionStartedAt, n.InspectionFinishedAt = node.Now(), node.Now()
	c.note(ctx, n, string(node.FlowInspect), infoSeverity, "The discovered machine reported again.")
	return nil
}

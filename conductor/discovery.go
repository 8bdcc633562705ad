package conductor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/inspection"
	"github.com/billet-metal/billet/node"
)

// Discovery says what becomes of a machine that reports and that nobody has enrolled.
type Discovery struct {
	Driver  string // hardware type of its node; "": it is not enrolled
	Inspect string // inspect interface of its node where the hardware type has it: the one whose ramdisk reports
	Limit   int    // most enrolled machines that nobody has managed yet; 0: no limit
}

// discover enrols the machine of a report that no node is known for, with its ports and inventory, when
// the hooks and the inspection rules take it. A machine that they refuse is not enrolled: the error says
// why. One machine becomes one node: it is known again by its MAC addresses, or by its BMC's.
func (c *reports) discover(ctx context.Context, data node.InspectionData) (*node.Node, error) {
	n, fresh, err := c.enrolStranger(ctx, data)
	if err != nil || fresh {
		return n, err
	}
	return c.rediscover(ctx, n, data)
}

// enrolStranger makes the node of a machine, or finds the one that it became before: fresh says which. It waits for
// no node that others hold, which would hold up the reports of all machines.
func (c *reports) enrolStranger(ctx context.Context, data node.InspectionData) (n *node.Node, fresh bool, err error) {
	c.discovering.Lock() // two reports of one machine at the same time
	defer c.discovering.Unlock()
	known, err := c.knownStranger(ctx, data)
	if err != nil || known != nil {
		return known, false, err
	}
	n, err = c.newStranger(ctx, data)
	return n, true, err
}

func (c *reports) newStranger(ctx context.Context, data node.InspectionData) (*node.Node, error) {
	err := c.roomForStranger(ctx)
	if err == nil {
		err = inspection.Modest(data)
	}
	if err != nil {
		c.log.Warn("a machine was discovered and not enrolled", "macs", inspection.MACs(data), "error", err)
		return nil, err
	}
	t, err := c.stranger(data)
	if err != nil {
		return nil, err
	}
	found, err := c.readReport(ctx, t, inspection.Discover(t.Node, data))
	if err != nil {
		c.log.Warn("a machine was discovered and not enrolled", "macs", inspection.MACs(data), "error", err)
		return nil, err
	}
	if len(found.Ports) == 0 { // nothing to know it by the next time
		return nil, node.Errorf(node.Invalid, "The machine was not enrolled: none of its interfaces became a port.")
	}
	n := t.Node
	if err := c.nodes.EnrolNode(ctx, n, found.Ports, found.Inventory); err != nil { // a Conflict: another process was faster
		return nil, err
	}
	var macs []string
	for _, p := range found.Ports {
		macs = append(macs, p.Address)
	}
	for _, text := range found.Notes {
		c.note(ctx, n, string(node.FlowInspect), infoSeverity, text)
	}
	c.note(ctx, n, string(node.FlowInspect), infoSeverity,
		fmt.Sprintf("Enrolled by discovery: a machine with the MAC addresses %s reported.", strings.Join(macs, ", ")))
	return n, nil
}

// knownStranger finds the node that a discovered machine became before: by its ports, which may be there
// since the caller looked, or by its BMC's address. A node with that BMC that discovery did not make is an
// error: a second node would be the same machine.
func (c *reports) knownStranger(ctx context.Context, data node.InspectionData) (*node.Node, error) {
	if len(inspection.MACs(data)) > 0 {
		n, err := c.byAddresses(ctx, inspection.ClaimOf(data))
		if err == nil && (!inspection.Discovered(n) || n.State != node.Enroll) {
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
	if n := same[0]; len(same) == 1 && inspection.Discovered(n) && n.State == node.Enroll {
		return n, nil
	}
	c.log.Warn("a machine was discovered and not enrolled: its BMC is that of a node which has none of its MAC addresses", "node",
		same[0].UUID, "macs", inspection.MACs(data))
	return nil, noReporter(inspection.MACs(data))
}

// stranger is a task on the node that a machine would become. It is in no store yet.
func (c *reports) stranger(data node.InspectionData) (*driver.Task, error) {
	n := &node.Node{
		UUID: uuid.NewString(), Driver: c.cfg.Discovery.Driver, State: node.Enroll, ConductorGroup: strings.ToLower(c.cfg.ConductorGroup),
		Interfaces: map[node.Interface]string{}, Properties: node.Document{}, DriverInfo: node.Document{}, InstanceInfo: node.Document{},
		Extra: node.Document{}, InspectionStartedAt: node.Now(), InspectionFinishedAt: node.Now(),
	}
	info, err := c.cfg.Types.Describe(n.Driver)
	if err != nil {
		return nil, err
	}
	if slices.Contains(info.Enabled[node.Inspect], c.cfg.Discovery.Inspect) {
		n.Interfaces[node.Inspect] = c.cfg.Discovery.Inspect // it has inspected already
	}
	h, err := c.cfg.Types.Resolve(n)
	if err != nil {
		return nil, err
	}
	n.Interfaces = h.Names()
	if addresses := inspection.BMCAddresses(data.Inventory); len(addresses) > 0 {
		h.SetBMCAddress(n.DriverInfo, addresses[0])
	}
	return &driver.Task{Node: n, Hardware: h, Log: logFor(c.log, n)}, nil
}

// rediscover takes a further report of a machine that discovery has enrolled and nobody has touched since.
func (c *reports) rediscover(ctx context.Context, found *node.Node, data node.InspectionData) (*node.Node, error) {
	if err := inspection.Modest(data); err != nil {
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
	err = c.refresh(kept, n, inspection.Discover(n, data))
	stop()
	if err != nil {
		return nil, c.giveUp(ctx, before, err)
	}
	if err := c.release(ctx, n); err != nil {
		return nil, err
	}
	return n, nil
}

func (c *reports) refresh(ctx context.Context, n *node.Node, data node.InspectionData) error {
	t, err := c.task(ctx, n)
	if err != nil {
		return err
	}
	findings, err := c.readReport(ctx, t, data)
	if err != nil {
		return err
	}
	if err := c.saveFindings(ctx, t, findings); err != nil {
		return err
	}
	n.InspectionStartedAt, n.InspectionFinishedAt = node.Now(), node.Now()
	c.note(ctx, n, string(node.FlowInspect), infoSeverity, "The discovered machine reported again.")
	return nil
}

// roomForStranger refuses to enrol one machine more than discovery may.
func (c *reports) roomForStranger(ctx context.Context) error {
	if c.cfg.Discovery.Limit <= 0 {
		return nil
	}
	enrolled, err := c.nodes.Nodes(ctx, node.NodeFilter{State: node.Enroll, IncludeChildren: true}, node.Page{})
	if err != nil {
		return err
	}
	return inspection.RoomForOne(enrolled, c.cfg.Discovery.Limit)
}

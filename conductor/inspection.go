package conductor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// ContinueInspection takes a machine's inspection report: the node's inspect interface reads it,
// what it found is stored, and the inspection goes on. A report that cannot be used fails the
// inspection, not the call. It returns the node that reported.
func (c *Conductor) ContinueInspection(ctx context.Context, data node.InspectionData) (*node.Node, error) {
	found, err := c.reporter(ctx, data)
	if err != nil {
		return nil, err
	}
	n, err := c.reserve(ctx, found.UUID)
	if err != nil {
		return nil, err
	}
	before := n.Clone()
	if n.State != node.InspectWait || n.Plan == nil {
		return nil, c.giveUp(ctx, before, notInspecting(n.UUID))
	}
	if err := c.takeReport(ctx, n, data); err != nil {
		return nil, c.giveUp(ctx, before, err)
	}
	n.Plan.PollAt = node.Now()
	if err := c.release(ctx, n); err != nil {
		return nil, err
	}
	c.Wake(n.UUID)
	return n, nil
}

// reporter finds the node of a report: by UUID, else by the MACs, else by the BMC's address.
func (c *Conductor) reporter(ctx context.Context, data node.InspectionData) (*node.Node, error) {
	if data.NodeUUID != "" {
		n, err := c.store.Node(ctx, data.NodeUUID)
		if err == nil && n.State != node.InspectWait {
			err = notInspectingYet(n)
		}
		return n, err
	}
	macs := reportedMACs(data)
	if len(macs) > 0 {
		n, err := c.store.NodeByMACs(ctx, macs)
		if err == nil && n.State != node.InspectWait {
			return nil, notInspectingYet(n)
		}
		if err == nil || node.KindOf(err) != node.NotFound {
			return n, err
		}
	}
	return c.byBMC(ctx, data.Inventory, macs)
}

func (c *Conductor) byBMC(ctx context.Context, inventory node.Document, macs []string) (*node.Node, error) {
	notFound := node.Errorf(node.NotFound, "No node that waits for an inspection report has a port with one of the addresses %s, or the reported BMC address.", strings.Join(macs, ", "))
	waiting, err := c.store.Nodes(ctx, node.NodeFilter{State: node.InspectWait, IncludeChildren: true}, node.Page{})
	if err != nil {
		return nil, err
	}
	for _, address := range []string{inventory.String("bmc_address"), inventory.String("bmc_v6address")} {
		if address == "" || address == "0.0.0.0" || address == "::/0" {
			continue // what the agent says when there is no BMC
		}
		for _, n := range waiting {
			for _, key := range []string{"ipmi_address", "redfish_address"} {
				if strings.Contains(n.DriverInfo.String(key), address) {
					return n, nil
				}
			}
		}
	}
	return nil, notFound
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

func reportedMACs(data node.InspectionData) []string {
	var macs []string
	if data.BootInterface != "" {
		macs = append(macs, strings.ToLower(data.BootInterface))
	}
	interfaces, _ := data.Inventory["interfaces"].([]any)
	for _, i := range interfaces {
		nic, _ := i.(map[string]any)
		if mac, _ := nic["mac_address"].(string); mac != "" {
			macs = append(macs, strings.ToLower(mac))
		}
	}
	return macs
}

// takeReport has the driver read the report and stores what it found. An error is the store's;
// what is wrong with the report becomes the failure of the inspection.
func (c *Conductor) takeReport(ctx context.Context, n *node.Node, data node.InspectionData) error {
	task, err := c.task(ctx, n)
	if err != nil {
		return err
	}
	reader, ok := task.Hardware.Inspect.(driver.InspectionResult)
	if !ok {
		return node.Errorf(node.Invalid, "The %s inspect interface of node %s takes no reports.", task.Hardware.Inspect.Name(), n.UUID)
	}
	var found node.Inventory
	var ports []node.Port
	err = guarded(func() (err error) {
		found, ports, err = reader.Inspected(ctx, task, data)
		return err
	})
	if err != nil {
		n.Plan.Failure = cut(scrub(n, fmt.Sprintf("The inspection failed on the machine's report: %v", err)))
		return nil
	}
	for _, p := range ports {
		if p.ID != 0 { // one the node has, of which more is known now
			if err := c.store.SavePort(ctx, p); err != nil {
				return err
			}
			continue
		}
		if p.UUID == "" {
			p.UUID = newUUID()
		}
		p.NodeUUID = n.UUID
		if err := c.store.CreatePort(ctx, &p); err != nil && node.KindOf(err) != node.Conflict {
			return err
		} else if err != nil { // a port it has already, or that another node has: told, not fatal
			c.log.Info("port not added by inspection", "node", n.UUID, "mac", p.Address, "error", err)
		}
	}
	if err := c.store.SaveInventory(ctx, n.UUID, found); err != nil {
		return err
	}
	task.Remember(driver.Reported, node.Now().Format(time.RFC3339))
	return nil
}

package conductor

import (
	"context"
	"encoding/json"

	"github.com/billet-metal/billet/node"
)

// ExpectsReport returns nil when an inspection report may be for a node, or becomes one by discovery. It is asked before
// a stranger's report is read at all: without a machine that is expected nobody needs it. uuid is the node that the
// caller names; "" when it names none.
func (c *Conductor) ExpectsReport(ctx context.Context, uuid string) error {
	if uuid != "" {
		n, err := c.store.Nodes.Node(ctx, uuid)
		if err != nil {
			return err
		}
		if n.State == node.InspectWait || n.State == node.Inspecting || discovered(n) && c.cfg.DiscoveryDriver != "" {
			return nil
		}
		return notInspecting(uuid)
	}
	if c.cfg.DiscoveryDriver != "" {
		return nil
	}
	for _, s := range []node.State{node.InspectWait, node.Inspecting} {
		waiting, err := c.store.Nodes.Nodes(ctx, node.NodeFilter{State: s, IncludeChildren: true}, node.Page{Limit: 1})
		if err != nil || len(waiting) > 0 {
			return err
		}
	}
	return node.Errorf(node.NotFound, "No node waits for an inspection report.")
}

// maxStrangersReport bounds what is kept of the report of a machine that nobody has enrolled.
const maxStrangersReport = 2 << 20

// modest refuses a stranger's report that is larger than what machines report.
func modest(data node.InspectionData) error {
	b, err := json.Marshal([]any{data.Inventory, data.PluginData})
	if err != nil {
		return err
	}
	if len(b) > maxStrangersReport {
		return node.Errorf(node.Invalid,
			"The machine was not enrolled: its report has %d bytes; of a machine that nobody has enrolled at most %d are kept.",
			len(b), maxStrangersReport)
	}
	return nil
}

// roomForStranger says whether discovery may enrol one more machine: anybody on the network can report machines that
// there are not.
func (c *Conductor) roomForStranger(ctx context.Context) error {
	if c.cfg.DiscoveryLimit <= 0 {
		return nil
	}
	enrolled, err := c.store.Nodes.Nodes(ctx, node.NodeFilter{State: node.Enroll, IncludeChildren: true}, node.Page{})
	if err != nil {
		return err
	}
	found := 0
	for _, n := range enrolled {
		if discovered(n) {
			found++
		}
	}
	if found < c.cfg.DiscoveryLimit {
		return nil
	}
	return node.Errorf(node.Unavailable, "The machine was not enrolled: %d discovered machines wait in the state enroll, "+
		"as many as discovery_limit allows. Manage or delete them, or raise the limit.", found)
}

package conductor

import (
	"context"

	"github.com/billet-metal/billet/inspection"
	"github.com/billet-metal/billet/node"
)

// ExpectsReport returns nil when an inspection report may be for a node, or becomes one by discovery. It is asked before
// a stranger's report is read at all: without a machine that is expected nobody needs it. uuid is the node that the
// caller names; "" when it names none.
func (c *reports) ExpectsReport(ctx context.Context, uuid string) error {
	if uuid != "" {
		n, err := c.nodes.Node(ctx, uuid)
		if err != nil {
			return err
		}
		if n.State == node.InspectWait || n.State == node.Inspecting || inspection.Discovered(n) && c.cfg.Discovery.Driver != "" {
			return nil
		}
		return notInspecting(uuid)
	}
	if c.cfg.Discovery.Driver != "" {
		return nil
	}
	for _, s := range []node.State{node.InspectWait, node.Inspecting} {
		waiting, err := c.nodes.Nodes(ctx, node.NodeFilter{State: s, IncludeChildren: true}, node.Page{Limit: 1})
		if err != nil || len(waiting) > 0 {
			return err
		}
	}
	return node.Errorf(node.NotFound, "No node waits for an inspection report.")
}

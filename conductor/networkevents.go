package conductor

import (
	"context"

	"github.com/billet-metal/billet/node"
)

// mostEventNodes bounds what one call of the network service can have looked up.
const mostEventNodes = 100

// NetworkEvents has the nodes looked at soon that wait for a network and whose ports the network service speaks of: by the node that a port
// is bound to, or by its MAC address. What became of the port they ask the network service themselves. Who is not found here,
// or is looked up in vain, looks by itself a little later.
func (c *callers) NetworkEvents(ctx context.Context, events []node.NetworkEvent) error {
	looked := map[string]bool{}
	for _, e := range events {
		if key := e.Host + " " + e.MAC; !looked[key] && len(looked) < mostEventNodes {
			looked[key] = true
			if err := c.networkEvent(ctx, e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *callers) networkEvent(ctx context.Context, e node.NetworkEvent) error {
	n, err := c.nodes.NodeByMACs(ctx, []string{e.MAC})
	if node.KindOf(err) == node.NotFound && e.Host != "" { // of a portgroup, whose address is no port's
		n, err = c.nodes.Node(ctx, e.Host)
	}
	switch kind := node.KindOf(err); {
	case err != nil && (kind == node.NotFound || kind == node.Conflict || kind == node.Invalid):
		return nil
	case err != nil:
		return err
	}
	c.log.Info("network service spoke of a port", "node", n.UUID, "event", e.Name, "port", e.PortID, "mac", e.MAC, "status", e.Status)
	if n.State.Class() == node.Waiting && n.Plan != nil && n.Plan.Awaits.RunsAgain() {
		c.Wake(n.UUID)
	}
	return nil
}

package conductor

import (
	"context"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

const (
	leftoverSweep = 5 * time.Minute  // how often network services are asked for what was left there
	unplugTime    = 20 * time.Second // of a node that is deleted
)

// sweepNetworks takes back what ended flows left at network services, at once and then from time to time.
func (c *wiring) sweepNetworks(ctx context.Context) {
	for {
		c.sweepNetworksOnce(ctx)
		select {
		case <-time.After(leftoverSweep):
		case <-ctx.Done():
			return
		}
	}
}

func (c *wiring) sweepNetworksOnce(ctx context.Context) {
	done := map[string]bool{}
	for _, ty := range c.cfg.Types {
		for _, impl := range ty.Network {
			sweeper, ok := impl.(driver.Sweeper)
			if !ok {
				continue
			}
			left, err := sweeper.Left(ctx)
			if err != nil && ctx.Err() == nil {
				c.log.Warn("not known what is left at the network service", "network_interface", impl.Name(), "error", err)
			}
			for _, uuid := range left {
				if !done[uuid] {
					c.takeBack(ctx, uuid)
				}
				done[uuid] = true
			}
		}
	}
}

// takeBack disconnects a node whose flow has ended. Of a node that is not known here, another service may know.
func (c *wiring) takeBack(ctx context.Context, uuid string) {
	n, err := c.nodes.Node(ctx, uuid)
	if err != nil || !idle(n) || n.Lease.Held(node.Now()) {
		return
	}
	err = c.rewire(ctx, uuid, func(ctx context.Context, t *driver.Task) error {
		if !idle(t.Node) {
			return nil
		}
		c.note(ctx, t.Node, "network", infoSeverity, "An ended flow left ports of its ramdisk at the network service. They are removed.")
		return t.Hardware.Network.Disconnect(ctx, t, driver.ProvisioningNetwork)
	})
	if err != nil && ctx.Err() == nil {
		c.log.Warn("what a ramdisk left at the network service is there still", "node", uuid, "error", err)
	}
}

// idle reports whether no flow works on a node.
func idle(n *node.Node) bool {
	class := n.State.Class()
	return n.Plan == nil && class != node.Busy && class != node.Waiting && class != node.Held
}

// unplug takes a node that is about to be deleted off its networks. A network service that is away keeps nobody from that.
func (c *wiring) unplug(ctx context.Context, n *node.Node) {
	ctx, cancel := context.WithTimeout(ctx, unplugTime)
	defer cancel()
	t, err := c.wired(ctx, n)
	if err == nil {
		err = guarded(t.Log, func() error { return t.Hardware.Network.Disconnect(ctx, t, driver.TenantNetwork) })
	}
	if err != nil {
		c.log.Warn("a node is deleted that may be on a network still", "node", n.UUID, "error", err)
	}
}

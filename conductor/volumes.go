package conductor

import (
	"context"

	"github.com/billet-metal/billet/node"
)

// CreateVolumeConnector adds a node's name in a storage network and returns it as stored.
func (c *Conductor) CreateVolumeConnector(ctx context.Context, v node.VolumeConnector) (node.VolumeConnector, error) {
	n, err := c.reserveOwner(ctx, v.NodeUUID)
	if err != nil {
		return v, err
	}
	v.NodeUUID = n.UUID
	err = c.store.VolumeConnectors.Create(ctx, &v)
	return v, c.giveUp(ctx, n, err)
}

// UpdateVolumeConnector lets change edit a copy of the connector and saves it, while its node is off.
func (c *Conductor) UpdateVolumeConnector(ctx context.Context, uuid string, change func(*node.VolumeConnector) error) (node.VolumeConnector, error) {
	before, err := c.store.VolumeConnectors.Get(ctx, uuid)
	if err != nil {
		return before, err
	}
	after := before
	err = c.whileOff(ctx, before.NodeUUID, "volume connector update", func(n *node.Node) error {
		if after, err = c.store.VolumeConnectors.Get(ctx, uuid); err != nil { // as it is under the lease
			return err
		}
		if err := stillOf(n, "Volume connector", after.UUID, after.NodeUUID); err != nil {
			return err
		}
		after.Extra = after.Extra.Clone()
		if err := change(&after); err != nil {
			return err
		}
		if err := c.ownerExists(ctx, before.NodeUUID, after.NodeUUID); err != nil {
			return err
		}
		return c.store.VolumeConnectors.Save(ctx, &after)
	})
	return after, err
}

// DeleteVolumeConnector removes a connector while its node is off.
func (c *Conductor) DeleteVolumeConnector(ctx context.Context, uuid string) error {
	v, err := c.store.VolumeConnectors.Get(ctx, uuid)
	if err != nil {
		return err
	}
	return c.whileOff(ctx, v.NodeUUID, "volume connector deletion", func(*node.Node) error {
		return c.store.VolumeConnectors.Delete(ctx, v.UUID)
	})
}

// CreateVolumeTarget notes a volume for a node's instance and returns it as stored.
func (c *Conductor) CreateVolumeTarget(ctx context.Context, v node.VolumeTarget) (node.VolumeTarget, error) {
	n, err := c.reserveOwner(ctx, v.NodeUUID)
	if err != nil {
		return v, err
	}
	v.NodeUUID = n.UUID
	err = c.store.VolumeTargets.Create(ctx, &v)
	return v, c.giveUp(ctx, n, err)
}

// UpdateVolumeTarget lets change edit a copy of the target and saves it, while its node is off.
func (c *Conductor) UpdateVolumeTarget(ctx context.Context, uuid string, change func(*node.VolumeTarget) error) (node.VolumeTarget, error) {
	before, err := c.store.VolumeTargets.Get(ctx, uuid)
	if err != nil {
		return before, err
	}
	after := before
	err = c.whileOff(ctx, before.NodeUUID, "volume target update", func(n *node.Node) error {
		if after, err = c.store.VolumeTargets.Get(ctx, uuid); err != nil { // as it is under the lease
			return err
		}
		if err := stillOf(n, "Volume target", after.UUID, after.NodeUUID); err != nil {
			return err
		}
		after.Extra, after.Properties = after.Extra.Clone(), after.Properties.Clone()
		if err := change(&after); err != nil {
			return err
		}
		if err := c.ownerExists(ctx, before.NodeUUID, after.NodeUUID); err != nil {
			return err
		}
		return c.store.VolumeTargets.Save(ctx, &after)
	})
	return after, err
}

// DeleteVolumeTarget removes a target while its node is off. It may be unreadable: that is a reason to delete it.
func (c *Conductor) DeleteVolumeTarget(ctx context.Context, uuid string) error {
	owner, err := c.store.VolumeTargets.Owner(ctx, uuid)
	if err != nil {
		return err
	}
	return c.whileOff(ctx, owner, "volume target deletion", func(*node.Node) error { return c.store.VolumeTargets.Delete(ctx, uuid) })
}

// whileOff does something with a node's volumes under its lease. A machine that runs may be using them.
func (c *Conductor) whileOff(ctx context.Context, nodeUUID, action string, do func(*node.Node) error) error {
	n, err := c.reserve(ctx, nodeUUID)
	if err != nil {
		return err
	}
	if n.Power != node.PowerOff {
		power := string(n.Power)
		if power == "" {
			power = "unknown power"
		}
		err = node.Errorf(node.Invalid, "The requested action %q can not be performed on node %q while it is in state %q; it must be powered off.", action, n.UUID, power)
	} else {
		err = do(n)
	}
	return c.giveUp(ctx, n, err)
}

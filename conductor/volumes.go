package conductor

import (
	"cmp"
	"context"

	"github.com/billet-metal/billet/node"
)

func (r *records) ownedConnectors() owned[node.VolumeConnector] {
	return owned[node.VolumeConnector]{
		core: r.core, noun: "Volume connector", all: r.connectors,
		ids:      func(v *node.VolumeConnector) (string, *string) { return v.UUID, &v.NodeUUID },
		copy:     func(v *node.VolumeConnector) { v.Extra = v.Extra.Clone() },
		mayTouch: whileOff("volume connector"),
		mayChange: func(ctx context.Context, _ *node.Node, before, after node.VolumeConnector) error {
			return r.ownerExists(ctx, before.NodeUUID, after.NodeUUID)
		},
	}
}

func (r *records) ownedTargets() owned[node.VolumeTarget] {
	return owned[node.VolumeTarget]{
		core: r.core, noun: "Volume target", all: r.targets,
		ids:      func(v *node.VolumeTarget) (string, *string) { return v.UUID, &v.NodeUUID },
		copy:     func(v *node.VolumeTarget) { v.Extra, v.Properties = v.Extra.Clone(), v.Properties.Clone() },
		mayTouch: whileOff("volume target"),
		mayChange: func(ctx context.Context, _ *node.Node, before, after node.VolumeTarget) error {
			return r.ownerExists(ctx, before.NodeUUID, after.NodeUUID)
		},
	}
}

// whileOff refuses to touch a node's volumes while its machine may be using them.
func whileOff(what string) func(n *node.Node, action string) error {
	return func(n *node.Node, action string) error {
		if n.Power == node.PowerOff {
			return nil
		}
		return node.Errorf(node.Invalid, "The requested action %q can not be performed on node %q while it is in state %q; "+
			"it must be powered off.", what+" "+action, n.UUID, cmp.Or(string(n.Power), "unknown power"))
	}
}

// CreateVolumeConnector adds a node's name in a storage network and returns it as stored.
func (r *records) CreateVolumeConnector(ctx context.Context, v node.VolumeConnector) (node.VolumeConnector, error) {
	return r.ownedConnectors().create(ctx, v)
}

// UpdateVolumeConnector lets change edit a copy of the connector and saves it, while its node is off.
func (r *records) UpdateVolumeConnector(
	ctx context.Context, uuid string, change func(*node.VolumeConnector) error,
) (node.VolumeConnector, error) {
	return r.ownedConnectors().update(ctx, uuid, change)
}

// DeleteVolumeConnector removes a connector while its node is off.
func (r *records) DeleteVolumeConnector(ctx context.Context, uuid string) error {
	return r.ownedConnectors().delete(ctx, uuid)
}

// CreateVolumeTarget notes a volume for a node's instance and returns it as stored.
func (r *records) CreateVolumeTarget(ctx context.Context, v node.VolumeTarget) (node.VolumeTarget, error) {
	return r.ownedTargets().create(ctx, v)
}

// UpdateVolumeTarget lets change edit a copy of the target and saves it, while its node is off.
func (r *records) UpdateVolumeTarget(
	ctx context.Context, uuid string, change func(*node.VolumeTarget) error,
) (node.VolumeTarget, error) {
	return r.ownedTargets().update(ctx, uuid, change)
}

// DeleteVolumeTarget removes a target while its node is off.
func (r *records) DeleteVolumeTarget(ctx context.Context, uuid string) error {
	return r.ownedTargets().delete(ctx, uuid)
}

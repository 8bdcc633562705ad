package conductor

import (
	"context"

	"github.com/billet-metal/billet/node"
)

func (r *records) ownedPorts() owned[node.Port] {
	return owned[node.Port]{
		core: r.core, noun: "Port", all: r.ports,
		ids: func(p *node.Port) (string, *string) { return p.UUID, &p.NodeUUID },
		copy: func(p *node.Port) {
			p.Extra, p.InternalInfo, p.LocalLinkConnection = p.Extra.Clone(), p.InternalInfo.Clone(), p.LocalLinkConnection.Clone()
		},
		mayCreate: r.mayJoin, mayChange: r.mayChangePort, mayDelete: mayDeletePort,
	}
}

// CreatePort adds a network interface to a node and returns it as stored.
func (r *records) CreatePort(ctx context.Context, p node.Port) (node.Port, error) {
	return r.ownedPorts().create(ctx, p)
}

// UpdatePort lets change edit a copy of the port, checks what its node's state allows, and saves.
func (r *records) UpdatePort(ctx context.Context, uuid string, change func(*node.Port) error) (node.Port, error) {
	return r.ownedPorts().update(ctx, uuid, change)
}

// DeletePort removes a network interface that no virtual one is attached to.
func (r *records) DeletePort(ctx context.Context, uuid string) error {
	return r.ownedPorts().delete(ctx, uuid)
}

func (r *records) mayChangePort(ctx context.Context, n *node.Node, before, after node.Port) error {
	if err := nodeAllows(n, before, after); err != nil {
		return err
	}
	if _, hurt := before.Unreadable["internal_info"]; hurt && len(after.InternalInfo) > 0 {
		return before.Damage() // nobody knows which virtual interface would be lost
	}
	if err := r.ownerExists(ctx, before.NodeUUID, after.NodeUUID); err != nil {
		return err
	}
	if err := r.mayJoin(ctx, after); err != nil {
		return err
	}
	joins := before.PortgroupUUID != after.PortgroupUUID || !before.PXEEnabled
	if after.PortgroupUUID == "" || !after.PXEEnabled || !joins {
		return nil
	}
	return r.bootsAlone(ctx, after)
}

// nodeAllows checks what a node's state says to a change of its port.
func nodeAllows(n *node.Node, before, after node.Port) error {
	rewired := before.PXEEnabled != after.PXEEnabled || before.PortgroupUUID != after.PortgroupUUID ||
		before.PhysicalNetwork != after.PhysicalNetwork || before.IsSmartNIC != after.IsSmartNIC ||
		before.NodeUUID != after.NodeUUID || !sameDocument(before.LocalLinkConnection, after.LocalLinkConnection)
	if rewired {
		if err := mayRewire(n, "port", before.UUID); err != nil {
			return err
		}
	}
	if before.Address == after.Address {
		return nil
	}
	return mayReaddress(n, "port", before.UUID)
}

func mayDeletePort(_ context.Context, n *node.Node, p node.Port) error {
	vif := p.InternalInfo.String(node.VIFKey)
	switch {
	case n.Maintenance:
		return nil
	case vif != "":
		return node.Errorf(node.Conflict, "Port %s has the virtual interface %s attached; detach it first, or put node %s in maintenance.",
			p.UUID, vif, n.UUID)
	case n.InstanceUUID != "" && n.State == node.Active:
		return node.Errorf(node.Conflict, "Port %s can not be deleted while node %s has an instance, unless the node is in maintenance.",
			p.UUID, n.UUID)
	}
	return nil
}

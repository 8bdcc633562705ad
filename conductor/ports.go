package conductor

import (
	"context"
	"reflect"
	"slices"

	"github.com/google/uuid"

	"github.com/billet-metal/billet/node"
)

// portStates are those in which a port's connection may be changed.
var portStates = []node.State{node.Enroll, node.Inspecting, node.InspectWait, node.Manageable}

// CreatePort adds a network interface to a node and returns it as stored.
func (c *Conductor) CreatePort(ctx context.Context, p node.Port) (node.Port, error) {
	n, err := c.reserveOwner(ctx, p.NodeUUID)
	if err != nil {
		return p, err
	}
	if p.UUID == "" {
		p.UUID = uuid.NewString()
	}
	p.NodeUUID = n.UUID
	if err = c.mayJoin(ctx, p); err == nil {
		err = c.store.Ports.Create(ctx, &p)
	}
	return p, c.giveUp(ctx, n, err)
}

// UpdatePort lets change edit a copy of the port, checks what its node's state allows, and saves.
func (c *Conductor) UpdatePort(ctx context.Context, uuid string, change func(*node.Port) error) (node.Port, error) {
	before, err := c.store.Ports.Get(ctx, uuid)
	if err != nil {
		return before, err
	}
	n, err := c.reserve(ctx, before.NodeUUID)
	if err != nil {
		return before, err
	}
	if before, err = c.portUnder(ctx, n, uuid); err != nil {
		return before, c.giveUp(ctx, n, err)
	}
	after := before
	after.Extra, after.InternalInfo = before.Extra.Clone(), before.InternalInfo.Clone()
	after.LocalLinkConnection = before.LocalLinkConnection.Clone()
	if err = change(&after); err == nil {
		err = mayChangePort(n, before, after)
	}
	if _, hurt := before.Unreadable["internal_info"]; err == nil && hurt && len(after.InternalInfo) > 0 {
		err = before.Damage() // nobody knows which virtual interface would be lost
	}
	if err == nil {
		err = c.ownerExists(ctx, before.NodeUUID, after.NodeUUID)
	}
	if err == nil {
		err = c.mayJoin(ctx, after)
	}
	if err == nil && after.PortgroupUUID != "" && after.PXEEnabled && (before.PortgroupUUID != after.PortgroupUUID || !before.PXEEnabled) {
		err = c.bootsAlone(ctx, after)
	}
	if err == nil {
		err = c.store.Ports.Save(ctx, &after)
	}
	if err = c.giveUp(ctx, n, err); err != nil {
		return before, err
	}
	return c.store.Ports.Get(ctx, after.UUID)
}

// portUnder reads a port again, now that its node's lease is held: what was read before may be another's past.
func (c *Conductor) portUnder(ctx context.Context, n *node.Node, uuid string) (node.Port, error) {
	p, err := c.store.Ports.Get(ctx, uuid)
	if err == nil {
		err = stillOf(n, "Port", p.UUID, p.NodeUUID)
	}
	return p, err
}

// stillOf refuses to work on what was moved to another node before the lease of its former one was granted.
func stillOf(n *node.Node, what, uuid, owner string) error {
	if owner == n.UUID {
		return nil
	}
	return node.Errorf(node.Conflict, "%s %s was moved to node %s in the meantime, please retry.", what, uuid, owner)
}

func mayChangePort(n *node.Node, before, after node.Port) error {
	rewired := before.PXEEnabled != after.PXEEnabled || before.PortgroupUUID != after.PortgroupUUID ||
		before.PhysicalNetwork != after.PhysicalNetwork || before.IsSmartNIC != after.IsSmartNIC ||
		before.NodeUUID != after.NodeUUID || !sameDocument(before.LocalLinkConnection, after.LocalLinkConnection)
	if rewired && !n.Maintenance && !slices.Contains(portStates, n.State) {
		return node.Errorf(node.Conflict, "The connection of port %s can not be changed while node %s is in state %q; allowed are the states %s, or any in maintenance.",
			before.UUID, n.UUID, n.State, joined(portStates))
	}
	if before.Address != after.Address && !n.Maintenance && (n.InstanceUUID != "" || n.State == node.Active) {
		return node.Errorf(node.Conflict, "The address of port %s can not be changed while node %s has an instance, unless the node is in maintenance.", before.UUID, n.UUID)
	}
	return nil
}

func sameDocument(a, b node.Document) bool {
	return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b)
}

// DeletePort removes a network interface that no virtual one is attached to.
func (c *Conductor) DeletePort(ctx context.Context, uuid string) error {
	p, err := c.store.Ports.Get(ctx, uuid)
	if err != nil {
		return err
	}
	n, err := c.reserve(ctx, p.NodeUUID)
	if err != nil {
		return err
	}
	if p, err = c.portUnder(ctx, n, uuid); err != nil {
		return c.giveUp(ctx, n, err)
	}
	switch {
	case p.InternalInfo.String(node.VIFKey) != "" && !n.Maintenance:
		err = node.Errorf(node.Conflict, "Port %s has the virtual interface %s attached; detach it first, or put node %s in maintenance.", p.UUID, p.InternalInfo.String(node.VIFKey), n.UUID)
	case n.InstanceUUID != "" && n.State == node.Active && !n.Maintenance:
		err = node.Errorf(node.Conflict, "Port %s can not be deleted while node %s has an instance, unless the node is in maintenance.", p.UUID, n.UUID)
	default:
		err = c.store.Ports.Delete(ctx, p.UUID)
	}
	return c.giveUp(ctx, n, err)
}

package conductor

import (
	"context"
	"reflect"
	"slices"

	"github.com/billet-metal/billet/node"
)

// portStates are those in which a port's connection may be changed.
var portStates = []node.State{node.Enroll, node.Inspecting, node.InspectWait, node.Manageable}

// vifKey is where a network interface notes the virtual interface attached to a port.
const vifKey = "tenant_vif_port_id"

// CreatePort adds a network interface to a node and returns it as stored.
func (c *Conductor) CreatePort(ctx context.Context, p node.Port) (node.Port, error) {
	n, err := c.reserve(ctx, p.NodeUUID)
	if err != nil {
		if node.KindOf(err) == node.NotFound {
			err = node.Errorf(node.Invalid, "Node %s could not be found.", p.NodeUUID)
		}
		return p, err
	}
	if p.UUID == "" {
		p.UUID = newUUID()
	}
	p.NodeUUID = n.UUID
	err = c.store.CreatePort(ctx, &p)
	return p, c.giveUp(ctx, n, err)
}

// UpdatePort lets change edit a copy of the port, checks what its node's state allows, and saves.
func (c *Conductor) UpdatePort(ctx context.Context, uuid string, change func(*node.Port) error) (node.Port, error) {
	before, err := c.store.Port(ctx, uuid)
	if err != nil {
		return before, err
	}
	n, err := c.reserve(ctx, before.NodeUUID)
	if err != nil {
		return before, err
	}
	after := before
	after.Extra, after.InternalInfo = before.Extra.Clone(), before.InternalInfo.Clone()
	after.LocalLinkConnection = before.LocalLinkConnection.Clone()
	if err = change(&after); err == nil {
		err = mayChangePort(n, before, after)
	}
	if err == nil && after.NodeUUID != before.NodeUUID {
		if _, err = c.store.Node(ctx, after.NodeUUID); err != nil && node.KindOf(err) == node.NotFound {
			err = node.Errorf(node.Invalid, "Node %s could not be found.", after.NodeUUID)
		}
	}
	if err == nil {
		err = c.store.SavePort(ctx, after)
	}
	if err = c.giveUp(ctx, n, err); err != nil {
		return before, err
	}
	return c.store.Port(ctx, after.UUID)
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
	p, err := c.store.Port(ctx, uuid)
	if err != nil {
		return err
	}
	n, err := c.reserve(ctx, p.NodeUUID)
	if err != nil {
		return err
	}
	switch {
	case p.InternalInfo.String(vifKey) != "" && !n.Maintenance:
		err = node.Errorf(node.Conflict, "Port %s has the virtual interface %s attached; detach it first, or put node %s in maintenance.", p.UUID, p.InternalInfo.String(vifKey), n.UUID)
	case n.InstanceUUID != "" && n.State == node.Active && !n.Maintenance:
		err = node.Errorf(node.Conflict, "Port %s can not be deleted while node %s has an instance, unless the node is in maintenance.", p.UUID, n.UUID)
	default:
		err = c.store.DeletePort(ctx, p.UUID)
	}
	return c.giveUp(ctx, n, err)
}

package conductor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/billet-metal/billet/node"
)

// reserveOwner takes the lease of the node that a new record is to belong to.
func (c *Conductor) reserveOwner(ctx context.Context, uuid string) (*node.Node, error) {
	n, err := c.reserve(ctx, uuid)
	if err != nil && node.KindOf(err) == node.NotFound {
		err = node.Errorf(node.Invalid, "Node %s could not be found.", uuid)
	}
	return n, err
}

// ownerExists checks the node that a record is to be moved to.
func (c *Conductor) ownerExists(ctx context.Context, before, after string) error {
	if before == after {
		return nil
	}
	_, err := c.store.Nodes.Node(ctx, after)
	if err != nil && node.KindOf(err) == node.NotFound {
		err = node.Errorf(node.Invalid, "Node %s could not be found.", after)
	}
	return err
}

// CreatePortgroup adds a portgroup to a node and returns it as stored.
func (c *Conductor) CreatePortgroup(ctx context.Context, g node.Portgroup) (node.Portgroup, error) {
	n, err := c.reserveOwner(ctx, g.NodeUUID)
	if err != nil {
		return g, err
	}
	g.NodeUUID = n.UUID
	err = c.store.Portgroups.Create(ctx, &g)
	return g, c.giveUp(ctx, n, err)
}

// UpdatePortgroup lets change edit a copy of the portgroup, checks what its node and its ports allow, and saves.
func (c *Conductor) UpdatePortgroup(ctx context.Context, uuid string, change func(*node.Portgroup) error) (node.Portgroup, error) {
	before, err := c.store.Portgroups.Get(ctx, uuid)
	if err != nil {
		return before, err
	}
	n, err := c.reserve(ctx, before.NodeUUID)
	if err != nil {
		return before, err
	}
	if before, err = c.portgroupUnder(ctx, n, uuid); err != nil {
		return before, c.giveUp(ctx, n, err)
	}
	after := before
	after.Properties, after.Extra, after.InternalInfo = before.Properties.Clone(), before.Extra.Clone(), before.InternalInfo.Clone()
	if err = change(&after); err == nil {
		err = c.mayChangePortgroup(ctx, n, before, after)
	}
	if err == nil {
		err = c.ownerExists(ctx, before.NodeUUID, after.NodeUUID)
	}
	if err == nil {
		err = c.store.Portgroups.Save(ctx, &after)
	}
	if err = c.giveUp(ctx, n, err); err != nil {
		return before, err
	}
	return c.store.Portgroups.Get(ctx, after.UUID)
}

// portgroupUnder is portUnder of a portgroup.
func (c *Conductor) portgroupUnder(ctx context.Context, n *node.Node, uuid string) (node.Portgroup, error) {
	g, err := c.store.Portgroups.Get(ctx, uuid)
	if err == nil {
		err = stillOf(n, "Portgroup", g.UUID, g.NodeUUID)
	}
	return g, err
}

func (c *Conductor) mayChangePortgroup(ctx context.Context, n *node.Node, before, after node.Portgroup) error {
	rewired := before.NodeUUID != after.NodeUUID || before.Mode != after.Mode || before.StandalonePortsSupported != after.StandalonePortsSupported ||
		before.PhysicalNetwork != after.PhysicalNetwork || !sameDocument(before.Properties, after.Properties)
	if rewired && !n.Maintenance && !slices.Contains(portStates, n.State) {
		return node.Errorf(node.Conflict, "The connection of portgroup %s can not be changed while node %s is in state %q; allowed are the states %s, or any in maintenance.",
			before.UUID, n.UUID, n.State, joined(portStates))
	}
	if before.Address != after.Address && !n.Maintenance && (n.InstanceUUID != "" || n.State == node.Active) {
		return node.Errorf(node.Conflict, "The address of portgroup %s can not be changed while node %s has an instance, unless the node is in maintenance.", before.UUID, n.UUID)
	}
	moved, alone := before.NodeUUID != after.NodeUUID, before.StandalonePortsSupported && !after.StandalonePortsSupported
	if !moved && !alone {
		return nil
	}
	ports, err := c.store.Ports.List(ctx, node.PortFilter{NodeUUID: n.UUID, PortgroupUUID: before.UUID}, node.Page{})
	if err != nil {
		return err
	}
	if moved && len(ports) > 0 {
		return node.Errorf(node.Conflict, "Portgroup %s can not be moved to another node: it has ports, which must leave it first.", before.UUID)
	}
	for _, p := range ports {
		if p.PXEEnabled || p.InternalInfo.String(node.VIFKey) != "" {
			return node.Errorf(node.Conflict, "standalone_ports_supported of portgroup %s can not be made false: its port %s boots from the network (pxe_enabled) or has a virtual interface.", before.UUID, p.UUID)
		}
	}
	return nil
}

// DeletePortgroup removes a portgroup that has neither ports nor a virtual interface.
func (c *Conductor) DeletePortgroup(ctx context.Context, uuid string) error {
	g, err := c.store.Portgroups.Get(ctx, uuid)
	if err != nil {
		return err
	}
	n, err := c.reserve(ctx, g.NodeUUID)
	if err != nil {
		return err
	}
	if g, err = c.portgroupUnder(ctx, n, uuid); err != nil {
		return c.giveUp(ctx, n, err)
	}
	ports, err := c.store.Ports.List(ctx, node.PortFilter{NodeUUID: n.UUID, PortgroupUUID: g.UUID}, node.Page{})
	switch vif := g.InternalInfo.String(node.VIFKey); {
	case err != nil:
	case len(ports) > 0:
		err = node.Errorf(node.Invalid, "Portgroup %s cannot be deleted: it has ports, which must leave it first.", g.UUID)
	case vif != "" && !n.Maintenance:
		err = node.Errorf(node.Conflict, "Portgroup %s has the virtual interface %s attached; detach it first, or put node %s in maintenance.", g.UUID, vif, n.UUID)
	default:
		err = c.store.Portgroups.Delete(ctx, g.UUID)
	}
	return c.giveUp(ctx, n, err)
}

// portgroupOf is the portgroup a port is in, or is to join.
func (c *Conductor) portgroupOf(ctx context.Context, p node.Port) (node.Portgroup, error) {
	g, err := c.store.Portgroups.Get(ctx, p.PortgroupUUID)
	if err != nil && node.KindOf(err) == node.NotFound {
		err = node.Errorf(node.Invalid, "Portgroup %s could not be found.", p.PortgroupUUID)
	}
	return g, err
}

// mayJoin checks that a port's portgroup is of its node, and that all of its ports lead to one physical network.
func (c *Conductor) mayJoin(ctx context.Context, p node.Port) error {
	if p.PortgroupUUID == "" {
		return nil
	}
	g, err := c.portgroupOf(ctx, p)
	if err != nil {
		return err
	}
	if g.NodeUUID != p.NodeUUID {
		return node.Errorf(node.Invalid, "Port %s can not be in portgroup %s, which belongs to node %s and not to the port's node %s.", p.Address, g.UUID, g.NodeUUID, p.NodeUUID)
	}
	ports, err := c.store.Ports.List(ctx, node.PortFilter{NodeUUID: g.NodeUUID, PortgroupUUID: g.UUID}, node.Page{})
	if err != nil {
		return err
	}
	for _, other := range ports {
		if other.UUID != p.UUID && other.PhysicalNetwork != p.PhysicalNetwork {
			networks := []string{fmt.Sprintf("%q", other.PhysicalNetwork), fmt.Sprintf("%q", p.PhysicalNetwork)}
			slices.Sort(networks)
			return node.Errorf(node.Conflict, "Portgroup %s would have ports in different physical networks (%s); a bond leads to one.",
				g.UUID, strings.Join(networks, ", "))
		}
	}
	return nil
}

// bootsAlone refuses that a port boots from the network whose portgroup works only as a whole.
func (c *Conductor) bootsAlone(ctx context.Context, p node.Port) error {
	g, err := c.portgroupOf(ctx, p)
	if err != nil || g.StandalonePortsSupported {
		return err
	}
	return node.Errorf(node.Conflict, "Portgroup %s works only as a whole (standalone_ports_supported is false), so its port %s must not boot from the network: set pxe_enabled to false.", g.UUID, p.UUID)
}

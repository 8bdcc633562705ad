package conductor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/billet-metal/billet/node"
)

func (r *records) ownedPortgroups() owned[node.Portgroup] {
	return owned[node.Portgroup]{
		core: r.core, noun: "Portgroup", all: r.portgroups,
		ids: func(g *node.Portgroup) (string, *string) { return g.UUID, &g.NodeUUID },
		copy: func(g *node.Portgroup) {
			g.Properties, g.Extra, g.InternalInfo = g.Properties.Clone(), g.Extra.Clone(), g.InternalInfo.Clone()
		},
		mayChange: r.mayChangePortgroup, mayDelete: r.mayDeletePortgroup,
	}
}

// CreatePortgroup adds a portgroup to a node and returns it as stored.
func (r *records) CreatePortgroup(ctx context.Context, g node.Portgroup) (node.Portgroup, error) {
	return r.ownedPortgroups().create(ctx, g)
}

// UpdatePortgroup lets change edit a copy of the portgroup, checks what its node and its ports allow, and saves.
func (r *records) UpdatePortgroup(ctx context.Context, uuid string, change func(*node.Portgroup) error) (node.Portgroup, error) {
	return r.ownedPortgroups().update(ctx, uuid, change)
}

// DeletePortgroup removes a portgroup that has neither ports nor a virtual interface.
func (r *records) DeletePortgroup(ctx context.Context, uuid string) error {
	return r.ownedPortgroups().delete(ctx, uuid)
}

func (r *records) mayChangePortgroup(ctx context.Context, n *node.Node, before, after node.Portgroup) error {
	rewired := before.NodeUUID != after.NodeUUID || before.Mode != after.Mode ||
		before.StandalonePortsSupported != after.StandalonePortsSupported ||
		before.PhysicalNetwork != after.PhysicalNetwork || !sameDocument(before.Properties, after.Properties)
	if rewired {
		if err := mayRewire(n, "portgroup", before.UUID); err != nil {
			return err
		}
	}
	if before.Address != after.Address {
		if err := mayReaddress(n, "portgroup", before.UUID); err != nil {
			return err
		}
	}
	if err := r.portsAllow(ctx, before, after); err != nil {
		return err
	}
	return r.ownerExists(ctx, before.NodeUUID, after.NodeUUID)
}

// portsAllow checks what the ports of a portgroup say to a change of it.
func (r *records) portsAllow(ctx context.Context, before, after node.Portgroup) error {
	moved, whole := before.NodeUUID != after.NodeUUID, before.StandalonePortsSupported && !after.StandalonePortsSupported
	if !moved && !whole {
		return nil
	}
	ports, err := r.portsIn(ctx, before)
	if err != nil {
		return err
	}
	if moved && len(ports) > 0 {
		return node.Errorf(node.Conflict, "Portgroup %s can not be moved to another node: it has ports, which must leave it first.",
			before.UUID)
	}
	for _, p := range ports {
		if p.PXEEnabled || p.InternalInfo.String(node.VIFKey) != "" {
			return node.Errorf(node.Conflict, "standalone_ports_supported of portgroup %s can not be made false: "+
				"its port %s boots from the network (pxe_enabled) or has a virtual interface.", before.UUID, p.UUID)
		}
	}
	return nil
}

func (r *records) portsIn(ctx context.Context, g node.Portgroup) ([]node.Port, error) {
	return r.ports.List(ctx, node.PortFilter{NodeUUID: g.NodeUUID, PortgroupUUID: g.UUID}, node.Page{})
}

func (r *records) mayDeletePortgroup(ctx context.Context, n *node.Node, g node.Portgroup) error {
	ports, err := r.portsIn(ctx, g)
	if err != nil {
		return err
	}
	if len(ports) > 0 {
		return node.Errorf(node.Invalid, "Portgroup %s cannot be deleted: it has ports, which must leave it first.", g.UUID)
	}
	if vif := g.InternalInfo.String(node.VIFKey); vif != "" && !n.Maintenance {
		return node.Errorf(node.Conflict, "Portgroup %s has the virtual interface %s attached; detach it first, or put node %s in maintenance.",
			g.UUID, vif, n.UUID)
	}
	return nil
}

// portgroupOf is the portgroup a port is in, or is to join.
func (r *records) portgroupOf(ctx context.Context, p node.Port) (node.Portgroup, error) {
	g, err := r.portgroups.Get(ctx, p.PortgroupUUID)
	if err != nil && node.KindOf(err) == node.NotFound {
		err = node.Errorf(node.Invalid, "Portgroup %s could not be found.", p.PortgroupUUID)
	}
	return g, err
}

// mayJoin checks that a port's portgroup is of its node, and that all of its ports lead to one physical network.
func (r *records) mayJoin(ctx context.Context, p node.Port) error {
	if p.PortgroupUUID == "" {
		return nil
	}
	g, err := r.portgroupOf(ctx, p)
	if err != nil {
		return err
	}
	if g.NodeUUID != p.NodeUUID {
		return node.Errorf(node.Invalid, "Port %s can not be in portgroup %s, which belongs to node %s and not to the port's node %s.",
			p.Address, g.UUID, g.NodeUUID, p.NodeUUID)
	}
	ports, err := r.portsIn(ctx, g)
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
func (r *records) bootsAlone(ctx context.Context, p node.Port) error {
	g, err := r.portgroupOf(ctx, p)
	if err != nil || g.StandalonePortsSupported {
		return err
	}
	return node.Errorf(node.Conflict, "Portgroup %s works only as a whole (standalone_ports_supported is false), "+
		"so its port %s must not boot from the network: set pxe_enabled to false.", g.UUID, p.UUID)
}

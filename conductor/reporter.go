package conductor

import (
	"context"
	"slices"
	"strings"

	"github.com/billet-metal/billet/inspection"
	"github.com/billet-metal/billet/node"
)

// Whose a report or a lookup is: what the machine says of itself is read from the database here, and inspection decides.

// reporter finds the node of a report, in whatever state: by the key of its boot, by UUID, by the MACs, or, of those
// that wait for a report, by the BMC's address. nil when no node is known by any.
func (c *reports) reporter(ctx context.Context, data node.InspectionData) (*node.Node, error) {
	if data.Caller.BootKey != "" {
		n, err := c.boots.NodeByBootKey(ctx, data.Caller.BootKey)
		if err != nil && node.KindOf(err) == node.NotFound {
			err = noReporter(inspection.MACs(data))
		}
		return n, err
	}
	if data.NodeUUID != "" {
		return c.nodes.Node(ctx, data.NodeUUID)
	}
	macs := inspection.MACs(data)
	var byMAC *node.Node
	if len(macs) > 0 {
		n, err := c.byAddresses(ctx, inspection.ClaimOf(data))
		if err != nil && node.KindOf(err) != node.NotFound {
			return nil, err
		}
		byMAC = n
	}
	if byMAC != nil && byMAC.State != node.InspectWait {
		return byMAC, nil
	}
	waiting, err := c.withBMC(ctx, data.Inventory, node.NodeFilter{State: node.InspectWait, IncludeChildren: true})
	switch {
	case err != nil:
		return nil, err
	case len(waiting) == 0, byMAC != nil && slices.ContainsFunc(waiting, func(n *node.Node) bool { return n.UUID == byMAC.UUID }):
		return byMAC, nil
	case byMAC != nil:
		c.log.Warn("inspection report refused: the MAC addresses and the BMC's are of different nodes; a port is at the wrong node", "node",
			byMAC.UUID, "bmc_of", waiting[0].UUID)
		return nil, noReporter(macs)
	case len(waiting) > 1:
		c.log.Warn("inspection report refused: several nodes that wait for one have its BMC's address; ports are needed to tell them apart",
			"node", waiting[0].UUID, "other", waiting[1].UUID)
		return nil, noReporter(macs)
	}
	return waiting[0], nil
}

// withBMC lists the nodes of the filter that are managed through the BMC of a report.
func (c *reports) withBMC(ctx context.Context, inventory node.Document, f node.NodeFilter) ([]*node.Node, error) {
	addresses := inspection.BMCAddresses(inventory)
	if len(addresses) == 0 {
		return nil, nil
	}
	nodes, err := c.nodes.Nodes(ctx, f, node.Page{})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(nodes, func(n *node.Node) bool {
		return !inspection.SameBMC(addresses, c.cfg.Types.BMCAddresses(n.DriverInfo))
	}), nil
}

// maxClaimed bounds how many addresses of one machine are looked at.
const maxClaimed = 128

// byAddresses finds the node whose ports have addresses of the machine: NotFound when there is none, or none but by an
// interface that has nothing to do with the boot; Conflict when several are alike.
func (c *reports) byAddresses(ctx context.Context, m inspection.Claim) (*node.Node, error) {
	m.MACs = m.MACs[:min(len(m.MACs), maxClaimed)]
	first, err := c.nodes.NodeByMACs(ctx, m.MACs)
	if err == nil && m.Booted == "" || err != nil && node.KindOf(err) != node.Conflict {
		return first, err
	}
	all, cerr := c.candidates(ctx, m)
	if cerr != nil {
		return nil, cerr
	}
	if len(all) == 0 {
		return first, err
	}
	n, decision := m.Choose(all)
	switch {
	case decision == inspection.Found:
		return n, nil
	case decision == inspection.Nothing:
		return nil, node.Errorf(node.NotFound, "No node has a port with any of the MAC addresses %s that tells it from others.",
			strings.Join(m.MACs, ", "))
	case err == nil: // the ports were another's between two looks
		err = node.Errorf(node.Conflict, "The MAC addresses %s belong to several nodes.", strings.Join(m.MACs, ", "))
	}
	return nil, err
}

// candidates are the nodes that have a port with any of the addresses.
func (c *reports) candidates(ctx context.Context, m inspection.Claim) ([]inspection.Candidate, error) {
	at := map[string]int{} // by the node's UUID, where it is in all
	var all []inspection.Candidate
	for _, mac := range m.MACs {
		p, err := c.ports.Get(ctx, mac)
		if err != nil && node.KindOf(err) == node.NotFound || err == nil && p.Address != mac {
			continue
		}
		if err != nil {
			return nil, err
		}
		i, there := at[p.NodeUUID]
		if !there {
			one, err := c.candidate(ctx, p.NodeUUID, m)
			if err != nil {
				return nil, err
			}
			i, all = len(all), append(all, one)
			at[p.NodeUUID] = i
		}
		all[i].Ports = append(all[i].Ports, p)
	}
	return all, nil
}

func (c *reports) candidate(ctx context.Context, uuid string, m inspection.Claim) (inspection.Candidate, error) {
	n, err := c.nodes.Node(ctx, uuid)
	if err != nil || m.Serial == "" {
		return inspection.Candidate{Node: n}, err
	}
	last, err := c.notes.Inventory(ctx, uuid)
	if err != nil && node.KindOf(err) == node.NotFound {
		err = nil
	}
	return inspection.Candidate{Node: n, Before: last.Inventory}, err
}

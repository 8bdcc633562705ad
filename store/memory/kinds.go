package memory

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/billet-metal/billet/node"
)

func table[T, F any](s *data, k kind[T, F]) *Table[T, F] {
	return &Table[T, F]{kind: k, store: s, rows: map[string]*T{}}
}

func (s *data) openTables() {
	s.Ports = table(s, ports)
	s.Portgroups = table(s, portgroups)
	s.VolumeConnectors = table(s, volumeConnectors)
	s.VolumeTargets = table(s, volumeTargets)
	s.Allocations = Allocations{table(s, allocations)}
	s.Chassis = table(s, chassis)
	s.DeployTemplates = table(s, deployTemplates)
	s.InspectionRules = table(s, inspectionRules)
}

// dropOf removes the records of a node that is being deleted.
func (s *data) dropOf(nodeUUID string) {
	s.Ports.dropOf(nodeUUID)
	s.Portgroups.dropOf(nodeUUID)
	s.VolumeConnectors.dropOf(nodeUUID)
	s.VolumeTargets.dropOf(nodeUUID)
}

var ports = kind[node.Port, node.PortFilter]{
	noun: "A port", notFound: node.PortNotFound,
	of:    func(p *node.Port) *string { return &p.NodeUUID },
	tidy:  func(p *node.Port) { p.Address = strings.ToLower(p.Address) },
	named: func(p *node.Port, ident string) bool { return nameOrAddress(p.Name, p.Address, ident) },
	fits: func(s *data, p *node.Port, f node.PortFilter) bool {
		return is(strings.ToLower(f.NodeUUID), p.NodeUUID) && is(strings.ToLower(f.Address), p.Address) && is(f.PortgroupUUID, p.PortgroupUUID) &&
			contains(p.Description, f.DescriptionContains) && s.of(p.NodeUUID, f.Shards, f.ConductorGroups)
	},
	clash: func(p, other *node.Port) string {
		switch {
		case p.Address == other.Address:
			return "A port with MAC address " + p.Address + " already exists."
		case p.Name != "" && p.Name == other.Name:
			return "A port with name " + p.Name + " already exists."
		}
		return ""
	},
}

var portgroups = kind[node.Portgroup, node.PortgroupFilter]{
	noun: "A portgroup", notFound: node.PortgroupNotFound,
	of:    func(g *node.Portgroup) *string { return &g.NodeUUID },
	tidy:  func(g *node.Portgroup) { g.Address = strings.ToLower(g.Address) },
	named: func(g *node.Portgroup, ident string) bool { return nameOrAddress(g.Name, g.Address, ident) },
	fits: func(s *data, g *node.Portgroup, f node.PortgroupFilter) bool {
		return is(strings.ToLower(f.NodeUUID), g.NodeUUID) && is(strings.ToLower(f.Address), g.Address) &&
			s.of(g.NodeUUID, f.Shards, f.ConductorGroups)
	},
	clash: func(g, other *node.Portgroup) string {
		switch {
		case g.Address != "" && g.Address == other.Address:
			return "A portgroup with MAC address " + g.Address + " already exists."
		case g.Name != "" && g.Name == other.Name:
			return "A portgroup with name " + g.Name + " already exists."
		}
		return ""
	},
}

func nameOrAddress(name, address, ident string) bool {
	if _, err := net.ParseMAC(ident); err == nil && len(ident) == 17 {
		return address == strings.ToLower(ident)
	}
	return name == ident
}

// of reports whether a record's node is of one of the shards, and of one of the conductor groups.
func (s *data) of(nodeUUID string, shards, groups []string) bool {
	n := &s.machines[nodeUUID].node
	return oneOf(shards, n.Shard) && oneOf(groups, n.ConductorGroup)
}

var volumeConnectors = kind[node.VolumeConnector, node.OfNode]{
	noun: "A volume connector", notFound: node.VolumeConnectorNotFound,
	of: func(v *node.VolumeConnector) *string { return &v.NodeUUID },
	fits: func(_ *data, v *node.VolumeConnector, f node.OfNode) bool {
		return is(strings.ToLower(f.UUID), v.NodeUUID)
	},
	clash: func(v, other *node.VolumeConnector) string {
		if v.Type == other.Type && v.ConnectorID == other.ConnectorID {
			return "A volume connector with type " + v.Type + " and connector ID " + v.ConnectorID + " already exists."
		}
		return ""
	},
}

var volumeTargets = kind[node.VolumeTarget, node.OfNode]{
	noun: "A volume target", notFound: node.VolumeTargetNotFound,
	of: func(v *node.VolumeTarget) *string { return &v.NodeUUID },
	fits: func(_ *data, v *node.VolumeTarget, f node.OfNode) bool {
		return is(strings.ToLower(f.UUID), v.NodeUUID)
	},
	clash: func(v, other *node.VolumeTarget) string {
		if v.NodeUUID == other.NodeUUID && v.BootIndex == other.BootIndex {
			return fmt.Sprintf("The node has a volume target with boot index %d already.", v.BootIndex)
		}
		return ""
	},
}

var allocations = kind[node.Allocation, node.AllocationFilter]{
	noun: "An allocation", notFound: node.AllocationNotFound,
	named:   func(a *node.Allocation, ident string) bool { return a.Name == ident },
	changes: func(old, a *node.Allocation) { old.Name, old.Extra = a.Name, a.Extra },
	read:    readAllocation,
	fits: func(_ *data, a *node.Allocation, f node.AllocationFilter) bool {
		return is(strings.ToLower(f.NodeUUID), a.NodeUUID) && is(f.ResourceClass, a.ResourceClass) && is(f.State, a.State) &&
			is(f.Owner, a.Owner) && (f.Before.IsZero() || a.UpdatedAt.Before(f.Before))
	},
	clash: func(a, other *node.Allocation) string {
		if a.Name != "" && a.Name == other.Name {
			return "An allocation with name " + a.Name + " already exists."
		}
		return ""
	},
}

// readAllocation fills what a node's row says: with a node an allocation is active, and one that had a node and lost it is
// in error.
func readAllocation(s *data, a *node.Allocation) {
	a.NodeUUID = ""
	for _, m := range s.machines {
		if m.node.InstanceUUID == a.UUID && m.node.AllocationUUID == a.UUID {
			a.NodeUUID, a.State = m.node.UUID, node.Allocated
			return
		}
	}
	if a.State == node.Allocated {
		a.State = node.AllocationError
	}
	if a.State == node.AllocationError && a.LastError == "" {
		a.LastError = "The node of this allocation was taken from it, or the service stopped while it was being deleted."
	}
}

// Allocations are the records of allocations.
type Allocations struct {
	*Table[node.Allocation, node.AllocationFilter]
}

// End writes how the search for a node has ended, and returns whether the allocation is there still.
func (t Allocations) End(ctx context.Context, uuid, state, lastError string) (bool, error) {
	if err := t.store.enter(ctx); err != nil {
		return false, err
	}
	defer t.store.mu.Unlock()
	a := t.rows[strings.ToLower(uuid)]
	if a == nil {
		return false, nil
	}
	a.State, a.LastError, a.UpdatedAt = state, lastError, node.Now()
	return true, nil
}

var chassis = kind[node.Chassis, node.All]{
	noun: "A chassis", notFound: node.ChassisNotFound,
	needed: func(s *data, uuid string) error {
		for _, m := range s.machines {
			if m.node.ChassisUUID == uuid {
				return node.Errorf(node.Invalid, "Chassis %s cannot be deleted: it has nodes, which must leave it first.", uuid)
			}
		}
		return nil
	},
}

var deployTemplates = kind[node.DeployTemplate, node.DeployTemplateFilter]{
	noun: "A deploy template", notFound: node.DeployTemplateNotFound,
	named: func(t *node.DeployTemplate, ident string) bool { return t.Name == ident },
	fits: func(_ *data, t *node.DeployTemplate, f node.DeployTemplateFilter) bool {
		return oneOf(f.Names, t.Name)
	},
	clash: func(t, other *node.DeployTemplate) string {
		if t.Name == other.Name {
			return "A deploy template with name " + t.Name + " already exists."
		}
		return ""
	},
}

var inspectionRules = kind[node.InspectionRule, node.InspectionRuleFilter]{
	noun: "A rule", notFound: node.InspectionRuleNotFound,
	fits: func(_ *data, r *node.InspectionRule, f node.InspectionRuleFilter) bool { return is(f.Phase, r.Phase) },
}

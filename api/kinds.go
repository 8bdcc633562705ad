package api

import (
	"context"

	"github.com/billet-metal/billet/node"
)

// Records keeps the records of one kind T; F is what a list of them is filtered by. Those that belong to a node are changed by
// the Conductor, under the node's lease.
type Records[T, F any] interface {
	Get(ctx context.Context, ident string) (T, error) // NotFound
	List(ctx context.Context, f F, p node.Page) ([]T, error)
	Create(ctx context.Context, x *T) error // fills ID and times; a duplicate is a Conflict
	Save(ctx context.Context, x *T) error   // fills UpdatedAt
	Delete(ctx context.Context, uuid string) error
}

// Kinds are the records that the API shows, by kind. Ports, portgroups and allocations are found by name too, ports by MAC.
type Kinds struct {
	Ports            Records[node.Port, node.PortFilter]
	Portgroups       Records[node.Portgroup, node.PortgroupFilter]
	VolumeConnectors Records[node.VolumeConnector, node.OfNode]
	VolumeTargets    Records[node.VolumeTarget, node.OfNode]
	Allocations      Records[node.Allocation, node.AllocationFilter]
	Chassis          Records[node.Chassis, node.All] // Delete is Invalid while nodes are in one
	DeployTemplates  Records[node.DeployTemplate, node.DeployTemplateFilter]
	InspectionRules  Rules
}

// kinds are all kinds of records, each with its routes.
func (a *API) kinds() []kind {
	find, con := a.nodes.finder, a.Conductor
	groups := portgroups(find, a.Portgroups, con.Portgroups)
	return []kind{
		groups, ports(find, a.Ports, con.Ports, groups),
		volumeConnectors(find, a.VolumeConnectors, con.Volumes), volumeTargets(find, a.VolumeTargets, con.Volumes),
		allocations(find, a.Allocations, con.Allocations), chassis(a.Chassis, a.nodes),
		deployTemplates(a.DeployTemplates), inspectionRules(a.InspectionRules),
	}
}

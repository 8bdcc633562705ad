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

// sinceOfKinds are the rows of the table since for kinds of records.
var sinceOfKinds = map[string]map[version]string{
	"/v1/*": {
		1: "ports ports/detail ports/{ident} nodes/{ident}/ports nodes/{ident}/ports/detail " +
			"chassis chassis/detail chassis/{uuid} chassis/{uuid}/nodes chassis/{uuid}/nodes/detail",
		23: "portgroups portgroups/detail portgroups/{ident}",
		24: "portgroups/{ident}/ports portgroups/{ident}/ports/detail nodes/{ident}/portgroups nodes/{ident}/portgroups/detail",
		32: "volume/connectors volume/connectors/{uuid} nodes/{ident}/volume/connectors " +
			"volume/targets volume/targets/{uuid} nodes/{ident}/volume/targets",
		52: "allocations allocations/{ident} nodes/{ident}/allocation",
		55: "deploy_templates deploy_templates/{ident}",
		96: "inspection_rules inspection_rules/{uuid}",
	},
	"port.*": {
		1: "uuid address node_uuid extra created_at updated_at links", 18: "internal_info", 19: "local_link_connection pxe_enabled",
		24: "portgroup_uuid",
		34: "physical_network", 53: "is_smartnic", 88: "name", 97: "description", 100: "vendor", 101: "category",
		111: "available_for_dynamic_portgroup",
	},
	"port?*": {1: "node node_uuid address", 24: "portgroup", 82: "shard", 97: "description_contains", 99: "conductor_groups"},
	"portgroup.*": {
		23: "uuid address name node_uuid extra internal_info standalone_ports_supported created_at updated_at links", 24: "ports",
		26:  "mode properties",
		102: "physical_network", 103: "category", 111: "dynamic_portgroup",
	},
	"portgroup?*":        {23: "node address", 99: "conductor_groups", 106: "shard"},
	"chassis.*":          {1: "uuid description extra created_at updated_at links nodes"},
	"volume?*":           {32: "detail"},
	"volume_connector.*": {32: "uuid node_uuid type connector_id extra created_at updated_at links"},
	"volume_connector?*": {32: "node"},
	"volume_target.*":    {32: "uuid node_uuid volume_type boot_index volume_id properties extra created_at updated_at links"},
	"volume_target?*":    {32: "node"},
	"allocation.*": {
		52: "uuid name node_uuid state last_error resource_class traits candidate_nodes extra created_at updated_at links", 58: "node",
		60: "owner",
	},
	"allocation?*":      {52: "node resource_class state", 60: "owner"},
	"deploy_template.*": {55: "uuid name steps extra created_at updated_at links", 112: "description"},
	"inspection_rule.*": {96: "uuid description priority phase sensitive conditions actions created_at updated_at links"},
	"inspection_rule?*": {96: "phase"},
}

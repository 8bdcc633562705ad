package api

import (
	"slices"
	"time"

	"github.com/billet-metal/billet/node"
)

// What a node shows is its columns with secrets masked. There is no other way from a node to an answer.

// nodeView is a node as one request sees it.
type nodeView struct {
	*node.Node
	in   nodeViews
	call *call
}

// nodeViews shows nodes.
type nodeViews struct {
	host  string // their conductor
	clock func() time.Time
}

type nodeColumn = column[*nodeView]

// nodeColumns is every field of a node in JSON.
var nodeColumns = slices.Concat([]nodeColumn{
	{"uuid", func(n *nodeView) any { return n.UUID }},
	{"name", func(n *nodeView) any { return orNull(n.Name) }},
	{"created_at", func(n *nodeView) any { return stamp(n.CreatedAt) }},
	{"updated_at", func(n *nodeView) any { return stamp(n.UpdatedAt) }},
	{"driver", func(n *nodeView) any { return n.Driver }},
	{"driver_info", func(n *nodeView) any { return node.MaskedDocument(n.DriverInfo) }},
	{"driver_internal_info", (*nodeView).internalInfo},
	{"extra", func(n *nodeView) any { return document(n.Extra) }},
	{"properties", func(n *nodeView) any { return document(n.Properties) }},
	{"instance_info", (*nodeView).instanceInfo},
	{"instance_uuid", func(n *nodeView) any { return orNull(n.InstanceUUID) }},
	{"instance_name", func(n *nodeView) any { return orNull(n.InstanceName) }},
	{"network_data", func(n *nodeView) any { return node.MaskedDocument(n.NetworkData) }},
	{"raid_config", func(n *nodeView) any { return document(n.RAIDConfig) }},
	{"target_raid_config", func(n *nodeView) any { return document(n.TargetRAIDConfig) }},
	{"provision_state", (*nodeView).provisionState},
	{"target_provision_state", func(n *nodeView) any { return orNull(n.TargetState) }},
	{"provision_updated_at", func(n *nodeView) any { return stamp(n.ProvisionUpdatedAt) }},
	{"power_state", func(n *nodeView) any { return orNull(n.Power) }},
	{"target_power_state", func(n *nodeView) any { return orNull(n.TargetPower) }},
	{"boot_mode", func(n *nodeView) any { return orNull(n.BootMode) }},
	{"secure_boot", func(n *nodeView) any { return optionalBool(n.SecureBoot) }},
	{"console_enabled", func(n *nodeView) any { return n.ConsoleEnabled }},
	{"maintenance", func(n *nodeView) any { return n.Maintenance }},
	{"maintenance_reason", func(n *nodeView) any { return orNull(n.MaintenanceReason) }},
	{"fault", func(n *nodeView) any { return orNull(n.Fault) }},
	{"last_error", func(n *nodeView) any { return orNull(n.Trouble()) }},
	{"reservation", (*nodeView).reservation},
	{"conductor", func(n *nodeView) any { return orNull(n.in.host) }},
	{"conductor_group", func(n *nodeView) any { return n.ConductorGroup }},
	{"clean_step", func(n *nodeView) any { return n.step(node.FlowClean, node.FlowDelete) }},
	{"deploy_step", func(n *nodeView) any { return n.step(node.FlowDeploy) }},
	{"service_step", func(n *nodeView) any { return n.step(node.FlowService) }},
	{"inspection_started_at", func(n *nodeView) any { return stamp(n.InspectionStartedAt) }},
	{"inspection_finished_at", func(n *nodeView) any { return stamp(n.InspectionFinishedAt) }},
	{"allocation_uuid", func(n *nodeView) any { return orNull(n.AllocationUUID) }},
	{"chassis_uuid", func(n *nodeView) any { return orNull(n.ChassisUUID) }},
	{"parent_node", func(n *nodeView) any { return orNull(n.ParentNode) }},
	{"resource_class", func(n *nodeView) any { return orNull(n.ResourceClass) }},
	{"owner", func(n *nodeView) any { return orNull(n.Owner) }},
	{"lessee", func(n *nodeView) any { return orNull(n.Lessee) }},
	{"description", func(n *nodeView) any { return orNull(n.Description) }},
	{"shard", func(n *nodeView) any { return orNull(n.Shard) }},
	{"protected", func(n *nodeView) any { return n.Protected }},
	{"protected_reason", func(n *nodeView) any { return orNull(n.ProtectedReason) }},
	{"retired", func(n *nodeView) any { return n.Retired }},
	{"retired_reason", func(n *nodeView) any { return orNull(n.RetiredReason) }},
	{"automated_clean", func(n *nodeView) any { return optionalBool(n.AutomatedClean) }},
	{"disable_power_off", func(n *nodeView) any { return n.DisablePowerOff }},
	{"health", func(*nodeView) any { return nil }}, // no driver here reads it; null is the API's "unknown"
	{"traits", (*nodeView).traits},
	{"links", func(n *nodeView) any { return n.call.links("nodes", n.UUID) }},
}, interfaceColumns())

func interfaceColumns() []nodeColumn {
	var cols []nodeColumn
	for _, i := range node.Interfaces {
		cols = append(cols, nodeColumn{string(i) + "_interface", func(n *nodeView) any { return orNull(n.Interfaces[i]) }})
	}
	return cols
}

// nodeSubresources are links that only a full node carries.
var nodeSubresources = []nodeColumn{
	{"ports", func(n *nodeView) any { return n.call.links("nodes", n.UUID, "ports") }},
	{"states", func(n *nodeView) any { return n.call.links("nodes", n.UUID, "states") }},
	{"portgroups", func(n *nodeView) any { return n.call.links("nodes", n.UUID, "portgroups") }},
	{"volume", func(n *nodeView) any { return n.call.links("nodes", n.UUID, "volume") }},
}

var fullNode = slices.Concat(nodeColumns, nodeSubresources)

// nodeListFields is what a list shows when the client does not ask for more: all of it is in the
// store's hot row.
var nodeListFields = []string{"uuid", "name", "instance_uuid", "power_state", "provision_state", "maintenance", "links"}

// nodeJSON is one node; nil fields means the whole of it.
func (v nodeViews) nodeJSON(c *call, n *node.Node, fields []string) map[string]any {
	return v.nodesJSON(c, []*node.Node{n}, fields)[0]
}

func (v nodeViews) nodesJSON(c *call, nodes []*node.Node, fields []string) []map[string]any {
	all := nodeColumns
	if fields == nil {
		all = fullNode
	}
	cols := shown(all, "node", c.version, fields)
	out := make([]map[string]any, len(nodes))
	for i, n := range nodes {
		out[i] = render(cols, &nodeView{n, v, c})
	}
	return out
}

func (n *nodeView) provisionState() any {
	switch {
	case n.State == node.Available && n.call.version < availableShown:
		return nil
	case n.State == node.InspectWait && n.call.version < inspectWaitShown:
		return string(node.Inspecting)
	}
	return string(n.State)
}

func (n *nodeView) reservation() any {
	if !n.Lease.Held(n.in.clock()) {
		return nil
	}
	return n.Lease.Holder
}

func (n *nodeView) traits() any {
	if n.Traits == nil {
		return []string{}
	}
	return n.Traits
}

func (n *nodeView) instanceInfo() any {
	d := node.MaskedDocument(n.InstanceInfo)
	if _, ok := d["image_url"]; ok {
		d["image_url"] = node.Mask // may carry a signature
	}
	if n.ConfigDrive != "" {
		d["configdrive"] = node.Mask
	}
	return d
}

// internalInfo is driver_internal_info with what clients look for there: the agent's report and
// where the steps stand.
func (n *nodeView) internalInfo() any {
	d := node.MaskedDocument(n.DriverInternalInfo)
	if n.Agent.URL != "" {
		d["agent_url"] = n.Agent.URL
	}
	if n.Agent.Version != "" {
		d["agent_version"] = n.Agent.Version
	}
	if !n.Agent.LastHeartbeat.IsZero() {
		d["agent_last_heartbeat"] = n.Agent.LastHeartbeat.UTC().Format("2006-01-02T15:04:05.000000")
	}
	if n.Agent.Token != "" || n.Agent.TokenGiven {
		d["agent_secret_token"] = node.Mask
	}
	n.addSteps(d)
	return d
}

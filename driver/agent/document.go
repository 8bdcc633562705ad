package agent

import (
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// nodeDocument is the node as an agent reads it: the API's field names, and no secrets. What a step is to write, its
// arguments have.
func nodeDocument(n *node.Node) map[string]any {
	instance := node.MaskedDocument(n.InstanceInfo)
	if _, ok := instance["image_url"]; ok {
		instance["image_url"] = node.Mask // may carry a signature
	}
	doc := map[string]any{
		"uuid": n.UUID, "name": n.Name, "driver": n.Driver,
		"provision_state": n.State, "target_provision_state": n.TargetState,
		"instance_uuid": n.InstanceUUID, "resource_class": n.ResourceClass,
		"properties": node.MaskedDocument(n.Properties), "driver_info": node.MaskedDocument(n.DriverInfo), "instance_info": instance,
		"driver_internal_info": node.MaskedDocument(n.DriverInternalInfo), "extra": node.MaskedDocument(n.Extra),
		"raid_config": node.MaskedDocument(n.RAIDConfig), "target_raid_config": node.MaskedDocument(n.TargetRAIDConfig),
	}
	for iface, name := range n.Interfaces {
		doc[string(iface)+"_interface"] = name
	}
	return doc
}

// writesConfigDrive reports whether the step under way puts the config drive on the disk, and is to find it in the
// node: a write_image that people asked for, and, where an agent of their own writes the instance, each of its steps.
func writesConfigDrive(t *driver.Task) bool {
	s := t.Step()
	if t.Node.ConfigDrive == "" || s == nil || t.Node.Plan.Flow != node.FlowDeploy || s.Interface != node.Deploy {
		return false
	}
	return s.Step == "write_image" || t.Hardware.Deploy.Name() == (Custom{}).Name()
}

// portDocuments are the ports as an agent reads them.
func portDocuments(ports []node.Port) []map[string]any {
	docs := make([]map[string]any, 0, len(ports))
	for _, p := range ports {
		docs = append(docs, map[string]any{
			"uuid": p.UUID, "node_uuid": p.NodeUUID, "address": p.Address, "name": p.Name,
			"pxe_enabled": p.PXEEnabled, "physical_network": p.PhysicalNetwork, "is_smartnic": p.IsSmartNIC,
			"local_link_connection": p.LocalLinkConnection.Clone(), "extra": p.Extra.Clone(),
		})
	}
	return docs
}

// about are the parameters that every command about a node carries.
func about(t *driver.Task) map[string]any {
	return map[string]any{"node": nodeDocument(t.Node), "ports": portDocuments(t.Ports)}
}

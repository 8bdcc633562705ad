package agent

import (
	"strings"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

const masked = "******"

// nodeDocument is the node as an agent reads it: the API's field names, no secrets but, in
// instance_info, the config drive it is to write.
func nodeDocument(n *node.Node) map[string]any {
	instance := mask(n.InstanceInfo)
	if n.ConfigDrive != "" {
		instance["configdrive"] = n.ConfigDrive
	}
	doc := map[string]any{
		"uuid": n.UUID, "name": n.Name, "driver": n.Driver,
		"provision_state": n.State, "target_provision_state": n.TargetState,
		"instance_uuid": n.InstanceUUID, "resource_class": n.ResourceClass,
		"properties": mask(n.Properties), "driver_info": mask(n.DriverInfo), "instance_info": instance,
		"driver_internal_info": mask(n.DriverInternalInfo), "extra": mask(n.Extra),
		"raid_config": mask(n.RAIDConfig), "target_raid_config": mask(n.TargetRAIDConfig),
	}
	for iface, name := range n.Interfaces {
		doc[string(iface)+"_interface"] = name
	}
	return doc
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

// mask copies a document without what its keys say is secret, at any depth.
func mask(d node.Document) map[string]any {
	copied := make(map[string]any, len(d))
	for key, value := range d {
		copied[key] = maskIn(value)
		if isSecret(key) {
			copied[key] = masked
		}
	}
	return copied
}

func maskIn(value any) any {
	switch v := value.(type) {
	case map[string]any:
		return mask(v)
	case []any:
		copied := make([]any, len(v))
		for i, item := range v {
			copied[i] = maskIn(item)
		}
		return copied
	}
	return value
}

func isSecret(key string) bool {
	key = strings.ToLower(key)
	for _, word := range []string{"password", "secret", "token", "credential", "kg_key", "configdrive", "image_url", "authorization"} {
		if strings.Contains(key, word) {
			return true
		}
	}
	return false
}

// about are the parameters that every command about a node carries.
func about(t *driver.Task) map[string]any {
	return map[string]any{"node": nodeDocument(t.Node), "ports": portDocuments(t.Ports)}
}

package store

import (
	"fmt"
	"strings"

	"github.com/billet-metal/billet/node"
)

var volumeConnectorKind = kind[node.VolumeConnector, node.OfNode]{
	noun: "volume connector", table: "volume_connectors", notFound: node.VolumeConnectorNotFound, of: ofNode,
	head: func(v *node.VolumeConnector) head {
		return head{&v.ID, &v.UUID, &v.CreatedAt, &v.UpdatedAt, &v.Unreadable, &v.NodeUUID}
	},
	fields: []field[node.VolumeConnector]{
		{name: "type", at: func(v *node.VolumeConnector) any { return &v.Type }},
		{name: "connector_id", at: func(v *node.VolumeConnector) any { return &v.ConnectorID }},
		{name: "extra", form: asJSON, at: func(v *node.VolumeConnector) any { return &v.Extra }},
	},
	unique: map[string]func(*node.VolumeConnector) string{
		"volume_connectors_connector_id": func(v *node.VolumeConnector) string {
			return "A volume connector with type " + v.Type + " and connector ID " + v.ConnectorID + " already exists."
		},
	},
	where: ofOneNode,
}

var volumeTargetKind = kind[node.VolumeTarget, node.OfNode]{
	noun: "volume target", table: "volume_targets", notFound: node.VolumeTargetNotFound, of: ofNode,
	head: func(v *node.VolumeTarget) head {
		return head{&v.ID, &v.UUID, &v.CreatedAt, &v.UpdatedAt, &v.Unreadable, &v.NodeUUID}
	},
	fields: []field[node.VolumeTarget]{
		{name: "volume_type", at: func(v *node.VolumeTarget) any { return &v.VolumeType }},
		{name: "volume_id", at: func(v *node.VolumeTarget) any { return &v.VolumeID }},
		{name: "boot_index", at: func(v *node.VolumeTarget) any { return &v.BootIndex }},
		{name: "extra", form: asJSON, at: func(v *node.VolumeTarget) any { return &v.Extra }},
		{name: "properties", form: underSeal, at: func(v *node.VolumeTarget) any { return &v.Properties }},
	},
	unique: map[string]func(*node.VolumeTarget) string{
		"volume_targets_boot_index": func(v *node.VolumeTarget) string {
			return fmt.Sprintf("The node has a volume target with boot index %d already.", v.BootIndex)
		},
	},
	where: ofOneNode,
}

func ofOneNode(q *query, f node.OfNode) { q.is("n.uuid", strings.ToLower(f.UUID)) }

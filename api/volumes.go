package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/billet-metal/billet/api/payload"
	"github.com/billet-metal/billet/node"
)

// Volumes are kept for compute services that describe them. Nothing here boots from one, which validation says.

// VolumeChanger changes volume connectors and targets, each under the lease of its node.
type VolumeChanger interface {
	CreateVolumeConnector(ctx context.Context, v node.VolumeConnector) (node.VolumeConnector, error)
	UpdateVolumeConnector(ctx context.Context, uuid string, change func(*node.VolumeConnector) error) (node.VolumeConnector, error)
	DeleteVolumeConnector(ctx context.Context, uuid string) error
	CreateVolumeTarget(ctx context.Context, v node.VolumeTarget) (node.VolumeTarget, error)
	UpdateVolumeTarget(ctx context.Context, uuid string, change func(*node.VolumeTarget) error) (node.VolumeTarget, error)
	DeleteVolumeTarget(ctx context.Context, uuid string) error
}

type (
	connectorKind = records[node.VolumeConnector, node.OfNode]
	targetKind    = records[node.VolumeTarget, node.OfNode]
)

func volumeConnectors(find finder, kept Records[node.VolumeConnector, node.OfNode], changer VolumeChanger) *connectorKind {
	path := []string{"volume", "connectors"}
	return connectorKind{
		name: "volume_connector", noun: "volume connector", path: path, kept: kept, named: byUUID, detail: firstOf("volume?detail"),
		create: changer.CreateVolumeConnector, update: changer.UpdateVolumeConnector, remove: changer.DeleteVolumeConnector,
		head:     func(v *node.VolumeConnector) head { return head{&v.UUID, v.CreatedAt, v.UpdatedAt, v.Unreadable} },
		short:    []string{"uuid", "node_uuid", "type", "connector_id", "links"},
		unsorted: []string{"extra", "node_uuid"}, required: []string{"node_uuid", "type", "connector_id"},
		setters: map[string]func(*node.VolumeConnector, any) error{
			"node_uuid":    nodeField(func(v *node.VolumeConnector) *string { return &v.NodeUUID }),
			"type":         setConnectorType,
			"connector_id": mustField("connector_id", func(v *node.VolumeConnector) *string { return &v.ConnectorID }),
			"extra":        documentField("extra", func(v *node.VolumeConnector) *node.Document { return &v.Extra }),
		},
		filters: []string{"node"}, filter: find.ofNode, sublists: find.below(path),
	}.with([]column[view[node.VolumeConnector]]{
		{"node_uuid", func(v view[node.VolumeConnector]) any { return v.it.NodeUUID }},
		{"type", func(v view[node.VolumeConnector]) any { return v.it.Type }},
		{"connector_id", func(v view[node.VolumeConnector]) any { return v.it.ConnectorID }},
		{"extra", func(v view[node.VolumeConnector]) any { return document(v.it.Extra) }},
	}...)
}

func setConnectorType(v *node.VolumeConnector, value any) error {
	s, err := payload.Text("type", value, 32)
	if err == nil && !slices.Contains(node.VolumeConnectorTypes, s) {
		err = invalid("A volume connector of type %q is unknown. Allowed are: %s", s, strings.Join(node.VolumeConnectorTypes, ", "))
	}
	v.Type = s
	return err
}

func volumeTargets(find finder, kept Records[node.VolumeTarget, node.OfNode], changer VolumeChanger) *targetKind {
	path := []string{"volume", "targets"}
	return targetKind{
		name: "volume_target", noun: "volume target", path: path, kept: kept, named: byUUID, detail: firstOf("volume?detail"),
		create: changer.CreateVolumeTarget, update: changer.UpdateVolumeTarget, remove: changer.DeleteVolumeTarget,
		head:     func(v *node.VolumeTarget) head { return head{&v.UUID, v.CreatedAt, v.UpdatedAt, v.Unreadable} },
		short:    []string{"uuid", "node_uuid", "volume_type", "boot_index", "volume_id", "links"},
		unsorted: []string{"properties", "extra", "node_uuid"}, required: []string{"node_uuid", "volume_type", "boot_index", "volume_id"},
		bare: map[string]func(*node.VolumeTarget) any{"properties": func(v *node.VolumeTarget) any { return document(v.Properties) }},
		setters: map[string]func(*node.VolumeTarget, any) error{
			"node_uuid":   nodeField(func(v *node.VolumeTarget) *string { return &v.NodeUUID }),
			"volume_type": mustField("volume_type", func(v *node.VolumeTarget) *string { return &v.VolumeType }),
			"volume_id":   mustField("volume_id", func(v *node.VolumeTarget) *string { return &v.VolumeID }),
			"boot_index":  setBootIndex,
			"properties":  documentField("properties", func(v *node.VolumeTarget) *node.Document { return &v.Properties }),
			"extra":       documentField("extra", func(v *node.VolumeTarget) *node.Document { return &v.Extra }),
		},
		filters: []string{"node"}, filter: find.ofNode, sublists: find.below(path),
	}.with([]column[view[node.VolumeTarget]]{
		{"node_uuid", func(v view[node.VolumeTarget]) any { return v.it.NodeUUID }},
		{"volume_type", func(v view[node.VolumeTarget]) any { return v.it.VolumeType }},
		{"boot_index", func(v view[node.VolumeTarget]) any { return v.it.BootIndex }},
		{"volume_id", func(v view[node.VolumeTarget]) any { return v.it.VolumeID }},
		{"properties", func(v view[node.VolumeTarget]) any { return node.MaskedDocument(v.it.Properties) }},
		{"extra", func(v view[node.VolumeTarget]) any { return document(v.it.Extra) }},
	}...)
}

// setBootIndex takes a whole number, also written as a string, as clients with loose types send it.
func setBootIndex(v *node.VolumeTarget, value any) error {
	var number string
	switch x := value.(type) {
	case float64:
		number = strconv.FormatFloat(x, 'f', -1, 64)
	case json.Number:
		number = x.String()
	case string:
		number = strings.TrimSpace(x)
	}
	i, err := strconv.ParseInt(number, 10, 32)
	if err != nil {
		return invalid("Field boot_index must be a whole number of at most 32 bits, not %v.", value)
	}
	v.BootIndex = int(i)
	return nil
}

// ofNode reads the filter of a list by node.
func (f finder) ofNode(c *call, q url.Values) (of node.OfNode, err error) {
	if q.Get("node") == "" {
		return of, nil
	}
	n, err := f.named(c, q.Get("node"))
	if err != nil {
		return of, err
	}
	return node.OfNode{UUID: n.UUID}, nil
}

// below is the list of a node's records, at a path below the node.
func (f finder) below(path []string) []sublist[node.OfNode] {
	return []sublist[node.OfNode]{{"/v1/nodes/{ident}" + joined(path), func(c *call) (node.OfNode, []string, error) {
		n, err := f.node(c)
		if err != nil {
			return node.OfNode{}, nil, err
		}
		return node.OfNode{UUID: n.UUID}, append([]string{"nodes", n.UUID}, path...), nil
	}}}
}

// showVolume says which collections of volumes there are: of all nodes, or of the one a path names.
func (f finder) showVolume(w http.ResponseWriter, c *call) error {
	if _, err := c.query(); err != nil {
		return err
	}
	var path []string
	if c.PathValue("ident") != "" {
		n, err := f.node(c)
		if err != nil {
			return err
		}
		path = []string{"nodes", n.UUID}
	}
	path = append(path, "volume")
	writeJSON(w, http.StatusOK, map[string]any{
		"links":      c.links(path...),
		"connectors": c.links(append(slices.Clone(path), "connectors")...),
		"targets":    c.links(append(slices.Clone(path), "targets")...),
	})
	return nil
}

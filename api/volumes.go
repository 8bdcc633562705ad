package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/billet-metal/billet/node"
)

var volumeConnectors = &records[node.VolumeConnector]{
	name: "volume_connector", noun: "volume connector", path: []string{"volume", "connectors"}, detail: firstOf("volume?detail"),
	columns: []column[view[node.VolumeConnector]]{
		{"uuid", func(v view[node.VolumeConnector]) any { return v.it.UUID }},
		{"node_uuid", func(v view[node.VolumeConnector]) any { return v.it.NodeUUID }},
		{"type", func(v view[node.VolumeConnector]) any { return v.it.Type }},
		{"connector_id", func(v view[node.VolumeConnector]) any { return v.it.ConnectorID }},
		{"extra", func(v view[node.VolumeConnector]) any { return document(v.it.Extra) }},
		{"created_at", func(v view[node.VolumeConnector]) any { return stamp(v.it.CreatedAt) }},
		{"updated_at", func(v view[node.VolumeConnector]) any { return stamp(v.it.UpdatedAt) }},
		{"links", func(v view[node.VolumeConnector]) any { return v.call.links("volume", "connectors", v.it.UUID) }},
	},
	short:    []string{"uuid", "node_uuid", "type", "connector_id", "links"},
	unsorted: []string{"extra", "links", "node_uuid"},
	setters: map[string]func(*node.VolumeConnector, any) error{
		"node_uuid":    nodeField(func(v *node.VolumeConnector) *string { return &v.NodeUUID }),
		"type":         setConnectorType,
		"connector_id": mustField("connector_id", func(v *node.VolumeConnector) *string { return &v.ConnectorID }),
		"extra":        documentField("extra", func(v *node.VolumeConnector) *node.Document { return &v.Extra }),
	},
	required: []string{"node_uuid", "type", "connector_id"},
	uuid:     func(v *node.VolumeConnector) *string { return &v.UUID },
	hurt:     func(v *node.VolumeConnector) node.Unreadable { return v.Unreadable },
	defaults: func() node.VolumeConnector { return node.VolumeConnector{} },
}

func setConnectorType(v *node.VolumeConnector, value any) error {
	s, err := text("type", value, 32)
	if err == nil && !slices.Contains(node.VolumeConnectorTypes, s) {
		err = invalid("A volume connector of type %q is unknown. Allowed are: %s", s, strings.Join(node.VolumeConnectorTypes, ", "))
	}
	v.Type = s
	return err
}

var volumeTargets = &records[node.VolumeTarget]{
	name: "volume_target", noun: "volume target", path: []string{"volume", "targets"}, detail: firstOf("volume?detail"),
	columns: []column[view[node.VolumeTarget]]{
		{"uuid", func(v view[node.VolumeTarget]) any { return v.it.UUID }},
		{"node_uuid", func(v view[node.VolumeTarget]) any { return v.it.NodeUUID }},
		{"volume_type", func(v view[node.VolumeTarget]) any { return v.it.VolumeType }},
		{"boot_index", func(v view[node.VolumeTarget]) any { return v.it.BootIndex }},
		{"volume_id", func(v view[node.VolumeTarget]) any { return v.it.VolumeID }},
		{"properties", func(v view[node.VolumeTarget]) any { return node.MaskedDocument(v.it.Properties) }},
		{"extra", func(v view[node.VolumeTarget]) any { return document(v.it.Extra) }},
		{"created_at", func(v view[node.VolumeTarget]) any { return stamp(v.it.CreatedAt) }},
		{"updated_at", func(v view[node.VolumeTarget]) any { return stamp(v.it.UpdatedAt) }},
		{"links", func(v view[node.VolumeTarget]) any { return v.call.links("volume", "targets", v.it.UUID) }},
	},
	short:    []string{"uuid", "node_uuid", "volume_type", "boot_index", "volume_id", "links"},
	unsorted: []string{"properties", "extra", "links", "node_uuid"},
	setters: map[string]func(*node.VolumeTarget, any) error{
		"node_uuid":   nodeField(func(v *node.VolumeTarget) *string { return &v.NodeUUID }),
		"volume_type": mustField("volume_type", func(v *node.VolumeTarget) *string { return &v.VolumeType }),
		"volume_id":   mustField("volume_id", func(v *node.VolumeTarget) *string { return &v.VolumeID }),
		"boot_index":  setBootIndex,
		"properties":  documentField("properties", func(v *node.VolumeTarget) *node.Document { return &v.Properties }),
		"extra":       documentField("extra", func(v *node.VolumeTarget) *node.Document { return &v.Extra }),
	},
	required: []string{"node_uuid", "volume_type", "boot_index", "volume_id"},
	uuid:     func(v *node.VolumeTarget) *string { return &v.UUID },
	hurt:     func(v *node.VolumeTarget) node.Unreadable { return v.Unreadable },
	bare:     map[string]func(*node.VolumeTarget) any{"properties": func(v *node.VolumeTarget) any { return document(v.Properties) }},
	defaults: func() node.VolumeTarget { return node.VolumeTarget{} },
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

// showVolume says which collections of volumes there are: of all nodes, or of the one a path names.
func (a *API) showVolume(w http.ResponseWriter, c *call) error {
	if _, err := c.query(); err != nil {
		return err
	}
	var path []string
	if c.PathValue("ident") != "" {
		n, err := a.node(c)
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

// volumesOf is the node whose volumes a list is of, and the list's path: the node in the path, or in ?node=; "" for all.
func (a *API) volumesOf(c *call, asked string, path []string) (uuid string, own []string, err error) {
	below := c.PathValue("ident") != ""
	if !below && asked == "" {
		return "", path, nil
	}
	if below {
		asked = c.PathValue("ident")
	}
	n, err := a.findNode(c, asked)
	if err != nil {
		return "", nil, err
	}
	if below {
		path = append([]string{"nodes", n.UUID}, path...)
	}
	return n.UUID, path, nil
}

// listVolumes answers a list of connectors or of targets.
func listVolumes[T any](a *API, k *records[T], get func(c *call, nodeUUID string, p node.Page) ([]T, error)) handler {
	return func(w http.ResponseWriter, c *call) error {
		var filters []string
		if c.PathValue("ident") == "" {
			filters = []string{"node"}
		}
		q, fields, err := k.asked(c, false, filters...)
		if err != nil {
			return err
		}
		nodeUUID, path, err := a.volumesOf(c, q.Get("node"), k.path)
		if err != nil {
			return err
		}
		return k.list(a, w, c, q, fields, path, func(p node.Page) ([]T, error) { return get(c, nodeUUID, p) })
	}
}

// pathUUID is the UUID that a path ends with: volumes have no names.
func (c *call) pathUUID() (string, error) {
	ident := c.PathValue("uuid")
	if !isUUID(ident) {
		return "", invalid("Expected a UUID but received %q.", ident)
	}
	return canonicalUUID(ident), nil
}

func (a *API) showVolumeConnector(w http.ResponseWriter, c *call) error {
	uuid, err := c.pathUUID()
	if err != nil {
		return err
	}
	return volumeConnectors.show(w, c, func() (node.VolumeConnector, error) { return a.VolumeConnectors.Get(c.Context(), uuid) })
}

func (a *API) createVolumeConnector(w http.ResponseWriter, c *call) error {
	v, err := volumeConnectors.read(c)
	if err != nil {
		return err
	}
	if v, err = a.Conductor.CreateVolumeConnector(c.Context(), v); err != nil {
		return err
	}
	volumeConnectors.created(w, c, v)
	return nil
}

func (a *API) patchVolumeConnector(w http.ResponseWriter, c *call) error {
	change, err := volumeConnectors.patch(c)
	if err != nil {
		return err
	}
	uuid, err := c.pathUUID()
	if err != nil {
		return err
	}
	v, err := a.Conductor.UpdateVolumeConnector(c.Context(), uuid, change)
	if err != nil {
		return err
	}
	volumeConnectors.answer(w, c, http.StatusOK, v, nil)
	return nil
}

func (a *API) showVolumeTarget(w http.ResponseWriter, c *call) error {
	uuid, err := c.pathUUID()
	if err != nil {
		return err
	}
	return volumeTargets.show(w, c, func() (node.VolumeTarget, error) { return a.VolumeTargets.Get(c.Context(), uuid) })
}

func (a *API) createVolumeTarget(w http.ResponseWriter, c *call) error {
	v, err := volumeTargets.read(c)
	if err != nil {
		return err
	}
	if v, err = a.Conductor.CreateVolumeTarget(c.Context(), v); err != nil {
		return err
	}
	volumeTargets.created(w, c, v)
	return nil
}

func (a *API) patchVolumeTarget(w http.ResponseWriter, c *call) error {
	change, err := volumeTargets.patch(c)
	if err != nil {
		return err
	}
	uuid, err := c.pathUUID()
	if err != nil {
		return err
	}
	v, err := a.Conductor.UpdateVolumeTarget(c.Context(), uuid, change)
	if err != nil {
		return err
	}
	volumeTargets.answer(w, c, http.StatusOK, v, nil)
	return nil
}

// deleteByUUID answers a DELETE of what remove takes away.
func deleteByUUID(remove func(c *call, uuid string) error) handler {
	return func(w http.ResponseWriter, c *call) error {
		uuid, err := c.pathUUID()
		if err != nil {
			return err
		}
		if err := remove(c, uuid); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
}

func (a *API) volumeRoutes() []route {
	connectors := listVolumes(a, volumeConnectors, func(c *call, nodeUUID string, p node.Page) ([]node.VolumeConnector, error) {
		return a.VolumeConnectors.List(c.Context(), node.OfNode{UUID: nodeUUID}, p)
	})
	targets := listVolumes(a, volumeTargets, func(c *call, nodeUUID string, p node.Page) ([]node.VolumeTarget, error) {
		return a.VolumeTargets.List(c.Context(), node.OfNode{UUID: nodeUUID}, p)
	})
	return []route{
		{pattern: "GET /v1/volume", serve: a.showVolume},
		{pattern: "GET /v1/volume/connectors", serve: connectors},
		{pattern: "POST /v1/volume/connectors", serve: a.createVolumeConnector},
		{pattern: "GET /v1/volume/connectors/{uuid}", serve: a.showVolumeConnector},
		{pattern: "PATCH /v1/volume/connectors/{uuid}", serve: a.patchVolumeConnector},
		{pattern: "DELETE /v1/volume/connectors/{uuid}", serve: deleteByUUID(func(c *call, uuid string) error { return a.Conductor.DeleteVolumeConnector(c.Context(), uuid) })},
		{pattern: "GET /v1/volume/targets", serve: targets},
		{pattern: "POST /v1/volume/targets", serve: a.createVolumeTarget},
		{pattern: "GET /v1/volume/targets/{uuid}", serve: a.showVolumeTarget},
		{pattern: "PATCH /v1/volume/targets/{uuid}", serve: a.patchVolumeTarget},
		{pattern: "DELETE /v1/volume/targets/{uuid}", serve: deleteByUUID(func(c *call, uuid string) error { return a.Conductor.DeleteVolumeTarget(c.Context(), uuid) })},
		{pattern: "GET /v1/nodes/{ident}/volume", serve: a.showVolume},
		{pattern: "GET /v1/nodes/{ident}/volume/connectors", serve: connectors},
		{pattern: "GET /v1/nodes/{ident}/volume/targets", serve: targets},
	}
}

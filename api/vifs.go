package api

import (
	"context"
	"net/http"

	"github.com/billet-metal/billet/api/payload"
	"github.com/billet-metal/billet/node"
)

// The network interface of a node decides where a virtual interface goes, under the lease. Here it is only asked for.

// VIFChanger attaches virtual interfaces (a tenant network's ports) to nodes. The node's network interface decides which
// port or portgroup one goes to.
type VIFChanger interface {
	VIFs(ctx context.Context, ident string) ([]string, error) // the node's
	AttachVIF(ctx context.Context, ident string, vif node.VIF) error
	DetachVIF(ctx context.Context, ident, id string) error // Invalid when it is not attached
}

func (ns *nodes) listVIFs(w http.ResponseWriter, c *call) error {
	n, err := ns.node(c)
	if err != nil {
		return err
	}
	ids, err := ns.wires.VIFs(c.Context(), n.UUID)
	if err != nil {
		return err
	}
	vifs := []map[string]string{}
	for _, id := range ids {
		vifs = append(vifs, map[string]string{"id": id})
	}
	writeJSON(w, http.StatusOK, map[string]any{"vifs": vifs})
	return nil
}

func (ns *nodes) attachVIF(w http.ResponseWriter, c *call) error {
	vif, err := readVIF(c)
	if err != nil {
		return err
	}
	n, err := ns.node(c)
	if err != nil {
		return err
	}
	if err := ns.wires.AttachVIF(c.Context(), n.UUID, vif); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (ns *nodes) detachVIF(w http.ResponseWriter, c *call) error {
	n, err := ns.node(c)
	if err != nil {
		return err
	}
	if err := ns.wires.DetachVIF(c.Context(), n.UUID, c.PathValue("vif")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// readVIF is the virtual interface that a body asks for, and where the client wants it.
func readVIF(c *call) (vif node.VIF, err error) {
	body, err := payload.DecodeObject(c.body)
	if err != nil {
		return vif, err
	}
	id, ok := body["id"].(string)
	if !ok || id == "" {
		return vif, invalid("The body needs \"id\": the virtual interface to attach.")
	}
	vif.ID = id
	if vif.PortgroupUUID, err = placeOf(c.version, body, "portgroup_uuid"); err != nil {
		return vif, err
	}
	if vif.PortUUID, err = placeOf(c.version, body, "port_uuid"); err != nil {
		return vif, err
	}
	if vif.PortUUID != "" && vif.PortgroupUUID != "" {
		return vif, invalid("A virtual interface is attached to a port or to a portgroup: give port_uuid or portgroup_uuid, not both.")
	}
	return vif, nil
}

// placeOf is the UUID under a key of the body; "" when there is none.
func placeOf(v version, body map[string]any, key string) (string, error) {
	if body[key] == nil {
		return "", nil
	}
	if err := v.needsArgument("vif", key); err != nil {
		return "", err
	}
	uuid, err := payload.Text(key, body[key], 36)
	if err != nil {
		return "", err
	}
	return optionalUUID(key, uuid)
}

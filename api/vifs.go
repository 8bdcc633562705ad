package api

import (
	"net/http"
	"slices"

	"github.com/billet-metal/billet/node"
)

// vifKey is where a port keeps the virtual interface (a tenant network's port) attached to it.
const vifKey = "tenant_vif_port_id"

var noPage = node.Page{}

// nodePorts are the ports of the node a path names.
func (a *API) nodePorts(c *call) (*node.Node, []node.Port, error) {
	n, err := a.node(c)
	if err != nil {
		return nil, nil, err
	}
	ports, err := a.Reader.Ports(c.Context(), node.PortFilter{NodeUUID: n.UUID}, noPage)
	return n, ports, err
}

func (a *API) listVIFs(w http.ResponseWriter, c *call) error {
	_, ports, err := a.nodePorts(c)
	if err != nil {
		return err
	}
	vifs := []map[string]string{}
	for _, p := range ports {
		if id := p.InternalInfo.String(vifKey); id != "" {
			vifs = append(vifs, map[string]string{"id": id})
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"vifs": vifs})
	return nil
}

// attachVIF gives a virtual interface to a free port, one that boots from the network first. The
// network interface noop knows no networks: there it succeeds and does nothing.
func (a *API) attachVIF(w http.ResponseWriter, c *call) error {
	body, err := decodeObject(c.body)
	if err != nil {
		return err
	}
	id, ok := body["id"].(string)
	if !ok || id == "" {
		return invalid("The body needs \"id\": the virtual interface to attach.")
	}
	wanted, err := wantedPort(c.version, body)
	if err != nil {
		return err
	}
	n, ports, err := a.nodePorts(c)
	if err != nil {
		return err
	}
	if wanted != "" && !slices.ContainsFunc(ports, func(p node.Port) bool { return p.UUID == wanted }) {
		return invalid("Port %s is not a port of node %s.", wanted, n.UUID)
	}
	if n.Interfaces[node.Network] != "noop" {
		if err := a.attachTo(c, n, ports, vif{id, wanted}); err != nil {
			return err
		}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// wantedPort is the port that a client chose itself; empty leaves the choice to the service.
func wantedPort(v version, body map[string]any) (uuid string, err error) {
	for _, key := range []string{"portgroup_uuid", "port_uuid"} {
		if body[key] == nil {
			continue
		}
		if err := v.needs("vif."+key, "the argument '"+key+"'"); err != nil {
			return "", err
		}
		if uuid, err = text(key, body[key], 36); err != nil {
			return "", err
		}
		if uuid, err = optionalUUID(key, uuid); err != nil {
			return "", err
		}
		if key == "portgroup_uuid" && uuid != "" {
			return "", invalid("Portgroup %s could not be found.", uuid) // there are none
		}
	}
	return uuid, nil
}

// vif is a virtual interface to attach, and the port the client chose for it; empty: any.
type vif struct{ id, port string }

func (a *API) attachTo(c *call, n *node.Node, ports []node.Port, want vif) error {
	id := want.id
	var free *node.Port
	for i, p := range ports {
		switch has := p.InternalInfo.String(vifKey); {
		case has == id:
			return node.Errorf(node.Conflict, "Unable to attach VIF because VIF %s is already attached to Ironic Port %s", id, p.UUID)
		case want.port != "" && p.UUID != want.port:
		case has != "" && want.port != "":
			return node.Errorf(node.Conflict, "Unable to attach VIF %s because port %s has VIF %s.", id, p.UUID, has)
		case has == "" && (free == nil || p.PXEEnabled && !free.PXEEnabled):
			free = &ports[i]
		}
	}
	if free == nil {
		return invalid("Unable to attach VIF %s, not enough free physical ports on node %s.", id, n.UUID)
	}
	_, err := a.Conductor.UpdatePort(c.Context(), free.UUID, func(p *node.Port) error {
		if taken := p.InternalInfo.String(vifKey); taken != "" {
			return node.Errorf(node.Conflict, "Port %s was given VIF %s in the meantime, please retry.", p.UUID, taken)
		}
		p.InternalInfo = p.InternalInfo.Clone()
		p.InternalInfo[vifKey] = id
		return nil
	})
	return err
}

func (a *API) detachVIF(w http.ResponseWriter, c *call) error {
	id := c.PathValue("vif")
	n, ports, err := a.nodePorts(c)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(ports, func(p node.Port) bool { return p.InternalInfo.String(vifKey) == id })
	switch {
	case i >= 0:
		_, err = a.Conductor.UpdatePort(c.Context(), ports[i].UUID, func(p *node.Port) error {
			if p.InternalInfo.String(vifKey) != id {
				return invalid("VIF %s is not attached to node %s", id, n.UUID) // another request was faster
			}
			p.InternalInfo = p.InternalInfo.Clone()
			delete(p.InternalInfo, vifKey)
			return nil
		})
	case n.Interfaces[node.Network] != "noop":
		err = invalid("VIF %s is not attached to node %s", id, n.UUID)
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

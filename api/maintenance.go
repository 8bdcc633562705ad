package api

import (
	"net/http"

	"github.com/billet-metal/billet/api/payload"
	"github.com/billet-metal/billet/node"
)

// Maintenance is set by a path of its own because it is allowed in every state: an operator must be able to stop automation at
// any moment.

var maintenanceFields = node.UpdateOptions{AnyState: true, Fields: []string{"maintenance", "maintenance_reason"}}

func (ns *nodes) setMaintenance(w http.ResponseWriter, c *call) error {
	body, err := payload.DecodeObject(c.body)
	if err != nil {
		return err
	}
	if err := only(body, "reason"); err != nil {
		return err
	}
	reason, err := payload.Text("reason", body["reason"], 4096)
	if err != nil {
		return err
	}
	return ns.changeMaintenance(w, c, func(n *node.Node) error {
		n.Maintenance, n.MaintenanceReason = true, reason
		return nil
	})
}

func (ns *nodes) unsetMaintenance(w http.ResponseWriter, c *call) error {
	return ns.changeMaintenance(w, c, func(n *node.Node) error { return setMaintenanceFlag(n, false) })
}

func (ns *nodes) changeMaintenance(w http.ResponseWriter, c *call, change func(*node.Node) error) error {
	ident, err := c.ident()
	if err != nil {
		return err
	}
	if _, err := ns.con.UpdateNode(c.Context(), ident, maintenanceFields, change); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

package api

import "net/http"

// Where a machine can be reached is known to the DHCP that lent it an address, and to nobody who asks the Bare Metal API: so it is
// told here.

// listAddresses shows people which addresses the machines of nodes have been lent.
func (sv *services) listAddresses(w http.ResponseWriter, c *call) error {
	if _, err := c.query(); err != nil {
		return err
	}
	lent, err := sv.read.Addresses(c.Context())
	if err != nil {
		return err
	}
	out := make([]map[string]any, len(lent))
	for i, a := range lent {
		out[i] = map[string]any{"node_uuid": a.NodeUUID, "mac": a.MAC, "address": a.IP, "until": stamp(a.Until)}
	}
	writeJSON(w, http.StatusOK, map[string]any{"addresses": out})
	return nil
}

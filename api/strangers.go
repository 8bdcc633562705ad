package api

import "net/http"

// A machine that belongs to no node has no node to look under; these are the ones that asked.

// listStrangers shows people who asks on the provisioning network and belongs to no node: a machine to enrol, a port with a
// wrong MAC address, or somebody who has no business there.
func (sv *services) listStrangers(w http.ResponseWriter, c *call) error {
	if _, err := c.query(); err != nil {
		return err
	}
	events, err := sv.read.Strangers(c.Context())
	if err != nil {
		return err
	}
	out := make([]map[string]any, len(events))
	for i, e := range events {
		out[i] = bootEventJSON(e)
	}
	writeJSON(w, http.StatusOK, map[string]any{"strangers": out})
	return nil
}

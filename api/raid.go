package api

import (
	"net/http"

	"github.com/billet-metal/billet/api/payload"
)

// What RAID a node is to have is set apart from building it: a step reads target_raid_config when it runs.

// setTargetRAIDConfig keeps what RAID a node is to have. The body is the configuration itself; an empty
// object takes it back.
func (hw *hardware) setTargetRAIDConfig(w http.ResponseWriter, c *call) error {
	ident, err := c.ident()
	if err != nil {
		return err
	}
	if payload.Empty(c.body) {
		return invalid("The body must be the RAID configuration, a JSON object; {} takes back the one there is.")
	}
	config, err := payload.DecodeObject(c.body)
	if err != nil {
		return err
	}
	if err := hw.con.SetTargetRAIDConfig(c.Context(), ident, config); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// showLogicalDiskProperties maps each key of a logical disk to its help.
func (sv *services) showLogicalDiskProperties(w http.ResponseWriter, c *call) error {
	if _, err := c.query(); err != nil {
		return err
	}
	properties, err := sv.con.LogicalDiskProperties(c.Context(), c.PathValue("name"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, properties)
	return nil
}

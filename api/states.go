package api

import (
	"net/http"

	"github.com/billet-metal/billet/api/payload"
	"github.com/billet-metal/billet/node"
)

// One answer for whoever polls: the states alone, without the documents that a whole node has.

// statesFields is what GET …/states shows of a node.
var statesFields = []string{
	"power_state", "target_power_state", "provision_state", "target_provision_state", "provision_updated_at",
	"last_error", "console_enabled", "raid_config", "target_raid_config", "boot_mode", "secure_boot",
}

func (ns *nodes) showStates(w http.ResponseWriter, c *call) error {
	if _, err := c.query(); err != nil {
		return err
	}
	n, err := ns.node(c)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, ns.nodeJSON(c, n, statesFields))
	return nil
}

// accepted answers a request that the conductor goes on with: 202 and where to look.
func accepted(w http.ResponseWriter, c *call, ident string) error {
	w.Header().Set("Location", c.href("nodes", ident, "states"))
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// asked is what a call on a node asks for: the node by its path, and a body that has no other keys than these.
func (c *call) asked(keys ...string) (ident string, body map[string]any, err error) {
	if ident, err = c.ident(); err != nil {
		return "", nil, err
	}
	if body, err = payload.DecodeObject(c.body); err != nil {
		return "", nil, err
	}
	return ident, body, only(body, keys...)
}

// only refuses keys of a body that the call does not have.
func only(body map[string]any, allowed ...string) error {
	rest := map[string]any{}
	for k := range body {
		rest[k] = nil
	}
	for _, k := range allowed {
		delete(rest, k)
	}
	if len(rest) == 0 {
		return nil
	}
	return invalid("Unexpected arguments: %s", sortedKeys(rest))
}

var powerTargets = map[string]node.PowerState{
	"power on": node.PowerOn, "power off": node.PowerOff, "rebooting": node.Rebooting,
	"soft power off": node.SoftPowerOff, "soft rebooting": node.SoftRebooting,
}

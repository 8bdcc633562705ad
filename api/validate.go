package api

import (
	"cmp"
	"net/http"
)

// Validation asks each interface whether it could do its work, without a network: compute services ask it before each deploy.

// validate answers for every interface: true, false with the reason, or null when the interface
// is not supported. The node is in the path, or in ?node= as older clients send it.
func (ns *nodes) validate(w http.ResponseWriter, c *call) error {
	ident := c.PathValue("ident")
	if ident == "" {
		q, err := c.query("node", "node_uuid")
		if err != nil {
			return err
		}
		if ident = cmp.Or(q.Get("node_uuid"), q.Get("node")); ident == "" {
			return invalid("The query needs node=<UUID or name>.")
		}
	}
	id, err := nodeIdent(c, ident)
	if err != nil {
		return err
	}
	results, err := ns.con.Validate(c.Context(), id)
	if err != nil {
		return err
	}
	body := map[string]any{}
	for iface, v := range results {
		result := map[string]any{"result": optionalBool(v.OK)}
		if v.Reason != "" {
			result["reason"] = v.Reason
		}
		body[string(iface)] = result
	}
	writeJSON(w, http.StatusOK, body)
	return nil
}

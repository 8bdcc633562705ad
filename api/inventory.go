package api

import "net/http"

// The inventory is what the last inspection saw, kept beside the node: it may be megabytes, which no list of nodes should read.

func (ns *nodes) showInventory(w http.ResponseWriter, c *call) error {
	n, err := ns.node(c)
	if err != nil {
		return err
	}
	inv, err := ns.read.Inventory(c.Context(), n.UUID)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]any{"inventory": document(inv.Inventory), "plugin_data": document(inv.PluginData)})
	return nil
}

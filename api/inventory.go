package api

import "net/http"

func (a *API) showInventory(w http.ResponseWriter, c *call) error {
	n, err := a.node(c)
	if err != nil {
		return err
	}
	inv, err := a.Reader.Inventory(c.Context(), n.UUID)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]any{"inventory": document(inv.Inventory), "plugin_data": document(inv.PluginData)})
	return nil
}

package api

import (
	"net/http"

	"github.com/billet-metal/billet/api/payload"
	"github.com/billet-metal/billet/node"
)

// The boot device is asked of the machine's management interface while the caller waits: the answer is the BMC's.

func (hw *hardware) showBootDevice(w http.ResponseWriter, c *call) error {
	ident, err := c.ident()
	if err != nil {
		return err
	}
	d, err := hw.con.BootDevice(c.Context(), ident)
	if err != nil {
		return err
	}
	var persistent any
	if d.Device != "" {
		persistent = d.Persistent
	}
	writeJSON(w, http.StatusOK, map[string]any{"boot_device": orNull(d.Device), "persistent": persistent})
	return nil
}

func (hw *hardware) setBootDevice(w http.ResponseWriter, c *call) error {
	ident, body, err := c.asked("boot_device", "persistent")
	if err != nil {
		return err
	}
	device, ok := body["boot_device"].(string)
	if !ok || device == "" {
		return invalid("The body needs \"boot_device\": the name of a boot device.")
	}
	persistent, err := payload.Boolean("persistent", body["persistent"])
	if err != nil {
		return err
	}
	if err := hw.con.SetBootDevice(c.Context(), ident, node.BootDevice{Device: device, Persistent: persistent}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (hw *hardware) listBootDevices(w http.ResponseWriter, c *call) error {
	ident, err := c.ident()
	if err != nil {
		return err
	}
	devices, err := hw.con.BootDevices(c.Context(), ident)
	if err != nil {
		return err
	}
	if devices == nil {
		devices = []string{}
	}
	writeJSON(w, http.StatusOK, map[string]any{"supported_boot_devices": devices})
	return nil
}

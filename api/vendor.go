package api

import (
	"net/http"

	"github.com/billet-metal/billet/api/payload"
	"github.com/billet-metal/billet/node"
)

// Ramdisks and agents of older releases call these paths. They are kept, since images with them outlive the service.

// vendorRoutes are the methods old deploy ramdisks and agents call, under the names they know.
func (ms *machines) vendorRoutes() []route {
	const methods = "POST /v1/nodes/{ident}/vendor_passthru/"
	return []route{
		{pattern: methods + "pass_deploy_info", access: ramdisk, serve: ms.machineCall("pass_deploy_info"), maxBody: maxMachineBody},
		{pattern: methods + "pass_bootloader_install_info", access: ramdisk,
			serve: ms.machineCall("pass_bootloader_install_info"), maxBody: maxMachineBody},
		{pattern: methods + "heartbeat", access: ramdisk, serve: ms.oldHeartbeat, maxBody: maxMachineBody},
		{pattern: "POST /v1/drivers/{name}/vendor_passthru/lookup", access: ramdisk, serve: ms.oldLookup, maxBody: maxMachineBody},
	}
}

func (ms *machines) machineCall(method string) handler {
	return func(w http.ResponseWriter, c *call) error {
		ident, err := c.ident()
		if err != nil {
			return err
		}
		body, err := payload.DecodeObject(c.body)
		if err != nil {
			return err
		}
		for _, key := range []string{"address", "key", "iqn", "error", "status"} {
			if _, err := payload.Text(key, body[key], 64<<10); err != nil {
				return err
			}
		}
		err = ms.con.MachineCall(c.Context(), ident,
			node.MachineCall{Method: method, Token: c.Header.Get("X-Auth-Token"), Body: body, Caller: c.caller()})
		if err != nil {
			return err
		}
		w.WriteHeader(http.StatusAccepted)
		return nil
	}
}

// oldHeartbeat is the heartbeat of agents from before /v1/heartbeat: {"agent_url": …}. The token,
// which they had no field for, is taken from the header too.
func (ms *machines) oldHeartbeat(w http.ResponseWriter, c *call) error {
	ident, err := c.ident()
	if err != nil {
		return err
	}
	body, err := payload.DecodeObject(c.body)
	if err != nil {
		return err
	}
	values := map[string]string{}
	for _, key := range []string{"agent_url", "agent_token", "agent_version"} {
		if values[key], err = payload.Text(key, body[key], 64<<10); err != nil {
			return err
		}
	}
	if values["agent_url"] == "" {
		return invalid("For heartbeat operation, \"agent_url\" must be specified.")
	}
	hb := node.Heartbeat{CallbackURL: values["agent_url"], AgentToken: values["agent_token"],
		AgentVersion: values["agent_version"], Caller: c.caller()}
	if hb.AgentToken == "" {
		hb.AgentToken = c.Header.Get("X-Auth-Token")
	}
	if hb.AgentVersion == "" {
		hb.AgentVersion = "unknown"
	}
	if err := checkHeartbeat(hb); err != nil {
		return err
	}
	if err := ms.con.Heartbeat(c.Context(), ident, hb); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// oldLookup is the lookup of agents from before /v1/lookup. They send their inventory; the driver's
// name in the path says nothing the node does not.
func (ms *machines) oldLookup(w http.ResponseWriter, c *call) error {
	body, err := payload.DecodeObject(c.body)
	if err != nil {
		return err
	}
	if _, err := payload.Text("version", body["version"], 16); err != nil {
		return err
	}
	uuid, err := payload.Text("node_uuid", body["node_uuid"], 64)
	if err != nil {
		return err
	}
	if uuid, err = optionalUUID("node_uuid", uuid); err != nil {
		return err
	}
	macs, err := inventoryMACs(body)
	if err != nil {
		return err
	}
	if len(macs) == 0 && uuid == "" {
		return invalid("A lookup needs \"inventory\" with at least one interface that has a mac_address, or \"node_uuid\".")
	}
	n, token, err := ms.con.LookupAgent(c.Context(), node.AgentLookup{Caller: c.caller(), MACs: macs, UUID: uuid, WantToken: true})
	if node.KindOf(err) == node.NotFound && err != nil {
		return notFoundForAgent
	}
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"heartbeat_timeout": int(ms.heartbeatTimeout.Seconds()), "agent_token": orNull(token),
		"node": ms.nodeJSON(c, n, lookupFields), "config": ms.agentConfig(token),
	})
	return nil
}

// inventoryMACs reads both forms of the inventory: {"interfaces": [{"mac_address"}]}, and the first
// one, a list of {"type": "mac_address", "id"}.
func inventoryMACs(body map[string]any) ([]string, error) {
	var list []any
	key := "mac_address"
	switch inventory := body["inventory"].(type) {
	case map[string]any:
		list, _ = inventory["interfaces"].([]any)
	default:
		list, _ = body["hardware"].([]any)
		key = "id"
	}
	if err := fewAddresses(len(list)); err != nil {
		return nil, err
	}
	var macs []string
	for _, item := range list {
		nic, ok := item.(map[string]any)
		if !ok {
			return nil, invalid("Each interface of the inventory must be an object.")
		}
		s, err := payload.Text(key, nic[key], 64)
		if err != nil {
			return nil, err
		}
		if mac, ok := canonicalMAC(s); ok {
			macs = append(macs, mac)
		}
	}
	return macs, nil
}

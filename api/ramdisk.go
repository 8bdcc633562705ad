package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/billet-metal/billet/api/payload"
	"github.com/billet-metal/billet/node"
)

// Agents call without a password and in great number. These calls take no lease, so that a node whose flow is at work still
// hears its machine.

// Machines takes the calls of machines, which their agents and ramdisks make.
type Machines interface {
	// LookupAgent finds the node a ramdisk runs on, by the key of its boot, MACs or UUID, in a state that allows it, and
	// hands out the agent token the first time ("******" later). When WantToken is false (API below 1.62) no token is made.
	LookupAgent(ctx context.Context, l node.AgentLookup) (*node.Node, string, error)
	Heartbeat(ctx context.Context, ident string, hb node.Heartbeat) error
	AgentProgress(ctx context.Context, ident, token string, p node.Progress) error // of an agent with the token
	// AgentLines replaces the last lines of the agent's log.
	AgentLines(ctx context.Context, ident, token string, lines []node.Line) error
	// ExpectsReport is nil when a report may be for a node: the one named, or any when uuid is "".
	ExpectsReport(ctx context.Context, uuid string) error
	// ContinueInspection finds the node of a report, wakes its inspection and returns the node.
	ContinueInspection(ctx context.Context, data node.InspectionData) (*node.Node, error)
	MachineCall(ctx context.Context, ident string, call node.MachineCall) error // of a ramdisk from before there were agents
}

// machines are the calls of machines.
type machines struct {
	nodeViews
	con              Machines
	heartbeatTimeout time.Duration
	imageFormats     []string
}

// lookupFields is what an agent may see of its node. It is masked: config drives and passwords
// reach the agent in commands, never here.
var lookupFields = []string{"uuid", "properties", "instance_info", "driver_internal_info", "links"}

// notFoundForAgent is the one answer to a lookup of an unknown machine and of a known one in the
// wrong state: the caller is nobody yet and must not learn which nodes exist.
var notFoundForAgent = node.Errorf(node.NotFound, "Resource could not be found.")

func (ms *machines) lookup(w http.ResponseWriter, c *call) error {
	if c.Method == http.MethodHead { // which is not to change anything, and would take the token away from the agent
		w.Header().Set("Allow", http.MethodGet)
		return aborted(http.StatusMethodNotAllowed, "")
	}
	q, err := c.query("addresses", "node_uuid")
	if err != nil {
		return err
	}
	var macs []string
	for s := range strings.SplitSeq(q.Get("addresses"), ",") {
		if mac, ok := canonicalMAC(strings.TrimSpace(s)); ok {
			macs = append(macs, mac)
		}
	}
	if err := fewAddresses(len(macs)); err != nil {
		return err
	}
	uuid, err := optionalUUID("node_uuid", q.Get("node_uuid"))
	if err != nil {
		return err
	}
	if len(macs) == 0 && uuid == "" {
		return invalid("A lookup needs at least one valid MAC address in \"addresses\", or \"node_uuid\".")
	}
	n, token, err := ms.con.LookupAgent(c.Context(),
		node.AgentLookup{Caller: c.caller(), MACs: macs, UUID: uuid, WantToken: c.version >= agentTokens})
	if err != nil {
		if node.KindOf(err) == node.NotFound {
			return notFoundForAgent
		}
		return err
	}
	writeJSON(w, http.StatusOK, ms.lookupJSON(c, n, token))
	return nil
}

func (ms *machines) lookupJSON(c *call, n *node.Node, token string) map[string]any {
	return map[string]any{"node": ms.nodeJSON(c, n, lookupFields), "config": ms.agentConfig(token)}
}

// agentConfig is what agents are told. The keys that this service has no use for carry the values
// agents treat as "not wanted"; an agent that is not Billet's reads them all.
func (ms *machines) agentConfig(token string) map[string]any {
	return map[string]any{
		"heartbeat_timeout":              int(ms.heartbeatTimeout.Seconds()),
		"agent_token":                    orNull(token),
		"agent_token_required":           true,
		"agent_md5_checksum_enable":      false,
		"disable_deep_image_inspection":  false,
		"permitted_image_formats":        ms.imageFormats,
		"agent_skip_bmc_detect":          false,
		"enable_bios_bootloader_install": false,
		"tls_min_version":                "1.2",
		"tls_cipher_suites":              nil,
		"metrics": map[string]any{
			"backend": "noop", "prepend_host": false, "prepend_uuid": false, "prepend_host_reverse": true, "global_prefix": nil,
		},
		"metrics_statsd": map[string]any{"statsd_host": "localhost", "statsd_port": 8125},
		"agent_containers": map[string]any{
			"allow_arbitrary_containers": false, "allowed_containers": []string{}, "container_steps_file": "",
			"runner": "podman", "pull_options": "", "run_options": "",
		},
	}
}

var heartbeatFields = []string{
	"callback_url", "agent_token", "agent_version", "agent_verify_ca", "agent_status", "agent_status_message",
}

func (ms *machines) heartbeat(w http.ResponseWriter, c *call) error {
	body, err := payload.DecodeObject(c.body)
	if err != nil {
		return err
	}
	hb, err := readHeartbeat(c.version, body)
	if err != nil {
		return err
	}
	ident, err := c.ident()
	if err != nil {
		return err
	}
	hb.Caller = c.caller()
	if err := ms.con.Heartbeat(c.Context(), ident, hb); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// readHeartbeat takes agent_status and agent_status_message too, which only installers without an
// agent API send; they change nothing here.
func readHeartbeat(v version, body map[string]any) (node.Heartbeat, error) {
	values := map[string]string{}
	for _, key := range heartbeatFields {
		value, given := body[key]
		delete(body, key)
		if !given || value == nil {
			continue
		}
		if !v.knows("heartbeat." + key) {
			return node.Heartbeat{}, invalid("Field \"%s\" not recognized: it needs API version %s.", key, firstOf("heartbeat."+key))
		}
		s, err := payload.Text(key, value, 64<<10)
		if err != nil {
			return node.Heartbeat{}, err
		}
		values[key] = s
	}
	if err := only(body); err != nil {
		return node.Heartbeat{}, err
	}
	hb := node.Heartbeat{
		CallbackURL: values["callback_url"], AgentToken: values["agent_token"],
		AgentVersion: values["agent_version"], VerifyCA: values["agent_verify_ca"],
	}
	return hb, checkHeartbeat(hb)
}

func checkHeartbeat(hb node.Heartbeat) error {
	u, err := url.Parse(hb.CallbackURL)
	switch {
	case hb.CallbackURL == "":
		return invalid("A heartbeat needs \"callback_url\": the address of the agent's own API.")
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return invalid("The callback_url %q is not an http or https URL.", hb.CallbackURL)
	case hb.AgentVersion == "":
		return invalid("A heartbeat needs \"agent_version\" (API version %s or later).", firstOf("heartbeat.agent_version"))
	case hb.AgentToken == "":
		return invalid("Agent token is required for heartbeat processing (API version %s or later).", firstOf("heartbeat.agent_token"))
	}
	return nil
}

// reportExpected refuses a report that no node waits for, before it is read.
func (ms *machines) reportExpected(c *call) error {
	if c.version < inspectionContinued && c.version != minVersion {
		return notFoundForAgent
	}
	q, err := c.query("node_uuid")
	if err != nil {
		return err
	}
	uuid, err := optionalUUID("node_uuid", q.Get("node_uuid"))
	if err != nil {
		return err
	}
	return ms.con.ExpectsReport(c.Context(), uuid)
}

// continueInspection takes what a ramdisk found. Agents send no version header, so 1.1 is taken
// as well as 1.84 and later; in between the path does not exist.
func (ms *machines) continueInspection(w http.ResponseWriter, c *call) error {
	modern := c.version >= inspectionContinued
	if !modern && c.version != minVersion {
		return notFoundForAgent
	}
	data, err := ms.readInspection(c)
	if err != nil {
		return err
	}
	data.Caller = c.caller()
	n, err := ms.con.ContinueInspection(c.Context(), data)
	if err != nil {
		return err
	}
	if !modern {
		writeJSON(w, http.StatusAccepted, map[string]any{"uuid": n.UUID})
		return nil
	}
	writeJSON(w, http.StatusAccepted, ms.lookupJSON(c, n, node.Mask)) // the token is given at lookup only
	return nil
}

func (ms *machines) readInspection(c *call) (node.InspectionData, error) {
	var data node.InspectionData
	q, err := c.query("node_uuid")
	if err != nil {
		return data, err
	}
	if data.NodeUUID, err = optionalUUID("node_uuid", q.Get("node_uuid")); err != nil {
		return data, err
	}
	body, err := payload.DecodeObject(c.body)
	if err != nil {
		return data, err
	}
	if len(body) == 0 {
		return data, invalid("The body needs what the ramdisk found: an object with \"inventory\".")
	}
	err = readReport(body, &data)
	return data, err
}

func readReport(body map[string]any, data *node.InspectionData) (err error) {
	if data.Inventory, err = payload.Object("inventory", body["inventory"]); err != nil {
		return err
	}
	interfaces, _ := data.Inventory["interfaces"].([]any)
	if err := fewAddresses(len(interfaces)); err != nil {
		return err
	}
	if data.Error, err = payload.Text("error", body["error"], 1<<20); err != nil {
		return err
	}
	if data.Logs, err = payload.Text("logs", body["logs"], maxInspectionBody); err != nil {
		return err
	}
	if data.BootInterface, err = payload.Text("boot_interface", body["boot_interface"], 64); err != nil {
		return err
	}
	// PXELINUX's form carries the hardware type in front: 01-aa-bb-…
	if mac, ok := canonicalMAC(strings.TrimPrefix(data.BootInterface, "01-")); ok {
		data.BootInterface = mac
	}
	data.PluginData = node.Document{}
	for k, v := range body {
		if !slices.Contains([]string{"inventory", "error", "logs"}, k) {
			data.PluginData[k] = v
		}
	}
	return nil
}

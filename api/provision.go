package api

import (
	"net/http"

	"github.com/billet-metal/billet/api/payload"
	"github.com/billet-metal/billet/node"
)

// All verbs are one table. A body's keys depend on the verb and the version; whether the verb is legal now, only the conductor
// can say, under the lease.

// verb is one target of PUT …/states/provision: the event it asks for and the keys its body takes.
type verb struct {
	event node.Event
	keys  []string
}

// verbs by target. Their first versions are in the table since. The aliases "deploy" and "undeploy"
// take no config drive and no steps, as in Ironic's own server.
var verbs = map[string]verb{
	"manage":   {node.EventManage, nil},
	"provide":  {node.EventProvide, nil},
	"active":   {node.EventDeploy, []string{"configdrive", "deploy_steps"}},
	"deploy":   {node.EventDeploy, nil},
	"rebuild":  {node.EventRebuild, []string{"configdrive", "deploy_steps"}},
	"deleted":  {node.EventDelete, nil},
	"undeploy": {node.EventDelete, nil},
	"inspect":  {node.EventInspect, nil},
	"clean":    {node.EventClean, []string{"clean_steps", "disable_ramdisk"}},
	"abort":    {node.EventAbort, nil},
	"adopt":    {node.EventAdopt, nil},
	"rescue":   {node.EventRescue, []string{"rescue_password"}},
	"unrescue": {node.EventUnrescue, nil},
	"unhold":   {node.EventUnhold, nil},
	"service":  {node.EventService, []string{"service_steps", "disable_ramdisk"}},
}

// provisionKeys are the keys a body may have, with what belongs to what for people.
var provisionKeys = []string{
	"target", "configdrive", "clean_steps", "deploy_steps", "service_steps", "rescue_password", "disable_ramdisk", "runbook",
}

func (ns *nodes) provision(w http.ResponseWriter, c *call) error {
	ident, err := c.ident()
	if err != nil {
		return err
	}
	body, err := payload.DecodeObject(c.body)
	if err != nil {
		return err
	}
	req, err := readProvision(c.version, body)
	if err != nil {
		return err
	}
	if req.Event == node.EventAbort {
		n, err := ns.read.Node(c.Context(), ident)
		if err != nil {
			return err
		}
		if err := abortKnown(c.version, n.State); err != nil {
			return err
		}
	}
	if err := ns.con.Provision(c.Context(), ident, req); err != nil {
		return err
	}
	return accepted(w, c, ident)
}

// readProvision checks a body against its verb.
func readProvision(v version, body map[string]any) (node.ProvisionRequest, error) {
	var req node.ProvisionRequest
	if err := only(body, provisionKeys...); err != nil {
		return req, err
	}
	target, _ := body["target"].(string)
	vb, ok := verbs[target]
	if !ok {
		return req, invalid("The requested action \"%v\" is not valid. Allowed are: %s", body["target"], sortedKeys(verbs))
	}
	if err := v.needs(firstOf("verb "+target), "the target '"+target+"'"); err != nil {
		return req, err
	}
	req.Event = vb.event
	if err := onlyOf(target, vb, body); err != nil {
		return req, err
	}
	if err := payload.NoMask("the body", body); err != nil { // rescue_password, configdrive, arguments of steps
		return req, err
	}
	if err := readStepsAndFlags(v, target, body, &req); err != nil {
		return req, err
	}
	err := readConfigDrive(v, target, body["configdrive"], &req)
	return req, err
}

// onlyOf refuses keys that belong to another verb.
func onlyOf(target string, vb verb, body map[string]any) error {
	if body["runbook"] != nil {
		return invalid("Runbooks are not served here; send the steps themselves.")
	}
	takes := map[string]bool{"target": true}
	for _, k := range vb.keys {
		takes[k] = true
	}
	for _, k := range provisionKeys {
		if body[k] == nil || takes[k] {
			continue
		}
		switch k {
		case "configdrive":
			return invalid("Adding a config drive is only supported when setting provision state to active, rebuild, not %s.", target)
		default:
			return invalid("%q can not be used when setting provision state to %s.", k, target)
		}
	}
	return nil
}

func readStepsAndFlags(v version, target string, body map[string]any, req *node.ProvisionRequest) (err error) {
	for _, s := range []struct {
		key string
		to  *[]node.PlannedStep
	}{{"deploy_steps", &req.DeploySteps}, {"clean_steps", &req.CleanSteps}, {"service_steps", &req.ServiceSteps}} {
		if body[s.key] == nil {
			continue
		}
		if err := v.needsArgument("provision", s.key); err != nil {
			return err
		}
		if *s.to, err = readSteps(s.key, body[s.key]); err != nil {
			return err
		}
	}
	switch {
	case target == "clean" && len(req.CleanSteps) == 0:
		return invalid("\"clean_steps\" is required when setting target provision state to clean")
	case target == "service" && len(req.ServiceSteps) == 0:
		return invalid("\"service_steps\" is required when setting target provision state to service")
	case target == "rescue":
		return readRescuePassword(body, req)
	}
	return readNoRamdisk(v, target, body, req)
}

func readRescuePassword(body map[string]any, req *node.ProvisionRequest) error {
	s, ok := body["rescue_password"].(string)
	if !ok || isBlank(s) {
		return invalid("A non-empty \"rescue_password\" is required when setting target provision state to rescue")
	}
	req.RescuePassword = s
	return nil
}

func readNoRamdisk(v version, target string, body map[string]any, req *node.ProvisionRequest) (err error) {
	if body["disable_ramdisk"] == nil {
		return nil
	}
	first := cleanWithoutRamdisk
	if target == "service" {
		first = serviceWithoutRamdisk
	}
	if err := v.needs(first, "'disable_ramdisk' with '"+target+"'"); err != nil {
		return err
	}
	req.NoRamdisk, err = payload.Boolean("disable_ramdisk", body["disable_ramdisk"])
	return err
}

// abortKnown: what may be aborted grew over the versions.
func abortKnown(v version, s node.State) error {
	first := minVersion
	switch s {
	case node.InspectWait:
		first = abortOfInspectWait
	case node.DeployWait:
		first = abortOfDeployWait
	}
	return v.needs(first, "aborting in '"+string(s)+"'")
}

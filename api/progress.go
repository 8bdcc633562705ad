package api

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/billet-metal/billet/api/payload"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// Billet's own additions to the API live under /billet/v1/ and have no microversions.

// recentBoot is how far back boot events are shown for a node on which nothing runs.
const recentBoot = 15 * time.Minute

// takeProgress is how an agent tells how far its command is.
func (ms *machines) takeProgress(w http.ResponseWriter, c *call) error {
	var p wire.Progress
	if err := payload.Unmarshal(c.body, &p); err != nil {
		return invalid("The body is not a progress report: %s.", err)
	}
	if p.Step == "" || p.Done < 0 || p.Total < 0 {
		return invalid("A progress report needs \"step\", and \"done\" and \"total\" of at least 0.")
	}
	var disks []node.DiskProgress
	for _, d := range p.Disks[:min(len(p.Disks), mostDisks)] {
		disks = append(disks, node.DiskProgress{Name: brief(d.Name), Serial: brief(d.Serial), What: brief(d.What), Done: max(d.Done, 0),
			Total: max(d.Total, 0)})
	}
	err := ms.con.AgentProgress(c.Context(), c.PathValue("ident"), p.AgentToken, node.Progress{
		Step: p.Step, Detail: p.Detail, Done: p.Done, Total: p.Total, Disks: disks, At: ms.clock(),
	})
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// showProgress tells people what a node is doing: its steps with times, the bytes of the step under
// way, and what the boot services saw of the machine.
func (ns *nodes) showProgress(w http.ResponseWriter, c *call) error {
	n, err := ns.named(&call{Request: c.Request, version: maxVersion}, c.PathValue("ident"))
	if err != nil {
		return err
	}
	p, err := ns.read.Progress(c.Context(), n.UUID)
	if err != nil {
		return err
	}
	events, err := ns.bootEvents(c, n)
	if err != nil {
		return err
	}
	body := map[string]any{
		"uuid": n.UUID, "name": orNull(n.Name), "provision_state": string(n.State),
		"target_provision_state": orNull(n.TargetState), "last_error": orNull(n.LastError),
		"flow": nil, "started_at": nil, "steps": stepTimes(n.Plan),
		"progress": progressJSON(p), "boot_events": events,
	}
	if n.Plan != nil {
		body["flow"], body["started_at"] = string(n.Plan.Flow), stamp(n.Plan.StartedAt)
	}
	writeJSON(w, http.StatusOK, body)
	return nil
}

// stepTimes shows every step of the plan, the conductor's own too: people wait for those as well.
func stepTimes(plan *node.Plan) []map[string]any {
	out := []map[string]any{}
	if plan == nil {
		return out
	}
	for i, s := range plan.Steps {
		step := map[string]any{
			"interface": string(s.Interface), "step": s.Step, "started_at": stamp(s.StartedAt),
			"ended_at": stamp(s.EndedAt), "waiting_for": nil, "awaits": nil, "current": i == plan.Index,
		}
		if i == plan.Index && plan.Waiting() {
			step["waiting_for"], step["awaits"] = orNull(plan.WaitingFor), orNull(string(plan.Awaits))
		}
		out = append(out, step)
	}
	return out
}

func progressJSON(p *node.Progress) any {
	if p == nil {
		return nil
	}
	disks := []map[string]any{}
	for _, d := range p.Disks {
		disks = append(disks, map[string]any{"name": d.Name, "serial": d.Serial, "what": d.What, "done": d.Done, "total": d.Total})
	}
	return map[string]any{"step": p.Step, "detail": p.Detail, "done": p.Done, "total": p.Total, "disks": disks, "at": stamp(p.At)}
}

// What is kept of an agent's report of its disks: it is a stranger's.
const (
	mostDisks    = 256
	longestWords = 200 // bytes
)

// brief is a stranger's text, valid and not long.
func brief(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), longestWords)], "")
}

func (ns *nodes) bootEvents(c *call, n *node.Node) (any, error) {
	ports, err := ns.ports.List(c.Context(), node.PortFilter{NodeUUID: n.UUID}, node.Page{})
	if err != nil {
		return nil, err
	}
	var macs []string
	for _, p := range ports {
		macs = append(macs, p.Address)
	}
	out := []map[string]any{}
	if len(macs) == 0 {
		return out, nil
	}
	slices.Sort(macs)
	from := ns.clock().Add(-recentBoot)
	if n.Plan != nil {
		from = n.Plan.StartedAt
	}
	events, err := ns.read.BootEvents(c.Context(), macs, from)
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		out = append(out, bootEventJSON(e))
	}
	return out, nil
}

func bootEventJSON(e node.BootEvent) map[string]any {
	return map[string]any{
		"mac": e.MAC, "service": e.Service, "kind": orNull(string(e.Kind)), "file": orNull(string(e.File)), "who": orNull(string(e.Who)),
		"what": e.What, "at": stamp(e.At),
	}
}

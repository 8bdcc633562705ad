package api

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/billet-metal/billet/api/payload"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// Why a node failed is one document, built by the conductor, of which `billet node why` prints a part.

// maxAge is how old a line of an agent may be: a machine does not run a ramdisk for longer.
const maxAge = 30 * 24 * time.Hour

// takeAgentLines is how an agent sends the last lines of its log, all of them each time.
func (ms *machines) takeAgentLines(w http.ResponseWriter, c *call) error {
	var body wire.LogLines
	if err := payload.Unmarshal(c.body, &body); err != nil {
		return invalid("The body is not an agent's log lines: %s.", err)
	}
	if len(body.Lines) > node.LinesKept {
		return invalid("At most %d log lines are taken, not %d.", node.LinesKept, len(body.Lines))
	}
	now := ms.clock()
	lines := make([]node.Line, len(body.Lines))
	for i, l := range body.Lines {
		if l.AgeMS < 0 || l.AgeMS > maxAge.Milliseconds() {
			return invalid("The age of a log line must be 0 to %d milliseconds, not %d.", maxAge.Milliseconds(), l.AgeMS)
		}
		lines[i] = node.Line{At: now.Add(-time.Duration(l.AgeMS) * time.Millisecond), Text: l.Text}
	}
	if err := ms.con.AgentLines(c.Context(), c.PathValue("ident"), body.AgentToken, lines); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// showWhy tells people why a node failed, or what it is waiting for, with all that is known of its machine.
func (ns *nodes) showWhy(w http.ResponseWriter, c *call) error {
	n, err := ns.named(&call{Request: c.Request, version: maxVersion}, c.PathValue("ident"))
	if err != nil {
		return err
	}
	running, failed, err := ns.con.Why(c.Context(), n.UUID)
	if err != nil {
		return err
	}
	sentence := n.LastError
	if running != nil {
		sentence = running.Sentence
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"uuid": n.UUID, "name": orNull(n.Name), "provision_state": string(n.State), "target_provision_state": orNull(n.TargetState),
		"sentence": orNull(sentence), "way_on": orNull(wayOn(n)), "running": evidenceJSON(running), "failed": evidenceJSON(failed),
	})
	return nil
}

// commands are what people may ask of a node, with Ironic's commands for them, in the order of a node's life.
var commands = []struct {
	event   node.Event
	command string
}{
	{node.EventUnhold, "unhold"}, {node.EventManage, "manage"}, {node.EventInspect, "inspect"}, {node.EventAdopt, "adopt"},
	{node.EventClean, "clean"}, {node.EventProvide, "provide"}, {node.EventDeploy, "deploy"}, {node.EventRebuild, "rebuild"},
	{node.EventService, "service"}, {node.EventRescue, "rescue"}, {node.EventUnrescue, "unrescue"}, {node.EventAbort, "abort"},
	{node.EventDelete, "undeploy"},
}

// wayOn says what people can do about a node that goes on only when they do something; "" for every other.
func wayOn(n *node.Node) string {
	class := n.State.Class()
	stands := class == node.Failed || class == node.Held || n.State == node.Enroll && n.LastError != ""
	var words []string
	if n.Maintenance {
		why := ""
		if n.Fault != node.NoFault {
			why = fmt.Sprintf(" since its %s", n.Fault)
		}
		words = append(words, fmt.Sprintf("It is in maintenance%s: when the cause is mended, unset that (openstack baremetal node maintenance "+
			"unset %s).", why, n.UUID))
	}
	if stands {
		var legal []string
		for _, v := range commands {
			if _, ok := n.State.Next(v.event); ok {
				legal = append(legal, v.command)
			}
		}
		words = append(words, fmt.Sprintf("From %q it goes on by: %s (openstack baremetal node VERB %s).", n.State, strings.Join(legal, ", "),
			n.UUID))
	}
	return strings.Join(words, " ")
}

// evidenceJSON is null for none.
func evidenceJSON(e *node.Evidence) any {
	if e == nil {
		return nil
	}
	steps := make([]map[string]any, len(e.Steps))
	for i, s := range e.Steps {
		steps[i] = map[string]any{"interface": string(s.Interface), "step": s.Step, "started_at": stamp(s.StartedAt),
			"ended_at": stamp(s.EndedAt)}
	}
	phases := make([]map[string]any, len(e.Phases))
	for i, p := range e.Phases {
		phases[i] = map[string]any{"phase": p.Name, "first": stamp(p.First), "last": stamp(p.Last), "times": p.Times, "what": p.What}
	}
	events := make([]map[string]any, len(e.BootEvents))
	for i, ev := range e.BootEvents {
		events[i] = bootEventJSON(ev)
	}
	return map[string]any{
		"flow": string(e.Flow), "sentence": e.Sentence, "started_at": stamp(e.StartedAt), "failed_at": stamp(e.FailedAt),
		"step": orNull(e.Step), "waiting_for": orNull(e.WaitingFor), "awaits": orNull(string(e.Awaits)),
		"waiting_since": stamp(e.WaitingSince), "deadline": stamp(e.Deadline),
		"steps": steps, "phases": phases, "boot_events": events,
		"serial": linesJSON(e.Serial), "agent_log": linesJSON(e.AgentLog),
		"agent_url": orNull(e.AgentURL), "agent_called": stamp(e.AgentCalled), "files": append([]string{}, e.Files...),
		"network": networkJSON(e.Network),
	}
}

func linesJSON(l node.MachineLines) map[string]any {
	lines := make([]map[string]any, len(l.Lines))
	for i, line := range l.Lines {
		lines[i] = map[string]any{"at": stamp(line.At), "text": line.Text}
	}
	return map[string]any{"lines": lines, "note": orNull(l.Note), "updated_at": stamp(l.UpdatedAt)}
}

// networkJSON is null where no network service was asked.
func networkJSON(r *node.NetworkReport) any {
	if r == nil {
		return nil
	}
	ports := make([]map[string]any, len(r.Ports))
	for i, p := range r.Ports {
		agents := make([]map[string]any, len(p.DHCP.Agents))
		for j, a := range p.DHCP.Agents {
			agents[j] = map[string]any{"host": a.Host, "alive": a.Alive}
		}
		ports[i] = map[string]any{
			"id": p.ID, "mac_address": p.MAC, "network": p.Network, "status": p.Status, "up": p.Up, "bound": p.Bound, "binding_failed": p.Failed,
			"addresses": append([]string{}, p.Addresses...),
			"dhcp":      map[string]any{"off": p.DHCP.Off, "silent": orNull(p.DHCP.Silent), "agents": agents},
		}
	}
	return map[string]any{"service": r.Service, "silent": orNull(r.Silent), "asked_at": stamp(r.At), "ports": ports}
}

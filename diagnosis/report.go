package diagnosis

import (
	"fmt"
	"strings"

	"github.com/billet-metal/billet/node"
)

// Report is what people are told of a node in a flow. all are the boot events since the flow began, nil when they could not
// be read: then those of the step under way are told.
func (e Evidence) Report(n *node.Node, all []node.BootEvent) node.Evidence {
	p, quiet := n.Plan, ""
	if !n.Maintenance && e.Waiting {
		quiet = e.suspicion().Text
	}
	r := node.Evidence{
		NodeUUID: n.UUID, Flow: p.Flow, Step: e.Step, Sentence: e.SoFar(quiet), StartedAt: p.StartedAt,
		Awaits: p.Awaits, WaitingFor: p.WaitingFor, WaitingSince: p.WaitingSince, Deadline: p.Deadline,
		Serial: e.Serial, AgentLog: e.AgentLog, AgentURL: n.Agent.URL, AgentCalled: n.Agent.LastHeartbeat, Network: e.Network,
	}
	for _, s := range p.Steps {
		r.Steps = append(r.Steps, node.StepTime{Interface: s.Interface, Step: s.Step, StartedAt: s.StartedAt, EndedAt: s.EndedAt})
	}
	if all != nil {
		e.Events = all
	}
	r.BootEvents, r.Phases = e.Events, e.Phases(p.StartedAt)
	return r
}

// LostFirst says where a step lost its machine that is started again now, and what it did then: if starting it again does
// not help, the flow's failure begins with it. progress is what the step told last; nil when it told nothing.
func (e Evidence) LostFirst(how string, progress *node.Progress) string {
	text := fmt.Sprintf("The machine was lost first at %s in step %s, %s after that began",
		e.Now.UTC().Format("15:04:05 UTC"), e.Step, Spell(e.Now.Sub(e.StepBegan)))
	if since := e.Silence.Since; !since.IsZero() {
		text += fmt.Sprintf(" (it has not answered since %s)", since.UTC().Format("15:04:05 UTC"))
	}
	text += ": " + how + "."
	if did := e.atWork(progress); did != "" {
		text += " Under way, as last told: " + did + "."
	}
	return text
}

// atWork is what the step was doing, as its progress told last; "" when it told nothing.
func (e Evidence) atWork(p *node.Progress) string {
	if _, step, _ := strings.Cut(e.Step, "."); p == nil || p.Step != step || p.At.Before(e.StepBegan) {
		return ""
	}
	at := " at " + p.At.UTC().Format("15:04:05 UTC")
	var disks []string
	for _, d := range p.Disks {
		disks = append(disks, fmt.Sprintf("%s %s%s", d.Name, d.What, percent(d.Done, d.Total)))
	}
	if len(disks) > 0 {
		return strings.Join(disks, ", ") + at
	}
	return strings.TrimSpace(p.Detail+percent(p.Done, p.Total)) + at
}

func percent(done, total int64) string {
	if total <= 0 {
		return ""
	}
	return fmt.Sprintf(" (%d %%)", 100*done/total)
}

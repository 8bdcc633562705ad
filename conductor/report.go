package conductor

import (
	"context"
	"fmt"
	"strings"

	"github.com/billet-metal/billet/node"
)

// keepEvidence keeps what is known of the machine of a failed flow, before it is tidied up; files are what is
// kept of it already. Failing to is told and stops nothing.
func (r *run) keepEvidence(ctx context.Context, files []string) {
	if r.n.Plan.Aborting {
		return
	}
	r.c.heardSoFar(ctx, r.n.UUID)
	var ports []node.Port
	if r.task != nil {
		ports = r.task.Ports
	}
	report := r.c.report(ctx, r.n, ports)
	lines := []node.MachineLines{report.Serial}
	if len(files) == 0 { // else the agent's whole log is in its archive
		lines = append(lines, report.AgentLog)
	}
	report.Sentence, report.FailedAt = r.n.Plan.Failure, node.Now()
	report.Files = append(files, r.keepLines(ctx, lines...)...)
	if err := r.c.store.SaveFailure(ctx, report); err != nil && ctx.Err() == nil {
		r.log.Warn("evidence of the failure not kept", "error", err)
	}
}

// report is what is known of a node in a flow.
func (c *Conductor) report(ctx context.Context, n *node.Node, ports []node.Port) node.Evidence {
	p := n.Plan
	e := c.evidence(ctx, n, ports)
	e.serial, e.agentLog = c.lines(ctx, n.UUID, node.SerialLine), c.lines(ctx, n.UUID, node.AgentLog)
	quiet := ""
	if !n.Maintenance && p.Waiting() {
		quiet = e.suspicion(p, c.cfg.BootPhaseTimeout, c.cfg.FirmwareTimeout).Text
	}
	report := node.Evidence{
		NodeUUID: n.UUID, Flow: p.Flow, Sentence: e.soFar(n, quiet), StartedAt: p.StartedAt,
		Awaits: p.Awaits, WaitingFor: p.WaitingFor, WaitingSince: p.WaitingSince, Deadline: p.Deadline,
		Serial: e.serial, AgentLog: e.agentLog, AgentURL: n.Agent.URL, AgentCalled: n.Agent.LastHeartbeat,
	}
	for _, s := range p.Steps {
		report.Steps = append(report.Steps, node.StepTime{Interface: s.Interface, Step: s.Step, StartedAt: s.StartedAt, EndedAt: s.EndedAt})
	}
	if step := p.Current(); step != nil {
		report.Step = name(step)
	}
	if all, err := c.store.BootEvents(ctx, e.macs, p.StartedAt); err == nil {
		e.events = all
	}
	report.BootEvents, report.Phases = e.events, e.phases(p.StartedAt)
	return report
}

// soFar says of a running flow what it does, how far the machine has come, where a step lost it, and what a quiet one is
// suspected of.
func (e evidence) soFar(n *node.Node, quiet string) string {
	p, f := n.Plan, flowOf(n)
	noun := "the flow"
	if f != nil {
		noun = f.noun
	}
	text := fmt.Sprintf("%s has run for %s", capital(noun), spell(e.now.Sub(p.StartedAt)))
	step := p.Current()
	switch {
	case step == nil || step.StartedAt.IsZero():
		return text + "."
	case !p.Waiting():
		return fmt.Sprintf("%s; step %s has been under way for %s.", text, name(step), spell(e.now.Sub(step.StartedAt)))
	}
	text += fmt.Sprintf("; step %s has waited %s for %s", name(step), spell(e.waited), p.WaitingFor)
	if !p.Deadline.IsZero() {
		text += fmt.Sprintf(", and will for %s more at most", spell(max(0, p.Deadline.Sub(e.now))))
	}
	text += "."
	if !e.waitedFor.For.OfRamdisk() {
		return text
	}
	if phases := e.phases(e.stepBegan); len(phases) > 0 {
		last := phases[len(phases)-1]
		text += fmt.Sprintf(" It has come as far as %s (%s: %s).", strings.ReplaceAll(last.Name, "dhcp", "DHCP"), e.ago(last.Last), last.What)
	} else if p.Awaits.Boots() && len(e.events) == 0 {
		text += " DHCP, TFTP and HTTP have seen nothing of it yet."
	}
	if lost := p.Memo[memoLost]; lost != "" {
		text += " " + lost
	}
	if quiet == "" {
		quiet = e.lastWords()
	}
	if quiet != "" {
		text += " " + quiet
	}
	return text
}

// Why returns what is known of a node's machine: of the flow under way (nil when none is), and of its last
// failure (nil when there was none). It takes no lease.
func (c *Conductor) Why(ctx context.Context, ident string) (running, failed *node.Evidence, err error) {
	n, err := c.store.Node(ctx, ident)
	if err != nil {
		return nil, nil, err
	}
	if failed, err = c.store.Failure(ctx, n.UUID); err != nil {
		return nil, nil, err
	}
	if n.Plan == nil {
		return nil, failed, nil
	}
	ports, err := c.store.Ports(ctx, node.PortFilter{NodeUUID: n.UUID}, node.Page{})
	if err != nil {
		return nil, nil, err
	}
	c.heardSoFar(ctx, n.UUID)
	now := c.report(ctx, n, ports)
	return &now, failed, nil
}

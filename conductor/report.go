package conductor

import (
	"context"

	"github.com/billet-metal/billet/node"
)

// witness says what is known of a machine that a flow works on, and keeps it when the flow fails.
type witness struct {
	*core
	*listeners
}

// keepEvidence stores what is known of the machine of a failed flow, before it is tidied up; files are what is stored of
// it already. When that fails the log says so, and the flow's end goes on.
func (r *run) keepEvidence(ctx context.Context, files []string) {
	if r.n.Plan.Aborting {
		return
	}
	r.c.saveCapture(ctx, r.n.UUID)
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
	if err := r.c.notes.SaveFailure(ctx, report); err != nil && ctx.Err() == nil {
		r.log.Warn("evidence of the failure not kept", "error", err)
	}
}

// report is what is known of a node in a flow.
func (c *witness) report(ctx context.Context, n *node.Node, ports []node.Port) node.Evidence {
	e := c.asked(ctx, n, c.evidence(ctx, n, ports))
	all, err := c.boots.BootEvents(ctx, e.MACs, n.Plan.StartedAt)
	if err != nil {
		all = nil
	}
	return e.Report(n, all)
}

// Why returns what is known of a node's machine: of the flow under way (nil when none is), and of its last
// failure (nil when there was none). It takes no lease.
func (c *witness) Why(ctx context.Context, ident string) (running, failed *node.Evidence, err error) {
	n, err := c.nodes.Node(ctx, ident)
	if err != nil {
		return nil, nil, err
	}
	if failed, err = c.notes.Failure(ctx, n.UUID); err != nil {
		return nil, nil, err
	}
	if n.Plan == nil {
		return nil, failed, nil
	}
	ports, err := c.ports.List(ctx, node.PortFilter{NodeUUID: n.UUID}, node.Page{})
	if err != nil {
		return nil, nil, err
	}
	c.saveCapture(ctx, n.UUID)
	now := c.report(ctx, n, ports)
	return &now, failed, nil
}

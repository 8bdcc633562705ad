package conductor

import (
	"context"
	"time"

	"github.com/billet-metal/billet/diagnosis"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// whyTimedOut says what was waited for, how long, and the likely cause.
func (r *run) whyTimedOut(ctx context.Context) string {
	return diagnosis.Judge(r.c.asked(ctx, r.n, r.evidence(ctx))).TimedOut
}

// lastSeen adds to the reason of a step whose machine is lost what was heard of the machine last.
func (r *run) lastSeen(ctx context.Context, reason string) string {
	r.c.saveCapture(ctx, r.n.UUID)
	return r.evidence(ctx).LastSeen(reason)
}

// evidence gathers what is known of the node's machine since the step under way began.
func (r *run) evidence(ctx context.Context) diagnosis.Evidence {
	return r.c.evidence(ctx, r.n, r.task.Ports)
}

// evidence reads what the machine showed, and adds it to what the node's row tells.
func (c *witness) evidence(ctx context.Context, n *node.Node, ports []node.Port) diagnosis.Evidence {
	e := c.waitOf(n)
	for _, port := range ports {
		e.MACs = append(e.MACs, port.Address)
	}
	events, err := c.boots.BootEvents(ctx, e.MACs, e.StepBegan)
	if err != nil && ctx.Err() == nil {
		c.log.Warn("boot events not read", "node", n.UUID, "error", err)
	}
	e.Events, e.Unread = events, err != nil
	e.Serial, e.AgentLog = c.lines(ctx, n.UUID, node.SerialLine), c.lines(ctx, n.UUID, node.AgentLog)
	return e
}

// NetworkWitness is a service that connects and serves the machine's ports.
type NetworkWitness interface {
	// Report is what it knows of them, by ctx's deadline at the latest.
	Report(ctx context.Context, nodeUUID string, macs []string) node.NetworkReport
}

// witnessTime bounds asking the network service: it explains a failure, and holds it up.
const witnessTime = 15 * time.Second

// asked adds what the network service says of a machine that boots. It is asked when something is told to people, not at each
// look.
func (c *witness) asked(ctx context.Context, n *node.Node, e diagnosis.Evidence) diagnosis.Evidence {
	if c.cfg.Network == nil || e.Network != nil || !e.Waiting || !e.WaitedFor.For.OfRamdisk() {
		return e
	}
	ctx, cancel := context.WithTimeout(ctx, witnessTime)
	defer cancel()
	report := c.cfg.Network.Report(ctx, n.UUID, e.MACs)
	e.Network = &report
	return e
}

// waitOf is what the node's row tells of the flow and its wait, without a look at the store.
func (c *witness) waitOf(n *node.Node) diagnosis.Evidence {
	p := n.Plan
	e := diagnosis.Evidence{
		Now: node.Now(), Listens: c.born, Flow: "The flow", FlowBegan: p.StartedAt, Failed: p.Failure != "",
		Waiting: p.Waiting(), WaitedFor: p.Await(), Waited: node.Since(p.WaitingSince), Deadline: p.Deadline,
		BootPhaseTimeout: c.cfg.BootPhaseTimeout, FirmwareTimeout: c.cfg.FirmwareTimeout,
		Agent: n.Agent, Override: overrideOf(p), OtherDHCP: c.cfg.OtherDHCP,
		Known:   diagnosis.Suspicion{Since: p.Quiet.Suspected.Since, Phase: p.Quiet.Suspected.Phase},
		Silence: p.Quiet.Silence, Lost: p.Quiet.Lost,
	}
	if f := flowOf(n); f != nil {
		e.Flow = capital(f.noun)
	}
	if step := p.Current(); step != nil {
		e.Step, e.StepBegan = name(step), step.StartedAt
	}
	return e
}

// overrideOf is what the BMC said of the boot device that it was told.
func overrideOf(p *node.Plan) diagnosis.Override {
	o, _ := driver.Override.Of(p)
	said := diagnosis.Override{Device: o.Asked.Device}
	switch o.Answer {
	case driver.OverrideKept:
		said.Answer = diagnosis.OverrideKept
	case driver.OverrideLost:
		said.Answer = diagnosis.OverrideLost
	}
	return said
}

// lines reads the node's lines of one source. Without them there is less to say, and nothing else changes.
func (c *witness) lines(ctx context.Context, uuid string, source node.LineSource) node.MachineLines {
	l, err := c.notes.Lines(ctx, uuid, source)
	if err != nil && ctx.Err() == nil {
		c.log.Warn("lines of the machine not read", "node", uuid, "source", source, "error", err)
	}
	return l
}

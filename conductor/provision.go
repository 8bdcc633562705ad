package conductor

import (
	"context"
	"fmt"
	"strings"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// Provision starts what a verb asks for. Everything that is wrong with the request comes back
// as an error before anything has changed; when it returns nil the new state is saved and the work
// goes on without the caller.
func (c *engine) Provision(ctx context.Context, ident string, req node.ProvisionRequest) error {
	return c.handOver(ctx, func() (*node.Node, error) { return c.accepted(ctx, ident, req) }, c.carry)
}

// accepted returns a node under its lease that somebody is to carry on, once what a verb asks for is saved; nil when
// nothing is left to do.
func (c *engine) accepted(ctx context.Context, ident string, req node.ProvisionRequest) (*node.Node, error) {
	n, err := c.reserveFor(ctx, ident, req.Event)
	if err != nil {
		return nil, err
	}
	before := n.Clone()
	if err := c.apply(ctx, n, req); err != nil {
		return nil, c.giveUp(ctx, before, err)
	}
	if n.Plan == nil || !needsConductor(n) {
		return nil, c.release(ctx, n)
	}
	if err := c.nodes.Save(ctx, n); err != nil {
		return nil, c.giveUp(ctx, before, err)
	}
	asked := fmt.Sprintf("%s was asked for; the node is now in state %q.", capital(string(req.Event)), n.State)
	c.note(ctx, n, string(n.Plan.Flow), infoSeverity, asked)
	return n, nil
}

// reserveFor takes the lease for a verb. A verb that is not legal in the node's state needs no
// lease to be refused, unless somebody is just changing that state.
func (c *engine) reserveFor(ctx context.Context, ident string, event node.Event) (*node.Node, error) {
	n, err := c.nodes.Node(ctx, ident)
	if err != nil {
		return nil, err
	}
	if _, legal := nextFor(n.State, event); !legal && !n.Lease.Held(node.Now()) {
		return nil, notLegal(n, event)
	}
	return c.reserve(ctx, ident)
}

// isVerb tells what people may ask for from what only the conductor may do.
var isVerb = map[node.Event]bool{
	node.EventManage: true, node.EventProvide: true, node.EventDeploy: true, node.EventRebuild: true,
	node.EventDelete: true, node.EventInspect: true, node.EventClean: true, node.EventAbort: true,
	node.EventAdopt: true, node.EventRescue: true, node.EventUnrescue: true, node.EventUnhold: true, node.EventService: true,
}

// nextFor is where people's asking for event leads from s. The events that leave a busy state are the
// conductor's own, also those named like a verb: "clean" asked for in a delete whose conductor died
// would skip the tear-down.
func nextFor(s node.State, event node.Event) (node.State, bool) {
	to, legal := s.Next(event)
	return to, legal && isVerb[event] && s.Class() != node.Busy
}

func notLegal(n *node.Node, event node.Event) error {
	return node.Errorf(node.Invalid, "The requested action %q can not be performed on node %q while it is in state %q.",
		event, n.UUID, n.State)
}

// apply checks a request against the node and changes the node as asked.
func (c *engine) apply(ctx context.Context, n *node.Node, req node.ProvisionRequest) error {
	to, legal := nextFor(n.State, req.Event)
	if !legal {
		return notLegal(n, req.Event)
	}
	if err := c.allows(n, req.Event); err != nil {
		return err
	}
	switch {
	case req.Event == node.EventAbort:
		return abort(n)
	case req.Event == node.EventUnhold:
		return unhold(n)
	case to.Class() != node.Busy:
		return n.Apply(req.Event)
	}
	f := flowTo(to)
	if f == nil {
		return node.Errorf(node.Invalid, "The %s action is not supported by the hardware type %s of node %s.", req.Event, n.Driver, n.UUID)
	}
	if f.fill != nil {
		if err := f.fill(ctx, c, n, &req); err != nil {
			return err
		}
	}
	if err := c.check(ctx, n, f, req); err != nil {
		return err
	}
	if err := n.Apply(req.Event); err != nil {
		return err
	}
	return c.start(ctx, n, f, req)
}

// allows applies the rules of maintenance, retirement and protection.
func (c *engine) allows(n *node.Node, event node.Event) error {
	switch event {
	case node.EventDeploy, node.EventRebuild, node.EventClean, node.EventRescue, node.EventUnrescue, node.EventService:
		if n.Maintenance {
			return node.Errorf(node.Invalid, "The %s operation can't be performed on node %s because it's in maintenance mode.", event, n.UUID)
		}
	}
	if n.Retired && event == node.EventProvide {
		return node.Errorf(node.Invalid, "The %s operation can't be performed on node %s because it is retired.", event, n.UUID)
	}
	if n.Protected && (event == node.EventRebuild || event == node.EventDelete) {
		return node.Errorf(node.Forbidden, "Node %s is protected and can not be undeployed, rebuilt or deleted.", n.UUID)
	}
	return nil
}

// check refuses a request that cannot work: interfaces that do not validate, and what the flow itself does not accept.
func (c *engine) check(ctx context.Context, n *node.Node, f *flow, req node.ProvisionRequest) error {
	h, err := c.hardware(n)
	if err != nil {
		return err
	}
	if _, err := c.fastTrack(n); err != nil {
		return err
	}
	if c.runsSteps(n, f, req.Event) {
		if err := c.validate(ctx, n, h, f, req); err != nil {
			return err
		}
	}
	if f.accepts == nil {
		return nil
	}
	return f.accepts(n, h, req)
}

// validate asks every interface that the flow needs, and tells all their reasons at once.
func (c *engine) validate(ctx context.Context, n *node.Node, h *driver.Hardware, f *flow, req node.ProvisionRequest) error {
	if len(f.needs) == 0 {
		return nil
	}
	task, err := c.task(ctx, n)
	if err != nil {
		return err
	}
	if task.VolumeTargets, err = c.targets.List(ctx, node.OfNode{UUID: n.UUID}, node.Page{}); err != nil {
		return err
	}
	var reasons []string
	impls := h.Implementations()
	for _, iface := range f.needs {
		impl := impls[iface]
		if iface == node.Boot && req.NoRamdisk || iface == node.Storage && impl == nil { // a type without storage has no volumes to boot from
			continue
		}
		if impl == nil {
			reasons = append(reasons, fmt.Sprintf("%s: the hardware type %s has no such interface", iface, h.Type))
			continue
		}
		if err := valid(ctx, task, impl); err != nil {
			reasons = append(reasons, fmt.Sprintf("%s: %v", iface, err))
		}
	}
	if len(reasons) == 0 {
		return nil
	}
	return node.Errorf(node.Invalid, "Node %s is not ready for %s. %s", n.UUID, f.noun, strings.Join(reasons, "; "))
}

// start puts a node whose state has just become the flow's busy state at the flow's beginning.
func (c *engine) start(ctx context.Context, n *node.Node, f *flow, req node.ProvisionRequest) error {
	h, err := c.cfg.Types.Resolve(n)
	if err != nil {
		return err
	}
	plan := &node.Plan{Flow: f.name, StartedAt: node.Now(), NoRamdisk: req.NoRamdisk, Manual: f.isManual(req.Event)}
	if c.runsSteps(n, f, req.Event) {
		if plan.Steps, err = planFlow(h, f, f.stepsAsked(req), plan.Manual, plan.NoRamdisk); err != nil {
			return err
		}
	}
	if f.begin != nil {
		f.begin(n, plan, req)
	}
	n.Plan, n.LastError = plan, ""
	// With fast track the agent of an earlier flow may still run, for a step to find out. Else it is gone, and
	// a new one must get a token of its own. Losing the old one's row is harmless even when the new state is
	// never saved.
	if within, _ := c.fastTrack(n); n.AgentAlive(within) {
		return nil
	}
	n.Agent = node.Agent{}
	if err := c.agents.ForgetAgent(ctx, n.UUID); err != nil {
		return err
	}
	return c.notes.ClearLines(ctx, n.UUID)
}

// runsSteps says whether a flow has anything to do for a node.
func (c *engine) runsSteps(n *node.Node, f *flow, event node.Event) bool {
	return !f.optional || f.isManual(event) || c.cleansItself(n)
}

// cleansItself says whether the node is cleaned when it is provided and after a delete.
func (c *engine) cleansItself(n *node.Node) bool {
	if n.AutomatedClean != nil {
		return *n.AutomatedClean
	}
	return c.cfg.AutomatedClean
}

// abort ends a wait: at once where the step allows it, else after the step.
func abort(n *node.Node) error {
	if n.State == node.ServiceFailed {
		n.LastError = "" // the node is active again, and somebody has read why it was not
		return n.Apply(node.EventAbort)
	}
	f := flowOf(n)
	if n.Plan == nil || f == nil {
		return n.Apply(node.EventAbort)
	}
	n.Plan.Aborting = true
	step := n.Plan.Current()
	if (n.State == node.CleanWait || n.State == node.ServiceWait) && step != nil && !step.Abortable {
		return nil
	}
	n.Plan.Failure, n.Plan.PollAt = abortedBy(f), node.Now()
	return nil
}

// unhold sends a held node on to its next step.
func unhold(n *node.Node) error {
	if err := n.Apply(node.EventUnhold); err != nil {
		return err
	}
	if n.Plan != nil {
		n.Plan.PollAt = node.Now()
	}
	return nil
}

package conductor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// engine carries nodes on: it takes people's verbs, finds work, plans flows and runs their steps.
type engine struct {
	*core
	*power
	*listeners
	*witness
	*wiring
	*allocations
	queue     Queue
	templates Records[node.DeployTemplate, node.DeployTemplateFilter]

	mu      sync.Mutex
	carried map[string]bool // nodes this process works on: it never takes them from itself
}

// run is one node under its lease, carried as far as it goes. It belongs to one goroutine.
type run struct {
	c    *engine
	n    *node.Node
	flow *flow
	task *driver.Task
	log  *slog.Logger

	asked time.Time // when the step under way was polled last by this run
}

// carry does what a node under lease needs now, and lets it go. An error means that the store could
// not be written: the lease runs out and another conductor repeats the step.
func (c *engine) carry(ctx context.Context, n *node.Node) {
	defer c.carrying(n.UUID)()
	ctx, stop := c.keepLease(ctx, n)
	defer stop()
	c.learnDrive(ctx, n)
	r := &run{c: c, n: n, flow: flowOf(n), log: logFor(c.log, n)}
	if err := r.do(ctx); err != nil && ctx.Err() == nil {
		r.log.Error("work on the node stops until its lease has run out", "error", err)
	}
}

// carrying marks a node as worked on by this process until done is called.
func (c *engine) carrying(uuid string) (done func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.carried[uuid] = true
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.carried, uuid)
	}
}

func (c *engine) carries(uuid string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.carried[uuid]
}

func flowOf(n *node.Node) *flow {
	if n.Plan != nil {
		return flowNamed(n.Plan.Flow)
	}
	return flowTo(n.State)
}

// do picks what the node's state asks for.
func (r *run) do(ctx context.Context) error {
	class := r.n.State.Class()
	switch {
	case class == node.Busy:
		r.n.TargetPower = node.PowerUnknown // the flow decides about power now
	case r.n.TargetPower != node.PowerUnknown:
		return r.c.switchPower(ctx, r.n, r.c.cfg.PowerTimeout)
	case class != node.Waiting && class != node.Held:
		return r.c.release(ctx, r.n)
	}
	if err := r.prepare(ctx); err != nil {
		return err
	}
	switch {
	case r.n.Plan.Failure != "":
		return r.fail(ctx, r.n.Plan.Failure)
	case class == node.Busy:
		if failure, err := r.keepDrive(ctx); failure != "" || err != nil {
			return r.refused(ctx, failure, err)
		}
		return r.advance(ctx)
	case class == node.Waiting:
		return r.poll(ctx)
	default:
		return r.c.release(ctx, r.n)
	}
}

// prepare makes the task that the steps work on. A node that no step can work on gets its failure.
func (r *run) prepare(ctx context.Context) error {
	if r.n.Plan == nil {
		r.n.Plan = &node.Plan{Failure: fmt.Sprintf("The node is in state %q without a plan of this service.", r.n.State)}
	}
	if r.flow == nil {
		r.flow = &flow{noun: "the flow", timeout: func(c *Config) time.Duration { return c.StepTimeout }}
		if r.n.Plan.Failure == "" {
			r.n.Plan.Failure = fmt.Sprintf("This service has no flow %q, which the node is in the middle of.", r.n.Plan.Flow)
		}
	}
	if err := r.n.Damage(); err != nil {
		r.n.Plan.Failure = fmt.Sprintf("%s cannot go on. %v", capital(r.flow.noun), err)
		return nil
	}
	if _, err := r.c.cfg.Types.Resolve(r.n); err != nil {
		r.n.Plan.Failure = fmt.Sprintf("%s cannot go on: %v", capital(r.flow.noun), err)
		return nil
	}
	task, err := r.c.task(ctx, r.n)
	if refused, ok := errors.AsType[*node.Err](err); ok && refused.Kind == node.Internal { // a port is damaged; the store is there
		r.n.Plan.Failure = fmt.Sprintf("%s cannot go on. %v", capital(r.flow.noun), refused)
		return nil
	}
	if err != nil {
		return err
	}
	if task.Portgroups, err = r.c.groupsOf(ctx, task.Ports); err != nil {
		return err
	}
	task.Log = r.log
	task.Progress = func(p node.Progress) { r.progress(ctx, p) }
	r.c.keepWiring(task)
	r.task = task
	return nil
}

// task makes what a driver works on; Save and ForgetAgent need n's lease.
func (c *core) task(ctx context.Context, n *node.Node) (*driver.Task, error) {
	if err := n.Damage(); err != nil {
		return nil, err
	}
	h, err := c.cfg.Types.Resolve(n)
	if err != nil {
		return nil, err
	}
	ports, err := c.ports.List(ctx, node.PortFilter{NodeUUID: n.UUID}, node.Page{})
	if err != nil {
		return nil, err
	}
	for _, p := range ports {
		if err := p.Damage(); err != nil {
			return nil, err
		}
	}
	within, err := c.fastTrack(n)
	if err != nil { // a request is refused for it; what is under way goes on without
		logFor(c.log, n).Warn("no fast track", "error", err)
	}
	return &driver.Task{
		FastTrack: within, LookedUp: lookedUp(n),
		Node: n, Ports: ports, Hardware: h, Log: logFor(c.log, n),
		Save:   func(ctx context.Context) error { return c.nodes.Save(ctx, n) },
		Drives: drives{c},
		ForgetAgent: func(ctx context.Context) error {
			n.Agent = node.Agent{}
			return c.agents.ForgetAgent(ctx, n.UUID)
		},
	}, nil
}

// advance runs steps until one waits, fails, or none is left. What is about to be done is always
// saved first: whoever reads the row after a crash repeats the step that has begun and not ended.
func (r *run) advance(ctx context.Context) error {
	// Requests are refused for it; a plan of an earlier version is not.
	if why := agentless(r.task.Hardware, r.flow, r.n.Plan.NoRamdisk, r.n.Plan.Steps[min(r.n.Plan.Index, len(r.n.Plan.Steps)):]); why != "" {
		return r.fail(ctx, fmt.Sprintf("%s failed. %s", capital(r.flow.noun), why))
	}
	for {
		if ctx.Err() != nil {
			return r.stopped(ctx)
		}
		step := r.n.Plan.Current()
		if step == nil {
			if again, err := r.finish(ctx); err != nil || !again {
				return err
			}
			continue
		}
		code, err := r.code(step)
		if err != nil {
			return r.fail(ctx, err.Error())
		}
		if step.StartedAt.IsZero() {
			step.StartedAt = node.Now()
		}
		r.captureSerial()
		if err := r.c.nodes.Save(ctx, r.n); err != nil {
			return err
		}
		if step.Step == holdStep && step.Interface == node.Power {
			return r.hold(ctx)
		}
		r.noteStep(ctx, step, "started")
		result, err := r.call(ctx, step, code.Run)
		if done, err := r.took(ctx, step, result, err); done || err != nil {
			return err
		}
	}
}

// took acts on how a call of a step ended. It returns true when the run is over.
func (r *run) took(ctx context.Context, step *node.PlannedStep, result driver.Result, err error) (bool, error) {
	if leaseLost(ctx) || ctx.Err() != nil && err != nil {
		return true, r.stopped(ctx)
	}
	if errors.Is(err, node.ErrStoreAway) { // the step is repeated when the database is back
		return true, err
	}
	if err != nil {
		reason := fmt.Sprintf("%s failed at step %s: %v", capital(r.flow.noun), name(step), err)
		if errors.Is(err, driver.ErrMachineLost) {
			reason = r.lastSeen(ctx, reason)
		}
		return true, r.fail(ctx, reason)
	}
	if failure := r.takeSteps(result.Steps); failure != "" {
		return true, r.fail(ctx, failure)
	}
	step = r.n.Plan.Current()
	if result.Waiting() {
		return r.wait(ctx, step, result)
	}
	step.EndedAt = node.Now()
	r.clearSuspicion(ctx)
	r.n.Plan.Quiet = node.Quiet{}
	r.noteStep(ctx, step, "finished after "+since(step.StartedAt))
	if result.Says != "" {
		r.note(ctx, infoSeverity, fmt.Sprintf("Step %s: %s", name(step), result.Says))
	}
	r.n.Plan.Index++
	r.stopWaiting()
	if r.n.Plan.Aborting {
		if moreSteps(r.n.Plan) {
			return true, r.fail(ctx, abortedBy(r.flow))
		}
		r.n.Plan.Aborting = false
		r.note(ctx, infoSeverity, fmt.Sprintf("%s was to be aborted after its last step, and has come to its end.", capital(r.flow.noun)))
	}
	return false, nil
}

// moreSteps reports whether the plan has steps left that people know of.
func moreSteps(p *node.Plan) bool {
	return slices.ContainsFunc(p.Steps[p.Index:], func(s node.PlannedStep) bool { return !s.Hidden })
}

// takeSteps merges what the agent offers into the plan. It returns why the flow fails, if it does: a machine that did not
// get what was asked for is not what the request meant.
func (r *run) takeSteps(found []node.PlannedStep) (failure string) {
	if found == nil {
		return ""
	}
	unknown, wrong := merge(r.task.Hardware, r.n.Plan, found)
	if len(wrong) > 0 {
		return fmt.Sprintf("%s failed. %s", capital(r.flow.noun), strings.Join(wrong, " "))
	}
	if len(unknown) > 0 {
		return fmt.Sprintf("%s failed: neither the hardware nor its agent has the step %s.", capital(r.flow.noun), strings.Join(unknown, ", "))
	}
	if why := misplaced(r.task.Hardware, r.n.Plan.Flow, r.n.Plan.Steps); why != "" && !r.n.Plan.Manual {
		return fmt.Sprintf("%s failed. %s", capital(r.flow.noun), why)
	}
	return ""
}

// stopped ends a run whose context has ended. When the conductor stops, the node is let go as it
// stands and the next one repeats the step under way; when the lease is lost, it is not ours to
// let go.
func (r *run) stopped(ctx context.Context) error {
	if leaseLost(ctx) {
		return node.ErrLeaseLost
	}
	return r.c.release(ctx, r.n)
}

// code returns what runs and polls a planned step.
func (r *run) code(step *node.PlannedStep) (driver.Step, error) {
	if !step.Agent {
		s, ok := findStep(r.task.Hardware, r.n.Plan.Flow, step)
		if !ok {
			return s, node.Errorf(node.Internal, "%s failed: the hardware no longer has the step %s", capital(r.flow.noun), name(step))
		}
		if s.Poll == nil {
			s.Poll = anyCall
		}
		return s, nil
	}
	agent, ok := r.task.Hardware.Deploy.(driver.InBand)
	if !ok || !r.n.Plan.InBand {
		return driver.Step{}, node.Errorf(node.Invalid,
			"%s failed: no agent has told that it has the step %s, and the hardware itself does not have it.", capital(r.flow.noun), name(step))
	}
	return driver.Step{Run: agent.RunStep, Poll: agent.PollStep}, nil
}

// call runs one function of a step. A driver that panics fails its node, not the service.
func (r *run) call(ctx context.Context, step *node.PlannedStep,
	f func(context.Context, *driver.Task) (driver.Result, error)) (result driver.Result, err error) {
	limit := min(r.c.cfg.StepTimeout, r.flow.timeout(&r.c.cfg))
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if f == nil {
		return driver.Done(), nil
	}
	err = guarded(r.log.With("step", name(step)), func() error {
		result, err = f(ctx, r.task)
		return err
	})
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("it took longer than %s: %w", limit, err)
	}
	return r.later(result, err)
}

// finish ends a flow whose steps are all done. It returns true when another follows at once.
func (r *run) finish(ctx context.Context) (bool, error) {
	r.readPower(ctx)
	if leaseLost(ctx) {
		return false, node.ErrLeaseLost
	}
	started := r.n.Plan.StartedAt
	if r.flow.detach {
		if ended, err := r.detachAll(ctx); ended || err != nil {
			return false, err
		}
	}
	r.dropDrives(ctx)
	if r.flow.finish != nil {
		r.flow.finish(r.n)
	}
	if r.flow.forget != nil {
		r.flow.forget(r.n)
	}
	if err := r.n.Apply(r.flow.done(r.n)); err != nil {
		return false, err
	}
	more := ""
	if r.flow.says != nil {
		more = r.flow.says(r.n)
	}
	r.note(ctx, infoSeverity, fmt.Sprintf("%s has ended well after %s; the node is %s.%s", capital(r.flow.noun), since(started), r.n.State,
		more))
	r.clearProgress(ctx)
	r.c.stopCapture(r.n.UUID)
	r.n.Plan = nil
	if r.flow.next == "" {
		return false, r.c.release(ctx, r.n)
	}
	r.flow = flowNamed(r.flow.next)
	if err := r.c.start(ctx, r.n, r.flow, node.ProvisionRequest{}); err != nil {
		r.n.Plan = &node.Plan{Flow: r.flow.name, StartedAt: node.Now()}
		return false, r.fail(ctx, err.Error())
	}
	return true, nil
}

// readPower keeps power_state true at the end of a flow; a BMC that does not answer is left to
// power sync.
func (r *run) readPower(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, powerReadTime)
	defer cancel()
	if state, err := r.task.Hardware.Power.PowerState(ctx, r.task); err == nil {
		r.n.Power = state
	} else {
		r.log.Debug("power state not read", "error", err)
	}
}

const powerReadTime = 10 * time.Second

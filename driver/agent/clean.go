package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/inspection"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// tearDown ends an instance's hold on the machine. What its disk holds is cleaning's business.
func (d *Direct) tearDown(ctx context.Context, t *driver.Task) (driver.Result, error) {
	if err := leave(ctx, t, driver.TenantNetwork); err != nil {
		return driver.Done(), err
	}
	if err := t.Hardware.Boot.CleanUpInstance(ctx, t); err != nil {
		return driver.Done(), fmt.Errorf("taking the instance's boot back: %w", err)
	}
	driver.Root{}.Leave(t.Node)
	return driver.Done(), nil
}

func (d *Direct) prepareCleaning(ctx context.Context, t *driver.Task) (driver.Result, error) {
	if t.Node.Plan.NoRamdisk {
		return driver.Done(), nil
	}
	if d.Erase != nil {
		d.Erase.tell(t.Node)
	}
	return d.bootRamdisk(ctx, t)
}

func (d *Direct) tearDownCleaning(ctx context.Context, t *driver.Task) (driver.Result, error) {
	if t.Node.Plan.NoRamdisk {
		return driver.Done(), nil
	}
	if t.AgentAlive() {
		return driver.Done(), park(ctx, t, driver.CleaningNetwork)
	}
	return driver.Done(), leave(ctx, t, driver.CleaningNetwork)
}

func (d *Direct) prepareService(ctx context.Context, t *driver.Task) (driver.Result, error) {
	return d.prepareCleaning(ctx, t)
}

// tearDownService starts the instance again.
func (d *Direct) tearDownService(ctx context.Context, t *driver.Task) (driver.Result, error) {
	if t.Node.Plan.NoRamdisk {
		return driver.Done(), nil
	}
	if err := leave(ctx, t, driver.ServicingNetwork); err != nil {
		return driver.Done(), err
	}
	return driver.Done(), restart(ctx, t)
}

// verb is the agent's word for a flow: its commands are <verb>.get_<verb>_steps and
// <verb>.execute_<verb>_step.
func verb(flow node.Flow) string { return string(flow) }

// agentSteps asks the agent which steps of the flow under way its hardware managers offer, and
// remembers their version, and how its machine booted.
func (d *Direct) agentSteps(ctx context.Context, t *driver.Task) ([]node.PlannedStep, error) {
	s, err := d.Client.open(t.Node.Agent)
	if err != nil {
		return nil, err
	}
	flow := t.Node.Plan.Flow
	var offered wire.Steps
	if err := s.ask(ctx, verb(flow)+".get_"+verb(flow)+"_steps", about(t), &offered); err != nil {
		return nil, fmt.Errorf("asking the agent for its %s steps: %w", flow, err)
	}
	versionNote.Set(t, offered.Version)
	if offered.Boot != nil {
		inspection.Booted(t.Node, *offered.Boot)
	}
	return ofInterface(t, d.plan(flow, t.Hardware.Deploy, offered)), nil
}

// ofInterface leaves out the agent's steps of the raid interface on a node with another one: what
// they build would be in nobody's books.
func ofInterface(t *driver.Task, steps []node.PlannedStep) []node.PlannedStep {
	if r, ok := t.Hardware.Other[node.RAID].(*RAID); ok && r != nil {
		return steps
	}
	return slices.DeleteFunc(steps, func(s node.PlannedStep) bool { return s.Interface == node.RAID })
}

// plan turns what the agent offers into planned steps. Where several hardware managers offer a
// step, the highest priority counts, then the manager's name; what the node's deploy
// interface does itself is left out.
func (d *Direct) plan(flow node.Flow, of driver.Stepper, offered wire.Steps) []node.PlannedStep {
	lists := map[node.Flow]map[string][]wire.Step{
		node.FlowClean: offered.Clean, node.FlowDeploy: offered.Deploy, node.FlowService: offered.Service,
	}[flow]
	own := map[string]bool{}
	for _, s := range of.Steps() {
		if _, ok := s.Priority[flow]; ok {
			own["deploy."+s.Name] = true
		}
	}
	best := map[string]wire.Step{}
	for _, manager := range slices.Sorted(maps.Keys(lists)) {
		for _, s := range lists[manager] {
			key := s.Interface + "." + s.Step
			if b, taken := best[key]; !own[key] && (!taken || s.Priority > b.Priority) {
				best[key] = s
			}
		}
	}
	planned := []node.PlannedStep{} // never nil: an agent without steps has told so
	for _, key := range slices.Sorted(maps.Keys(best)) {
		s := best[key]
		planned = append(planned, node.PlannedStep{
			Interface: node.Interface(s.Interface), Step: s.Step, Priority: d.priority(flow, key, s.Priority),
			Args: s.Args, Agent: true, Abortable: s.Abortable, Reboot: s.RebootRequested, ArgsInfo: argsInfo(s.ArgsInfo),
		})
	}
	slices.SortStableFunc(planned, func(a, b node.PlannedStep) int { return b.Priority - a.Priority })
	return planned
}

func (d *Direct) priority(flow node.Flow, key string, offered int) int {
	overrides := d.Priorities
	if overrides == nil {
		overrides = DefaultPriorities
	}
	if p, ok := overrides[key]; ok && flow == node.FlowClean {
		return p
	}
	return offered
}

// RunsAgent implements driver.InBand.
func (d *Direct) RunsAgent(node.Flow) bool { return true }

// RunStep implements driver.InBand.
func (d *Direct) RunStep(ctx context.Context, t *driver.Task) (driver.Result, error) {
	return d.inBand(ctx, t, d.run)
}

// PollStep implements driver.InBand.
func (d *Direct) PollStep(ctx context.Context, t *driver.Task) (driver.Result, error) {
	return d.inBand(ctx, t, d.poll)
}

// BootAgain implements driver.InBand.
func (d *Direct) BootAgain(ctx context.Context, t *driver.Task) (driver.Result, error) {
	if rebootNote.Get(t).Step == stepName(t) {
		return d.rebooting(ctx, t)
	}
	return d.reboot(ctx, t)
}

// reboot begins to boot the ramdisk anew within the step under way.
func (d *Direct) reboot(ctx context.Context, t *driver.Task) (driver.Result, error) {
	rebootNote.Edit(t, func(r *reboots) { r.Step = stepName(t) })
	commandNote.Edit(t, func(c *agentCommand) { c.ID = "" }) // it was the earlier agent's
	bootsSince(t, time.Time{})
	if err := t.Checkpoint(ctx); err != nil {
		return driver.Done(), err
	}
	return d.rebooting(ctx, t)
}

// inBand carries a step of the agent on, by run or poll, through whatever boots belong to it.
func (d *Direct) inBand(ctx context.Context, t *driver.Task, carryOn func(context.Context, *driver.Task, work) (driver.Result, *wire.CommandResult, error)) (driver.Result, error) {
	known := rebootNote.Get(t)
	switch stepName(t) {
	case known.Step:
		return d.rebooting(ctx, t)
	case known.Lost:
		return d.reviving(ctx, t)
	}
	w := d.stepWork(t)
	r, c, err := carryOn(ctx, t, w)
	if isUnreachable(err) && !errors.Is(err, driver.ErrMachineLost) { // before the command was given
		if !t.Node.Plan.Waiting() {
			restarts(t, 0)
		}
		r, c, err = d.silent(ctx, t, w, err)
	}
	if errors.Is(err, driver.ErrMachineLost) {
		return d.revive(ctx, t, err)
	}
	if wrong, ok := errors.AsType[*failed](err); ok && wrong.cause != nil {
		recordErasure(t, wrong.cause.Disks)
	}
	return d.inBandEnded(ctx, t, w, r, c, err)
}

// stepName names the step under way within its plan, so that the same step twice is two.
func stepName(t *driver.Task) string {
	s := t.Step()
	return fmt.Sprintf("%d:%s.%s", t.Node.Plan.Index, s.Interface, s.Step)
}

func (d *Direct) stepWork(t *driver.Task) work {
	flow, s := t.Node.Plan.Flow, t.Step()
	return work{
		name: verb(flow) + ".execute_" + verb(flow) + "_step", what: s.Step, within: orElse(d.StepTimeout, DefaultStepTimeout),
		params: func(context.Context) (map[string]any, error) {
			params := about(t)
			if writesConfigDrive(t) {
				params["node"].(map[string]any)["instance_info"].(map[string]any)["configdrive"] = t.Node.ConfigDrive
			}
			params["step"] = wire.Step{
				Step: s.Step, Interface: string(s.Interface), Priority: s.Priority, Args: s.Args,
				RebootRequested: s.Reboot, Abortable: s.Abortable,
			}
			params[verb(flow)+"_version"] = version(t)
			return params, nil
		},
	}
}

// inBandEnded reboots where the step wants it, and deals with an agent whose hardware managers are
// not those the plan was made from.
func (d *Direct) inBandEnded(ctx context.Context, t *driver.Task, w work, r driver.Result, c *wire.CommandResult, err error) (driver.Result, error) {
	if err != nil || c == nil {
		return r, err
	}
	if c.Status == wire.VersionMismatch {
		return d.mismatch(ctx, t, w)
	}
	if r, err := d.stepEnded(t, w, r, c, nil); err != nil {
		return r, err
	}
	recordErasure(t, erasureOf(c).Disks)
	if !t.Step().Reboot && !reported(c).RebootRequested {
		return driver.Result{Says: says(c)}, nil
	}
	return d.reboot(ctx, t)
}

// rebooting boots the ramdisk anew after a step that asked for it, and waits for its agent.
func (d *Direct) rebooting(ctx context.Context, t *driver.Task) (driver.Result, error) {
	r, err := d.bootAgain(ctx, t)
	if err != nil || r.Waiting() {
		return r, err
	}
	rebootNote.Edit(t, func(r *reboots) { r.Step = "" })
	return driver.Done(), nil
}

// bootAgain boots the ramdisk in the middle of a step, and waits for its agent.
func (d *Direct) bootAgain(ctx context.Context, t *driver.Task) (driver.Result, error) {
	booting := !bootNote.Get(t).Since.IsZero()
	bootNote.Edit(t, func(b *ramdiskBoot) { b.FastTrack = false })
	if !booting && driver.CanSet(t.Hardware.Power, node.PowerOn) {
		// The heartbeats of the agent that did the step must not pass for the new one's.
		if err := forgetAgent(ctx, t); err != nil {
			return driver.Done(), err
		}
	}
	r, err := d.bootRamdisk(ctx, t)
	if booting && t.Node.Plan.Waiting() && r.Says == "" {
		r.Within = 0 // the wait goes on; its deadline stays
	}
	return r, err
}

// mismatch begins a step again when the agent's hardware managers have other versions than those
// the plan was made from, once, provided they still offer it.
func (d *Direct) mismatch(ctx context.Context, t *driver.Task, w work) (driver.Result, error) {
	known := version(t)
	steps, err := d.agentSteps(ctx, t)
	if err != nil {
		return driver.Done(), err
	}
	s := t.Step()
	offered := slices.ContainsFunc(steps, func(o node.PlannedStep) bool { return o.Step == s.Step && o.Interface == s.Interface })
	if !offered || maps.Equal(known, version(t)) {
		return driver.Done(), fmt.Errorf("the agent does not carry out %s: its hardware managers (%s) are not those this plan was made with (%s)",
			w.what, managers(version(t)), managers(known))
	}
	t.Logger().Warn("the agent's hardware managers changed; the step begins again", "step", s.Step)
	r, c, err := d.run(ctx, t, w)
	if c != nil && c.Status == wire.VersionMismatch {
		err = fmt.Errorf("the agent does not carry out %s: it says that its hardware managers changed again", w.what)
	}
	if err != nil || c == nil {
		return r, err
	}
	return d.inBandEnded(ctx, t, w, r, c, nil)
}

func managers(v map[string]string) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(v)) {
		list = append(list, name+" "+v[name])
	}
	if list == nil {
		return "none"
	}
	return strings.Join(list, ", ")
}

// reported is the step that a command's result says it carried out; zero when it does not say.
func reported(c *wire.CommandResult) wire.Step {
	var result struct {
		Deploy  *wire.Step `json:"deploy_step"`
		Clean   *wire.Step `json:"clean_step"`
		Service *wire.Step `json:"service_step"`
	}
	if json.Unmarshal(c.Result, &result) != nil {
		return wire.Step{}
	}
	for _, s := range []*wire.Step{result.Deploy, result.Clean, result.Service} {
		if s != nil {
			return *s
		}
	}
	return wire.Step{}
}

// says is the result of the agent's own step as a text, such as how each disk was erased; "" when
// it is none.
func says(c *wire.CommandResult) string {
	for _, r := range results(c) {
		var text string
		if json.Unmarshal(r, &text) == nil && text != "" {
			return redact(text)
		}
	}
	return redact(erasureOf(c).Says)
}

// results are what a command's result says the step returned.
func results(c *wire.CommandResult) []json.RawMessage {
	var result struct {
		Deploy  json.RawMessage `json:"deploy_result"`
		Clean   json.RawMessage `json:"clean_result"`
		Service json.RawMessage `json:"service_result"`
	}
	if json.Unmarshal(c.Result, &result) != nil {
		return nil
	}
	return []json.RawMessage{result.Deploy, result.Clean, result.Service}
}

// stepEnded checks that the agent carried out the step it was asked for.
func (d *Direct) stepEnded(t *driver.Task, w work, r driver.Result, c *wire.CommandResult, err error) (driver.Result, error) {
	if err != nil || c == nil {
		return r, err
	}
	if c.Status == wire.VersionMismatch {
		return driver.Done(), fmt.Errorf("the agent does not carry out %s: its hardware managers changed since it offered its steps", w.what)
	}
	if s := reported(c); s.Step != "" && s.Step != w.what {
		return driver.Done(), fmt.Errorf("the agent was asked for %s but says it carried out %s", w.what, s.Step)
	}
	t.Logger().Info("the agent finished a step", "step", w.what)
	return driver.Done(), nil
}

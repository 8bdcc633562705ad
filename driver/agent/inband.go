package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// inBand carries out the steps that the agent offers, through whatever boots belong to them.
type inBand struct {
	commands commands
	booting  booting
}

func (d *Direct) inBand() inBand { return inBand{commands: d.commands(), booting: d.booting()} }

// commandCall begins a command, or looks how it stands.
type commandCall func(context.Context, *driver.Task, work) (driver.Result, *wire.CommandResult, error)

// reboot begins to boot the ramdisk anew within the step under way.
func (b inBand) reboot(ctx context.Context, t *driver.Task) (driver.Result, error) {
	rebootNote.Edit(t, func(r *reboots) { r.Step = stepName(t) })
	commandNote.Edit(t, func(c *agentCommand) { c.ID = "" }) // it was the earlier agent's
	bootsSince(t, time.Time{})
	if err := t.Checkpoint(ctx); err != nil {
		return driver.Done(), err
	}
	return b.rebooting(ctx, t)
}

// step carries a step of the agent on, by run or poll, through whatever boots belong to it.
func (b inBand) step(ctx context.Context, t *driver.Task, goOn commandCall) (driver.Result, error) {
	known := rebootNote.Get(t)
	switch stepName(t) {
	case known.Step:
		return b.rebooting(ctx, t)
	case known.Lost:
		return b.recovering(ctx, t)
	}
	w := b.work(t)
	r, c, err := goOn(ctx, t, w)
	if isUnreachable(err) && !errors.Is(err, driver.ErrMachineLost) { // before the command was given
		if !t.Node.Plan.Waiting() {
			restarts(t, 0)
		}
		r, c, err = b.commands.silent(ctx, t, w, err)
	}
	if errors.Is(err, driver.ErrMachineLost) {
		return b.recoverMachine(ctx, t, err)
	}
	if wrong, ok := errors.AsType[*failed](err); ok && wrong.cause != nil {
		recordErasure(t, wrong.cause.Disks)
	}
	return b.ended(ctx, t, w, r, c, err)
}

// stepName names the step under way within its plan, so that the same step twice is two.
func stepName(t *driver.Task) string {
	s := t.Step()
	return fmt.Sprintf("%d:%s.%s", t.Node.Plan.Index, s.Interface, s.Step)
}

func (b inBand) work(t *driver.Task) work {
	flow, s := t.Node.Plan.Flow, t.Step()
	return work{
		name: verb(flow) + ".execute_" + verb(flow) + "_step", what: s.Step, within: b.commands.within,
		params: func(ctx context.Context) (map[string]any, error) {
			params := about(t)
			if writesConfigDrive(t) {
				drive, err := t.DriveForMachine(ctx)
				if err != nil {
					return nil, err
				}
				params["node"].(map[string]any)["instance_info"].(map[string]any)["configdrive"] = drive
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

// ended reboots where the step wants it, and deals with an agent whose hardware managers are
// not those the plan was made from.
func (b inBand) ended(
	ctx context.Context, t *driver.Task, w work, r driver.Result, c *wire.CommandResult, err error,
) (driver.Result, error) {
	if err != nil || c == nil {
		return r, err
	}
	if c.Status == wire.VersionMismatch {
		return b.mismatch(ctx, t, w)
	}
	if err := carriedOut(t, w.what, c); err != nil {
		return driver.Done(), err
	}
	recordErasure(t, erasureOf(c).Disks)
	if !t.Step().Reboot && !reported(c).RebootRequested {
		return driver.Result{Says: says(c)}, nil
	}
	return b.reboot(ctx, t)
}

// rebooting boots the ramdisk anew after a step that asked for it, and waits for its agent.
func (b inBand) rebooting(ctx context.Context, t *driver.Task) (driver.Result, error) {
	r, err := b.booting.again(ctx, t)
	if err != nil || r.Waiting() {
		return r, err
	}
	rebootNote.Edit(t, func(r *reboots) { r.Step = "" })
	return driver.Done(), nil
}

// mismatch begins a step again when the agent's hardware managers have other versions than those
// the plan was made from, once, provided they still offer it.
func (b inBand) mismatch(ctx context.Context, t *driver.Task, w work) (driver.Result, error) {
	known := version(t)
	steps, err := b.booting.offers.ask(ctx, t)
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
	r, c, err := b.commands.give(ctx, t, w)
	if c != nil && c.Status == wire.VersionMismatch {
		err = fmt.Errorf("the agent does not carry out %s: it says that its hardware managers changed again", w.what)
	}
	if err != nil || c == nil {
		return r, err
	}
	return b.ended(ctx, t, w, r, c, nil)
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

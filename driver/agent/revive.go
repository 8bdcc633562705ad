package agent

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// maxRevivals is how often the machine is started again for one step.
const maxRevivals = 3

// revive starts a machine again that was lost in the middle of a step of its agent, and has the step begun
// anew. Only a step that may be aborted may stop anywhere, so only such a step may be repeated: writing
// firmware twice is nothing to try. A deploy fails: what its earlier steps left in the ramdisk's memory is gone.
// So does a flow of a machine that nobody can switch on. gone wraps driver.ErrMachineLost.
func (d *Direct) revive(ctx context.Context, t *driver.Task, gone error) (driver.Result, error) {
	if t.Node.Plan.Flow == node.FlowDeploy || !driver.CanSet(t.Hardware.Power, node.PowerOn) {
		return driver.Done(), gone
	}
	if !t.Step().Abortable {
		return driver.Done(), fmt.Errorf("%w; the step is none that may stop in the middle (it is not abortable), so it is not begun again", gone)
	}
	n := recoveries(t) + 1
	if n > maxRevivals {
		return driver.Done(), fmt.Errorf("%w; the step was begun again %d times before, so it is not once more", gone, maxRevivals)
	}
	t.Logger().Warn("the machine was lost and is started again", "step", t.Step().Step, "how", gone, "time", n)
	rebootNote.Edit(t, func(r *reboots) { r.Lost, r.Recovered, r.Times = stepName(t), stepName(t), n })
	commandNote.Edit(t, func(c *agentCommand) { c.ID = "" }) // it was the lost agent's
	bootAnew(t)
	present(t)
	if err := t.Checkpoint(ctx); err != nil {
		return driver.Done(), err
	}
	r, err := d.reviving(ctx, t)
	r.Lost = gone.Error()
	r.Says = fmt.Sprintf("%v. The machine is started again, and the step begins anew (%d of %d).", gone, n, maxRevivals)
	return r, err
}

// reviving waits for the agent of a machine that was started again, and gives it the step.
func (d *Direct) reviving(ctx context.Context, t *driver.Task) (driver.Result, error) {
	r, err := d.bootAgain(ctx, t)
	if err != nil {
		return r, fmt.Errorf("starting the machine again, which was lost during %s: %w", t.Step().Step, err)
	}
	if r.Waiting() {
		return r, nil
	}
	rebootNote.Edit(t, func(r *reboots) { r.Lost = "" })
	return d.RunStep(ctx, t)
}

// recoveries is how often the machine was started again for the step under way.
func recoveries(t *driver.Task) int {
	if r := rebootNote.Get(t); r.Recovered == stepName(t) {
		return r.Times
	}
	return 0
}

// bootsOn looks at a machine that is to boot the ramdisk and has not called: one that is seen off twice has lost
// power, and is switched on again. A BMC that does not tell decides nothing, and one that was just told
// to switch on may say off for a while.
func (d *Direct) bootsOn(ctx context.Context, t *driver.Task) (driver.Result, error) {
	waits := d.waitFor(firstCall, 0)
	if !driver.CanSet(t.Hardware.Power, node.PowerOn) {
		return waits, nil
	}
	asking, cancel := context.WithTimeout(ctx, powerAnswer)
	defer cancel()
	state, err := t.Hardware.Power.PowerState(asking, t)
	if err != nil || state != node.PowerOff {
		seenOff(t, time.Time{})
		return waits, nil
	}
	first := bootNote.Get(t).SeenOff
	if first.IsZero() {
		seenOff(t, node.Now())
		return waits, nil
	}
	if node.Now().Sub(first) < orElse(d.Poll, DefaultPoll)/2 {
		return waits, nil
	}
	seenOff(t, time.Time{})
	t.Node.Power = node.PowerOff
	n := recoveries(t) + 1
	if n > maxRevivals {
		return driver.Done(), errors.New("the machine lost power while it booted the deploy ramdisk: its BMC says that it is off, also after it was switched on again " + strconv.Itoa(maxRevivals) + " times")
	}
	rebootNote.Edit(t, func(r *reboots) { r.Recovered, r.Times = stepName(t), n })
	bootAnew(t)
	r, err := d.bootRamdisk(ctx, t)
	r.Says = fmt.Sprintf("the machine lost power while it booted the deploy ramdisk. It is switched on again (%d of %d).", n, maxRevivals)
	return r, err
}

func seenOff(t *driver.Task, at time.Time) {
	bootNote.Edit(t, func(b *ramdiskBoot) { b.SeenOff = at })
}

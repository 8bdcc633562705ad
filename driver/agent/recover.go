package agent

import (
	"context"
	"fmt"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// maxRecoveries is how often the machine is started again for one step.
const maxRecoveries = 3

// recoverMachine starts a machine again that was lost in the middle of a step of its agent, and has the step begun
// anew. Only a step that may be aborted may stop anywhere, so only such a step may be repeated: writing
// firmware twice is nothing to try. A deploy fails: what its earlier steps left in the ramdisk's memory is gone.
// So does a flow of a machine that nobody can switch on. gone wraps driver.ErrMachineLost.
func (b inBand) recoverMachine(ctx context.Context, t *driver.Task, gone error) (driver.Result, error) {
	if t.Node.Plan.Flow == node.FlowDeploy || !driver.CanSet(t.Hardware.Power, node.PowerOn) {
		return driver.Done(), gone
	}
	if !t.Step().Abortable {
		return driver.Done(), fmt.Errorf("%w; the step is none that may stop in the middle (it is not abortable), so it is not begun again", gone)
	}
	n := recoveries(t) + 1
	if n > maxRecoveries {
		return driver.Done(), fmt.Errorf("%w; the step was begun again %d times before, so it is not once more", gone, maxRecoveries)
	}
	t.Logger().Warn("the machine was lost and is started again", "step", t.Step().Step, "how", gone, "time", n)
	rebootNote.Edit(t, func(r *reboots) { r.Lost, r.Recovered, r.Times = stepName(t), stepName(t), n })
	commandNote.Edit(t, func(c *agentCommand) { c.ID = "" }) // it was the lost agent's
	bootAnew(t)
	present(t)
	if err := t.Checkpoint(ctx); err != nil {
		return driver.Done(), err
	}
	r, err := b.recovering(ctx, t)
	r.Lost = gone.Error()
	r.Says = fmt.Sprintf("%v. The machine is started again, and the step begins anew (%d of %d).", gone, n, maxRecoveries)
	return r, err
}

// recovering waits for the agent of a machine that was started again, and gives it the step.
func (b inBand) recovering(ctx context.Context, t *driver.Task) (driver.Result, error) {
	r, err := b.booting.again(ctx, t)
	if err != nil {
		return r, fmt.Errorf("starting the machine again, which was lost during %s: %w", t.Step().Step, err)
	}
	if r.Waiting() {
		return r, nil
	}
	rebootNote.Edit(t, func(r *reboots) { r.Lost = "" })
	return b.step(ctx, t, b.commands.give)
}

// recoveries is how often the machine was started again for the step under way.
func recoveries(t *driver.Task) int {
	if r := rebootNote.Get(t); r.Recovered == stepName(t) {
		return r.Times
	}
	return 0
}

package conductor

import (
	"context"
	"fmt"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// maintenancePause is how often a node in maintenance that waits is looked at.
const maintenancePause = 10 * time.Second

// poll asks the step that waits whether its wait is over.
func (r *run) poll(ctx context.Context) error {
	step := r.n.Plan.Current()
	if step == nil || step.StartedAt.IsZero() { // after unhold
		return r.resume(ctx)
	}
	if r.n.Maintenance {
		return r.pauseForMaintenance(ctx)
	}
	result, failure, err := r.ask(ctx, step)
	if failure != "" {
		return r.fail(ctx, failure)
	}
	if err == nil && result.Waiting() {
		return r.park(ctx, result)
	}
	if err == nil {
		if err := r.n.Apply(node.EventResume); err != nil {
			return err
		}
	}
	if done, err := r.took(ctx, step, result, err); done || err != nil {
		return err
	}
	return r.advance(ctx)
}

// ask polls the step that waits, and takes in what it says of a wait that goes on. It returns why the flow fails, if it
// does.
func (r *run) ask(ctx context.Context, step *node.PlannedStep) (result driver.Result, failure string, err error) {
	r.captureSerial() // also when another process did so until now
	if failure = r.panicked(ctx); failure != "" {
		return result, failure, nil
	}
	code, err := r.code(step)
	if err != nil {
		return result, err.Error(), nil
	}
	r.asked = node.Now()
	goOn := code.Poll
	if r.n.Plan.Awaits.RunsAgain() {
		goOn = code.Run
	}
	result, err = r.call(ctx, step, goOn)
	if leaseLost(ctx) {
		return result, "", node.ErrLeaseLost
	}
	if err == nil && result.Waiting() {
		failure = r.waitOn(ctx, step, result)
	}
	return result, failure, err
}

func (r *run) resume(ctx context.Context) error {
	if err := r.n.Apply(node.EventResume); err != nil {
		return err
	}
	r.stopWaiting()
	return r.advance(ctx)
}

// anyCall ends a wait at the machine's first call: a heartbeat or an inspection report.
func anyCall(_ context.Context, t *driver.Task) (driver.Result, error) {
	called := t.Node.Agent.LastHeartbeat.After(t.Step().StartedAt)
	if _, reported := driver.Reported.Of(t.Node.Plan); called || reported {
		return driver.Done(), nil
	}
	return driver.Result{WaitFor: t.Node.Plan.Await()}, nil
}

// wait parks a running step: the node waits in the store, not in this process.
func (r *run) wait(ctx context.Context, step *node.PlannedStep, result driver.Result) (bool, error) {
	r.setWait(result)
	r.recordLoss(ctx, result.Lost)
	r.sayWhileWaiting(ctx, step, result)
	if _, ok := r.n.State.Next(node.EventWait); !ok {
		return r.waitHere(ctx, step)
	}
	if err := r.n.Apply(node.EventWait); err != nil {
		return true, err
	}
	r.log.Info("step waits", "flow", r.n.Plan.Flow, "step", name(step), "for", result.WaitFor.Text, "until", r.n.Plan.Deadline)
	return true, r.park(ctx, result)
}

// waitOn goes on waiting after a poll. It returns why that has no sense any more, when the deadline has passed for example.
func (r *run) waitOn(ctx context.Context, step *node.PlannedStep, result driver.Result) (failure string) {
	if failure = r.takeSteps(result.Steps); failure != "" {
		return failure
	}
	r.setWait(result)
	r.sayWhileWaiting(ctx, step, result)
	r.recordLoss(ctx, result.Lost)
	r.recordSilence(ctx, result.Silent, result.GivesUp)
	r.followLife(ctx, step, result)
	if !node.Now().Before(r.n.Plan.Deadline) {
		return r.whyTimedOut(ctx)
	}
	return r.stalled(ctx)
}

// sayWhileWaiting tells people what happened to a step that goes on waiting.
func (r *run) sayWhileWaiting(ctx context.Context, step *node.PlannedStep, result driver.Result) {
	if result.Says != "" {
		r.note(ctx, infoSeverity, fmt.Sprintf("Step %s: %s", name(step), result.Says))
	}
}

func (r *run) setWait(result driver.Result) {
	p, now := r.n.Plan, node.Now()
	if p.Awaits.RunsAgain() && !result.WaitFor.For.RunsAgain() { // the step has gone on
		p.WaitingSince, p.Deadline = time.Time{}, time.Time{}
	}
	if p.WaitingSince.IsZero() || result.WaitFor.For.Boots() && !p.Awaits.Boots() { // a step may boot the machine anew
		p.WaitingSince = now
	}
	p.Awaits, p.WaitingFor = result.WaitFor.For, result.WaitFor.Text
	switch {
	case result.Within > 0:
		p.Deadline = now.Add(result.Within)
	case p.Deadline.IsZero():
		p.Deadline = p.WaitingSince.Add(r.flow.timeout(&r.c.cfg))
	}
	p.PollAt = time.Time{}
	switch {
	case result.PollEvery > 0:
		p.PollAt = now.Add(result.PollEvery)
	case r.c.cfg.watched(result.WaitFor):
		p.PollAt = now.Add(watchEvery)
	}
}

// followLife moves the deadline on for a step that shows signs of life, in time: one question without an answer
// must not end hours of work. A step that tells its progress lives by that, whatever its agent's heart does.
func (r *run) followLife(ctx context.Context, step *node.PlannedStep, result driver.Result) {
	p := r.n.Plan
	if result.Alive == 0 || node.Until(p.Deadline) > result.Alive/2 {
		return
	}
	sign := r.n.Agent.LastHeartbeat
	progress, err := r.c.notes.Progress(ctx, r.n.UUID)
	switch {
	case err != nil:
		r.log.Warn("progress not read; the deadline follows the heartbeats", "error", err)
	case progress != nil && progress.Step == step.Step && !progress.At.Before(step.StartedAt):
		sign = progress.At
	}
	if later := sign.Add(result.Alive); later.After(p.Deadline) {
		p.Deadline = later
	}
}

// park releases a node that waits. The work ticker finds polls that are due; those that come
// sooner than it looks get a timer.
func (r *run) park(ctx context.Context, result driver.Result) error {
	if err := r.c.release(ctx, r.n); err != nil {
		return err
	}
	if result.PollEvery > 0 && result.PollEvery < 2*r.c.cfg.WorkInterval {
		r.c.wakeIn(r.n.UUID, result.PollEvery)
	}
	return nil
}

// waitHere polls under the lease, for flows that have no wait state.
func (r *run) waitHere(ctx context.Context, step *node.PlannedStep) (bool, error) {
	for {
		next := r.n.Plan.PollAt
		if next.IsZero() {
			next = node.Now().Add(r.c.cfg.WorkInterval)
		}
		if next.After(r.n.Plan.Deadline) {
			next = r.n.Plan.Deadline
		}
		select {
		case <-time.After(max(node.Until(next), time.Millisecond)):
		case <-ctx.Done():
			r.stopWaiting()
			return r.took(ctx, step, driver.Done(), ctx.Err())
		}
		result, failure, err := r.ask(ctx, step)
		if failure != "" {
			return true, r.fail(ctx, failure)
		}
		if err != nil || !result.Waiting() {
			return r.took(ctx, step, result, err)
		}
	}
}

func (r *run) stopWaiting() {
	p := r.n.Plan
	p.WaitingSince, p.Deadline, p.PollAt, p.Awaits, p.WaitingFor = time.Time{}, time.Time{}, time.Time{}, "", ""
}

// pauseForMaintenance leaves a waiting node as it is, and no deadline passes, until maintenance
// ends: somebody is looking at the machine.
func (r *run) pauseForMaintenance(ctx context.Context) error {
	p, now := r.n.Plan, node.Now()
	if p.Quiet.Paused != p.Index+1 {
		p.Quiet.Paused = p.Index + 1
		why := ""
		if r.n.Fault != node.NoFault {
			why = fmt.Sprintf(" (%s)", r.n.Fault)
		}
		r.note(ctx, infoSeverity, fmt.Sprintf("The node is in maintenance%s: %s waits until that is unset, however long it takes.",
			why, r.flow.noun))
	}
	if !p.PollAt.IsZero() {
		p.PollAt = now.Add(maintenancePause)
	}
	if p.Awaits.Boots() {
		p.WaitingSince = now // what was not seen of the machine meanwhile says nothing about it
	}
	if left := p.Deadline.Sub(now); left < 6*maintenancePause {
		p.Deadline = now.Add(6 * maintenancePause)
	}
	return r.c.release(ctx, r.n)
}

// hold parks the node until somebody sends unhold.
func (r *run) hold(ctx context.Context) error {
	r.stopWaiting()
	r.n.Plan.Steps[r.n.Plan.Index].EndedAt = node.Now()
	r.n.Plan.Index++
	if err := r.n.Apply(node.EventHold); err != nil {
		return err
	}
	r.note(ctx, infoSeverity, fmt.Sprintf("The node is now in state %q until unhold.", r.n.State))
	return r.c.release(ctx, r.n)
}

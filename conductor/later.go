package conductor

import (
	"context"
	"errors"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// later makes of a step that cannot go on yet (driver.NotYet) one that waits and is run again, until its time or that of the
// flow has passed: then it has failed.
func (r *run) later(result driver.Result, err error) (driver.Result, error) {
	notYet, ok := errors.AsType[*driver.NotYet](err)
	if !ok {
		return result, err
	}
	p, now := r.n.Plan, node.Now()
	if !p.Awaits.RunsAgain() { // another wait of the step, or none, was before
		p.WaitingSince, p.Deadline = now, time.Time{}
	}
	end := p.WaitingSince.Add(r.flow.timeout(&r.c.cfg))
	if p.Awaits == notYet.Await.For && !p.Deadline.IsZero() {
		end = p.Deadline
	}
	if !now.Before(end) {
		return result, err
	}
	result = driver.Result{WaitFor: notYet.Await, PollEvery: notYet.Every}
	if p.Awaits != notYet.Await.For {
		result.Within = end.Sub(now)
		if notYet.Within > 0 {
			result.Within = min(result.Within, notYet.Within)
		}
	}
	return result, nil
}

// patiently calls do until it no longer says that it cannot go on yet, or ctx ends.
func patiently(ctx context.Context, do func() error) error {
	for {
		err := do()
		notYet, ok := errors.AsType[*driver.NotYet](err)
		if !ok {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(max(notYet.Every, 100*time.Millisecond)):
		}
	}
}

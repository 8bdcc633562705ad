package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// runner carries a plan as the conductor does, and dies where a test wants it to: what a call
// changed is then lost, but for what it saved itself and did to the world.
type runner struct {
	*world
	steps []driver.Step          // nil: the world's deploy interface's
	dies  func(call string) bool // asked after each call ("write_image run"); nil: never
}

var errStuck = errors.New("the flow does not end")

// carry runs the plan to its end.
func (r *runner) carry() error {
	for range 200 {
		step := r.stored.Plan.Current()
		if step == nil {
			return nil
		}
		if step.StartedAt.IsZero() {
			step.StartedAt = node.Now()
		}
		if err := r.once(step); err != nil {
			return fmt.Errorf("%s: %w", step.Step, err)
		}
		r.machineActs()
	}
	return errStuck
}

// once calls the step under way once, as Run or as Poll.
func (r *runner) once(step *node.PlannedStep) error {
	t := r.task()
	run, poll := r.code(step)
	call, name := run, step.Step+" run"
	if t.Node.Plan.Waiting() {
		call, name = poll, step.Step+" poll"
	}
	result, err := call(context.Background(), t)
	if r.dies != nil && r.dies(name) {
		return nil
	}
	if err != nil {
		return err
	}
	p := t.Node.Plan
	if len(result.Steps) > 0 && !p.InBand {
		p.InBand = true
		for _, s := range result.Steps {
			if s.Priority > 0 {
				p.Steps = append(p.Steps, s)
			}
		}
		sortAfter(p)
	}
	if result.Waiting() {
		if p.WaitingSince.IsZero() {
			if result.Within == 0 {
				return fmt.Errorf("%s waits without a deadline", name)
			}
			p.WaitingSince = node.Now()
		}
		p.Awaits, p.WaitingFor = result.WaitFor.For, result.WaitFor.Text
	} else {
		*p = node.Plan{Flow: p.Flow, Steps: p.Steps, Index: p.Index + 1, StartedAt: p.StartedAt, Memo: p.Memo, InBand: p.InBand, Manual: p.Manual,
			NoRamdisk: p.NoRamdisk}
	}
	r.keep(t.Node)
	return nil
}

func sortAfter(p *node.Plan) {
	rest := p.Steps[p.Index+1:]
	for i := range rest {
		for j := i; j > 0 && rest[j].Priority > rest[j-1].Priority; j-- {
			rest[j], rest[j-1] = rest[j-1], rest[j]
		}
	}
}

type call = func(context.Context, *driver.Task) (driver.Result, error)

func (r *runner) code(step *node.PlannedStep) (run, poll call) {
	if step.Agent {
		return r.direct.RunStep, r.direct.PollStep
	}
	steps := r.steps
	if steps == nil {
		steps = r.direct.Steps()
	}
	for _, s := range steps {
		if s.Name == step.Step {
			return s.Run, s.Poll
		}
	}
	r.t.Fatalf("no step %s", step.Step)
	return nil, nil
}

// machineActs is the time between two calls: a machine that boots the ramdisk calls, a command
// under way ends.
func (r *runner) machineActs() {
	if r.power == node.PowerOn && r.row.URL == "" {
		r.calls()
	}
	r.agent.finish()
}

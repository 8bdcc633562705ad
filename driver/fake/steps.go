package fake

import (
	"context"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// effect is what a step does to the fake machine once its delay has passed; nil: nothing.
type effect func(ctx context.Context, t *driver.Task) error

// step makes a fake step. With a delay (fake_<step>_delay, else the interface's) it waits, so that
// wait states, deadlines and crashes can be tried without machines.
func (p part) step(name string, priority map[node.Flow]int, do effect) driver.Step {
	return driver.Step{
		Name: name, Priority: priority, Abortable: true,
		Run:  func(ctx context.Context, t *driver.Task) (driver.Result, error) { return p.run(ctx, t, name, do) },
		Poll: func(ctx context.Context, t *driver.Task) (driver.Result, error) { return p.poll(ctx, t, name, do) },
	}
}

func (p part) run(ctx context.Context, t *driver.Task, name string, do effect) (driver.Result, error) {
	if err := p.failure(t.Node, name); err != nil {
		return driver.Done(), err
	}
	d, err := p.stepDelay(t.Node, name)
	if err != nil || d == 0 {
		return p.end(ctx, t, do, err)
	}
	return p.wait(name, d), nil
}

func (p part) poll(ctx context.Context, t *driver.Task, name string, do effect) (driver.Result, error) {
	d, err := p.stepDelay(t.Node, name)
	if err != nil {
		return driver.Done(), err
	}
	if left := node.Until(t.Node.Plan.WaitingSince.Add(d)); left > 0 {
		return p.wait(name, left), nil
	}
	return p.end(ctx, t, do, nil)
}

func (p part) end(ctx context.Context, t *driver.Task, do effect, err error) (driver.Result, error) {
	if err == nil && do != nil {
		err = do(ctx, t)
	}
	return driver.Done(), err
}

func (p part) wait(name string, left time.Duration) driver.Result {
	return driver.Result{WaitFor: node.Await{For: node.Pause, Text: "the fake machine's " + name}, PollEvery: left}
}

func (p part) stepDelay(n *node.Node, name string) (time.Duration, error) {
	key := "fake_" + name + "_delay"
	if _, ok := n.DriverInfo[key]; !ok {
		key = p.delayKey()
	}
	return delay(n, key)
}

func at(flow node.Flow, priority int) map[node.Flow]int { return map[node.Flow]int{flow: priority} }

func power(target node.PowerState) effect {
	return func(ctx context.Context, t *driver.Task) error { return t.SetPower(ctx, target) }
}

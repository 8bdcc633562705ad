package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

var untilOff = node.Await{For: node.SelfOff, Text: "the machine to switch itself off"}

// shutdown is the step tear_down_agent.
type shutdown struct {
	client Client
	wait   time.Duration // from power_off to a hard off
	every  time.Duration // how often the BMC is asked meanwhile
}

func (d *Direct) shutdown() shutdown {
	return shutdown{client: d.Client, wait: orElse(d.PowerOff, DefaultPowerOffWait), every: orElse(d.PowerPoll, DefaultPowerPoll)}
}

// run switches the machine off, so that the instance starts from cold. The agent is asked
// to, as it flushes what it wrote; a machine that stays on is switched off by its BMC.
func (s shutdown) run(ctx context.Context, t *driver.Task) (driver.Result, error) {
	if kexecNote.Get(t).Stage == kexecJumped {
		return driver.Done(), nil // there is no agent any more
	}
	if !t.MaySwitchOff() {
		return driver.Done(), s.sync(ctx, t)
	}
	if off, err := isOff(ctx, t); err != nil || off {
		return driver.Done(), forget(ctx, t, err)
	}
	if forced(t.Node) {
		if err := s.sync(ctx, t); err != nil {
			return driver.Done(), err
		}
		return driver.Done(), hardOff(ctx, t)
	}
	agent, err := s.client.open(t.Node.Agent)
	if err == nil {
		err = agent.powerOff(ctx)
	}
	if err != nil {
		t.Logger().Warn("the agent does not switch its machine off; the BMC will", "error", err)
		return driver.Done(), hardOff(ctx, t)
	}
	// The deadline is never reached: the last poll switches off.
	return driver.Result{WaitFor: untilOff, Within: 10 * s.wait, PollEvery: s.every}, nil
}

// powerOff asks for standby.power_off. An agent that goes down before it answers has done it.
func (s *session) powerOff(ctx context.Context) error {
	s.Attempts = 1
	_, err := s.start(ctx, "standby.power_off", nil, "")
	if isUnreachable(err) && ctx.Err() == nil {
		return nil
	}
	return err
}

// poll looks whether the machine is off by now.
func (s shutdown) poll(ctx context.Context, t *driver.Task) (driver.Result, error) {
	off, err := isOff(ctx, t)
	if off {
		return driver.Done(), forget(ctx, t, nil)
	}
	if waited := node.Now().Sub(t.Node.Plan.WaitingSince); waited < s.wait {
		return driver.Result{WaitFor: untilOff, PollEvery: s.every}, nil
	}
	t.Logger().Warn("the machine did not switch itself off in time; the BMC does", "error", err)
	return driver.Done(), hardOff(ctx, t)
}

func isOff(ctx context.Context, t *driver.Task) (bool, error) {
	state, err := t.Hardware.Power.PowerState(ctx, t)
	if err != nil {
		return false, fmt.Errorf("asking whether the machine is off: %w", err)
	}
	t.Node.Power = state
	return state == node.PowerOff, nil
}

func hardOff(ctx context.Context, t *driver.Task) error {
	if err := t.SetPower(ctx, node.PowerOff); err != nil {
		return fmt.Errorf("switching the machine off: %w", err)
	}
	return forget(ctx, t, nil)
}

// forget forgets the agent of a machine that is off.
func forget(ctx context.Context, t *driver.Task, err error) error {
	if err != nil {
		return err
	}
	if err := t.DropAgent(ctx); err != nil {
		return fmt.Errorf("forgetting the agent: %w", err)
	}
	return nil
}

// sync has the agent flush what it wrote, before the power goes without it.
func (s shutdown) sync(ctx context.Context, t *driver.Task) error {
	agent, err := s.client.open(t.Node.Agent)
	if err != nil {
		return err
	}
	if err := agent.ask(ctx, "standby.sync", nil, nil); err != nil {
		return fmt.Errorf("flushing what was written: %w", err)
	}
	return nil
}

// forced reports driver_info.deploy_forces_oob_reboot.
func forced(n *node.Node) bool {
	yes, ok := driver.Boolean(n.DriverInfo["deploy_forces_oob_reboot"])
	return ok && yes
}

func switchToTenantNetwork(ctx context.Context, t *driver.Task) (driver.Result, error) {
	if err := t.Hardware.Network.Connect(ctx, t, driver.TenantNetwork); err != nil {
		return driver.Done(), fmt.Errorf("connecting the machine to the tenant network: %w", err)
	}
	return driver.Done(), nil
}

// bootInstance starts the machine from its disk.
func bootInstance(ctx context.Context, t *driver.Task) (driver.Result, error) {
	if runs, err := bootedByKexec(ctx, t); err != nil || runs {
		return driver.Done(), err
	}
	return driver.Done(), startInstance(ctx, t)
}

// startInstance has the machine boot what it was prepared for.
func startInstance(ctx context.Context, t *driver.Task) error {
	start := func() error { return t.SetPower(ctx, node.PowerOn) }
	if !driver.CanSet(t.Hardware.Power, node.PowerOn) {
		start = func() error { return rebootByAgent(ctx, t) }
	} else if !t.MaySwitchOff() {
		start = func() error { return t.SetPower(ctx, node.Rebooting) }
	}
	if err := start(); err != nil {
		return fmt.Errorf("starting the instance: %w", err)
	}
	return nil
}

// rebootByAgent has the agent reboot its machine, and forgets it. One that was asked by a process that died,
// and is silent now, has done it.
func rebootByAgent(ctx context.Context, t *driver.Task) error {
	asked := rebootNote.Get(t).ByAgent == stepName(t)
	rebootNote.Edit(t, func(r *reboots) { r.ByAgent = stepName(t) })
	if err := t.Checkpoint(ctx); err != nil {
		return err
	}
	if err := t.SetPower(ctx, node.Rebooting); err != nil && !(asked && isGone(err)) {
		return err
	}
	t.Node.Power = node.PowerOn
	if err := t.DropAgent(ctx); err != nil {
		return fmt.Errorf("forgetting the agent: %w", err)
	}
	return nil
}

// adopt takes over a machine that runs its instance already: later boots stay with its disk.
func adopt(ctx context.Context, t *driver.Task) (driver.Result, error) {
	return driver.Done(), prepareDisk(ctx, t)
}

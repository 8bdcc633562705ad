package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// untilJumped is what the installed system's kernel is waited for with.
var untilJumped = node.Await{For: node.Takeover, Text: "the installed system's kernel to take over"}

// kexecStage is how far kexec_instance is; "": the kernel is being loaded.
type kexecStage string

const (
	kexecJumping kexecStage = "jumping"
	kexecJumped  kexecStage = "jumped"
	kexecFailed  kexecStage = "failed"

	// A machine that still answers after kexecWait did not jump; one that is silent before kexecQuiet
	// may only be slow.
	kexecWait  = 30 * time.Second
	kexecQuiet = 4 * time.Second
	// An image's boot loader configuration that keeps the agent busy for longer is left to the boot loader.
	kexecLoadTime = 5 * time.Minute
)

// kexec is the step kexec_instance.
type kexec struct {
	commands commands
	every    time.Duration // how often the agent is looked for
}

func (d *Direct) kexec() kexec {
	return kexec{commands: d.commands(), every: orElse(d.PowerPoll, DefaultPowerPoll)}
}

// run has the agent load the installed system's kernel and start it, without a pass
// through the firmware. Later boots are settled before: boot device and record are the disk's. What
// goes wrong is written down and left to the ordinary reboot.
func (k kexec) run(ctx context.Context, t *driver.Task) (driver.Result, error) {
	if err := kexecInOrder(t); err != nil {
		return driver.Done(), err
	}
	if kexecNote.Get(t).Stage != "" {
		return k.poll(ctx, t)
	}
	r, c, err := k.commands.give(ctx, t, k.work(t))
	return k.loaded(ctx, t, r, c, err)
}

// kexecInOrder refuses a priority at which the disk is not ready, or the machine already off.
func kexecInOrder(t *driver.Task) error {
	p := t.Node.Plan
	at := func(name string) int {
		return slices.IndexFunc(p.Steps, func(s node.PlannedStep) bool { return s.Interface == node.Deploy && s.Step == name })
	}
	prepared, down := at("prepare_instance_boot"), at("tear_down_agent")
	if prepared < 0 || prepared > p.Index || down >= 0 && down < p.Index {
		return node.Errorf(node.Invalid, "The step deploy.kexec_instance must come after prepare_instance_boot and before tear_down_agent: ask "+
			"for it with a priority from 41 to 59.")
	}
	return nil
}

func (k kexec) poll(ctx context.Context, t *driver.Task) (driver.Result, error) {
	switch kexecNote.Get(t).Stage {
	case kexecJumped, kexecFailed:
		return driver.Done(), nil
	case kexecJumping:
		return k.jumped(ctx, t)
	}
	if p := t.Node.Plan; p.Waiting() && node.Now().Sub(p.WaitingSince) > kexecLoadTime {
		return k.giveUp(ctx, t, fmt.Errorf("loading the kernel took longer than %s", kexecLoadTime))
	}
	r, c, err := k.commands.look(ctx, t, k.work(t))
	return k.loaded(ctx, t, r, c, err)
}

func (k kexec) work(t *driver.Task) work {
	return work{
		name: "standby.load_instance_kernel", what: "load_instance_kernel", within: k.commands.within,
		params: func(context.Context) (map[string]any, error) {
			return map[string]any{"target_boot_mode": driver.InstanceOf(t.Node).BootMode}, nil
		},
	}
}

// loaded sends the machine into the kernel once it is loaded.
func (k kexec) loaded(ctx context.Context, t *driver.Task, r driver.Result, c *wire.CommandResult,
	err error) (driver.Result, error) {
	if err != nil {
		return k.giveUp(ctx, t, err)
	}
	if c == nil {
		return r, nil
	}
	var said struct{ Result string }
	if json.Unmarshal(c.Result, &said) == nil {
		driver.KexecSays.Set(t, "It was started by kexec, without its firmware ("+said.Result+").")
	}
	kexecNote.Set(t, kexecStart{Stage: kexecJumping, At: node.Now()})
	if err := t.Checkpoint(ctx); err != nil {
		return driver.Done(), err
	}
	s, err := k.commands.client.open(t.Node.Agent)
	if err == nil {
		s.Attempts = 1
		_, err = s.start(ctx, "standby.kexec", nil, "")
	}
	if err != nil && !isUnreachable(err) { // one that is not reached may have jumped before it answered
		return k.giveUp(ctx, t, err)
	}
	if err == nil {
		kexecNote.Edit(t, func(note *kexecStart) { note.Told = true })
	}
	return driver.Result{WaitFor: untilJumped, Within: 10 * kexecWait, PollEvery: k.every}, nil
}

// jumped looks whether the agent has gone: its machine runs the instance then.
func (k kexec) jumped(ctx context.Context, t *driver.Task) (driver.Result, error) {
	waiting := driver.Result{WaitFor: untilJumped, Within: 10 * kexecWait, PollEvery: k.every}
	start := kexecNote.Get(t)
	if start.At.IsZero() {
		return driver.Done(), errors.New("it is not known when the machine was told to start its kernel")
	}
	if t.Node.Plan.Waiting() {
		waiting.Within = 0 // the wait goes on; its deadline stays
	}
	waited := node.Now().Sub(start.At)
	s, err := k.commands.client.open(t.Node.Agent)
	if err == nil {
		s.Attempts = 1
		_, err = s.commands(ctx)
	}
	switch {
	case ctx.Err() != nil:
		return driver.Done(), ctx.Err()
	case err == nil && waited > kexecWait:
		return k.giveUp(ctx, t, fmt.Errorf("the agent still answers %s after it was told to start the kernel", waited.Round(time.Second)))
	case err == nil, waited < kexecQuiet:
		return waiting, nil
	case t.Node.Agent.URL == "": // forgotten already, before a crash
	case !isUnreachable(err) && waited > kexecWait, waited > kexecWait && !start.Told:
		return k.giveUp(ctx, t, fmt.Errorf("it is not known whether the agent started the kernel: %w", err))
	case !isUnreachable(err), !start.Told: // only the silence of a machine that took the order is its jump
		return waiting, nil
	}
	kexecNote.Edit(t, func(note *kexecStart) { note.Stage = kexecJumped })
	t.Node.Power = node.PowerOn
	t.Logger().Info("the machine runs its instance by kexec", "error", err)
	return driver.Done(), forget(ctx, t, nil)
}

// giveUp leaves the start to the ordinary reboot, with the reason in the history.
func (k kexec) giveUp(ctx context.Context, t *driver.Task, why error) (driver.Result, error) {
	if ctx.Err() != nil {
		return driver.Done(), ctx.Err()
	}
	t.Logger().Warn("no kexec; the machine reboots through its firmware", "why", why)
	kexecNote.Edit(t, func(note *kexecStart) { note.Stage = kexecFailed })
	driver.KexecSays.Set(t, "It was started by an ordinary reboot, because kexec was not possible: "+why.Error()+".")
	return driver.Done(), nil
}

// bootedByKexec reports that the instance runs already. A machine that went off instead is one that
// has to be switched on.
func bootedByKexec(ctx context.Context, t *driver.Task) (bool, error) {
	if kexecNote.Get(t).Stage != kexecJumped {
		return false, nil
	}
	if !driver.CanSet(t.Hardware.Power, node.PowerOn) {
		return true, nil // nobody can ask, or switch it on
	}
	off, err := isOff(ctx, t)
	return !off, err
}

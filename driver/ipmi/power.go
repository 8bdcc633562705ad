package ipmi

import (
	"context"
	"errors"
	"maps"
	"strings"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// Power is the power interface "ipmitool".
type Power struct {
	addressed
	bmcs *bmcs
}

var (
	_ driver.Power   = (*Power)(nil)
	_ driver.Stepper = (*Power)(nil)
)

// Name is "ipmitool".
func (*Power) Name() string { return "ipmitool" }

// Properties lists the driver_info keys.
func (*Power) Properties() map[string]string { return maps.Clone(properties) }

// Validate checks driver_info.
func (*Power) Validate(_ context.Context, t *driver.Task) error {
	_, err := parse(t.Node.DriverInfo)
	return err
}

// Steps has one step, for the verify flow: reading the power state proves address, user, password,
// cipher suite and privilege at once.
func (p *Power) Steps() []driver.Step {
	return []driver.Step{{Name: "verify", Frame: true, Priority: map[node.Flow]int{node.FlowVerify: 100}, Run: p.verify}}
}

func (p *Power) verify(ctx context.Context, t *driver.Task) (driver.Result, error) {
	state, err := p.PowerState(ctx, t)
	if err != nil {
		return driver.Done(), err
	}
	t.Node.Power = state
	return driver.Result{Says: ignored(t.Node.DriverInfo)}, nil
}

// ignored is what people are told once, when the node is verified, of keys that do nothing here.
func ignored(info node.Document) string {
	keys := unused(info)
	if len(keys) == 0 {
		return ""
	}
	return "driver_info holds keys that this hardware type does not read; they are ignored: " + strings.Join(keys, ", ") + "."
}

// PowerState asks the BMC; it takes OperationTimeout at most.
func (p *Power) PowerState(ctx context.Context, t *driver.Task) (node.PowerState, error) {
	c, err := parse(t.Node.DriverInfo)
	if err != nil {
		return node.PowerUnknown, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.bmcs.options.OperationTimeout)
	defer cancel()
	var state node.PowerState
	err = p.bmcs.do(ctx, c, func(s *session) error {
		state, err = s.powerState(ctx)
		return err
	})
	return state, err
}

// SetPowerState switches the machine and waits until the BMC reports the state asked for. A reboot
// is off and on, because a BMC that does nothing cannot be told from one that resets; a node whose
// power must stay on (disable_power_off) is reset instead, and taken at the BMC's word.
func (p *Power) SetPowerState(ctx context.Context, t *driver.Task, target node.PowerState) error {
	c, err := parse(t.Node.DriverInfo)
	if err != nil {
		return err
	}
	do, ok := switches[target]
	if !ok {
		return node.Errorf(node.Invalid, "Power state %q cannot be asked for; allowed: power on, power off, rebooting, soft power "+
			"off, soft rebooting.", target)
	}
	o := p.bmcs.options
	ctx, cancel := context.WithTimeout(ctx, 2*o.OperationTimeout+o.PowerWait+o.SoftWait+o.slowest())
	defer cancel()
	return p.bmcs.do(ctx, c, func(s *session) error { return do(change{s, t}, ctx) })
}

// slowest is how much longer than usual a power change may take by the table of quirks.
func (o Options) slowest() (d time.Duration) {
	for _, r := range o.Quirks {
		if r.Does == powerWithin || r.Does == powerSettles {
			d += 2 * time.Duration(r.Value) * time.Second
		}
	}
	return d
}

// change is a power change under way.
type change struct {
	*session
	task *driver.Task
}

var switches = map[node.PowerState]func(change, context.Context) error{
	node.PowerOn:       change.on,
	node.PowerOff:      change.off,
	node.SoftPowerOff:  change.softOff,
	node.Rebooting:     change.reboot,
	node.SoftRebooting: change.softReboot,
}

// Chassis controls (spec table 28-4).
const (
	controlOff   = 0
	controlOn    = 1
	controlReset = 3
	controlNMI   = 4 // "pulse diagnostic interrupt"
	controlSoft  = 5
)

func (c change) on(ctx context.Context) error {
	state, err := c.settled(ctx, node.PowerOn)
	if err != nil || state == node.PowerOn {
		return err
	}
	if err := c.beforeStart(ctx, c.task); err != nil {
		return err
	}
	err = c.reach(ctx, node.PowerOn, controlOn, c.options.PowerWait)
	started(c.task)
	return err
}

func (c change) off(ctx context.Context) error {
	return c.reach(ctx, node.PowerOff, controlOff, c.options.PowerWait)
}

func (c change) softOff(ctx context.Context) error {
	return c.reach(ctx, node.PowerOff, controlSoft, c.options.SoftWait)
}

func (c change) reboot(ctx context.Context) error {
	if c.task.Node.DisablePowerOff {
		return c.reset(ctx)
	}
	if err := c.off(ctx); err != nil {
		return err
	}
	return c.on(ctx)
}

func (c change) softReboot(ctx context.Context) error {
	if err := c.softOff(ctx); err != nil {
		return err
	}
	return c.on(ctx)
}

func (c change) reset(ctx context.Context) error {
	state, err := c.powerState(ctx)
	if err != nil {
		return err
	}
	if state == node.PowerOff {
		return c.on(ctx)
	}
	if err := c.beforeStart(ctx, c.task); err != nil {
		return err
	}
	defer started(c.task)
	_, err = c.command(ctx, "reset the machine", netChassis, 0x02, controlReset)
	return c.require("reset the machine", err)
}

// reach does nothing when the machine is in the state, else gives the control and looks until it
// is. Hard controls are repeated now and then: some power supplies ignore one that comes right
// after another.
func (c change) reach(ctx context.Context, want node.PowerState, control byte, wait time.Duration) error {
	const repeat = 15 * time.Second
	wait = max(wait, time.Duration(c.quirks[powerWithin])*time.Second)
	state, err := c.settled(ctx, want)
	if err != nil || state == want {
		return err
	}
	start, pause := time.Now(), c.options.PollEvery
	var asked time.Time
	for {
		if asked.IsZero() || control != controlSoft && time.Since(asked) > repeat {
			if err := c.control(ctx, want, control); err != nil {
				return err
			}
			asked = time.Now()
		}
		waited := time.Since(start)
		if waited >= wait || c.pause(ctx, min(pause, wait-waited)) != nil {
			return c.notDone(ctx, want, control, time.Since(start))
		}
		pause = min(pause*3/2, 10*c.options.PollEvery)
		state, err = c.settled(ctx, want)
		switch {
		case err != nil && ctx.Err() != nil:
			return c.notDone(ctx, want, control, time.Since(start))
		case err != nil || state == want:
			return err
		}
	}
}

// control gives a chassis control. "Not supported in present state" is no answer yet: the machine
// may have got where it should go by itself, which the next look tells.
func (c change) control(ctx context.Context, want node.PowerState, control byte) error {
	what := "switch the machine: " + string(want)
	_, err := c.command(ctx, what, netChassis, 0x02, control)
	if code, _ := refusal(err); code == 0xD5 {
		return nil
	}
	return c.require(what, err)
}

func (c change) notDone(ctx context.Context, want node.PowerState, control byte, waited time.Duration) error {
	waited = waited.Round(100 * time.Millisecond)
	if errors.Is(ctx.Err(), context.Canceled) {
		return c.fail(NotDone, ctx.Err(), "gave up waiting for %q after %s", want, waited)
	}
	if control == controlSoft {
		return c.fail(NotDone, nil, "accepted a soft power off, but the machine is still on after %s; its operating system may "+
			"ignore the request", waited)
	}
	return c.fail(NotDone, nil, "accepted %q, but %s later the machine is still not in that state", want, waited)
}

// settled reads the power state, and believes the one that is wanted only when it stays for a while, where the BMC is
// known to say this and that while the power changes.
func (c change) settled(ctx context.Context, want node.PowerState) (node.PowerState, error) {
	state, err := c.look(ctx)
	for start := time.Now(); err == nil && state == want && time.Since(start) < time.Duration(c.quirks[powerSettles])*time.Second; {
		if c.pause(ctx, c.options.PollEvery) != nil {
			return state, c.fail(Slow, ctx.Err(), "gave up waiting for its power state to settle")
		}
		state, err = c.look(ctx)
	}
	return state, err
}

// look reads the power state of a machine that is switching. Some BMCs drop their sessions or go
// deaf while the power changes, so a broken session is opened again.
func (c change) look(ctx context.Context) (node.PowerState, error) {
	state, err := c.powerState(ctx)
	if r := ReasonOf(err); r != Slow && r != Unreachable || ctx.Err() != nil {
		return state, err
	}
	if err := c.reopen(ctx); err != nil {
		return node.PowerUnknown, err
	}
	return c.powerState(ctx)
}

// powerState is Get Chassis Status (spec table 28-3).
func (s *session) powerState(ctx context.Context) (node.PowerState, error) {
	const what = "tell its power state"
	data, err := s.command(ctx, what, netChassis, 0x01)
	if err != nil {
		return node.PowerUnknown, s.require(what, err)
	}
	switch {
	case len(data) < 1:
		return node.PowerUnknown, s.fail(Refused, nil, "sent a chassis status without a power state")
	case data[0]&1 != 0:
		return node.PowerOn, nil
	}
	return node.PowerOff, nil
}

package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// firstCall is what a booting ramdisk is waited for with.
var firstCall = node.Await{For: node.FirstCall, Text: "the agent's first heartbeat"}

// booting boots the ramdisk of a flow, and waits for its agent and the steps that it offers.
type booting struct {
	commands commands
	offers   offers
	apiURL   string
	within   time.Duration // from power on to the agent's first call
}

func (d *Direct) booting() booting {
	return booting{commands: d.commands(), offers: d.offers(), apiURL: d.APIURL, within: orElse(d.BootTimeout, DefaultBootTimeout)}
}

// begin boots the ramdisk of the flow under way and waits for its agent.
func (b booting) begin(ctx context.Context, t *driver.Task) (driver.Result, error) {
	r := ramdisk{apiURL: b.apiURL}
	if known := rebootNote.Get(t); known.Step == "" && known.Lost == "" { // a step that wants a reboot gets one
		r.reuse = &b.commands.client
	}
	if wait, err := driver.UntilFile(t, r.boot(ctx, t, networkOf(t.Node.Plan.Flow)), b.within); err != nil || wait.Waiting() {
		return wait, err
	}
	if called(t) {
		result, err := b.called(ctx, t)
		if bootNote.Get(t).FastTrack {
			result.Says = "The ramdisk of an earlier flow still runs and is used on, without a reboot (fast track)."
		}
		return result, err
	}
	return b.commands.waitFor(firstCall, b.within), nil
}

// called ends the wait once the new agent has called, with the steps it offers.
func (b booting) called(ctx context.Context, t *driver.Task) (driver.Result, error) {
	if driver.AwaitsImage(t) {
		return b.begin(ctx, t)
	}
	if !called(t) {
		return b.watch(ctx, t)
	}
	steps, err := b.offers.ask(ctx, t)
	if err != nil {
		return driver.Done(), err
	}
	return driver.Result{Steps: steps}, secureAsAsked(t)
}

// again boots the ramdisk in the middle of a step, and waits for its agent.
func (b booting) again(ctx context.Context, t *driver.Task) (driver.Result, error) {
	booting := !bootNote.Get(t).Since.IsZero()
	bootNote.Edit(t, func(note *ramdiskBoot) { note.FastTrack = false })
	if !booting && driver.CanSet(t.Hardware.Power, node.PowerOn) {
		// The heartbeats of the agent that did the step must not pass for the new one's.
		if err := t.DropAgent(ctx); err != nil {
			return driver.Done(), err
		}
	}
	r, err := b.begin(ctx, t)
	if booting && t.Node.Plan.Waiting() && r.Says == "" {
		r.Within = 0 // the wait goes on; its deadline stays
	}
	return r, err
}

// watch looks at a machine that is to boot the ramdisk and has not called: one that is seen off twice has lost
// power, and is switched on again. A BMC that does not tell decides nothing, and one that was just told
// to switch on may say off for a while.
func (b booting) watch(ctx context.Context, t *driver.Task) (driver.Result, error) {
	waits := b.commands.waitFor(firstCall, 0)
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
	if node.Now().Sub(first) < orElse(b.commands.every, DefaultPoll)/2 {
		return waits, nil
	}
	seenOff(t, time.Time{})
	t.Node.Power = node.PowerOff
	n := recoveries(t) + 1
	if n > maxRecoveries {
		return driver.Done(), fmt.Errorf("the machine lost power while it booted the deploy ramdisk: its BMC says that it is off, "+
			"also after it was switched on again %d times", maxRecoveries)
	}
	rebootNote.Edit(t, func(r *reboots) { r.Recovered, r.Times = stepName(t), n })
	bootAnew(t)
	r, err := b.begin(ctx, t)
	r.Says = fmt.Sprintf("the machine lost power while it booted the deploy ramdisk. It is switched on again (%d of %d).", n, maxRecoveries)
	return r, err
}

func seenOff(t *driver.Task, at time.Time) {
	bootNote.Edit(t, func(note *ramdiskBoot) { note.SeenOff = at })
}

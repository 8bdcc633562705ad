package conductor

import (
	"context"
	"fmt"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// A machine that boots shows itself to the boot services at each phase: DHCP, boot loader, script, kernel
// and ramdisk, DHCP again by the ramdisk. When one phase is not followed by the next, waiting for the
// step's own deadline only hides the reason for half an hour.

// watchEvery is how often a booting machine is looked at whose step asks for no polls.
const watchEvery = 10 * time.Second

// loadsTooOften is how many whole ramdisks one wait may take: a machine that loads it once more panics
// and restarts, and would show signs of life for ever.
const loadsTooOften = 3

// startsPhases is how many phases the system in the ramdisk has until its first call.
const startsPhases = 3

// watched reports whether the phases of this wait have an end of their own.
func (c *Config) watched(waitedFor node.Await) bool {
	return c.BootPhaseTimeout > 0 && waitedFor.For.Boots()
}

// stalled says why the machine waited for will not call any more; "" while it may.
func (r *run) stalled(ctx context.Context) string {
	if !r.c.cfg.watched(r.n.Plan.Await()) {
		return ""
	}
	e := r.evidence(ctx)
	if reason := e.stalled(r.c.cfg.BootPhaseTimeout, r.c.cfg.FirmwareTimeout); reason != "" {
		return reason
	}
	if reason := r.switchedOff(ctx, e); reason != "" {
		return reason
	}
	r.suspect(ctx, e)
	return ""
}

const (
	offAfter = 30 * time.Second // without a sign of life the BMC is asked
	offFor   = time.Minute      // a machine that applies firmware may be off for less
	memoOff  = "conductor.off"  // since when the BMC says that the machine is off, RFC 3339
)

// switchedOff says that the machine waited for is off, although it was switched on; "" while it is not for certain.
func (r *run) switchedOff(ctx context.Context, e evidence) string {
	last := e.now.Add(-e.waited)
	for _, ev := range e.own().events {
		if ev.At.After(last) {
			last = ev.At
		}
	}
	if r.n.Power != node.PowerOn || e.quiet(last) < offAfter {
		delete(r.n.Plan.Memo, memoOff)
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, powerReadTime)
	defer cancel()
	if state, err := r.task.Hardware.Power.PowerState(ctx, r.task); err != nil || state != node.PowerOff {
		delete(r.n.Plan.Memo, memoOff)
		return ""
	}
	since, err := time.Parse(time.RFC3339Nano, r.n.Plan.Memo[memoOff])
	if err != nil {
		r.task.Remember(memoOff, e.now.Format(time.RFC3339Nano))
		return ""
	}
	if e.now.Sub(since) < offFor {
		return ""
	}
	return e.gaveUp("in which the machine was switched off", fmt.Sprintf("its BMC has said so for %s: did it lose its power, or did somebody switch it off?", spell(e.now.Sub(since))))
}

// panicked says that the kernel of the machine waited for has panicked; "" while it has not.
func (r *run) panicked(ctx context.Context) string {
	if _, heard := driver.SerialOf(r.n, r.task.Hardware, r.c.cfg.CaptureSerial); !heard {
		return ""
	}
	e := evidence{waitedFor: r.n.Plan.Await(), waited: node.Since(r.n.Plan.WaitingSince), agent: r.n.Agent, now: node.Now()}
	if step := r.n.Plan.Current(); step != nil {
		e.stepBegan = step.StartedAt
	}
	if !e.waitedFor.For.OfRamdisk() {
		return ""
	}
	e.serial = r.c.lines(ctx, r.n.UUID, node.SerialLine)
	if e.panicked() == nil {
		return ""
	}
	return fmt.Sprintf("Gave up after %s of waiting for %s: %s", spell(e.waited), e.waitedFor.Text, e.cause())
}

// stalled judges the signs of life since the wait began: what came before belongs to an earlier boot, after
// which firmware starts from the beginning. Only the machine's own signs count. In doubt it keeps silent, and the step's deadline decides.
func (e evidence) stalled(phase, firmware time.Duration) string {
	began := e.now.Add(-e.waited)
	if e.unread || !e.waitedFor.For.Boots() || e.agent.LastHeartbeat.After(began) {
		return ""
	}
	seen := e.since(began)
	signs := seen.own()
	if at := e.agent.RefusedAt; !at.IsZero() && at.After(began) && e.quiet(at) > phase { // the agent with the token would have called
		return signs.gaveUp(fmt.Sprintf("%s after an agent asked for the node that does not have its token", spell(e.now.Sub(at))), seen.cause())
	}
	if s := signs.stuckAt(phase); s != nil && !signs.loading() {
		what := "said that it cannot go on"
		if s.who == secureBoot {
			what = "refused to start something"
		}
		return signs.gaveUp(fmt.Sprintf("%s after %s %s", spell(e.now.Sub(s.first)), s.who, what), seen.cause())
	}
	if len(signs.events) == 0 {
		if firmware == 0 || e.quiet(began) <= firmware {
			return ""
		}
		return signs.gaveUp("without a sign of life from the machine", seen.cause())
	}
	if n := signs.ramdisks(); n > loadsTooOften {
		return signs.gaveUp("in which the machine loaded its ramdisk "+times(n),
			signs.withConsole("it starts over each time: does its kernel panic, or does something reset the machine?"+readConsole))
	}
	return signs.silent(phase, seen.cause)
}

// silent is the reason when the last sign of life is too old, or DHCP alone goes round in circles.
func (e evidence) silent(phase time.Duration, cause func() string) string {
	last, limit := e.patience(phase, 0)
	quiet := e.quiet(last)
	if e.loading() || limit == 0 || quiet <= limit {
		return ""
	}
	what := "the machine's last sign of life"
	if last.Before(e.events[len(e.events)-1].At) {
		what = "DHCP was answered first"
	}
	return e.gaveUp(fmt.Sprintf("%s after %s", spell(quiet), what), cause())
}

// quiet is how long nothing came since t. Only the time counts in which this process was there to hear it:
// after a restart a machine gets its time anew.
func (e evidence) quiet(t time.Time) time.Duration {
	if e.listens.After(t) {
		t = e.listens
	}
	return e.now.Sub(t)
}

func (e evidence) gaveUp(when, cause string) string {
	return fmt.Sprintf("Gave up after %s of waiting for %s, %s: %s", spell(e.waited), e.waitedFor.Text, when, cause)
}

// loading reports whether a download over HTTP has begun and not ended: the service tells of both, and a large
// ramdisk on a slow network takes longer than any phase. (TFTP tells of a long transfer now and then.)
func (e evidence) loading() bool {
	type download struct {
		mac  string
		file node.BootFile
	}
	open := map[download]bool{}
	for _, ev := range e.of("http") {
		open[download{ev.MAC, ev.File}] = ev.Kind == node.FileBegun
	}
	for _, still := range open {
		if still {
			return true
		}
	}
	return false
}

// ramdisks counts the ramdisks that were sent whole.
func (e evidence) ramdisks() (n int) {
	for _, ev := range e.of("tftp", "http") {
		if wholeRamdisk(ev) {
			n++
		}
	}
	return n
}

// ramdiskHasAddress reports whether the last that was seen is DHCP after the whole ramdisk: its system runs.
func (e evidence) ramdiskHasAddress() bool {
	files := e.of("tftp", "http")
	dhcp := e.answered(e.of("dhcp"))
	if len(files) == 0 || len(dhcp) == 0 {
		return false
	}
	end, newest := files[len(files)-1], dhcp[len(dhcp)-1]
	return wholeRamdisk(end) && newest.Who == node.AskedSystem && newest.At.After(end.At)
}

func wholeRamdisk(ev node.BootEvent) bool {
	return ev.File == node.RamdiskFile && ev.Kind == node.FileSent
}

package diagnosis

import (
	"fmt"
	"time"

	"github.com/billet-metal/billet/node"
)

// loadsTooOften is how many whole ramdisks one wait may take: a machine that loads it once more panics
// and restarts, and would show signs of life without end.
const loadsTooOften = 3

// startsPhases is how many phases the system in the ramdisk has until its first call.
const startsPhases = 3

// stalled judges the signs of life since the wait began: what came before belongs to an earlier boot, after
// which firmware starts from the beginning. Only the machine's own signs count. In doubt it
// keeps silent, and the step's deadline decides.
func (e Evidence) stalled() string {
	phase, firmware := e.BootPhaseTimeout, e.FirmwareTimeout
	began := e.waitBegan()
	if phase <= 0 || e.Unread || !e.WaitedFor.For.Boots() || e.Agent.LastHeartbeat.After(began) {
		return ""
	}
	seen := e.since(began)
	signs := seen.own()
	if at := e.Agent.RefusedAt; !at.IsZero() && at.After(began) && e.quiet(at) > phase { // the agent with the token would have called
		return signs.gaveUp(fmt.Sprintf("%s after an agent asked for the node that does not have its token", Spell(e.Now.Sub(at))), seen.cause())
	}
	if s := signs.stuckAt(phase); s != nil && !signs.loading() {
		what := "said that it cannot go on"
		if s.who == secureBoot {
			what = "refused to start something"
		}
		return signs.gaveUp(fmt.Sprintf("%s after %s %s", Spell(e.Now.Sub(s.first)), s.who, what), seen.cause())
	}
	if len(signs.Events) == 0 {
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
func (e Evidence) silent(phase time.Duration, cause func() string) string {
	last, limit := e.patience(phase, 0)
	quiet := e.quiet(last)
	if e.loading() || limit == 0 || quiet <= limit {
		return ""
	}
	what := "the machine's last sign of life"
	if last.Before(e.Events[len(e.Events)-1].At) {
		what = "DHCP was answered first"
	}
	return e.gaveUp(fmt.Sprintf("%s after %s", Spell(quiet), what), cause())
}

// patience is the last sign of life that counts, zero when there was none, and how long after it the wait for a
// booting machine fails; 0: only the step's deadline counts.
func (e Evidence) patience(phase, firmware time.Duration) (last time.Time, limit time.Duration) {
	if len(e.Events) == 0 {
		return time.Time{}, firmware
	}
	last = e.Events[len(e.Events)-1].At
	answered := e.answered(e.of("dhcp"))
	switch {
	case len(e.of("tftp", "http")) == 0 && len(answered) > 1:
		return answered[0].At, phase // DHCP alone goes round in circles
	case e.ramdiskHasAddress() && e.WaitedFor.For != node.FirstCall:
		return last, 0 // collecting an inventory takes as long as it takes
	case e.OtherDHCP != "" && e.ramdisks() > 0 && e.WaitedFor.For != node.FirstCall:
		return last, 0 // as above: that its system has an address is not seen here
	case e.ramdisks() > 0 || e.Agent.TokenGiven:
		// The system in the ramdisk starts, and shows nothing while it unpacks, loads firmware into its cards
		// and waits for its disks: failing a living machine is worse than telling late.
		return last, phase * startsPhases
	}
	return last, phase
}

func (e Evidence) gaveUp(when, cause string) string {
	return fmt.Sprintf("Gave up after %s of waiting for %s, %s: %s", Spell(e.Waited), e.WaitedFor.Text, when, cause)
}

// Panicked is why a flow ends at once whose machine is waited for: its kernel has panicked; "" while it has not.
func (e Evidence) Panicked() string {
	if !e.WaitedFor.For.OfRamdisk() || e.panicked() == nil {
		return ""
	}
	return fmt.Sprintf("Gave up after %s of waiting for %s: %s", Spell(e.Waited), e.WaitedFor.Text, e.cause())
}

// SwitchedOff is why a flow ends whose machine's BMC has said for a while that it is off.
func (e Evidence) SwitchedOff(since time.Time) string {
	return e.gaveUp("in which the machine was switched off", fmt.Sprintf(
		"its BMC has said so for %s: did it lose its power, or did somebody switch it off?", Spell(e.Now.Sub(since))))
}

// WithoutSign is how long the machine has shown no sign of life of its own in this wait.
func (e Evidence) WithoutSign() time.Duration {
	last := e.waitBegan()
	for _, ev := range e.own().Events {
		if ev.At.After(last) {
			last = ev.At
		}
	}
	return e.quiet(last)
}

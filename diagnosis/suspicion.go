package diagnosis

import (
	"fmt"
	"strings"
	"time"

	"github.com/billet-metal/billet/node"
)

// A flow fails late, because a slow machine must not be given up; the suspicion is reported early. A machine that has been quiet for
// a while is suspected: one sentence says since when, the likely cause and when the flow will fail. It is taken back
// when the machine shows itself again.

const (
	bootQuiet = 90 * time.Second // without a sign of life a booting machine is suspected; boot_phase_timeout when that is less

	// WorkQuiet is the same of one whose agent works: it is asked every few seconds.
	WorkQuiet = 40 * time.Second

	troubleStands = 20 * time.Second // what holds a machine up may pass by itself: firmware asks a few times
)

// suspicion is what a quiet machine is suspected of; without a phase when it is not.
func (e Evidence) suspicion() Suspicion {
	began := e.waitBegan()
	switch {
	case e.Unread || e.Failed:
		return Suspicion{}
	case !e.WaitedFor.For.Boots():
		return e.workSuspicion()
	case e.BootPhaseTimeout <= 0 || e.Agent.LastHeartbeat.After(began):
		return Suspicion{}
	}
	signs := e.since(began)
	switch t := signs.trouble(); {
	case signs.loading():
		return Suspicion{}
	case signs.ramdisks() > 1: // whatever it shows meanwhile, it does not get on
		return signs.startsOver()
	case t != nil && e.Now.Sub(signs.troubledSince(t)) >= troubleStands:
		return signs.troubled(t)
	}
	return signs.bootSuspicion()
}

// startsOver is suspicion of a machine that has loaded its ramdisk more than once in this wait.
func (e Evidence) startsOver() Suspicion {
	began := e.waitBegan()
	return Suspicion{Since: began, Phase: "starting over", Text: fmt.Sprintf(
		"The machine has loaded its ramdisk %s since %s. Most likely: it starts over each time: %s This ends when it has loaded it %d times.",
		times(e.ramdisks()), began.UTC().Format("15:04:05 UTC"),
		e.withConsole("does its kernel panic, or does something reset the machine?"+readConsole), loadsTooOften+1)}
}

// troubled is suspicion of a machine that met something which stands in its way.
func (e Evidence) troubled(t *node.BootEvent) Suspicion {
	since := e.troubledSince(t)
	return Suspicion{Since: since, Phase: string(t.Kind), Text: fmt.Sprintf("The machine has not got on since %s: %s%s",
		since.UTC().Format("15:04:05 UTC"), e.withConsole(e.explain(t)), ends(e.bootFails()))}
}

// bootSuspicion is suspicion of a booting machine that shows nothing. One that was suspected before this process began to
// hear it still is, until it shows itself.
func (e Evidence) bootSuspicion() Suspicion {
	s := e.lastSign()
	quietSince, seen := s.Since, s.Phase
	if s.Since.IsZero() {
		quietSince, seen = e.waitBegan(), "nothing seen yet"
	}
	stands := e.Known.Phase == s.Phase && e.Known.Since.Equal(s.Since)
	if !stands && e.quiet(quietSince) < min(e.BootPhaseTimeout, bootQuiet) {
		return Suspicion{}
	}
	s.Text = e.quietText(quietSince, seen, e.cause(), e.bootFails())
	return s
}

// lastSign is how far a booting machine has come, and when it was seen last.
func (e Evidence) lastSign() Suspicion {
	last, _ := e.patience(e.BootPhaseTimeout, e.FirmwareTimeout)
	s := Suspicion{Since: last, Phase: "firmware"}
	if seen := e.Phases(e.waitBegan()); len(seen) > 0 {
		s.Phase = seen[len(seen)-1].Name
	} else if len(e.Events) > 0 {
		s.Phase = "dhcp"
	}
	if given := e.Agent.TokenGivenAt; given.After(e.waitBegan()) {
		s.Phase = "lookup"
		if given.After(s.Since) {
			s.Since = given
		}
	}
	return s
}

// bootFails is when the wait for a booting machine ends if nothing comes: only its own signs put that off.
func (e Evidence) bootFails() time.Time {
	last, limit := e.own().patience(e.BootPhaseTimeout, e.FirmwareTimeout)
	return e.fails(e.Deadline, last, limit)
}

// workSuspicion is suspicion of a machine whose agent works and does not answer.
func (e Evidence) workSuspicion() Suspicion {
	quiet := e.Silence
	if quiet.Since.IsZero() {
		return Suspicion{}
	}
	last := quiet.Since
	if e.Agent.LastHeartbeat.After(last) {
		last = e.Agent.LastHeartbeat
	}
	if l := e.AgentLog.Lines; len(l) > 0 && l[len(l)-1].At.After(last) {
		last = l[len(l)-1].At
	}
	s := Suspicion{Since: last, Phase: "work"}
	if !(e.Known.Phase == s.Phase && e.Known.Since.Equal(s.Since)) && e.quiet(last) < WorkQuiet {
		return Suspicion{}
	}
	cause := "it lost its power or its network, or its agent hangs (" + quiet.Why + ")."
	if e.panicked() != nil {
		cause = e.cause()
	} else if said := e.lastWords(); said != "" {
		cause += " " + said
	}
	fails := e.Deadline
	if !quiet.Until.IsZero() && quiet.Until.Before(fails) {
		fails = quiet.Until
	}
	s.Text = e.quietText(last, "the agent's last answer, call or log line", cause, fails)
	return s
}

// fails is when a wait ends that nothing comes to.
func (e Evidence) fails(deadline, last time.Time, limit time.Duration) time.Time {
	if limit == 0 {
		return deadline
	}
	if last.IsZero() {
		last = e.waitBegan()
	}
	if at := e.Now.Add(limit - e.quiet(last)); at.Before(deadline) || deadline.IsZero() {
		return at
	}
	return deadline
}

func ends(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return fmt.Sprintf(" This ends at %s if nothing comes.", at.UTC().Format("15:04:05 UTC"))
}

func (e Evidence) quietText(since time.Time, seen, cause string, fails time.Time) string {
	return fmt.Sprintf("The machine has shown nothing for %s, since %s (%s). Most likely: %s%s",
		Spell(e.Now.Sub(since)), since.UTC().Format("15:04:05 UTC"), strings.ReplaceAll(seen, "dhcp", "DHCP"), cause, ends(fails))
}

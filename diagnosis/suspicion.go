package diagnosis

import (
	"fmt"
	"strings"
	"time"
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

// suspicion is what a quiet machine is suspected of; without a phase when it is not. A machine that was suspected
// before this process began to hear it still is, until it shows itself.
func (e Evidence) suspicion() Suspicion {
	phase, firmware := e.BootPhaseTimeout, e.FirmwareTimeout
	if e.Unread || e.Failed {
		return Suspicion{}
	}
	began := e.Now.Add(-e.Waited)
	if !e.WaitedFor.For.Boots() {
		return e.workSuspicion()
	}
	if phase <= 0 || e.Agent.LastHeartbeat.After(began) {
		return Suspicion{}
	}
	signs := e.since(began)
	if signs.loading() {
		return Suspicion{}
	}
	last, limit := signs.own().patience(phase, firmware)
	seenLast, _ := signs.patience(phase, firmware)
	s := Suspicion{Since: seenLast, Phase: "firmware"}
	if seen := signs.Phases(began); len(seen) > 0 {
		s.Phase = seen[len(seen)-1].Name
	} else if len(signs.Events) > 0 {
		s.Phase = "dhcp"
	}
	if e.Agent.TokenGivenAt.After(began) {
		s.Phase = "lookup"
		if e.Agent.TokenGivenAt.After(s.Since) {
			s.Since = e.Agent.TokenGivenAt
		}
	}
	if n := signs.ramdisks(); n > 1 { // whatever it shows meanwhile, it does not get on
		return Suspicion{Since: began, Phase: "starting over", Text: fmt.Sprintf(
			"The machine has loaded its ramdisk %s since %s. Most likely: it starts over each time: %s This ends when it has loaded it %d times.",
			times(n), began.UTC().Format("15:04:05 UTC"),
			signs.withConsole("does its kernel panic, or does something reset the machine?"+readConsole), loadsTooOften+1)}
	}
	if t := signs.trouble(); t != nil && e.Now.Sub(signs.troubledSince(t)) >= troubleStands {
		return Suspicion{Since: signs.troubledSince(t), Phase: string(t.Kind), Text: fmt.Sprintf("The machine has not got on since %s: %s%s",
			signs.troubledSince(t).UTC().Format("15:04:05 UTC"), signs.withConsole(signs.explain(t)), ends(e.fails(e.Deadline, last, limit)))}
	}
	quietSince := s.Since
	if s.Since.IsZero() {
		quietSince = began
	}
	stands := e.Known.Phase == s.Phase && e.Known.Since.Equal(s.Since)
	if !stands && e.quiet(quietSince) < min(phase, bootQuiet) {
		return Suspicion{}
	}
	fails := e.fails(e.Deadline, last, limit)
	seen := s.Phase
	if s.Since.IsZero() {
		seen = "nothing seen yet"
	}
	s.Text = e.quietText(quietSince, seen, signs.cause(), fails)
	return s
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
		last = e.Now.Add(-e.Waited)
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

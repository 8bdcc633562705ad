package diagnosis

import (
	"fmt"
	"strings"
)

// SoFar says of a running flow what it does, how far the machine has come, where a step lost it, and what a quiet one is
// suspected of; quiet is that suspicion's text, "" when there is none.
func (e Evidence) SoFar(quiet string) string {
	text := fmt.Sprintf("%s has run for %s", e.Flow, Spell(e.Now.Sub(e.FlowBegan)))
	switch {
	case e.StepBegan.IsZero():
		return text + "."
	case !e.Waiting:
		return fmt.Sprintf("%s; step %s has been under way for %s.", text, e.Step, Spell(e.Now.Sub(e.StepBegan)))
	}
	text += fmt.Sprintf("; step %s has waited %s for %s", e.Step, Spell(e.Waited), e.WaitedFor.Text)
	if !e.Deadline.IsZero() {
		text += fmt.Sprintf(", and will for %s more at most", Spell(max(0, e.Deadline.Sub(e.Now))))
	}
	text += "."
	if !e.WaitedFor.For.OfRamdisk() {
		return text
	}
	if phases := e.Phases(e.StepBegan); len(phases) > 0 {
		last := phases[len(phases)-1]
		text += fmt.Sprintf(" It has come as far as %s (%s: %s).", strings.ReplaceAll(last.Name, "dhcp", "DHCP"), e.ago(last.Last), last.What)
	} else if e.WaitedFor.For.Boots() && len(e.Events) == 0 {
		text += e.nothingYet()
	}
	if e.Lost != "" {
		text += " " + e.Lost
	}
	if quiet == "" {
		quiet = e.lastWords()
	}
	if quiet != "" {
		text += " " + quiet
	}
	return text
}

// nothingYet says who has seen nothing of the machine.
func (e Evidence) nothingYet() string {
	if e.OtherDHCP == "" {
		return " DHCP, TFTP and HTTP have seen nothing of it yet."
	}
	return fmt.Sprintf(" TFTP and HTTP have seen nothing of it yet; DHCP is served by %s%s.", e.OtherDHCP, e.networkNow())
}

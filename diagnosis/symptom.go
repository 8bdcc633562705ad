package diagnosis

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/billet-metal/billet/node"
)

// symptom is a line of a machine's console that tells why it does not come up.
type symptom struct {
	who   string // "iPXE"
	fatal bool   // the machine will not go on from here by itself
	text  string
	first time.Time
	last  time.Time
	times int
}

// symptomPatterns are what firmware, boot loaders, kernels and agents say when they cannot go on.
var symptomPatterns = []struct {
	who   string
	fatal bool
	find  *regexp.Regexp
}{
	{"the kernel", true, regexp.MustCompile(`Kernel panic - not syncing`)},
	{secureBoot, false, regexp.MustCompile(`(?i)failed to (?:load|start) Boot[0-9A-F]{4}\b.*(?:Access Denied|Security Violation)|` +
		`Verification failed: \(?0x1A|secure ?boot (?:policy|violation)|\bbad shim signature|: Security Violation$`)},
	{"iPXE", false, regexp.MustCompile(`ipxe\.org/(?:err/)?[0-9a-f]{6,8}\b`)},
	{"the firmware", false, regexp.MustCompile(`(?i)PXE-[EM][0-9A-F]{2}\b|no bootable (?:device|option)|` +
		`no boot(?:able)? device (?:available|found)|reboot and select proper boot device|operating system not found|nothing to boot`)},
	{"GRUB", false, regexp.MustCompile(`^grub rescue>|^grub>|` +
		`^error: .*(?:no such (?:device|partition)|unknown filesystem|file .* not found)`)},
	{"SYSLINUX", false, regexp.MustCompile(`(?i)^Failed to load (?:ldlinux|libcom32|COM32)|Unable to locate configuration file`)},
	{"the agent", false, regexp.MustCompile(`\bmsg=lookup error=|msg="the agent cannot go on|` +
		`\bmsg="(?:heartbeat not taken|inspection data not taken|fetching the token|telling the service pass_deploy_info)" error=`)},
}

// secureBoot is who says that something was not started because it is not signed.
const secureBoot = "Secure Boot"

// symptoms finds what a machine's lines tell, each kind once, in the order in which they were heard first.
func symptoms(lines []node.Line, since time.Time) []symptom {
	var found []symptom
	for _, l := range lines {
		if l.At.Before(since) {
			continue
		}
		for _, a := range symptomPatterns {
			if !a.find.MatchString(l.Text) {
				continue
			}
			found = note(found, symptom{who: a.who, fatal: a.fatal, text: bare(l.Text), first: l.At, last: l.At, times: 1})
			break
		}
	}
	return found
}

func note(found []symptom, s symptom) []symptom {
	for i := range found {
		if found[i].who == s.who {
			if s.fatal { // what comes after a panic is its consequence
				return found
			}
			found[i].text, found[i].last, found[i].times = s.text, s.last, found[i].times+1
			return found
		}
	}
	return append(found, s)
}

// ownTime is the time that kernels and agents write in front of a line.
var ownTime = regexp.MustCompile(`^(?:<\d+>)?(?:\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? |time=\S+ )`)

// bare is a line without its own time, short enough for a sentence.
func bare(text string) string {
	const most = 200
	text = strings.TrimSpace(ownTime.ReplaceAllString(text, ""))
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "…"
	}
	return text
}

func (s symptom) says(now time.Time) string {
	who := s.who
	if who == secureBoot { // firmware, shim and GRUB all speak for it
		who = "the machine"
	}
	return fmt.Sprintf("%s said %s ago: %q", who, Spell(now.Sub(s.last)), s.text)
}

// panicked returns the panic of the machine's kernel that ends the wait; nil when there was none, or the agent has
// called since.
func (e Evidence) panicked() *symptom {
	began := e.StepBegan
	if e.WaitedFor.For.Boots() { // what is heard before the machine was switched on is an earlier system's
		began = e.waitBegan()
	}
	if e.Agent.LastHeartbeat.After(began) {
		began = e.Agent.LastHeartbeat
	}
	for _, s := range symptoms(e.Serial.Lines, began) {
		if s.fatal {
			return &s
		}
	}
	return nil
}

// stuckAt returns the symptom after which the machine has come no further; nil when there is none, or the machine
// may still go on.
func (e Evidence) stuckAt(phase time.Duration) *symptom {
	for _, s := range symptoms(e.Serial.Lines, e.waitBegan()) {
		if s.who == "the agent" && e.Agent.TokenGiven || e.cameFurther(s.first) {
			continue
		}
		lines := e.Serial.Lines
		quiet := e.quiet(lines[len(lines)-1].At) > phase
		if e.quiet(s.first) > phase && (s.times > 1 || quiet) {
			return &s
		}
	}
	return nil
}

// refused returns what Secure Boot refused to start during the wait; nil when it refused nothing, or the machine has
// come further since.
func (e Evidence) refused() *symptom {
	for _, s := range symptoms(e.Serial.Lines, e.waitBegan()) {
		if s.who == secureBoot && !e.Agent.TokenGiven && !e.cameFurther(s.first) {
			return &s
		}
	}
	return nil
}

// cameFurther reports whether the machine showed a later phase of its boot after t than before.
func (e Evidence) cameFurther(t time.Time) bool {
	before, after := 0, 0
	for _, ev := range e.Events {
		if ev.At.After(t) {
			after = max(after, phaseOf(ev))
		} else {
			before = max(before, phaseOf(ev))
		}
	}
	return after > before
}

// Fatal reports whether the lines tell that the machine will not go on by itself.
func Fatal(lines []node.Line) bool {
	return slices.ContainsFunc(symptoms(lines, time.Time{}), func(s symptom) bool { return s.fatal })
}

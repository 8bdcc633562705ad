// Package diagnosis owns what the service makes of a machine that does not do what is waited for: how far its boot came,
// why it does not get on, what a quiet one is suspected of and when it is given up, in sentences that people read. It
// refuses to read or store anything: who asks hands in the Evidence, and stores the verdict. Kinds of events, waits and
// answers decide; the words that people read only explain, and only the console's lines are searched for what they say.
package diagnosis

import (
	"fmt"
	"time"

	"github.com/billet-metal/billet/node"
)

// Evidence is what is known of a machine in a flow, and what its wait is judged by.
type Evidence struct {
	Now     time.Time
	Listens time.Time // since when this process hears machines

	Flow      string // as a sentence begins with it: "The deploy"
	FlowBegan time.Time
	Failed    bool   // the flow has failed: nothing is suspected any more
	Step      string // under way, "deploy.write_image"
	StepBegan time.Time
	Waiting   bool // the step waits; else it works, and what follows means nothing
	WaitedFor node.Await
	Waited    time.Duration
	Deadline  time.Time // of the wait

	BootPhaseTimeout time.Duration // the longest silence between two phases of a boot; 0: boots are not watched
	FirmwareTimeout  time.Duration // the longest silence before the first; 0: only the deadline counts

	MACs      []string            // of the node's ports
	Events    []node.BootEvent    // since the step began, oldest first
	Unread    bool                // the store did not tell what the boot services saw
	OtherDHCP string              // who serves DHCP where Billet does not: "Neutron"; "": Billet serves it
	Network   *node.NetworkReport // what that one says of the machine's ports; nil: it was not asked

	Agent    node.Agent // zero when no agent called since the flow began
	Override Override   // what the BMC said of the boot device that was set
	Serial   node.MachineLines
	AgentLog node.MachineLines // both since the flow began

	Known   Suspicion    // what people were told already
	Silence node.Silence // of the working agent
	Lost    string       // where the step under way lost its machine first, for people
}

// Override is what a BMC said of its boot device before the start, after one was set.
type Override struct {
	Device string // as it was set, "pxe"
	Answer OverrideAnswer
}

// OverrideAnswer is the answer of a BMC that was asked for its boot device.
type OverrideAnswer int

// The answers.
const (
	OverrideUntold OverrideAnswer = iota // it cannot tell, or was not asked
	OverrideKept                         // it names the same device
	OverrideLost                         // it names none, or another: it forgot
)

// Suspicion is what a quiet machine is suspected of.
type Suspicion struct {
	Since time.Time // the last sign of life then; zero when there was none
	Phase string    // "" when it is not suspected, or no more
	Text  string    // for people
}

// Verdict is what the evidence of a wait says.
type Verdict struct {
	TimedOut string    // the sentence when the wait's deadline has passed: what was waited for, how long, and the likely cause
	Stalled  string    // why the machine waited for will not call any more; "" while it may
	Suspect  Suspicion // what is reported early
}

// Judge judges the wait under way. The same evidence gives the same verdict.
func Judge(e Evidence) Verdict {
	return Verdict{TimedOut: e.timedOut(), Stalled: e.stalled(), Suspect: e.suspicion()}
}

// Spell says a time as the sentences do.
func Spell(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f s", d.Seconds())
}

// waitBegan is when the step under way began to wait. What came before belongs to an earlier boot.
func (e Evidence) waitBegan() time.Time { return e.Now.Add(-e.Waited) }

func (e Evidence) ago(t time.Time) string { return Spell(e.Now.Sub(t)) + " ago" }

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

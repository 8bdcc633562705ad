package diagnosis_test

import (
	"testing"
	"time"

	"github.com/billet-metal/billet/diagnosis"
	"github.com/billet-metal/billet/node"
)

// What a running flow is doing, as `why` says it.
func TestSoFar(t *testing.T) {
	now := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	ago := func(s int) time.Time { return now.Add(-time.Duration(s) * time.Second) }
	const lost, quiet = "The machine was lost first.", "The machine has shown nothing."
	waits := diagnosis.Evidence{Now: now, Flow: "The deploy", FlowBegan: ago(90), Step: "deploy.deploy", StepBegan: ago(60),
		Waiting: true, WaitedFor: heartbeat, Waited: 50 * time.Second, Deadline: now.Add(30 * time.Second), MACs: []string{mac1}}
	const waiting = "The deploy has run for 90 s; step deploy.deploy has waited 50 s for the agent's first heartbeat, " +
		"and will for 30 s more at most."
	begun, at, pause, seen, again, open := waits, waits, waits, waits, waits, waits
	begun.StepBegan = time.Time{}
	at.Waiting = false
	pause.WaitedFor = node.Await{For: node.Pause, Text: "a moment"}
	seen.Events = []node.BootEvent{{MAC: mac1, Service: "dhcp", Kind: node.DHCPOffered, Who: node.AskedFirmware,
		What: "DISCOVER", At: ago(20)}}
	seen.Serial.Lines = []node.Line{{At: ago(9), Text: "Booting..."}}
	again.Lost = lost
	open.Deadline = time.Time{}
	const nothing = " DHCP, TFTP and HTTP have seen nothing of it yet."
	for _, tt := range []struct {
		name  string
		e     diagnosis.Evidence
		quiet string
		want  string
	}{
		{"no step yet", begun, "", "The deploy has run for 90 s."},
		{"a step works", at, "", "The deploy has run for 90 s; step deploy.deploy has been under way for 60 s."},
		{"not about the machine", pause, quiet, "The deploy has run for 90 s; step deploy.deploy has waited 50 s for a moment, " +
			"and will for 30 s more at most."},
		{"nothing seen", waits, "", waiting + nothing},
		{"without a deadline", open, "", "The deploy has run for 90 s; step deploy.deploy has waited 50 s for the agent's " +
			"first heartbeat." + nothing},
		{"seen and heard", seen, "", waiting + ` It has come as far as DHCP (20 s ago: DISCOVER). The last line on its console, ` +
			`9.0 s ago: "Booting...".`},
		{"suspected", seen, quiet, waiting + " It has come as far as DHCP (20 s ago: DISCOVER). " + quiet},
		{"lost before", again, quiet, waiting + nothing + " " + lost + " " + quiet},
	} {
		if got := tt.e.SoFar(tt.quiet); got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

package node

import (
	"os"
	"strings"
	"testing"
)

func TestTransitionTableIsComplete(t *testing.T) {
	if len(States) != 30 || len(Transitions) != 93 {
		t.Fatalf("%d states and %d transitions, the Bare Metal API has 30 and 93", len(States), len(Transitions))
	}
	known := map[State]bool{}
	for _, s := range States {
		if known[s] {
			t.Errorf("state %q listed twice", s)
		}
		known[s] = true
	}
	seen, entered, left := map[edge]bool{}, map[State]bool{Enroll: true}, map[State]bool{}
	for _, tr := range Transitions {
		if seen[edge{tr.From, tr.Event}] {
			t.Errorf("%s on %s has two targets", tr.From, tr.Event)
		}
		seen[edge{tr.From, tr.Event}] = true
		entered[tr.To], left[tr.From] = true, true
		if !known[tr.From] || !known[tr.To] {
			t.Errorf("%v uses an unknown state", tr)
		}
	}
	for _, s := range States {
		if !entered[s] {
			t.Errorf("%s cannot be reached", s)
		}
		if !left[s] {
			t.Errorf("%s cannot be left", s)
		}
	}
}

// Whatever runs can fail, and whatever waits can be resumed: nothing is stuck by construction.
func TestEveryBusyStateCanFailAndEveryWaitCanResume(t *testing.T) {
	for _, s := range States {
		switch s.Class() {
		case Busy:
			if _, ok := s.Next(EventFail); !ok {
				t.Errorf("%s cannot fail", s)
			}
			if defaultTarget[s] == "" {
				t.Errorf("%s leads nowhere", s)
			}
		case Waiting:
			for _, e := range []Event{EventFail, EventResume} {
				if _, ok := s.Next(e); !ok {
					t.Errorf("%s has no %s", s, e)
				}
			}
		}
	}
}

func TestApply(t *testing.T) {
	for _, tt := range []struct {
		from, target State
		event        Event
		to, toTarget State
	}{
		{Enroll, "", EventManage, Verifying, Manageable},
		{Verifying, Manageable, EventDone, Manageable, ""},
		{Verifying, Manageable, EventFail, Enroll, ""},
		{Manageable, "", EventProvide, Cleaning, Available},
		{Manageable, "", EventClean, Cleaning, Manageable},
		{Cleaning, Manageable, EventWait, CleanWait, Manageable},
		{CleanWait, Manageable, EventResume, Cleaning, Manageable},
		{Cleaning, Manageable, EventManage, Manageable, ""},
		{Available, "", EventDeploy, Deploying, Active},
		{Deploying, Active, EventWait, DeployWait, Active},
		{DeployWait, Active, EventFail, DeployFailed, Active},
		{DeployWait, Active, EventDelete, Deleting, Available},
		{DeployFailed, Active, EventDeploy, Deploying, Active},
		{Deleting, Available, EventClean, Cleaning, Available},
		{Active, "", EventRescue, Rescuing, Rescue},
		{ServiceFailed, Active, EventAbort, Active, ""},
	} {
		n := &Node{UUID: "u", State: tt.from, TargetState: tt.target}
		if err := n.Apply(tt.event); err != nil {
			t.Errorf("%s on %s: %v", tt.event, tt.from, err)
		}
		if n.State != tt.to || n.TargetState != tt.toTarget {
			t.Errorf("%s on %s: got %s (target %q), want %s (target %q)", tt.event, tt.from, n.State, n.TargetState, tt.to, tt.toTarget)
		}
	}
}

func TestApplyRefusesAndChangesNothing(t *testing.T) {
	n := &Node{UUID: "1be26c0b-03f2-4d2e-ae87-c02d7f33c123", State: Active}
	err := n.Apply(EventManage)
	want := `The requested action "manage" can not be performed on node "1be26c0b-03f2-4d2e-ae87-c02d7f33c123" while it is in state "active".`
	if err == nil || err.Error() != want || KindOf(err) != Invalid {
		t.Errorf("got %v, want %s", err, want)
	}
	if n.State != Active || !n.ProvisionUpdatedAt.IsZero() {
		t.Errorf("a refused event changed the node: %+v", n)
	}
}

// docs/states.md is drawn from the table; UPDATE_DOCS=1 writes it anew.
func TestStatesPageIsCurrent(t *testing.T) {
	const file = "../docs/states.md"
	want := StatesPage()
	if os.Getenv("UPDATE_DOCS") != "" {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the table says; run UPDATE_DOCS=1 go test ./node", file)
	}
	if n := strings.Count(want, "-->"); n != len(Transitions) {
		t.Errorf("the drawing has %d arrows for %d transitions", n, len(Transitions))
	}
}

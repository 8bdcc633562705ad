package node

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// fieldsMachine is the provision state machine of Ironic, written out by hand from its reference, a state a line: it does not come from
// Transitions, so that a wrong row there shows here.
const fieldsMachine = `
available: deploy=deploying manage=manageable
deploying: fail=deploy_failed wait=wait_call-back hold=deploy_hold done=active
deploy failed: rebuild=deploying deploy=deploying delete=deleting
wait call-back: hold=deploy_hold resume=deploying fail=deploy_failed abort=deploy_failed delete=deleting
deploy hold: unhold=wait_call-back abort=deploy_failed
active: rebuild=deploying delete=deleting rescue=rescuing service=servicing
deleting: fail=error clean=cleaning
cleaning: done=available fail=clean_failed wait=clean_wait hold=clean_hold manage=manageable
clean wait: fail=clean_failed abort=clean_failed hold=clean_hold resume=cleaning
clean hold: abort=clean_failed unhold=clean_wait
clean failed: manage=manageable
manageable: provide=cleaning clean=cleaning inspect=inspecting adopt=adopting
error: rebuild=deploying delete=deleting
inspecting: done=manageable fail=inspect_failed wait=inspect_wait
inspect wait: done=manageable fail=inspect_failed abort=inspect_failed resume=inspecting
inspect failed: manage=manageable inspect=inspecting
rescuing: done=rescue wait=rescue_wait fail=rescue_failed
rescue wait: resume=rescuing fail=rescue_failed abort=rescue_failed delete=deleting
rescue: rescue=rescuing delete=deleting unrescue=unrescuing
rescue failed: rescue=rescuing unrescue=unrescuing delete=deleting
unrescuing: done=active fail=unrescue_failed
unrescue failed: rescue=rescuing unrescue=unrescuing delete=deleting
enroll: manage=verifying
verifying: done=manageable fail=enroll
adopting: done=active fail=adopt_failed
adopt failed: adopt=adopting manage=manageable
servicing: done=active fail=service_failed wait=service_wait hold=service_hold
service wait: hold=service_hold resume=servicing fail=service_failed abort=service_failed delete=deleting
service hold: service=servicing unhold=service_wait fail=service_failed abort=service_failed
service failed: service=servicing rescue=rescuing wait=service_wait hold=service_hold delete=deleting abort=active
`

// parseMachine reads the lines above.
func parseMachine(t *testing.T) map[State]map[Event]State {
	t.Helper()
	machine := map[State]map[Event]State{}
	for line := range strings.Lines(strings.TrimSpace(fieldsMachine)) {
		from, rest, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok {
			t.Fatalf("no state in %q", line)
		}
		events := map[Event]State{}
		for _, edge := range strings.Fields(rest) {
			event, to, _ := strings.Cut(edge, "=")
			events[Event(event)] = State(strings.ReplaceAll(to, "_", " "))
		}
		machine[State(from)] = events
	}
	return machine
}

// The table is Ironic's machine: no transition more, none less, none elsewhere.
func TestTheTableIsTheFieldsMachine(t *testing.T) {
	machine, count := parseMachine(t), 0
	for _, s := range States {
		for _, e := range allEvents {
			want, legal := machine[s][e]
			if legal {
				count++
			}
			if got, ok := s.Next(e); ok != legal || got != want {
				t.Errorf("%s on %s: %q %v, Ironic has %q %v", e, s, got, ok, want, legal)
			}
		}
	}
	if count != 93 || len(machine) != 30 {
		t.Errorf("Ironic's machine was read as %d transitions of %d states", count, len(machine))
	}
}

// The classes of states, as Ironic's reference sorts them.
func TestTheFieldsClasses(t *testing.T) {
	want := map[StateClass]string{
		Stable:  "enroll, manageable, available, active, rescue",
		Failed:  "deploy failed, clean failed, inspect failed, rescue failed, unrescue failed, adopt failed, service failed, error",
		Held:    "deploy hold, clean hold, service hold",
		Busy:    "deploying, cleaning, verifying, inspecting, adopting, rescuing, unrescuing, deleting, servicing",
		Waiting: "wait call-back, clean wait, inspect wait, rescue wait, service wait",
	}
	sorted := 0
	for class, list := range want {
		for s := range strings.SplitSeq(list, ", ") {
			sorted++
			if !slices.Contains(States, State(s)) {
				t.Errorf("there is no state %q", s)
			}
			if got := State(s).Class(); got != class {
				t.Errorf("%s is of class %d, want %d", s, got, class)
			}
		}
	}
	if sorted != len(States) {
		t.Errorf("%d states are sorted, there are %d", sorted, len(States))
	}
	if State("dancing").Class() != Stable {
		t.Error("a state that nobody knows is worked on")
	}
}

// Where a flow leads, in every state of its way, by what was asked for.
func TestTargetsOnTheWay(t *testing.T) {
	for _, tt := range []struct {
		from   State
		events []Event
		want   string // state(target) after each event
	}{
		{Enroll, []Event{EventManage, EventDone}, "verifying(manageable) manageable()"},
		{Enroll, []Event{EventManage, EventFail}, "verifying(manageable) enroll()"},
		{Manageable, []Event{EventProvide, EventWait, EventResume, EventDone},
			"cleaning(available) clean wait(available) cleaning(available) available()"},
		{Manageable, []Event{EventClean, EventHold, EventUnhold, EventResume, EventManage},
			"cleaning(manageable) clean hold(manageable) clean wait(manageable) cleaning(manageable) manageable()"},
		{Manageable, []Event{EventClean, EventFail, EventManage}, "cleaning(manageable) clean failed(manageable) manageable()"},
		{Manageable, []Event{EventInspect, EventWait, EventDone}, "inspecting(manageable) inspect wait(manageable) manageable()"},
		{Manageable, []Event{EventInspect, EventFail, EventInspect, EventDone},
			"inspecting(manageable) inspect failed(manageable) inspecting(manageable) manageable()"},
		{Manageable, []Event{EventAdopt, EventFail, EventAdopt, EventDone}, "adopting(active) adopt failed(active) adopting(active) active()"},
		{Available, []Event{EventDeploy, EventWait, EventResume, EventDone},
			"deploying(active) wait call-back(active) deploying(active) active()"},
		{Available, []Event{EventDeploy, EventHold, EventAbort, EventDelete, EventClean, EventDone},
			"deploying(active) deploy hold(active) deploy failed(active) deleting(available) cleaning(available) available()"},
		{Available, []Event{EventDeploy, EventWait, EventDelete, EventFail, EventRebuild, EventDone},
			"deploying(active) wait call-back(active) deleting(available) error(available) deploying(active) active()"},
		{Active, []Event{EventRescue, EventWait, EventResume, EventDone, EventUnrescue, EventDone},
			"rescuing(rescue) rescue wait(rescue) rescuing(rescue) rescue() unrescuing(active) active()"},
		{Active, []Event{EventRescue, EventFail, EventUnrescue, EventFail, EventDelete, EventClean},
			"rescuing(rescue) rescue failed(rescue) unrescuing(active) unrescue failed(active) deleting(available) cleaning(available)"},
		{Active, []Event{EventService, EventWait, EventAbort, EventAbort},
			"servicing(active) service wait(active) service failed(active) active()"},
		{Active, []Event{EventService, EventHold, EventService, EventDone}, "servicing(active) service hold(active) servicing(active) active()"},
		{Active, []Event{EventService, EventFail, EventRescue, EventDone}, "servicing(active) service failed(active) rescuing(rescue) rescue()"},
		{Active, []Event{EventService, EventWait, EventDelete, EventClean, EventWait},
			"servicing(active) service wait(active) deleting(available) cleaning(available) clean wait(available)"},
		{Active, []Event{EventRebuild, EventFail, EventDeploy, EventDone}, "deploying(active) deploy failed(active) deploying(active) active()"},
	} {
		n := &Node{UUID: "u", State: tt.from}
		var got []string
		for _, e := range tt.events {
			before := n.ProvisionUpdatedAt
			if err := n.Apply(e); err != nil {
				t.Fatalf("%s: %v", tt.want, err)
			}
			if n.ProvisionUpdatedAt.Before(before) || n.ProvisionUpdatedAt.IsZero() {
				t.Errorf("%s on the way of %s: provision_updated_at went from %s to %s", e, tt.want, before, n.ProvisionUpdatedAt)
			}
			got = append(got, fmt.Sprintf("%s(%s)", n.State, n.TargetState))
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("from %s:\n got %s\nwant %s", tt.from, s, tt.want)
		}
	}
}

// The page that people read draws each transition once, the states of each class together, in a form that renders.
func TestTheDrawing(t *testing.T) {
	page := StatesPage()
	for _, tr := range Transitions {
		drawn := 0
		for line := range strings.Lines(page) {
			if strings.TrimSpace(line) == diagramID(tr.From)+" --> "+diagramID(tr.To)+": "+string(tr.Event) {
				drawn++
			}
		}
		if drawn != 1 {
			t.Errorf("%s from %s to %s is drawn %d times", tr.Event, tr.From, tr.To, drawn)
		}
	}
	for _, s := range States {
		if !strings.Contains(page, string(s)) {
			t.Errorf("the page does not name %q", s)
		}
	}
	if strings.Count(page, "```")%2 != 0 {
		t.Error("a block of the page is not closed")
	}
}

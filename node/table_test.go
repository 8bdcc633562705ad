package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
)

var allEvents = []Event{
	EventManage, EventProvide, EventDeploy, EventRebuild, EventDelete, EventInspect, EventClean, EventAbort, EventAdopt,
	EventRescue, EventUnrescue, EventUnhold, EventService, EventDone, EventFail, EventWait, EventHold, EventResume,
}

// Every event of the table has a name here, so that the properties below leave none out.
func TestAllEventsAreListed(t *testing.T) {
	for _, tr := range Transitions {
		if !slices.Contains(allEvents, tr.Event) {
			t.Errorf("the event %q is not listed", tr.Event)
		}
	}
}

// Apply agrees with Next for every event in every state: it moves the node exactly there, or is Invalid
// and changes nothing at all.
func TestApplyInEveryStateOnEveryEvent(t *testing.T) {
	for _, from := range States {
		for _, event := range append(allEvents, "dance", "") {
			n := &Node{UUID: "u", State: from, TargetState: Active, LastError: "kept", Plan: &Plan{Flow: FlowDeploy}}
			before := n.Clone()
			err := n.Apply(event)
			to, legal := from.Next(event)
			switch {
			case legal && (err != nil || n.State != to || n.ProvisionUpdatedAt.IsZero()):
				t.Errorf("%s on %s: %v, state %q", event, from, err, n.State)
			case legal && (n.LastError != "kept" || n.Plan.Flow != FlowDeploy):
				t.Errorf("%s on %s changed more than the state", event, from)
			case !legal && (KindOf(err) != Invalid || err == nil || !reflect.DeepEqual(n.Clone(), before)):
				t.Errorf("%s on %s: %v, changed to %+v", event, from, err, n)
			case !legal && err.Error() != fmt.Sprintf("The requested action %q can not be performed on node \"u\" while it is in state %q.", event,
				from):
				t.Errorf("%s on %s: %v", event, from, err)
			}
		}
	}
}

// However a node is driven, its target says where it goes: none in a stable state, one of the stable
// states in every other, and never lost on the way through waits and holds.
func TestATargetIsThereExactlyWhileANodeIsOnItsWay(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	visited := map[State]bool{}
	for range 400 {
		n := &Node{UUID: "u", State: Enroll}
		trip := "enroll"
		for range 60 {
			before := n.State
			legal := slices.DeleteFunc(slices.Clone(allEvents), func(e Event) bool { _, ok := before.Next(e); return !ok })
			event := legal[rng.IntN(len(legal))]
			if err := n.Apply(event); err != nil {
				t.Fatalf("%s on %s: %v", event, before, err)
			}
			visited[n.State] = true
			trip += fmt.Sprintf(" -%s-> %s(%s)", event, n.State, n.TargetState)
			// A verification that fails goes back to enroll, which is stable.
			if stable := n.State.Class() == Stable; stable != (n.TargetState == "") {
				t.Fatalf("state %q has the target %q after %s", n.State, n.TargetState, trip)
			}
			if n.TargetState != "" && n.TargetState.Class() != Stable {
				t.Fatalf("the target %q is not stable after %s", n.TargetState, trip)
			}
			if event == EventDone && before.Class() != Stable && n.State.Class() != Stable {
				t.Fatalf("done leads to %q after %s", n.State, trip)
			}
		}
	}
	for _, s := range States {
		if !visited[s] && s != Enroll {
			t.Errorf("no trip came to %q", s)
		}
	}
}

// From every state there is a way, by what people can ask for and what flows do, back to available: no
// machine is lost for good.
func TestEveryStateHasAWayBackToAvailable(t *testing.T) {
	for _, from := range States {
		reached, todo := map[State]bool{from: true}, []State{from}
		for len(todo) > 0 {
			s := todo[0]
			todo = todo[1:]
			for _, tr := range Transitions {
				if tr.From == s && !reached[tr.To] {
					reached[tr.To] = true
					todo = append(todo, tr.To)
				}
			}
		}
		if !reached[Available] {
			t.Errorf("%q never comes back", from)
		}
	}
}

// A plan is stored as JSON and read by another process, perhaps of a later version: nothing of it may
// be lost, and what is empty must stay empty.
func TestAPlanSurvivesItsJSON(t *testing.T) {
	at := time.Date(2026, 11, 3, 14, 5, 6, 123456000, time.UTC)
	full := Plan{
		Flow: FlowClean, Index: 1, StartedAt: at, WaitingSince: at, Deadline: at.Add(time.Hour),
		Awaits: FirstCall, WaitingFor: "the agent", PollAt: at,
		Memo: map[string]string{"deploy.address": "10.0.0.5"}, Off: []string{"deploy.erase_devices"}, Manual: true, NoRamdisk: true, InBand: true,
		Aborting: true, Failure: "no disk",
		Quiet: Quiet{Suspected{at, "work", []string{"deploy.erase work"}}, Silence{at, at, "no route"}, "lost", at, 1},
		Steps: []PlannedStep{
			{Interface: Deploy, Step: "erase", Priority: 10, Args: map[string]any{"a": []any{1.0, "x", nil}}, Agent: true, Abortable: true,
				Reboot: true, Hidden: true, ArgsInfo: map[string]Argument{"a": {Required: true, Help: "what"}}, StartedAt: at, EndedAt: at},
			{Interface: RAID, Step: "create"},
		},
	}
	for i := range reflect.TypeFor[Plan]().NumField() {
		if reflect.ValueOf(full).Field(i).IsZero() {
			t.Errorf("the test's plan leaves %s empty", reflect.TypeFor[Plan]().Field(i).Name)
		}
	}
	for i := range reflect.TypeFor[PlannedStep]().NumField() {
		if reflect.ValueOf(full.Steps[0]).Field(i).IsZero() {
			t.Errorf("the test's step leaves %s empty", reflect.TypeFor[PlannedStep]().Field(i).Name)
		}
	}
	for name, p := range map[string]Plan{"full": full, "empty": {}} {
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var back Plan
		if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(p, back) {
			t.Errorf("%s: %v\n%+v\n%+v", name, err, p, back)
		}
	}
}

// A clone shares nothing that its owner changes in place.
func TestAClonedNodeIsItsOwn(t *testing.T) {
	yes := true
	n := &Node{UUID: "u", Interfaces: map[Interface]string{Power: "a"}, Traits: []string{"T"}, SecureBoot: &yes,
		Properties: Document{"k": "a"}, DriverInfo: Document{"k": "a"}, InstanceInfo: Document{"k": "a"}, DriverInternalInfo: Document{"k": "a"},
		Extra: Document{"k": "a"}, NetworkData: Document{"k": "a"}, RAIDConfig: Document{"k": "a"}, TargetRAIDConfig: Document{"k": "a"},
		Plan: &Plan{Steps: []PlannedStep{{Step: "a"}}, Memo: map[string]string{"k": "a"},
			Quiet: Quiet{Suspected: Suspected{Told: []string{"a"}}}}}
	want := n.Clone()
	c := n.Clone()
	c.Interfaces[Power], c.Traits[0] = "b", "U"
	for _, d := range []Document{c.Properties, c.DriverInfo, c.InstanceInfo, c.DriverInternalInfo, c.Extra, c.NetworkData, c.RAIDConfig,
		c.TargetRAIDConfig} {
		d["k"] = "b"
	}
	c.Plan.Steps[0].Step, c.Plan.Memo["k"], c.Plan.Index = "b", "b", 1
	c.Plan.Quiet.Suspected.Told[0] = "b"
	if !reflect.DeepEqual(n, want) {
		t.Errorf("a change of the clone shows in the node: %+v", n)
	}
	if empty := (&Node{}).Clone(); empty.Extra == nil || empty.Plan != nil {
		t.Errorf("an empty node's clone: %+v", empty)
	}
}

func TestCapabilities(t *testing.T) {
	for _, tt := range []struct {
		properties, instance any
		want                 string
		asked                string // by the instance alone
	}{
		{nil, nil, "", ""},
		{"boot_mode:uefi", nil, "uefi", ""},
		{" raid:1 , boot_mode : bios ", nil, "bios", ""},
		{"boot_mode:uefi", "boot_mode:bios", "bios", "bios"},
		{"boot_mode:uefi", "raid:1", "uefi", ""},
		{"boot_mode:uefi", "boot_mode:", "", ""},
		{"boot_mode:uefi", map[string]any{"boot_mode": "bios"}, "bios", "bios"},
		{"boot_mode:uefi", map[string]any{"boot_mode": 5.0}, "uefi", ""},
		{map[string]any{"boot_mode": "uefi"}, nil, "uefi", ""},
		{"boot_mode", nil, "", ""}, {"my_boot_mode:uefi", nil, "", ""}, {"boot_mode:a:b", nil, "a:b", ""}, {5.0, []any{"boot_mode:uefi"}, "", ""},
		{nil, "raid:1, boot_mode: uefi ", "uefi", "uefi"},
		// The compute service sends a flavor's capabilities as an object in a text.
		{"boot_mode:bios", `{"boot_mode": "uefi", "secure_boot": "true"}`, "uefi", "uefi"},
		{"boot_mode:bios", ` {"secure_boot": "true"}`, "bios", ""},
		{`{"boot_mode": "uefi"}`, nil, "uefi", ""},
		{"boot_mode:bios", map[string]any{"boot_mode": true}, "true", "true"},
		{"boot_mode:bios", `{"boot_mode": false}`, "false", "false"},
		{"boot_mode:bios", `{"boot_mode": ["uefi"]}`, "bios", ""},
		{"boot_mode:bios", `{"boot_mode":uefi}`, "bios", ""},
		{"boot_mode:bios", `{"boot_mode": "uefi"} {}`, "bios", ""},
		{"boot_mode:bios", `{`, "bios", ""},
		{"boot_mode:bios", `["boot_mode:uefi"]`, "bios", ""},
	} {
		n := &Node{Properties: Document{"capabilities": tt.properties}, InstanceInfo: Document{"capabilities": tt.instance}}
		if got := n.Capability("boot_mode"); got != tt.want {
			t.Errorf("%v %v: %q, want %q", tt.properties, tt.instance, got, tt.want)
		}
		if got := n.InstanceCapability("boot_mode"); got != tt.asked {
			t.Errorf("%v %v: the instance asks for %q, want %q", tt.properties, tt.instance, got, tt.asked)
		}
	}
}

func TestALeaseEndsAtItsTime(t *testing.T) {
	now := Now()
	for _, tt := range []struct {
		l    Lease
		want bool
	}{
		{Lease{}, false}, {Lease{Until: now.Add(time.Hour)}, false}, {Lease{Holder: "a", Until: now.Add(time.Nanosecond)}, true},
		{Lease{Holder: "a", Until: now}, false}, {Lease{Holder: "a"}, false},
	} {
		if got := tt.l.Held(now); got != tt.want {
			t.Errorf("%+v: %v", tt.l, got)
		}
	}
}

// The kind of an error is found through any wrapping; an error of nobody's is our own fault.
func TestKinds(t *testing.T) {
	cause := errors.New("disk full")
	wrapped := fmt.Errorf("saving: %w", &Err{Kind: Conflict, Msg: "Taken", Cause: cause})
	if KindOf(wrapped) != Conflict || !errors.Is(wrapped, cause) || wrapped.Error() != "saving: Taken: disk full" {
		t.Errorf("%v: kind %v", wrapped, KindOf(wrapped))
	}
	if KindOf(cause) != Internal || KindOf(ErrLeaseLost) != Internal || KindOf(NodeNotFound("x")) != NotFound {
		t.Errorf("%v %v %v", KindOf(cause), KindOf(ErrLeaseLost), KindOf(NodeNotFound("x")))
	}
}

func TestThePlansStep(t *testing.T) {
	var none *Plan
	if none.Current() != nil || none.Waiting() || none.Clone() != nil {
		t.Error("no plan has a step")
	}
	p := &Plan{Steps: []PlannedStep{{Step: "a"}, {Step: "b"}}}
	for i, want := range []string{"a", "b"} {
		p.Index = i
		if s := p.Current(); s == nil || s.Step != want {
			t.Errorf("step %d is %v", i, s)
		}
	}
	p.Index = 2
	if p.Current() != nil {
		t.Error("a plan at its end has a step")
	}
}

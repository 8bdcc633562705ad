package node_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
)

// A plan as version 0.1 stored it, in the middle of a deploy whose machine is quiet.
const oldPlan = `{"flow":"deploy","steps":[{"interface":"deploy","step":"deploy","priority":100,"abortable":true,"hidden":true,
 "started_at":"2026-11-30T10:00:00Z","ended_at":"2026-11-30T10:01:00Z"},
 {"interface":"deploy","step":"write_image","priority":80,"started_at":"2026-11-30T10:01:00Z"}],
 "index":1,"started_at":"2026-11-30T09:59:00Z","waiting_since":"2026-11-30T10:01:01Z","deadline":"2026-11-30T10:31:01Z",
 "awaits":"report","waiting_for":"the image to be written","poll_at":"2026-11-30T10:02:00Z",
 "memo":{"deploy.command":"17",
 "conductor.suspect":"{\"Since\":\"2026-11-30T10:01:30Z\",\"Phase\":\"work\",\"Told\":[\"deploy.write_image work\"]}",
 "conductor.silent":"{\"Since\":\"2026-11-30T10:01:40Z\",\"Until\":\"2026-11-30T10:05:00Z\",\"Why\":\"no route\"}",
 "conductor.lost":"The machine was lost first.","conductor.off":"2026-11-30T10:01:50.5Z","conductor.paused":"1"},"in_band":true}`

func TestPlansOfEarlierVersions(t *testing.T) {
	at := func(clock string) time.Time {
		when, err := time.Parse(time.RFC3339Nano, "2026-11-30T"+clock+"Z")
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	var p node.Plan
	if err := json.Unmarshal([]byte(oldPlan), &p); err != nil {
		t.Fatal(err)
	}
	want := node.Quiet{
		Suspected: node.Suspected{Since: at("10:01:30"), Phase: "work", Told: []string{"deploy.write_image work"}},
		Silence:   node.Silence{Since: at("10:01:40"), Until: at("10:05:00"), Why: "no route"},
		Lost:      "The machine was lost first.", OffSince: at("10:01:50.5"), Paused: 2,
	}
	if !reflect.DeepEqual(p.Quiet, want) {
		t.Errorf("quiet: %+v, want %+v", p.Quiet, want)
	}
	if !reflect.DeepEqual(p.Memo, map[string]string{"deploy.command": "17"}) {
		t.Errorf("memo: %v", p.Memo)
	}
	if step := p.Current(); p.Flow != node.FlowDeploy || step == nil || step.Step != "write_image" || !p.InBand || !p.Waiting() {
		t.Errorf("%+v", p)
	}
	// And it stays so.
	text, err := json.Marshal(p)
	if err != nil || strings.Contains(string(text), "conductor.") {
		t.Fatalf("%s %v", text, err)
	}
	var again node.Plan
	if err := json.Unmarshal(text, &again); err != nil || !reflect.DeepEqual(again, p) {
		t.Errorf("%v: %+v, want %+v", err, again, p)
	}
}

// Notes that cannot be read were not told; the plan goes on.
func TestPlansOfEarlierVersionsWithBrokenNotes(t *testing.T) {
	var p node.Plan
	err := json.Unmarshal([]byte(`{"flow":"clean","memo":{"conductor.suspect":"{","conductor.off":"now",
		"conductor.paused":"x","conductor.silent":""}}`), &p)
	if err != nil || !reflect.DeepEqual(p, node.Plan{Flow: node.FlowClean, Memo: map[string]string{}}) {
		t.Errorf("%v: %+v", err, p)
	}
	if err := json.Unmarshal([]byte(`{"flow":7}`), &p); err == nil {
		t.Error("a flow is a name")
	}
}

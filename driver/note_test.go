package driver_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

type command struct {
	ID    string    `json:"id,omitempty"`
	Times int       `json:"times,omitzero"`
	Since time.Time `json:"since,omitzero"`
}

var (
	commandNote = driver.Note[command]{Key: "deploy.command", Old: map[string]func(*command, string){
		"deploy.command": func(c *command, text string) { c.ID = text },
		"deploy.since":   func(c *command, text string) { driver.OldTime(&c.Since, text) },
	}}
	addressNote = driver.Note[string]{Key: "deploy.comm"}
)

func twoSteps(memo map[string]string) *driver.Task {
	return &driver.Task{Node: &node.Node{Plan: &node.Plan{Steps: []node.PlannedStep{{Step: "a"}, {Step: "b"}}, Memo: memo}}}
}

// What one step notes the next reads, over a save; two notes do not meet, and a plan that was cloned before does not learn it.
func TestNotesOverSteps(t *testing.T) {
	task := twoSteps(nil)
	before := task.Node.Clone()
	commandNote.Set(task, command{ID: "one"})
	addressNote.Set(task, "10.0.0.6")
	commandNote.Edit(task, func(c *command) { c.Times++ })
	later := &driver.Task{Node: task.Node.Clone()}
	later.Node.Plan.Index = 1
	if got := commandNote.Get(later); got != (command{ID: "one", Times: 1}) {
		t.Errorf("the next step reads %+v", got)
	}
	if got := addressNote.Get(later); got != "10.0.0.6" {
		t.Errorf("the next step reads the address %q", got)
	}
	if _, ok := commandNote.Of(before.Plan); ok || len(before.Plan.Memo) != 0 {
		t.Errorf("the clone from before remembers %v", before.Plan.Memo)
	}
	commandNote.Clear(later)
	if _, ok := commandNote.Of(later.Node.Plan); ok || addressNote.Get(later) == "" {
		t.Error("the note is not dropped, or another with it")
	}
	if commandNote.Get(task).ID != "one" {
		t.Error("a clone's memory is shared")
	}
}

// Outside of a flow there is nothing to read, and nobody to leave a note for.
func TestNotesOutsideOfAFlow(t *testing.T) {
	task := &driver.Task{Node: &node.Node{}}
	commandNote.Set(task, command{ID: "one"})
	commandNote.Clear(task)
	if _, ok := commandNote.Of(task.Node.Plan); ok || task.Node.Plan != nil {
		t.Error("a node without a plan has a note")
	}
}

// Notes of before are read until they are written anew; then their keys are gone. What cannot be read is no note.
func TestNotesOfBefore(t *testing.T) {
	since := time.Date(2026, 11, 3, 12, 0, 0, 5, time.UTC)
	at := since.Format(time.RFC3339Nano)
	for name, tt := range map[string]struct {
		memo map[string]string
		want command
		ok   bool
	}{
		"the key stays, its text was an id": {map[string]string{"deploy.command": "7f"}, command{ID: "7f"}, true},
		"an id that is a number":            {map[string]string{"deploy.command": "123"}, command{ID: "123"}, true},
		"two keys become one note": {map[string]string{"deploy.command": "7f", "deploy.since": at},
			command{ID: "7f", Since: since}, true},
		"only the other":      {map[string]string{"deploy.since": at}, command{Since: since}, true},
		"emptied":             {map[string]string{"deploy.command": "", "deploy.since": ""}, command{}, false},
		"a time that is none": {map[string]string{"deploy.since": "yesterday"}, command{}, true},
		"none":                {map[string]string{"deploy.other": "7f"}, command{}, false},
		"the new form wins":   {map[string]string{"deploy.command": `{"id":"new"}`, "deploy.since": "x"}, command{ID: "new"}, true},
	} {
		task := twoSteps(tt.memo)
		if got, ok := commandNote.Of(task.Node.Plan); got != tt.want || ok != tt.ok {
			t.Errorf("%s: %+v, %v", name, got, ok)
		}
		commandNote.Edit(task, func(c *command) { c.Times = 2 })
		delete(task.Node.Plan.Memo, "deploy.other")
		if len(task.Node.Plan.Memo) != 1 {
			t.Errorf("%s: after writing there are %v", name, task.Node.Plan.Memo)
		}
		want := tt.want
		want.Times = 2
		if got := commandNote.Get(task); got != want {
			t.Errorf("%s: after writing %+v", name, got)
		}
	}
}

// The conductor's notes are read as texts of before typed notes, too.
func TestSharedNotesOfBefore(t *testing.T) {
	task := twoSteps(map[string]string{
		"inspect.reported": "2026-11-03T12:00:00Z", "rescue.address": "10.0.0.5", "deploy.kexec_says": "It was started by kexec.",
		"boot.override": `{"asked":{"Device":"pxe","Persistent":false},"answer":"lost",` +
			`"said":{"Device":"","Persistent":false},"repeats":1,"started":true}`,
	})
	if got := driver.Reported.Get(task); !got.Equal(time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)) {
		t.Errorf("reported %s", got)
	}
	want := driver.BootOverride{Asked: node.BootDevice{Device: "pxe"}, Answer: driver.OverrideLost, Repeats: 1, Started: true}
	if diff := cmp.Diff(want, driver.Override.Get(task)); diff != "" {
		t.Error(diff)
	}
	if got := driver.RescueAddress.Get(task) + driver.KexecSays.Get(task); got != "10.0.0.5It was started by kexec." {
		t.Errorf("got %q", got)
	}
}

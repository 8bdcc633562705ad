package driver

import (
	"encoding/json"
	"time"

	"github.com/billet-metal/billet/node"
)

// Note is one thing that steps leave in the plan for later polls and steps of their flow, and for the history. It lives
// as long as the plan and survives a restart of the service; it is never a secret. A note is declared once:
//
//	var command = driver.Note[Command]{Key: "deploy.command"}
//
// Nobody else reads or writes node.Plan.Memo (notes_test.go at the root holds that).
type Note[T any] struct {
	Key string
	// Old reads what the versions before typed notes wrote: a text under each of these keys. So a flow that waits while
	// the program is replaced goes on. Writing the note drops them.
	Old map[string]func(v *T, text string)
}

// Of returns a plan's note; false when nobody left it, or what is there cannot be read.
func (n Note[T]) Of(p *node.Plan) (v T, ok bool) {
	if p == nil {
		return v, false
	}
	if text, has := p.Memo[n.Key]; has && json.Unmarshal([]byte(text), &v) == nil {
		return v, true
	}
	var old T
	for key, read := range n.Old {
		if text := p.Memo[key]; text != "" {
			read(&old, text)
			ok = true
		}
	}
	return old, ok
}

// Get returns the note of the task's flow; the zero value when there is none.
func (n Note[T]) Get(t *Task) T {
	v, _ := n.Of(t.Node.Plan)
	return v
}

// Set leaves the note. Outside of a flow there is nobody to leave it for.
func (n Note[T]) Set(t *Task, v T) {
	p := t.Node.Plan
	if p == nil {
		return
	}
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // cannot happen: notes are plain fields
	}
	n.Clear(t)
	if p.Memo == nil {
		p.Memo = map[string]string{}
	}
	p.Memo[n.Key] = string(text)
}

// Edit changes the note.
func (n Note[T]) Edit(t *Task, change func(v *T)) {
	v := n.Get(t)
	change(&v)
	n.Set(t, v)
}

// Clear drops the note.
func (n Note[T]) Clear(t *Task) {
	if p := t.Node.Plan; p != nil {
		delete(p.Memo, n.Key)
		for key := range n.Old {
			delete(p.Memo, key)
		}
	}
}

// Notes that the conductor reads or writes too.
var (
	// Reported is when the conductor took an inspection report: a waiting inspect step's Poll looks for it.
	Reported = Note[time.Time]{Key: "inspect.reported", Old: map[string]func(*time.Time, string){"inspect.reported": OldTime}}
	// RescueAddress is where people can log in to a rescued machine, for the history.
	RescueAddress = Note[string]{Key: "rescue.address", Old: map[string]func(*string, string){"rescue.address": OldText}}
	// KexecSays is how kexec_instance started the instance, for the history.
	KexecSays = Note[string]{Key: "deploy.kexec_says", Old: map[string]func(*string, string){"deploy.kexec_says": OldText}}
)

// OldText reads a text of before typed notes.
func OldText(v *string, text string) { *v = text }

// OldTime reads a time of before typed notes; what cannot be read becomes the zero time.
func OldTime(v *time.Time, text string) { *v, _ = time.Parse(time.RFC3339Nano, text) }

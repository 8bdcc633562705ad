package driver

import (
	"encoding/json"

	"github.com/billet-metal/billet/node"
)

// BootOverride is what became of a boot device that a BMC was told in a flow: evidence for the diagnosis when the
// machine boots something else.
type BootOverride struct {
	Asked   node.BootDevice `json:"asked"`
	Answer  OverrideAnswer  `json:"answer"`
	Said    node.BootDevice `json:"said"`    // what the BMC named when it was asked for it; meaningful with Kept and Lost
	Repeats int             `json:"repeats"` // how often it was set again because the BMC had lost it
	Started bool            `json:"started"` // the machine was started since
}

// OverrideAnswer is what a BMC says of the boot device that it was told.
type OverrideAnswer string

// The answers.
const (
	OverrideKept   OverrideAnswer = "kept"   // it names the same device
	OverrideLost   OverrideAnswer = "lost"   // it names none, or another: it forgot
	OverrideUntold OverrideAnswer = "untold" // it cannot tell
)

const memoOverride = "boot.override"

// SetOverride keeps the evidence in the flow's memo; outside of a flow it does nothing.
func (t *Task) SetOverride(o BootOverride) {
	if t.Node.Plan == nil {
		return
	}
	b, err := json.Marshal(o)
	if err != nil {
		panic(err) // cannot happen: plain fields
	}
	t.Remember(memoOverride, string(b))
}

// OverrideOf returns the evidence of a plan's last boot device; false when none was set.
func OverrideOf(p *node.Plan) (o BootOverride, ok bool) {
	if p == nil || p.Memo[memoOverride] == "" {
		return o, false
	}
	return o, json.Unmarshal([]byte(p.Memo[memoOverride]), &o) == nil
}

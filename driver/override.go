package driver

import "github.com/billet-metal/billet/node"

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

// Override is the evidence of the flow's last boot device.
var Override = Note[BootOverride]{Key: "boot.override"}

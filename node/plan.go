package node

import (
	"maps"
	"slices"
	"time"
)

// Flow is one kind of trip through the steps.
type Flow string

// The flows of the one step runner.
const (
	FlowVerify   Flow = "verify"
	FlowInspect  Flow = "inspect"
	FlowClean    Flow = "clean"
	FlowDeploy   Flow = "deploy"
	FlowDelete   Flow = "delete"
	FlowAdopt    Flow = "adopt"
	FlowRescue   Flow = "rescue"
	FlowUnrescue Flow = "unrescue"
	FlowService  Flow = "service"
)

// Interface is one side of a hardware type.
type Interface string

// The interfaces of a hardware type, as the API names them (`<name>_interface`).
const (
	BIOS       Interface = "bios"
	Boot       Interface = "boot"
	Console    Interface = "console"
	Deploy     Interface = "deploy"
	Firmware   Interface = "firmware"
	Inspect    Interface = "inspect"
	Management Interface = "management"
	Network    Interface = "network"
	Power      Interface = "power"
	RAID       Interface = "raid"
	RescueIf   Interface = "rescue"
	Storage    Interface = "storage"
	Vendor     Interface = "vendor"
)

// Interfaces lists all interfaces in the API's order.
var Interfaces = []Interface{BIOS, Boot, Console, Deploy, Firmware, Inspect, Management, Network, Power, RAID, RescueIf, Storage, Vendor}

// Plan is a flow under way: its steps and where it stands. It lives in the node's row, so any
// process that gets the node's lease can carry on.
type Plan struct {
	Flow      Flow          `json:"flow"`
	Steps     []PlannedStep `json:"steps"`
	Index     int           `json:"index"` // the step under way; len(Steps) when none is left
	StartedAt time.Time     `json:"started_at"`

	// While a step waits: since when, until when at the latest, and for what, for the program and for people.
	WaitingSince time.Time `json:"waiting_since,omitzero"`
	Deadline     time.Time `json:"deadline,omitzero"`
	Awaits       AwaitKind `json:"awaits,omitempty"`
	WaitingFor   string    `json:"waiting_for,omitempty"`
	PollAt       time.Time `json:"poll_at,omitzero"` // earliest poll without a call from the machine; zero: none

	// Memo is what steps leave for later polls and steps, read and written through driver.Note; no secrets.
	Memo map[string]string `json:"memo,omitempty"`

	Quiet Quiet `json:"quiet,omitzero"`

	Manual    bool `json:"manual,omitempty"`     // cleaning or service asked for with steps: they run in their order, and nothing else does
	NoRamdisk bool `json:"no_ramdisk,omitempty"` // disable_ramdisk: steps of the agent are not possible
	InBand    bool `json:"in_band,omitempty"`    // the agent's own steps have been merged in
	Aborting  bool `json:"aborting,omitempty"`   // abort after the step under way

	// Off are the steps, "<interface>.<step>", that people switched off with priority 0.
	Off []string `json:"off,omitempty"`

	// Failure is why the flow has failed, saved before the tidy-up: whoever carries on after a crash
	// tidies up and fails the flow with the same words instead of trying the step again.
	Failure string `json:"failure,omitempty"`
}

// PlannedStep is one step of a plan.
type PlannedStep struct {
	Interface Interface      `json:"interface"`
	Step      string         `json:"step"`
	Priority  int            `json:"priority"`
	Args      map[string]any `json:"args,omitempty"`
	Agent     bool           `json:"agent,omitempty"`     // carried out by the agent, in-band
	Abortable bool           `json:"abortable,omitempty"` // may be aborted while it waits
	Reboot    bool           `json:"reboot,omitempty"`    // the agent wants a reboot after it
	Hidden    bool           `json:"hidden,omitempty"`    // not shown as deploy_step or clean_step

	// ArgsInfo is what the step takes, of one that an agent offers; nil: nothing.
	ArgsInfo map[string]Argument `json:"args_info,omitempty"`

	StartedAt time.Time `json:"started_at,omitzero"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
}

// Argument is one argument of a step.
type Argument struct {
	Required bool   `json:"required,omitempty"`
	Help     string `json:"help,omitempty"`
}

// Await is what the step under way waits for.
func (p *Plan) Await() Await { return Await{p.Awaits, p.WaitingFor} }

// Waiting reports whether the step under way has started and waits for a call.
func (p *Plan) Waiting() bool { return p != nil && !p.WaitingSince.IsZero() }

// Current returns the step under way, or nil when the plan is at its end.
func (p *Plan) Current() *PlannedStep {
	if p == nil || p.Index >= len(p.Steps) {
		return nil
	}
	return &p.Steps[p.Index]
}

// Clone copies p with its steps and memo; nil stays nil.
func (p *Plan) Clone() *Plan {
	if p == nil {
		return nil
	}
	c := *p
	c.Steps = slices.Clone(p.Steps)
	c.Memo, c.Off = maps.Clone(p.Memo), slices.Clone(p.Off)
	c.Quiet.Suspected.Told = slices.Clone(p.Quiet.Suspected.Told)
	return &c
}

package node

import "time"

// LineSource is where lines of a machine come from.
type LineSource string

// The sources.
const (
	SerialLine LineSource = "serial" // what the machine wrote to its serial line, heard through its BMC
	AgentLog   LineSource = "agent"  // what its agent logged
)

// LinesKept is how many lines of each source are kept of a machine.
const LinesKept = 200

// Line is one line of text, without its end, control characters and secrets.
type Line struct {
	At   time.Time `json:"at"` // when this service heard it
	Text string    `json:"text"`
}

// MachineLines are the last lines that came from a machine while a flow worked on it, oldest first. The next
// flow begins with none.
type MachineLines struct {
	NodeUUID  string     `json:"-"`
	Source    LineSource `json:"-"`
	Lines     []Line     `json:"lines"`
	Note      string     `json:"note"` // why nothing, or nothing more, is heard; "" while all is well
	UpdatedAt time.Time  `json:"updated_at"`
}

// Phase is how far a booting machine has come: one kind of sign of life, in the order of a boot.
type Phase struct {
	Name  string    `json:"phase"` // "dhcp", "boot loader", "script", "kernel", "ramdisk", "ramdisk's dhcp", "lookup", "heartbeat"
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	Times int       `json:"times"`
	What  string    `json:"what"` // of the last
}

// StepTime is a step of a flow with its times; zero times have not come.
type StepTime struct {
	Interface Interface `json:"interface"`
	Step      string    `json:"step"`
	StartedAt time.Time `json:"started_at"`
	EndedAt   time.Time `json:"ended_at"`
}

// Evidence is what is known of a machine in a flow: as it is while the flow runs, as it was when it failed.
type Evidence struct {
	NodeUUID     string         `json:"-"`
	Flow         Flow           `json:"flow"`
	Sentence     string         `json:"sentence"` // what is waited for and how far it is, or why the flow failed
	StartedAt    time.Time      `json:"started_at"`
	FailedAt     time.Time      `json:"failed_at"` // zero while the flow runs
	Step         string         `json:"step"`      // under way, "deploy.write_image"
	Awaits       AwaitKind      `json:"awaits"`
	WaitingFor   string         `json:"waiting_for"`
	WaitingSince time.Time      `json:"waiting_since"`
	Deadline     time.Time      `json:"deadline"`
	Steps        []StepTime     `json:"steps"`
	Phases       []Phase        `json:"phases"`      // since the step under way began to boot the machine
	BootEvents   []BootEvent    `json:"boot_events"` // since the flow began, at most the newest 500
	Serial       MachineLines   `json:"serial"`
	AgentLog     MachineLines   `json:"agent_log"`
	AgentURL     string         `json:"agent_url"`
	AgentCalled  time.Time      `json:"agent_called"` // last
	Network      *NetworkReport `json:"network"`      // what the network service says, where it serves DHCP
	Files        []string       `json:"files"`        // what is kept of a failed flow, on the conductor's host
}

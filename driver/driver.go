// Package driver owns what a hardware type is made of: the interfaces every driver fills, the
// steps they offer to the conductor, and the task a step works on. It holds no driver itself.
package driver

import (
	"context"
	"slices"
	"time"

	"github.com/billet-metal/billet/node"
)

// Implementation is what every implementation of an interface says of itself.
type Implementation interface {
	// Name is the implementation's name in the API, such as "ipmitool".
	Name() string
	// Properties maps each driver_info key the implementation reads to a line of help. Keys that
	// must be set say "Required.".
	Properties() map[string]string
	// Validate checks the node's own fields, without a network but for what Glance says of an image, which has seconds; the
	// error (node.Invalid) says which field is wrong and what is allowed.
	Validate(ctx context.Context, t *Task) error
}

// Power switches a machine.
type Power interface {
	Implementation
	// PowerState asks the BMC; node.PowerOn or node.PowerOff.
	PowerState(ctx context.Context, t *Task) (node.PowerState, error)
	// SetPowerState returns when the BMC confirms the state asked for (node.PowerOn, PowerOff,
	// Rebooting, SoftPowerOff or SoftRebooting), or an error by ctx's deadline at the latest.
	// Asking for the state the machine is in does nothing.
	SetPowerState(ctx context.Context, t *Task, target node.PowerState) error
}

// LimitedPower is implemented by power interfaces that cannot bring a machine into every state, because
// no BMC is behind them. Power sync leaves their nodes alone.
type LimitedPower interface {
	// PowerStates are the only targets that SetPowerState takes.
	PowerStates() []node.PowerState
}

// CanSet reports whether a power interface takes the target.
func CanSet(p Power, target node.PowerState) bool {
	limited, ok := p.(LimitedPower)
	return !ok || slices.Contains(limited.PowerStates(), target)
}

// Management sets what a machine boots from.
type Management interface {
	Implementation
	BootDevices() []string
	BootDevice(ctx context.Context, t *Task) (node.BootDevice, error)
	SetBootDevice(ctx context.Context, t *Task, d node.BootDevice) error
}

// Firmware is implemented by management interfaces that can change how a machine's firmware boots, from the
// next start on.
type Firmware interface {
	SetBootMode(ctx context.Context, t *Task, mode string) error // "bios" or "uefi"
	SetSecureBoot(ctx context.Context, t *Task, on bool) error
}

// Interrupter is implemented by management interfaces that can inject a non-maskable interrupt.
type Interrupter interface {
	InjectNMI(ctx context.Context, t *Task) error
}

// Boot decides what a machine boots next.
type Boot interface {
	Implementation
	// PrepareRamdisk makes the next boot start the deploy ramdisk with the given kernel parameters
	// added to the usual ones, and sets the boot device. It does not touch power.
	PrepareRamdisk(ctx context.Context, t *Task, params map[string]string) error
	// CleanUpRamdisk takes that back.
	CleanUpRamdisk(ctx context.Context, t *Task) error
	// PrepareInstance makes every later boot start the deployed instance.
	PrepareInstance(ctx context.Context, t *Task) error
	// CleanUpInstance takes that back.
	CleanUpInstance(ctx context.Context, t *Task) error
}

// NetworkBoot is implemented by boot interfaces that boot machines over the network.
type NetworkBoot interface {
	// DHCPOptions are what a DHCP server that Billet does not run, such as Neutron's, is to tell the machine at the port or
	// portgroup with this MAC. They stay the same from boot to boot while the node's fields do; none for a port that may not
	// boot over the network, and where Billet's boot services have no address.
	DHCPOptions(t *Task, mac string) []node.DHCPOption
}

// Deploy offers the steps of the deploy, delete and clean flows (see Stepper) and tidies up.
type Deploy interface {
	Implementation
	Stepper
	// TidyUp leaves nothing of a failed or aborted flow behind but the reason: no boot record, no
	// deploy network, machine off where the node allows it. It works as far as it can and
	// returns the first error.
	TidyUp(ctx context.Context, t *Task) error
}

// Inspect offers the steps of the inspect flow.
type Inspect interface {
	Implementation
	Stepper
}

// InspectionResult is implemented by inspect interfaces that take a report from the machine.
type InspectionResult interface {
	// Inspected takes the machine's report, changes t.Node and returns what to store. An error has
	// changed nothing.
	Inspected(ctx context.Context, t *Task, data node.InspectionData) (node.Findings, error)
}

// HashedRescuePassword is the instance_info key under which the conductor keeps the SHA-512 crypt hash of
// the password that a rescue was asked for with. It is gone as soon as the rescue has ended.
const HashedRescuePassword = "hashed_rescue_password"

// RamdiskDeploy is the name of the deploy interface whose instances live in memory: boot interfaces boot
// instance_info/kernel and ramdisk at every start instead of the disk.
const RamdiskDeploy = "ramdisk"

// LogCollector is implemented by deploy interfaces that can get the logs of a machine whose flow
// has failed, while its agent still answers: a gzipped tar.
type LogCollector interface {
	CollectLogs(ctx context.Context, t *Task) ([]byte, error)
}

// ErrMachineLost is wrapped by the error of a step whose machine has gone. It adds no words: the conductor adds what it
// knows of how the machine was lost.
var ErrMachineLost = wordless{}

type wordless struct{}

func (wordless) Error() string { return "" }

// RAID is implemented by raid interfaces that can be told what to build.
type RAID interface {
	Implementation
	// LogicalDiskProperties maps each key of a logical disk to a line of help.
	LogicalDiskProperties() map[string]string
	// ValidateRAIDConfig checks a target_raid_config, without a network; the error (node.Invalid) says
	// which logical disk is wrong and what is allowed.
	ValidateRAIDConfig(config node.Document) error
}

// Tidier is implemented by inspect and rescue interfaces that leave something behind when their flow fails or
// is aborted (see Deploy.TidyUp); for those that do not, the deploy interface tidies up.
type Tidier interface {
	TidyUp(ctx context.Context, t *Task) error
}

// Network connects a machine's ports to one of the networks a flow needs, and to those of its instance.
type Network interface {
	Implementation
	// Connect attaches the node's ports to the network of the given purpose, leaving any other.
	Connect(ctx context.Context, t *Task, purpose NetworkPurpose) error
	// Disconnect leaves it.
	Disconnect(ctx context.Context, t *Task, purpose NetworkPurpose) error
	// AttachVIF chooses a port or portgroup for a virtual interface and notes it there (node.WithVIF).
	AttachVIF(ctx context.Context, t *Task, vif node.VIF) error
	// DetachVIF undoes that. Of one that is not attached it is an error, unless the network interface keeps none.
	DetachVIF(ctx context.Context, t *Task, id string) error
}

// Sweeper is implemented by network interfaces that make things at a service beside this one. What a ramdisk had there is left
// when the service was away as its flow ended, or its process died.
type Sweeper interface {
	// Left lists the UUIDs of the nodes of which there is something of a ramdisk; those at work are among them. The conductor
	// disconnects the others.
	Left(ctx context.Context) ([]string, error)
}

// Mover is implemented by network interfaces that may take a machine off its network when a flow ends. A ramdisk that was left
// running for the next flow (fast track) would be cut off, or keep an address that is somebody else's by then.
type Mover interface{ Moves() bool }

// NetworkPurpose names the networks a machine lives in during its life.
type NetworkPurpose string

// The networks of the Bare Metal service.
const (
	ProvisioningNetwork NetworkPurpose = "provisioning"
	CleaningNetwork     NetworkPurpose = "cleaning"
	InspectionNetwork   NetworkPurpose = "inspection"
	RescuingNetwork     NetworkPurpose = "rescuing"
	ServicingNetwork    NetworkPurpose = "servicing"
	TenantNetwork       NetworkPurpose = "tenant"
)

// Stepper offers steps. Any implementation of any interface may be one.
type Stepper interface {
	Steps() []Step
}

// InBand is implemented by deploy interfaces whose machine runs an agent with steps of its own:
// the conductor gives it every planned step marked Agent.
type InBand interface {
	// RunsAgent reports whether the machine runs that agent in the flow. Where it does not, the agent's steps are refused.
	RunsAgent(flow node.Flow) bool
	RunStep(ctx context.Context, t *Task) (Result, error)
	PollStep(ctx context.Context, t *Task) (Result, error)
	// BootAgain boots the flow's ramdisk anew and waits for its agent. The conductor calls it for the step under way,
	// and again at each wake-up while it waits, when people switch power among steps that the agent carries out.
	BootAgain(ctx context.Context, t *Task) (Result, error)
}

// Step is one piece of work, declared once, in the driver. Run and Poll must be safe to run
// again after a crash: the conductor saves before it acts and repeats a step it cannot know the
// end of.
type Step struct {
	Name string
	// Priority by flow, highest first. 0 runs only when asked for. A flow not in the map does not
	// have the step. A negative priority runs after everything else.
	Priority   map[node.Flow]int
	Abortable  bool              // may be aborted while it waits
	NeedsAgent bool              // has the ramdisk's agent do its work: while one is to come, the ramdisk must run
	EndsAgent  bool              // the ramdisk's agent is gone after it: no step of the agent can come later
	Readies    bool              // after it the machine boots its instance
	Starts     bool              // starts the instance
	Frame      bool              // always part of the flow, not shown to people, cannot be asked for or overridden
	Args       map[string]string // argument → help, for steps people ask for
	Required   []string          // of Args, those that must be given
	// Check says what is wrong with the arguments' values, when the step is asked for; nil: they are not looked at before Run.
	Check func(args map[string]any) error

	Run func(ctx context.Context, t *Task) (Result, error)
	// Poll is asked at each wake-up while the step waits; nil: any call from the machine ends the wait.
	Poll func(ctx context.Context, t *Task) (Result, error)
}

// Result is how a step ended. The zero Result is Done.
type Result struct {
	WaitFor node.Await    // not zero: the step waits for this
	Within  time.Duration // a waiting step's deadline from now; 0 keeps the deadline it already has
	// Alive > 0: the deadline moves on to this long after the last sign of life, the step's progress, else the agent's heartbeat.
	Alive     time.Duration
	PollEvery time.Duration      // > 0: Poll is asked that often even when the machine is silent
	Steps     []node.PlannedStep // steps found on the machine, merged into what is left of the plan; nil: nobody was asked
	Says      string             // what a step did, or what happened to it while it waits, for the node's history; never a secret

	// Of a machine that works on and does not answer: why the poll was not answered, "" when it was, and when the step
	// gives the machine up if it goes on so.
	Silent  string
	GivesUp time.Time

	Lost string // how the machine was lost that the step starts again; never a secret
}

// Done ends a step.
func Done() Result { return Result{} }

// Wait ends a run but not the step: the lock is let go until the machine calls, PollEvery passes
// or the deadline fails the flow.
func Wait(what node.Await, within time.Duration) Result { return Result{WaitFor: what, Within: within} }

// Waiting reports whether the step waits.
func (r Result) Waiting() bool { return r.WaitFor != node.Await{} }

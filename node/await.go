package node

// Await is what a step waits for: the program decides by For, people read Text.
type Await struct {
	For  AwaitKind
	Text string // "the agent's first heartbeat"
}

// AwaitKind is one kind of thing that steps wait for.
type AwaitKind string

// What is waited for.
const (
	FirstCall  AwaitKind = "first call"  // of the agent in a ramdisk that boots
	Report     AwaitKind = "report"      // of an inspection, from a ramdisk that boots
	DeployInfo AwaitKind = "deploy info" // the call of a ramdisk of the iSCSI family that boots
	LoaderInfo AwaitKind = "loader info" // the call of such a ramdisk that installed a boot loader
	Command    AwaitKind = "command"     // the agent works
	SelfOff    AwaitKind = "self off"    // the machine switches itself off
	Takeover   AwaitKind = "takeover"    // the installed system's kernel takes over from the ramdisk's
	Pause      AwaitKind = "pause"       // time passes
	Image      AwaitKind = "image"       // the bytes of an image, or the service that has them
	Service    AwaitKind = "service"     // a service beside this one, which is away
	Link       AwaitKind = "link"        // a network that a port of the machine is being connected to
)

// AwaitKinds are all kinds.
var AwaitKinds = []AwaitKind{FirstCall, Report, DeployInfo, LoaderInfo, Command, SelfOff, Takeover, Pause, Image, Service, Link}

// Boots reports whether a machine that boots a ramdisk is waited for.
func (k AwaitKind) Boots() bool { return k == FirstCall || k == Report || k == DeployInfo }

// OfRamdisk reports whether what is waited for comes from a ramdisk, that boots or works.
func (k AwaitKind) OfRamdisk() bool { return k.Boots() || k == LoaderInfo || k == Command }

// RunsAgain reports whether the step that waits is run again at each look, rather than asked whether its wait is over.
func (k AwaitKind) RunsAgain() bool { return k == Service || k == Link }

package driver

import (
	"context"
	"log/slog"
	"time"

	"github.com/billet-metal/billet/node"
)

// Task is what a driver works on: one node under its lease. Changes to Node are saved by the
// conductor when the call returns; Save does so at once.
type Task struct {
	Node     *node.Node
	Ports    []node.Port
	Hardware *Hardware
	Log      *slog.Logger
	Save     func(ctx context.Context) error // checkpoints Node under the lease; nil in Validate
	Progress func(p node.Progress)           // tells people how far the step is; may be nil
	// LookedUp is when an agent without the token first looked the node up after the last heartbeat: a machine
	// that started anew by itself does, and so does an agent that was started anew, until it calls. Zero: none did.
	LookedUp time.Time
	// Drives gives config drives that are kept elsewhere than with the node; nil: there are none.
	Drives Drives
	// ForgetAgent drops what the node knows of its agent (URL, token, certificate), in the store and
	// in Node. A driver calls it when the agent will not call again: the machine was powered
	// off or is about to boot a new ramdisk. The next lookup gets a new token. nil in Validate.
	ForgetAgent func(ctx context.Context) error
	// FastTrack is how long ago an agent may have called to be taken for alive, so that a flow uses its
	// ramdisk on instead of booting it anew; 0: fast track is off for this node.
	FastTrack time.Duration
	// Portgroups of the node that have ports; AttachVIF and DetachVIF have all.
	Portgroups []node.Portgroup
	// SaveWiring saves what was changed of the internal_info of Ports and Portgroups, under the lease; nil in Validate.
	// A Document is never changed in place there: it is replaced.
	SaveWiring func(ctx context.Context) error
	// VolumeTargets are the volumes meant for the node's instance; only Validate has them.
	VolumeTargets []node.VolumeTarget
}

// Drives gives a node's config drive wherever it is kept; "" is none.
type Drives interface {
	DriveText(ctx context.Context, n *node.Node) (string, error) // base64 of a gzipped image, or the URL of one that came with the request
	DriveURL(ctx context.Context, n *node.Node) (string, error)  // the same, or a URL for the machine, good for one deploy: a secret
}

// DriveForMachine is the config drive as the machine is told it.
func (t *Task) DriveForMachine(ctx context.Context) (string, error) {
	if t.Drives == nil {
		return t.Node.ConfigDrive, nil
	}
	return t.Drives.DriveURL(ctx, t.Node)
}

// DriveForWriter is the config drive for who writes the machine's disk from here.
func (t *Task) DriveForWriter(ctx context.Context) (string, error) {
	if t.Drives == nil {
		return t.Node.ConfigDrive, nil
	}
	return t.Drives.DriveText(ctx, t.Node)
}

// AgentAlive reports whether fast track is on and an agent has called lately.
func (t *Task) AgentAlive() bool { return t.Node.AgentAlive(t.FastTrack) }

// DropAgent forgets the agent, in the store too where the task can.
func (t *Task) DropAgent(ctx context.Context) error {
	if t.ForgetAgent == nil {
		t.Node.Agent = node.Agent{}
		return nil
	}
	return t.ForgetAgent(ctx)
}

// MaySwitchOff reports whether the machine can be switched off, and somebody allows it.
func (t *Task) MaySwitchOff() bool {
	return !t.Node.DisablePowerOff && CanSet(t.Hardware.Power, node.PowerOff)
}

// SetPower switches the machine and keeps the node's power state: drivers call it instead of
// Hardware.Power so that power_state is right as soon as their step ends.
func (t *Task) SetPower(ctx context.Context, target node.PowerState) error {
	if err := t.Hardware.Power.SetPowerState(ctx, t, target); err != nil {
		return err
	}
	switch target {
	case node.PowerOff, node.SoftPowerOff:
		t.Node.Power = node.PowerOff
	default:
		t.Node.Power = node.PowerOn
	}
	return nil
}

// SetBootMode has the machine's firmware boot in a mode from its next start on, and keeps it on the node.
func (t *Task) SetBootMode(ctx context.Context, f Firmware, mode string) error {
	if err := f.SetBootMode(ctx, t, mode); err != nil {
		return err
	}
	t.Node.BootMode = mode
	return nil
}

// SetSecureBoot switches Secure Boot from the machine's next start on, and keeps it on the node.
func (t *Task) SetSecureBoot(ctx context.Context, f Firmware, on bool) error {
	if err := f.SetSecureBoot(ctx, t, on); err != nil {
		return err
	}
	t.Node.SecureBoot = &on
	return nil
}

// Step returns the planned step under way, or nil.
func (t *Task) Step() *node.PlannedStep { return t.Node.Plan.Current() }

// Logger is the task's log, which has the node's UUID; never nil.
func (t *Task) Logger() *slog.Logger {
	if t.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return t.Log
}

// Checkpoint saves the node as it is now, where the task can.
func (t *Task) Checkpoint(ctx context.Context) error {
	if t.Save == nil {
		return nil
	}
	return t.Save(ctx)
}

// KeepWiring saves the internal_info of ports and portgroups as it is now, where the task can.
func (t *Task) KeepWiring(ctx context.Context) error {
	if t.SaveWiring == nil {
		return nil
	}
	return t.SaveWiring(ctx)
}

// Package api owns the Bare Metal REST API: what comes in over HTTP, which microversion knows it,
// and what goes out. It decides nothing about nodes: it decodes, checks the form, calls the
// Conductor or the Reader, and encodes. It refuses to show a secret, and to hold state.
package api

import (
	"context"
	"time"

	"github.com/billet-metal/billet/node"
)

// Conductor carries out what changes a node. Everything it refuses comes back before the work
// starts, as a *node.Err whose kind is the status; what the machine gets wrong later is the
// node's last_error. Idents are UUIDs or names.
type Conductor interface {
	CreateNode(ctx context.Context, n *node.Node) (*node.Node, error)
	// UpdateNode takes the lease, lets change edit a copy, checks the field rules that depend on
	// the node's state, saves and lets go. resetInterfaces is PATCH ?reset_interfaces=true.
	UpdateNode(ctx context.Context, ident string, opts UpdateOptions, change func(*node.Node) error) (*node.Node, error)
	DeleteNode(ctx context.Context, ident string) error

	PortChanger
	PortgroupChanger
	VIFChanger
	VolumeChanger
	AllocationChanger

	Provision(ctx context.Context, ident string, req node.ProvisionRequest) error
	SetPower(ctx context.Context, ident string, target node.PowerState, timeout time.Duration) error
	SetBootDevice(ctx context.Context, ident string, d node.BootDevice) error
	BootDevice(ctx context.Context, ident string) (node.BootDevice, error)
	BootDevices(ctx context.Context, ident string) ([]string, error)
	SetBootMode(ctx context.Context, ident, mode string) error // "bios" or "uefi"
	SetSecureBoot(ctx context.Context, ident string, on bool) error
	InjectNMI(ctx context.Context, ident string) error
	Validate(ctx context.Context, ident string) (map[node.Interface]node.Validation, error)
	// SetTargetRAIDConfig keeps a RAID configuration that the node's raid interface takes (Invalid, or
	// NotFound when it builds none). LogicalDiskProperties describes its logical disks (NotFound).
	SetTargetRAIDConfig(ctx context.Context, ident string, config node.Document) error
	LogicalDiskProperties(ctx context.Context, driver string) (map[string]string, error)

	// Drivers lists the hardware types; Driver describes one (NotFound).
	Drivers(ctx context.Context) ([]node.DriverInfo, error)
	Driver(ctx context.Context, name string) (node.DriverInfo, error)

	// LookupAgent finds the node a ramdisk runs on, by the key of its boot, MACs or UUID, in a state that allows it, and
	// hands out the agent token the first time ("******" later). When WantToken is false (API below 1.62) no token is made.
	LookupAgent(ctx context.Context, l node.AgentLookup) (*node.Node, string, error)
	Heartbeat(ctx context.Context, ident string, hb node.Heartbeat) error
	AgentProgress(ctx context.Context, ident, token string, p node.Progress) error // of an agent with the token
	// AgentLines replaces the last lines of the agent's log.
	AgentLines(ctx context.Context, ident, token string, lines []node.Line) error
	// Why says what is known of a node's machine: of the flow under way and of its last failure, each nil for none.
	Why(ctx context.Context, ident string) (running, failed *node.Evidence, err error)
	// ExpectsReport is nil when a report may be for a node: the one named, or any when uuid is "".
	ExpectsReport(ctx context.Context, uuid string) error
	// ContinueInspection finds the node of a report, wakes its inspection and returns the node.
	ContinueInspection(ctx context.Context, data node.InspectionData) (*node.Node, error)
}

// UpdateOptions says how a change of a node was asked for.
type UpdateOptions = node.UpdateOptions

// Reader answers what needs no lease. Reads never lock.
type Reader interface {
	Node(ctx context.Context, ident string) (*node.Node, error)
	Nodes(ctx context.Context, f node.NodeFilter, p node.Page) ([]*node.Node, error)
	Shards(ctx context.Context) ([]node.Shard, error) // the largest first
	History(ctx context.Context, nodeUUID string, p node.Page) ([]node.HistoryEvent, error)
	HistoryEvent(ctx context.Context, nodeUUID, eventUUID string) (node.HistoryEvent, error)
	Inventory(ctx context.Context, nodeUUID string) (node.Inventory, error) // NotFound when none
	Progress(ctx context.Context, nodeUUID string) (*node.Progress, error)  // nil when none
	BootEvents(ctx context.Context, macs []string, since time.Time) ([]node.BootEvent, error)
	Strangers(ctx context.Context) ([]node.BootEvent, error) // the newest event of each MAC that no node has
}

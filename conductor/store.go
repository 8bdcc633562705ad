package conductor

import (
	"context"
	"time"

	"github.com/billet-metal/billet/node"
)

// Store is what the conductor asks of the database, as doors that are each no larger than their users need. Errors people
// should read are *node.Err.
//
// Before the store is handed to a conductor it has let go of what an earlier process of the same
// host held, and it has made sure that that process is gone.
type Store struct {
	Nodes  Nodes
	Agents Agents
	Queue  Queue
	Notes  Notes
	Boots  Boots
	Kinds
}

// Nodes are kept under leases. A node is changed only under its lease: Reserve grants it and returns the node as it is
// now; Save and Release write the whole node guarded by the fencing token in n.Lease and return
// node.ErrLeaseLost when the node has been granted to another since.
type Nodes interface {
	CreateNode(ctx context.Context, n *node.Node) error // fills ID, CreatedAt, UpdatedAt; duplicate UUID, name or instance: Conflict
	// EnrolNode is CreateNode together with the node's ports and inventory: all or nothing. It fills each port's NodeUUID.
	EnrolNode(ctx context.Context, n *node.Node, ports []node.Port, i node.Inventory) error
	Node(ctx context.Context, ident string) (*node.Node, error)
	Nodes(ctx context.Context, f node.NodeFilter, p node.Page) ([]*node.Node, error)
	NodeByMACs(ctx context.Context, macs []string) (*node.Node, error) // NotFound; Conflict when the MACs belong to several nodes

	Reserve(ctx context.Context, ident, holder string, ttl time.Duration) (*node.Node, error) // node.Locked when held
	Renew(ctx context.Context, n *node.Node, ttl time.Duration) error
	// Save writes the node but neither its lease (Renew may have moved its end since n was read)
	// nor its agent (heartbeats write that without the lease).
	Save(ctx context.Context, n *node.Node) error
	Release(ctx context.Context, n *node.Node) error // saves, then lets go: n.Lease keeps only its token
	DeleteNode(ctx context.Context, n *node.Node) error

	// SavePower writes what the BMC said, without the lease: only power_state and power_failures.
	SavePower(ctx context.Context, uuid string, p node.PowerState, failures int) error
}

// Agents takes what agents report, without the lease: heartbeats never wait for who works on the node.
type Agents interface {
	// SaveAgent replaces the agent row but for Token, TokenGiven and TokenGivenAt, and refuses an agent that has none any more
	// (node.Invalid).
	SaveAgent(ctx context.Context, uuid string, a node.Agent) error
	// GiveAgentToken stores token, BootKey and CalledFrom and returns true only for the first caller.
	GiveAgentToken(ctx context.Context, uuid, token string, to node.Caller) (bool, error)
	// RefuseAgent sets RefusedAt where it is zero and the token was given, and returns whether it did.
	RefuseAgent(ctx context.Context, uuid string, at time.Time) (bool, error)
	KeepBootKey(ctx context.Context, uuid, key string) error // stores BootKey where no token was given
	ForgetAgent(ctx context.Context, uuid string) error      // clears the row
}

// Queue says which nodes need a conductor.
type Queue interface {
	// Work lists nodes that need a conductor now, the longest waiting first. Nodes with a live lease
	// are never listed. See node.WorkKind for what is; each node is listed once, the first kind that fits.
	Work(ctx context.Context, now time.Time, limit int) ([]node.Work, error)
}

// Notes are what is kept beside a node, without its lease: what people read later, and what its machine said.
type Notes interface {
	AddHistory(ctx context.Context, e node.HistoryEvent) error              // keeps the newest 300 of a node
	Inventory(ctx context.Context, nodeUUID string) (node.Inventory, error) // NotFound when none
	SaveInventory(ctx context.Context, nodeUUID string, i node.Inventory) error
	SaveProgress(ctx context.Context, p node.Progress) error
	Progress(ctx context.Context, nodeUUID string) (*node.Progress, error) // nil when none
	ClearProgress(ctx context.Context, nodeUUID string) error
	// The last lines of a machine, by source, and what was known when a flow of the node failed last.
	SaveLines(ctx context.Context, l node.MachineLines) error
	Lines(ctx context.Context, nodeUUID string, source node.LineSource) (node.MachineLines, error) // empty when there are none
	ClearLines(ctx context.Context, nodeUUID string) error
	SaveFailure(ctx context.Context, e node.Evidence) error
	Failure(ctx context.Context, nodeUUID string) (*node.Evidence, error) // nil when there is none
}

// Boots is what the boot services know of machines.
type Boots interface {
	// BootKey is the key that the ramdisk which the node boots shows in each call, "" when it has none; boots says whether
	// it boots any.
	BootKey(ctx context.Context, nodeUUID string) (key string, boots bool, err error)
	// NodeByBootKey returns the node that boots with a key, or whose agent did; NotFound.
	NodeByBootKey(ctx context.Context, key string) (*node.Node, error)
	LentAddresses(ctx context.Context, macs []string) ([]string, error)                       // those that DHCP has lent
	BootEvents(ctx context.Context, macs []string, since time.Time) ([]node.BootEvent, error) // oldest first, at most 500
}

// Records keeps the records of one kind T; F is what a list of them is filtered by. Get takes what names a record of the kind;
// Save and Delete go by UUID.
type Records[T, F any] interface {
	Get(ctx context.Context, ident string) (T, error)
	List(ctx context.Context, f F, p node.Page) ([]T, error) // the oldest first, unless p says otherwise
	Create(ctx context.Context, x *T) error                  // fills ID, times, and UUID when it is empty
	Save(ctx context.Context, x *T) error                    // sets UpdatedAt
	Delete(ctx context.Context, uuid string) error
}

// OwnedRecords are records that belong to a node each.
type OwnedRecords[T, F any] interface {
	Records[T, F]
	DeleteOf(ctx context.Context, nodeUUID string) error // all of a node's, also those that cannot be read
}

// Allocations are the records of allocations. Save writes the name and extra alone.
type Allocations interface {
	Records[node.Allocation, node.AllocationFilter]
	// End writes how the search for a node has ended, and returns whether the allocation is there still.
	End(ctx context.Context, uuid, state, lastError string) (there bool, err error)
}

// Kinds are the records that a conductor keeps, by kind.
type Kinds struct {
	Ports            Records[node.Port, node.PortFilter]
	Portgroups       Records[node.Portgroup, node.PortgroupFilter]
	VolumeConnectors Records[node.VolumeConnector, node.OfNode]
	VolumeTargets    OwnedRecords[node.VolumeTarget, node.OfNode]
	Allocations      Allocations
	Chassis          Records[node.Chassis, node.All]
	DeployTemplates  Records[node.DeployTemplate, node.DeployTemplateFilter]
	InspectionRules  Records[node.InspectionRule, node.InspectionRuleFilter]
}

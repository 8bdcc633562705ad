package storetest

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/billet-metal/billet/api"
	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/conductor"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/store"
	"github.com/billet-metal/billet/store/memory"
)

// Store is what the suite asks of a store, whatever keeps it: all that those who use one ask of it.
type Store struct {
	Keeper
	Ports            Owned[node.Port, node.PortFilter]
	Portgroups       Owned[node.Portgroup, node.PortgroupFilter]
	VolumeConnectors Owned[node.VolumeConnector, node.OfNode]
	VolumeTargets    Owned[node.VolumeTarget, node.OfNode]
	Allocations      conductor.Allocations
	Chassis          Records[node.Chassis, node.All]
	DeployTemplates  Records[node.DeployTemplate, node.DeployTemplateFilter]
	InspectionRules  Records[node.InspectionRule, node.InspectionRuleFilter]

	// Damage makes a column of a "node" or a "port" unreadable.
	Damage func(t *testing.T, what, column, uuid string)
}

// Keeper is a store but for its records.
type Keeper interface {
	conductor.Nodes
	conductor.Agents
	conductor.Queue
	conductor.Notes
	conductor.Boots
	conductor.TimeStore
	api.Reader
	boot.Lookup
	boot.Records
	boot.Trace
	boot.AddressLeases

	DropLeases(ctx context.Context, holder string) error
	Places(ctx context.Context) ([]string, error)
	TimeMark(ctx context.Context) (node.TimeMark, error)
	MoveTime(ctx context.Context, d time.Duration) (moved bool, err error)
	AddressLeases(ctx context.Context) ([]boot.AddressLease, error)
	LentTo(ctx context.Context, ip netip.Addr) (mac string, err error)
	AskedFirst(ctx context.Context, secret, mac, address string) (string, error)
	Wake(ctx context.Context, uuid string) error
	Wakeups(ctx context.Context) <-chan string
}

// Records is one kind of record.
type Records[T, F any] interface {
	conductor.Records[T, F]
	DeleteAll(ctx context.Context) error
}

// Owned is one kind of record of nodes.
type Owned[T, F any] interface {
	Records[T, F]
	DeleteOf(ctx context.Context, nodeUUID string) error
}

// SQL is a database; exec runs a statement in it, past the store.
func SQL(s *store.Store, exec func(t *testing.T, statement string)) Store {
	return Store{
		s, s.Ports, s.Portgroups, s.VolumeConnectors, s.VolumeTargets, s.Allocations, s.Chassis, s.DeployTemplates, s.InspectionRules,
		func(t *testing.T, what, column, uuid string) {
			where := map[string]string{"port": "ports SET %s WHERE uuid = '%s'",
				"node": "node_documents SET %s WHERE node_id = (SELECT id FROM nodes WHERE uuid = '%s')"}[what]
			exec(t, "UPDATE "+fmt.Sprintf(where, column+` = '\x00'`, uuid)) // neither JSON nor what was sealed
		},
	}
}

// Memory is a database's twin.
func Memory(s *memory.Store) Store {
	return Store{
		s, s.Ports, s.Portgroups, s.VolumeConnectors, s.VolumeTargets, s.Allocations, s.Chassis, s.DeployTemplates, s.InspectionRules,
		func(_ *testing.T, _, column, uuid string) { s.Spoil(uuid, column, "damaged") },
	}
}

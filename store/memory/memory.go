// Package memory is package store's twin without a database: what it keeps ends with the process. It passes the same
// conformance suite (store/storetest), so that a test may take it for the real thing: the same filters, orders, pages,
// conflicts, leases and fencing, in the same words. It seals nothing, survives nothing, and bounds less of what is collected.
package memory

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/billet-metal/billet/node"
)

// Store is one database in memory, for as many conductors as share it. It is safe for concurrent use.
type Store struct {
	*data
	leased
	agents
	notes
	boots
	lender
}

// The parts of a store: nodes with their leases, what agents report, what is noted beside a node, what machines boot and were
// seen to boot, and who has which address.
type (
	leased struct{ *data }
	agents struct{ *data }
	notes  struct{ *data }
	boots  struct{ *data }
	lender struct{ *data }
)

// data is what the parts of a store share.
type data struct {
	Ports            *Table[node.Port, node.PortFilter]
	Portgroups       *Table[node.Portgroup, node.PortgroupFilter]
	VolumeConnectors *Table[node.VolumeConnector, node.OfNode]
	VolumeTargets    *Table[node.VolumeTarget, node.OfNode]
	Allocations      Allocations
	Chassis          *Table[node.Chassis, node.All]
	DeployTemplates  *Table[node.DeployTemplate, node.DeployTemplateFilter]
	InspectionRules  *Table[node.InspectionRule, node.InspectionRuleFilter]

	mu        sync.Mutex // guards all below, and the tables' rows
	lastID    int64
	machines  map[string]*machine // by UUID
	damage    map[string]node.Unreadable
	seen      map[string][]sighting // boot events by MAC
	addresses map[netip.Addr]*address
	servers   map[netip.Addr]time.Time // when each said last that it answers DHCP
	mark      node.TimeMark
	wakes     hub
}

// New returns an empty store.
func New() *Store {
	d := &data{
		machines: map[string]*machine{}, damage: map[string]node.Unreadable{}, seen: map[string][]sighting{},
		addresses: map[netip.Addr]*address{}, servers: map[netip.Addr]time.Time{},
	}
	d.openTables()
	return &Store{d, leased{d}, agents{d}, notes{d}, boots{d}, lender{d}}
}

// enter takes the store for a caller that is still there; the caller leaves with s.mu.Unlock.
func (s *data) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	return nil
}

// find returns what is kept of the node that ident names; the caller has entered.
func (s *data) find(ident string) (*machine, error) {
	if isUUID(ident) {
		if m := s.machines[strings.ToLower(ident)]; m != nil {
			return m, nil
		}
		return nil, node.NodeNotFound(ident)
	}
	for _, m := range s.machines {
		if m.node.Name != "" && m.node.Name == ident {
			return m, nil
		}
	}
	return nil, node.NodeNotFound(ident)
}

// byID lists all machines in the order of their creation.
func (s *data) byID() []*machine {
	return slices.SortedFunc(maps.Values(s.machines), func(a, b *machine) int { return int(a.node.ID - b.node.ID) })
}

// Spoil makes one value of a node or a record unreadable, as damage to a database does; it is readable again when it is
// written anew. field is the column's name, such as "driver_info"; why is what is said of it.
func (s *Store) Spoil(uuid, field, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.damage[uuid] == nil {
		s.damage[uuid] = node.Unreadable{}
	}
	s.damage[uuid][field] = why
}

// isUUID reports whether s is written as a UUID.
func isUUID(s string) bool {
	return len(s) == 36 && uuid.Validate(s) == nil
}

// fresh fills what every new row has.
func fresh(id *string, created, updated *time.Time) error {
	if *id == "" {
		*id = uuid.NewString()
	}
	if !isUUID(*id) {
		return node.Errorf(node.Invalid, "Expected a UUID but received %s.", *id)
	}
	*id = strings.ToLower(*id)
	*created = node.Now()
	*updated = *created
	return nil
}

func lower(texts []string) []string {
	out := make([]string, len(texts))
	for i, t := range texts {
		out[i] = strings.ToLower(t)
	}
	return out
}

// contains says what LOWER(text) LIKE '%part%' does in both databases: case counts beyond ASCII.
func contains(text, part string) bool {
	return strings.Contains(strings.Map(asciiLower, text), strings.Map(asciiLower, part))
}

func asciiLower(r rune) rune {
	if r >= 'A' && r <= 'Z' {
		return r + 'a' - 'A'
	}
	return r
}

// oneOf reports whether have is among want, or nothing is wanted.
func oneOf(want []string, have string) bool { return len(want) == 0 || slices.Contains(want, have) }

// is reports whether have is what is wanted, or nothing is.
func is[T ~string](want, have T) bool { return want == "" || want == have }

// same is is for flags and texts that may be wanted empty.
func same[T comparable](want *T, have T) bool { return want == nil || *want == have }

func duplicate(format string, args ...any) error {
	return &node.Err{Kind: node.Conflict, Msg: fmt.Sprintf(format, args...)}
}

// Edit changes a node past every guard, its lease and what is unreadable of it too, as another program could that writes to
// the same database.
func (s *Store) Edit(uuid string, change func(n *node.Node)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := &s.machines[uuid].node
	n.Unreadable = maps.Clone(s.damage[uuid])
	change(n)
	s.damage[uuid], n.Unreadable = n.Unreadable, nil
}

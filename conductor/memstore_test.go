package conductor

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/store"
)

// memStore is a database in memory that several conductors of a test share.
type memStore struct {
	Kinds
	mu          sync.Mutex
	nextID      int64
	nodes       map[string]*node.Node
	allocations map[string]node.Allocation
	ports       map[string]node.Port
	groups      map[string]node.Portgroup
	targets     map[string]node.VolumeTarget
	connectors  map[string]node.VolumeConnector
	history     []node.HistoryEvent
	inventory   map[string]node.Inventory
	progress    map[string]node.Progress
	boots       []node.BootEvent
	keys        map[string]string // keys of boots, by node
	lent        map[string]string // addresses lent, by MAC
	lines       map[string]map[node.LineSource]node.MachineLines
	failures    map[string]node.Evidence
	lineSaves   int
	templates   []node.DeployTemplate
	unread      error // answered when progress is asked for
	rules       []node.InspectionRule
	lost        error // answered when templates or rules are asked for
	writes      int   // Save, Release and Reserve so far: the points at which a process can die
}

func newMemStore() *memStore {
	s := &memStore{nodes: map[string]*node.Node{}, ports: map[string]node.Port{},
		allocations: map[string]node.Allocation{}, groups: map[string]node.Portgroup{}, targets: map[string]node.VolumeTarget{}, connectors: map[string]node.VolumeConnector{},
		inventory: map[string]node.Inventory{}, progress: map[string]node.Progress{},
		lines: map[string]map[node.LineSource]node.MachineLines{}, failures: map[string]node.Evidence{}}
	s.Kinds = Kinds{
		Ports: memRecords[node.Port, node.PortFilter]{get: s.port, list: s.portOf, create: s.createPort, save: s.savePort, delete: s.deletePort},
		Portgroups: memRecords[node.Portgroup, node.PortgroupFilter]{get: s.portgroup, list: s.portgroupOf, create: s.createPortgroup,
			save: s.savePortgroup, delete: s.deletePortgroup},
		VolumeConnectors: memRecords[node.VolumeConnector, node.OfNode]{get: s.volumeConnector, create: s.createVolumeConnector,
			save: s.saveVolumeConnector, delete: s.deleteVolumeConnector},
		VolumeTargets: memRecords[node.VolumeTarget, node.OfNode]{get: s.volumeTarget, list: s.volumeTargetOf, create: s.createVolumeTarget,
			save: s.saveVolumeTarget, delete: s.deleteVolumeTarget, deleteOf: s.deleteVolumeTargets},
		Allocations: memAllocations{s, memRecords[node.Allocation, node.AllocationFilter]{get: s.allocation, list: s.allocationOf,
			create: s.createAllocation, save: s.saveAllocation, delete: s.deleteAllocation}},
		Chassis:         memRecords[node.Chassis, node.All]{get: s.chassis},
		DeployTemplates: memRecords[node.DeployTemplate, node.DeployTemplateFilter]{list: s.templatesOf},
		InspectionRules: memRecords[node.InspectionRule, node.InspectionRuleFilter]{list: s.rulesOf},
	}
	return s
}

// memRecords are the records of one kind.
type memRecords[T, F any] struct {
	get              func(ctx context.Context, ident string) (T, error)
	list             func(ctx context.Context, f F, p node.Page) ([]T, error)
	create, save     func(ctx context.Context, x *T) error
	delete, deleteOf func(ctx context.Context, uuid string) error
}

func (r memRecords[T, F]) Get(ctx context.Context, ident string) (T, error) { return r.get(ctx, ident) }

func (r memRecords[T, F]) List(ctx context.Context, f F, p node.Page) ([]T, error) {
	return r.list(ctx, f, p)
}

func (r memRecords[T, F]) Create(ctx context.Context, x *T) error { return r.create(ctx, x) }

func (r memRecords[T, F]) Save(ctx context.Context, x *T) error { return r.save(ctx, x) }

func (r memRecords[T, F]) Delete(ctx context.Context, uuid string) error { return r.delete(ctx, uuid) }

func (r memRecords[T, F]) DeleteOf(ctx context.Context, uuid string) error {
	return r.deleteOf(ctx, uuid)
}

func (s *memStore) CreateNode(_ context.Context, n *node.Node) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.create(n)
}

func (s *memStore) create(n *node.Node) error {
	if s.find(n.UUID) != nil || n.Name != "" && s.find(n.Name) != nil {
		return node.Errorf(node.Conflict, "A node with UUID %s or name %q already exists.", n.UUID, n.Name)
	}
	s.nextID++
	n.ID, n.CreatedAt = s.nextID, node.Now()
	s.nodes[n.UUID] = n.Clone()
	return nil
}

func (s *memStore) EnrolNode(ctx context.Context, n *node.Node, ports []node.Port, i node.Inventory) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range ports {
		if s.taken(p) {
			return node.Errorf(node.Conflict, "A port with MAC address %s already exists.", p.Address)
		}
	}
	if err := s.create(n); err != nil {
		return err
	}
	for at := range ports {
		ports[at].NodeUUID = n.UUID
		s.add(&ports[at])
	}
	s.inventory[n.UUID] = i
	return nil
}

// find returns the stored node itself; callers hold mu.
func (s *memStore) find(ident string) *node.Node {
	if n, ok := s.nodes[ident]; ok {
		return n
	}
	for _, n := range s.nodes {
		if n.Name == ident && ident != "" {
			return n
		}
	}
	return nil
}

func (s *memStore) Node(_ context.Context, ident string) (*node.Node, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.find(ident)
	if n == nil {
		return nil, node.NodeNotFound(ident)
	}
	return n.Clone(), nil
}

func (s *memStore) Nodes(_ context.Context, f node.NodeFilter, p node.Page) ([]*node.Node, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.SortedFunc(maps.Values(s.nodes), func(a, b *node.Node) int { return cmp.Compare(a.ID, b.ID) })
	var some []*node.Node
	past := p.Marker == ""
	for _, n := range all {
		if past && (f.State == "" || n.State == f.State) && (p.Limit == 0 || len(some) < p.Limit) {
			some = append(some, n.Clone())
		}
		past = past || n.UUID == p.Marker
	}
	return some, nil
}

func (s *memStore) NodeByMACs(_ context.Context, macs []string) (*node.Node, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := ""
	for _, p := range s.ports {
		if slices.Contains(macs, p.Address) {
			if found != "" && found != p.NodeUUID {
				return nil, node.Errorf(node.Conflict, "the addresses belong to several nodes")
			}
			found = p.NodeUUID
		}
	}
	if found != "" {
		return s.nodes[found].Clone(), nil
	}
	return nil, node.Errorf(node.NotFound, "no node has these addresses")
}

func (s *memStore) Reserve(_ context.Context, ident, holder string, ttl time.Duration) (*node.Node, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.find(ident)
	if n == nil {
		return nil, node.NodeNotFound(ident)
	}
	if n.Lease.Held(time.Now()) {
		return nil, node.Locked(n)
	}
	n.Lease = node.Lease{Holder: holder, Token: n.Lease.Token + 1, Until: time.Now().Add(ttl)}
	s.writes++
	return n.Clone(), nil
}

// guarded returns the stored node when n's lease still is the one in force; callers hold mu.
func (s *memStore) guarded(n *node.Node) (*node.Node, error) {
	stored := s.nodes[n.UUID]
	if stored == nil || stored.Lease.Token != n.Lease.Token || stored.Lease.Holder != n.Lease.Holder || n.Lease.Holder == "" {
		return nil, node.ErrLeaseLost
	}
	return stored, nil
}

func (s *memStore) Renew(_ context.Context, n *node.Node, ttl time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	stored, err := s.guarded(n)
	if err != nil {
		return err
	}
	stored.Lease.Until = time.Now().Add(ttl)
	n.Lease.Until = stored.Lease.Until
	return nil
}

func (s *memStore) Save(ctx context.Context, n *node.Node) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	stored, err := s.guarded(n)
	if err != nil {
		return err
	}
	s.writes++
	c := n.Clone()
	c.Lease, c.Agent = stored.Lease, stored.Agent
	s.nodes[n.UUID] = c
	return nil
}

func (s *memStore) Release(ctx context.Context, n *node.Node) error {
	if err := s.Save(ctx, n); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes[n.UUID].Lease = node.Lease{Token: n.Lease.Token}
	n.Lease = s.nodes[n.UUID].Lease
	return nil
}

func (s *memStore) DeleteNode(_ context.Context, n *node.Node) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.guarded(n); err != nil {
		return err
	}
	delete(s.nodes, n.UUID)
	return nil
}

func (s *memStore) Work(_ context.Context, now time.Time, limit int) ([]node.Work, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var work []node.Work
	for uuid, n := range s.nodes {
		if n.Lease.Held(now) || len(work) == limit {
			continue
		}
		switch waits := n.State.Class() == node.Waiting && n.Plan != nil; {
		case n.State.Class() == node.Busy:
			work = append(work, node.Work{UUID: uuid, Why: node.WorkResume})
		case waits && due(n.Plan.Deadline, now):
			work = append(work, node.Work{UUID: uuid, Why: node.WorkDeadline})
		case waits && (due(n.Plan.PollAt, now) || n.Lease.Holder != ""):
			work = append(work, node.Work{UUID: uuid, Why: node.WorkPoll})
		case n.State.Class() == node.Held && n.Plan != nil && due(n.Plan.PollAt, now):
			work = append(work, node.Work{UUID: uuid, Why: node.WorkPoll})
		case n.TargetPower != node.PowerUnknown:
			work = append(work, node.Work{UUID: uuid, Why: node.WorkPower})
		}
	}
	return work, nil
}

func (s *memStore) SaveAgent(_ context.Context, uuid string, a node.Agent) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nodes[uuid]
	if n.Agent.Token == "" || n.Agent.VerifyCA != "" && n.Agent.VerifyCA != a.VerifyCA {
		return node.Errorf(node.Invalid, "the token was forgotten")
	}
	a.Token, a.TokenGiven, a.TokenGivenAt = n.Agent.Token, n.Agent.TokenGiven, n.Agent.TokenGivenAt
	a.BootKey, a.CalledFrom = n.Agent.BootKey, n.Agent.CalledFrom
	n.Agent = a
	return nil
}

func (s *memStore) GiveAgentToken(_ context.Context, uuid, token string, to node.Caller) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nodes[uuid]
	if n.Agent.TokenGiven {
		return false, nil
	}
	n.Agent.Token, n.Agent.TokenGiven, n.Agent.TokenGivenAt = token, true, node.Now()
	n.Agent.BootKey = to.BootKey
	if to.Address.IsValid() {
		n.Agent.CalledFrom = to.Address.String()
	}
	return true, nil
}

func (s *memStore) KeepBootKey(_ context.Context, uuid, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.nodes[uuid]; !n.Agent.TokenGiven {
		n.Agent.BootKey = key
	}
	return nil
}

func (s *memStore) RefuseAgent(_ context.Context, uuid string, at time.Time) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nodes[uuid]
	if !n.Agent.TokenGiven || !n.Agent.RefusedAt.IsZero() {
		return false, nil
	}
	n.Agent.RefusedAt = at
	return true, nil
}

func (s *memStore) ForgetAgent(_ context.Context, uuid string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes[uuid].Agent = node.Agent{}
	return nil
}

func (s *memStore) BootKey(_ context.Context, uuid string) (string, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, boots := s.keys[uuid]
	return key, boots, nil
}

func (s *memStore) NodeByBootKey(_ context.Context, key string) (*node.Node, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for uuid, n := range s.nodes {
		if key != "" && (s.keys[uuid] == key || n.Agent.BootKey == key) {
			return n.Clone(), nil
		}
	}
	return nil, node.Errorf(node.NotFound, "no node boots with this key")
}

func (s *memStore) LentAddresses(_ context.Context, macs []string) (lent []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, mac := range macs {
		if ip := s.lent[mac]; ip != "" {
			lent = append(lent, ip)
		}
	}
	return lent, nil
}

func (s *memStore) SavePower(_ context.Context, uuid string, p node.PowerState, failures int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes[uuid].Power, s.nodes[uuid].PowerFailures = p, failures
	return nil
}

func (s *memStore) createPort(_ context.Context, p *node.Port) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken(*p) {
		return node.Errorf(node.Conflict, "A port with MAC address %s already exists.", p.Address)
	}
	if p.UUID == "" {
		p.UUID = uuid.NewString()
	}
	s.add(p)
	return nil
}

func (s *memStore) taken(p node.Port) bool {
	for _, other := range s.ports {
		if other.Address == p.Address {
			return true
		}
	}
	return false
}

func (s *memStore) add(p *node.Port) {
	s.nextID++
	p.ID = s.nextID
	s.ports[p.UUID] = *p
}

func (s *memStore) port(_ context.Context, ident string) (node.Port, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.ports[ident]
	for _, other := range s.ports {
		if other.Address == ident {
			p, ok = other, true
		}
	}
	if !ok {
		return p, node.PortNotFound(ident)
	}
	return p, nil
}

func (s *memStore) portOf(_ context.Context, f node.PortFilter, _ node.Page) ([]node.Port, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var some []node.Port
	for _, p := range s.ports {
		if p.NodeUUID == f.NodeUUID && (f.Address == "" || p.Address == f.Address) && (f.PortgroupUUID == "" || p.PortgroupUUID == f.PortgroupUUID) {
			some = append(some, p)
		}
	}
	slices.SortFunc(some, func(a, b node.Port) int { return cmp.Compare(a.ID, b.ID) })
	return some, nil
}

func (s *memStore) savePort(_ context.Context, p *node.Port) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ports[p.UUID] = *p
	return nil
}

func (s *memStore) deletePort(_ context.Context, uuid string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ports, uuid)
	return nil
}

func (s *memStore) createPortgroup(_ context.Context, g *node.Portgroup) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextID++
	g.ID = s.nextID
	s.groups[g.UUID] = *g
	return nil
}

func (s *memStore) portgroup(_ context.Context, ident string) (node.Portgroup, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.groups[ident]
	if !ok {
		return g, node.PortgroupNotFound(ident)
	}
	return g, nil
}

func (s *memStore) portgroupOf(_ context.Context, f node.PortgroupFilter, _ node.Page) ([]node.Portgroup, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var some []node.Portgroup
	for _, g := range s.groups {
		if g.NodeUUID == f.NodeUUID {
			some = append(some, g)
		}
	}
	return some, nil
}

func (s *memStore) savePortgroup(_ context.Context, g *node.Portgroup) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups[g.UUID] = *g
	return nil
}

func (s *memStore) deletePortgroup(_ context.Context, uuid string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.groups, uuid)
	return nil
}

func (s *memStore) createAllocation(_ context.Context, a *node.Allocation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.allocations[a.UUID] = *a
	return nil
}

func (s *memStore) allocation(_ context.Context, ident string) (node.Allocation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.allocations[ident]
	if !ok {
		return a, node.AllocationNotFound(ident)
	}
	return a, nil
}

func (s *memStore) allocationOf(_ context.Context, f node.AllocationFilter, _ node.Page) ([]node.Allocation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var some []node.Allocation
	for _, a := range s.allocations {
		if a.State == f.State {
			some = append(some, a)
		}
	}
	return some, nil
}

func (s *memStore) saveAllocation(ctx context.Context, a *node.Allocation) error {
	return s.createAllocation(ctx, a)
}

type memAllocations struct {
	of *memStore
	Records[node.Allocation, node.AllocationFilter]
}

func (all memAllocations) End(_ context.Context, uuid, state, lastError string) (bool, error) {
	s := all.of
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.allocations[uuid]
	if ok {
		a.State, a.LastError = state, lastError
		s.allocations[uuid] = a
	}
	return ok, nil
}

func (s *memStore) deleteAllocation(_ context.Context, uuid string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.allocations[uuid]; !ok {
		return node.AllocationNotFound(uuid)
	}
	delete(s.allocations, uuid)
	return nil
}

func (s *memStore) chassis(_ context.Context, uuid string) (node.Chassis, error) {
	return node.Chassis{}, node.ChassisNotFound(uuid)
}

func (s *memStore) createVolumeConnector(_ context.Context, v *node.VolumeConnector) error {
	return s.saveVolumeConnector(context.Background(), v)
}

func (s *memStore) volumeConnector(_ context.Context, uuid string) (node.VolumeConnector, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.connectors[uuid]
	if !ok {
		return v, node.VolumeConnectorNotFound(uuid)
	}
	return v, nil
}

func (s *memStore) saveVolumeConnector(_ context.Context, v *node.VolumeConnector) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connectors[v.UUID] = *v
	return nil
}

func (s *memStore) deleteVolumeConnector(_ context.Context, uuid string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.connectors, uuid)
	return nil
}

func (s *memStore) createVolumeTarget(_ context.Context, v *node.VolumeTarget) error {
	return s.saveVolumeTarget(context.Background(), v)
}

func (s *memStore) volumeTarget(_ context.Context, uuid string) (node.VolumeTarget, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.targets[uuid]
	if !ok {
		return v, node.VolumeTargetNotFound(uuid)
	}
	return v, nil
}

func (s *memStore) volumeTargetOf(_ context.Context, f node.OfNode, _ node.Page) ([]node.VolumeTarget, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var some []node.VolumeTarget
	for _, v := range s.targets {
		if v.NodeUUID == f.UUID {
			some = append(some, v)
		}
	}
	return some, nil
}

func (s *memStore) saveVolumeTarget(_ context.Context, v *node.VolumeTarget) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.targets[v.UUID] = *v
	return nil
}

func (s *memStore) deleteVolumeTarget(_ context.Context, uuid string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.targets, uuid)
	return nil
}

func (s *memStore) deleteVolumeTargets(_ context.Context, nodeUUID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.targets, func(_ string, v node.VolumeTarget) bool { return v.NodeUUID == nodeUUID })
	return nil
}

func (s *memStore) templatesOf(_ context.Context, f node.DeployTemplateFilter, _ node.Page) ([]node.DeployTemplate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost != nil {
		return nil, s.lost
	}
	return slices.DeleteFunc(slices.Clone(s.templates), func(t node.DeployTemplate) bool { return !slices.Contains(f.Names, t.Name) }), nil
}

func (s *memStore) rulesOf(_ context.Context, f node.InspectionRuleFilter, _ node.Page) ([]node.InspectionRule, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost != nil {
		return nil, s.lost
	}
	return slices.DeleteFunc(slices.Clone(s.rules), func(r node.InspectionRule) bool { return r.Phase != f.Phase }), nil
}

func (s *memStore) AddHistory(_ context.Context, e node.HistoryEvent) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.history = append(s.history, e)
	return nil
}

func (s *memStore) Inventory(_ context.Context, uuid string) (node.Inventory, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.inventory[uuid]
	if !ok {
		return i, node.Errorf(node.NotFound, "no inventory")
	}
	return i, nil
}

func (s *memStore) SaveInventory(_ context.Context, uuid string, i node.Inventory) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inventory[uuid] = i
	return nil
}

func (s *memStore) SaveProgress(_ context.Context, p node.Progress) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.progress[p.NodeUUID] = p
	return nil
}

func (s *memStore) Progress(_ context.Context, uuid string) (*node.Progress, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.progress[uuid]; ok {
		return &p, s.unread
	}
	return nil, s.unread
}

func (s *memStore) ClearProgress(_ context.Context, uuid string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.progress, uuid)
	return nil
}

func (s *memStore) SaveLines(_ context.Context, l node.MachineLines) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lines[l.NodeUUID] == nil {
		s.lines[l.NodeUUID] = map[node.LineSource]node.MachineLines{}
	}
	s.lines[l.NodeUUID][l.Source] = l
	s.lineSaves++
	return nil
}

func (s *memStore) Lines(_ context.Context, uuid string, source node.LineSource) (node.MachineLines, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines[uuid][source], nil
}

func (s *memStore) ClearLines(_ context.Context, uuid string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.lines, uuid)
	return nil
}

func (s *memStore) SaveFailure(_ context.Context, e node.Evidence) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures[e.NodeUUID] = e
	return nil
}

func (s *memStore) Failure(_ context.Context, uuid string) (*node.Evidence, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.failures[uuid]
	if !ok {
		return nil, nil
	}
	return &e, nil
}

func (s *memStore) BootEvents(_ context.Context, macs []string, since time.Time) ([]node.BootEvent, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var some []node.BootEvent
	for _, e := range s.boots {
		if slices.Contains(macs, e.MAC) && !e.At.Before(since) {
			some = append(some, e)
		}
	}
	return some, nil
}

// dyingStore is a process's way to the database that ends after a number of writes: what comes
// later never happens, as after kill -9.
type dyingStore struct {
	*memStore
	mu   sync.Mutex
	left int
	died chan struct{} // closed at the write that did not happen
}

var errDead = errors.New("this process is dead")

func newDyingStore(s *memStore, writes int) *dyingStore {
	return &dyingStore{memStore: s, left: writes, died: make(chan struct{})}
}

func (d *dyingStore) spend() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left > 0 {
		d.left--
		return nil
	}
	select {
	case <-d.died:
	default:
		close(d.died)
	}
	return errDead
}

func (d *dyingStore) dead() bool {
	select {
	case <-d.died:
		return true
	default:
		return false
	}
}

func (d *dyingStore) Reserve(ctx context.Context, ident, holder string, ttl time.Duration) (*node.Node, error) {
	if err := d.spend(); err != nil {
		return nil, err
	}
	return d.memStore.Reserve(ctx, ident, holder, ttl)
}

func (d *dyingStore) Save(ctx context.Context, n *node.Node) error {
	if err := d.spend(); err != nil {
		return err
	}
	return d.memStore.Save(ctx, n)
}

func (d *dyingStore) Release(ctx context.Context, n *node.Node) error {
	if err := d.spend(); err != nil {
		return err
	}
	return d.memStore.Release(ctx, n)
}

func (d *dyingStore) Renew(ctx context.Context, n *node.Node, ttl time.Duration) error {
	if d.dead() {
		return errDead
	}
	return d.memStore.Renew(ctx, n, ttl)
}

func (d *dyingStore) ForgetAgent(ctx context.Context, uuid string) error {
	if d.dead() {
		return errDead
	}
	return d.memStore.ForgetAgent(ctx, uuid)
}

// whole is a database with all doors in one.
type whole interface {
	Nodes
	Agents
	Queue
	Notes
	Boots
}

func doors(db whole) Store {
	return Store{Nodes: db, Agents: db, Queue: db, Notes: db, Boots: db, Kinds: kindsOf(db)}
}

func kindsOf(db whole) Kinds {
	switch db := db.(type) {
	case *store.Store:
		return Kinds{Ports: db.Ports, Portgroups: db.Portgroups, VolumeConnectors: db.VolumeConnectors, VolumeTargets: db.VolumeTargets,
			Allocations: db.Allocations, Chassis: db.Chassis, DeployTemplates: db.DeployTemplates, InspectionRules: db.InspectionRules}
	case interface{ kinds() Kinds }:
		return db.kinds()
	}
	panic("no records")
}

func (s *memStore) kinds() Kinds { return s.Kinds }

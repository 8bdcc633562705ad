package conductor

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/store"
	"github.com/billet-metal/billet/store/memory"
)

var errDead = errors.New("this process is dead")

// process is one process's way to a database: its writes are counted, may fail, and end with the process, as after kill -9.
type process struct {
	mu     sync.Mutex
	left   int                              // writes until it dies
	died   chan struct{}                    // closed at the write that did not happen
	writes int                              // so far: the points at which it can die
	uses   map[string]int                   // how often each use was made, "Save", "Ports.List"
	before func(op string, about any) error // asked before each use; its error is the use's
}

const immortal = 1 << 30

func newProcess(writes int) *process {
	return &process{left: writes, died: make(chan struct{}), uses: map[string]int{}}
}

// lives gives the process so many more writes, also one that is dead.
func (p *process) lives(writes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = writes
	if isClosed(p.died) {
		p.died = make(chan struct{})
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// dead reports whether the last write is behind the process.
func (p *process) dead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return isClosed(p.died)
}

// fails has a use fail with err from now on; nil: no more.
func (p *process) fails(err error, ops ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.before = func(op string, _ any) error {
		for _, o := range ops {
			if o == op {
				return err
			}
		}
		return nil
	}
}

func (p *process) used(op string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.uses[op]
}

// kind of use: reads go on in a dead process, which nobody notices. Beside a write are those that may come at any time, so
// that it would be chance at which of them a process dies.
type kind int

const (
	reads kind = iota
	writes
	besides
)

func (p *process) use(k kind, op string, about any, call func() error) error {
	p.mu.Lock()
	p.uses[op]++
	before := p.before
	switch {
	case k == reads:
	case isClosed(p.died):
		p.mu.Unlock()
		return errDead
	case k == writes && p.left == 0:
		close(p.died)
		p.mu.Unlock()
		return errDead
	case k == writes:
		p.left--
		p.writes++
	}
	p.mu.Unlock()
	if before != nil {
		if err := before(op, about); err != nil {
			return err
		}
	}
	return call()
}

// to is the process's way to a database.
func (p *process) to(s Store) Store {
	s.Nodes, s.Agents, s.Notes = faultyNodes{s.Nodes, p}, faultyAgents{s.Agents, p}, faultyNotes{s.Notes, p}
	s.Ports = faultyRecords[node.Port, node.PortFilter]{s.Ports, p, "Ports"}
	s.Portgroups = faultyRecords[node.Portgroup, node.PortgroupFilter]{s.Portgroups, p, "Portgroups"}
	s.VolumeTargets = faultyTargets{faultyRecords[node.VolumeTarget, node.OfNode]{s.VolumeTargets, p, "VolumeTargets"}, s.VolumeTargets}
	s.Allocations = faultyAllocations{faultyRecords[node.Allocation, node.AllocationFilter]{s.Allocations, p, "Allocations"}, s.Allocations}
	s.DeployTemplates = faultyRecords[node.DeployTemplate, node.DeployTemplateFilter]{s.DeployTemplates, p, "DeployTemplates"}
	s.InspectionRules = faultyRecords[node.InspectionRule, node.InspectionRuleFilter]{s.InspectionRules, p, "InspectionRules"}
	return s
}

// inMemory and inSQL open all doors of a database.
func inMemory(db *memory.Store) Store {
	return Store{Nodes: db, Agents: db, Queue: db, Notes: db, Boots: db, Kinds: Kinds{Ports: db.Ports, Portgroups: db.Portgroups,
		VolumeConnectors: db.VolumeConnectors, VolumeTargets: db.VolumeTargets, Allocations: db.Allocations, Chassis: db.Chassis,
		DeployTemplates: db.DeployTemplates, InspectionRules: db.InspectionRules}}
}

func inSQL(db *store.Store) Store {
	return Store{Nodes: db, Agents: db, Queue: db, Notes: db, Boots: db, Kinds: Kinds{Ports: db.Ports, Portgroups: db.Portgroups,
		VolumeConnectors: db.VolumeConnectors, VolumeTargets: db.VolumeTargets, Allocations: db.Allocations, Chassis: db.Chassis,
		DeployTemplates: db.DeployTemplates, InspectionRules: db.InspectionRules}}
}

// allNodes are Nodes, which as a field would hide the method of that name.
type allNodes = Nodes

type faultyNodes struct {
	allNodes
	p *process
}

func (f faultyNodes) CreateNode(ctx context.Context, n *node.Node) error {
	return f.p.use(writes, "CreateNode", n, func() error { return f.allNodes.CreateNode(ctx, n) })
}

func (f faultyNodes) EnrolNode(ctx context.Context, n *node.Node, ports []node.Port, i node.Inventory) error {
	return f.p.use(writes, "EnrolNode", n, func() error { return f.allNodes.EnrolNode(ctx, n, ports, i) })
}

func (f faultyNodes) Reserve(ctx context.Context, ident, holder string, ttl time.Duration) (n *node.Node, err error) {
	err = f.p.use(writes, "Reserve", ident, func() error { n, err = f.allNodes.Reserve(ctx, ident, holder, ttl); return err })
	return n, err
}

func (f faultyNodes) Renew(ctx context.Context, n *node.Node, ttl time.Duration) error {
	return f.p.use(besides, "Renew", n, func() error { return f.allNodes.Renew(ctx, n, ttl) })
}

func (f faultyNodes) Save(ctx context.Context, n *node.Node) error {
	return f.p.use(writes, "Save", n, func() error { return f.allNodes.Save(ctx, n) })
}

func (f faultyNodes) Release(ctx context.Context, n *node.Node) error {
	return f.p.use(writes, "Release", n, func() error { return f.allNodes.Release(ctx, n) })
}

func (f faultyNodes) DeleteNode(ctx context.Context, n *node.Node) error {
	return f.p.use(writes, "DeleteNode", n, func() error { return f.allNodes.DeleteNode(ctx, n) })
}

func (f faultyNodes) SavePower(ctx context.Context, uuid string, state node.PowerState, failures int) error {
	return f.p.use(besides, "SavePower", nil, func() error { return f.allNodes.SavePower(ctx, uuid, state, failures) })
}

type faultyAgents struct {
	Agents
	p *process
}

func (f faultyAgents) SaveAgent(ctx context.Context, uuid string, a node.Agent) error {
	return f.p.use(besides, "SaveAgent", nil, func() error { return f.Agents.SaveAgent(ctx, uuid, a) })
}

func (f faultyAgents) GiveAgentToken(ctx context.Context, uuid, token string, to node.Caller) (given bool, err error) {
	err = f.p.use(besides, "GiveAgentToken", nil, func() error { given, err = f.Agents.GiveAgentToken(ctx, uuid, token, to); return err })
	return given, err
}

func (f faultyAgents) ForgetAgent(ctx context.Context, uuid string) error {
	return f.p.use(besides, "ForgetAgent", nil, func() error { return f.Agents.ForgetAgent(ctx, uuid) })
}

type faultyNotes struct {
	Notes
	p *process
}

func (f faultyNotes) AddHistory(ctx context.Context, e node.HistoryEvent) error {
	return f.p.use(besides, "AddHistory", nil, func() error { return f.Notes.AddHistory(ctx, e) })
}

func (f faultyNotes) SaveInventory(ctx context.Context, uuid string, i node.Inventory) error {
	return f.p.use(writes, "SaveInventory", nil, func() error { return f.Notes.SaveInventory(ctx, uuid, i) })
}

func (f faultyNotes) Progress(ctx context.Context, uuid string) (progress *node.Progress, err error) {
	err = f.p.use(reads, "Progress", nil, func() error { progress, err = f.Notes.Progress(ctx, uuid); return err })
	return progress, err
}

func (f faultyNotes) SaveProgress(ctx context.Context, progress node.Progress) error {
	return f.p.use(besides, "SaveProgress", nil, func() error { return f.Notes.SaveProgress(ctx, progress) })
}

func (f faultyNotes) SaveLines(ctx context.Context, l node.MachineLines) error {
	return f.p.use(besides, "SaveLines", nil, func() error { return f.Notes.SaveLines(ctx, l) })
}

func (f faultyNotes) SaveFailure(ctx context.Context, e node.Evidence) error {
	return f.p.use(besides, "SaveFailure", nil, func() error { return f.Notes.SaveFailure(ctx, e) })
}

// faultyRecords are one kind of record; name is the kind's in what is used.
type faultyRecords[T, F any] struct {
	Records[T, F]
	p    *process
	name string
}

func (f faultyRecords[T, F]) Get(ctx context.Context, ident string) (x T, err error) {
	err = f.p.use(reads, f.name+".Get", nil, func() error { x, err = f.Records.Get(ctx, ident); return err })
	return x, err
}

func (f faultyRecords[T, F]) List(ctx context.Context, by F, page node.Page) (all []T, err error) {
	err = f.p.use(reads, f.name+".List", nil, func() error { all, err = f.Records.List(ctx, by, page); return err })
	return all, err
}

func (f faultyRecords[T, F]) Create(ctx context.Context, x *T) error {
	return f.p.use(writes, f.name+".Create", nil, func() error { return f.Records.Create(ctx, x) })
}

func (f faultyRecords[T, F]) Save(ctx context.Context, x *T) error {
	return f.p.use(writes, f.name+".Save", nil, func() error { return f.Records.Save(ctx, x) })
}

func (f faultyRecords[T, F]) Delete(ctx context.Context, uuid string) error {
	return f.p.use(writes, f.name+".Delete", nil, func() error { return f.Records.Delete(ctx, uuid) })
}

type faultyTargets struct {
	faultyRecords[node.VolumeTarget, node.OfNode]
	owned OwnedRecords[node.VolumeTarget, node.OfNode]
}

func (f faultyTargets) DeleteOf(ctx context.Context, nodeUUID string) error {
	return f.p.use(writes, "VolumeTargets.DeleteOf", nil, func() error { return f.owned.DeleteOf(ctx, nodeUUID) })
}

type faultyAllocations struct {
	faultyRecords[node.Allocation, node.AllocationFilter]
	all Allocations
}

func (f faultyAllocations) End(ctx context.Context, uuid, state, lastError string) (there bool, err error) {
	err = f.p.use(writes, "Allocations.End", nil, func() error { there, err = f.all.End(ctx, uuid, state, lastError); return err })
	return there, err
}

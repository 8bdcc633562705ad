package memory

import (
	"context"
	"reflect"
	"slices"
	"strings"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/node"
)

// machine is a node and all that goes when it is deleted, but for its records.
type machine struct {
	node      node.Node
	history   []node.HistoryEvent
	inventory *node.Inventory
	progress  *node.Progress
	lines     map[node.LineSource]node.MachineLines
	failure   *node.Evidence
	record    *boot.Record
}

// CreateNode adds n and fills its ID, CreatedAt and UpdatedAt, and UUID when it is empty. A lease or an agent in n is not kept.
func (s leased) CreateNode(ctx context.Context, n *node.Node) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	return s.create(n)
}

func (s *data) create(n *node.Node) error {
	if err := fresh(&n.UUID, &n.CreatedAt, &n.UpdatedAt); err != nil {
		return err
	}
	if s.machines[n.UUID] != nil {
		return duplicate("A node with UUID %s already exists.", n.UUID)
	}
	c := kept(*n)
	if err := s.clash(&c); err != nil {
		return err
	}
	s.lastID++
	n.ID = s.lastID
	c.ID, c.Lease, c.Agent = n.ID, node.Lease{}, node.Agent{}
	s.machines[n.UUID] = &machine{node: c, lines: map[node.LineSource]node.MachineLines{}}
	return nil
}

// clash refuses a node that has what another one has.
func (s *data) clash(n *node.Node) error {
	for uuid, other := range s.machines {
		switch {
		case uuid == n.UUID:
		case n.Name != "" && n.Name == other.node.Name:
			return duplicate("A node with name %s already exists.", n.Name)
		case n.InstanceUUID != "" && n.InstanceUUID == other.node.InstanceUUID:
			return duplicate("Instance %s is already associated with a node, it cannot be associated with this other node %s.",
				n.InstanceUUID, n.UUID)
		}
	}
	return nil
}

// EnrolNode adds n with its ports and its inventory: all of them or nothing.
func (s leased) EnrolNode(ctx context.Context, n *node.Node, ports []node.Port, i node.Inventory) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if err := s.create(n); err != nil {
		return err
	}
	for at := range ports {
		ports[at].NodeUUID = n.UUID
		if err := s.Ports.create(&ports[at]); err != nil {
			s.drop(n.UUID)
			return err
		}
	}
	i = kept(i)
	s.machines[n.UUID].inventory = &i
	return nil
}

func (s *data) drop(uuid string) {
	delete(s.machines, uuid)
	delete(s.damage, uuid)
	s.dropOf(uuid)
}

// load is a node as it is read.
func (s *data) load(m *machine) *node.Node {
	n := kept(m.node)
	spoiled(reflect.ValueOf(&n).Elem(), s.damage[n.UUID])
	if _, damaged := n.Unreadable["agent_token"]; damaged {
		n.Agent.Token = ""
	}
	return &n
}

// Node returns a node by UUID or name.
func (s leased) Node(ctx context.Context, ident string) (*node.Node, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	m, err := s.find(ident)
	if err != nil {
		return nil, err
	}
	return s.load(m), nil
}

// Nodes lists nodes. With p.Hot their documents, config drives, plans and agents stay empty. Child nodes are hidden unless f
// asks for them.
func (s leased) Nodes(ctx context.Context, f node.NodeFilter, p node.Page) ([]*node.Node, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	all := s.byID()
	rows := make([]*node.Node, len(all))
	for i, m := range all {
		rows[i] = &m.node
	}
	some, err := page(rows, func(n *node.Node) bool { return fits(n, f) }, p, node.NodeNotFound)
	if err != nil {
		return nil, err
	}
	for i, n := range some {
		if some[i] = s.load(s.machines[n.UUID]); p.Hot {
			some[i] = hot(some[i])
		}
	}
	return some, nil
}

func fits(n *node.Node, f node.NodeFilter) bool {
	has := func(want *bool, have string) bool { return want == nil || *want == (have != "") }
	return is(f.State, n.State) && is(f.Driver, n.Driver) && is(f.ResourceClass, n.ResourceClass) && is(f.Owner, n.Owner) &&
		is(f.Lessee, n.Lessee) && is(f.InstanceName, n.InstanceName) && is(strings.ToLower(f.InstanceUUID), n.InstanceUUID) &&
		is(f.ChassisUUID, n.ChassisUUID) && is(f.ParentNode, n.ParentNode) && same(f.Maintenance, n.Maintenance) && same(f.Retired, n.Retired) &&
		has(f.Associated, n.InstanceUUID) && has(f.Sharded, n.Shard) && same(f.Fault, n.Fault) && same(f.ConductorGroup, n.ConductorGroup) &&
		(is(f.Project, n.Owner) || is(f.Project, n.Lessee)) && contains(n.Description, f.DescriptionContains) && oneOf(f.Shards, n.Shard) &&
		(f.Holder == "" || f.Holder == n.Lease.Holder && n.Lease.Held(node.Now())) &&
		(f.ParentNode != "" || f.IncludeChildren || n.ParentNode == "")
}

// hot leaves of a node what a list needs.
func hot(n *node.Node) *node.Node {
	n.Interfaces, n.Traits, n.Plan, n.ConfigDrive, n.Agent, n.Unreadable = nil, nil, nil, "", node.Agent{}, nil
	n.Properties, n.DriverInfo, n.InstanceInfo, n.DriverInternalInfo = nil, nil, nil, nil
	n.Extra, n.NetworkData, n.RAIDConfig, n.TargetRAIDConfig = nil, nil, nil, nil
	return n
}

// Shards counts the nodes of every shard, and those without one, the largest first.
func (s leased) Shards(ctx context.Context) ([]node.Shard, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	shards := []node.Shard{}
	for _, m := range s.machines {
		i := slices.IndexFunc(shards, func(h node.Shard) bool { return h.Name == m.node.Shard })
		if i < 0 {
			i = len(shards)
			shards = append(shards, node.Shard{Name: m.node.Shard})
		}
		shards[i].Nodes++
	}
	slices.SortFunc(shards, func(a, b node.Shard) int {
		if a.Nodes != b.Nodes {
			return b.Nodes - a.Nodes
		}
		return strings.Compare(a.Name, b.Name)
	})
	return shards, nil
}

// NodeByMACs returns the node that has a port with any of the MACs.
func (s leased) NodeByMACs(ctx context.Context, macs []string) (*node.Node, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var uuids []string
	for _, p := range s.Ports.rows {
		if slices.Contains(lower(macs), p.Address) && !slices.Contains(uuids, p.NodeUUID) {
			uuids = append(uuids, p.NodeUUID)
		}
	}
	slices.Sort(uuids)
	list := strings.Join(macs, ", ")
	switch len(uuids) {
	case 0:
		return nil, node.Errorf(node.NotFound, "No node has a port with any of the MAC addresses %s.", list)
	case 1:
		return s.load(s.machines[uuids[0]]), nil
	}
	return nil, node.Errorf(node.Conflict, "The MAC addresses %s belong to several nodes: %s.", list, strings.Join(uuids, ", "))
}

// SavePower writes what the BMC said, without the lease, when it is news.
func (s leased) SavePower(ctx context.Context, uuid string, p node.PowerState, failures int) error {
	return s.change(ctx, uuid, func(m *machine) error {
		if m.node.Power != p || m.node.PowerFailures != failures {
			m.node.Power, m.node.PowerFailures, m.node.UpdatedAt = p, failures, node.Now()
		}
		return nil
	})
}

// change lets f write what belongs to a node, by UUID.
func (s *data) change(ctx context.Context, uuid string, f func(m *machine) error) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	m := s.machines[strings.ToLower(uuid)]
	if m == nil {
		return node.NodeNotFound(uuid)
	}
	return f(m)
}

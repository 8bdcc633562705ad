package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/billet-metal/billet/node"
)

// A server is made step by step, and whatever stops it, all of what was made is taken back: by what is there, not by what is
// remembered, since the answer to the step that failed may have been lost.

// making is a server that is being made.
type making struct {
	*Servers
	order    Order
	networks []Network
	ports    []Port // that it is attached to
	uuid     string // of the allocation
	node     *node.Node
}

// Create makes a server. When it returns an error there is none: the error says why, and what could not be taken back.
func (s *Servers) Create(ctx context.Context, o Order) (Server, error) {
	if err := o.Check(); err != nil {
		return Server{}, err
	}
	m := &making{Servers: s, order: o, uuid: uuid.NewString()}
	if err := m.look(ctx); err != nil {
		return Server{}, err
	}
	err := m.make(ctx)
	if err == nil && o.Wait > 0 {
		err = m.wait(ctx)
	}
	if err != nil {
		return Server{}, m.undo(ctx, err)
	}
	v, err := s.Show(context.WithoutCancel(ctx), m.uuid)
	if err != nil { // it is there all the same
		v = described(node.Allocation{UUID: m.uuid, Name: o.Name, NodeUUID: m.node.UUID, ResourceClass: o.Class, Extra: o.extra(nil)}, nil)
	}
	return v, nil
}

// CreateAll makes servers side by side. Each stands for itself: those that fail are taken back, the others stay.
func (s *Servers) CreateAll(ctx context.Context, orders []Order) ([]Server, []error) {
	made, errs := make([]Server, len(orders)), make([]error, len(orders))
	var all sync.WaitGroup
	for i, o := range orders {
		all.Go(func() { made[i], errs[i] = s.Create(ctx, o) })
	}
	all.Wait()
	return made, errs
}

// look finds what the order names, and what is there by its name already, before anything is made.
func (m *making) look(ctx context.Context) error {
	if len(m.order.Networks)+len(m.order.Ports) > 0 && m.Networks == nil {
		return invalid("Networks and ports are Neutron's, and there is no login to it: OS_AUTH_URL and the other variables of the openstack " +
			"command, or Billet's openstack_ keys, hold one.")
	}
	for _, ident := range m.order.Networks {
		network, err := m.Networks.Network(ctx, ident)
		if err != nil {
			return err
		}
		m.networks = append(m.networks, network)
	}
	for _, id := range m.order.Ports {
		port, err := m.Networks.Port(ctx, id)
		if err != nil {
			return err
		}
		m.ports = append(m.ports, port)
	}
	return m.nameIsFree(ctx)
}

func (m *making) nameIsFree(ctx context.Context) error {
	a, err := m.Allocations.Allocation(ctx, m.order.Name)
	switch {
	case err == nil && a.NodeUUID == "":
		return node.Errorf(node.Conflict, "There is a server %s already, without a node (%s). `billet server delete %s` removes it.",
			m.order.Name, a.State, m.order.Name)
	case err == nil:
		return node.Errorf(node.Conflict, "There is a server %s already, on node %s. `billet server show %s` tells of it, and "+
			"`billet server delete %s` takes it back.", m.order.Name, a.NodeUUID, m.order.Name, m.order.Name)
	case node.KindOf(err) != node.NotFound:
		return err
	case len(m.networks) == 0:
		return nil
	}
	left, err := m.Networks.Ports(ctx, m.order.Name)
	if err == nil && len(left) > 0 {
		err = node.Errorf(node.Conflict, "Neutron has port %s of an earlier server %s. `billet server delete %s` removes it.",
			left[0].ID, m.order.Name, m.order.Name)
	}
	return err
}

// make goes as far as the deploy that has begun.
func (m *making) make(ctx context.Context) error {
	for _, step := range []func(context.Context) error{m.allocate, m.addressIsFree, m.connect, m.describe, m.deploy} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (m *making) allocate(ctx context.Context) error {
	var a node.Allocation
	var given []string
	for _, p := range m.ports {
		given = append(given, p.Addresses...)
	}
	err := whole(ctx, func(ctx context.Context) (err error) {
		a, err = m.Allocations.CreateAllocation(ctx, node.Allocation{UUID: m.uuid, Name: m.order.Name, ResourceClass: m.order.Class,
			Traits: m.order.Traits, CandidateNodes: m.order.Candidates, Extra: m.order.extra(given)})
		return err
	})
	for err == nil && a.State == node.Allocating { // the process that looked for a node has died: another takes it up
		if !m.pause(ctx) {
			return ctx.Err()
		}
		a, err = m.Allocations.Allocation(ctx, m.uuid)
	}
	switch {
	case err != nil:
		return err
	case a.State != node.Allocated:
		return node.Errorf(node.Conflict, "%s", a.LastError)
	}
	if m.node, err = m.Nodes.Node(ctx, a.NodeUUID); err != nil {
		return err
	}
	m.say(m.order.Name, "has node "+called(m.node))
	return nil
}

// addressIsFree looks whether another server, or a machine that asked DHCP, has the address. It is asked after the server's own
// allocation was made: of two that are made at the same time at least one sees the other.
func (m *making) addressIsFree(ctx context.Context) error {
	if m.order.Address == nil {
		return nil
	}
	wanted := m.order.Address.Prefix.Addr().String()
	others, err := m.Allocations.Allocations(ctx)
	if err != nil {
		return err
	}
	for _, a := range others {
		if a.UUID != m.uuid && asked(a).String("address") == wanted {
			return node.Errorf(node.Conflict, "The address %s is that of server %s.", wanted, a.Name)
		}
	}
	lent, err := m.Nodes.Addresses(ctx)
	if err != nil {
		return err
	}
	for of, addresses := range lent {
		for _, address := range addresses {
			if address == wanted && of != m.node.UUID {
				return node.Errorf(node.Conflict, "The address %s has been lent to node %s by DHCP.", wanted, of)
			}
		}
	}
	return nil
}

// connect makes the ports and attaches them.
func (m *making) connect(ctx context.Context) error {
	for _, network := range m.networks {
		var port Port
		err := whole(ctx, func(ctx context.Context) (err error) {
			port, err = m.Networks.CreatePort(ctx, network, m.order.Name, m.uuid)
			return err
		})
		if err != nil {
			return err
		}
		port.MTU = network.MTU
		m.ports = append(m.ports, port)
	}
	for _, port := range m.ports {
		err := m.patiently(ctx, func(ctx context.Context) error {
			return m.Nodes.AttachVIF(ctx, m.node.UUID, node.VIF{ID: port.ID})
		})
		if err != nil {
			return fmt.Errorf("port %s was not attached to node %s: %w", port.ID, called(m.node), err)
		}
	}
	return nil
}

// lockTries is how often a node that somebody holds is asked for again.
const lockTries = 5

// patiently makes a change of the node, which somebody (the power sync, for one) may hold for a moment.
func (m *making) patiently(ctx context.Context, change func(context.Context) error) error {
	for try := 1; ; try++ {
		err := whole(ctx, change)
		if node.KindOf(err) != node.Conflict || err == nil || try == lockTries {
			return err
		}
		if !m.pause(ctx) {
			return ctx.Err()
		}
	}
}

// describe writes onto the node what it is to become.
func (m *making) describe(ctx context.Context) error {
	info := node.Document{"display_name": m.order.Name}
	if traits, ok := m.node.InstanceInfo["traits"]; ok { // the allocation's
		info["traits"] = traits
	}
	m.order.Image.write(info)
	return m.patiently(ctx, func(ctx context.Context) error { return m.Nodes.SetInstance(ctx, m.node.UUID, info) })
}

func (m *making) deploy(ctx context.Context) error {
	network, err := m.networkData(ctx)
	if err != nil {
		return err
	}
	req, err := m.order.deploy(m.uuid, m.node, network)
	if err != nil {
		return err
	}
	err = m.patiently(ctx, func(ctx context.Context) error { return m.Nodes.Provision(ctx, m.node.UUID, req) })
	if err == nil {
		m.say(m.order.Name, "is being deployed: "+bare(m.order.Image.Source))
	}
	return err
}

func (m *making) networkData(ctx context.Context) (node.Document, error) {
	if m.order.Address == nil && len(m.ports) == 0 {
		return nil, nil
	}
	wires, err := m.Nodes.Wires(ctx, m.node.UUID)
	if err != nil {
		return nil, err
	}
	if m.order.Address != nil {
		return static(*m.order.Address, wires)
	}
	return dynamic(m.ports, wires), nil
}

// wait returns when the server runs.
func (m *making) wait(ctx context.Context) error {
	asked := ctx
	ctx, cancel := context.WithTimeout(ctx, m.order.Wait)
	defer cancel()
	err := m.active(ctx, m.order.Name, m.uuid, m.node.UUID)
	if ctx.Err() != nil && asked.Err() == nil {
		return fmt.Errorf("it is not active after %s: %w", m.order.Wait.Round(time.Second), err)
	}
	return err
}

// undo takes back what was made of a server, and returns why and what is left of it.
func (m *making) undo(ctx context.Context, why error) error {
	if errors.Is(why, context.Canceled) {
		why = errors.New("stopped")
	}
	why = part{why}
	m.say(m.order.Name, "is taken back: "+why.Error())
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.patience())
	defer cancel()
	n, err := m.remove(ctx, m.order.Name, m.uuid, len(m.networks) > 0)
	switch {
	case err != nil:
		return fmt.Errorf("server %s was not made: %w. It could not be taken back: %w; `billet server delete %s` finishes that",
			m.order.Name, why, part{err}, m.order.Name)
	case n != nil && n.State != node.Available:
		return fmt.Errorf("server %s was not made: %w. All of it was taken back; node %s is %q and goes on by itself",
			m.order.Name, why, called(n), n.State)
	}
	return fmt.Errorf("server %s was not made: %w. All of it was taken back", m.order.Name, why)
}

// part is an error that another sentence goes on after.
type part struct{ error }

func (p part) Error() string { return strings.TrimSuffix(p.error.Error(), ".") }
func (p part) Unwrap() error { return p.error }

// called is what people call a node.
func called(n *node.Node) string {
	if n.Name != "" {
		return n.Name
	}
	return n.UUID
}

// asked is what an allocation keeps of its server's order.
func asked(a node.Allocation) node.Document {
	d, _ := a.Extra[extraKey].(map[string]any)
	return node.Document(d)
}

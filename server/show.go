package server

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/billet-metal/billet/node"
)

// List returns all servers, by name. Instances that somebody else put on nodes, without an allocation, are among them.
func (s *Servers) List(ctx context.Context) ([]Server, error) {
	all, err := s.Allocations.Allocations(ctx)
	if err != nil {
		return nil, err
	}
	instances, err := s.Nodes.Instances(ctx)
	if err != nil {
		return nil, err
	}
	on := map[string]*node.Node{}
	list := []Server{}
	for _, n := range instances {
		if on[n.AllocationUUID] = n; n.AllocationUUID == "" {
			list = append(list, foreign(n))
		}
	}
	for _, a := range all {
		list = append(list, described(a, on[a.UUID]))
	}
	slices.SortFunc(list, func(a, b Server) int { return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.UUID, b.UUID)) })
	return list, s.addresses(ctx, list, "")
}

// Show returns one server, by name or UUID.
func (s *Servers) Show(ctx context.Context, ident string) (Server, error) {
	a, err := s.Allocations.Allocation(ctx, ident)
	if node.KindOf(err) == node.NotFound {
		return Server{}, node.Errorf(node.NotFound, "There is no server %s.", ident)
	}
	if err != nil {
		return Server{}, err
	}
	var n *node.Node
	if a.NodeUUID != "" {
		if n, err = s.Nodes.Node(ctx, a.NodeUUID); err != nil {
			return Server{}, err
		}
	}
	one := []Server{described(a, n)}
	err = s.addresses(ctx, one, a.Name)
	return one[0], err
}

func described(a node.Allocation, n *node.Node) Server {
	v := Server{UUID: a.UUID, Name: a.Name, State: a.State, NodeUUID: a.NodeUUID, Class: a.ResourceClass, LastError: a.LastError,
		CreatedAt: a.CreatedAt, asked: asked(a), Addresses: []string{}}
	v.Image = v.asked.String("image")
	if n == nil {
		return v
	}
	v.State, v.NodeName, v.Power, v.LastError = string(n.State), n.Name, string(n.Power), n.LastError
	v.Image = cmp.Or(bare(n.InstanceInfo.String("image_source")), v.Image)
	return v
}

// foreign is an instance that is no server of ours.
func foreign(n *node.Node) Server {
	return Server{UUID: n.InstanceUUID, Name: n.InstanceName, State: string(n.State), NodeUUID: n.UUID, NodeName: n.Name,
		Power: string(n.Power), Class: n.ResourceClass, Image: bare(n.InstanceInfo.String("image_source")), LastError: n.LastError,
		CreatedAt: n.ProvisionUpdatedAt, Addresses: []string{}}
}

// addresses fills in where servers can be reached: what Neutron gave them, else what they were told, else what DHCP lent.
func (s *Servers) addresses(ctx context.Context, list []Server, name string) error {
	lent, err := s.Nodes.Addresses(ctx)
	if err != nil {
		return err
	}
	given := map[string][]string{}
	if s.Networks != nil {
		ports, err := s.Networks.Ports(ctx, name)
		if err != nil { // the rest is worth showing
			s.say("-", "addresses that Neutron gave are not known: "+err.Error())
		}
		for _, p := range ports {
			given[p.Server] = append(given[p.Server], p.Addresses...)
		}
	}
	for i, v := range list {
		told := v.asked.String("address")
		if there := v.asked.String("given"); there != "" {
			given[v.UUID] = append(given[v.UUID], strings.Split(there, ",")...)
		}
		switch {
		case len(given[v.UUID]) > 0:
			list[i].Addresses = given[v.UUID]
		case told != "":
			list[i].Addresses = []string{told}
		case v.NodeUUID != "" && lent[v.NodeUUID] != nil:
			list[i].Addresses = lent[v.NodeUUID]
		}
	}
	return nil
}

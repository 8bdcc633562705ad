package server

import (
	"context"
	"errors"
	"fmt"

	"github.com/billet-metal/billet/node"
)

// Taking back goes by what is there, step by step, and may be repeated: by the program that failed to make a server, by the one
// that was asked to delete it, by the next one when that was killed.

// Delete takes a server back, by name or UUID: the machine is torn down, and what was made for it is removed. It returns when the
// node is no longer the server's; with wait, when the node has been cleaned. What an earlier try left is removed as well.
func (s *Servers) Delete(ctx context.Context, ident string, wait bool) error {
	a, err := s.Allocations.Allocation(ctx, ident)
	switch node.KindOf(err) {
	case node.NotFound:
		return s.deleteLeft(ctx, ident)
	}
	if err != nil {
		return err
	}
	name := named(a)
	bounded, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	inNeutron := asked(a)["neutron"] == true
	n, err := s.remove(bounded, name, a.UUID, inNeutron && s.Networks != nil)
	switch {
	case err != nil:
		return fmt.Errorf("server %s is not gone: %w; `billet server delete %s` finishes that", name, part{err}, ident)
	case inNeutron && s.Networks == nil:
		return fmt.Errorf("server %s is gone, but for its ports in Neutron, to which there is no login: with OS_AUTH_URL and the other "+
			"variables set, `billet server delete %s` removes them", name, name)
	case n == nil:
		return nil
	case wait:
		return s.cleaned(ctx, name, n)
	case n.State != node.Available:
		s.say(name, fmt.Sprintf("is gone; node %s is %q and goes on by itself", called(n), n.State))
	}
	return nil
}

// named is what a server is called: an allocation needs no name.
func named(a node.Allocation) string {
	if a.Name != "" {
		return a.Name
	}
	return a.UUID
}

// deleteLeft removes what is left of a server whose allocation is gone.
func (s *Servers) deleteLeft(ctx context.Context, name string) error {
	there, err := s.Nodes.Instances(ctx)
	if err != nil {
		return err
	}
	for _, n := range there {
		if n.AllocationUUID == "" && (n.InstanceName == name || n.InstanceUUID == name) {
			return node.Errorf(node.Conflict, "Node %s has an instance %s without an allocation: somebody else made it. "+
				"`billet node undeploy %s` takes it back all the same.", called(n), name, called(n))
		}
	}
	if s.Networks == nil {
		return node.Errorf(node.NotFound, "There is no server %s.", name)
	}
	left, err := s.Networks.Ports(ctx, name)
	if err != nil || len(left) == 0 {
		return errors.Join(err, node.Errorf(node.NotFound, "There is no server %s.", name))
	}
	for _, p := range left {
		if _, err := s.Allocations.Allocation(ctx, p.Server); node.KindOf(err) != node.NotFound || err == nil {
			return errors.Join(err, node.Errorf(node.Conflict, "Port %s is that of server %s, which has another name now.", p.ID, p.Server))
		}
		if err := s.Networks.DeletePort(ctx, p.ID); err != nil {
			return err
		}
		s.say(name, "had left port "+p.ID+" in Neutron, which is deleted")
	}
	return nil
}

// refusals is how often in a row the service may refuse a step before that is taken for its last word: what was read of a node
// may have changed a moment later.
const refusals = 3

// removal is a server that is being taken back.
type removal struct {
	*Servers
	name, uuid string
	node       *node.Node // as it was seen last; nil: none was
	asked      bool       // the tear-down was asked for
}

// errStays is for what no further look at a node changes.
var errStays = errors.New("a person must look at it")

// remove takes back all that bears an allocation's UUID, until ctx ends. It returns the node that was the server's, as it was seen
// last; nil: it had none. With ports, those that were made for it in Neutron are deleted.
func (s *Servers) remove(ctx context.Context, name, uuid string, ports bool) (*node.Node, error) {
	r := removal{Servers: s, name: name, uuid: uuid}
	for said, refused := "", 0; ; {
		gone, err := r.step(ctx)
		if gone && ports {
			err = s.dropPorts(ctx, name, uuid)
		}
		if gone && err == nil {
			return s.last(ctx, r.node), nil
		}
		if refused++; node.KindOf(err) != node.Invalid {
			refused = 0
		}
		if node.KindOf(err) == node.Forbidden || refused >= refusals || errors.Is(err, errStays) {
			return r.node, err
		}
		if r.node != nil && said != string(r.node.State) {
			said = string(r.node.State)
			s.say(name, fmt.Sprintf("is being taken back; node %s is %q", called(r.node), said))
		}
		if !s.pause(ctx) {
			return r.node, errors.Join(r.stuck(), err)
		}
	}
}

// stuck says where a removal stands.
func (r *removal) stuck() error {
	switch {
	case r.node == nil:
		return fmt.Errorf("its allocation %s is there still", r.uuid)
	case r.node.LastError != "":
		return fmt.Errorf("node %s is %q: %s", called(r.node), r.node.State, r.node.LastError)
	}
	return fmt.Errorf("node %s is %q", called(r.node), r.node.State)
}

// last looks at the node once more, to tell in which state it is left. What is not known is told as it was.
func (s *Servers) last(ctx context.Context, n *node.Node) *node.Node {
	if n == nil {
		return nil
	}
	if now, err := s.Nodes.Node(ctx, n.UUID); err == nil {
		return now
	}
	return n
}

// step does what can be done next; gone: nothing but ports of Neutron can be left.
func (r *removal) step(ctx context.Context) (gone bool, err error) {
	a, err := r.Allocations.Allocation(ctx, r.uuid)
	if node.KindOf(err) == node.NotFound {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if a.NodeUUID == "" {
		return false, r.forget(ctx, r.uuid)
	}
	n, err := r.Nodes.Node(ctx, a.NodeUUID)
	switch {
	case node.KindOf(err) == node.NotFound, err == nil && n.AllocationUUID != r.uuid:
		return false, r.forget(ctx, r.uuid)
	case err != nil:
		return false, err
	}
	r.node = n
	return false, r.takeNode(ctx)
}

// takeNode does with the server's node what can be done in its state.
func (r *removal) takeNode(ctx context.Context) error {
	n := r.node
	_, deletable := n.State.Next(node.EventDelete)
	class := n.State.Class()
	switch {
	case n.State == node.Error && r.asked, class == node.Held, class == node.Failed && !deletable:
		return fmt.Errorf("%w; %w", r.stuck(), errStays)
	case deletable:
		err := r.Nodes.Provision(ctx, n.UUID, node.ProvisionRequest{Event: node.EventDelete})
		r.asked = r.asked || err == nil
		return err
	case class == node.Stable: // nothing was written
		return r.free(ctx, n, r.uuid)
	}
	return nil // it moves by itself
}

// free lets a node go that was not deployed.
func (s *Servers) free(ctx context.Context, n *node.Node, uuid string) error {
	wires, err := s.Nodes.Wires(ctx, n.UUID)
	if err != nil {
		return err
	}
	for _, id := range node.VIFs(wires.Ports, wires.Portgroups) {
		if err := s.Nodes.DetachVIF(ctx, n.UUID, id); err != nil {
			return fmt.Errorf("port %s was not detached from node %s: %w", id, called(n), err)
		}
	}
	if len(n.InstanceInfo) > 0 {
		if err := s.Nodes.SetInstance(ctx, n.UUID, node.Document{}); err != nil {
			return err
		}
	}
	return s.forget(ctx, uuid)
}

func (s *Servers) forget(ctx context.Context, uuid string) error {
	err := s.Allocations.DeleteAllocation(ctx, uuid)
	if node.KindOf(err) == node.NotFound {
		return nil
	}
	return err
}

// dropPorts deletes the ports that were made for a server.
func (s *Servers) dropPorts(ctx context.Context, name, uuid string) error {
	ports, err := s.Networks.Ports(ctx, name)
	if err != nil {
		return err
	}
	for _, p := range ports {
		if p.Server != uuid {
			continue
		}
		if err := s.Networks.DeletePort(ctx, p.ID); err != nil {
			return fmt.Errorf("port %s was not deleted: %w", p.ID, err)
		}
	}
	return nil
}

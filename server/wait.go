package server

import (
	"context"
	"fmt"

	"github.com/billet-metal/billet/node"
)

// active returns when a server runs, with an error when it never will.
func (s *Servers) active(ctx context.Context, name, uuid, on string) error {
	n, err := s.follow(ctx, name, on, func(n *node.Node) bool {
		return n.State == node.Active || n.State.Class() == node.Failed || n.InstanceUUID != uuid
	})
	switch {
	case err != nil:
		return err
	case n.InstanceUUID != uuid:
		return node.Errorf(node.Conflict, "Node %s has been taken from the server: it is %q.", called(n), n.State)
	case n.State != node.Active:
		return node.Errorf(node.Conflict, "Node %s is %q: %s (`billet node why %s` shows what was seen)",
			called(n), n.State, n.LastError, called(n))
	}
	s.say(name, "is active")
	return nil
}

// cleaned returns when a node that was a server's can be another's.
func (s *Servers) cleaned(ctx context.Context, name string, n *node.Node) error {
	n, err := s.follow(ctx, name, n.UUID, func(n *node.Node) bool {
		return n.State == node.Available || n.State == node.Manageable || n.State.Class() == node.Failed || n.InstanceUUID != ""
	})
	if err == nil && n.State.Class() == node.Failed && n.InstanceUUID == "" {
		return node.Errorf(node.Conflict, "Server %s is gone, but its node %s is %q: %s (`billet node why %s` shows what was seen)",
			name, called(n), n.State, n.LastError, called(n))
	}
	return err
}

// follow looks at a node until it is where it should be, and says what it does meanwhile. A service that is away is asked again.
func (s *Servers) follow(ctx context.Context, name, uuid string, arrived func(*node.Node) bool) (*node.Node, error) {
	said := ""
	tell := func(line string) {
		if line != "" && line != said {
			said = line
			s.say(name, line)
		}
	}
	for {
		n, err := s.Nodes.Node(ctx, uuid)
		switch kind := node.KindOf(err); {
		case err == nil && arrived(n):
			return n, nil
		case kind == node.NotFound, kind == node.Forbidden:
			return nil, err
		case err != nil && ctx.Err() == nil:
			tell("the service does not answer; trying again: " + err.Error())
		case err == nil:
			doing, err := s.Nodes.Progress(ctx, uuid)
			if err == nil && doing == "" {
				doing = fmt.Sprintf("node %s is %q", called(n), n.State)
			}
			tell(doing)
		}
		if !s.pause(ctx) {
			return nil, ctx.Err()
		}
	}
}

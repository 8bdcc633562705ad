package server

import (
	"context"
	"fmt"
	"time"

	"github.com/billet-metal/billet/node"
)

// Rebuild is what is changed of a server that keeps its machine, its networks, its keys and its user data.
type Rebuild struct {
	Image             Image // no source: the one that it has
	PreserveEphemeral bool  // of a partition image: the data partition stays
	Wait              time.Duration
}

// Rebuild writes a server's disk anew.
func (s *Servers) Rebuild(ctx context.Context, ident string, r Rebuild) (Server, error) {
	if err := r.Image.check(false); err != nil {
		return Server{}, err
	}
	v, err := s.Show(ctx, ident)
	if err != nil {
		return v, err
	}
	if v.NodeUUID == "" {
		return v, node.Errorf(node.Conflict, "Server %s has no node.", v.Name)
	}
	n, err := s.Nodes.Node(ctx, v.NodeUUID)
	if err != nil {
		return v, err
	}
	if _, ok := n.State.Next(node.EventRebuild); !ok {
		return v, node.Errorf(node.Conflict, "Server %s can not be rebuilt while its node %s is %q.", v.Name, called(n), n.State)
	}
	if err := s.rebuild(ctx, n, r); err != nil {
		return v, err
	}
	if r.Wait > 0 {
		ctx, cancel := context.WithTimeout(ctx, r.Wait)
		defer cancel()
		if err := s.active(ctx, v.Name, v.UUID, n.UUID); err != nil {
			return v, fmt.Errorf("server %s was not rebuilt: %w", v.Name, err)
		}
	}
	return s.Show(context.WithoutCancel(ctx), v.UUID)
}

// rebuild asks for it. What the node is described as goes back to what it was when the service refuses.
func (s *Servers) rebuild(ctx context.Context, n *node.Node, r Rebuild) error {
	info := n.InstanceInfo.Clone()
	r.Image.write(info)
	delete(info, "preserve_ephemeral")
	if r.PreserveEphemeral {
		info["preserve_ephemeral"] = true
	}
	m := making{Servers: s}
	err := m.patiently(ctx, func(ctx context.Context) error { return s.Nodes.SetInstance(ctx, n.UUID, info) })
	if err != nil {
		return err
	}
	err = m.patiently(ctx, func(ctx context.Context) error {
		return s.Nodes.Provision(ctx, n.UUID, node.ProvisionRequest{Event: node.EventRebuild})
	})
	if err == nil {
		return nil
	}
	back := whole(context.WithoutCancel(ctx), func(ctx context.Context) error { return s.Nodes.SetInstance(ctx, n.UUID, n.InstanceInfo) })
	if back != nil {
		return fmt.Errorf("%w; and node %s is described by the new image still: %w", err, called(n), back)
	}
	return err
}

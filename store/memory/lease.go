package memory

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/billet-metal/billet/node"
)

// Reserve grants the node's lease to holder for ttl and returns the node as it is now.
func (s leased) Reserve(ctx context.Context, ident, holder string, ttl time.Duration) (*node.Node, error) {
	if holder == "" || ttl <= 0 {
		return nil, fmt.Errorf("reserve node %s: a lease needs a holder and a time, got %q and %s", ident, holder, ttl)
	}
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	m, err := s.find(ident)
	if err != nil {
		return nil, err
	}
	now := node.Now()
	if m.node.Lease.Held(now) {
		return nil, node.Locked(s.load(m))
	}
	m.node.Lease = node.Lease{Holder: holder, Token: m.node.Lease.Token + 1, Until: micros(now.Add(ttl))}
	return s.load(m), nil
}

// DropLeases lets go of every lease of holder. The tokens stay.
func (s leased) DropLeases(ctx context.Context, holder string) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	for _, m := range s.machines {
		if holder != "" && m.node.Lease.Holder == holder {
			m.node.Lease = node.Lease{Token: m.node.Lease.Token}
		}
	}
	return nil
}

// guarded lets f write under n's lease, unless another was granted it since.
func (s *data) guarded(ctx context.Context, n *node.Node, f func(m *machine) error) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	m := s.machines[n.UUID]
	if m == nil || n.Lease.Holder == "" || m.node.Lease.Holder != n.Lease.Holder || m.node.Lease.Token != n.Lease.Token {
		return node.ErrLeaseLost
	}
	return f(m)
}

// Renew moves the lease's end to ttl from now.
func (s leased) Renew(ctx context.Context, n *node.Node, ttl time.Duration) error {
	return s.guarded(ctx, n, func(m *machine) error {
		n.Lease.Until = micros(node.Now().Add(ttl))
		m.node.Lease.Until = n.Lease.Until
		return nil
	})
}

// Save writes the whole node under its lease, but for its agent and its lease, and sets n.UpdatedAt.
func (s leased) Save(ctx context.Context, n *node.Node) error {
	return s.guarded(ctx, n, func(m *machine) error { return s.save(m, n) })
}

// Release saves n and lets go of its lease. The token stays.
func (s leased) Release(ctx context.Context, n *node.Node) error {
	return s.guarded(ctx, n, func(m *machine) error {
		if err := s.save(m, n); err != nil {
			return err
		}
		n.Lease = node.Lease{Token: n.Lease.Token}
		m.node.Lease = n.Lease
		return nil
	})
}

func (s *data) save(m *machine, n *node.Node) error {
	c := kept(*n)
	if err := s.clash(&c); err != nil {
		return err
	}
	n.ID, n.UpdatedAt = m.node.ID, node.Now()
	c.ID, c.CreatedAt, c.UpdatedAt, c.Lease, c.Agent = m.node.ID, m.node.CreatedAt, n.UpdatedAt, m.node.Lease, m.node.Agent
	mend(reflect.ValueOf(&m.node).Elem(), reflect.ValueOf(&c).Elem(), reflect.ValueOf(n).Elem(), s.damage[n.UUID])
	m.node = c
	return nil
}

// DeleteNode removes the node and all that belongs to it, under its lease.
func (s leased) DeleteNode(ctx context.Context, n *node.Node) error {
	return s.guarded(ctx, n, func(*machine) error {
		s.drop(n.UUID)
		return nil
	})
}

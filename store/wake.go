package store

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Wake tells every process on this database that the node needs a conductor now. It is a hint:
// Work finds the same nodes a little later.
func (s *Store) Wake(ctx context.Context, uuid string) error {
	if err := s.notify(ctx, uuid); err != nil {
		return fmt.Errorf("wake the conductors of node %s: %w", uuid, err)
	}
	return nil
}

// Wakeups returns the UUIDs given to Wake, by this process and, on PostgreSQL, by others. The
// channel is closed when ctx ends or the store is closed. A reader that falls 64 behind misses some.
func (s *Store) Wakeups(ctx context.Context) <-chan string { return s.wakes.subscribe(ctx) }

// hub hands every wake-up to every subscriber. The zero value works.
type hub struct {
	mu     sync.Mutex
	subs   []chan string
	closed bool
}

func (h *hub) subscribe(ctx context.Context) <-chan string {
	c := make(chan string, 64)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		close(c)
		return c
	}
	h.subs = append(h.subs, c)
	context.AfterFunc(ctx, func() { h.drop(c) })
	return c
}

func (h *hub) publish(uuid string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.subs {
		select {
		case c <- uuid:
		default:
		}
	}
}

func (h *hub) drop(c chan string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if i := slices.Index(h.subs, c); i >= 0 {
		h.subs = slices.Delete(h.subs, i, i+1)
		close(c)
	}
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.subs {
		close(c)
	}
	h.subs, h.closed = nil, true
}

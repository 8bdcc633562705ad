package memory

import (
	"context"
	"slices"
	"sync"
)

// Wake tells everybody who listens that the node needs a conductor now.
func (s *Store) Wake(ctx context.Context, uuid string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.wakes.publish(uuid)
	return nil
}

// Wakeups returns the UUIDs given to Wake until ctx ends. A reader that falls 64 behind misses some.
func (s *Store) Wakeups(ctx context.Context) <-chan string { return s.wakes.subscribe(ctx) }

// hub hands every wake-up to every subscriber.
type hub struct {
	mu   sync.Mutex
	subs []chan string
}

func (h *hub) subscribe(ctx context.Context) <-chan string {
	c := make(chan string, 64)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.subs = append(h.subs, c)
	context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.subs = slices.DeleteFunc(h.subs, func(other chan string) bool { return other == c })
		close(c)
	})
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

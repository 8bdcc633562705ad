package conductor

import (
	"context"
	"sync"
)

// life is the time in which a conductor runs: what is spawned in it ends with it.
type life struct {
	mu    sync.Mutex
	now   context.Context // Run's own while Run runs, else nil
	tasks sync.WaitGroup  // all goroutines spawned during it
}

func (l *life) set(now context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = now
}

func (l *life) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = nil
}

// spawn runs f in a goroutine that Run waits for. It returns false when the conductor does not run.
func (l *life) spawn(f func(context.Context)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now == nil {
		return false
	}
	now := l.now
	l.tasks.Go(func() { f(now) })
	return true
}

// lane bounds how many goroutines work at once for one kind of caller, so that no kind starves
// another.
type lane chan struct{}

// enter takes a place at once or not at all.
func (l lane) enter() bool {
	select {
	case l <- struct{}{}:
		return true
	default:
		return false
	}
}

// queue waits for a place until ctx ends.
func (l lane) queue(ctx context.Context) bool {
	select {
	case l <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (l lane) leave() { <-l }

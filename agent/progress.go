package agent

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/billet-metal/billet/agent/steps"
	"github.com/billet-metal/billet/wire"
)

// progressEvery is the shortest time between two messages.
const progressEvery = time.Second

// progress sends how far the command under way is: only the latest, at most once a second, and
// never again after a service said that it does not know of progress. Report never blocks.
type progress struct {
	send func(context.Context, wire.Progress) error
	log  *slog.Logger

	mu     sync.Mutex
	latest wire.Progress
	news   chan struct{} // capacity 1
}

func newProgress(log *slog.Logger, send func(context.Context, wire.Progress) error) *progress {
	return &progress{send: send, log: log, news: make(chan struct{}, 1)}
}

// Report notes how far a step is.
func (p *progress) Report(step, detail string, done, total int64) {
	p.Tell(wire.Progress{Step: step, Detail: detail, Done: done, Total: total})
}

// Tell is Report with what one number does not say. The list of disks is p's from then on.
func (p *progress) Tell(latest wire.Progress) {
	p.mu.Lock()
	p.latest = latest
	p.mu.Unlock()
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// Run sends until ctx ends. It owns the only goroutine that sends.
func (p *progress) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.news:
		}
		p.mu.Lock()
		latest := p.latest
		p.mu.Unlock()
		err := p.send(ctx, latest)
		if answer := (*statusError)(nil); errors.As(err, &answer) && answer.code == http.StatusNotFound {
			p.log.Info("the service does not take progress")
			return
		}
		if steps.Pause(ctx, progressEvery) != nil {
			return
		}
	}
}

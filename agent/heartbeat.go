package agent

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

const (
	minHeartbeat = 5 * time.Second
	retryFirst   = time.Second
	retryMost    = 5 * time.Second // a restarted service hears every agent within seconds
)

// started is when this process began: on a ramdisk a moment after the kernel handed over.
var started = time.Now()

// heartbeater sends heartbeats. Its Run owns the only goroutine that does.
type heartbeater struct {
	beat    func(context.Context) error
	timeout time.Duration  // how long the service waits before it gives an agent up
	random  func() float64 // 0 to 1; nil: math/rand
	log     *slog.Logger
	forced  chan struct{} // capacity 1
	stopped chan struct{} // closed by Stop: no more heartbeats
	once    sync.Once
}

func newHeartbeater(timeout time.Duration, log *slog.Logger, beat func(context.Context) error) *heartbeater {
	return &heartbeater{beat: beat, timeout: timeout, log: log, forced: make(chan struct{}, 1), stopped: make(chan struct{})}
}

// Force asks for a heartbeat now. Asking again before it was sent changes nothing.
func (h *heartbeater) Force() {
	select {
	case h.forced <- struct{}{}:
	default:
	}
}

// Run beats until ctx ends or Stop is called. A heartbeat that failed is sent again soon: the
// service may have been restarted, or hold the node for a moment.
func (h *heartbeater) Run(ctx context.Context) {
	failures, taken := 0, false
	for {
		err := h.beat(ctx)
		wait := h.interval()
		if err != nil {
			wait = h.retry(failures, err)
			failures++
			h.log.Warn("heartbeat not taken", "error", err, "again_in", wait.Round(time.Millisecond), "failures", failures)
		} else if failures > 0 {
			h.log.Info("the service takes heartbeats again", "failures", failures)
			failures = 0
		}
		if err == nil && !taken {
			taken = true
			h.log.Info("first heartbeat taken", "after", time.Since(started).Round(time.Millisecond))
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-h.stopped:
			t.Stop()
			return
		case <-h.forced:
		case <-t.C:
		}
		t.Stop()
	}
}

func (h *heartbeater) rand() float64 {
	if h.random != nil {
		return h.random()
	}
	return rand.Float64()
}

// interval is a random 0.3 to 0.6 of the service's timeout, so that agents booted together do not
// knock together.
func (h *heartbeater) interval() time.Duration {
	return max(minHeartbeat, time.Duration(float64(h.timeout)*(0.3+0.3*h.rand())))
}

// retry grows from 1 to 5 s, half of it by chance. What the service refuses for a reason (4xx other
// than a locked node) is not asked more often than an ordinary heartbeat may be.
func (h *heartbeater) retry(failures int, err error) time.Duration {
	answer := (*statusError)(nil)
	if errors.As(err, &answer) && answer.code >= 400 && answer.code < 500 && answer.code != http.StatusConflict &&
		answer.code != http.StatusTooManyRequests {
		return minHeartbeat + time.Duration(float64(minHeartbeat)*h.rand())
	}
	d := min(retryFirst<<min(failures, 3), retryMost)
	return d/2 + time.Duration(float64(d/2)*h.rand())
}

// Stop ends the heartbeats for good. Stopping twice is harmless.
func (h *heartbeater) Stop() { h.once.Do(func() { close(h.stopped) }) }

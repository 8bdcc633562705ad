package node

import (
	"sync"
	"sync/atomic"
	"time"
)

// Clock is the time of what is stored: deadlines, leases, heartbeats. It goes on by the time that passes and not by
// the host's clock, which somebody may set: a flow whose deadline is in an hour has an hour. It is a host's clock that
// stands where it was last put right, plus what has passed since.
type Clock struct {
	// Wall reads the host's clock and Passed what has passed since any fixed moment; nil: this process's own.
	Wall   func() time.Time
	Passed func() time.Duration

	mu   sync.Mutex
	base time.Time // what the clock showed at `at`
	at   time.Duration
}

var began = time.Now()

// wall is the host's clock, without Go's monotonic reading.
func (c *Clock) wall() time.Time {
	if c.Wall != nil {
		return c.Wall()
	}
	return time.Now().Round(0)
}

func (c *Clock) passed() time.Duration {
	if c.Passed != nil {
		return c.Passed()
	}
	return time.Since(began)
}

// Now is the time by this clock. A clock that was never set starts with the host's.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now()
}

func (c *Clock) now() time.Time {
	passed := c.passed()
	if c.base.IsZero() {
		c.base, c.at = c.wall(), passed
	}
	return c.base.Add(passed - c.at)
}

// Set puts the clock right.
func (c *Clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base, c.at = t, c.passed()
}

// Ahead is how far the host's clock is ahead of this one: what it was set forward by since, or back.
func (c *Clock) Ahead() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wall().Sub(c.now())
}

var kept atomic.Pointer[Clock]

// KeepTime makes c the clock of this process. The service calls it once, at its start; without it, as in tests, time
// is the host's.
func KeepTime(c *Clock) (restore func()) {
	old := kept.Swap(c)
	return func() { kept.Store(old) }
}

// Now is the one clock of what is stored: UTC, microseconds, as both databases keep it.
func Now() time.Time {
	if c := kept.Load(); c != nil {
		return c.Now().UTC().Truncate(time.Microsecond)
	}
	return time.Now().UTC().Truncate(time.Microsecond)
}

// Since is how long ago a stored time was, and Until how far away it is.
func Since(t time.Time) time.Duration { return Now().Sub(t) }

// Until is described at Since.
func Until(t time.Time) time.Duration { return t.Sub(Now()) }

// TimeMark is what a process leaves behind of its time, so that the next one on the same host knows what has passed.
type TimeMark struct {
	Boot   string        // which start of the host it belongs to
	Uptime time.Duration // of the host
	At     time.Time     // the time by Clock
	Ahead  time.Duration // how far the host's clock was ahead of it
}

// Resume is the time with which a process goes on after the mark, at the given wall clock and uptime. Within one life of
// the host it is exact. After a restart of the host nobody knows what has passed but its clock: that is believed, less
// what it was ahead of the stored times already, and never to go back.
func (m TimeMark) Resume(boot string, uptime time.Duration, wall time.Time) time.Time {
	if m.At.IsZero() {
		return wall
	}
	if m.Boot == boot && boot != "" && uptime >= m.Uptime {
		return m.At.Add(uptime - m.Uptime)
	}
	if now := wall.Add(-m.Ahead); now.After(m.At) {
		return now
	}
	return m.At
}

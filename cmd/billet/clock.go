package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/store"
)

// clocksApart is how far the host's clock may be from the database's: lease ends are compared across processes, and
// machines set their clocks by ours.
const clocksApart = 10 * time.Second

// hostClock is the host's clock; nil: the real one. Only this package's tests set it.
var hostClock func() time.Time

const trifle = 2 * time.Second // a difference that is followed without a word

// uptime is the time since the host started, sleep included; nobody can set it.
func uptime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0 // cannot happen on Linux since 2.6.39
	}
	return time.Duration(t.Nano())
}

// hostMark is where the host stands.
func hostMark() node.TimeMark {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		id = nil // nobody can tell whether the host was restarted: its clock is believed
	}
	return node.TimeMark{Boot: strings.TrimSpace(string(id)), Uptime: uptime()}
}

// startClock makes the clock of this process, from the database's where processes share one, else from where an earlier
// process stood. A host whose clock is far from the database's is refused.
func startClock(ctx context.Context, db *store.Store, log *slog.Logger) (*node.Clock, error) {
	clock := &node.Clock{Wall: hostClock, Passed: uptime}
	theirs, shared, err := db.SharedTime(ctx)
	if err != nil {
		return nil, err
	}
	if shared {
		clock.Set(theirs)
		if ahead := clock.Ahead(); ahead.Abs() > clocksApart {
			way := "ahead of"
			if ahead < 0 {
				way = "behind"
			}
			return nil, fmt.Errorf("this host's clock is %s %s the database's, and %s is the most allowed: have both set by NTP",
				ahead.Abs().Round(time.Second), way, clocksApart)
		} else if ahead.Abs() > trifle {
			log.Warn("this host's clock is not the database's, by which this process goes: have both set by NTP",
				"host_is_ahead", ahead.Round(time.Millisecond))
		}
		return clock, nil
	}
	mark, err := db.TimeMark(ctx)
	if err != nil {
		return nil, err
	}
	now := hostMark()
	clock.Set(mark.Resume(now.Boot, now.Uptime, clock.Now()))
	return clock, followHost(ctx, db, clock, log)
}

// followHost has the time go by the host's clock again when it was set before this start, unless flows are under
// way: their deadlines were made before.
func followHost(ctx context.Context, db *store.Store, clock *node.Clock, log *slog.Logger) error {
	ahead := clock.Ahead()
	if ahead.Abs() <= trifle {
		clock.Set(clock.Now().Add(ahead))
		return nil
	}
	moved, err := db.MoveTime(ctx, ahead)
	switch {
	case err != nil:
		return err
	case moved:
		clock.Set(clock.Now().Add(ahead))
		log.Warn("this host's clock was set since the service last ran; stored times were moved", "by", ahead.Round(time.Second))
	default:
		log.Warn("this host's clock was set and flows are under way: they keep their deadlines, "+
			"and the times that the service shows follow the clock "+
			"after a start without flows", "clock_is_ahead", ahead.Round(time.Second))
	}
	m := hostMark()
	m.At, m.Ahead = clock.Now(), clock.Ahead()
	return db.SaveTimeMark(ctx, m)
}

package memory

import (
	"context"
	"time"

	"github.com/billet-metal/billet/node"
)

// SharedTime knows no clock but this process's.
func (s *Store) SharedTime(ctx context.Context) (now time.Time, shared bool, err error) {
	return time.Time{}, false, ctx.Err()
}

// TimeMark returns what was left of an earlier process's time; zero when there was none.
func (s *Store) TimeMark(ctx context.Context) (node.TimeMark, error) {
	if err := s.enter(ctx); err != nil {
		return node.TimeMark{}, err
	}
	defer s.mu.Unlock()
	return s.mark, nil
}

// SaveTimeMark leaves it for the next process.
func (s *Store) SaveTimeMark(ctx context.Context, m node.TimeMark) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	s.mark = kept(m)
	return nil
}

// MoveTime moves every kept moment that is compared with now by d, unless a flow is under way, whose plan holds moments too.
func (s *Store) MoveTime(ctx context.Context, d time.Duration) (moved bool, err error) {
	if err := s.enter(ctx); err != nil {
		return false, err
	}
	defer s.mu.Unlock()
	var times []*time.Time
	for _, m := range s.machines {
		switch m.node.State.Class() {
		case node.Busy, node.Waiting, node.Held:
			return false, nil
		}
		if m.node.TargetPower != node.PowerUnknown {
			return false, nil
		}
		times = append(times, &m.node.Agent.LastHeartbeat, &m.node.Agent.TokenGivenAt, &m.node.Agent.RefusedAt)
		if m.record != nil {
			times = append(times, &m.record.Until, &m.record.CreatedAt)
		}
	}
	for _, a := range s.addresses {
		times = append(times, &a.held, &a.lent)
	}
	for ip, seen := range s.servers {
		s.servers[ip] = seen.Add(d)
	}
	for _, t := range times {
		if !t.IsZero() {
			*t = t.Add(d)
		}
	}
	return true, nil
}

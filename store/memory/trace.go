package memory

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/billet-metal/billet/node"
)

const (
	eventText         = 1_000 // longest What
	eventsOfMachine   = 1_000 // kept of one MAC and class
	eventsAnswered    = 500
	eventsFor         = 7 * 24 * time.Hour
	strangersAnswered = 100
)

// sighting is a boot event with its place in the order in which they came.
type sighting struct {
	node.BootEvent
	id int64
}

// forged reports an event that anybody could have caused. The two classes push out nothing of each other.
func (e sighting) forged() bool { return e.Proof == "" }

// Saw keeps e.
func (s boots) Saw(e node.BootEvent) {
	if e.At.IsZero() {
		e.At = node.Now()
	}
	if len(e.What) > eventText {
		e.What = e.What[:eventText]
	}
	e.MAC = strings.ToLower(e.MAC)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastID++
	of := append(s.seen[e.MAC], sighting{kept(e), s.lastID})
	if len(of) > 4*eventsOfMachine {
		of = slices.Concat(newest(of, eventsOfMachine, true), newest(of, eventsOfMachine, false))
		slices.SortFunc(of, func(a, b sighting) int { return cmp.Compare(a.id, b.id) })
	}
	s.seen[e.MAC] = of
}

// newest are the last so many of a class, in the order of all.
func newest(all []sighting, most int, forged bool) []sighting {
	of := slices.DeleteFunc(slices.Clone(all), func(e sighting) bool { return e.forged() != forged })
	return of[max(0, len(of)-most):]
}

// BootEvents returns what boot services saw of the MACs since then, oldest first, at most the newest 500 of each class.
func (s boots) BootEvents(ctx context.Context, macs []string, since time.Time) ([]node.BootEvent, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	old := node.Now().Add(-eventsFor)
	var all []sighting
	for _, mac := range slices.Compact(slices.Sorted(slices.Values(lower(macs)))) {
		for _, forged := range []bool{true, false} {
			all = append(all, newest(s.seen[mac], eventsOfMachine, forged)...)
		}
	}
	all = slices.DeleteFunc(all, func(e sighting) bool { return e.At.Before(since) || e.At.Before(old) })
	byTime := func(a, b sighting) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.id, b.id)) }
	slices.SortFunc(all, byTime)
	all = slices.Concat(newest(all, eventsAnswered, true), newest(all, eventsAnswered, false))
	slices.SortFunc(all, byTime)
	return events(all), nil
}

func events(all []sighting) []node.BootEvent {
	var out []node.BootEvent
	for _, e := range all {
		out = append(out, e.BootEvent)
	}
	return out
}

// Strangers returns the newest event of each MAC that belongs to no port and no portgroup, the newest first, at most 100.
func (s boots) Strangers(ctx context.Context) ([]node.BootEvent, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	known := map[string]bool{}
	for _, p := range s.Ports.rows {
		known[p.Address] = true
	}
	for _, g := range s.Portgroups.rows {
		known[g.Address] = known[g.Address] || g.Address != ""
	}
	var last []sighting
	for mac, of := range s.seen {
		if !known[mac] {
			last = append(last, of[len(of)-1])
		}
	}
	slices.SortFunc(last, func(a, b sighting) int { return cmp.Compare(b.id, a.id) })
	return events(last[:min(len(last), strangersAnswered)]), nil
}

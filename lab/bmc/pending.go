package bmc

import (
	"crypto/rand"
	"encoding/binary"
	"net"
	"slices"
	"time"
)

func (l *loop) newSession(from net.Addr, c suite, console uint32) *session {
	l.dropOldestPending()
	s := &session{console: console, suite: c, addr: from, lastSeen: time.Now(), seen: map[uint32]bool{}}
	for s.id == 0 || l.sessions[s.id] != nil {
		var b [4]byte
		rand.Read(b[:])
		s.id = binary.LittleEndian.Uint32(b[:])
	}
	l.sessions[s.id] = s
	return s
}

// dropOldestPending keeps the memory of half-open log-ins bounded. The oldest of the host that has most of them goes: a flood
// from one host does not keep the others out.
func (l *loop) dropOldestPending() {
	hosts := map[string][]*session{}
	pending := 0
	for _, s := range l.sessions {
		if !s.active {
			hosts[hostOf(s.addr)] = append(hosts[hostOf(s.addr)], s)
			pending++
		}
	}
	if pending < maxPending {
		return
	}
	var most []*session
	for _, list := range hosts {
		if len(list) > len(most) {
			most = list
		}
	}
	oldest := slices.MinFunc(most, func(a, b *session) int { return a.lastSeen.Compare(b.lastSeen) })
	delete(l.sessions, oldest.id)
}

func hostOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host
}

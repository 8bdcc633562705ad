package bmc

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// loop is one run of a server. Its fields belong to the goroutine of run, which alone changes
// sessions; slow work (a machine's power, its console, delayed answers) runs in goroutines that
// hand their results back through events. run waits for all of them.
type loop struct {
	srv      *Server
	faults   Faults // as they were when the packet under way arrived
	sessions map[uint32]*session
	sol      *session // whose serial over LAN session is active
	boot     bootOptions
	events   chan func()
	out      chan datagram
	power    chan powerJob
	stop     <-chan struct{}
	loss     *rand.Rand
	promise  bool // what power status shows until then, for Quirks.SlowPower
	until    time.Time
	in, sent int // packets so far, for Faults.DropEvery
	work     sync.WaitGroup
}

type datagram struct {
	to    net.Addr
	bytes []byte
	at    time.Time // not before
}

// Serve answers until ctx ends, then closes Conn and every console and returns nil. It returns
// an error only when Conn fails earlier.
func (s *Server) Serve(ctx context.Context) error {
	defer s.Conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	l := newLoop(s, ctx.Done())
	s.mu.Lock()
	s.live = l
	s.mu.Unlock()
	packets, failed := make(chan datagram, 64), make(chan error, 1)
	l.work.Go(func() { failed <- l.read(packets) })
	l.work.Go(func() { l.write() })
	l.work.Go(func() { l.switchPower(ctx) })
	defer l.work.Wait()
	defer s.Conn.Close()
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case p := <-packets:
			l.receive(ctx, p)
		case f := <-l.events:
			f()
		case <-tick.C:
			l.expire(time.Now())
		}
	}
}

func newLoop(s *Server, stop <-chan struct{}) *loop {
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	return &loop{
		srv: s, sessions: map[uint32]*session{}, stop: stop,
		events: make(chan func(), 16), out: make(chan datagram, 256), power: make(chan powerJob, 4),
		loss: rand.New(rand.NewPCG(1, 2)),
	}
}

// read owns the receiving side of the socket; a full queue loses packets, as a network would.
func (l *loop) read(packets chan<- datagram) error {
	buf := make([]byte, maxPacket+1)
	for {
		n, from, err := l.srv.Conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case packets <- datagram{to: from, bytes: bytes.Clone(buf[:n])}:
		default:
		}
	}
}

// write owns the sending side, so that a delay holds nobody else up.
func (l *loop) write() {
	for {
		select {
		case <-l.stop:
			return
		case d := <-l.out:
			select {
			case <-l.stop:
				return
			case <-time.After(time.Until(d.at)):
			}
			if _, err := l.srv.Conn.WriteTo(d.bytes, d.to); err != nil {
				l.srv.Log.Debug("bmc cannot answer", "to", d.to.String(), "error", err)
			}
		}
	}
}

// post hands work to the loop's goroutine.
func (l *loop) post(f func()) {
	select {
	case l.events <- f:
	case <-l.stop:
	}
}

func (l *loop) receive(ctx context.Context, d datagram) {
	l.faults = l.srv.currentFaults()
	l.srv.count(func(st *Stats) { st.Packets++ })
	l.in++
	if l.faults.Dead || l.lost(l.in) {
		return
	}
	p, err := parsePacket(d.bytes)
	if err != nil {
		return
	}
	switch {
	case p.ping:
		l.send(d.to, pong(p.tag))
	case p.v15 || p.session == 0:
		l.outside(ctx, d.to, p)
	default:
		l.inside(ctx, d.to, p)
	}
}

// outside answers what may be asked without a session: discovery and log-in.
func (l *loop) outside(ctx context.Context, from net.Addr, p packet) {
	answer := func(kind byte, payload []byte) {
		if payload != nil {
			l.send(from, plusHeader(kind, 0, 0, payload))
		}
	}
	switch {
	case p.v15 || p.kind == payloadIPMI && !p.signed && !p.crypted:
		if msg := l.execute(ctx, call{}, p.payload); msg != nil && p.v15 {
			l.send(from, wrapV15(msg))
		} else {
			answer(payloadIPMI, msg)
		}
	case p.kind == payloadOpenRequest:
		answer(payloadOpenResponse, l.tagged(l.openSession(from, p.payload)))
	case p.kind == payloadRAKP1:
		answer(payloadRAKP2, l.tagged(l.rakp1(p.payload)))
	case p.kind == payloadRAKP3:
		answer(payloadRAKP4, l.tagged(l.rakp3(p.payload)))
	}
}

// inside handles an authenticated packet of a session.
func (l *loop) inside(ctx context.Context, from net.Addr, p packet) {
	s := l.sessions[p.session]
	if s == nil || !s.active {
		return
	}
	payload, err := s.open(p, l.faults.StrictSequence)
	if err != nil {
		return
	}
	s.lastSeen, s.addr = time.Now(), from
	switch p.kind {
	case payloadSOL:
		l.solInput(s, payload)
	case payloadIPMI:
		if old := s.before(payload); old != nil {
			if old.answer != nil {
				l.send(from, l.seal(s, payloadIPMI, old.answer))
			}
			return
		}
		s.remember(payload)
		if msg := l.execute(ctx, call{session: s, raw: payload}, payload); msg != nil {
			l.answer(s, payload, msg)
		}
	}
}

// answer sends the answer to a request and keeps it for retransmissions.
func (l *loop) answer(s *session, request, msg []byte) {
	if old := s.before(request); old != nil {
		old.answer = msg
	}
	l.send(s.addr, l.seal(s, payloadIPMI, msg))
	if s.closing {
		l.drop(s)
	}
}

func (l *loop) send(to net.Addr, b []byte) {
	l.sent++
	if l.lost(l.sent) {
		return
	}
	if l.faults.Garbage {
		b[len(b)-1] ^= 0xFF
	}
	select {
	case l.out <- datagram{to: to, bytes: b, at: time.Now().Add(l.faults.Delay)}:
	default:
	}
}

func (l *loop) lost(n int) bool {
	return l.faults.DropEvery > 0 && n%l.faults.DropEvery == 0 || l.faults.DropPercent > 0 && l.loss.IntN(100) < l.faults.DropPercent
}

// expire ends idle sessions and log-ins that were never finished.
func (l *loop) expire(now time.Time) {
	l.boot.expire(l.srv.Machine, now)
	for _, s := range l.sessions {
		limit := pendingTimeout
		if s.active {
			limit = cmp.Or(l.srv.SessionTimeout, time.Minute)
		}
		if now.Sub(s.lastSeen) > limit {
			l.drop(s)
		}
	}
}

func (l *loop) drop(s *session) {
	if l.sol == s {
		l.endSOL()
	}
	delete(l.sessions, s.id)
	l.boot.inProgress = 0 // a client that died while it was setting must not lock the rest out
	l.srv.count(func(st *Stats) { st.Sessions = l.active() })
}

func (l *loop) active() (n int) {
	for _, s := range l.sessions {
		if s.active {
			n++
		}
	}
	return n
}

func (l *loop) maxSessions() int { return cmp.Or(l.srv.MaxSessions, 8) }

func (s *Server) privilege() Privilege { return cmp.Or(s.Privilege, Administrator) }

func (s *Server) count(f func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.stats)
}

func (s *Server) currentFaults() Faults {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults
}

// takeBusy uses up one of Faults.BusyCommands.
func (s *Server) takeBusy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults.BusyCommands == 0 {
		return false
	}
	s.faults.BusyCommands--
	return true
}

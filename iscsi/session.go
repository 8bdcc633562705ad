package iscsi

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"
)

// Options say which target to log in to. Address and Target must be set.
type Options struct {
	Address   string // host:port, or a host: port 3260 then
	Target    string // IQN
	Initiator string // IQN of our own; "": DefaultInitiator
	LUN       uint64 // as a number; the first of most targets is 0 or 1
	CHAP      *CHAP  // nil: none
	Digests   bool   // CRC32C of headers and data where the target can

	CommandTimeout time.Duration // of one command or log-in; 0: 30 s
	Patience       time.Duration // how long a target may be away before a command fails; 0: 60 s
	PingInterval   time.Duration // of an idle connection; 0: 5 s
	Log            *slog.Logger  // nil: none
}

// DefaultInitiator is what a conductor calls itself.
const DefaultInitiator = "iqn.2026-11.metal.billet:conductor"

// DefaultPort is iSCSI's.
const DefaultPort = "3260"

func (o *Options) setDefaults() error {
	if o.Target == "" || o.Address == "" {
		return errors.New("an iSCSI target needs an address and a name")
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&o.CommandTimeout, 30 * time.Second}, {&o.Patience, time.Minute}, {&o.PingInterval, 5 * time.Second}} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if o.Initiator == "" {
		o.Initiator = DefaultInitiator
	}
	if _, _, err := net.SplitHostPort(o.Address); err != nil {
		o.Address = net.JoinHostPort(strings.Trim(o.Address, "[]"), DefaultPort)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// session keeps a log-in alive: whatever happens to its connection, the command under way is given
// again on a new one, as writing and reading disk blocks twice does no harm. Its methods may be
// called from any goroutine; commands go one after the other.
type session struct {
	opts Options
	isid [6]byte // the same at each log-in, so that the target ends the old session (reinstatement)

	mu   sync.Mutex
	conn *conn // nil while there is none

	ended    chan struct{} // closed by close or the end of the context
	endOnce  sync.Once
	why      error // set before ended is closed
	pinging  sync.WaitGroup
	stopFunc func() bool
	raw      rawConn
}

// rawConn is the connection to cut when the session ends, whoever is using it.
type rawConn struct {
	sync.Mutex
	c     net.Conn
	ended bool
}

// dial logs in. The session ends with ctx; nothing of it waits longer than its options say.
func dial(ctx context.Context, o Options) (*session, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	s := &session{opts: o, ended: make(chan struct{})}
	rand.Read(s.isid[:])
	s.isid[0] = 0x80 // a random ISID, RFC 7143 section 11.12.5
	s.stopFunc = context.AfterFunc(ctx, func() { s.end(context.Cause(ctx)) })
	if err := s.do(func(*conn) error { return nil }); err != nil {
		s.close()
		return nil, err
	}
	s.pinging.Go(s.keepAlive)
	return s, nil
}

// end makes every wait of the session end now.
func (s *session) end(why error) {
	s.endOnce.Do(func() {
		s.why = why
		close(s.ended)
		s.raw.Lock()
		defer s.raw.Unlock()
		s.raw.ended = true
		if s.raw.c != nil {
			s.raw.c.Close()
		}
	})
}

func (s *session) isEnded() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// close logs out and waits for the session's goroutine.
func (s *session) close() {
	s.stopFunc()
	s.mu.Lock()
	if s.conn != nil && !s.isEnded() && !s.conn.broken {
		s.conn.logout()
	}
	s.mu.Unlock()
	s.end(errors.New("the session was closed"))
	s.pinging.Wait()
	s.mu.Lock()
	s.drop()
	s.mu.Unlock()
}

// keepAlive pings while nothing else goes on, so that the target does not take us for dead. It is
// owned by close.
func (s *session) keepAlive() {
	tick := time.NewTicker(s.opts.PingInterval)
	defer tick.Stop()
	for {
		select {
		case <-s.ended:
			return
		case <-tick.C:
		}
		if !s.mu.TryLock() { // a command is under way
			continue
		}
		if c := s.conn; c != nil {
			c.expire(s.opts.CommandTimeout)
			if err := c.ping(); err != nil {
				s.drop() // the next command logs in again
			}
		}
		s.mu.Unlock()
	}
}

// drop forgets the connection. s.mu is held.
func (s *session) drop() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}

// run carries out a command, again and again until it succeeds, the disk refuses it for good, or
// the target has been away for longer than Patience.
func (s *session) run(cmd *command) error {
	return s.do(func(c *conn) error { return c.execute(cmd) })
}

func (s *session) do(work func(*conn) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	giveUp := time.Now().Add(s.opts.Patience)
	for attempt := 0; ; attempt++ {
		err := s.try(work, giveUp)
		if err == nil {
			return nil
		}
		if s.isEnded() {
			return fmt.Errorf("iSCSI target %s: %w", s.opts.Target, s.why)
		}
		if !worthRetry(err) {
			return fmt.Errorf("iSCSI target %s at %s: %w", s.opts.Target, s.opts.Address, err)
		}
		wait := min(50*time.Millisecond<<min(attempt, 5), time.Second)
		if time.Now().Add(wait).After(giveUp) {
			return fmt.Errorf("iSCSI target %s at %s has not answered for %s: %w", s.opts.Target, s.opts.Address, s.opts.Patience, err)
		}
		s.opts.Log.Warn("iSCSI command given again", "target", s.opts.Target, "address", s.opts.Address, "attempt", attempt+1, "error", err)
		select {
		case <-s.ended:
		case <-time.After(wait):
		}
	}
}

// try connects if there is no connection, and works. giveUp bounds it beside the command's own time.
func (s *session) try(work func(*conn) error, giveUp time.Time) error {
	within := min(s.opts.CommandTimeout, max(time.Until(giveUp), 100*time.Millisecond))
	if s.conn == nil {
		if err := s.connect(within); err != nil {
			return err
		}
	}
	s.conn.expire(within)
	err := work(s.conn)
	if err != nil && s.conn.broken {
		s.drop()
	}
	return err
}

func (s *session) connect(within time.Duration) error {
	raw, err := net.DialTimeout("tcp", s.opts.Address, within)
	if err != nil {
		return err
	}
	s.raw.Lock()
	s.raw.c = raw
	gone := s.raw.ended
	s.raw.Unlock()
	if gone {
		raw.Close()
		return s.why
	}
	c := newConn(raw)
	c.expire(within)
	l := &login{conn: c, opts: &s.opts, isid: s.isid, tag: c.nextTag()}
	if err := l.run(); err != nil {
		c.Close()
		return fmt.Errorf("logging in: %w", err)
	}
	s.conn = c
	return nil
}

// worthRetry tells what may pass (a lost connection, a busy disk) from a refusal.
func worthRetry(err error) bool {
	if disk := (*scsiError)(nil); errors.As(err, &disk) {
		return disk.passing()
	}
	if refusal := (*LoginError)(nil); errors.As(err, &refusal) {
		return refusal.Temporary()
	}
	var network net.Error
	return errors.As(err, &network) || isEnd(err)
}

package ipmi

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/billet-metal/billet/driver/quirk"
)

// session is one conversation with one BMC. It is used by one goroutine at a time.
type session struct {
	config
	options Options
	slot    *slot
	conn    net.Conn
	heard   bool  // the BMC has answered something
	network error // what the network last said instead of an answer

	suite            cipherSuite
	consoleID, bmcID uint32
	k1               []byte
	aes              cipher.Block
	sequence         uint32 // of the session's packets: each sending has a new one
	request          byte   // of requests, 0 to 63: repetitions keep theirs
	mayBeOpen        flag   // the BMC may think that there is a session
	solOver          flag   // the BMC has ended the serial payload
	quirks           quirk.Set
	doubtful         flag // the log-in failed by a code that a broken cipher suite would get wrong too
}

// newSession is a session not opened yet, in which hold the quirks of all BMCs and those that the node names.
func newSession(c config, o Options, slot *slot) *session {
	return &session{config: c, options: o, slot: slot, quirks: o.Quirks.Of(quirk.Identity{}, c.asked...)}
}

// command sends a request and returns the answer's data. A BMC that is busy is asked again;
// a completion code that is not about waiting is returned as a completion, for the caller to judge.
func (s *session) command(ctx context.Context, what string, netFn, cmd byte, data ...byte) ([]byte, error) {
	const attempts = 5
	for attempt := 1; ; attempt++ {
		answer, err := s.ask(ctx, what, netFn, cmd, data)
		code, isCode := refusal(err)
		switch {
		case !isCode:
			return answer, err
		case code == 0xD4:
			return nil, s.fail(NoPrivilege, nil, "user %q may not %s at privilege level %s; set driver_info/ipmi_priv_level or raise "+
				"the user's limit on the BMC", s.user, what, levelName(s.privilege))
		case !code.passing():
			return nil, code
		case attempt == attempts:
			return nil, s.fail(Busy, code, "busy: it did not %s when asked %d times", what, attempts)
		}
		if err := s.pause(ctx, s.options.PollEvery); err != nil {
			return nil, s.fail(Busy, code, "busy: it did not %s in time", what)
		}
	}
}

// require turns a completion code into an error for people.
func (s *session) require(what string, err error) error {
	code, ok := refusal(err)
	switch {
	case !ok:
		return err
	case code == 0xC1:
		return s.fail(Unsupported, code, "does not know how to %s", what)
	}
	return s.fail(Refused, code, "refused to %s", what)
}

// ask has one request answered inside the session.
func (s *session) ask(ctx context.Context, what string, netFn, cmd byte, data []byte) (answer []byte, err error) {
	s.request = (s.request + 1) & 0x3F
	msg := packRequest(netFn, cmd, s.request, data)
	var code completion
	err = s.exchange(ctx, what, func() []byte { return s.seal(payloadIPMI, msg) }, func(f frame) bool {
		plain, err := s.open(f)
		if err != nil {
			return false
		}
		answer, err = unpackResponse(plain, netFn, cmd, s.request, s.quirks.Has(badChecksum))
		code, _ = refusal(err)
		return err == nil || code != 0
	})
	if err == nil && code != 0 {
		return nil, code
	}
	return answer, err
}

// exchange sends what pack returns, again and again, until a frame is accepted. It gives up after
// CommandTimeout, or with ctx. pack is called for each sending: a repetition inside a session
// needs a sequence number of its own.
func (s *session) exchange(ctx context.Context, what string, pack func() []byte, accept func(frame) bool) error {
	start := time.Now()
	limit := start.Add(s.options.CommandTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(limit) {
		limit = d
	}
	stop := context.AfterFunc(ctx, func() { s.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, maxPacket)
	for time.Now().Before(limit) && ctx.Err() == nil {
		again := time.Now().Add(s.options.Retry)
		if again.After(limit) {
			again = limit
		}
		if _, err := s.conn.Write(pack()); err != nil {
			s.network = err
		}
		if s.receive(ctx, buf, again, accept) {
			return nil
		}
	}
	return s.silence(ctx, what, time.Since(start))
}

// receive reads until a frame is accepted or the time has come to send again. What the network says
// (nothing listens, no route) may be over in a moment: a BMC restarts, a switch learns.
func (s *session) receive(ctx context.Context, buf []byte, again time.Time, accept func(frame) bool) bool {
	s.conn.SetReadDeadline(again)
	if ctx.Err() != nil {
		return false // it may have ended just before the deadline was set
	}
	for {
		n, err := s.conn.Read(buf)
		if err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				s.network = err
				_ = s.pause(ctx, time.Until(again))
			}
			return false
		}
		f, err := unwrap(buf[:n])
		if err != nil {
			continue
		}
		s.heard = true
		if accept(f) {
			return true
		}
	}
}

// silence says what a request without an answer means.
func (s *session) silence(ctx context.Context, what string, waited time.Duration) error {
	if err := ctx.Err(); errors.Is(err, context.Canceled) {
		return s.fail(Slow, err, "gave up waiting for it to %s", what)
	}
	waited = max(waited.Round(100*time.Millisecond), 100*time.Millisecond)
	switch {
	case !s.heard && errors.Is(s.network, syscall.ECONNREFUSED):
		return s.fail(Unreachable, nil, "nothing listens there, says its host; check driver_info/ipmi_address and ipmi_port, and "+
			"that IPMI over LAN is enabled")
	case !s.heard && s.network != nil:
		return s.fail(Unreachable, nil, "cannot reach it: %s; check driver_info/ipmi_address and the network to it", withoutAddress(s.network))
	case !s.heard:
		return s.fail(Unreachable, nil, "no answer within %s; check driver_info/ipmi_address and ipmi_port, that IPMI over LAN is "+
			"enabled, and the network to it", waited)
	}
	return s.fail(Slow, nil, "too slow: it answers, but did not %s within %s", what, waited)
}

// close tells the BMC that the session is over, even when ctx has ended: most BMCs have room for
// four, and one that is left open locks people out for a minute. It does not wait long.
func (s *session) close(ctx context.Context) {
	if s.conn == nil {
		return
	}
	defer s.conn.Close()
	if !s.mayBeOpen {
		return
	}
	const wait, repeat = 900 * time.Millisecond, 300 * time.Millisecond
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait)
	defer cancel()
	s.options.Retry = min(s.options.Retry, repeat)
	// The answer does not matter: there is nothing more to do.
	_, _ = s.ask(ctx, "close the session", netApp, 0x3C, le32(s.bmcID))
}

func (s *session) pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// withoutAddress drops the addresses from a network error: ours says them.
func withoutAddress(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err.Error()
	}
	return err.Error()
}

func levelName(level byte) string {
	for name, l := range privileges {
		if l == level {
			return name
		}
	}
	return fmt.Sprint(level)
}

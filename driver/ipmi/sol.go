package ipmi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/billet-metal/billet/driver"
)

var _ driver.SerialListener = (*Management)(nil)

const (
	payloadSOL = 0x01 // payload type (spec table 13-16), instance 1

	solAuxiliary = 0xC0 // activate: encrypted and authenticated (spec table 24-2)
	solHeader    = 4

	solOverrun = 0x08 // status of a packet from the BMC (spec table 15-2): characters were lost
	solEnded   = 0x10 // the BMC ends the payload: somebody deactivated it
)

// errMakeRoom ends a listener whose session the BMC has no room for besides that of an operation.
var errMakeRoom = errors.New("the BMC has no room for a session that only listens")

// solPacket is a packet of the serial payload, taken apart (spec table 15-2).
type solPacket struct {
	number byte // 1 to 15; 0: carries no characters, only an acknowledgement
	status byte
	data   []byte // valid until the next packet is read
}

func parseSOL(b []byte) (solPacket, error) {
	if len(b) < solHeader || len(b) > solHeader+0xFF {
		return solPacket{}, errNotOurs
	}
	return solPacket{number: b[0] & 0x0F, status: b[3], data: b[solHeader:]}, nil
}

// solReceiver puts the characters of packets together. A BMC has one packet under way: it repeats it until
// it is acknowledged, perhaps with more characters at its end, and numbers the next one higher.
type solReceiver struct {
	number, before byte   // of the packet received last and of the one before it; 0: none yet
	last, earlier  []byte // what they carried
}

// take returns the packet's characters that are new, valid until the packet's own are overwritten.
func (r *solReceiver) take(p solPacket) []byte {
	switch {
	case p.number == 0:
		return nil
	case p.number == r.number:
		fresh := p.data[min(len(r.last), len(p.data)):]
		r.last = append(r.last, fresh...)
		return fresh
	case p.number == r.before && bytes.Equal(p.data, r.earlier): // a late copy that the network held up
		return nil
	}
	r.before, r.earlier = r.number, r.last
	r.number, r.last = p.number, bytes.Clone(p.data)
	return p.data
}

// acknowledge is our answer to a packet that carries characters: all of them were taken.
func (p solPacket) acknowledge() []byte { return []byte{0, p.number, byte(len(p.data)), 0} }

// ListenSerial implements driver.SerialListener: it hears the serial line over LAN, and types nothing. It has a
// session of its own beside those of operations, and gives it up when the BMC has no room for both.
func (m *Management) ListenSerial(ctx context.Context, t *driver.Task, heard func([]byte)) error {
	c, err := parse(t.Node.DriverInfo)
	if err != nil {
		return err
	}
	slot := m.bmcs.slot(c.address)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := newSession(c, m.bmcs.options, slot)
	defer s.close(ctx)
	ended := make(chan struct{})
	defer close(ended)
	if err := m.bmcs.queued(ctx, c, func() error {
		if err := s.login(ctx); err != nil {
			return err
		}
		if err := s.activateSOL(ctx); err != nil {
			return err
		}
		slot.listener = &listener{stop: func() { cancel(errMakeRoom) }, ended: ended}
		return nil
	}); err != nil {
		return err
	}
	err = s.listen(ctx, heard)
	if cause := context.Cause(ctx); errors.Is(cause, errMakeRoom) {
		return s.fail(Busy, cause, "has no room for a session that listens to the serial line beside the one of an operation")
	}
	return err
}

// activateSOL asks for the serial line. It takes it from nobody.
func (s *session) activateSOL(ctx context.Context) error {
	const what = "let its serial line be heard (Serial over LAN)"
	ctx, cancel := context.WithTimeout(ctx, s.options.OperationTimeout)
	defer cancel()
	answer, err := s.command(ctx, what, netApp, 0x48, payloadSOL, 1, solAuxiliary, 0, 0, 0)
	if code, refused := refusal(err); refused {
		return s.solRefused(code, what)
	}
	if err != nil {
		return err
	}
	if len(answer) < 10 {
		return s.fail(Unsupported, nil, "sent an answer to activating Serial over LAN that is too short")
	}
	port := fmt.Sprint(int(answer[8]) | int(answer[9])<<8)
	if swapped := fmt.Sprint(int(answer[9]) | int(answer[8])<<8); port != s.port() && swapped != s.port() {
		return s.fail(Unsupported, nil, "wants Serial over LAN on UDP port %s, a session of which this driver does not open", port)
	}
	return nil
}

// solRefused says what a completion code of Activate Payload means (spec table 24-2).
func (s *session) solRefused(code completion, what string) error {
	switch code {
	case 0x80, 0x82:
		return s.fail(InUse, code, "the serial line is in use by another console")
	case 0x81:
		return s.fail(Unsupported, code, "has Serial over LAN switched off; enable it on the BMC, or set driver_info/capture_serial to false")
	case 0x83:
		return s.fail(Unsupported, code, "does Serial over LAN without encryption only, which this driver refuses")
	}
	return s.require(what, code)
}

// listen hands over what comes until ctx ends, the BMC ends it, or is silent for too long.
func (s *session) listen(ctx context.Context, heard func([]byte)) error {
	stop := context.AfterFunc(ctx, func() { s.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	defer s.deactivateSOL(ctx)
	var in solReceiver
	buf := make([]byte, maxPacket)
	alive, asked := time.Now(), time.Now()
	for {
		now := time.Now()
		if quiet := now.Sub(alive); quiet > s.options.SerialLost {
			return s.fail(Slow, nil, "has not answered on its serial line's session for %s", quiet.Round(time.Second))
		}
		if now.Sub(asked) >= s.options.SerialLost/4 { // a session without requests ends after a minute
			asked = now
			s.request = (s.request + 1) & 0x3F
			_, _ = s.conn.Write(s.seal(payloadIPMI, packRequest(netApp, getDeviceID, s.request, nil)))
		}
		s.conn.SetReadDeadline(asked.Add(s.options.SerialLost / 4))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n, err := s.conn.Read(buf)
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				_ = s.pause(ctx, s.options.Retry) // the network's own words, such as connection refused
			}
			continue
		}
		p, ok := s.serialPacket(buf[:n], &alive)
		if !ok {
			continue
		}
		if p.number != 0 {
			_, _ = s.conn.Write(s.seal(payloadSOL, p.acknowledge()))
			if fresh := in.take(p); len(fresh) > 0 {
				heard(fresh)
			}
		}
		if p.status&solOverrun != 0 {
			heard([]byte("\n[characters were lost]\n"))
		}
		if p.status&solEnded != 0 {
			s.solOver = true
			return s.fail(InUse, driver.ErrSerialTaken, "ended Serial over LAN")
		}
	}
}

const getDeviceID = 0x01

// serialPacket opens a datagram of the session, whichever its payload, and notes that the BMC lives. ok is false
// for what is no packet of the serial line.
func (s *session) serialPacket(b []byte, alive *time.Time) (p solPacket, ok bool) {
	f, err := unwrap(b)
	if err != nil {
		return p, false
	}
	if _, err := s.open(f); err == nil {
		*alive = time.Now()
		return p, false
	}
	plain, err := s.openAs(payloadSOL, f)
	if err != nil {
		return p, false
	}
	*alive = time.Now()
	p, err = parseSOL(plain)
	return p, err == nil
}

// deactivateSOL lets the serial line go, but only when it is still ours: the request would end anybody's.
func (s *session) deactivateSOL(ctx context.Context) {
	if s.solOver {
		return
	}
	const wait = 900 * time.Millisecond
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait)
	defer cancel()
	s.options.Retry = min(s.options.Retry, wait/3)
	owner, err := s.ask(ctx, "tell who has the serial line", netApp, 0x4B, []byte{payloadSOL, 1})
	if err != nil || len(owner) < 4 || [4]byte(owner) != [4]byte(le32(s.bmcID)) {
		return // closing the session ends what is left of it
	}
	_, _ = s.ask(ctx, "let the serial line go", netApp, 0x49, []byte{payloadSOL, 1, 0, 0, 0, 0})
}

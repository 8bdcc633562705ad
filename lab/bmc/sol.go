package bmc

import (
	"context"
	"encoding/binary"
	"io"
	"sync"
	"time"
)

// Serial over LAN (spec chapter 15): one session at a time, one packet from us under way at a time.
const (
	solChunk     = 200 // characters in a packet from us
	solInbound   = 255 // and the most a client may send
	solRetry     = 300 * time.Millisecond
	solTries     = 10
	solReconnect = 300 * time.Millisecond
	solNack      = 0x40
	solEnding    = 0x10
	solQueue     = 16 // packets from the client that wait for the serial port
)

// sol is an active serial session. The loop owns its fields; in, more and ended are the links to
// the goroutine of console.
type sol struct {
	in    chan []byte   // to the serial port
	more  chan struct{} // the last characters were taken: send the next
	ended chan struct{}

	seqOut, seqIn byte
	accepted      byte   // how much of the client's last packet was taken
	pending       []byte // not acknowledged yet
	tries         int
}

// activatePayload is spec table 24-2. The port must be the one the client came to, or ipmitool
// gives up.
func activatePayload(l *loop, c *call) (byte, []byte) {
	switch {
	case c.data[0]&0x3F != payloadSOL || c.data[1]&0x0F != 1:
		return codeSOLType, nil
	case l.sol != nil:
		return codeSOLElsewhere, nil
	}
	o := &sol{in: make(chan []byte, solQueue), more: make(chan struct{}, 1), ended: make(chan struct{})}
	c.session.sol, l.sol = o, c.session
	c.beside = func(ctx context.Context) { l.console(ctx, c.session, o) }
	answer := []byte{0, 0, 0, 0}
	for _, v := range []int{solInbound, solChunk + 4, l.port(), 0xFFFF} {
		answer = binary.LittleEndian.AppendUint16(answer, uint16(v))
	}
	return codeOK, answer
}

func deactivatePayload(l *loop, c *call) (byte, []byte) {
	switch {
	case c.data[0]&0x3F != payloadSOL:
		return codeSOLType, nil
	case l.sol == nil:
		return codeSOLInactive, nil
	}
	l.endSOL()
	return codeOK, nil
}

// endSOL tells the client, whoever ended it, and lets the console go.
func (l *loop) endSOL() {
	s := l.sol
	close(s.sol.ended)
	l.send(s.addr, l.seal(s, payloadSOL, []byte{0, 0, 0, solEnding}))
	s.sol, l.sol = nil, nil
}

func payloadStatus(l *loop, c *call) (byte, []byte) {
	active := byte(0)
	if l.sol != nil && c.data[0] == payloadSOL {
		active = 1
	}
	return codeOK, []byte{1, active, 0}
}

func payloadInfo(l *loop, c *call) (byte, []byte) {
	answer := make([]byte, 12)
	if l.sol != nil && c.data[0] == payloadSOL {
		binary.LittleEndian.PutUint32(answer, l.sol.id)
		answer[4] = lanChannel
	}
	return codeOK, answer
}

// solInput handles a packet from the client: characters for the machine, an acknowledgement of
// ours, or both (spec table 15-2).
func (l *loop) solInput(s *session, p []byte) {
	o := s.sol
	if o == nil || len(p) < 4 {
		return
	}
	if p[1] != 0 && p[1] == o.seqOut && o.pending != nil {
		l.solAcknowledged(s, int(p[2]), p[3]&solNack != 0)
	}
	seq, status := p[0]&0x0F, byte(0)
	if seq == 0 {
		return
	}
	if seq != o.seqIn {
		o.accepted = byte(min(len(p)-4, solInbound))
		if o.accepted > 0 {
			select {
			case o.in <- append([]byte(nil), p[4:4+int(o.accepted)]...):
			default:
				o.accepted, status = 0, solNack
			}
		}
		if status == 0 {
			o.seqIn = seq
		}
	}
	l.send(s.addr, l.seal(s, payloadSOL, []byte{0, seq, o.accepted, status}))
}

func (l *loop) solAcknowledged(s *session, taken int, nack bool) {
	o := s.sol
	if rest := len(o.pending) - taken; nack || rest > 0 {
		if nack || taken == 0 {
			return // the retry timer sends it again
		}
		o.pending = o.pending[taken:]
		l.solSend(s)
		return
	}
	o.taken()
}

// taken lets the console hand over more characters.
func (o *sol) taken() {
	o.pending = nil
	select {
	case o.more <- struct{}{}:
	default:
	}
}

// solSend sends what is pending under a new sequence number, 1 to 15.
func (l *loop) solSend(s *session) {
	s.sol.seqOut = s.sol.seqOut%15 + 1
	s.sol.tries = 0
	l.solTransmit(s, s.sol, s.sol.seqOut)
}

// solTransmit sends the pending packet and arms the retry; characters nobody takes are lost in
// the end, as on a real serial line.
func (l *loop) solTransmit(s *session, o *sol, seq byte) {
	if s.sol != o || o.pending == nil || o.seqOut != seq {
		return
	}
	if o.tries++; o.tries > solTries {
		o.taken()
		return
	}
	l.send(s.addr, l.seal(s, payloadSOL, append([]byte{seq, 0, 0, 0}, o.pending...)))
	time.AfterFunc(solRetry, func() { l.post(func() { l.solTransmit(s, o, seq) }) })
}

// console keeps a connection to the serial port until the session or ctx ends: a machine that
// is switched off and on drops it, and the client should not have to notice.
func (l *loop) console(ctx context.Context, s *session, o *sol) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.work.Go(func() {
		defer cancel()
		select {
		case <-o.ended:
		case <-ctx.Done():
		}
	})
	for ctx.Err() == nil {
		port, err := l.srv.Machine.Console(ctx)
		if err == nil {
			l.pump(ctx, port, s, o)
		}
		select {
		case <-ctx.Done():
		case <-time.After(solReconnect):
		}
	}
}

// pump copies both ways until the port closes or ctx ends.
func (l *loop) pump(ctx context.Context, port io.ReadWriteCloser, s *session, o *sol) {
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	work.Go(func() { <-ctx.Done(); port.Close() })
	work.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case b := <-o.in:
				if _, err := port.Write(b); err != nil {
					return
				}
			}
		}
	})
	buf := make([]byte, solChunk)
	for {
		n, err := port.Read(buf)
		if n > 0 {
			chars := append([]byte(nil), buf[:n]...)
			l.post(func() {
				if s.sol == o {
					o.pending = chars
					l.solSend(s)
				}
			})
			select {
			case <-o.more:
			case <-ctx.Done():
			}
		}
		if err != nil || ctx.Err() != nil {
			return
		}
	}
}

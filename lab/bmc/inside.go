package bmc

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
)

// Marks of the byte stream between QEMU's ipmi-bmc-extern device and the BMC outside it.
const (
	endOfMessage = 0xA0
	endOfCommand = 0xA1 // of what the device says of itself: its version, what it can do
	escape       = 0xAA // the next byte is one of these three marks, with bit 4 set
	escapedBit   = 0x10
)

// maxInside is the longest message taken: QEMU's own limit is 300 bytes.
const maxInside = 300

// onlyInSessions are commands of netApp that are about the caller's session.
var onlyInSessions = map[byte]bool{0x3B: true, 0x3C: true, 0x3D: true, 0x48: true, 0x49: true}

// ServeInside answers the machine itself: conn is the other end of the socket of QEMU's device
// ipmi-bmc-extern, whose system interface (KCS) the machine's operating system talks to. What it may do has
// no limit, as on real machines. It returns when conn or ctx ends; Serve must be running.
func (s *Server) ServeInside(ctx context.Context, conn net.Conn) error {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		msg, err := readInside(in)
		if errors.Is(err, errMalformed) { // the device asks again
			continue
		}
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		code, data, ok := s.ask(ctx, request{netFn: msg[1] >> 2, cmd: msg[2], data: msg[3:]})
		if !ok { // dead, or ended: the device answers for it after 4 s
			continue
		}
		answer := append([]byte{msg[0], msg[1] | 1<<2, msg[2], code}, data...)
		if _, err := conn.Write(framed(append(answer, -checksum(answer)))); err != nil {
			return nil // the machine has been switched off
		}
	}
}

// readInside reads the next message: sequence number, network function and LUN, command, data. Its checksum
// has been checked and is gone.
func readInside(in *bufio.Reader) ([]byte, error) {
	var msg []byte
	escaped, tooLong := false, false
	for {
		b, err := in.ReadByte()
		if err != nil {
			return nil, err
		}
		switch {
		case b == endOfCommand:
			msg, escaped, tooLong = nil, false, false
		case b == endOfMessage:
			if escaped || tooLong || len(msg) < 4 || checksum(msg) != 0 {
				return nil, errMalformed
			}
			return msg[:len(msg)-1], nil
		case b == escape:
			escaped = true
		case len(msg) >= maxInside:
			tooLong = true
		default:
			if escaped {
				b &^= escapedBit
			}
			msg, escaped = append(msg, b), false
		}
	}
}

// framed is a message as it goes over the stream.
func framed(msg []byte) []byte {
	var out []byte
	for _, b := range msg {
		if b == endOfMessage || b == endOfCommand || b == escape {
			out = append(out, escape)
			b |= escapedBit
		}
		out = append(out, b)
	}
	return append(out, endOfMessage)
}

// ask has the loop carry out a request from inside the machine. ok is false when there is no answer.
func (s *Server) ask(ctx context.Context, r request) (code byte, data []byte, ok bool) {
	s.mu.Lock()
	l := s.live
	s.mu.Unlock()
	if l == nil {
		return 0, nil, false
	}
	type answer struct {
		code byte
		data []byte
	}
	done := make(chan answer, 1)
	l.post(func() {
		l.faults = s.currentFaults()
		if l.faults.Dead {
			close(done)
			return
		}
		c := &call{request: r, inside: true}
		code, data := l.dispatch(c)
		if c.later == nil {
			done <- answer{code, data}
			return
		}
		l.work.Go(func() { done <- answer{c.later(ctx), nil} })
	})
	select {
	case a, answered := <-done:
		return a.code, a.data, answered
	case <-ctx.Done():
	case <-l.stop:
	}
	return 0, nil, false
}

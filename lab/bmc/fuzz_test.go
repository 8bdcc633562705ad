package bmc

import (
	"bytes"
	"context"
	"net"
	"testing"
)

// FuzzReceive throws datagrams at a BMC with a log-in under way and an active session whose keys
// the fuzzer's payload is sealed with, so that it gets behind the cryptography too.
func FuzzReceive(f *testing.F) {
	req := []byte{0x20, 0x18, 0xC8, 0x81, 0x04, 0x38, 0x8E, 0x04, 0xB1}
	for _, b := range [][]byte{
		{6, 0, 0xFF, 6, 0, 0, 0x11, 0xBE, 0x80, 0x42, 0, 0},
		wrapV15(req),
		plusHeader(payloadOpenRequest, 0, 0, openRequest(1, suites[0])),
		plusHeader(payloadRAKP1, 0, 0, append(make([]byte, 24), 0x14, 0, 0, 5, 'a', 'd', 'm', 'i', 'n')),
		plusHeader(payloadRAKP3, 0, 0, make([]byte, 40)),
		plusHeader(0xC0, 1, 1, make([]byte, 32)),
		req,
		{0, 0, 0, 0},
	} {
		f.Add(b)
	}
	for _, c := range commands {
		head := []byte{0x20, c.netFn << 2}
		head = append(head, -checksum(head))
		tail := append([]byte{0x81, 4, c.cmd}, bytes.Repeat([]byte{1}, c.length)...)
		f.Add(append(head, append(tail, -checksum(tail))...))
	}
	over, cancel := context.WithCancel(context.Background())
	cancel() // goroutines that a command starts end at once
	f.Fuzz(func(t *testing.T, b []byte) {
		l := testLoop(&fakeMachine{})
		l.stop = over.Done()
		from := &net.UDPAddr{Port: 1}
		l.newSession(from, suites[0], 1)
		s := l.newSession(from, suites[1], 2)
		l.activate(s)
		s.privilege = Administrator
		l.receive(over, datagram{to: from, bytes: b})
		l.receive(over, datagram{to: from, bytes: sealed(s, payloadIPMI, b)})
		if s.sol == nil {
			s.sol, l.sol = &sol{in: make(chan []byte, 1), more: make(chan struct{}, 1), ended: make(chan struct{}), seqOut: 3,
				pending: []byte("abc")}, s
		}
		l.receive(over, datagram{to: from, bytes: sealed(s, payloadSOL, b)})
		l.work.Wait()
		for len(l.out) > 0 {
			if d := <-l.out; len(d.bytes) > maxPacket {
				t.Errorf("an answer of %d bytes", len(d.bytes))
			}
		}
	})
}

// sealed is a payload from the client of s, cut to what fits a packet.
func sealed(s *session, kind byte, payload []byte) []byte {
	there := *s
	there.console, there.seqOut = s.id, s.seqIn
	return there.seal(kind, payload[:min(len(payload), 512)], 0)
}

func FuzzParsePacket(f *testing.F) {
	f.Add([]byte{6, 0, 0xFF, 7, 6, 0xC0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 9, 9})
	f.Add(wrapV15([]byte{1, 2, 3}))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePacket(b)
		if err == nil && len(p.payload) > len(b) {
			t.Error("a payload longer than its packet")
		}
		if r, err := parseRequest(b); err == nil && len(r.data) != len(b)-7 {
			t.Errorf("%d bytes of data in a message of %d", len(r.data), len(b))
		}
	})
}

package ipmi

import (
	"bytes"
	"encoding/binary"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// impostor is a BMC that knows no password. It answers each message with the next of its datagrams;
// what names the message (tag, session, sequence number) it copies from what it hears, as anybody
// on the network can.
type impostor struct {
	said    [][]byte
	heard   []byte
	console uint32
	sent    int
	until   time.Time // a read without a datagram waits until then
}

func (c *impostor) Write(b []byte) (int, error) {
	c.heard = bytes.Clone(b)
	c.sent++
	if f, err := unwrap(b); err == nil && f.kind == payloadOpen && len(f.payload) >= 8 {
		c.console = binary.LittleEndian.Uint32(f.payload[4:])
	}
	return len(b), nil
}

func (c *impostor) Read(p []byte) (int, error) {
	if len(c.said) == 0 {
		time.Sleep(time.Until(c.until))
		return 0, os.ErrDeadlineExceeded
	}
	b := bytes.Clone(c.said[0])
	c.said = c.said[1:]
	c.name(b)
	return copy(p, b), nil
}

// name makes a datagram the answer to the last message, as far as its shape allows.
func (c *impostor) name(b []byte) {
	f, err := unwrap(b)
	h, heardErr := unwrap(c.heard)
	if err != nil || heardErr != nil {
		return
	}
	switch {
	case f.plain && h.plain && len(f.payload) >= 8 && len(h.payload) >= 6:
		p := f.payload
		p[1], p[4], p[5] = h.payload[1]|4, h.payload[4], h.payload[5]
		p[2] = -sum(p[:2])
		p[len(p)-1] = -sum(p[3 : len(p)-1])
	case !f.plain && !h.plain && len(f.payload) >= 8 && len(h.payload) > 0:
		b[5] = h.kind + 1
		f.payload[0] = h.payload[0]
		binary.LittleEndian.PutUint32(f.payload[4:], c.console)
	}
}

func (*impostor) Close() error                        { return nil }
func (*impostor) LocalAddr() net.Addr                 { return &net.UDPAddr{} }
func (*impostor) RemoteAddr() net.Addr                { return &net.UDPAddr{} }
func (*impostor) SetDeadline(time.Time) error         { return nil }
func (c *impostor) SetReadDeadline(t time.Time) error { c.until = t; return nil }
func (*impostor) SetWriteDeadline(time.Time) error    { return nil }

// facing has a session log in to an impostor that says these datagrams.
func facing(said ...[]byte) (*session, *impostor) {
	c := &impostor{said: said}
	options := Options{Retry: time.Millisecond, CommandTimeout: 4 * time.Millisecond, OperationTimeout: 50 * time.Millisecond,
		PollEvery: time.Millisecond}.withDefaults()
	return &session{
		config:  config{address: "192.0.2.1:623", user: "admin", password: "a-secret-of-ours", privilege: 4},
		options: options, slot: &slot{busy: make(chan struct{}, 1)}, conn: c,
	}, c
}

// opened is an Open Session Response for a cipher suite; answered one of RAKP, with a status and more.
func opened(status byte, suite cipherSuite) []byte {
	p := append([]byte{0, status, 4, 0, 0, 0, 0, 0}, 0xAA, 0xBB, 0xCC, 0xDD)
	for i, alg := range []byte{suite.auth, suite.integrity, suite.confidentiality} {
		p = append(p, byte(i), 0, 0, 8, alg, 0, 0, 0)
	}
	return wrapPlus(payloadOpen+1, 0, 0, p)
}

func answered(status byte, more int) []byte {
	return wrapPlus(payloadRAKP1+1, 0, 0, append([]byte{0, status, 0, 0, 0, 0, 0, 0}, make([]byte, more)...))
}

func plain(code byte, data ...byte) []byte {
	return wrapPlain(append(append([]byte{consoleAddress, 0, 0, bmcAddress, 0, 0, code}, data...), 0))
}

// Whatever an impostor says, it learns nothing that it could not ask anybody for, is not taken for
// the BMC, and the error says what it did.
func TestImpostors(t *testing.T) {
	caps := plain(0, 1, 0x80, 4, 2, 0, 0, 0, 0)
	suites := plain(0, append([]byte{1}, 0xC0, 17, 3, 0x44, 0x81)...)
	s17 := cipherSuites[17]
	tests := []struct {
		name   string
		said   [][]byte
		reason Reason
		want   string
	}{
		{"says nothing", nil, Unreachable, "no answer within"},
		{"knows the way, but no password", [][]byte{caps, suites, opened(0, s17), answered(0, 32+32)}, BadLogin, "the password is wrong"},
		{"proves nothing at all", [][]byte{caps, suites, opened(0, s17), answered(0, 32)}, BadLogin, "the password is wrong"},
		{"leaves out the random number", [][]byte{caps, suites, opened(0, s17), answered(0, 3)}, BadLogin, "the password is wrong"},
		{"speaks of another suite", [][]byte{caps, suites, opened(0, cipherSuites[3])}, BadCipher,
			"answered with other algorithms than those of cipher suite 17"},
		{"offers what is broken", [][]byte{caps, plain(0, append([]byte{1}, 0xC0, 0, 0, 0x40, 0x80, 0xC0, 1, 1, 0x40, 0x80)...)}, BadCipher,
			"offers the cipher suites [0 1]; this driver uses 17 or 3"},
		{"wants no integrity or secrecy", [][]byte{caps, suites, opened(0, cipherSuite{auth: 3})}, BadCipher, "answered with other algorithms"},
		{"speaks an older language", [][]byte{plain(0, 1, 0x80, 4, 1, 0, 0, 0, 0)}, Unsupported, "speaks IPMI 1.5 only"},
		{"a session that is too short", [][]byte{caps, suites, wrapPlus(payloadOpen+1, 0, 0, make([]byte, 35))}, Unsupported, "too short"},
		{"a status nobody knows", [][]byte{caps, suites, opened(0x77, s17)}, Refused, "RMCP+ status 0x77"},
		{"no such user", [][]byte{caps, suites, opened(0, s17), answered(0x0D, 0)}, BadLogin, "there is no such user"},
		{"breaks off again and again", [][]byte{caps, suites, opened(0, s17), answered(2, 0), opened(0, s17), answered(2, 0), opened(0, s17),
			answered(2, 0), opened(0, s17), answered(2, 0)}, Refused, "broke off the log-in 4 times"},
		{"noise between", [][]byte{{}, {6}, []byte("hello"), caps, make([]byte, 900), suites, opened(0, s17), bytes.Repeat([]byte{6, 0, 0xff, 7},
			50), answered(0, 64)}, BadLogin, "the password is wrong"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, c := facing(tt.said...)
			err := s.authenticate(t.Context())
			if err == nil || ReasonOf(err) != tt.reason || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%q, %v; want %q, %q", ReasonOf(err), err, tt.reason, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "a-secret") || bytes.Contains(c.heard, []byte("a-secret")) {
				t.Errorf("the password is in the error or on the wire: %v", err)
			}
			if s.mayBeOpen {
				t.Error("a session is taken for open")
			}
		})
	}
}

// FuzzImpostor: nobody without the password is logged in to, whatever is said in which order; and it
// ends.
func FuzzImpostor(f *testing.F) {
	join := func(list ...[]byte) (out []byte) {
		for _, b := range list {
			out = append(binary.LittleEndian.AppendUint16(out, uint16(len(b))), b...)
		}
		return out
	}
	caps, suites := plain(0, 1, 0x80, 4, 2, 0, 0, 0, 0), plain(0, 1, 0xC0, 17, 3, 0x44, 0x81)
	f.Add(join(caps, suites, opened(0, cipherSuites[17]), answered(0, 64), answered(0, 16)))
	f.Add(join(caps, suites, opened(0, cipherSuites[3]), answered(0, 52), answered(0, 12)))
	f.Add(join(plain(0xC1), plain(0xC1), opened(0x11, cipherSuites[17]), opened(0, cipherSuites[3]), answered(0x0F, 0)))
	f.Add(join(plain(0, make([]byte, 17)...), plain(0, make([]byte, 17)...), plain(0, 1)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var said [][]byte
		for len(raw) >= 2 && len(said) < 40 {
			n := min(int(binary.LittleEndian.Uint16(raw)), len(raw)-2)
			said, raw = append(said, raw[2:2+n]), raw[2+n:]
		}
		s, c := facing(said...)
		began := time.Now()
		if err := s.authenticate(t.Context()); err == nil {
			t.Error("an impostor is taken for the BMC")
		} else if ReasonOf(err) == "" || strings.Contains(err.Error(), "a-secret") {
			t.Errorf("error %v", err)
		}
		if took := time.Since(began); took > 5*time.Second || c.sent > 5000 {
			t.Errorf("%d packets in %s", c.sent, took)
		}
	})
}

package iscsi

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// peer is a target that says exactly what a test wants it to, so that the initiator meets what no
// well-behaved target sends.
type peer struct {
	*conn
	t *testing.T
}

// facing connects a conn in full feature phase with a peer, and runs the peer's side.
func facing(t *testing.T, d digests, script func(p *peer)) *conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done, accepted := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		raw, err := l.Accept()
		close(accepted)
		if err != nil {
			return
		}
		defer raw.Close()
		c := newConn(raw)
		c.expire(10 * time.Second)
		c.digests = d
		script(&peer{conn: c, t: t})
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	<-accepted // a listener that closes resets what it has not accepted
	t.Cleanup(func() { raw.Close(); <-done })
	c := newConn(raw)
	c.expire(10 * time.Second)
	c.digests, c.maxCmdSN, c.expCmdSN = d, 100, 1
	return c
}

// hear reads one unit; nil when the initiator has gone.
func (p *peer) hear() *pdu {
	unit, err := readPDU(p.in, p.digests)
	if err != nil {
		return nil
	}
	return unit
}

// answer says one unit about the command of the given tag.
func (p *peer) answer(op, flags byte, tag uint32, change func(*pdu)) {
	u := &pdu{}
	u.bhs[0], u.bhs[1] = op, flags
	u.set(atTag, tag)
	u.set(atTransfer, noTag)
	u.set(atSN, 7)
	u.set(atExpSN, 2)
	u.set(atMaxSN, 100)
	if change != nil {
		change(u)
	}
	p.send(u)
}

func sense(key, asc, ascq byte) []byte {
	s := make([]byte, 20)
	binary.BigEndian.PutUint16(s, 18)
	s[2], s[2+2], s[2+12], s[2+13] = 0x70, key, asc, ascq
	return s
}

// What a target may do wrong, or refuse, in the middle of a command: each is an error that says it,
// and after each but the disk's own answers the connection is given up.
func TestErrorUnits(t *testing.T) {
	status := func(s byte, data []byte) func(*pdu) {
		return func(u *pdu) { u.bhs[3], u.data = s, data }
	}
	for _, tt := range []struct {
		name   string
		read   bool // the command reads; else it writes
		say    func(p *peer, tag uint32)
		says   string
		broken bool
	}{
		{"reject", false, func(p *peer, _ uint32) { p.answer(opReject, final, noTag, func(u *pdu) { u.bhs[2] = 4 }) },
			"the target rejects what was sent (reason 0x04)", true},
		{"another's answer", false, func(p *peer, tag uint32) { p.answer(opResponse, final, tag+1, nil) },
			"the target answers a command nobody gave (tag 2)", true},
		{"an answer out of place", false, func(p *peer, tag uint32) { p.answer(opLogoutEnd, final, tag, nil) },
			"the target answers a command with operation 0x26", true},
		{"target failure", false, func(p *peer, tag uint32) { p.answer(opResponse, final, tag, func(u *pdu) { u.bhs[2] = 1 }) },
			"the target failed to carry out a command (response 0x01)", false},
		{"logout asked for", false, func(p *peer, _ uint32) { p.answer(opAsync, final, noTag, func(u *pdu) { u.bhs[36] = 1 }) },
			"the target ends the connection (asynchronous event 1)", true},
		{"connection dropped", false, func(p *peer, _ uint32) { p.answer(opAsync, final, noTag, func(u *pdu) { u.bhs[36] = 2 }) },
			"the target ends the connection (asynchronous event 2)", true},
		{"medium error", false, func(p *peer, tag uint32) { p.answer(opResponse, final, tag, status(statusCheck, sense(3, 0x0c, 2))) },
			"the disk says: medium error (code 0c/02)", false},
		{"write protected", false, func(p *peer, tag uint32) { p.answer(opResponse, final, tag, status(statusCheck, sense(7, 0x27, 0))) },
			"the disk says: data protect (code 27/00)", false},
		{"descriptor sense", false, func(p *peer, tag uint32) {
			p.answer(opResponse, final, tag, status(statusCheck, []byte{0, 8, 0x72, 5, 0x24, 0, 0, 0, 0, 0}))
		}, "the disk says: illegal request (code 24/00)", false},
		{"sense longer than its data", false, func(p *peer, tag uint32) {
			p.answer(opResponse, final, tag, status(statusCheck, []byte{0xff, 0xff, 0x70}))
		}, "the disk says: no sense (code 00/00)", false},
		{"reservation conflict", false, func(p *peer, tag uint32) { p.answer(opResponse, final, tag, status(0x18, nil)) },
			"the disk answers with status 0x18", false},
		{"wants more than there is", false, func(p *peer, tag uint32) {
			p.answer(opR2T, final, tag, func(u *pdu) { u.set(40, 4000); u.set(44, 4096) })
		}, "the target asks for 4096 bytes at 4000 of a command with 4096", true},
		{"wants nothing", false, func(p *peer, tag uint32) { p.answer(opR2T, final, tag, nil) },
			"the target asks for 0 bytes at 0 of a command with 4096", true},
		{"wants more than agreed", false, func(p *peer, tag uint32) { p.answer(opR2T, final, tag, func(u *pdu) { u.set(44, 1<<31) }) },
			"the target asks for 2147483648 bytes at 0 of a command with 4096", true},
		{"data with a gap", true, func(p *peer, tag uint32) {
			p.answer(opDataIn, 0, tag, func(u *pdu) { u.set(40, 512); u.data = make([]byte, 512) })
		}, "the target sends 512 bytes for byte 512, but byte 0 of 4096 is next", true},
		{"data past the end", true, func(p *peer, tag uint32) {
			p.answer(opDataIn, 0, tag, func(u *pdu) { u.data = make([]byte, 4097) })
		}, "the target sends 4097 bytes for byte 0, but byte 0 of 4096 is next", true},
		{"data nobody wants", false, func(p *peer, tag uint32) {
			p.answer(opDataIn, final, tag, func(u *pdu) { u.data = []byte{1} })
		}, "the target sends 1 bytes for byte 0, but byte 0 of 0 is next", true},
		{"a segment that was not agreed on", true, func(p *peer, tag uint32) {
			u := make([]byte, headerSize)
			u[0], u[5] = opDataIn, 0xff
			p.Write(u)
		}, "the target sends a data segment of 16711680 bytes; at most 262144 were agreed on", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := facing(t, digests{}, func(p *peer) {
				if u := p.hear(); u != nil {
					tt.say(p, u.u32(atTag))
				}
				p.hear()
			})
			cmd := &command{out: make([]byte, 4096)}
			if tt.read {
				cmd = &command{in: make([]byte, 4096)}
			}
			err := c.execute(cmd)
			if err == nil || !strings.HasSuffix(err.Error(), tt.says) {
				t.Errorf("got %v\nwant %s", err, tt.says)
			}
			if c.broken != tt.broken {
				t.Errorf("broken %v, want %v", c.broken, tt.broken)
			}
		})
	}
}

// News of the disk and wishes to negotiate again end nothing; a ping in the middle of a command is
// answered with the target's own tag.
func TestNewsInTheMiddleOfACommand(t *testing.T) {
	pong := make(chan uint32, 1)
	c := facing(t, digests{header: true, data: true}, func(p *peer) {
		u := p.hear()
		p.answer(opAsync, final, noTag, nil)
		p.answer(opAsync, final, noTag, func(u *pdu) { u.bhs[36] = 4 })
		p.answer(opNopIn, final, noTag, func(u *pdu) { u.set(atTransfer, 99) })
		pong <- p.hear().u32(atTransfer)
		p.answer(opDataIn, 0, u.u32(atTag), func(u *pdu) { u.data = []byte("abc") })
		p.answer(opDataIn, final|1, u.u32(atTag), func(u *pdu) { u.set(40, 3); u.data = []byte("d") })
		p.hear()
	})
	cmd := &command{in: make([]byte, 4)}
	if err := c.execute(cmd); err != nil || string(cmd.in) != "abcd" || cmd.got != 4 {
		t.Errorf("%q (%d), %v", cmd.in, cmd.got, err)
	}
	if got := <-pong; got != 99 {
		t.Errorf("the ping was answered with tag %d", got)
	}
	if c.expStatSN != 8 || c.maxCmdSN != 100 {
		t.Errorf("counters %d, %d", c.expStatSN, c.maxCmdSN)
	}
}

// A bit that flips on the way is noticed wherever it is.
func TestDigestsNoticeEachFlippedBit(t *testing.T) {
	d := digests{header: true, data: true}
	u := &pdu{data: []byte("five!")}
	u.bhs[0], u.bhs[1] = opDataIn, final
	whole := appendPDU(nil, u, d)
	if want := headerSize + 4 + 8 + 4; len(whole) != want {
		t.Fatalf("%d bytes, want %d", len(whole), want)
	}
	if got, err := readPDU(bytes.NewReader(whole), d); err != nil || string(got.data) != "five!" {
		t.Fatalf("%+v, %v", got, err)
	}
	for bit := range 8 * len(whole) {
		damaged := bytes.Clone(whole)
		damaged[bit/8] ^= 1 << (bit % 8)
		if got, err := readPDU(bytes.NewReader(damaged), d); err == nil {
			t.Errorf("bit %d flipped, and %+v was read", bit, got)
		}
	}
	for n := range whole {
		_, err := readPDU(bytes.NewReader(whole[:n]), d)
		want := io.ErrUnexpectedEOF
		if n == 0 {
			want = io.EOF
		}
		if !errors.Is(err, want) {
			t.Errorf("cut after %d bytes: %v, want %v", n, err, want)
		}
	}
}

// The CRC32C examples of RFC 7143, appendix A.4.
func TestDigestVectors(t *testing.T) {
	up, down := make([]byte, 32), make([]byte, 32)
	for i := range 32 {
		up[i], down[i] = byte(i), byte(31-i)
	}
	for name, v := range map[string]struct {
		data []byte
		want [4]byte
	}{
		"zeros":      {make([]byte, 32), [4]byte{0xaa, 0x36, 0x91, 0x8a}},
		"ones":       {bytes.Repeat([]byte{0xff}, 32), [4]byte{0x43, 0xab, 0xa8, 0x62}},
		"increasing": {up, [4]byte{0x4e, 0x79, 0xdd, 0x46}},
		"decreasing": {down, [4]byte{0x5c, 0xdb, 0x3f, 0x11}},
	} {
		if got := digest(v.data); got != v.want {
			t.Errorf("%s: %x, want %x", name, got, v.want)
		}
		if got := digest(v.data[:7], v.data[7:]); got != v.want {
			t.Errorf("%s in two parts: %x, want %x", name, got, v.want)
		}
	}
}

// loginPeer answers log-ins with the given units, one after the other, on each connection.
func loginPeer(t *testing.T, answers ...func(*pdu)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			p := &peer{conn: newConn(raw), t: t}
			p.expire(10 * time.Second)
			for _, change := range answers {
				if p.hear() == nil {
					break
				}
				p.answer(opLoginResp, 0, 0, change)
			}
			p.hear()
			raw.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

func pairs(flags byte, list ...pair) func(*pdu) {
	return func(u *pdu) { u.bhs[1], u.data = flags, formatText(list) }
}

// Log-ins that must not succeed: refusals say why, and a target cannot talk its way around CHAP.
func TestLoginRefused(t *testing.T) {
	refuse := func(class, detail byte) func(*pdu) {
		return func(u *pdu) { u.bhs[36], u.bhs[37] = class, detail }
	}
	chap := &CHAP{User: "conductor", Secret: "a-secret-of-ours"}
	mutual := &CHAP{User: "conductor", Secret: "a-secret-of-ours", MutualUser: "disk", MutualSecret: "a-secret-of-theirs"}
	method, operational := pair{"AuthMethod", "CHAP"}, byte(final|stageOperational)
	challenge := []pair{{"CHAP_A", "5"}, {"CHAP_I", "1"}, {"CHAP_C", "0x0102030405060708"}}
	for _, tt := range []struct {
		name    string
		chap    *CHAP
		answers []func(*pdu)
		says    string
	}{
		{"authentication failed", nil, []func(*pdu){refuse(2, 1)}, "the target refuses the log-in: authentication failed"},
		{"not allowed", nil, []func(*pdu){refuse(2, 2)}, "the target refuses the log-in: this initiator may not use the target"},
		{"unheard-of refusal", nil, []func(*pdu){refuse(2, 99)}, "the target refuses the log-in: status class 2, detail 99"},
		{"redirected", nil, []func(*pdu){func(u *pdu) { u.bhs[36], u.data = 1, formatText([]pair{{"TargetAddress", "192.0.2.9:3260,1"}}) }},
			`the target redirects to "192.0.2.9:3260,1"; give that address instead`},
		{"no stage", nil, []func(*pdu){pairs(final | 2)}, "the target leads the log-in to stage 2, which there is not"},
		{"rejects an offer", nil, []func(*pdu){pairs(operational), pairs(stageOperational<<2, pair{"MaxBurstLength", "Reject"})},
			"the target rejects the value of MaxBurstLength"},
		{"senseless number", nil, []func(*pdu){pairs(operational), pairs(stageOperational<<2, pair{"MaxBurstLength", "0"})},
			"the target answers MaxBurstLength=\"0\"; 512 to 16777215 is allowed"},
		{"wants CHAP", nil, []func(*pdu){pairs(0, method)}, `the target wants authentication by "CHAP", but no name and secret for it are set`},
		{"no CHAP where it is asked for", chap, []func(*pdu){pairs(0, pair{"AuthMethod", "None"})},
			`the target answers AuthMethod="None"; CHAP was asked for`},
		{"lets in without CHAP", chap, []func(*pdu){pairs(operational)}, "the target lets us in without the authentication asked for"},
		{"another algorithm", chap, []func(*pdu){pairs(0, method), pairs(0, pair{"CHAP_A", "7"}, challenge[1], challenge[2])},
			`the target wants CHAP algorithm "7"; MD5 (5) is the one there is`},
		{"identifier out of range", chap, []func(*pdu){pairs(0, method), pairs(0, challenge[0], pair{"CHAP_I", "256"}, challenge[2])},
			`the target's CHAP identifier is "256"; 0 to 255 is allowed`},
		{"challenge is no number", chap, []func(*pdu){pairs(0, method), pairs(0, challenge[0], challenge[1], pair{"CHAP_C", "hello"})},
			"the target's CHAP challenge: a binary value starts with 0x or 0b"},
		{"second challenge", chap, []func(*pdu){pairs(0, method), pairs(0, challenge...), pairs(0, challenge...)},
			"the target sends a second CHAP challenge"},
		{"proves nothing", mutual, []func(*pdu){pairs(0, method), pairs(0, challenge...), pairs(operational, pair{"CHAP_N", "disk"})},
			"the target does not prove who it is: 0 characters are no binary value"},
		{"proves it wrongly", mutual, []func(*pdu){pairs(0, method), pairs(0, challenge...),
			pairs(operational, pair{"CHAP_N", "disk"}, pair{"CHAP_R", "0x00112233445566778899aabbccddeeff"})},
			"the target's answer to the CHAP challenge is wrong: it is not the target it should be, or its secret is another"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			began := time.Now()
			d, err := Open(context.Background(), Options{Address: loginPeer(t, tt.answers...), Target: "iqn.2026-11.org.example:t", CHAP: tt.chap,
				CommandTimeout: 2 * time.Second, Patience: 4 * time.Second})
			if err == nil {
				d.Close()
				t.Fatal("it logged in")
			}
			if !strings.HasSuffix(err.Error(), "logging in: "+tt.says) {
				t.Errorf("got %v\nwant %s", err, tt.says)
			}
			if strings.Contains(err.Error(), "a-secret") {
				t.Errorf("a secret is in the error: %v", err)
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("a refusal took %s", took)
			}
		})
	}
}

package bmc

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
	"time"
)

// halfway opens a session and goes through RAKP 1 and 2; finish sends RAKP 3 and returns the status.
func (c *client) halfway(console uint32) (finish func() byte) {
	c.t.Helper()
	s := &session{suite: suites[0], console: console, role: nameOnlyLookup | byte(Administrator), name: []byte(c.srv.User),
		clientRandom: random16()}
	opened := c.setUp(payloadOpenRequest, openRequest(console, s.suite))
	s.id = uint32(opened[8]) | uint32(opened[9])<<8 | uint32(opened[10])<<16 | uint32(opened[11])<<24
	one := append([]byte{0, 0, 0, 0}, le32(s.id)...)
	one = append(one, s.clientRandom[:]...)
	two := c.setUp(payloadRAKP1, append(append(one, s.role, 0, 0), s.who()[1:]...))
	s.bmcRandom = [16]byte(two[8:])
	return func() byte {
		three := append(append([]byte{0, 0, 0, 0}, le32(s.id)...),
			s.suite.mac(key([]byte(c.srv.Password)), s.bmcRandom[:], le32(s.console), s.who())...)
		p, err := parsePacket(c.roundTrip(plusHeader(payloadRAKP3, 0, 0, three)))
		if err != nil || p.kind != payloadRAKP4 {
			c.t.Fatalf("RAKP 4: %v", err)
		}
		return p.payload[1]
	}
}

// Log-ins under way take no room, but the last step of one too many is refused: who was first is in.
func TestTheLastRoomGoesToTheFirst(t *testing.T) {
	s := &Server{MaxSessions: 2}
	addr := start(t, s)
	var finish []func() byte
	for i := range 4 {
		finish = append(finish, newClient(t, s, addr).halfway(uint32(100+i)))
	}
	for i, want := range []byte{statusOK, statusOK, statusNoResources, statusNoResources} {
		if got := finish[3-i](); got != want {
			t.Errorf("log-in %d ends with %#02x, want %#02x", i, got, want)
		}
	}
	if st := s.Stats(); st.Sessions != 2 || st.MaxSessions != 2 || st.Opened != 2 {
		t.Errorf("%+v", st)
	}
	if got := finish[0](); got != statusBadSession { // it was dropped with its refusal
		t.Errorf("a log-in that was refused goes on: %#02x", got)
	}
}

// A session asks for a level when it logs in: more than that it cannot have later, and no more than
// the user's own.
func TestPrivilegeLimits(t *testing.T) {
	for _, tt := range []struct {
		user, asked Privilege
		begins      Privilege
		may         []Privilege // may be set later
	}{
		{Administrator, Administrator, User, []Privilege{Callback, User, Operator, Administrator}},
		{Administrator, Operator, User, []Privilege{Callback, User, Operator}},
		{Administrator, Callback, Callback, []Privilege{Callback}},
		{Operator, Operator, User, []Privilege{Callback, User, Operator}},
		{User, User, User, []Privilege{Callback, User}},
	} {
		t.Run(fmt.Sprintf("user %d asks for %d", tt.user, tt.asked), func(t *testing.T) {
			l := testLoop(&fakeMachine{on: true})
			l.srv.Privilege = tt.user
			s := l.newSession(&net.UDPAddr{}, suites[0], 1)
			s.limit = tt.asked
			l.activate(s)
			if s.privilege != tt.begins {
				t.Errorf("it begins with level %d, want %d", s.privilege, tt.begins)
			}
			may := map[Privilege]bool{}
			for _, p := range tt.may {
				may[p] = true
			}
			for p := Callback; p <= 15; p++ {
				before := s.privilege
				code, data := l.dispatch(&call{session: s, request: request{netFn: netApp, cmd: 0x3B, data: []byte{byte(p)}}})
				if may[p] && (code != codeOK || !bytes.Equal(data, []byte{byte(p)}) || s.privilege != p) {
					t.Errorf("level %d: %#02x, % x", p, code, data)
				}
				if !may[p] && (code != codeOverLimit || s.privilege != before) {
					t.Errorf("level %d: %#02x, and the session has %d", p, code, s.privilege)
				}
			}
			power := &call{session: s, request: request{netFn: netChassis, cmd: 0x02, data: []byte{1}}}
			s.privilege = tt.may[len(tt.may)-1]
			if code, _ := l.dispatch(power); (code == codeOK) != (s.privilege >= Operator) {
				t.Errorf("switching power at level %d: %#02x", s.privilege, code)
			}
		})
	}
}

// Sequence numbers may come in another order and leave gaps, as packets do; number 0 and those from
// long before are nobody's.
func TestSequenceWindow(t *testing.T) {
	for _, strict := range []bool{false, true} {
		s := &Server{}
		c := newClient(t, s, start(t, s))
		c.login(suites[0])
		s.SetFaults(Faults{StrictSequence: strict})
		for _, tt := range []struct {
			seq      uint32
			answered bool
		}{
			{1, true}, {5, true}, {3, true}, {100, true}, {100 - sequenceWindow + 1, true}, {100 - sequenceWindow, false}, {4, false}, {0, false},
			{101, true}, {100, !strict}, {1 << 31, true}, {101, false},
		} {
			c.s.seqOut = tt.seq - 1 // pack counts on
			c.conn.Write(c.pack(payloadIPMI, c.request(netApp, 0x01)))
			c.conn.SetReadDeadline(time.Now().Add(map[bool]time.Duration{true: 3 * time.Second, false: 150 * time.Millisecond}[tt.answered]))
			n, err := c.conn.Read(make([]byte, maxPacket))
			if (err == nil) != tt.answered {
				t.Errorf("strict %v, number %d: %d bytes, %v", strict, tt.seq, n, err)
			}
		}
	}
}

// An answer goes back the way its request names: addresses and units changed over, the sequence number kept,
// both checksums right.
func TestAnswersAreAddressed(t *testing.T) {
	for name, tt := range map[string]struct{ request, answer string }{
		"of a remote console":           {"2018c8 810401 7a", "811c63 200401 00"},
		"with units on both sides":      {"211ac5 830701 75", "831f5e 210601 00"},
		"an unknown command of an OEM":  {"20b828 818c 99 5a", "81bcc3 208c 99 c1"},
		"with a number that is the top": {"2018c8 81fc01 82", "811c63 20fc01 00"},
	} {
		req, err := hex.DecodeString(stripped(tt.request))
		if err != nil {
			t.Fatal(err)
		}
		l, s := active(t, &fakeMachine{})
		got := l.execute(t.Context(), call{session: s}, req)
		want, err := hex.DecodeString(stripped(tt.answer))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(got, want) || checksum(got[:3]) != 0 || checksum(got[3:]) != 0 {
			t.Errorf("%s: answer % x, want % x…", name, got, want)
		}
		for i := range req { // a damaged one is nobody's
			bad := bytes.Clone(req)
			bad[i] ^= 0x10
			if got := l.execute(t.Context(), call{session: s}, bad); got != nil {
				t.Errorf("%s: with byte %d changed it is answered: % x", name, i, got)
			}
		}
	}
}

func stripped(s string) string {
	out := []byte{}
	for i := range len(s) {
		if s[i] != ' ' {
			out = append(out, s[i])
		}
	}
	return string(out)
}

// A client whose address changes, behind a gateway or with a new lease, keeps its session; one that
// only knows the session's number does not get it.
func TestASessionFollowsItsClient(t *testing.T) {
	s := &Server{}
	addr := start(t, s)
	c := newClient(t, s, addr)
	c.login(suites[0])
	moved := newClient(t, s, addr)
	moved.s, moved.seq = c.s, c.seq
	if code, _ := moved.do(netApp, 0x01); code != codeOK {
		t.Errorf("from another port: %#02x", code)
	}
	thief := newClient(t, s, addr)
	stolen := *c.s
	stolen.k1 = bytes.Repeat([]byte{1}, len(c.s.k1))
	thief.s = &stolen
	thief.conn.Write(thief.pack(payloadIPMI, thief.request(netApp, 0x01)))
	thief.conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if n, err := thief.conn.Read(make([]byte, maxPacket)); err == nil {
		t.Errorf("without the keys: %d bytes", n)
	}
	if code, _ := moved.do(netApp, 0x01); code != codeOK {
		t.Errorf("after that the client gets %#02x", code)
	}
}

// Noise on the port costs nothing: the BMC lives on, and a session is not disturbed.
func TestNoise(t *testing.T) {
	s := &Server{}
	addr := start(t, s)
	c, noise := newClient(t, s, addr), newClient(t, s, addr)
	c.login(suites[1])
	rng := rand.New(rand.NewPCG(1, 2))
	good := c.pack(payloadIPMI, c.request(netApp, 0x01))
	for range 3000 {
		var b []byte
		switch rng.IntN(3) {
		case 0:
			b = make([]byte, rng.IntN(1500))
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
		case 1: // nearly right
			b = bytes.Clone(good)
			b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
		case 2: // the beginnings of log-ins
			b = plusHeader(byte(rng.IntN(0x40)), uint32(rng.IntN(3)), rng.Uint32(), openRequest(rng.Uint32(), suites[rng.IntN(2)])[:rng.IntN(33)])
		}
		if len(b) > 0 {
			noise.conn.Write(b)
		}
	}
	for try := 0; ; try++ { // its queue may have been full
		if answer := c.roundTrip(c.pack(payloadIPMI, c.request(netApp, 0x01))); answer != nil {
			if _, plain := c.unpack(answer); plain[6] != codeOK {
				t.Errorf("answer % x", plain)
			}
			break
		}
		if try == 3 {
			t.Fatal("the session did not survive")
		}
	}
	if st := s.Stats(); st.Sessions != 1 {
		t.Errorf("%+v", st)
	}
}

// A flood of half-open log-ins from one host takes bounded room and keeps no other host out, nor a session that is open.
func TestAFloodKeepsNobodyOut(t *testing.T) {
	s := &Server{}
	addr := start(t, s)
	inside := newClient(t, s, addr)
	inside.login(suites[0])
	flood, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)}, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer flood.Close()
	console := uint32(1)
	wave := func() {
		for range 20 * maxPending {
			console++
			if _, err := flood.Write(plusHeader(payloadOpenRequest, 0, 0, openRequest(console, suites[0]))); err != nil {
				t.Fatal(err)
			}
			if console%16 == 0 {
				time.Sleep(time.Millisecond) // what the socket drops floods nobody
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	wave()
	finish := newClient(t, s, addr).halfway(0xABCDEF)
	wave()
	if got := finish(); got != statusOK {
		t.Errorf("the log-in ends with %#02x", got)
	}
	if code, _ := inside.do(netChassis, 0x01); code != codeOK {
		t.Errorf("the session that was open is answered with %#02x", code)
	}
	if st := s.Stats(); st.Packets < 20*maxPending || st.Sessions != 2 {
		t.Errorf("%+v", st)
	}
}

package bmc

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"
)

func TestARepeatedRequestIsAnsweredAndNotCarriedOutAgain(t *testing.T) {
	for _, suite := range suites {
		t.Run(fmt.Sprint("suite ", suite.id), func(t *testing.T) {
			m := &fakeMachine{on: true}
			s := &Server{Machine: m}
			c := newClient(t, s, start(t, s))
			c.login(suite)
			if code, _ := c.do(netApp, 0x3B, byte(Administrator)); code != codeOK {
				t.Fatalf("set privilege: %#x", code)
			}
			cycle := c.request(netChassis, 0x02, 2)
			_, first := c.unpack(c.roundTrip(c.pack(payloadIPMI, cycle)))
			_, again := c.unpack(c.roundTrip(c.pack(payloadIPMI, cycle)))
			if !bytes.Equal(first, again) || again[6] != codeOK {
				t.Errorf("answers % x and % x, want the same", first, again)
			}
			if code, _ := c.do(netChassis, 0x02, 2); code != codeOK { // the same with a number of its own
				t.Errorf("second cycle: %#x", code)
			}
			if want := []Action{Cycle, Cycle}; !slices.Equal(m.did(), want) {
				t.Errorf("the machine did %v, want %v", m.did(), want)
			}
		})
	}
}

// A request repeated while the machine still switches has one answer, when it is there.
func TestARequestRepeatedWhileItRuns(t *testing.T) {
	m := &fakeMachine{slow: 200 * time.Millisecond}
	s := &Server{Machine: m}
	c := newClient(t, s, start(t, s))
	c.login(suites[0])
	c.do(netApp, 0x3B, byte(Administrator))
	on := c.request(netChassis, 0x02, 1)
	for range 3 {
		c.conn.Write(c.pack(payloadIPMI, on))
	}
	if _, answer := c.unpack(c.receive()); answer[6] != codeOK {
		t.Errorf("answer % x", answer)
	}
	if more := c.receive(); more != nil {
		t.Errorf("a second answer: % x", more)
	}
	if want := []Action{On}; !slices.Equal(m.did(), want) {
		t.Errorf("the machine did %v, want %v", m.did(), want)
	}
}

func TestASlowMachineIsNotWaitedFor(t *testing.T) {
	s := &Server{Machine: &fakeMachine{slow: time.Hour}}
	c := newClient(t, s, start(t, s))
	c.login(suites[0])
	c.do(netApp, 0x3B, byte(Administrator))
	if code, _ := c.do(netChassis, 0x02, 1); code != codeOK {
		t.Errorf("power on: %#x", code)
	}
	if code, data := c.do(netChassis, 0x01); code != codeOK || data[0]&1 != 0 {
		t.Errorf("status %#x % x while the machine still starts", code, data)
	}
}

func TestStrictSequence(t *testing.T) {
	s := &Server{}
	c := newClient(t, s, start(t, s))
	c.login(suites[0])
	s.SetFaults(Faults{StrictSequence: true})
	packet := c.pack(payloadIPMI, c.request(netApp, 0x01))
	if c.roundTrip(packet) == nil {
		t.Error("no answer")
	}
	if b := c.roundTrip(packet); b != nil {
		t.Errorf("an answer to a packet with an old sequence number: % x", b)
	}
}

func TestPacketsThatProveNothingAreIgnored(t *testing.T) {
	s := &Server{Machine: &fakeMachine{}}
	c := newClient(t, s, start(t, s))
	c.login(suites[0])
	good := c.pack(payloadIPMI, c.request(netApp, 0x01))
	for name, b := range map[string][]byte{
		"one bit flipped":    flip(good, len(good)-1),
		"payload changed":    flip(good, 20),
		"sequence changed":   flip(good, 10),
		"cut short":          good[:len(good)-4],
		"no integrity code":  plusHeader(payloadIPMI, c.s.id, 9, c.request(netChassis, 0x01)),
		"not encrypted":      plusHeader(payloadIPMI|0x40, c.s.id, 9, c.request(netChassis, 0x01)),
		"an unknown session": plusHeader(payloadIPMI|0xC0, 12345, 1, good[16:]),
	} {
		if answer := c.roundTrip(b); answer != nil {
			t.Errorf("%s: answered % x", name, answer)
		}
	}
	if c.roundTrip(good) == nil {
		t.Error("the session did not survive")
	}
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 1
	return b
}

func TestWithoutASessionNothingPrivateIsTold(t *testing.T) {
	s := &Server{}
	c := newClient(t, s, start(t, s))
	for _, tt := range []struct {
		netFn, cmd byte
		data       []byte
		code       byte
	}{
		{netApp, 0x38, []byte{0x8E, 4}, codeOK},
		{netApp, 0x54, []byte{0x0E, 0, 0x80}, codeOK},
		{netApp, 0x37, nil, codeOK},
		{netApp, 0x01, nil, codeNoPrivilege},
		{netApp, 0x3B, []byte{4}, codeNoPrivilege},
		{netApp, 0x3C, []byte{0, 0, 0, 0}, codeNoPrivilege},
		{netApp, 0x48, []byte{1, 1, 0, 0, 0, 0}, codeNoPrivilege},
		{netChassis, 0x01, nil, codeNoPrivilege},
		{netChassis, 0x02, []byte{1}, codeNoPrivilege},
		{netApp, 0x38, []byte{0x8E}, codeTooShort},
		{0x2C, 0x3E, nil, codeUnknown},
	} {
		p, err := parsePacket(c.roundTrip(wrapV15(c.request(tt.netFn, tt.cmd, tt.data...))))
		if err != nil || p.payload[6] != tt.code {
			t.Errorf("%#x/%#x: %v, completion code of % x, want %#x", tt.netFn, tt.cmd, err, p.payload, tt.code)
		}
	}
}

func TestPing(t *testing.T) {
	s := &Server{}
	c := newClient(t, s, start(t, s))
	got := c.roundTrip([]byte{6, 0, 0xFF, 6, 0, 0, 0x11, 0xBE, 0x80, 0x42, 0, 0})
	const want = "0600ff06000011be40420010000011be000000008100000000000000"
	if hex.EncodeToString(got) != want {
		t.Errorf("pong %x, want %s", got, want)
	}
}

func TestSessionsAreBounded(t *testing.T) {
	s := &Server{MaxSessions: 2}
	addr := start(t, s)
	var clients []*client
	for range 2 {
		c := newClient(t, s, addr)
		c.login(suites[1])
		clients = append(clients, c)
	}
	c := newClient(t, s, addr)
	p, err := parsePacket(c.roundTrip(plusHeader(payloadOpenRequest, 0, 0, openRequest(1, suites[0]))))
	if err != nil || p.payload[1] != statusNoResources {
		t.Fatalf("a third session: %v % x", err, p.payload)
	}
	if code, _ := clients[0].do(netApp, 0x3C, le32(clients[0].s.id)...); code != codeOK {
		t.Fatalf("close session: %#x", code)
	}
	c.login(suites[0])
	if st := s.Stats(); st.Sessions != 2 || st.MaxSessions != 2 || st.Opened != 3 {
		t.Errorf("%+v", st)
	}
	if clients[0].roundTrip(clients[0].pack(payloadIPMI, clients[0].request(netApp, 0x01))) != nil {
		t.Error("a closed session answers")
	}
}

// testLoop is a loop that nobody runs, for what takes minutes otherwise.
func testLoop(m Machine) *loop {
	return newLoop(&Server{Conn: silentConn{}, User: "admin", Password: "secret", Machine: m}, nil)
}

// silentConn sends nowhere.
type silentConn struct{ net.PacketConn }

func (silentConn) LocalAddr() net.Addr { return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 623} }

func TestHalfOpenLoginsAreBounded(t *testing.T) {
	l := testLoop(&fakeMachine{})
	for i := range uint32(1000) {
		l.openSession(&net.UDPAddr{Port: int(i)}, openRequest(i, suites[0]))
	}
	if len(l.sessions) != maxPending {
		t.Errorf("%d log-ins under way, want %d", len(l.sessions), maxPending)
	}
	l.expire(time.Now().Add(pendingTimeout + time.Second))
	if len(l.sessions) != 0 {
		t.Errorf("%d log-ins are never given up", len(l.sessions))
	}
}

func TestIdleSessionsEnd(t *testing.T) {
	l := testLoop(&fakeMachine{})
	s := l.newSession(&net.UDPAddr{}, suites[0], 1)
	l.activate(s)
	for _, tt := range []struct {
		after time.Duration
		want  int
	}{{50 * time.Second, 1}, {61 * time.Second, 0}} {
		l.expire(s.lastSeen.Add(tt.after))
		if l.active() != tt.want {
			t.Errorf("%d sessions after %s, want %d", l.active(), tt.after, tt.want)
		}
	}
}

// The 60 s of spec table 28-14, parameter 3.
func TestBootFlagsAreForgotten(t *testing.T) {
	pxe := []byte{bootFlags, 0x80, 1 << 2, 0, 0, 0}
	persistent := []byte{bootFlags, 0xC0, 1 << 2, 0, 0, 0}
	for _, tt := range []struct {
		name string
		sets [][]byte
		wait time.Duration
		want string
	}{
		{"in time", [][]byte{pxe}, 59 * time.Second, "pxe"},
		{"too late", [][]byte{pxe}, 61 * time.Second, ""},
		{"told not to", [][]byte{{bootClearing, bootKeepPastTimeout}, pxe}, time.Hour, "pxe"},
		{"persistent", [][]byte{persistent}, time.Hour, "pxe"},
	} {
		m := &fakeMachine{}
		l := testLoop(m)
		for _, data := range tt.sets {
			if code, _ := setBootOption(l, &call{request: request{data: data}}); code != codeOK {
				t.Fatalf("%s: %#x", tt.name, code)
			}
		}
		l.expire(time.Now().Add(tt.wait))
		if got := m.BootDevice().Device; got != tt.want {
			t.Errorf("%s: boot device %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestBootOptions(t *testing.T) {
	for _, tt := range []struct {
		name string
		data []byte
		code byte
	}{
		{"service partition", []byte{1, 0}, codeNoParameter},
		{"flags cut short", []byte{bootFlags, 0x80}, codeTooShort},
		{"unknown device", []byte{bootFlags, 0x80, 0x3C, 0, 0, 0}, codeBadField},
		{"in progress", []byte{bootInProgress, 1}, codeOK},
		{"acknowledge", []byte{bootAck, 1, 1}, codeOK},
	} {
		if code, _ := setBootOption(testLoop(&fakeMachine{}), &call{request: request{data: tt.data}}); code != tt.code {
			t.Errorf("%s: %#x, want %#x", tt.name, code, tt.code)
		}
	}
	l := testLoop(&fakeMachine{})
	begin := &call{request: request{data: []byte{bootInProgress, 1}}}
	setBootOption(l, begin)
	if code, _ := setBootOption(l, begin); code != codeOverLimit {
		t.Errorf("setting while somebody sets: %#x, want %#x", code, codeOverLimit)
	}
}

func TestLies(t *testing.T) {
	m := &fakeMachine{}
	l := testLoop(m)
	l.faults = Faults{LiesAboutPower: true, LiesAboutBoot: true}
	if code, _ := chassisControl(l, &call{request: request{data: []byte{1}}}); code != codeOK {
		t.Errorf("power on: %#x", code)
	}
	if code, _ := setBootOption(l, &call{request: request{data: []byte{bootFlags, 0x80, 1 << 2, 0, 0, 0}}}); code != codeOK {
		t.Errorf("boot device: %#x", code)
	}
	if len(l.power) != 0 || len(m.sets) != 0 {
		t.Error("a lie became true")
	}
}

func TestActionNames(t *testing.T) {
	for a, want := range map[Action]string{Off: "off", On: "on", Cycle: "cycle", Reset: "reset", Soft: "soft", 9: "action 9"} {
		if a.String() != want {
			t.Errorf("%d is %q, want %q", int(a), a, want)
		}
	}
}

package bmc

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"
	"time"
)

// client is just enough of a remote console to send what real ones never would.
type client struct {
	t    testing.TB
	conn net.Conn
	srv  *Server
	s    *session // the client's view: id is the BMC's, console ours
	seq  byte
}

func newClient(t testing.TB, s *Server, addr *net.UDPAddr) *client {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{t: t, conn: conn, srv: s}
}

// roundTrip sends and returns the next packet, or nil when none comes.
func (c *client) roundTrip(b []byte) []byte {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatal(err)
	}
	return c.receive()
}

func (c *client) receive() []byte {
	buf := make([]byte, maxPacket)
	c.conn.SetReadDeadline(time.Now().Add(3 * time.Second))
	n, err := c.conn.Read(buf)
	if err != nil {
		return nil
	}
	return buf[:n]
}

func (c *client) setUp(kind byte, msg []byte) []byte {
	c.t.Helper()
	p, err := parsePacket(c.roundTrip(plusHeader(kind, 0, 0, msg)))
	if err != nil || p.kind != kind+1 || p.payload[1] != statusOK {
		c.t.Fatalf("set-up message %#x: %v, % x", kind, err, p.payload)
	}
	return p.payload
}

func openRequest(console uint32, c suite) []byte {
	b := append([]byte{7, 4, 0, 0}, le32(console)...)
	for i, alg := range []byte{c.auth, c.integrity, c.confidentiality} {
		b = append(b, byte(i), 0, 0, 8, alg, 0, 0, 0)
	}
	return b
}

// login does the whole RAKP, checking what the BMC must prove.
func (c *client) login(suite suite) {
	c.t.Helper()
	s := &session{suite: suite, console: 0xC0FFEE, role: nameOnlyLookup | byte(Administrator), name: []byte(c.srv.User),
		clientRandom: random16()}
	c.s = s
	s.id = binary.LittleEndian.Uint32(c.setUp(payloadOpenRequest, openRequest(s.console, suite))[8:])
	one := append([]byte{0, 0, 0, 0}, le32(s.id)...)
	one = append(one, s.clientRandom[:]...)
	one = append(append(one, s.role, 0, 0), s.who()[1:]...)
	two := c.setUp(payloadRAKP1, one)
	s.bmcRandom = [16]byte(two[8:])
	password := key([]byte(c.srv.Password))
	if want := suite.mac(password, s.ids(), s.clientRandom[:], s.bmcRandom[:], c.srv.GUID[:], s.who()); !bytes.Equal(two[40:], want) {
		c.t.Fatal("RAKP message 2 proves nothing")
	}
	four := c.setUp(payloadRAKP3, append(append([]byte{0, 0, 0, 0}, le32(s.id)...),
		suite.mac(password, s.bmcRandom[:], le32(s.console), s.who())...))
	s.sik = suite.mac(password, s.clientRandom[:], s.bmcRandom[:], s.who())
	s.k1, s.k2 = suite.mac(s.sik, bytes.Repeat([]byte{1}, 20)), suite.mac(s.sik, bytes.Repeat([]byte{2}, 20))
	if want := suite.mac(s.sik, s.clientRandom[:], le32(s.id), c.srv.GUID[:])[:suite.code]; !bytes.Equal(four[8:], want) {
		c.t.Fatal("RAKP message 4 proves nothing")
	}
}

// pack seals a payload for the BMC: the same as the BMC does, under its session id.
func (c *client) pack(kind byte, payload []byte) []byte {
	there := *c.s
	there.console = c.s.id
	b := there.seal(kind, payload, 0)
	c.s.seqOut = there.seqOut
	return b
}

func (c *client) request(netFn, cmd byte, data ...byte) []byte {
	c.seq++
	b := []byte{0x20, netFn << 2}
	b = append(b, -checksum(b), 0x81, c.seq<<2, cmd)
	b = append(b, data...)
	return append(b, -checksum(b[3:]))
}

// unpack opens an answer from the BMC; it returns payload type and plain payload, or fails.
func (c *client) unpack(b []byte) (byte, []byte) {
	c.t.Helper()
	p, err := parsePacket(b)
	if err != nil || p.session != c.s.console {
		c.t.Fatalf("answer % x: %v", b, err)
	}
	here := session{suite: c.s.suite, k1: c.s.k1, k2: c.s.k2, seen: map[uint32]bool{}}
	plain, err := here.open(p, false)
	if err != nil {
		c.t.Fatalf("answer % x: %v", b, err)
	}
	return p.kind, plain
}

// do has a command answered and returns completion code and data.
func (c *client) do(netFn, cmd byte, data ...byte) (byte, []byte) {
	c.t.Helper()
	_, plain := c.unpack(c.roundTrip(c.pack(payloadIPMI, c.request(netFn, cmd, data...))))
	if len(plain) < 8 || plain[4]>>2 != c.seq || plain[5] != cmd {
		c.t.Fatalf("answer % x to another request", plain)
	}
	return plain[6], plain[7 : len(plain)-1]
}

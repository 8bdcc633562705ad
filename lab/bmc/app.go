package bmc

import (
	"encoding/binary"
	"net"
)

const lanChannel = 1

func guid(l *loop, _ *call) (byte, []byte) { return codeOK, l.srv.GUID[:] }

// authCapabilities is spec table 22-15: RMCP+ only, with user names. The bit that says so in the
// second byte may only be set when the client asks with bit 7 of the channel.
func authCapabilities(l *loop, c *call) (byte, []byte) {
	status := byte(0x04)
	if l.srv.KG != nil {
		status |= 0x20
	}
	return codeOK, []byte{lanChannel, c.data[0] & 0x80, status, 0x02, 0, 0, 0, 0}
}

// cipherSuites is spec table 22-17: records of five bytes, handed out sixteen bytes at a time.
func cipherSuites(l *loop, c *call) (byte, []byte) {
	var records []byte
	for _, s := range l.listed() {
		records = append(records, 0xC0, byte(s.id), s.auth, 0x40|s.integrity, 0x80|s.confidentiality)
	}
	if l.faults.RepeatsSuites {
		return codeOK, append([]byte{lanChannel}, append(records, make([]byte, 16)...)[:16]...)
	}
	from := min(int(c.data[2]&0x3F)*16, len(records))
	return codeOK, append([]byte{lanChannel}, records[from:min(from+16, len(records))]...)
}

func setPrivilege(l *loop, c *call) (byte, []byte) {
	want := Privilege(c.data[0] & 0x0F)
	switch {
	case want == 0: // only asks
	case want > min(c.session.limit, l.srv.privilege()):
		return codeOverLimit, nil
	default:
		c.session.privilege = want
	}
	return codeOK, []byte{byte(c.session.privilege)}
}

// closeSession ends the caller's own session after the answer, or, for an administrator, another.
func closeSession(l *loop, c *call) (byte, []byte) {
	s := l.sessions[binary.LittleEndian.Uint32(c.data)]
	switch {
	case s == nil || !s.active:
		return codeBadSession, nil
	case s == c.session:
		s.closing = true
	case c.session.privilege < Administrator:
		return codeNoPrivilege, nil
	default:
		l.drop(s)
	}
	return codeOK, nil
}

func sessionInfo(l *loop, c *call) (byte, []byte) {
	if c.data[0] != 0 { // only the caller's own
		return codeNotPresent, nil
	}
	return codeOK, []byte{1, byte(l.maxSessions()), byte(l.active()), userID, byte(c.session.privilege), 0x10 | lanChannel}
}

func channelInfo(l *loop, c *call) (byte, []byte) {
	if ch := c.data[0] & 0x0F; ch != lanChannel && ch != 0x0E {
		return codeBadField, nil
	}
	const lan8023, ipmb, multiSession = 4, 1, 0x80
	return codeOK, []byte{lanChannel, lan8023, ipmb, multiSession | byte(l.active()), 0xF2, 0x1B, 0, 0, 0}
}

const userID = 2 // user 1 is the null user, which is disabled

// userAccess is spec table 22-32.
func userAccess(l *loop, c *call) (byte, []byte) {
	const enabledAndMessaging, disabled, noAccess = 0x30, 0x00, 0x0F
	answer := []byte{userID, 0x40 | 1, 1, disabled | noAccess}
	switch c.data[1] & 0x3F {
	case 1:
	case userID:
		answer[3] = enabledAndMessaging | byte(l.srv.privilege())
	default:
		return codeBadField, nil
	}
	return codeOK, answer
}

func userName(l *loop, c *call) (byte, []byte) {
	name := make([]byte, 16)
	switch c.data[0] & 0x3F {
	case 1:
	case userID:
		copy(name, l.srv.User)
	default:
		return codeBadField, nil
	}
	return codeOK, name
}

// lanParameter is spec table 23-4, as far as ipmitool lan print and FreeIPMI read it.
func lanParameter(l *loop, c *call) (byte, []byte) {
	ip := net.IPv4zero
	if a, ok := l.srv.Conn.LocalAddr().(*net.UDPAddr); ok && a.IP.To4() != nil {
		ip = a.IP
	}
	values := map[byte][]byte{
		0: {0}, 1: {0}, 2: {0, 0, 0, 0, 0}, // set in progress, authentication types: none outside RMCP+
		3: ip.To4(), 4: {1}, 5: {0x52, 0x54, 0, 0, 0, 0}, 6: {255, 255, 255, 0},
		12: {0, 0, 0, 0}, 20: {0, 0},
		22: {byte(len(l.srv.offered()))}, 24: {0, 0x44, 0x44, 0x44, 0x44, 0x44, 0x44, 0x44, 0x44},
	}
	ids := []byte{0}
	for _, s := range l.srv.offered() {
		ids = append(ids, byte(s.id))
	}
	values[23] = append(ids, make([]byte, 17-len(ids))...)
	v, ok := values[c.data[1]]
	if !ok {
		return codeNoParameter, nil
	}
	return codeOK, append([]byte{0x11}, v...)
}

// solParameter is spec table 26-5.
func solParameter(l *loop, c *call) (byte, []byte) {
	const bps115200 = 0x0A
	port := l.port()
	values := map[byte][]byte{
		0: {0}, 1: {1}, 2: {0xC0 | byte(User)}, 3: {10, 100}, 4: {7, 50}, 5: {bps115200}, 6: {bps115200},
		7: {lanChannel}, 8: {byte(port), byte(port >> 8)},
	}
	v, ok := values[c.data[1]]
	if !ok {
		return codeNoParameter, nil
	}
	return codeOK, append([]byte{0x11}, v...)
}

func (l *loop) port() int {
	if a, ok := l.srv.Conn.LocalAddr().(*net.UDPAddr); ok {
		return a.Port
	}
	return 623
}

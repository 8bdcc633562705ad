package bmc

import (
	"bytes"
	"crypto/hmac"
	"encoding/binary"
	"net"
	"time"
)

// RMCP+ status codes (spec table 13-15).
const (
	statusOK                 = 0x00
	statusNoResources        = 0x01
	statusBadSession         = 0x02
	statusBadRole            = 0x09
	statusUnauthorized       = 0x0A
	statusBadNameLength      = 0x0C
	statusUnknownName        = 0x0D
	statusBadIntegrity       = 0x0F
	statusNoCipherSuite      = 0x11
	maxPending               = 32
	pendingTimeout           = 10 * time.Second
	answersKept              = 4 // a client has one request under way; a late copy is of one of its last few
	sequenceWindow           = 32
	nameOnlyLookup      byte = 0x10
)

// session is a log-in under way or an active session. The loop's goroutine owns it.
type session struct {
	id, console uint32
	suite       suite
	addr        net.Addr // where the last good packet came from
	active      bool
	lastSeen    time.Time
	limit       Privilege // asked for at log-in
	closing     bool      // ends once the answer under way is sent
	privilege   Privilege

	openRequest, openAnswer []byte
	rakp1, rakp2            []byte // answered again when the client repeats itself
	rakp3, rakp4            []byte
	clientRandom, bmcRandom [16]byte
	role, opened            byte // of RAKP 1; of the Open Session request
	name                    []byte
	sik, k1, k2             []byte
	seqIn, seqOut           uint32
	seen                    map[uint32]bool // sequence numbers in the window
	answers                 []answered
	sol                     *sol
}

// answered is a request that was carried out and its answer, which is nil while it runs.
type answered struct {
	request []byte
	answer  []byte
}

// openSession answers an RMCP+ Open Session Request (spec tables 13-9 and 13-10).
func (l *loop) openSession(from net.Addr, p []byte) []byte {
	if len(p) < 32 {
		return nil
	}
	for _, s := range l.sessions {
		if s.addr.String() == from.String() && bytes.Equal(s.openRequest, p) {
			return s.openAnswer
		}
	}
	suite, ok := l.matchSuite(p[8:32])
	status := byte(statusOK)
	switch {
	case !ok:
		status = statusNoCipherSuite
	case l.faults.NoSlots || l.active() >= l.maxSessions():
		status = statusNoResources
	}
	answer := append([]byte{p[0], status, p[1], 0}, p[4:8]...)
	if status != statusOK {
		return answer
	}
	s := l.newSession(from, suite, binary.LittleEndian.Uint32(p[4:]))
	s.opened = p[1] & 0x0F
	answer[2] = byte(l.srv.privilege())
	answer = binary.LittleEndian.AppendUint32(answer, s.id)
	for i, alg := range []byte{suite.auth, suite.integrity, suite.confidentiality} {
		answer = append(answer, byte(i), 0, 0, 8, alg, 0, 0, 0)
	}
	s.openRequest, s.openAnswer = bytes.Clone(p), answer
	return answer
}

// matchSuite finds the best offered suite for three algorithm payloads; a payload of length 0
// leaves the choice to the BMC.
func (l *loop) matchSuite(p []byte) (suite, bool) {
	asked := func(i int, alg byte) bool {
		return p[8*i] == byte(i) && (p[8*i+3] == 0 || p[8*i+3] == 8 && p[8*i+4]&0x3F == alg)
	}
	for _, c := range l.srv.offered() {
		if asked(0, c.auth) && asked(1, c.integrity) && asked(2, c.confidentiality) {
			return c, true
		}
	}
	return suite{}, false
}

// rakp1 answers RAKP Message 1 with Message 2 (spec tables 13-11 and 13-12). A client that repeats
// it with another random number, as ipmitool does, starts anew.
func (l *loop) rakp1(p []byte) []byte {
	if len(p) < 28 || len(p) < 28+int(p[27]) {
		return nil
	}
	s := l.sessions[binary.LittleEndian.Uint32(p[4:])]
	if s == nil || s.active {
		return []byte{p[0], statusBadSession, 0, 0, 0, 0, 0, 0}
	}
	if bytes.Equal(s.rakp1, p) {
		return s.rakp2
	}
	answer := binary.LittleEndian.AppendUint32([]byte{p[0], l.checkName(p), 0, 0}, s.console)
	if answer[1] != statusOK {
		delete(l.sessions, s.id)
		return answer
	}
	s.clientRandom, s.bmcRandom = [16]byte(p[8:24]), random16()
	s.role, s.name = p[24], bytes.Clone(p[28:28+int(p[27])])
	s.limit = Privilege(s.role & 0x0F)
	answer = append(answer, s.bmcRandom[:]...)
	answer = append(answer, l.srv.GUID[:]...)
	if l.faults.OpenRole {
		s.role = s.role&0xF0 | s.opened
	}
	code := s.suite.mac(l.password(), s.ids(), s.clientRandom[:], s.bmcRandom[:], l.srv.GUID[:], s.who())
	s.rakp1, s.rakp2 = bytes.Clone(p), append(answer, l.code(s, code)...)
	return s.rakp2
}

func (l *loop) checkName(p []byte) byte {
	role := Privilege(p[24] & 0x0F)
	switch {
	case p[27] > 16:
		return statusBadNameLength
	case string(p[28:28+int(p[27])]) != l.srv.User:
		return statusUnknownName
	case role < Callback || role > Administrator:
		return statusBadRole
	case role > l.srv.privilege():
		return statusUnauthorized
	}
	return statusOK
}

// rakp3 answers RAKP Message 3 with Message 4 and activates the session (spec tables 13-13, 13-14).
func (l *loop) rakp3(p []byte) []byte {
	if len(p) < 8 {
		return nil
	}
	s := l.sessions[binary.LittleEndian.Uint32(p[4:])]
	switch {
	case s == nil || s.rakp1 == nil:
		return []byte{p[0], statusBadSession, 0, 0, 0, 0, 0, 0}
	case s.active:
		if bytes.Equal(s.rakp3[1:], p[1:]) {
			return append([]byte{p[0]}, s.rakp4[1:]...)
		}
		return nil
	case p[1] != statusOK: // the client did not like message 2
		delete(l.sessions, s.id)
		return nil
	}
	answer := binary.LittleEndian.AppendUint32([]byte{p[0], statusOK, 0, 0}, s.console)
	want := s.suite.mac(l.password(), s.bmcRandom[:], le32(s.console), s.who())
	if !hmac.Equal(want, p[8:]) {
		answer[1] = statusBadIntegrity
	} else if l.active() >= l.maxSessions() {
		answer[1] = statusNoResources
	}
	if answer[1] != statusOK {
		delete(l.sessions, s.id)
		return answer
	}
	l.activate(s)
	check := s.suite.mac(s.sik, s.clientRandom[:], le32(s.id), l.srv.GUID[:])
	s.rakp3, s.rakp4 = bytes.Clone(p), append(answer, l.code(s, check[:s.suite.code])...)
	return s.rakp4
}

// activate derives the session's keys (spec 13.31, 13.32) and lets it in at user level.
func (l *loop) activate(s *session) {
	kg := l.password()
	if l.srv.KG != nil {
		kg = key(l.srv.KG)
	}
	s.sik = s.suite.mac(kg, s.clientRandom[:], s.bmcRandom[:], s.who())
	s.k1 = s.suite.mac(s.sik, bytes.Repeat([]byte{1}, 20))
	s.k2 = s.suite.mac(s.sik, bytes.Repeat([]byte{2}, 20))
	s.active, s.lastSeen, s.privilege = true, time.Now(), min(User, s.limit)
	l.srv.count(func(st *Stats) {
		st.Opened++
		st.Sessions = l.active()
		st.MaxSessions = max(st.MaxSessions, st.Sessions)
	})
}

func (l *loop) password() []byte {
	if l.faults.RefuseLogin {
		r := random16()
		return r[:]
	}
	return key([]byte(l.srv.Password))
}

func (s *session) ids() []byte { return append(le32(s.console), le32(s.id)...) }

func (s *session) who() []byte { return append([]byte{s.role, byte(len(s.name))}, s.name...) }

func le32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }

// open checks an authenticated packet's integrity code and sequence number and decrypts it.
func (s *session) open(p packet, strict bool) ([]byte, error) {
	n := len(p.body) - s.suite.code
	if !p.signed || !p.crypted || n < 14 || !hmac.Equal(s.suite.mac(s.k1, p.body[:n])[:s.suite.code], p.body[n:]) {
		return nil, errMalformed
	}
	if p.seq == 0 || p.seq+sequenceWindow <= s.seqIn || strict && s.seen[p.seq] {
		return nil, errMalformed
	}
	s.seqIn = max(s.seqIn, p.seq)
	s.seen[p.seq] = true
	for old := range s.seen {
		if old+sequenceWindow <= s.seqIn {
			delete(s.seen, old)
		}
	}
	return decrypt(s.k2, p.payload)
}

// seal wraps a payload for the client: it encrypts it with more blocks of padding than it needs, pads the
// packet to a multiple of 4 bytes and signs it (IPMI 2.0 section 13.28.4).
func (s *session) seal(kind byte, payload []byte, more int) []byte {
	s.seqOut++
	b := plusHeader(kind|0xC0, s.console, s.seqOut, encrypt(s.k2, payload, more))
	pad := (4 - (len(b)-4+2)%4) % 4
	for range pad {
		b = append(b, 0xFF)
	}
	b = append(b, byte(pad), classIPMI)
	return append(b, s.suite.mac(s.k1, b[4:])[:s.suite.code]...)
}

// before returns the earlier copy of a request that the client repeats, or nil. Requests carry a
// sequence number of their own, so equal bytes mean a retransmission, which must not act twice.
func (s *session) before(request []byte) *answered {
	for i := range s.answers {
		if bytes.Equal(s.answers[i].request, request) {
			return &s.answers[i]
		}
	}
	return nil
}

func (s *session) remember(request []byte) {
	if len(s.answers) == answersKept {
		s.answers = append(s.answers[:0], s.answers[1:]...)
	}
	s.answers = append(s.answers, answered{request: bytes.Clone(request)})
}

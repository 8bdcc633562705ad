package ipmi

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/hmac"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"time"
)

// Network functions (spec table 5-1).
const (
	netChassis = 0x00
	netApp     = 0x06
)

// login opens the session: cipher suite, RAKP, privilege. It takes OperationTimeout at most. The
// caller closes the session, also after an error.
func (s *session) login(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.options.OperationTimeout)
	defer cancel()
	start := time.Now()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "udp", s.address)
	if err != nil {
		if ctx.Err() != nil {
			return s.silence(ctx, "log in", time.Since(start))
		}
		return s.fail(Unreachable, nil, "cannot reach it: %s", withoutAddress(err))
	}
	s.conn = conn
	return s.authenticate(ctx)
}

// reopen replaces a session that broke by a new one.
func (s *session) reopen(ctx context.Context) error {
	s.close(ctx)
	known := s.quirks
	*s = *newSession(s.config, s.options, s.slot)
	s.quirks = known
	return s.login(ctx)
}

// askOutside has a request answered that needs no session, in IPMI 1.5 framing: some BMCs know
// no other before a session (spec 13.15).
func (s *session) askOutside(ctx context.Context, what string, cmd byte, data ...byte) (answer []byte, err error) {
	s.request = (s.request + 1) & 0x3F
	msg := packRequest(netApp, cmd, s.request, data)
	var code completion
	err = s.exchange(ctx, what, func() []byte { return wrapPlain(msg) }, func(f frame) bool {
		if !f.plain {
			return false
		}
		var err error
		answer, err = unpackResponse(f.payload, netApp, cmd, s.request, false)
		code, _ = refusal(err)
		return err == nil || code != 0
	})
	if err == nil && code != 0 {
		return nil, code
	}
	return answer, err
}

// raise asks for the privilege level that commands need; a session starts as a mere user.
func (s *session) raise(ctx context.Context) error {
	_, err := s.command(ctx, "grant the privilege level", netApp, 0x3B, s.privilege)
	if _, refused := refusal(err); refused {
		return s.fail(NoPrivilege, err, "user %q may not have privilege level %s; set driver_info/ipmi_priv_level to what the BMC "+
			"grants", s.user, levelName(s.privilege))
	}
	return err
}

// handshake is Open Session, RAKP messages 1 to 4 (spec 13.17 to 13.24) and the privilege; once more from the
// start when the BMC lost track of a repeated message, and a few times when it has no room.
func (s *session) handshake(ctx context.Context, suite int) error {
	const attempts = 4
	for attempt := 1; ; attempt++ {
		err := s.attempt(ctx, suite)
		if err == nil {
			s.slot.suite = suite
			return s.raise(ctx)
		}
		if !errors.Is(err, errStartOver) && ReasonOf(err) != Busy {
			return err
		}
		if attempt == attempts || s.pause(ctx, s.options.Retry) != nil {
			if errors.Is(err, errStartOver) {
				return s.fail(Refused, nil, "broke off the log-in %d times although the password is right", attempt)
			}
			return err
		}
	}
}

var errStartOver = errors.New("the BMC lost track of the log-in")

func (s *session) attempt(ctx context.Context, suite int) error {
	s.suite = cipherSuites[suite]
	opened, err := s.setUp(ctx, "open a session", payloadOpen, s.openRequest())
	if err != nil {
		return err
	}
	if len(opened) < 36 {
		return s.fail(Unsupported, nil, "sent an open session response that is too short")
	}
	if opened[16] != s.suite.auth || opened[24] != s.suite.integrity || opened[32] != s.suite.confidentiality {
		return s.fail(BadCipher, nil, "answered with other algorithms than those of cipher suite %d", s.suite.id)
	}
	s.bmcID = binary.LittleEndian.Uint32(opened[8:])
	return s.rakp(ctx)
}

// openRequest is spec table 13-9, with a console session id nobody can guess.
func (s *session) openRequest() []byte {
	var id [4]byte
	for s.consoleID = 0; s.consoleID == 0; s.consoleID = binary.LittleEndian.Uint32(id[:]) {
		rand.Read(id[:])
	}
	s.sequence, s.bmcID = 0, 0
	b := append([]byte{0, s.privilege, 0, 0}, id[:]...)
	for i, alg := range []byte{s.suite.auth, s.suite.integrity, s.suite.confidentiality} {
		b = append(b, byte(i), 0, 0, 8, alg, 0, 0, 0)
	}
	return b
}

// rakp proves to each side that the other knows the password, and makes the session's keys.
func (s *session) rakp(ctx context.Context) error {
	const nameOnly = 0x10 // look the user up by name, not by name and level
	var mine [16]byte
	rand.Read(mine[:])
	who := append([]byte{s.privilege | nameOnly, byte(len(s.user))}, s.user...)
	first := append([]byte{0, 0, 0, 0}, le32(s.bmcID)...)
	first = append(first, mine[:]...)
	first = append(first, who[0], 0, 0)
	second, err := s.setUp(ctx, "log in", payloadRAKP1, append(first, who[1:]...))
	if err != nil {
		return err
	}
	password := padKey([]byte(s.password))
	if !s.proved(second, password, mine[:], who) {
		s.refuseRAKP()
		s.doubtful = true
		return s.badLogin("the password is wrong")
	}
	theirs, guid := second[8:24], second[24:40]
	sik := s.deriveKeys(password, mine[:], theirs, who)
	third := append([]byte{0, 0, 0, 0}, le32(s.bmcID)...)
	third = append(third, s.suite.mac(password, theirs, le32(s.consoleID), who)...)
	s.mayBeOpen = true
	fourth, err := s.setUp(ctx, "log in", payloadRAKP3, third)
	if err != nil {
		return err
	}
	if !s.isCode(fourth[8:], s.suite.mac(sik, mine[:], le32(s.bmcID), guid), s.suite.codeLen) {
		s.mayBeOpen = false // and cannot be closed: the keys differ
		s.doubtful = true
		return s.fail(BadLogin, nil, "log-in as %q was refused: the password is right but the BMC key is not; check "+
			"driver_info/ipmi_hex_kg_key", s.user)
	}
	return nil
}

// proved checks the code of RAKP message 2, the BMC's proof that it knows the password.
func (s *session) proved(second, password, mine, who []byte) bool {
	if len(second) < 40 {
		return false
	}
	code := s.suite.mac(password, le32(s.consoleID), le32(s.bmcID), mine, second[8:40], who)
	return s.isCode(second[40:], code, len(code))
}

// isCode compares the n bytes that a code has. Behind them may stand the rest of the whole code, where n bytes of
// it are asked for, and zeros: nothing that says something else.
func (s *session) isCode(got, code []byte, n int) bool {
	if len(got) < n || !hmac.Equal(got[:n], code[:n]) {
		return false
	}
	rest := bytes.TrimPrefix(got[n:], code[n:])
	return len(rest) <= s.quirks[codePadding] && zeros(rest)
}

// deriveKeys makes SIK, K1 and K2 (spec 13.31, 13.32) and returns SIK.
func (s *session) deriveKeys(password, mine, theirs, who []byte) []byte {
	kg := password
	if s.kg != nil {
		kg = s.kg
	}
	sik := s.suite.mac(kg, mine, theirs, who)
	s.k1 = s.suite.mac(sik, bytes.Repeat([]byte{1}, 20))
	k2 := s.suite.mac(sik, bytes.Repeat([]byte{2}, 20))
	block, err := aes.NewCipher(k2[:16])
	if err != nil {
		panic(err) // cannot happen: the key is 16 bytes
	}
	s.aes = block
	return sik
}

// refuseRAKP ends a half-open log-in (RAKP message 3 with a status), so that it takes no room. It
// has no answer.
func (s *session) refuseRAKP() {
	const badIntegrity = 0x0F
	_, _ = s.conn.Write(wrapPlus(payloadRAKP3, 0, 0, append([]byte{0, badIntegrity, 0, 0}, le32(s.bmcID)...)))
}

func (s *session) badLogin(why string) error {
	return s.fail(BadLogin, nil, "log-in as %q was refused: %s; check driver_info/ipmi_username and ipmi_password", s.user, why)
}

// setUp has a session set-up message answered: the response has the next payload type, our message
// tag and, where there is one, our session id. A status other than 0 is an error.
func (s *session) setUp(ctx context.Context, what string, kind byte, msg []byte) (answer []byte, err error) {
	s.request = (s.request + 1) & 0x3F
	msg[0] = s.request // the message tag
	packet := wrapPlus(kind, 0, 0, msg)
	err = s.exchange(ctx, what, func() []byte { return packet }, func(f frame) bool {
		p := f.payload
		if f.plain || f.kind != kind+1 || len(p) < 2 || p[0] != msg[0] && !s.tagless(p) {
			return false
		}
		// A refusal may be short: OpenIPMI leaves the session id out.
		if p[1] == 0 && (len(p) < 8 || binary.LittleEndian.Uint32(p[4:]) != s.consoleID) {
			return false
		}
		answer = bytes.Clone(p)
		return true
	})
	if err == nil && answer[1] != 0 {
		s.mayBeOpen = false
		err = s.statusError(kind, answer[1])
	}
	return answer, err
}

// tagless takes an answer that has no message tag but our session id, which is new in every log-in.
func (s *session) tagless(p []byte) bool {
	return s.quirks.Has(tagZero) && p[0] == 0 && len(p) >= 8 && binary.LittleEndian.Uint32(p[4:]) == s.consoleID
}

// statusError says what an RMCP+ status code (spec table 13-15) means at this point of the log-in.
func (s *session) statusError(kind, status byte) error {
	switch status {
	case 0x01, 0x0B:
		return s.fail(Busy, nil, "has no room for another session; close other sessions or wait a minute")
	case 0x04, 0x05, 0x06, 0x07, 0x10, 0x11:
		return s.fail(BadCipher, nil, "does not accept cipher suite %d; set driver_info/ipmi_cipher_suite to one that it has: 3 or 17",
			s.suite.id)
	case 0x09, 0x0A:
		return s.fail(NoPrivilege, nil, "user %q may not have privilege level %s; set driver_info/ipmi_priv_level to what the BMC "+
			"grants", s.user, levelName(s.privilege))
	case 0x0C, 0x0D:
		return s.badLogin("there is no such user")
	case 0x02, 0x08, 0x0F:
		// By message 3 the BMC has proved that it shares our password: it is confused, not we.
		if kind == payloadRAKP3 || kind == payloadRAKP1 && status != 0x0F {
			return errStartOver
		}
		return s.badLogin("the password is wrong")
	}
	return s.fail(Refused, nil, "refused the log-in with RMCP+ status %#02x", status)
}

func le32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }

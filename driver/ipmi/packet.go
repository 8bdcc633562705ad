package ipmi

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
)

// Payload types (spec table 13-16).
const (
	payloadIPMI   = 0x00
	payloadOpen   = 0x10
	payloadRAKP1  = 0x12
	payloadRAKP3  = 0x14
	encrypted     = 0x80
	authenticated = 0x40

	authTypeNone = 0x00
	authTypePlus = 0x06
	maxPacket    = 1024
)

var errNotOurs = errors.New("not the packet we wait for")

// cipherSuite is a row of spec table 22-20.
type cipherSuite struct {
	id                               int
	auth, integrity, confidentiality byte
	hash                             func() hash.Hash
	codeLen                          int // bytes of an integrity code
}

var cipherSuites = map[int]cipherSuite{
	3:  {3, 1, 1, 1, sha1.New, 12},
	17: {17, 3, 4, 1, sha256.New, 16},
}

func (c cipherSuite) mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(c.hash, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// padKey makes the 20-byte key that passwords and BMC keys are (spec 13.28).
func padKey(secret []byte) []byte {
	return append(secret[:len(secret):len(secret)], make([]byte, 20-len(secret))...)
}

// rmcpHeader is version 1.0, no acknowledgement, class IPMI (spec 13.1.3).
var rmcpHeader = []byte{0x06, 0x00, 0xFF, 0x07}

// wrapPlain frames a message outside any session the IPMI 1.5 way, which discovery uses.
func wrapPlain(msg []byte) []byte {
	b := append([]byte(nil), rmcpHeader...)
	b = append(b, authTypeNone, 0, 0, 0, 0, 0, 0, 0, 0, byte(len(msg)))
	return append(b, msg...)
}

// wrapPlus frames a payload the RMCP+ way, without the trailer.
func wrapPlus(kind byte, session, seq uint32, payload []byte) []byte {
	b := append([]byte(nil), rmcpHeader...)
	b = append(b, authTypePlus, kind)
	b = binary.LittleEndian.AppendUint32(b, session)
	b = binary.LittleEndian.AppendUint32(b, seq)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(payload)))
	return append(b, payload...)
}

// frame is a received packet taken apart, its code not checked yet.
type frame struct {
	plain   bool // IPMI 1.5 framing
	kind    byte // payload type with its two flags
	session uint32
	payload []byte
	body    []byte // what the integrity code covers, and the code
}

// unwrap takes a datagram apart. Whatever it holds, it only ever returns an error.
func unwrap(b []byte) (frame, error) {
	if len(b) < 5 || b[0] != 0x06 || b[3] != 0x07 {
		return frame{}, errNotOurs
	}
	b = b[4:]
	switch {
	case b[0] == authTypeNone && len(b) >= 10 && len(b) >= 10+int(b[9]):
		return frame{plain: true, payload: b[10 : 10+int(b[9])]}, nil
	case b[0] == authTypePlus && len(b) >= 12:
		n := int(binary.LittleEndian.Uint16(b[10:]))
		if len(b) >= 12+n {
			return frame{kind: b[1], session: binary.LittleEndian.Uint32(b[2:]), payload: b[12 : 12+n], body: b}, nil
		}
	}
	return frame{}, errNotOurs
}

// Addresses in LAN messages (spec 5.5): the BMC, and a remote console's software.
const (
	bmcAddress     = 0x20
	consoleAddress = 0x81
)

func packRequest(netFn, cmd, seq byte, data []byte) []byte {
	b := []byte{bmcAddress, netFn << 2}
	b = append(b, -sum(b), consoleAddress, seq<<2, cmd)
	b = append(b, data...)
	return append(b, -sum(b[3:]))
}

// unpackResponse returns the data behind the completion code of the response to the request with
// these numbers; any other message is not ours. unsummed takes one whose checksums are wrong: only
// for what came in an authenticated packet, which they add nothing to.
func unpackResponse(b []byte, netFn, cmd, seq byte, unsummed bool) ([]byte, error) {
	if len(b) < 8 || !unsummed && (sum(b[:3]) != 0 || sum(b[3:]) != 0) || b[1]>>2 != netFn|1 || b[4]>>2 != seq || b[5] != cmd {
		return nil, errNotOurs
	}
	if b[6] != 0 {
		return nil, completion(b[6])
	}
	return b[7 : len(b)-1], nil
}

func sum(b []byte) (n byte) {
	for _, c := range b {
		n += c
	}
	return n
}

// seal encrypts (spec 13.29: vector, AES-CBC, padding 1, 2, 3…, n) and signs a payload.
func (s *session) seal(kind byte, payload []byte) []byte {
	plain := append([]byte(nil), payload...)
	pad := (aes.BlockSize - (len(plain)+1)%aes.BlockSize) % aes.BlockSize
	for i := range pad {
		plain = append(plain, byte(i+1))
	}
	plain = append(plain, byte(pad))
	sealed := make([]byte, aes.BlockSize+len(plain))
	rand.Read(sealed[:aes.BlockSize])
	cipher.NewCBCEncrypter(s.aes, sealed[:aes.BlockSize]).CryptBlocks(sealed[aes.BlockSize:], plain)

	s.sequence++
	b := wrapPlus(kind|encrypted|authenticated, s.bmcID, s.sequence, sealed)
	trailer := (4 - (len(b)-4+2)%4) % 4
	for range trailer {
		b = append(b, 0xFF)
	}
	b = append(b, byte(trailer), 0x07)
	return append(b, s.suite.mac(s.k1, b[4:])[:s.suite.codeLen]...)
}

// open checks a frame of this session that carries an IPMI message and decrypts it.
func (s *session) open(f frame) ([]byte, error) { return s.openAs(payloadIPMI, f) }

// authentic checks the integrity code, which ends the packet. Where zeros follow it, its place is told by what is in
// front: the payload, filled up to a multiple of four (spec table 13-8).
func (s *session) authentic(f frame) bool {
	holds := func(n int) bool {
		return n >= 14 && n+s.suite.codeLen <= len(f.body) &&
			hmac.Equal(s.suite.mac(s.k1, f.body[:n])[:s.suite.codeLen], f.body[n:n+s.suite.codeLen])
	}
	n := (12 + len(f.payload) + 2 + 3) &^ 3
	end := n + s.suite.codeLen
	padded := end < len(f.body) && len(f.body)-end <= s.quirks[packetPadding] && zeros(f.body[end:])
	return holds(len(f.body)-s.suite.codeLen) || padded && holds(n)
}

func zeros(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }

// openAs does the same with a payload of the given type.
func (s *session) openAs(kind byte, f frame) ([]byte, error) {
	if f.kind != kind|encrypted|authenticated || f.session != s.consoleID || !s.authentic(f) {
		return nil, errNotOurs
	}
	if len(f.payload) < 2*aes.BlockSize || len(f.payload)%aes.BlockSize != 0 {
		return nil, errNotOurs
	}
	plain := make([]byte, len(f.payload)-aes.BlockSize)
	cipher.NewCBCDecrypter(s.aes, f.payload[:aes.BlockSize]).CryptBlocks(plain, f.payload[aes.BlockSize:])
	end := len(plain) - 1 - int(plain[len(plain)-1])
	if end < 0 {
		return nil, errNotOurs
	}
	return plain[:end], nil
}

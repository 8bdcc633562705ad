package bmc

import (
	"encoding/binary"
	"errors"
)

// Bytes of the RMCP header (spec 13.1.3) and of the session headers behind it.
const (
	rmcpVersion  = 0x06
	rmcpNoAck    = 0xFF
	classASF     = 0x06
	classIPMI    = 0x07
	authNone     = 0x00
	authRMCPPlus = 0x06

	payloadIPMI         = 0x00
	payloadSOL          = 0x01
	payloadOpenRequest  = 0x10
	payloadOpenResponse = 0x11
	payloadRAKP1        = 0x12
	payloadRAKP2        = 0x13
	payloadRAKP3        = 0x14
	payloadRAKP4        = 0x15

	maxPacket = 1024 // no IPMI packet is longer
)

var errMalformed = errors.New("malformed packet")

// packet is one UDP datagram taken apart; slices point into the datagram.
type packet struct {
	ping    bool // ASF presence ping; nothing below but tag is set
	tag     byte
	v15     bool // sessionless IPMI 1.5 wrapper, as discovery uses; only payload is set
	kind    byte // payload type
	crypted bool
	signed  bool
	session uint32
	seq     uint32
	payload []byte
	body    []byte // from the authentication type to the end: the integrity code and what it covers
}

// parsePacket takes a datagram apart (spec tables 13-1 and 13-8). It checks lengths, not secrets.
func parsePacket(b []byte) (packet, error) {
	if len(b) < 5 || len(b) > maxPacket || b[0] != rmcpVersion {
		return packet{}, errMalformed
	}
	switch {
	case b[3] == classASF:
		return parsePing(b[4:])
	case b[3] == classIPMI && b[4] == authNone:
		return parseV15(b[4:])
	case b[3] == classIPMI && b[4] == authRMCPPlus:
		return parsePlus(b[4:])
	}
	return packet{}, errMalformed
}

func parsePing(b []byte) (packet, error) {
	const ping = 0x80
	if len(b) < 8 || binary.BigEndian.Uint32(b) != asfIANA || b[4] != ping {
		return packet{}, errMalformed
	}
	return packet{ping: true, tag: b[5]}, nil
}

func parseV15(b []byte) (packet, error) {
	if len(b) < 10 || binary.LittleEndian.Uint32(b[5:]) != 0 || len(b) < 10+int(b[9]) {
		return packet{}, errMalformed
	}
	return packet{v15: true, payload: b[10 : 10+int(b[9])]}, nil
}

func parsePlus(b []byte) (packet, error) {
	if len(b) < 12 {
		return packet{}, errMalformed
	}
	p := packet{
		kind: b[1] & 0x3F, crypted: b[1]&0x80 != 0, signed: b[1]&0x40 != 0,
		session: binary.LittleEndian.Uint32(b[2:]), seq: binary.LittleEndian.Uint32(b[6:]), body: b,
	}
	n := int(binary.LittleEndian.Uint16(b[10:]))
	if len(b) < 12+n {
		return packet{}, errMalformed
	}
	p.payload = b[12 : 12+n]
	return p, nil
}

const asfIANA = 0x11BE

// pong answers a presence ping (spec table 13-7): IPMI supported, ASF 1.0.
func pong(tag byte) []byte {
	return []byte{rmcpVersion, 0, rmcpNoAck, classASF, 0, 0, 0x11, 0xBE, 0x40, tag, 0, 16,
		0, 0, 0x11, 0xBE, 0, 0, 0, 0, 0x81, 0, 0, 0, 0, 0, 0, 0}
}

func wrapV15(msg []byte) []byte {
	b := []byte{rmcpVersion, 0, rmcpNoAck, classIPMI, authNone, 0, 0, 0, 0, 0, 0, 0, 0, byte(len(msg))}
	return append(b, msg...)
}

// plusHeader starts an RMCP+ packet; flags are bit 7 encrypted, bit 6 authenticated.
func plusHeader(kindAndFlags byte, session, seq uint32, payload []byte) []byte {
	b := []byte{rmcpVersion, 0, rmcpNoAck, classIPMI, authRMCPPlus, kindAndFlags}
	b = binary.LittleEndian.AppendUint32(b, session)
	b = binary.LittleEndian.AppendUint32(b, seq)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(payload)))
	return append(b, payload...)
}

// request is an IPMI LAN message from a client (spec table 13-8, "IPMI message").
type request struct {
	rsAddr, rsLUN, rqAddr, rqLUN byte
	seq, netFn, cmd              byte
	data                         []byte
}

func parseRequest(b []byte) (request, error) {
	if len(b) < 7 || checksum(b[:3]) != 0 || checksum(b[3:]) != 0 {
		return request{}, errMalformed
	}
	return request{
		rsAddr: b[0], netFn: b[1] >> 2, rsLUN: b[1] & 3, rqAddr: b[3],
		seq: b[4] >> 2, rqLUN: b[4] & 3, cmd: b[5], data: b[6 : len(b)-1],
	}, nil
}

func (r request) response(code byte, data []byte) []byte {
	b := []byte{r.rqAddr, (r.netFn|1)<<2 | r.rqLUN}
	b = append(b, -checksum(b))
	b = append(b, r.rsAddr, r.seq<<2|r.rsLUN, r.cmd, code)
	b = append(b, data...)
	return append(b, -checksum(b[3:]))
}

// checksum sums bytes modulo 256; over a part with its two's complement checksum it is 0.
func checksum(b []byte) (sum byte) {
	for _, c := range b {
		sum += c
	}
	return sum
}

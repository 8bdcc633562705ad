package iscsi

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// Operation codes, RFC 7143 section 11.2.1.2.
const (
	opNopOut    = 0x00
	opCommand   = 0x01
	opLogin     = 0x03
	opDataOut   = 0x05
	opLogout    = 0x06
	opNopIn     = 0x20
	opResponse  = 0x21
	opLoginResp = 0x23
	opDataIn    = 0x25
	opLogoutEnd = 0x26
	opR2T       = 0x31
	opAsync     = 0x32
	opReject    = 0x3f

	opMask    = 0x3f
	immediate = 0x40
	final     = 0x80

	noTag = 0xffffffff
)

const headerSize = 48

// maxSegment is the largest data segment taken from a target. It is what we declare at log-in, so a
// larger one is a broken target, and its length is never believed.
const maxSegment = 256 << 10

// pdu is one protocol data unit: the basic header segment as it is on the wire, and the data.
// Additional header segments are read over: no target sends any to an initiator like this one.
type pdu struct {
	bhs  [headerSize]byte
	data []byte
}

func (p *pdu) op() byte             { return p.bhs[0] & opMask }
func (p *pdu) u32(at int) uint32    { return binary.BigEndian.Uint32(p.bhs[at:]) }
func (p *pdu) set(at int, v uint32) { binary.BigEndian.PutUint32(p.bhs[at:], v) }
func (p *pdu) is(flag byte) bool    { return p.bhs[1]&flag != 0 }

// Places of header fields that most operations share.
const (
	atLUN      = 8
	atTag      = 16 // initiator task tag
	atTransfer = 20 // target transfer tag
	atSN       = 24 // CmdSN of ours, StatSN of the target's
	atExpSN    = 28 // ExpStatSN of ours, ExpCmdSN of the target's
	atMaxSN    = 32 // MaxCmdSN
)

// digests says which checksums follow headers and data in this phase of the connection.
type digests struct{ header, data bool }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// readPDU reads one unit. Every length in it is checked before memory is taken for it.
func readPDU(r io.Reader, d digests) (*pdu, error) {
	p := &pdu{}
	if _, err := io.ReadFull(r, p.bhs[:]); err != nil {
		return nil, err
	}
	extra := make([]byte, int(p.bhs[4])*4) // additional headers, at most 1020 bytes
	if _, err := io.ReadFull(r, extra); err != nil {
		return nil, short(err)
	}
	if d.header {
		if err := checkDigest(r, "header", p.bhs[:], extra); err != nil {
			return nil, err
		}
	}
	length := int(p.bhs[5])<<16 | int(p.bhs[6])<<8 | int(p.bhs[7])
	if length > maxSegment {
		return nil, fmt.Errorf("the target sends a data segment of %d bytes; at most %d were agreed on", length, maxSegment)
	}
	if length == 0 {
		return p, nil
	}
	padded := make([]byte, (length+3)/4*4)
	if _, err := io.ReadFull(r, padded); err != nil {
		return nil, short(err)
	}
	if d.data {
		if err := checkDigest(r, "data", padded); err != nil {
			return nil, err
		}
	}
	p.data = padded[:length]
	return p, nil
}

// short tells a connection that ended inside a unit from one that ended between two.
func short(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func checkDigest(r io.Reader, what string, parts ...[]byte) error {
	var sent [4]byte
	if _, err := io.ReadFull(r, sent[:]); err != nil {
		return short(err)
	}
	if want := digest(parts...); sent != want {
		return fmt.Errorf("the %s digest of a unit is %x, not %x: it was damaged on its way", what, sent, want)
	}
	return nil
}

// digest is CRC32C in the byte order of the wire (RFC 7143 section 13.1: least significant first).
func digest(parts ...[]byte) (sum [4]byte) {
	crc := uint32(0)
	for _, p := range parts {
		crc = crc32.Update(crc, castagnoli, p)
	}
	binary.LittleEndian.PutUint32(sum[:], crc)
	return sum
}

// appendPDU adds the unit to buf as it goes over the wire.
func appendPDU(buf []byte, p *pdu, d digests) []byte {
	n := len(p.data)
	p.bhs[5], p.bhs[6], p.bhs[7] = byte(n>>16), byte(n>>8), byte(n)
	buf = append(buf, p.bhs[:]...)
	if d.header {
		sum := digest(p.bhs[:])
		buf = append(buf, sum[:]...)
	}
	if n == 0 {
		return buf
	}
	start := len(buf)
	buf = append(buf, p.data...)
	buf = append(buf, make([]byte, (4-n%4)%4)...)
	if d.data {
		sum := digest(buf[start:])
		buf = append(buf, sum[:]...)
	}
	return buf
}

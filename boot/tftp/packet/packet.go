// Package packet has the packets of TFTP (RFC 1350, options by RFC 2347), for the server in boot/tftp and for the
// agent, which fetches its token as the deploy ramdisk of 2014 did. It opens no port and keeps no state.
package packet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Operation codes, RFC 1350 section 5 and RFC 2347.
const (
	OpRead      = 1
	OpWrite     = 2
	OpData      = 3
	OpAck       = 4
	OpError     = 5
	OpOptionAck = 6
)

// Error codes, RFC 1350 appendix and RFC 2347.
const (
	CodeUndefined = 0
	CodeNotFound  = 1
	CodeAccess    = 2
	CodeIllegal   = 4
	CodeOptions   = 8
)

// ErrNotRead is the error of a well-formed request for something else.
var ErrNotRead = errors.New("not a read request")

// Request is a read request: what is wanted and how.
type Request struct {
	File    string
	Mode    string            // lower case
	Options map[string]string // names in lower case; the last of a repeated one counts
	Order   []string          // of the options, as they came
}

// ParseRequest takes apart the first datagram of a transfer. ErrNotRead is the error of a well-formed one
// for something else.
func ParseRequest(b []byte) (Request, error) {
	if len(b) < 2 {
		return Request{}, errors.New("shorter than an operation code")
	}
	if op := binary.BigEndian.Uint16(b); op != OpRead {
		return Request{}, fmt.Errorf("operation %d: %w", op, ErrNotRead)
	}
	parts := strings.Split(string(bytes.TrimSuffix(b[2:], []byte{0})), "\x00")
	if len(parts) < 2 || parts[0] == "" || parts[1] == "" { // the last string's zero may be missing
		return Request{}, errors.New("no file name and mode")
	}
	r := Request{File: parts[0], Mode: strings.ToLower(parts[1]), Options: map[string]string{}}
	for i := 2; i+1 < len(parts); i += 2 {
		name := strings.ToLower(parts[i])
		if _, again := r.Options[name]; !again {
			r.Order = append(r.Order, name)
		}
		r.Options[name] = parts[i+1]
	}
	return r, nil
}

// Number reads an option's decimal value; ok is false when it is missing or out of bounds, and the
// option is then as good as not sent (RFC 2347: the server leaves it out of its answer).
func (r Request) Number(name string, low, high int) (n int, ok bool) {
	s, asked := r.Options[name]
	if !asked {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= low && n <= high
}

// PutDataHeader begins a DATA packet.
func PutDataHeader(b []byte, block uint16) {
	binary.BigEndian.PutUint16(b, OpData)
	binary.BigEndian.PutUint16(b[2:], block)
}

// NewError is an ERROR packet.
func NewError(code uint16, text string) []byte {
	b := binary.BigEndian.AppendUint16(nil, OpError)
	b = binary.BigEndian.AppendUint16(b, code)
	return append(append(b, text...), 0)
}

// NewAck acknowledges a block.
func NewAck(block uint16) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, OpAck), block)
}

// NewRequest asks for a file as it is, byte for byte.
func NewRequest(file string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, OpRead), file+"\x00octet\x00"...)
}

// Packet is what either side sends during a transfer.
type Packet struct {
	Op     uint16
	Number uint16 // of the block; the code of an ERROR
	Text   string // of an ERROR
	Data   []byte // of a DATA; it lies in the datagram
}

// Parse takes apart a DATA, an ACK or an ERROR; ok is false for anything else.
func Parse(b []byte) (p Packet, ok bool) {
	if len(b) < 4 {
		return Packet{}, false
	}
	p = Packet{Op: binary.BigEndian.Uint16(b), Number: binary.BigEndian.Uint16(b[2:])}
	switch p.Op {
	case OpData:
		p.Data = b[4:]
	case OpError:
		text, _, _ := bytes.Cut(b[4:], []byte{0})
		p.Text = strings.ToValidUTF8(string(text), "?")
	case OpAck:
	default:
		return p, false
	}
	return p, true
}

package tftp

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
	opRead  = 1
	opWrite = 2
	opData  = 3
	opAck   = 4
	opError = 5
	opOAck  = 6
)

// Error codes, RFC 1350 appendix and RFC 2347.
const (
	codeUndefined = 0
	codeNotFound  = 1
	codeAccess    = 2
	codeIllegal   = 4
	codeUnknownID = 5
	codeOptions   = 8
)

var errNotRead = errors.New("not a read request")

// request is a read request: what is wanted and how.
type request struct {
	file    string
	mode    string            // lower case
	options map[string]string // names in lower case; the last of a repeated one counts
	order   []string          // of the options, as they came
}

// parseRequest takes apart the first datagram of a transfer. errNotRead is a well-formed request
// for something else.
func parseRequest(b []byte) (request, error) {
	if len(b) < 2 {
		return request{}, errors.New("shorter than an operation code")
	}
	if op := binary.BigEndian.Uint16(b); op != opRead {
		return request{}, fmt.Errorf("operation %d: %w", op, errNotRead)
	}
	parts := strings.Split(string(bytes.TrimSuffix(b[2:], []byte{0})), "\x00")
	if len(parts) < 2 || parts[0] == "" || parts[1] == "" { // the last string's zero may be missing
		return request{}, errors.New("no file name and mode")
	}
	r := request{file: parts[0], mode: strings.ToLower(parts[1]), options: map[string]string{}}
	for i := 2; i+1 < len(parts); i += 2 {
		name := strings.ToLower(parts[i])
		if _, again := r.options[name]; !again {
			r.order = append(r.order, name)
		}
		r.options[name] = parts[i+1]
	}
	return r, nil
}

// number reads an option's decimal value; ok is false when it is missing or out of bounds, and the
// option is then as good as not sent (RFC 2347: the server leaves it out of its answer).
func (r request) number(name string, low, high int) (n int, ok bool) {
	s, asked := r.options[name]
	if !asked {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= low && n <= high
}

func dataHeader(b []byte, block uint16) {
	binary.BigEndian.PutUint16(b, opData)
	binary.BigEndian.PutUint16(b[2:], block)
}

func errorPacket(code uint16, text string) []byte {
	b := binary.BigEndian.AppendUint16(nil, opError)
	b = binary.BigEndian.AppendUint16(b, code)
	return append(append(b, text...), 0)
}

// reply is what a client sends during a transfer.
type reply struct {
	op    uint16
	block uint16 // of an ACK; the code of an ERROR
	text  string // of an ERROR
}

func parseReply(b []byte) (reply, bool) {
	if len(b) < 4 {
		return reply{}, false
	}
	r := reply{op: binary.BigEndian.Uint16(b), block: binary.BigEndian.Uint16(b[2:])}
	if r.op == opError {
		text, _, _ := bytes.Cut(b[4:], []byte{0})
		r.text = strings.ToValidUTF8(string(text), "?")
	}
	return r, r.op == opAck || r.op == opError
}

package tftp

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/billet-metal/billet/boot/tftp/packet"
)

const (
	defaultBlock = 512  // RFC 1350
	maxBlock     = 1468 // what fits one Ethernet frame; fragments would be lost together
	maxWindow    = 64   // blocks, RFC 7440; larger bursts overrun slow firmware
)

var (
	// errProbe: the client only wanted to know the size. UEFI does so before every download.
	errProbe  = errors.New("the client ended the transfer after learning the size")
	errSilent = errors.New("the client stopped answering")
	errUnsaid = errors.New("the last block was not acknowledged")
)

// sender sends one file to one client. It is used by one goroutine.
type sender struct {
	conn    net.Conn // connected: datagrams of others do not arrive
	src     io.Reader
	timeout time.Duration
	tries   int

	block  int    // bytes
	window int    // blocks
	proven bool   // the client has answered, so it is where it says it is
	proof  func() // called once, when it has; may be nil
	acked  int64

	unacked [][]byte // sent and not acknowledged; unacked[0] is block base+1
	spare   [][]byte
	base    uint16 // the last acknowledged block; wraps around
	ended   bool   // the last block is in unacked, or acknowledged
}

// run carries out the transfer. size is -1 when unknown.
func (s *sender) run(r packet.Request, size int64) error {
	s.block, s.window = defaultBlock, 1
	if oack := s.negotiate(r, size); oack != nil {
		if err := s.greet(oack); err != nil {
			return err
		}
	}
	for !s.ended || len(s.unacked) > 0 {
		if err := s.fill(); err != nil {
			_, _ = s.conn.Write(packet.NewError(packet.CodeUndefined, "the server could not read the file"))
			return fmt.Errorf("reading the file: %w", err)
		}
		if err := s.pushWindow(); err != nil {
			return err
		}
	}
	return nil
}

// negotiate takes the options it knows and returns the answer to them, RFC 2347; nil when there
// is nothing to answer.
func (s *sender) negotiate(r packet.Request, size int64) []byte {
	oack := []byte{0, packet.OpOptionAck}
	add := func(name string, v int64) {
		oack = append(append(oack, name...), 0)
		oack = append(strconv.AppendInt(oack, v, 10), 0)
	}
	for _, name := range r.Order {
		switch name {
		case "blksize": // RFC 2348: the server may answer with less
			if n, ok := r.Number(name, 8, 65464); ok {
				s.block = min(n, maxBlock)
				add(name, int64(s.block))
			}
		case "windowsize": // RFC 7440: the same
			if n, ok := r.Number(name, 1, 65535); ok {
				s.window = min(n, maxWindow)
				add(name, int64(s.window))
			}
		case "timeout": // RFC 2349: the same value or none
			if n, ok := r.Number(name, 1, 255); ok {
				s.timeout = time.Duration(n) * time.Second
				add(name, int64(n))
			}
		case "tsize": // RFC 2349
			if _, ok := r.Number(name, 0, math.MaxInt); ok && size >= 0 {
				add(name, size)
			}
		}
	}
	if len(oack) == 2 {
		return nil
	}
	return oack
}

// greet sends the answer to the options until the client acknowledges it as block 0.
func (s *sender) greet(oack []byte) error {
	for range s.triesNow() {
		if _, err := s.conn.Write(oack); err != nil {
			return fmt.Errorf("sending: %w", err)
		}
		deadline := time.Now().Add(s.patience())
		for {
			re, err := s.receive(deadline)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if errors.As(err, new(clientError)) {
				return fmt.Errorf("%w: %w", errProbe, err)
			}
			if err != nil {
				return err
			}
			if re.Number == 0 {
				s.prove()
				return nil
			}
		}
	}
	return errSilent
}

// fill reads ahead until a window of blocks waits to be sent or the file ends. A last block
// shorter than the others, if need be empty, tells the client about the end.
func (s *sender) fill() error {
	for !s.ended && len(s.unacked) < s.window {
		b := s.buffer()
		n, err := io.ReadFull(s.src, b[4:])
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
		s.ended = n < s.block
		packet.PutDataHeader(b, s.base+uint16(len(s.unacked))+1)
		s.unacked = append(s.unacked, b[:4+n])
	}
	return nil
}

func (s *sender) buffer() []byte {
	if n := len(s.spare); n > 0 {
		b := s.spare[n-1]
		s.spare = s.spare[:n-1]
		return b[:4+s.block]
	}
	return make([]byte, 4+s.block)
}

// pushWindow sends what is not acknowledged until the client acknowledges some of it. An old
// acknowledgement is never answered: that would double every later block (the sorcerer's
// apprentice, RFC 1123 section 4.2.3.1).
func (s *sender) pushWindow() error {
	for range s.triesNow() {
		for _, b := range s.unacked {
			if _, err := s.conn.Write(b); err != nil {
				return fmt.Errorf("sending: %w", err)
			}
		}
		deadline := time.Now().Add(s.patience())
		for {
			re, err := s.receive(deadline)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return err
			}
			if s.accept(re.Number) {
				return nil
			}
		}
	}
	if s.ended && s.window == 1 && s.acked > 0 {
		return s.unsaid()
	}
	return errSilent
}

// unsaid ends a transfer whose last block was sent again and again without an answer. With a
// window of one the client has taken all blocks before it: it has the file and went on, as GRUB
// does when it jumps into the kernel, or it vanished at the last moment. Nobody can tell.
func (s *sender) unsaid() error {
	for _, b := range s.unacked {
		s.acked += int64(len(b) - 4)
	}
	s.unacked = nil
	return errUnsaid
}

// accept takes an acknowledgement of up to the given block; false when it is an old one. A
// client that lost a block of the window acknowledges the one before it (RFC 7440
// section 4), and gets the rest again.
func (s *sender) accept(block uint16) bool {
	n := int(block - s.base)
	if n == 0 || n > len(s.unacked) {
		return false
	}
	s.prove()
	for _, b := range s.unacked[:n] {
		s.acked += int64(len(b) - 4)
		s.spare = append(s.spare, b)
	}
	s.unacked = s.unacked[:copy(s.unacked, s.unacked[n:])]
	s.base = block
	return true
}

// Anybody can ask in somebody else's name. Until the client has answered, what is sent is one answer to its options, or one
// block of 512 bytes, a few times.
const (
	unprovenTries    = 3
	unprovenPatience = 2 * time.Second
)

func (s *sender) prove() {
	if !s.proven && s.proof != nil {
		s.proof()
	}
	s.proven = true
}

func (s *sender) triesNow() int {
	if s.proven {
		return s.tries
	}
	return min(s.tries, unprovenTries)
}

// patience is how long an answer is waited for before the next try.
func (s *sender) patience() time.Duration {
	if s.proven {
		return s.timeout
	}
	return min(s.timeout, unprovenPatience)
}

// clientError is an ERROR the client sent.
type clientError struct {
	code uint16
	text string
}

func (e clientError) Error() string {
	return fmt.Sprintf("the client said %q (error %d)", e.text, e.code)
}

// receive waits for an acknowledgement or the client's error.
func (s *sender) receive(deadline time.Time) (packet.Packet, error) {
	var buf [maxRequest]byte
	if err := s.conn.SetReadDeadline(deadline); err != nil {
		return packet.Packet{}, fmt.Errorf("waiting for the client: %w", err)
	}
	for {
		n, err := s.conn.Read(buf[:])
		if err != nil {
			return packet.Packet{}, fmt.Errorf("waiting for the client: %w", err)
		}
		re, ok := packet.Parse(buf[:n])
		switch {
		case !ok || re.Op == packet.OpData:
		case re.Op == packet.OpError:
			return packet.Packet{}, clientError{re.Number, re.Text}
		default:
			return re, nil
		}
	}
}

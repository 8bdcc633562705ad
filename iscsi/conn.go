package iscsi

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"time"
)

// conn is one TCP connection to a target. One goroutine uses it at a time (see Session.mu).
type conn struct {
	net.Conn
	in      *bufio.Reader
	out     []byte
	digests digests
	params  params

	cmdSN     uint32 // of the next command
	expStatSN uint32
	expCmdSN  uint32
	maxCmdSN  uint32
	tag       uint32
	broken    bool // in the middle of something: only good for closing
}

func newConn(c net.Conn) *conn {
	return &conn{Conn: c, in: bufio.NewReaderSize(c, 128<<10), cmdSN: 1, params: defaultParams()}
}

// expire bounds everything that follows on the connection.
func (c *conn) expire(within time.Duration) { c.SetDeadline(time.Now().Add(within)) }

func (c *conn) nextTag() uint32 {
	if c.tag++; c.tag == noTag {
		c.tag = 0
	}
	return c.tag
}

func (c *conn) send(p *pdu) error {
	c.out = appendPDU(c.out[:0], p, c.digests)
	if _, err := c.Write(c.out); err != nil {
		return fmt.Errorf("sending to the target: %w", err)
	}
	return nil
}

// receive returns the next unit that belongs to a command. What a target says of its own accord is
// dealt with here: pings are answered, and an announced end of the session is an error.
func (c *conn) receive() (*pdu, error) {
	for {
		p, err := readPDU(c.in, c.digests)
		if err != nil {
			return nil, fmt.Errorf("hearing from the target: %w", err)
		}
		switch p.op() {
		case opNopIn:
			c.takeNumbers(p, p.u32(atTag) != noTag)
			if p.u32(atTransfer) != noTag {
				if err := c.pong(p); err != nil {
					return nil, err
				}
			}
			if p.u32(atTag) != noTag {
				return p, nil
			}
		case opAsync:
			c.takeNumbers(p, true)
			if event := p.bhs[36]; event != 0 && event != 4 { // 0: SCSI news, 4: wishes to negotiate again
				return nil, fmt.Errorf("the target ends the connection (asynchronous event %d)", event)
			}
		case opReject:
			return nil, fmt.Errorf("the target rejects what was sent (reason 0x%02x)", p.bhs[2])
		default:
			return p, nil
		}
	}
}

// takeNumbers follows the target's counters. Only units that carry a status use one up.
func (c *conn) takeNumbers(p *pdu, status bool) {
	if status {
		c.expStatSN = p.u32(atSN) + 1
	}
	if exp, most := p.u32(atExpSN), p.u32(atMaxSN); int32(most-exp+1) >= 0 { // RFC 7143 section 4.2.2.1
		c.expCmdSN, c.maxCmdSN = exp, most
	}
}

// pong answers a ping of the target.
func (c *conn) pong(ping *pdu) error {
	p := &pdu{}
	p.bhs[0], p.bhs[1] = opNopOut|immediate, final
	copy(p.bhs[atLUN:], ping.bhs[atLUN:atLUN+8])
	p.set(atTag, noTag)
	p.set(atTransfer, ping.u32(atTransfer))
	p.set(atSN, c.cmdSN)
	p.set(atExpSN, c.expStatSN)
	return c.send(p)
}

// ping asks whether the target is there, and hears what it has to say meanwhile.
func (c *conn) ping() error {
	p := &pdu{}
	p.bhs[0], p.bhs[1] = opNopOut|immediate, final
	tag := c.nextTag()
	p.set(atTag, tag)
	p.set(atTransfer, noTag)
	p.set(atSN, c.cmdSN)
	p.set(atExpSN, c.expStatSN)
	if err := c.send(p); err != nil {
		return err
	}
	answer, err := c.receive()
	if err != nil {
		return err
	}
	if answer.op() != opNopIn || answer.u32(atTag) != tag {
		return fmt.Errorf("the target answers a ping with operation 0x%02x", answer.op())
	}
	return nil
}

// logout ends the session in order; the target is not waited for long.
func (c *conn) logout() {
	c.expire(2 * time.Second)
	p := &pdu{}
	p.bhs[0], p.bhs[1] = opLogout|immediate, final // reason 0: the session
	p.set(atTag, c.nextTag())
	p.set(atSN, c.cmdSN)
	p.set(atExpSN, c.expStatSN)
	if c.send(p) != nil {
		return
	}
	for {
		if answer, err := c.receive(); err != nil || answer.op() == opLogoutEnd {
			return
		}
	}
}

// errWindow says that a target takes no commands for now.
var errWindow = errors.New("the target takes no commands: its command window stays closed")

// waitForWindow makes sure that the target takes one more command.
func (c *conn) waitForWindow() error {
	for range 10 {
		if int32(c.maxCmdSN-c.cmdSN) >= 0 {
			return nil
		}
		if err := c.ping(); err != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond) // the target is busy; it said so, not we
	}
	return errWindow
}

package iscsi

import (
	"encoding/binary"
	"fmt"
)

// command is one SCSI command with the data that goes with it: out goes to the target, in is filled.
type command struct {
	cdb [16]byte
	lun uint64
	out []byte
	in  []byte

	got int // bytes of in that came
}

// Status bytes of SAM-5 table 37.
const (
	statusGood      = 0x00
	statusCheck     = 0x02
	statusBusy      = 0x08
	statusQueueFull = 0x28
)

// execute carries one command out. A *scsiError is the disk's own answer; any other error leaves the
// connection useless.
func (c *conn) execute(cmd *command) error {
	c.broken = true
	if err := c.waitForWindow(); err != nil {
		return err
	}
	tag := c.nextTag()
	if err := c.start(cmd, tag); err != nil {
		return err
	}
	cmd.got = 0
	for {
		p, err := c.receive()
		if err != nil {
			return err
		}
		if p.u32(atTag) != tag {
			return fmt.Errorf("the target answers a command nobody gave (tag %d)", p.u32(atTag))
		}
		switch p.op() {
		case opR2T:
			c.takeNumbers(p, false)
			err = c.sendBurst(cmd, p)
		case opDataIn:
			if err = c.takeData(cmd, p); err == nil && p.is(0x01) {
				c.broken = false
				return verdict(p.bhs[3], nil)
			}
		case opResponse:
			c.takeNumbers(p, true)
			c.broken = false
			return response(p)
		default:
			err = fmt.Errorf("the target answers a command with operation 0x%02x", p.op())
		}
		if err != nil {
			return err
		}
	}
}

// start sends the command with as much data as may go with it.
func (c *conn) start(cmd *command, tag uint32) error {
	p := &pdu{}
	p.bhs[0], p.bhs[1] = opCommand, final|1 // 1: a simple task
	length := len(cmd.in)
	if len(cmd.in) > 0 {
		p.bhs[1] |= 0x40
	}
	if len(cmd.out) > 0 {
		p.bhs[1] |= 0x20
		length = len(cmd.out)
		if c.params.immediateData {
			p.data = cmd.out[:min(len(cmd.out), c.params.firstBurst, c.params.targetSegment)]
		}
	}
	binary.BigEndian.PutUint64(p.bhs[atLUN:], cmd.lun)
	p.set(atTag, tag)
	p.set(20, uint32(length))
	p.set(atSN, c.cmdSN)
	p.set(atExpSN, c.expStatSN)
	copy(p.bhs[32:], cmd.cdb[:])
	c.cmdSN++
	return c.send(p)
}

// sendBurst sends the data a target asks for, in segments it takes.
func (c *conn) sendBurst(cmd *command, r2t *pdu) error {
	offset, length := int64(r2t.u32(40)), int64(r2t.u32(44))
	if length == 0 || length > int64(c.params.maxBurst) || offset+length > int64(len(cmd.out)) {
		return fmt.Errorf("the target asks for %d bytes at %d of a command with %d", length, offset, len(cmd.out))
	}
	for number := uint32(0); length > 0; number++ {
		n := min(length, int64(c.params.targetSegment))
		p := &pdu{data: cmd.out[offset : offset+n]}
		p.bhs[0] = opDataOut
		if n == length {
			p.bhs[1] = final
		}
		copy(p.bhs[atLUN:], r2t.bhs[atLUN:atLUN+8])
		p.set(atTag, r2t.u32(atTag))
		p.set(atTransfer, r2t.u32(atTransfer))
		p.set(atExpSN, c.expStatSN)
		p.set(36, number)
		p.set(40, uint32(offset))
		if err := c.send(p); err != nil {
			return err
		}
		offset, length = offset+n, length-n
	}
	return nil
}

func (c *conn) takeData(cmd *command, p *pdu) error {
	c.takeNumbers(p, p.is(0x01))
	offset := int64(p.u32(40))
	if offset != int64(cmd.got) || offset+int64(len(p.data)) > int64(len(cmd.in)) {
		return fmt.Errorf("the target sends %d bytes for byte %d, but byte %d of %d is next", len(p.data), offset, cmd.got, len(cmd.in))
	}
	cmd.got += copy(cmd.in[offset:], p.data)
	return nil
}

// response reads the end of a command (RFC 7143 section 11.4).
func response(p *pdu) error {
	if p.bhs[2] != 0 {
		return fmt.Errorf("the target failed to carry out a command (response 0x%02x)", p.bhs[2])
	}
	var sense []byte
	if len(p.data) >= 2 {
		n := int(binary.BigEndian.Uint16(p.data))
		sense = p.data[2:min(2+n, len(p.data))]
	}
	return verdict(p.bhs[3], sense)
}

func verdict(status byte, sense []byte) error {
	if status == statusGood {
		return nil
	}
	e := &scsiError{status: status}
	switch { // fixed and descriptor format, SPC-4 section 4.5
	case len(sense) >= 14 && sense[0]&0x7f <= 0x71:
		e.key, e.asc, e.ascq = sense[2]&0x0f, sense[12], sense[13]
	case len(sense) >= 4 && sense[0]&0x7f >= 0x72:
		e.key, e.asc, e.ascq = sense[1]&0x0f, sense[2], sense[3]
	}
	return e
}

// scsiError is a disk's refusal of one command.
type scsiError struct{ status, key, asc, ascq byte }

// Sense keys, SPC-4 table 48.
const (
	keyNotReady       = 0x02
	keyIllegalRequest = 0x05
	keyUnitAttention  = 0x06
	keyAborted        = 0x0b
)

var keyNames = [16]string{"no sense", "recovered error", "not ready", "medium error", "hardware error", "illegal request",
	"unit attention", "data protect", "blank check", "vendor specific", "copy aborted", "aborted command", "reserved", "volume overflow",
	"miscompare", "completed"}

// Error names the sense key and code.
func (e *scsiError) Error() string {
	if e.status != statusCheck {
		return fmt.Sprintf("the disk answers with status 0x%02x", e.status)
	}
	return fmt.Sprintf("the disk says: %s (code %02x/%02x)", keyNames[e.key], e.asc, e.ascq)
}

// passing reports whether the same command may well succeed a moment later: after a log-in a disk
// first tells of the reset, and a busy one wants to be asked again.
func (e *scsiError) passing() bool {
	switch e.status {
	case statusBusy, statusQueueFull:
		return true
	}
	return e.status == statusCheck && (e.key == keyUnitAttention || e.key == keyAborted || e.key == keyNotReady && e.asc == 0x04)
}

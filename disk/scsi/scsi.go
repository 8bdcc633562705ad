// Package scsi owns sending commands to SCSI disks, and erasing them with SANITIZE. ATA disks are
// reached through it too (see disk/ata). Tables are those of SPC-5 and SBC-4.
package scsi

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Direction of a command's data.
type Direction int

// Directions, by the numbers of scsi/sg.h.
const (
	NoData     Direction = -1
	ToDevice   Direction = -2
	FromDevice Direction = -3
)

// Command is one command with its data.
type Command struct {
	CDB       []byte
	Direction Direction
	Data      []byte
	Timeout   time.Duration // the kernel gives the command up after this
}

// Transport sends commands to one disk. A command that the disk refuses is a *Sense.
type Transport interface {
	Do(c Command) error
}

// Sense is why a disk refused a command (SPC-5, 4.4).
type Sense struct {
	Status    byte // SAM status; 02h is CHECK CONDITION
	Key       byte
	ASC, ASCQ byte
	Progress  int64 // of 65536; -1: not told
}

func (s *Sense) Error() string {
	if s.Status != 0 && s.Status != checkCondition {
		return fmt.Sprintf("SCSI status %#02x", s.Status)
	}
	return fmt.Sprintf("%s (sense %#02x, %#02x/%#02x)", keys[s.Key&0x0f], s.Key, s.ASC, s.ASCQ)
}

const checkCondition = 2

// keys are the sense keys (SPC-5, table 48).
var keys = [16]string{
	"no sense", "recovered error", "not ready", "medium error", "hardware error", "illegal request", "unit attention",
	"data protect", "blank check", "vendor specific", "copy aborted", "aborted command", "reserved", "volume overflow", "miscompare",
	"completed",
}

// ParseSense reads sense data of fixed (70h, 71h) and descriptor (72h, 73h) format; nil when it is neither.
func ParseSense(b []byte) *Sense {
	if len(b) < 8 {
		return nil
	}
	s := &Sense{Status: checkCondition, Progress: -1}
	switch b[0] & 0x7f {
	case 0x70, 0x71: // SPC-5, 4.4.3
		s.Key = b[2] & 0x0f
		if len(b) > 13 {
			s.ASC, s.ASCQ = b[12], b[13]
		}
		if len(b) > 17 && b[15]&0x80 != 0 {
			s.Progress = int64(binary.BigEndian.Uint16(b[16:]))
		}
	case 0x72, 0x73: // SPC-5, 4.4.2
		s.Key, s.ASC, s.ASCQ = b[1]&0x0f, b[2], b[3]
		for d := b[8:]; len(d) >= 8; d = d[min(len(d), 2+int(d[1])):] {
			if d[0] == 2 && d[4]&0x80 != 0 { // sense key specific
				s.Progress = int64(binary.BigEndian.Uint16(d[5:]))
			}
		}
	default:
		return nil
	}
	return s
}

// ErrUnsupported is wrapped by what a disk does not offer.
var ErrUnsupported = errors.New("not supported")

// Progress is told how much of all is done.
type Progress func(done, all int64)

// Operation codes.
const (
	requestSense  = 0x03
	sanitize      = 0x48
	maintenanceIn = 0xa3
)

// Service actions of SANITIZE (SBC-4, table 95).
const (
	blockErase      = 2
	cryptoErase     = 3
	exitFailureMode = 0x1f
)

const quick = time.Minute // of commands that only ask

// supports asks with REPORT SUPPORTED OPERATION CODES (SPC-5, 6.31) for one service action.
func supports(t Transport, opcode, action byte) error {
	answer := make([]byte, 64)
	cdb := []byte{maintenanceIn, 0x0c, 2, opcode, 0, action, 0, 0, 0, byte(len(answer)), 0, 0}
	if err := t.Do(Command{CDB: cdb, Direction: FromDevice, Data: answer, Timeout: quick}); err != nil {
		return fmt.Errorf("%w: the disk does not tell its commands: %w", ErrUnsupported, err)
	}
	if support := answer[1] & 7; support != 3 { // table 198: 3 is supported as the standard says
		return fmt.Errorf("%w: the disk has no such SANITIZE (support %d)", ErrUnsupported, support)
	}
	return nil
}

// pause is how long to wait between looks at a sanitize.
const pause = 2 * time.Second

// Sanitize erases a logical unit (SBC-4, 5.31), by changing its key where the disk can, else by
// erasing its blocks. stall ends the wait for one that does not move.
func Sanitize(ctx context.Context, t Transport, stall time.Duration, progress Progress) (how string, err error) {
	action := byte(cryptoErase)
	how = "crypto erase"
	if err = supports(t, sanitize, action); err != nil {
		action, how = blockErase, "block erase"
		err = supports(t, sanitize, action)
	}
	if err != nil {
		return "", err
	}
	if err := Recover(ctx, t, stall, progress); err != nil {
		return "", err
	}
	const immediate, mayFail = 0x80, 0x20 // IMMED; AUSE: a failure can be left
	cdb := []byte{sanitize, immediate | mayFail | action, 0, 0, 0, 0, 0, 0, 0, 0}
	if err := t.Do(Command{CDB: cdb, Direction: NoData, Timeout: quick}); err != nil {
		return "", fmt.Errorf("starting to sanitize (%s): %w", how, err)
	}
	if err := await(ctx, t, stall, progress); err != nil {
		return "", fmt.Errorf("sanitizing (%s): %w", how, err)
	}
	return how, nil
}

// Recover waits for a sanitize that an earlier try began, which goes on through power loss, and leaves the failure
// of one that failed: until then the disk refuses reads and writes. A disk without SANITIZE answers at once.
func Recover(ctx context.Context, t Transport, stall time.Duration, progress Progress) error {
	err := await(ctx, t, stall, progress)
	switch {
	case errors.Is(err, errAsking): // it has no REQUEST SENSE: it is no SCSI disk, and was in no sanitize
		return nil
	case err != nil && !isSanitizeFailure(err):
		return fmt.Errorf("looking for an earlier sanitize: %w", err)
	case err == nil:
		return nil
	}
	cdb := []byte{sanitize, exitFailureMode, 0, 0, 0, 0, 0, 0, 0, 0}
	if err := t.Do(Command{CDB: cdb, Direction: NoData, Timeout: quick}); err != nil {
		return fmt.Errorf("leaving the failure of an earlier sanitize: %w", err)
	}
	if err := await(ctx, t, stall, progress); err != nil {
		return fmt.Errorf("after leaving the failure of an earlier sanitize: %w", err)
	}
	return nil
}

func isSanitizeFailure(err error) bool {
	s := (*Sense)(nil)
	return errors.As(err, &s) && s.ASC == 0x31 && s.ASCQ == 0x03 // SANITIZE COMMAND FAILED
}

// errAsking is wrapped when a disk does not take the question itself.
var errAsking = errors.New("asking how far it is")

// unitAttention is the sense key of what a disk tells unasked (SPC-5, table 48).
const unitAttention = 6

// attentions are so many things that a disk may have to tell, such as that it was switched on, before it
// answers a question.
const attentions = 16

// await returns once no sanitize is under way; the error says that it failed.
func await(ctx context.Context, t Transport, stall time.Duration, progress Progress) error {
	moved, last, told := time.Now(), int64(-2), 0
	for {
		data := make([]byte, 252)
		cdb := []byte{requestSense, 0, 0, 0, byte(len(data)), 0}
		if err := t.Do(Command{CDB: cdb, Direction: FromDevice, Data: data, Timeout: quick}); err != nil {
			// Some transports answer a question about sense with the sense.
			s := (*Sense)(nil)
			if !errors.As(err, &s) || s.Key != unitAttention {
				return fmt.Errorf("%w: %w", errAsking, err)
			}
			if told++; told > attentions {
				return fmt.Errorf("%w: %w", errAsking, err)
			}
			continue
		}
		s := ParseSense(data)
		switch {
		case s == nil || s.Key == 0 && s.ASC == 0:
			return nil
		case isSanitizeFailure(s):
			return s
		case s.Key == unitAttention:
			// It hides what comes after it: the disk forgets it once it was told, and is asked again.
			if told++; told > attentions {
				return fmt.Errorf("%w: the disk tells again and again: %w", errAsking, s)
			}
			continue
		case s.ASC != 0x04 || s.ASCQ != 0x1b: // not: SANITIZE IN PROGRESS
			return nil // what an earlier command left
		}
		if s.Progress != last {
			moved, last = time.Now(), s.Progress
		}
		if time.Since(moved) > stall {
			return fmt.Errorf("it has stood at %d of 65536 for %s", s.Progress, stall)
		}
		progress(max(s.Progress, 0), 1<<16)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// Package ata owns the Security feature set of ATA disks, which erases them: ACS-4, 4.18. It refuses
// a disk that is frozen, or locked with a password it does not know, and never leaves one locked that
// it can unlock. Commands travel as ATA PASS-THROUGH (16): SAT-4, 12.2.2.
package ata

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/billet-metal/billet/disk/scsi"
)

// Commands (ACS-4, table 48 and clause 7).
const (
	identifyDevice  = 0xec
	setPassword     = 0xf1
	unlock          = 0xf2
	erasePrepare    = 0xf3
	eraseUnit       = 0xf4
	disablePassword = 0xf6
)

// Security is the state of the Security feature set: word 128 of IDENTIFY DEVICE (ACS-4, 7.12.7.61)
// and the times of words 89 and 90.
type Security struct {
	Supported, Enabled, Locked, Frozen, Expired, Enhanced bool
	EraseTime, EnhancedTime                               time.Duration // 0: not told
}

func parseSecurity(page []byte) Security {
	word := func(n int) uint16 { return binary.LittleEndian.Uint16(page[2*n:]) }
	s := word(128)
	return Security{
		Supported: s&1 != 0, Enabled: s&2 != 0, Locked: s&4 != 0, Frozen: s&8 != 0, Expired: s&16 != 0, Enhanced: s&32 != 0,
		EraseTime: eraseTime(word(89)), EnhancedTime: eraseTime(word(90)),
	}
}

// eraseTime reads word 89 or 90 (ACS-4, 7.12.7.44): units of two minutes in bits 7:0, or in bits 14:0
// when bit 15 is set; the highest number means more than that.
func eraseTime(w uint16) time.Duration {
	n := w & 0xff
	if w&0x8000 != 0 {
		n = w & 0x7fff
	}
	return time.Duration(n) * 2 * time.Minute
}

const quick = time.Minute

// command sends one command; data goes out or comes in by the direction.
func command(t scsi.Transport, op byte, dir scsi.Direction, data []byte, timeout time.Duration) error {
	cdb := make([]byte, 16)
	cdb[0], cdb[14] = 0x85, op
	switch dir { // SAT-4, table 149: protocol; then T_DIR, BYT_BLOK and T_LENGTH (in the count field)
	case scsi.FromDevice:
		cdb[1], cdb[2], cdb[6] = 4<<1, 0x0e, 1
	case scsi.ToDevice:
		cdb[1], cdb[2], cdb[6] = 5<<1, 0x06, 1
	default:
		cdb[1] = 3 << 1
	}
	return t.Do(scsi.Command{CDB: cdb, Direction: dir, Data: data, Timeout: timeout})
}

// State asks a disk for the state of its Security feature set. One that refuses IDENTIFY DEVICE is no
// ATA disk: ErrUnsupported.
func State(t scsi.Transport) (Security, error) {
	page := make([]byte, 512)
	if err := command(t, identifyDevice, scsi.FromDevice, page, quick); err != nil {
		return Security{}, fmt.Errorf("%w: it is no ATA disk: %w", ErrUnsupported, err)
	}
	return parseSecurity(page), nil
}

// block is the data of the security commands (ACS-4, 7.36 to 7.41): word 0 says whose password and
// how to erase, words 1 to 16 are the password. It is the well-known one of hdparm's word NULL, 32
// zeros: an erase clears it, and a disk that lost power before can be unlocked by anyone who cleans it.
func block(enhanced bool) []byte {
	b := make([]byte, 512)
	if enhanced {
		b[0] |= 1 << 1
	}
	return b
}

// ErrUnsupported is wrapped when a disk has no Security feature set, or is no ATA disk.
var ErrUnsupported = errors.New("not supported")

// Unlock takes the password away that an interrupted erase of this agent left. It returns whether
// there was one. Another password than ours is an error that says so.
func Unlock(t scsi.Transport) (was bool, err error) {
	s, err := State(t)
	if err != nil || !s.Enabled {
		return false, err
	}
	if s.Frozen {
		return true, fmt.Errorf("the disk has a password and its security is frozen: %s", thaw)
	}
	if s.Expired {
		return true, errors.New("the disk has a password and counts too many wrong ones: power cycle the machine")
	}
	if s.Locked {
		if err := command(t, unlock, scsi.ToDevice, block(false), quick); err != nil {
			return true, fmt.Errorf("the disk is locked with a password that is not the one of an interrupted erase: %w", err)
		}
	}
	if err := command(t, disablePassword, scsi.ToDevice, block(false), quick); err != nil {
		return true, fmt.Errorf("the disk has a password that is not the one of an interrupted erase: %w", err)
	}
	if s, err = State(t); err == nil && s.Enabled {
		err = errors.New("the disk keeps its password though it took the command to drop it")
	}
	return true, err
}

const thaw = "firmware freezes disks at boot; switch that off in its set-up, or power cycle the disk"

// Progress is told how much of all is done.
type Progress func(done, all int64)

// Erase sets the password, erases, and makes sure that the password has gone. On any failure the disk
// is unlocked again.
func Erase(ctx context.Context, t scsi.Transport, progress Progress) (how string, err error) {
	s, err := State(t)
	if err != nil {
		return "", err
	}
	if !s.Supported {
		return "", fmt.Errorf("%w: the disk has no Security feature set", ErrUnsupported)
	}
	if _, err := Unlock(t); err != nil {
		return "", err
	}
	if s.Frozen {
		return "", fmt.Errorf("the disk's security is frozen: %s", thaw)
	}
	how, estimate := "normal", s.EraseTime
	if s.Enhanced {
		how, estimate = "enhanced", s.EnhancedTime
	}
	if err := command(t, setPassword, scsi.ToDevice, block(false), quick); err != nil {
		return "", fmt.Errorf("setting the password: %w", err)
	}
	if err := erase(ctx, t, s.Enhanced, estimate, progress); err != nil {
		err = fmt.Errorf("security erase (%s): %w", how, err)
		if ctx.Err() != nil {
			return "", err // the erase goes on in the disk, which would not answer
		}
		if _, unlockErr := Unlock(t); unlockErr != nil {
			return "", fmt.Errorf("%w; and then it could not be unlocked: %v", err, unlockErr) // never "unsupported" once the password is set
		}
		return "", err
	}
	left, err := Unlock(t) // an erase drops the password: ACS-4, 7.36
	if err != nil {
		return "", fmt.Errorf("security erase (%s): looking whether the password has gone: %v", how, err) // never "unsupported" here
	}
	if left {
		return "", fmt.Errorf("security erase (%s): the disk says it is done but kept its password, so it was not erased", how)
	}
	return how, nil
}

// erase sends the erase itself and reports the time that has passed of the time the disk told.
func erase(ctx context.Context, t scsi.Transport, enhanced bool, estimate time.Duration, progress Progress) error {
	if err := command(t, erasePrepare, scsi.NoData, nil, quick); err != nil {
		return fmt.Errorf("preparing: %w", err)
	}
	// The estimate may be missing or capped ("more than 508 minutes"), and giving up resets the disk in the middle.
	limit := min(max(2*estimate, 72*time.Hour), 24*24*time.Hour)
	done, began := make(chan error, 1), time.Now()
	go func() { done <- command(t, eraseUnit, scsi.ToDevice, block(enhanced), limit) }()
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-ctx.Done(): // no command stops an erase; the next try unlocks the disk
			return context.Cause(ctx)
		case <-tick.C:
			all := max(estimate, time.Minute)
			progress(int64(min(time.Since(began), all*99/100)), int64(all))
		}
	}
}

// Package nvme owns the admin commands that erase an NVMe disk: what the controller can do
// (Identify), Sanitize and Format NVM. It refuses to touch a namespace whose command would reach
// others too. Figures and fields are those of the NVM Express Base Specification 1.4.
package nvme

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Command is one admin command (4.2, figure 105).
type Command struct {
	Opcode  byte
	NSID    uint32
	CDW10   uint32
	Data    []byte        // read from the controller; nil: none
	Timeout time.Duration // the kernel gives the command up after this
}

// Admin sends admin commands to one controller. A command that the controller refuses is a Status.
type Admin interface {
	Do(c Command) error
}

// Status is the status field that a controller ended a command with, without the phase tag:
// status code in bits 7:0, status code type in bits 10:8 (4.6.1, figure 125).
type Status uint16

func (s Status) Error() string {
	if text, ok := statusTexts[s&0x7ff]; ok {
		return fmt.Sprintf("NVMe status %#x: %s", uint16(s&0x7ff), text)
	}
	return fmt.Sprintf("NVMe status %#x", uint16(s&0x7ff))
}

// Figures 127, 128 and 130, as far as these commands return them.
var statusTexts = map[Status]string{
	0x001: "invalid command opcode", 0x002: "invalid field in command", 0x006: "internal error",
	0x01c: "sanitize failed", 0x01d: "sanitize in progress", 0x020: "namespace is write protected",
	0x10a: "invalid format", 0x10b: "firmware activation is pending a reset",
}

// Opcodes (figure 139).
const (
	getLogPage = 0x02
	identify   = 0x06
	formatNVM  = 0x80
	sanitize   = 0x84
)

const (
	allNamespaces = 0xffffffff
	quick         = time.Minute // of commands that only ask
)

// Identity is what decides how a namespace can be erased.
type Identity struct {
	NSID          uint32
	Sanicap       uint32 // sanitize capabilities, bytes 331:328 of Identify Controller (figure 247)
	OACS          uint16 // optional admin commands, bytes 257:256
	FNA           byte   // format attributes, byte 524
	CMIC          byte   // multi-path and sharing, byte 76
	Namespaces    int    // of the subsystem where it manages namespaces, attached or not; else those active on the controller
	Detached      int    // of Namespaces, those that no disk of this machine shows
	LBAFormat     byte   // in use: FLBAS bits 6:5 and 3:0, byte 26 of Identify Namespace (2.0, figure 97 of the NVM command set)
	FLBAS, DPS    byte
	SharedByOther bool // NMIC bit 0: other controllers may have the namespace attached
}

// Identify asks the controller about itself and a namespace.
func Identify(a Admin, nsid uint32) (Identity, error) {
	id := Identity{NSID: nsid}
	page := make([]byte, 4096)
	if err := a.Do(Command{Opcode: identify, CDW10: 1, Data: page, Timeout: quick}); err != nil {
		return id, fmt.Errorf("identifying the controller: %w", err)
	}
	id.CMIC, id.OACS = page[76], binary.LittleEndian.Uint16(page[256:])
	id.Sanicap, id.FNA = binary.LittleEndian.Uint32(page[328:]), page[524]
	active, err := count(a, activeNamespaces)
	if err != nil {
		return id, fmt.Errorf("listing the controller's namespaces: %w", err)
	}
	id.Namespaces = active
	if id.OACS&managesNamespaces != 0 {
		// A namespace that is allocated but attached to no controller is shown by nobody, and erased all the same.
		allocated, err := count(a, allocatedNamespaces)
		if err != nil {
			return id, fmt.Errorf("listing the subsystem's namespaces: %w", err)
		}
		id.Namespaces, id.Detached = max(allocated, active), max(0, allocated-active)
	}
	clear(page)
	if err := a.Do(Command{Opcode: identify, NSID: nsid, Data: page, Timeout: quick}); err != nil {
		return id, fmt.Errorf("identifying namespace %d: %w", nsid, err)
	}
	id.FLBAS, id.DPS, id.SharedByOther = page[26], page[29], page[30]&1 != 0
	id.LBAFormat = id.FLBAS & 0x0f
	if page[25] > 15 { // NLBAF: the bits mean nothing to a controller with fewer formats
		id.LBAFormat |= id.FLBAS >> 5 & 3 << 4
	}
	return id, nil
}

// managesNamespaces is bit 3 of OACS: Namespace Management and Attachment (figure 247).
const managesNamespaces = 1 << 3

// Lists of Identify (CNS, figure 244): namespaces above NSID in rising order, at most 1024.
const (
	activeNamespaces    = 0x02
	allocatedNamespaces = 0x10
)

// count counts the namespaces of a list.
func count(a Admin, list uint32) (n int, err error) {
	page, last := make([]byte, 4096), uint32(0)
	for {
		clear(page)
		if err := a.Do(Command{Opcode: identify, NSID: last, CDW10: list, Data: page, Timeout: quick}); err != nil {
			return 0, err
		}
		for at := 0; at < len(page); at += 4 {
			next := binary.LittleEndian.Uint32(page[at:])
			if next == 0 {
				return n, nil
			}
			if next <= last { // or it would never end
				return 0, fmt.Errorf("namespace %d follows %d in a list that must rise", next, last)
			}
			n, last = n+1, next
		}
	}
}

// alone says why a command that reaches the whole subsystem must not be sent; "" when it may.
func (id Identity) alone() string {
	switch {
	case id.Detached > 0:
		return fmt.Sprintf("it would erase all %d namespaces of the subsystem, of which %d are attached to nothing here", id.Namespaces,
			id.Detached)
	case id.Namespaces != 1:
		return fmt.Sprintf("it would erase all %d namespaces of the controller", id.Namespaces)
	case id.CMIC&2 != 0:
		return "the subsystem has other controllers, whose namespaces it would erase too"
	}
	return ""
}

// ErrUnsupported is wrapped by what a disk does not offer.
var ErrUnsupported = errors.New("not supported")

func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnsupported, fmt.Sprintf(format, args...))
}

// Progress is told how much of all is done. It is called at least every few seconds.
type Progress func(done, all int64)

// pause is how long to wait between looks at a sanitize.
const pause = 2 * time.Second

// Actions of Sanitize (CDW10 bits 2:0, figure 329).
const (
	exitFailureMode = 1
	blockErase      = 2
	cryptoErase     = 4
)

// Sanitize erases everything of the subsystem (5.24), by changing its key where the controller can,
// else by erasing its blocks. One that an earlier try began is waited for and then done again: it goes
// on through power loss, and nobody knows what it was. stall ends the wait for one that does not move.
func Sanitize(ctx context.Context, a Admin, id Identity, stall time.Duration, progress Progress) (how string, err error) {
	var action uint32
	switch {
	case id.Sanicap&1 != 0:
		action, how = cryptoErase, "crypto erase"
	case id.Sanicap&2 != 0:
		action, how = blockErase, "block erase"
	default:
		return "", unsupported("the controller knows neither crypto nor block erase (SANICAP %#x)", id.Sanicap)
	}
	if why := id.alone(); why != "" {
		return "", unsupported("%s", why)
	}
	if err := settle(ctx, a, stall, progress); err != nil {
		return "", err
	}
	// Bit 3 (AUSE): a sanitize that fails can be left by exit failure mode.
	if err := a.Do(Command{Opcode: sanitize, CDW10: action | 1<<3, Timeout: quick}); err != nil {
		return "", fmt.Errorf("starting to sanitize (%s): %w", how, err)
	}
	status, err := await(ctx, a, stall, progress)
	if err == nil && status == sanitizeFailed { // the disk is to answer again, whatever it then says of this
		_ = a.Do(Command{Opcode: sanitize, CDW10: exitFailureMode, Timeout: quick})
	}
	if err == nil && status != sanitized && status != sanitizedAndDeallocated {
		err = fmt.Errorf("the disk ended it with status %d of its sanitize log", status)
	}
	if err != nil {
		return "", fmt.Errorf("sanitizing (%s): %w", how, err)
	}
	return how, nil
}

// Recover waits for a sanitize that an earlier try began, which goes on through power loss, and leaves the
// failure mode of one that failed: until then the disk refuses every read and write.
func Recover(ctx context.Context, a Admin, stall time.Duration, progress Progress) error {
	page := make([]byte, 4096)
	if err := a.Do(Command{Opcode: identify, CDW10: 1, Data: page, Timeout: quick}); err != nil {
		return fmt.Errorf("identifying the controller: %w", err)
	}
	if binary.LittleEndian.Uint32(page[328:])&7 == 0 {
		return nil // it has no Sanitize
	}
	return settle(ctx, a, stall, progress)
}

// Sanitize status (SSTAT bits 2:0 of log page 81h, figure 217).
const (
	neverSanitized          = 0
	sanitized               = 1
	sanitizing              = 2
	sanitizeFailed          = 3
	sanitizedAndDeallocated = 4
)

// settle waits for a sanitize that is under way and leaves the failure mode of one that failed.
func settle(ctx context.Context, a Admin, stall time.Duration, progress Progress) error {
	status, err := await(ctx, a, stall, progress)
	if err != nil {
		return fmt.Errorf("looking for an earlier sanitize: %w", err)
	}
	if status != sanitizeFailed {
		return nil
	}
	if err := a.Do(Command{Opcode: sanitize, CDW10: exitFailureMode, Timeout: quick}); err != nil {
		return fmt.Errorf("leaving the failure mode of an earlier sanitize: %w", err)
	}
	return nil
}

// await returns the sanitize status once none is under way.
func await(ctx context.Context, a Admin, stall time.Duration, progress Progress) (status byte, err error) {
	page := make([]byte, 512)
	moved, last := time.Now(), int64(-1)
	for {
		if err := a.Do(Command{Opcode: getLogPage, NSID: allNamespaces, CDW10: 0x81 | uint32(len(page)/4-1)<<16, Data: page,
			Timeout: quick}); err != nil {
			return 0, fmt.Errorf("reading the sanitize log: %w", err)
		}
		status = page[2] & 7
		if status != sanitizing {
			return status, nil
		}
		done := int64(binary.LittleEndian.Uint16(page))
		if done != last {
			moved, last = time.Now(), done
		}
		if time.Since(moved) > stall {
			return status, fmt.Errorf("it has stood at %d of 65536 for %s", done, stall)
		}
		progress(done, 1<<16)
		select {
		case <-ctx.Done():
			return status, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// formatTime is how long a format may take: erasing user data writes the whole disk on some.
const formatTime = 12 * time.Hour

// Format erases one namespace with Format NVM (5.23) and keeps its sector format: by changing its key
// where the controller can, else by erasing user data.
func Format(ctx context.Context, a Admin, id Identity, progress Progress) (how string, err error) {
	const supported, oneKey, eraseAll, formatAll = 1 << 1, 1 << 2, 1 << 1, 1 << 0
	if id.OACS&supported == 0 {
		return "", unsupported("the controller has no Format NVM (OACS %#x)", id.OACS)
	}
	if why := id.alone(); why != "" && id.FNA&(eraseAll|formatAll) != 0 {
		return "", unsupported("%s", why)
	}
	if id.SharedByOther && id.CMIC&2 != 0 {
		return "", unsupported("other controllers share the namespace")
	}
	how, setting := "user data erase", uint32(1)
	if id.FNA&oneKey != 0 {
		how, setting = "crypto erase", 2
	}
	// CDW10 (figure 326; the format's upper bits: 2.0, figure 105 of the NVM command set): LBA format 3:0 and
	// 13:12, metadata 4, protection 7:5 and its place 8, all as they are.
	cdw10 := uint32(id.LBAFormat&0x0f) | uint32(id.LBAFormat>>4&3)<<12 | uint32(id.FLBAS>>4&1)<<4 | uint32(id.DPS&7)<<5 | uint32(
		id.DPS>>3&1)<<8 | setting<<9
	done := make(chan error, 1)
	go func() {
		done <- a.Do(Command{Opcode: formatNVM, NSID: id.NSID, CDW10: cdw10, Timeout: formatTime})
	}()
	for {
		select {
		case err := <-done:
			if err != nil {
				return "", fmt.Errorf("formatting (%s): %w", how, err)
			}
			return how, nil
		case <-ctx.Done(): // the disk goes on; the caller's machine is about to go down
			return "", context.Cause(ctx)
		case <-time.After(pause):
			progress(0, 1)
		}
	}
}

// Package iscsi owns both ends of an iSCSI deploy: the initiator with which the conductor writes a
// machine's disk over the network (RFC 7143, one session of one connection, error recovery level
// 0), and the set-up of the kernel's own target in the deploy ramdisk. It refuses to know images,
// partition tables and nodes: it gives out a disk.
package iscsi

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// Disk is a logical unit of a target, as a disk of bytes. It may be used from any goroutine.
type Disk struct {
	session  *session
	size     int64
	sector   int64
	maxIO    int64 // bytes of one READ or WRITE
	zeroRun  int64 // bytes of one WRITE SAME; 0: it has none
	unmap    bool  // WRITE SAME may unmap, and unmapped blocks read as zeros
	noSame   atomic.Bool
	identity string

	partial sync.Mutex // one write of less than whole sectors at a time
}

// maxTransfer bounds one command: a lost connection costs no more than that again.
const maxTransfer = 1 << 20

// maxZeroRun bounds one WRITE SAME: a disk that writes the zeros itself must be done in time.
const maxZeroRun = 32 << 20

// Open logs in to the target and asks what the logical unit is. The disk lives until Close or the
// end of ctx, after which each method fails at once.
func Open(ctx context.Context, o Options) (*Disk, error) {
	s, err := dial(ctx, o)
	if err != nil {
		return nil, err
	}
	d := &Disk{session: s, maxIO: maxTransfer}
	if err := d.learn(); err != nil {
		s.close()
		return nil, fmt.Errorf("asking logical unit %d what it is: %w", o.LUN, err)
	}
	return d, nil
}

// Close logs out. What was not synced may be lost.
func (d *Disk) Close() error {
	d.session.close()
	return nil
}

// Size in bytes.
func (d *Disk) Size() int64 { return d.size }

// SectorSize in bytes.
func (d *Disk) SectorSize() int64 { return d.sector }

// Identity is vendor, product and revision, as INQUIRY gives them.
func (d *Disk) Identity() string { return d.identity }

func (d *Disk) command(cdb ...byte) *command {
	c := &command{lun: wireLUN(d.session.opts.LUN)}
	copy(c.cdb[:], cdb)
	return c
}

// wireLUN writes a LUN below 256 in the peripheral and one below 16384 in the flat addressing
// method (SAM-5 section 4.7.7).
func wireLUN(lun uint64) uint64 {
	if lun < 256 {
		return lun << 48
	}
	return (1<<14 | lun&0x3fff) << 48
}

// learn asks what every decision here rests on: kind, size, and limits of the logical unit.
func (d *Disk) learn() error {
	if err := d.session.run(d.command(0x00)); err != nil { // TEST UNIT READY
		return err
	}
	inquiry, err := d.ask(96, 0x12, 0, 0, 0, 96)
	if err != nil {
		return err
	}
	if len(inquiry) < 36 || inquiry[0] != 0 {
		return errors.New("it is no disk")
	}
	d.identity = string(bytes.Join(bytes.Fields(inquiry[8:36]), []byte(" ")))
	capacity, err := d.ask(32, 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32) // READ CAPACITY (16)
	if err != nil {
		return err
	}
	if len(capacity) < 16 {
		return errors.New("its answer to READ CAPACITY is too short")
	}
	last, sector := binary.BigEndian.Uint64(capacity), int64(binary.BigEndian.Uint32(capacity[8:]))
	if sector < 512 || sector > 4096 || sector&(sector-1) != 0 || last >= (1<<62)/uint64(sector) {
		return fmt.Errorf("it says it has %d sectors of %d bytes", last, sector)
	}
	d.sector, d.size = sector, (int64(last)+1)*sector
	return d.learnLimits(len(capacity) >= 15 && capacity[14]&0x40 != 0)
}

// learnLimits reads the pages Block Limits and Logical Block Provisioning; old disks have neither.
func (d *Disk) learnLimits(readsZeros bool) error {
	limits, err := d.page(0xb0)
	if err != nil {
		return err
	}
	if len(limits) >= 12 {
		if n := int64(binary.BigEndian.Uint32(limits[8:])); n > 0 {
			d.maxIO = min(d.maxIO, n*d.sector)
		}
	}
	if len(limits) >= 44 {
		d.zeroRun = int64(min(binary.BigEndian.Uint64(limits[36:]), 1<<20)) * d.sector
	}
	provisioning, err := d.page(0xb2)
	if err != nil {
		return err
	}
	// LBPWS: WRITE SAME (16) may unmap. UNMAP itself is only a hint, so it is no way to zeros.
	if len(provisioning) >= 6 && provisioning[5]&0x40 != 0 && readsZeros {
		d.unmap = true
		if d.zeroRun == 0 {
			d.zeroRun = 32 << 20
		}
	}
	d.zeroRun = min(d.zeroRun, maxZeroRun)
	return nil
}

// page reads a page of vital product data; nil when the unit does not have it.
func (d *Disk) page(code byte) ([]byte, error) {
	data, err := d.ask(255, 0x12, 1, code, 0, 255)
	if disk := (*scsiError)(nil); errors.As(err, &disk) && disk.key == keyIllegalRequest {
		return nil, nil
	}
	if err != nil || len(data) < 4 || data[1] != code {
		return nil, err
	}
	return data, nil
}

// ask runs a command that returns at most n bytes.
func (d *Disk) ask(n int, cdb ...byte) ([]byte, error) {
	c := d.command(cdb...)
	c.in = make([]byte, n)
	err := d.session.run(c)
	return c.in[:c.got], err
}

// transfer is READ (16) or WRITE (16).
func (d *Disk) transfer(code byte, off int64, blocks uint32) *command {
	c := d.command(code)
	binary.BigEndian.PutUint64(c.cdb[2:], uint64(off/d.sector))
	binary.BigEndian.PutUint32(c.cdb[10:], blocks)
	return c
}

func (d *Disk) checkRange(what string, off, n int64) error {
	if off < 0 || n < 0 || n > d.size || off > d.size-n {
		return fmt.Errorf("%s %d bytes at %d of an iSCSI disk: the disk ends at %d", what, n, off, d.size)
	}
	return nil
}

// ReadAt reads at any offset.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) {
	want := int64(len(p))
	if off >= 0 && off < d.size && want > d.size-off {
		n, err := d.ReadAt(p[:d.size-off], off)
		if err == nil {
			err = io.EOF
		}
		return n, err
	}
	if off == d.size && want > 0 {
		return 0, io.EOF
	}
	if err := d.checkRange("reading", off, want); err != nil {
		return 0, err
	}
	done := int64(0)
	for done < want {
		at := off + done
		start := at / d.sector * d.sector
		end := min((off+want+d.sector-1)/d.sector*d.sector, start+d.maxIO)
		block := make([]byte, end-start)
		if err := d.readSectors(block, start); err != nil {
			return int(done), err
		}
		done += int64(copy(p[done:], block[at-start:]))
	}
	return int(done), nil
}

func (d *Disk) readSectors(p []byte, off int64) error {
	c := d.transfer(0x88, off, uint32(int64(len(p))/d.sector))
	c.in = p
	if err := d.session.run(c); err != nil {
		return fmt.Errorf("reading %d bytes at %d: %w", len(p), off, err)
	}
	if c.got != len(p) {
		return fmt.Errorf("reading %d bytes at %d: only %d came", len(p), off, c.got)
	}
	return nil
}

// WriteAt writes at any offset; the rest of sectors that are not written whole is read first.
func (d *Disk) WriteAt(p []byte, off int64) (int, error) {
	if err := d.checkRange("writing", off, int64(len(p))); err != nil {
		return 0, err
	}
	done := 0
	for done < len(p) {
		n, err := d.writeSome(p[done:], off+int64(done))
		if err != nil {
			return done, fmt.Errorf("writing %d bytes at %d: %w", len(p), off, err)
		}
		done += n
	}
	return done, nil
}

func (d *Disk) writeSome(p []byte, off int64) (int, error) {
	if whole := min(int64(len(p)), d.maxIO) / d.sector * d.sector; whole > 0 && off%d.sector == 0 {
		return int(whole), d.writeSectors(p[:whole], off)
	}
	d.partial.Lock()
	defer d.partial.Unlock()
	start := off / d.sector * d.sector
	block := make([]byte, d.sector)
	if err := d.readSectors(block, start); err != nil {
		return 0, err
	}
	n := copy(block[off-start:], p)
	return n, d.writeSectors(block, start)
}

func (d *Disk) writeSectors(p []byte, off int64) error {
	c := d.transfer(0x8a, off, uint32(int64(len(p))/d.sector))
	c.out = p
	return d.session.run(c)
}

// Zero makes a range read as zeros: by WRITE SAME where the disk has it, unmapping where unmapped
// blocks are sure to read as zeros, else by writing zeros.
func (d *Disk) Zero(off, length int64) error {
	if err := d.checkRange("zeroing", off, length); err != nil {
		return err
	}
	for length > 0 {
		n, err := d.zeroSome(off, length)
		if err != nil {
			return fmt.Errorf("zeroing %d bytes at %d: %w", length, off, err)
		}
		off, length = off+n, length-n
	}
	return nil
}

func (d *Disk) zeroSome(off, length int64) (int64, error) {
	head := (d.sector - off%d.sector) % d.sector
	if !d.noSame.Load() && d.zeroRun >= d.sector && head == 0 && length >= d.sector {
		n := min(length, d.zeroRun) / d.sector * d.sector
		err := d.writeSame(off, n)
		if disk := (*scsiError)(nil); !errors.As(err, &disk) || disk.key != keyIllegalRequest {
			return n, err
		}
		d.noSame.Store(true) // it promised what it cannot do
	}
	n := min(length, maxTransfer)
	if head > 0 {
		n = min(n, head)
	}
	done, err := d.WriteAt(make([]byte, n), off)
	return int64(done), err
}

func (d *Disk) writeSame(off, n int64) error {
	c := d.transfer(0x93, off, uint32(n/d.sector))
	if d.unmap {
		c.cdb[1] = 0x08
	}
	c.out = make([]byte, d.sector)
	return d.session.run(c)
}

// Sync waits until everything is on the medium.
func (d *Disk) Sync() error {
	err := d.session.run(d.command(0x91)) // SYNCHRONIZE CACHE (16) of all blocks
	if disk := (*scsiError)(nil); errors.As(err, &disk) && disk.key == keyIllegalRequest {
		return nil // a disk without a cache
	}
	if err != nil {
		return fmt.Errorf("flushing the disk: %w", err)
	}
	return nil
}

// isEnd reports whether a connection just ended.
func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, errWindow)
}

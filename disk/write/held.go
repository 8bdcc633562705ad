package write

import (
	"fmt"

	"github.com/billet-metal/billet/disk"
)

// headSize is how much of a disk's beginning is held back: boot sector and partition table.
const headSize = 1 << 20

// held is a disk whose first MiB stays in memory until commit. On the disk that MiB is zero
// meanwhile, so neither a wrong image nor a half-written one can ever boot, even when the power
// fails in the middle.
type held struct {
	disk.Disk
	head []byte
}

// span is a part of a disk in bytes.
type span struct{ offset, length int64 }

// hold wipes both ends of the disk, where partition tables and RAID superblocks live, and holds
// the head back from then on.
func hold(d disk.Disk) (*held, error) {
	if d.Size() < 2*headSize {
		return nil, fmt.Errorf("the disk has %d bytes; at least %d are needed", d.Size(), 2*headSize)
	}
	if err := d.Zero(0, headSize); err != nil {
		return nil, err
	}
	if err := d.Zero(d.Size()-headSize, headSize); err != nil {
		return nil, err
	}
	if err := d.Sync(); err != nil {
		return nil, err
	}
	return &held{Disk: d, head: make([]byte, headSize)}, nil
}

// Depth is the disk's: writes that do not overlap go to different parts of the head.
func (h *held) Depth() int { return disk.DepthOf(h.Disk) }

// WriteAt keeps what belongs to the head.
func (h *held) WriteAt(p []byte, off int64) (int, error) {
	done := 0
	if off < headSize {
		done = copy(h.head[off:], p)
	}
	if done == len(p) {
		return done, nil
	}
	n, err := h.Disk.WriteAt(p[done:], off+int64(done))
	return done + n, err
}

// ReadAt sees the head as it will be.
func (h *held) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	if off < headSize {
		done = copy(p, h.head[off:])
	}
	if done == len(p) {
		return done, nil
	}
	n, err := h.Disk.ReadAt(p[done:], off+int64(done))
	return done + n, err
}

// Zero zeroes a range, the head's part in memory.
func (h *held) Zero(off, length int64) error {
	if off < headSize {
		n := min(length, headSize-off)
		clear(h.head[off : off+n])
		off, length = off+n, length-n
	}
	if length == 0 {
		return nil
	}
	return h.Disk.Zero(off, length)
}

// bootSize is what makes a disk bootable: the boot sector, or one sector of 4 KiB.
const bootSize = 4096

// commit flushes everything else first, then the rest of the head, and makes the disk bootable with
// one small write in the end: a boot sector whose boot loader is missing would hang the machine
// where a blank disk lets the firmware go on to the network.
func (h *held) commit() error {
	for _, part := range []span{{bootSize, headSize - bootSize}, {0, bootSize}} {
		if err := h.Disk.Sync(); err != nil {
			return err
		}
		if _, err := h.Disk.WriteAt(h.head[part.offset:part.offset+part.length], part.offset); err != nil {
			return err
		}
	}
	return h.Disk.Sync()
}

package disk

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ZeroChunk bounds one request to the kernel, so that progress shows and a signal gets through.
const ZeroChunk = 64 << 20

// Zero makes a range read as zeros. The kernel's request does it fastest (BLKZEROOUT, which writes
// zeros and does not merely discard); where it is refused zeros are written.
func (d *Device) Zero(off, length int64) error {
	if off < 0 || length < 0 || off+length > d.size {
		return fmt.Errorf("zeroing %d bytes at %d of %s: the disk ends at %d", length, off, d.Path(), d.size)
	}
	a := d.alignment()
	for length > 0 {
		n := min(length, ZeroChunk)
		if off%a == 0 && n >= a {
			n = n / a * a
			if d.zeroByKernel(off, n) == nil {
				off, length = off+n, length-n
				continue
			}
		} else if off%a != 0 {
			n = min(length, a-off%a)
		}
		if err := d.writeZeros(off, n); err != nil {
			return err
		}
		off, length = off+n, length-n
	}
	return nil
}

func (d *Device) zeroByKernel(off, n int64) error {
	if d.number == "" {
		return unix.Fallocate(int(d.f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	}
	const blkZeroOut = 0x127f // BLKZEROOUT, linux/fs.h; missing in x/sys/unix
	span := [2]uint64{uint64(off), uint64(n)}
	return ioctl(d.f, blkZeroOut, unsafe.Pointer(&span))
}

func (d *Device) writeZeros(off, n int64) error {
	zeros, err := AlignedBuffer(int(min(n, 1<<20)))
	if err != nil {
		return err
	}
	defer FreeBuffer(zeros)
	for n > 0 {
		part := min(n, int64(len(zeros)))
		if _, err := d.WriteAt(zeros[:part], off); err != nil {
			return err
		}
		off, n = off+part, n-part
	}
	return nil
}

// Discard tells a block device that nothing on it is needed any more.
func (d *Device) Discard() error {
	if d.number == "" {
		return unix.EOPNOTSUPP
	}
	span := [2]uint64{0, uint64(d.size)}
	return ioctl(d.f, unix.BLKDISCARD, unsafe.Pointer(&span))
}

// SecureDiscard tells an eMMC or SD card to erase everything on it, its copies in spare blocks too.
func (d *Device) SecureDiscard() error {
	if d.number == "" {
		return unix.EOPNOTSUPP
	}
	const blkSecDiscard = 0x127d // BLKSECDISCARD, linux/fs.h; missing in x/sys/unix
	span := [2]uint64{0, uint64(d.size)}
	return ioctl(d.f, blkSecDiscard, unsafe.Pointer(&span))
}

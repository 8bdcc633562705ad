package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// RequestAlign is the alignment of requests that run beside others: no two of them ever touch one sector.
const RequestAlign = 4096

// queueDepth is how many requests a disk gets at a time: enough that it always has one to go on with.
const queueDepth = 4

// Device is an open disk. Its methods are safe for one goroutine at a time, but for what Depth says.
type Device struct {
	f      *os.File
	size   int64
	sector int64
	number string // "major:minor" of a block device, "" of a file
	bounce []byte // aligned, for requests that are not
}

// Open opens a disk for writing past the page cache. A block device is opened exclusively: the
// kernel refuses while anything on it is mounted or claimed.
func Open(path string) (*Device, error) { return open(path, os.O_RDWR|unix.O_EXCL) }

// OpenToRead opens a disk for reading past the page cache, also one that is in use.
func OpenToRead(path string) (*Device, error) { return open(path, os.O_RDONLY) }

func open(path string, flags int) (*Device, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("opening the disk: %w", err)
	}
	isBlock := info.Mode()&os.ModeDevice != 0 && info.Mode()&os.ModeCharDevice == 0
	if !isBlock && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("opening the disk: %s is neither a block device nor a file", path)
	}
	if !isBlock {
		flags &^= unix.O_EXCL // of a file it says nothing
	}
	f, err := os.OpenFile(path, flags|unix.O_DIRECT, 0)
	if errors.Is(err, unix.EINVAL) && !isBlock { // tmpfs knows no direct I/O
		f, err = os.OpenFile(path, flags, 0)
	}
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("opening the disk: %s is in use: it, or a partition of it, is mounted or part of a RAID or volume group", path)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the disk: %w", err)
	}
	d := &Device{f: f, size: info.Size(), sector: 512}
	if isBlock {
		if err := d.measure(); err != nil {
			f.Close()
			return nil, err
		}
	}
	if d.bounce, err = AlignedBuffer(1 << 20); err != nil {
		f.Close()
		return nil, err
	}
	return d, nil
}

// measure asks the kernel for a block device's size, sector size and number.
func (d *Device) measure() error {
	var size uint64
	if err := ioctl(d.f, unix.BLKGETSIZE64, unsafe.Pointer(&size)); err != nil {
		return fmt.Errorf("asking for the size of %s: %w", d.Path(), err)
	}
	var sector int32
	if err := ioctl(d.f, unix.BLKSSZGET, unsafe.Pointer(&sector)); err != nil {
		return fmt.Errorf("asking for the sector size of %s: %w", d.Path(), err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(d.f.Fd()), &st); err != nil {
		return fmt.Errorf("asking for the number of %s: %w", d.Path(), err)
	}
	d.size, d.sector = int64(size), int64(sector)
	d.number = fmt.Sprintf("%d:%d", unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev)))
	return nil
}

// Path is the name the disk was opened by.
func (d *Device) Path() string { return d.f.Name() }

// File is the open disk, for commands beside reads and writes.
func (d *Device) File() *os.File { return d.f }

// Number is "major:minor" of a block device, and empty for a file.
func (d *Device) Number() string { return d.number }

// Size in bytes.
func (d *Device) Size() int64 { return d.size }

// SectorSize is the logical sector size in bytes.
func (d *Device) SectorSize() int64 { return d.sector }

// Depth is how many goroutines may call WriteAt and Zero at a time, with ranges that do not overlap and
// are aligned to 4 KiB in memory and on the disk.
func (d *Device) Depth() int { return queueDepth }

// Close lets the disk go.
func (d *Device) Close() error {
	FreeBuffer(d.bounce)
	d.bounce = nil
	return d.f.Close()
}

// Sync waits until everything is on the medium.
func (d *Device) Sync() error {
	if err := d.f.Sync(); err != nil {
		return fmt.Errorf("flushing %s: %w", d.Path(), err)
	}
	return nil
}

// alignment is what direct I/O asks of addresses, offsets and lengths; 4 KiB suits every disk, and
// every disk's size is a multiple of its sector.
func (d *Device) alignment() int64 {
	if d.size%4096 == 0 {
		return 4096
	}
	return d.sector
}

// WriteAt writes p at any offset; what is not aligned goes through a bounce buffer, where the rest
// of its sectors is read first.
func (d *Device) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > d.size {
		return 0, fmt.Errorf("writing %d bytes at %d of %s: the disk ends at %d", len(p), off, d.Path(), d.size)
	}
	done := 0
	for done < len(p) {
		n, err := d.writeSome(p[done:], off+int64(done))
		if err != nil {
			return done, fmt.Errorf("writing %d bytes at %d of %s: %w", len(p), off, d.Path(), err)
		}
		done += n
	}
	return done, nil
}

func (d *Device) writeSome(p []byte, off int64) (int, error) {
	a := d.alignment()
	if whole := int64(len(p)) / a * a; whole > 0 && off%a == 0 && IsAligned(p, a) {
		return d.f.WriteAt(p[:whole], off)
	}
	start := off / a * a
	n := min(int64(len(p)), int64(len(d.bounce))-(off-start))
	end := (off + n + a - 1) / a * a
	block := d.bounce[:end-start]
	if off != start || off+n != end {
		if _, err := d.f.ReadAt(block, start); err != nil {
			return 0, err
		}
	}
	copy(block[off-start:], p[:n])
	_, err := d.f.WriteAt(block, start)
	return int(n), err
}

// ReadAt reads at any offset.
func (d *Device) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > d.size {
		return 0, fmt.Errorf("reading at %d of %s: the disk ends at %d", off, d.Path(), d.size)
	}
	want := min(int64(len(p)), d.size-off)
	a := d.alignment()
	var done int64
	for done < want {
		start := (off + done) / a * a
		skip := off + done - start
		n := min(want-done, int64(len(d.bounce))-skip)
		block := d.bounce[:(skip+n+a-1)/a*a]
		if _, err := d.f.ReadAt(block, start); err != nil {
			return int(done), fmt.Errorf("reading %d bytes at %d of %s: %w", len(p), off, d.Path(), err)
		}
		copy(p[done:done+n], block[skip:])
		done += n
	}
	if done < int64(len(p)) {
		return int(done), io.EOF
	}
	return int(done), nil
}

// Reread makes the kernel read the partition table again. The device must be closed: the kernel
// does it only when nobody holds the disk. Something may hold it for a moment, so it tries again.
func Reread(path string) error {
	info, err := os.Stat(path)
	if err != nil || info.Mode()&os.ModeDevice == 0 {
		return err // the kernel shows no partitions of a file
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("reading the partition table again: %w", err)
	}
	defer f.Close()
	for attempt := 0; ; attempt++ {
		err = ioctl(f, unix.BLKRRPART, nil)
		if err == nil || attempt == 10 {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("making the kernel read the partition table of %s again: %w", path, err)
	}
	return nil
}

func ioctl(f *os.File, request uintptr, arg unsafe.Pointer) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(arg))
	runtime.KeepAlive(arg)
	if errno != 0 {
		return errno
	}
	return nil
}

// deep is a disk that takes requests from several goroutines at a time, as long as their ranges are
// aligned to 4 KiB, in memory too, and do not overlap. Other disks get one request after the other.
type deep interface{ Depth() int }

// DepthOf is how many requests a disk takes at a time.
func DepthOf(d Disk) int {
	if d, ok := d.(deep); ok {
		return max(1, d.Depth())
	}
	return 1
}

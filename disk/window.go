package disk

import "fmt"

// Window is a part of a disk as a disk.
type Window struct {
	d              Disk
	offset, length int64
}

// Within is a part of a disk as a disk, which nothing is read or written outside of.
func Within(d Disk, offset, length int64) Window { return Window{d, offset, length} }

// Depth is the disk's, where what is aligned in the partition is aligned on the disk.
func (w Window) Depth() int {
	if w.offset%RequestAlign != 0 {
		return 1
	}
	return DepthOf(w.d)
}

// ReadAt reads inside the partition.
func (w Window) ReadAt(p []byte, off int64) (int, error) {
	if err := w.check(off, int64(len(p))); err != nil {
		return 0, err
	}
	return w.d.ReadAt(p, w.offset+off)
}

// SectorSize is the disk's.
func (w Window) SectorSize() int64 { return w.d.SectorSize() }

// Size of the part in bytes.
func (w Window) Size() int64 { return w.length }

// Sync flushes the whole disk.
func (w Window) Sync() error { return w.d.Sync() }

// WriteAt refuses to write a byte outside of the partition.
func (w Window) WriteAt(p []byte, off int64) (int, error) {
	if err := w.check(off, int64(len(p))); err != nil {
		return 0, err
	}
	return w.d.WriteAt(p, w.offset+off)
}

// Zero refuses to zero a byte outside of the partition.
func (w Window) Zero(off, length int64) error {
	if err := w.check(off, length); err != nil {
		return err
	}
	return w.d.Zero(w.offset+off, length)
}

func (w Window) check(off, length int64) error {
	if off < 0 || length < 0 || off+length > w.length {
		return fmt.Errorf("bytes %d to %d are outside of a partition of %d bytes", off, off+length, w.length)
	}
	return nil
}

// Package disk owns what service and agent know of disks: opening one, choosing one by root device
// hints, its partition tables and what lies in its partitions. It refuses to open a disk for writing
// that is mounted or in use, hints that fit more than one disk, and tables that lead past the disk.
// disk/write, disk/erase and disk/bootable build on it.
package disk

import "io"

// Disk is what images, partition tables and erasing need of a disk. A plain file does as well as a
// block device.
type Disk interface {
	io.ReaderAt
	io.WriterAt
	Size() int64
	SectorSize() int64               // logical, bytes
	Zero(offset, length int64) error // makes a range read as zeros
	Sync() error
}

package disk

import (
	"context"
	"fmt"
	"slices"
)

// signatureSize is what is zeroed at both ends of each partition and of the disk: every file
// system, RAID and volume group keeps its signatures there.
const signatureSize = 1 << 20

// EraseMetadata makes a disk look blank to firmware and systems: no partition table, no file
// system, RAID or volume group can be found. The data itself stays.
func EraseMetadata(d Disk) error {
	spans := append(partitions(d), span{0, d.Size()}) // the disk last: its table tells where the rest is
	for _, s := range spans {
		n := min(signatureSize, s.length)
		if err := d.Zero(s.offset, n); err != nil {
			return err
		}
		if err := d.Zero(s.offset+s.length-n, n); err != nil {
			return err
		}
	}
	return d.Sync()
}

// overwrite fills a whole disk with zeros and reads samples back. It is an overwrite of what the
// disk shows: spare areas of flash are out of its reach.
func overwrite(ctx context.Context, d Disk, progress func(done, all int64)) error {
	for at := int64(0); at < d.Size(); at += zeroChunk {
		if ctx.Err() != nil {
			return fmt.Errorf("erasing: stopped at byte %d of %d: %w", at, d.Size(), context.Cause(ctx))
		}
		if err := d.Zero(at, min(zeroChunk, d.Size()-at)); err != nil {
			return err
		}
		progress(min(at+zeroChunk, d.Size()), d.Size())
	}
	if err := d.Sync(); err != nil {
		return err
	}
	return sampleZeros(d)
}

// sampleZeros reads 64 places spread over the disk.
func sampleZeros(d Disk) error {
	const samples = 64
	buf := make([]byte, min(64<<10, d.Size()))
	for i := range int64(samples) {
		at := (d.Size() - int64(len(buf))) / (samples - 1) * i
		if _, err := d.ReadAt(buf, at); err != nil {
			return err
		}
		if j := slices.IndexFunc(buf, func(b byte) bool { return b != 0 }); j >= 0 {
			return fmt.Errorf("byte %d of the disk is not zero after it was overwritten: the disk is failing or lies", at+int64(j))
		}
	}
	return nil
}

// EraseExpress discards everything on a disk that can forget quickly, and erases the metadata in
// any case: a discarded block may still read as before.
func EraseExpress(d *Device) (discarded bool, err error) {
	if err := EraseMetadata(d); err != nil {
		return false, err
	}
	discarded = d.Discard() == nil
	return discarded, EraseMetadata(d)
}

package disk

import (
	"fmt"
	"math"
)

// Divide writes a new GUID partition table whose partitions hold nothing: what lay at the ends of each
// is zeroed first, so that nothing old comes to light.
func Divide(d Disk, parts []Partition) error {
	for _, p := range parts {
		if p.Offset < 0 || p.Length < 0 || p.Offset > math.MaxInt64-p.Length || p.Offset+p.Length > d.Size() {
			return fmt.Errorf("partition %d (%s) ends behind the disk's %d bytes", p.Number, p.Role, d.Size())
		}
	}
	if err := EraseMetadata(d); err != nil {
		return err
	}
	if err := wipeEnds(d, parts); err != nil {
		return err
	}
	if err := WriteTable(d, true, parts); err != nil {
		return err
	}
	return d.Sync()
}

func wipeEnds(d Disk, parts []Partition) error {
	for _, p := range parts {
		n := min(SignatureSize, p.Length)
		if err := d.Zero(p.Offset, n); err != nil {
			return err
		}
		if err := d.Zero(p.Offset+p.Length-n, n); err != nil {
			return err
		}
	}
	return nil
}

// bootCode is where a boot sector has its program; the disk's signature and the partitions follow.
const bootCode = 440

// Unboot takes what boots from a disk that keeps its partitions: the boot sector's program, and all
// that is in the BIOS boot and EFI system partitions.
func Unboot(d Disk) error {
	if err := d.Zero(0, bootCode); err != nil {
		return err
	}
	t, err := ReadGPT(d, d.Size(), d.SectorSize())
	if err != nil {
		return err
	}
	for _, e := range t.Entries() {
		if e.Type == BIOSBootType || e.Type == ESPType {
			if err := d.Zero(e.First*t.Sector, (e.Last-e.First+1)*t.Sector); err != nil {
				return err
			}
		}
	}
	return d.Sync()
}

// Move copies what a partition holds to the beginning of another disk, and then makes the partition
// look empty. It refuses what does not fit, before anything is written.
func Move(to, from Disk, p Partition) error {
	src := Within(from, p.Offset, p.Length)
	if p.Length > to.Size() {
		return fmt.Errorf("partition %d has %d bytes (%s), but where it is to go there are %d (%s)", p.Number, p.Length,
			HumanSize(p.Length), to.Size(), HumanSize(to.Size()))
	}
	buf, err := AlignedBuffer(1 << 20)
	if err != nil {
		return err
	}
	defer FreeBuffer(buf)
	for at := int64(0); at < p.Length; at += int64(len(buf)) {
		part := buf[:min(int64(len(buf)), p.Length-at)]
		if _, err := src.ReadAt(part, at); err != nil {
			return err
		}
		if _, err := to.WriteAt(part, at); err != nil {
			return err
		}
	}
	if err := to.Sync(); err != nil {
		return err
	}
	if err := src.Zero(0, min(SignatureSize, p.Length)); err != nil {
		return err
	}
	return from.Sync()
}

package write

import (
	"fmt"
	"math"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/erase"
)

// Divide writes a new GUID partition table whose partitions hold nothing: what lay at the ends of each
// is zeroed first, so that nothing old comes to light.
func Divide(d disk.Disk, parts []disk.Partition) error {
	for _, p := range parts {
		if p.Offset < 0 || p.Length < 0 || p.Offset > math.MaxInt64-p.Length || p.Offset+p.Length > d.Size() {
			return fmt.Errorf("partition %d (%s) ends behind the disk's %d bytes", p.Number, p.Role, d.Size())
		}
	}
	if err := erase.Metadata(d); err != nil {
		return err
	}
	if err := wipeEnds(d, parts); err != nil {
		return err
	}
	if err := disk.WriteTable(d, true, parts); err != nil {
		return err
	}
	return d.Sync()
}

func wipeEnds(d disk.Disk, parts []disk.Partition) error {
	for _, p := range parts {
		n := min(disk.SignatureSize, p.Length)
		if err := d.Zero(p.Offset, n); err != nil {
			return err
		}
		if err := d.Zero(p.Offset+p.Length-n, n); err != nil {
			return err
		}
	}
	return nil
}

// Move copies what a partition holds to the beginning of another disk, and then makes the partition
// look empty. It refuses what does not fit, before anything is written.
func Move(to, from disk.Disk, p disk.Partition) error {
	src := disk.Within(from, p.Offset, p.Length)
	if p.Length > to.Size() {
		return fmt.Errorf("partition %d has %d bytes (%s), but where it is to go there are %d (%s)", p.Number, p.Length,
			disk.HumanSize(p.Length), to.Size(), disk.HumanSize(to.Size()))
	}
	buf, err := disk.AlignedBuffer(1 << 20)
	if err != nil {
		return err
	}
	defer disk.FreeBuffer(buf)
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
	if err := src.Zero(0, min(disk.SignatureSize, p.Length)); err != nil {
		return err
	}
	return from.Sync()
}

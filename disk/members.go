package disk

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/billet-metal/billet/wire"
)

// SelectMembers chooses the disks that software RAID is made of. Without hints they are all that
// could be the root disk without a hint; with hints there is one disk for each object of hints: of
// those that match and are not taken yet the smallest, among equals the first by path. Arrays and
// disks that are part of one are not there for it. All must have the same sector size. Errors list
// the disks seen and why each was not taken.
func SelectMembers(disks []wire.Disk, wanted []map[string]any) ([]wire.Disk, error) {
	disks = slices.Clone(disks)
	slices.SortStableFunc(disks, byIdentity)
	var members []wire.Disk
	var err error
	if len(wanted) == 0 {
		members, err = allMembers(disks)
	} else {
		members, err = hintedMembers(disks, wanted)
	}
	if err != nil {
		return nil, err
	}
	for _, d := range members[1:] {
		if d.LogicalSectors != members[0].LogicalSectors {
			return nil, fmt.Errorf("%s has sectors of %d bytes and %s of %d: the disks of software RAID must have the same; choose them with physical_disks",
				members[0].Name, members[0].LogicalSectors, d.Name, d.LogicalSectors)
		}
	}
	return members, nil
}

func unfit(d wire.Disk, hints []hint) string {
	if d.RAID != "" {
		return "it is an array itself"
	}
	return refuse(d, hints)
}

func allMembers(disks []wire.Disk) ([]wire.Disk, error) {
	var members []wire.Disk
	var refusals []string
	for _, d := range disks {
		if why := unfit(d, nil); why != "" {
			refusals = append(refusals, describe(d)+": "+why)
			continue
		}
		members = append(members, d)
	}
	if len(members) < 2 {
		seen := ""
		if len(refusals) > 0 {
			seen = "; not taken: " + strings.Join(refusals, "; ")
		}
		return nil, fmt.Errorf("software RAID needs at least 2 disks, but this machine has %d that can be taken without physical_disks%s", len(members), seen)
	}
	return members, nil
}

func hintedMembers(disks []wire.Disk, wanted []map[string]any) ([]wire.Disk, error) {
	var members []wire.Disk
	for i, raw := range wanted {
		hints, err := parseHints(raw)
		if err != nil {
			return nil, fmt.Errorf("physical_disks[%d]: %w", i, err)
		}
		var refusals []string
		found := slices.IndexFunc(disks, func(d wire.Disk) bool {
			why := unfit(d, hints)
			if slices.Contains(members, d) {
				why = "it is taken by another entry"
			}
			if why != "" {
				refusals = append(refusals, describe(d)+": "+why)
			}
			return why == ""
		})
		if found < 0 {
			return nil, fmt.Errorf("physical_disks[%d]: %w", i, noneFits(hints, refusals))
		}
		members = append(members, disks[found])
	}
	return members, nil
}

// Occupied says what a disk holds that somebody may still want: a partition table or a file system.
// "" means nothing that is known.
func Occupied(d Disk) (string, error) {
	if parts := numbered(d); len(parts) > 0 {
		return fmt.Sprintf("a partition table with %d partitions", len(parts)), nil
	}
	if _, err := readGPT(d, d.Size(), d.SectorSize()); err == nil {
		return "an empty partition table", nil
	}
	m, err := readMBR(d)
	if err != nil {
		return "", err
	}
	if m != nil {
		return "a boot sector with partitions", nil
	}
	if kind, err := Shared(d); kind != "" || err != nil {
		return kind, err
	}
	fs, err := ProbeFS(d)
	if err != nil || fs.Type == "" {
		return "", err
	}
	return "a file system or volume (" + fs.Type + ")", nil
}

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
	if err := writeGPT(d, parts); err != nil {
		return err
	}
	return d.Sync()
}

func wipeEnds(d Disk, parts []Partition) error {
	for _, p := range parts {
		n := min(signatureSize, p.Length)
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
	t, err := readGPT(d, d.Size(), d.SectorSize())
	if err != nil {
		return err
	}
	for _, e := range t.partitions() {
		if e.Type == biosBootType || e.Type == espType {
			if err := d.Zero(e.First*t.sector, (e.Last-e.First+1)*t.sector); err != nil {
				return err
			}
		}
	}
	return d.Sync()
}

// HasFAT reports whether a partition holds a FAT file system.
func HasFAT(d Disk, p Partition) bool {
	var v Volume
	err := v.probe(window{d, p.Offset, p.Length})
	return err == nil && v.Type == "vfat"
}

// Move copies what a partition holds to the beginning of another disk, and then makes the partition
// look empty. It refuses what does not fit, before anything is written.
func Move(to, from Disk, p Partition) error {
	src := window{from, p.Offset, p.Length}
	if p.Length > to.Size() {
		return fmt.Errorf("partition %d has %d bytes (%s), but where it is to go there are %d (%s)", p.Number, p.Length, human(p.Length), to.Size(), human(to.Size()))
	}
	buf, err := alignedBuffer(1 << 20)
	if err != nil {
		return err
	}
	defer freeBuffer(buf)
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
	if err := src.Zero(0, min(signatureSize, p.Length)); err != nil {
		return err
	}
	return from.Sync()
}

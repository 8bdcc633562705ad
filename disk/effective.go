package disk

import (
	"errors"
	"fmt"
	"io"

	"github.com/billet-metal/billet/disk/efi"
)

// inUse is the partition table that firmware and Linux go by: one of the two, or none.
type inUse struct {
	gpt *gptTable
	mbr *mbrTable
}

var (
	errBareProtective = errors.New("the boot sector says that there is a GUID partition table, " +
		"but sector 1 holds none, so nobody would find a partition")
	errUnprotected = errors.New("there is a GUID partition table, but the boot sector does not say so (no entry of type ee at sector 1), " +
		"so neither firmware nor Linux would look at it")
)

// tableOf finds the table that counts. A GUID partition table counts only when the boot sector has an entry
// of type 0xee that starts at sector 1 (UEFI Specification 2.10, 5.2.3); hybrid images for disks and DVDs
// have one that does not count beside an MBR that does.
func tableOf(d Disk) (inUse, error) {
	m, err := readMBR(d)
	if err != nil {
		return inUse{}, err
	}
	t, gptErr := readGPT(d, d.Size(), d.SectorSize())
	missing := errors.Is(gptErr, errNoGPT)
	switch {
	case m != nil && m.protects():
		if missing {
			if err := otherSectorSize(d); err != nil {
				return inUse{}, err
			}
			return inUse{}, errBareProtective
		}
		return inUse{gpt: t}, gptErr
	case m != nil:
		return inUse{mbr: m}, nil
	case missing:
		return inUse{}, nil
	}
	return inUse{}, errors.Join(gptErr, errUnprotected)
}

// protects reports whether the boot sector says that the disk has a GUID partition table.
func (m *mbrTable) protects() bool {
	for i := range 4 {
		if e := m.entry(i); e.kind == mbrProtective && e.first == 1 {
			return true
		}
	}
	return false
}

// numbered returns the partitions of the table that counts with their numbers, in the order of these. Those
// that do not lie on the disk are left out.
func numbered(d Disk) []Partition {
	t, err := tableOf(d)
	switch {
	case err != nil:
		return nil
	case t.gpt != nil:
		return t.gpt.numbered()
	case t.mbr != nil:
		return t.mbr.numbered(d)
	}
	return nil
}

// EFIPartitions lists what boot entries call the partitions of a disk: of a GPT each by its GUID, of an MBR
// all by the disk's signature.
func EFIPartitions(d Disk) ([]efi.Partition, error) {
	var out []efi.Partition
	t, err := readGPT(d, d.Size(), d.SectorSize())
	if err == nil {
		for _, e := range t.partitions() {
			out = append(out, efi.Partition{Signature: e.ID})
		}
	}
	m, err := readMBR(d)
	if err == nil && m != nil {
		p := efi.Partition{MBR: true}
		copy(p.Signature[:4], m.raw[440:444])
		out = append(out, p)
	}
	return out, err
}

// partitions returns where anything may lie that is or was a partition: of either table, logical ones too.
func partitions(d Disk) []span {
	var all []Partition
	if t, err := readGPT(d, d.Size(), d.SectorSize()); err == nil {
		all = t.numbered()
	}
	if m, err := readMBR(d); err == nil && m != nil {
		all = append(all, m.numbered(d)...)
	}
	var out []span
	for _, p := range all {
		out = append(out, span{p.Offset, p.Length})
	}
	return out
}

// mbrExtended are the types of a partition that holds others, each behind a boot record of its own.
var mbrExtended = map[byte]bool{0x05: true, 0x0f: true, 0x85: true}

// maxLogical bounds the chain of logical partitions; Linux has fewer.
const maxLogical = 128

// numbered lists the primary partitions, an extended one among them, and then the logical ones from 5 on.
func (m *mbrTable) numbered(d Disk) []Partition {
	sector := d.SectorSize()
	var out, logical []Partition
	for i := range 4 {
		e := m.entry(i)
		if e.sectors == 0 || e.kind == mbrProtective || (e.first+e.sectors)*sector > d.Size() {
			continue
		}
		out = append(out, Partition{Number: i + 1, Offset: e.first * sector, Length: e.sectors * sector})
		if mbrExtended[e.kind] && logical == nil {
			logical = m.logical(d, e)
		}
	}
	return append(out, logical...)
}

// logical follows the chain of boot records in an extended partition. Each has the logical partition, as
// seen from itself, and the next record, as seen from the extended partition.
func (m *mbrTable) logical(d Disk, extended mbrEntry) []Partition {
	sector := d.SectorSize()
	var out []Partition
	at, seen := extended.first, map[int64]bool{}
	for !seen[at] && len(seen) < maxLogical { // the chain may lead in circles
		seen[at] = true
		r, err := readMBR(io.NewSectionReader(d, at*sector, 512))
		if err != nil || r == nil {
			break
		}
		next := int64(0)
		for i := range 2 {
			e := r.entry(i)
			switch {
			case e.sectors == 0:
			case mbrExtended[e.kind]:
				next = extended.first + e.first
			case (at+e.first+e.sectors)*sector <= d.Size():
				out = append(out, Partition{Number: 5 + len(out), Offset: (at + e.first) * sector, Length: e.sectors * sector})
			}
		}
		if next <= extended.first || next*sector+512 > d.Size() {
			break
		}
		at = next
	}
	return out
}

// checkEnds refuses a table whose partitions reach past the disk's end: what lies there could not be read.
// The one partition of a hybrid DVD image is rounded up to whole cylinders and may.
func (m *mbrTable) checkEnds(d Disk) error {
	sectors := d.Size() / d.SectorSize()
	for i := range 4 {
		e := m.entry(i)
		if e.sectors > 0 && e.first > 0 && e.kind != mbrProtective && e.first+e.sectors > sectors {
			return fmt.Errorf("partition %d lies in sectors %d to %d, but the disk has %d", i+1, e.first, e.first+e.sectors-1, sectors)
		}
	}
	return nil
}

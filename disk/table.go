package disk

import (
	"errors"
	"io"
)

// Table is the partition table that firmware and Linux go by: one of the two, or none.
type Table struct {
	GPT *GPT
	MBR *MBR
}

var (
	errBareProtective = errors.New("the boot sector says that there is a GUID partition table, " +
		"but sector 1 holds none, so nobody would find a partition")
	errUnprotected = errors.New("there is a GUID partition table, but the boot sector does not say so (no entry of type ee at sector 1), " +
		"so neither firmware nor Linux would look at it")
)

// ReadTable finds the table that counts. A GUID partition table counts only when the boot sector has an entry
// of type 0xee that starts at sector 1 (UEFI Specification 2.10, 5.2.3); hybrid images for disks and DVDs
// have one that does not count beside an MBR that does.
func ReadTable(d Disk) (Table, error) {
	m, err := ReadMBR(d)
	if err != nil {
		return Table{}, err
	}
	t, gptErr := ReadGPT(d, d.Size(), d.SectorSize())
	missing := errors.Is(gptErr, ErrNoGPT)
	switch {
	case m != nil && m.protects():
		if missing {
			if err := otherSectorSize(d); err != nil {
				return Table{}, err
			}
			return Table{}, errBareProtective
		}
		return Table{GPT: t}, gptErr
	case m != nil:
		return Table{MBR: m}, nil
	case missing:
		return Table{}, nil
	}
	return Table{}, errors.Join(gptErr, errUnprotected)
}

// protects reports whether the boot sector says that the disk has a GUID partition table.
func (m *MBR) protects() bool {
	for i := range 4 {
		if e := m.Entry(i); e.Kind == mbrProtective && e.First == 1 {
			return true
		}
	}
	return false
}

// Partitions returns the partitions of the table that counts with their numbers, in the order of these. Those
// that do not lie on the disk are left out.
func Partitions(d Disk) []Partition {
	t, err := ReadTable(d)
	switch {
	case err != nil:
		return nil
	case t.GPT != nil:
		return t.GPT.numbered()
	case t.MBR != nil:
		return t.MBR.numbered(d)
	}
	return nil
}

// Areas returns where anything may lie that is or was a partition: of either table, logical ones too.
func Areas(d Disk) []Partition {
	var all []Partition
	if t, err := ReadGPT(d, d.Size(), d.SectorSize()); err == nil {
		all = t.numbered()
	}
	if m, err := ReadMBR(d); err == nil && m != nil {
		all = append(all, m.numbered(d)...)
	}
	return all
}

// mbrExtended are the types of a partition that holds others, each behind a boot record of its own.
var mbrExtended = map[byte]bool{0x05: true, 0x0f: true, 0x85: true}

// maxLogical bounds the chain of logical partitions; Linux has fewer.
const maxLogical = 128

// numbered lists the primary partitions, an extended one among them, and then the logical ones from 5 on.
func (m *MBR) numbered(d Disk) []Partition {
	sector := d.SectorSize()
	var out, logical []Partition
	for i := range 4 {
		e := m.Entry(i)
		if e.Sectors == 0 || e.Kind == mbrProtective || (e.First+e.Sectors)*sector > d.Size() {
			continue
		}
		out = append(out, Partition{Number: i + 1, Offset: e.First * sector, Length: e.Sectors * sector})
		if mbrExtended[e.Kind] && logical == nil {
			logical = m.logical(d, e)
		}
	}
	return append(out, logical...)
}

// logical follows the chain of boot records in an extended partition. Each has the logical partition, as
// seen from itself, and the next record, as seen from the extended partition.
func (m *MBR) logical(d Disk, extended MBREntry) []Partition {
	sector := d.SectorSize()
	var out []Partition
	at, seen := extended.First, map[int64]bool{}
	for !seen[at] && len(seen) < maxLogical { // the chain may lead in circles
		seen[at] = true
		r, err := ReadMBR(io.NewSectionReader(d, at*sector, 512))
		if err != nil || r == nil {
			break
		}
		next := int64(0)
		for i := range 2 {
			e := r.Entry(i)
			switch {
			case e.Sectors == 0:
			case mbrExtended[e.Kind]:
				next = extended.First + e.First
			case (at+e.First+e.Sectors)*sector <= d.Size():
				out = append(out, Partition{Number: 5 + len(out), Offset: (at + e.First) * sector, Length: e.Sectors * sector})
			}
		}
		if next <= extended.First || next*sector+512 > d.Size() {
			break
		}
		at = next
	}
	return out
}

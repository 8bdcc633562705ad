package disk

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// span is a part of a disk in bytes.
type span struct{ offset, length int64 }

// fitTable puts the partition table of a freshly written image right for the disk it is on: images
// are smaller than disks, and the backup of a GUID partition table belongs at the disk's end.
func fitTable(d Disk, imageSize int64) error {
	of, err := tableOf(d)
	switch {
	case err != nil:
		return err
	case of.mbr != nil:
		return of.mbr.checkEnds(d)
	case of.gpt == nil:
		return otherSectorSize(d)
	}
	t := of.gpt
	oldEnd, oldLast := t.u64(atAlternate), t.u64(atLastUsable)
	if err := t.fit(d.Size()); err != nil {
		return err
	}
	// The image's own backup lies in what is free space now. Left there, tools would find it.
	if oldLast < oldEnd && (oldEnd+1)*t.sector <= imageSize && oldEnd < t.u64(atLastUsable) {
		if err := d.Zero((oldLast+1)*t.sector, (oldEnd-oldLast)*t.sector); err != nil {
			return err
		}
	}
	if err := t.write(d); err != nil {
		return err
	}
	return fitProtectiveMBR(d)
}

// otherSectorSize tells an image made for another sector size from one without a table: it would
// never boot.
func otherSectorSize(d Disk) error {
	other := int64(512 + 4096 - d.SectorSize())
	if _, err := readGPT(d, d.Size(), other); err == nil {
		return fmt.Errorf("the image's partition table is made for sectors of %d bytes, but the disk has sectors of %d: use an image made for this disk", other, d.SectorSize())
	}
	return nil
}

// fitProtectiveMBR makes the protective partition cover the disk. A hybrid table stays as it is: its
// protective partition ends before the others, and grown over them no BIOS would take the table.
func fitProtectiveMBR(d Disk) error {
	mbr, err := readMBR(d)
	if err != nil || mbr == nil || mbr.used() > 1 {
		return err
	}
	for i := range 4 {
		e := mbr.entry(i)
		if e.kind == mbrProtective && e.first == 1 {
			e.sectors = min(d.Size()/d.SectorSize()-1, math.MaxUint32)
			mbr.set(i, e)
			return mbr.write(d)
		}
	}
	return nil
}

// mbrProtective is the type of the entry that keeps old programs off a GUID partition table.
const mbrProtective = 0xee

// mbrTable is the boot sector's four partitions.
type mbrTable struct{ raw [512]byte }

type mbrEntry struct {
	kind           byte
	first, sectors int64
}

// readMBR returns nil when the sector holds no partition table: a boot sector of a file system has the same
// last two bytes, but no four sane entries. As in Linux an entry is in use when it has sectors; hybrid DVD
// images have one of type 0 that starts at the boot sector itself.
func readMBR(r io.ReaderAt) (*mbrTable, error) {
	m := &mbrTable{}
	if _, err := r.ReadAt(m.raw[:], 0); err != nil {
		return nil, fmt.Errorf("reading the boot sector: %w", err)
	}
	if m.raw[510] != 0x55 || m.raw[511] != 0xaa {
		return nil, nil
	}
	for i := range 4 {
		if flag := m.raw[446+16*i]; flag != 0 && flag != active {
			return nil, nil
		}
	}
	if m.used() == 0 {
		return nil, nil
	}
	return m, nil
}

// active is the flag of the partition that a BIOS boot sector starts.
const active = 0x80

// used is how many entries are in use.
func (m *mbrTable) used() int {
	n := 0
	for i := range 4 {
		if m.entry(i).sectors != 0 {
			n++
		}
	}
	return n
}

func (m *mbrTable) entry(i int) mbrEntry {
	raw := m.raw[446+16*i:]
	return mbrEntry{kind: raw[4], first: int64(binary.LittleEndian.Uint32(raw[8:])), sectors: int64(binary.LittleEndian.Uint32(raw[12:]))}
}

// set changes an entry. Cylinder, head and sector of a new one say "too large for CHS".
func (m *mbrTable) set(i int, e mbrEntry) {
	raw := m.raw[446+16*i:]
	if raw[4] == 0 {
		copy(raw[1:4], []byte{0xfe, 0xff, 0xff})
		copy(raw[5:8], []byte{0xfe, 0xff, 0xff})
	}
	raw[4] = e.kind
	binary.LittleEndian.PutUint32(raw[8:], uint32(e.first))
	binary.LittleEndian.PutUint32(raw[12:], uint32(e.sectors))
}

func (m *mbrTable) write(w io.WriterAt) error {
	if _, err := w.WriteAt(m.raw[:], 0); err != nil {
		return fmt.Errorf("writing the boot sector: %w", err)
	}
	return nil
}

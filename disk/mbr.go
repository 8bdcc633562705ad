package disk

import (
	"encoding/binary"
	"fmt"
	"io"
)

// MBRLinux is the type of a partition that Linux uses for anything.
const MBRLinux = 0x83

// mbrProtective is the type of the entry that keeps old programs off a GUID partition table.
const mbrProtective = 0xee

// MBR is the boot sector's four partitions.
type MBR struct{ Raw [512]byte }

// MBREntry is one of the four partitions, in sectors.
type MBREntry struct {
	Kind           byte
	First, Sectors int64
}

// ReadMBR returns nil when the sector holds no partition table: a boot sector of a file system has the same
// last two bytes, but no four sane entries. As in Linux an entry is in use when it has sectors; hybrid DVD
// images have one of type 0 that starts at the boot sector itself.
func ReadMBR(r io.ReaderAt) (*MBR, error) {
	m := &MBR{}
	if _, err := r.ReadAt(m.Raw[:], 0); err != nil {
		return nil, fmt.Errorf("reading the boot sector: %w", err)
	}
	if m.Raw[510] != 0x55 || m.Raw[511] != 0xaa {
		return nil, nil
	}
	for i := range 4 {
		if flag := m.Raw[446+16*i]; flag != 0 && flag != MBRActive {
			return nil, nil
		}
	}
	if m.used() == 0 {
		return nil, nil
	}
	return m, nil
}

// MBRActive is the flag of the partition that a BIOS boot sector starts.
const MBRActive = 0x80

// Signature is the disk's own, by which boot entries name its partitions.
func (m *MBR) Signature() []byte { return m.Raw[440:444] }

// used is how many entries are in use.
func (m *MBR) used() int {
	n := 0
	for i := range 4 {
		if m.Entry(i).Sectors != 0 {
			n++
		}
	}
	return n
}

// Entry reads the i-th partition, counted from 0.
func (m *MBR) Entry(i int) MBREntry {
	raw := m.Raw[446+16*i:]
	return MBREntry{Kind: raw[4], First: int64(binary.LittleEndian.Uint32(raw[8:])), Sectors: int64(binary.LittleEndian.Uint32(raw[12:]))}
}

// Set changes an entry. Cylinder, head and sector of a new one say "too large for CHS".
func (m *MBR) Set(i int, e MBREntry) {
	raw := m.Raw[446+16*i:]
	if raw[4] == 0 {
		copy(raw[1:4], []byte{0xfe, 0xff, 0xff})
		copy(raw[5:8], []byte{0xfe, 0xff, 0xff})
	}
	raw[4] = e.Kind
	binary.LittleEndian.PutUint32(raw[8:], uint32(e.First))
	binary.LittleEndian.PutUint32(raw[12:], uint32(e.Sectors))
}

// Write writes the boot sector.
func (m *MBR) Write(w io.WriterAt) error {
	if _, err := w.WriteAt(m.Raw[:], 0); err != nil {
		return fmt.Errorf("writing the boot sector: %w", err)
	}
	return nil
}

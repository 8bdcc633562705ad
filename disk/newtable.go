package disk

import (
	"crypto/rand"
	"fmt"
	"math"
)

// Partition types of a GPT besides those in gpt.go: GRUB's manual, section "BIOS installation", and
// the UAPI group's Discoverable Partitions Specification. Root gets the type of plain data: its own
// type would let systemd mount it where nobody asked.
var (
	BIOSBootType = mustGUID("21686148-6449-6e6f-744e-656564454649")
	swapType     = mustGUID("0657fd6d-a4ab-43c4-84e5-0933c84b4f4f")
	raidType     = mustGUID("a19d880f-05fc-4d3b-a006-743f0f84911e")
	gptTypes     = map[Role]GUID{BIOSBoot: BIOSBootType, ESPRole: ESPType, Ephemeral: LinuxDataType, Swap: swapType,
		Root: LinuxDataType, RAIDMember: raidType}
	mbrTypes = map[Role]byte{ESPRole: mbrESP, Ephemeral: MBRLinux, Swap: 0x82, Root: MBRLinux}
)

// WriteTable writes a new partition table with the given partitions of a plan.
func WriteTable(d Disk, gpt bool, parts []Partition) error {
	if gpt {
		return writeGPT(d, parts)
	}
	return writeMBR(d, parts)
}

func writeGPT(d Disk, parts []Partition) error {
	t := newGPT(d.SectorSize())
	if err := t.fit(d.Size()); err != nil {
		return err
	}
	for _, p := range parts {
		e := GPTEntry{Type: gptTypes[p.Role], ID: NewGUID(), Name: string(p.Role), First: p.Offset / t.Sector,
			Last: (p.Offset+p.Length)/t.Sector - 1}
		if e.Last > t.u64(atLastUsable) {
			return fmt.Errorf("partition %s ends in sector %d, but sector %d is the last that may be used", p.Role, e.Last, t.u64(atLastUsable))
		}
		t.put(p.Number, e)
	}
	if err := t.Write(d); err != nil {
		return err
	}
	m := &MBR{}
	m.Raw[510], m.Raw[511] = 0x55, 0xaa
	m.Set(0, MBREntry{Kind: 0xee, First: 1, Sectors: min(d.Size()/d.SectorSize()-1, math.MaxUint32)})
	return m.Write(d)
}

// newGPT is an empty table of 128 entries; fit says where it ends.
func newGPT(sector int64) *GPT {
	t := &GPT{Sector: sector, header: make([]byte, gptHeaderSize), entries: make([]byte, 128*128), entrySize: 128, entriesLBA: 2}
	copy(t.header, gptSignature)
	t.set32(8, 0x00010000) // revision 1.0
	t.set32(12, gptHeaderSize)
	t.set64(atMyLBA, 1)
	t.set64(atFirstUsable, 2+t.entrySectors())
	id := NewGUID()
	copy(t.header[56:], id[:])
	t.set64(atEntriesLBA, 2)
	t.set32(atCount, 128)
	t.set32(atEntriesSize, 128)
	return t
}

// put writes one entry by its number.
func (t *GPT) put(number int, e GPTEntry) {
	raw := t.entries[(number-1)*t.entrySize:][:t.entrySize]
	e.encode(raw)
}

func writeMBR(d Disk, parts []Partition) error {
	m := &MBR{}
	_, _ = rand.Read(m.Raw[440:444]) // the disk's signature; never fails since Go 1.24
	m.Raw[510], m.Raw[511] = 0x55, 0xaa
	for _, p := range parts {
		i := p.Number - 1
		m.Set(i, MBREntry{Kind: mbrTypes[p.Role], First: p.Offset / d.SectorSize(), Sectors: p.Length / d.SectorSize()})
		if p.Role == Root {
			m.Raw[446+16*i] = 0x80 // some BIOSes start only a disk with an active partition
		}
	}
	return m.Write(d)
}

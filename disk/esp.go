package disk

import (
	"errors"
)

// mbrESP is the type of an EFI system partition in an MBR.
const mbrESP = 0xef

// ErrNoESP is the error of a disk without an EFI system partition.
var ErrNoESP = errors.New("the image has no EFI system partition, so it cannot boot in UEFI mode: use another image, or BIOS boot mode")

// FindESP finds the EFI system partition of a disk.
func FindESP(d Disk) (Partition, error) {
	t, err := ReadTable(d)
	if err != nil {
		return Partition{}, err
	}
	var p Partition
	switch {
	case t.GPT != nil:
		p, _ = t.GPT.ofType(ESPType)
	case t.MBR != nil:
		p = t.MBR.ofType(mbrESP, d.SectorSize())
	}
	if p.Number == 0 {
		return Partition{}, ErrNoESP
	}
	p.Role = ESPRole
	return p, nil
}

// ofType is the first partition of a type, and its GUID; number 0 when there is none.
func (t *GPT) ofType(kind GUID) (Partition, GUID) {
	for n, e := range t.Entries() {
		if e.Type == kind {
			return Partition{Number: n, Offset: e.First * t.Sector, Length: (e.Last - e.First + 1) * t.Sector}, e.ID
		}
	}
	return Partition{}, GUID{}
}

// ofType is the first primary partition of a type; number 0 when there is none.
func (m *MBR) ofType(kind byte, sector int64) Partition {
	for i := range 4 {
		if e := m.Entry(i); e.Kind == kind && e.Sectors != 0 {
			return Partition{Number: i + 1, Offset: e.First * sector, Length: e.Sectors * sector}
		}
	}
	return Partition{}
}

// ESP is the GUID of a disk's EFI system partition; "" when there is none.
func ESP(d Disk) string {
	t, err := ReadTable(d)
	if err != nil {
		return ""
	}
	return guidOf(t.GPT, ESPType)
}

// PReP is the GUID of a disk's PowerPC boot partition; "" when there is none.
func PReP(d Disk) string {
	t, err := ReadGPT(d, d.Size(), d.SectorSize())
	if err != nil {
		return ""
	}
	return guidOf(t, prepType)
}

// guidOf is the GUID of a table's first partition of a type; "" when there is none.
func guidOf(t *GPT, kind GUID) string {
	if t == nil {
		return ""
	}
	p, id := t.ofType(kind)
	if p.Number == 0 {
		return ""
	}
	return id.String()
}

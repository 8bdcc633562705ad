package disk

import (
	"fmt"
	"math"
)

// FitTable puts the partition table of a freshly written image right for the disk it is on: images
// are smaller than disks, and the backup of a GUID partition table belongs at the disk's end.
func FitTable(d Disk, imageSize int64) error {
	of, err := ReadTable(d)
	switch {
	case err != nil:
		return err
	case of.MBR != nil:
		return of.MBR.checkEnds(d)
	case of.GPT == nil:
		return otherSectorSize(d)
	}
	t := of.GPT
	oldEnd, oldLast := t.u64(atAlternate), t.u64(atLastUsable)
	if err := t.fit(d.Size()); err != nil {
		return err
	}
	// The image's own backup lies in what is free space now. Left there, tools would find it.
	if oldLast < oldEnd && (oldEnd+1)*t.Sector <= imageSize && oldEnd < t.u64(atLastUsable) {
		if err := d.Zero((oldLast+1)*t.Sector, (oldEnd-oldLast)*t.Sector); err != nil {
			return err
		}
	}
	if err := t.Write(d); err != nil {
		return err
	}
	return fitProtectiveMBR(d)
}

// otherSectorSize tells an image made for another sector size from one without a table: it would
// never boot.
func otherSectorSize(d Disk) error {
	other := int64(512 + 4096 - d.SectorSize())
	if _, err := ReadGPT(d, d.Size(), other); err == nil {
		return fmt.Errorf("the image's partition table is made for sectors of %d bytes, but the disk has sectors of %d: use an "+
			"image made for this disk", other, d.SectorSize())
	}
	return nil
}

// fitProtectiveMBR makes the protective partition cover the disk. A hybrid table stays as it is: its
// protective partition ends before the others, and grown over them no BIOS would take the table.
func fitProtectiveMBR(d Disk) error {
	mbr, err := ReadMBR(d)
	if err != nil || mbr == nil || mbr.used() > 1 {
		return err
	}
	for i := range 4 {
		e := mbr.Entry(i)
		if e.Kind == mbrProtective && e.First == 1 {
			e.Sectors = min(d.Size()/d.SectorSize()-1, math.MaxUint32)
			mbr.Set(i, e)
			return mbr.Write(d)
		}
	}
	return nil
}

// checkEnds refuses a table whose partitions reach past the disk's end: what lies there could not be read.
// The one partition of a hybrid DVD image is rounded up to whole cylinders and may.
func (m *MBR) checkEnds(d Disk) error {
	sectors := d.Size() / d.SectorSize()
	for i := range 4 {
		e := m.Entry(i)
		if e.Sectors > 0 && e.First > 0 && e.Kind != mbrProtective && e.First+e.Sectors > sectors {
			return fmt.Errorf("partition %d lies in sectors %d to %d, but the disk has %d", i+1, e.First, e.First+e.Sectors-1, sectors)
		}
	}
	return nil
}

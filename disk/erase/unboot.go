package erase

import "github.com/billet-metal/billet/disk"

// bootCode is where a boot sector has its program; the disk's signature and the partitions follow.
const bootCode = 440

// Unboot takes what boots from a disk that keeps its partitions: the boot sector's program, and all
// that is in the BIOS boot and EFI system partitions.
func Unboot(d disk.Disk) error {
	if err := d.Zero(0, bootCode); err != nil {
		return err
	}
	t, err := disk.ReadGPT(d, d.Size(), d.SectorSize())
	if err != nil {
		return err
	}
	for _, e := range t.Entries() {
		if e.Type == disk.BIOSBootType || e.Type == disk.ESPType {
			if err := d.Zero(e.First*t.Sector, (e.Last-e.First+1)*t.Sector); err != nil {
				return err
			}
		}
	}
	return d.Sync()
}

package write

import (
	"encoding/binary"
	"fmt"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/wire"
)

// Disks with logical sectors of 4096 bytes (4Kn) read and write nothing smaller. Whoever wrote 512 into
// an image, its partition table, a file system or a boot sector made it for other disks.

// firmwareReads refuses a disk that no BIOS starts from: its boot sector is 512 bytes long (INT 13h), and
// disks of larger sectors are for UEFI.
func (w *Writer) firmwareReads(d disk.Disk, img wire.ImageInfo) error {
	partition := img.ImageType == "partition"
	if d.SectorSize() == 512 || img.BootMode == "uefi" || img.BootOption == "netboot" || img.BootMode == "" && !partition {
		return nil
	}
	err := fmt.Errorf("the disk has sectors of %d bytes, and a BIOS starts only from disks with sectors of 512: "+
		"set the machine's firmware and the node's boot_mode to uefi, "+
		"or name another disk in root_device", d.SectorSize())
	if w.AnyBoot {
		w.Log.Warn("the image is written all the same, as asked for", "error", err)
		return nil
	}
	return err
}

// mountable refuses a file system with blocks smaller than the sectors of its disk: the kernel can not
// read them.
func mountable(d disk.Disk, what string) error {
	fs, err := disk.ProbeFS(d)
	if err != nil {
		return err
	}
	block, err := fsBlock(d, fs.Type)
	if err != nil || block == 0 || block >= d.SectorSize() {
		return err
	}
	return fmt.Errorf("%s holds an %s file system with blocks of %d bytes, which no system can mount from this disk's sectors of %d bytes: "+
		"use an image made for such disks",
		what, fs.Type, block, d.SectorSize())
}

// partitionsMountable is mountable for each partition of a disk.
func partitionsMountable(d disk.Disk) error {
	if d.SectorSize() == 512 { // the smallest there is
		return nil
	}
	for _, p := range disk.Partitions(d) {
		if p.Length < disk.SignatureSize {
			continue
		}
		if err := mountable(disk.Within(d, p.Offset, p.Length), fmt.Sprintf("partition %d of the image", p.Number)); err != nil {
			return err
		}
	}
	return nil
}

// fsBlock is the smallest piece that a file system is read in; 0 where it adapts to its disk. The places
// are those of the super blocks: ext4's s_log_block_size, XFS's sb_sectsize, btrfs's sectorsize, and FAT's
// bytes per sector.
func fsBlock(d disk.Disk, kind string) (int64, error) {
	b := make([]byte, 4)
	read := func(at int64) error { return disk.ReadPadded(d, b, at) }
	switch kind {
	case "ext4":
		err := read(0x418)
		return 1024 << min(binary.LittleEndian.Uint32(b), 6), err
	case "xfs":
		err := read(102)
		return int64(binary.BigEndian.Uint16(b)), err
	case "btrfs":
		err := read(0x10090)
		return int64(binary.LittleEndian.Uint32(b)), err
	case "vfat":
		err := read(11)
		return int64(binary.LittleEndian.Uint16(b)), err
	case "iso9660":
		return isoBlock, nil
	}
	return 0, nil
}

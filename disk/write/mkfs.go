package write

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/billet-metal/billet/disk"
)

const vfat = "vfat" // FAT32, which this program makes by itself

const ephemeralLabel = "ephemeral0" // by which cloud-init finds it

// swapPage is the page size that swap areas are made for; x86-64 and arm64 servers have no other.
const swapPage = 4096

// makeSwap writes a swap area's header (union swap_header of the kernel's include/linux/swap.h).
func makeSwap(d disk.Disk) error {
	page := make([]byte, swapPage)
	pages := d.Size() / swapPage
	if pages < 10 {
		return fmt.Errorf("a swap partition of %d bytes is too small", d.Size())
	}
	binary.LittleEndian.PutUint32(page[1024:], 1)
	binary.LittleEndian.PutUint32(page[1028:], uint32(min(pages-1, 1<<32-1)))
	id := disk.NewGUID().Swap()
	copy(page[0x40c:], id[:])
	copy(page[0x41c:], "swap1")
	copy(page[swapPage-10:], "SWAPSPACE2")
	if _, err := d.WriteAt(page, 0); err != nil {
		return fmt.Errorf("making the swap partition: %w", err)
	}
	return nil
}

// makeFAT makes an empty FAT16 file system (Microsoft FAT32 File System Specification 1.03) in a
// partition that begins at the given sector of its disk. An EFI system partition of 200 MiB has
// room for no more clusters of 4 KiB than FAT16 counts, on disks of both sector sizes.
func makeFAT(d disk.Disk, firstSector int64) error {
	const cluster, copies, rootEntries, reserved = 4096, 2, 512, 8
	sector := d.SectorSize()
	total := d.Size() / sector
	clusters := d.Size() / cluster
	if clusters < 4200 || clusters > 65500 {
		return fmt.Errorf("an EFI system partition of %d bytes is not one for FAT16", d.Size())
	}
	fatSectors := ((clusters+2)*2 + sector - 1) / sector
	b := make([]byte, sector)
	copy(b, "\xeb\x3c\x90BILLET  ")
	put16 := func(at int, v int64) { binary.LittleEndian.PutUint16(b[at:], uint16(v)) }
	put32 := func(at int, v int64) { binary.LittleEndian.PutUint32(b[at:], uint32(v)) }
	put16(11, sector)
	b[13] = byte(cluster / sector)
	put16(14, reserved)
	b[16] = copies
	put16(17, rootEntries)
	if total < 1<<16 {
		put16(19, total)
	} else {
		put32(32, total)
	}
	b[21] = 0xf8 // a fixed disk
	put16(22, fatSectors)
	put16(24, 63)
	put16(26, 255)
	put32(28, firstSector)
	b[36], b[38] = 0x80, 0x29 // drive number; volume ID, label and type follow
	put32(39, int64(volumeID()))
	copy(b[43:], "ESP        FAT16   ")
	b[510], b[511] = 0x55, 0xaa
	label := make([]byte, 32)
	copy(label, "ESP        \x08")
	if err := d.Zero(0, (reserved+copies*fatSectors)*sector+rootEntries*32); err != nil {
		return err
	}
	writes := map[int64][]byte{0: b, (reserved + copies*fatSectors) * sector: label}
	for i := range int64(copies) {
		writes[(reserved+i*fatSectors)*sector] = []byte{0xf8, 0xff, 0xff, 0xff}
	}
	for at, data := range writes {
		if _, err := d.WriteAt(data, at); err != nil {
			return fmt.Errorf("making the EFI system partition: %w", err)
		}
	}
	return nil
}

// fat32Cluster is the cluster size in bytes for a FAT32 file system of the given size, Microsoft's own choices.
func fat32Cluster(size, sector int64) (int64, error) {
	cluster := int64(4096)
	switch {
	case size < 300<<20:
		cluster = sector
	case size > 32<<30:
		cluster = 32 << 10
	case size > 16<<30:
		cluster = 16 << 10
	case size > 8<<30:
		cluster = 8 << 10
	}
	// Fewer than 65525 clusters, beside the file system's own sectors, would be FAT16.
	least, most := 66700*sector, min(disk.MaxVFAT*sector, 0x0ffffff0*32<<10)
	if size < least || size > most {
		return 0, fmt.Errorf("a partition of %d bytes (%s) cannot be vfat (FAT32), which holds %s to %s on a disk of %d-byte sectors",
			size, disk.HumanSize(size), disk.HumanSize(least), disk.HumanSize(most), sector)
	}
	return cluster, nil
}

// makeFAT32 makes an empty FAT32 file system (Microsoft FAT32 File System Specification 1.03) in a partition that begins at
// the given sector of its disk.
func makeFAT32(d disk.Disk, firstSector int64, label string) error {
	const copies, reserved, info, backup, root = 2, 32, 1, 6, 2
	sector := d.SectorSize()
	cluster, err := fat32Cluster(d.Size(), sector)
	if err != nil {
		return err
	}
	total, per := d.Size()/sector, cluster/sector
	// A table for all of the partition is a little larger than it has to be, which the format allows.
	table := ((total/per+2)*4 + sector - 1) / sector
	start := reserved + copies*table // of the clusters
	clusters := (total - start) / per
	b, free := make([]byte, sector), make([]byte, sector)
	put16 := func(at int, v int64) { binary.LittleEndian.PutUint16(b[at:], uint16(v)) }
	put32 := func(b []byte, at int, v int64) { binary.LittleEndian.PutUint32(b[at:], uint32(v)) }
	name := fmt.Sprintf("%-11.11s", label)
	copy(b, "\xeb\x58\x90BILLET  ")
	put16(11, sector)
	b[13] = byte(per)
	put16(14, reserved)
	b[16] = copies
	b[21] = 0xf8 // a fixed disk
	put16(24, 63)
	put16(26, 255)
	put32(b, 28, firstSector)
	put32(b, 32, total)
	put32(b, 36, table)
	put32(b, 44, root)
	put16(48, info)
	put16(50, backup)
	b[64], b[66] = 0x80, 0x29 // drive number; volume ID, label and type follow
	put32(b, 67, int64(volumeID()))
	copy(b[71:], name+"FAT32   ")
	b[510], b[511] = 0x55, 0xaa
	put32(free, 0, 0x41615252)
	put32(free, 484, 0x61417272)
	put32(free, 488, clusters-1) // the root folder has one
	put32(free, 492, root+1)
	put32(free, 508, 0xaa550000)
	first := make([]byte, 12) // the medium, no error, and the root folder's only cluster
	put32(first, 0, 0x0ffffff8)
	put32(first, 4, 0x0fffffff)
	put32(first, 8, 0x0fffffff)
	if err := d.Zero(0, start*sector+cluster); err != nil {
		return err
	}
	// The boot sector comes last: without it there is no file system.
	for _, w := range []struct {
		at   int64 // sectors
		data []byte
	}{
		{reserved, first}, {reserved + table, first}, {start, []byte(name + "\x08")},
		{backup, b}, {backup + info, free}, {info, free}, {0, b},
	} {
		if _, err := d.WriteAt(w.data, w.at*sector); err != nil {
			return err
		}
	}
	return nil
}

// FormatEphemeral makes the file system of an ephemeral partition with the ramdisk's mke2fs, or, for vfat, by itself. The
// disk must be closed. The partition is named by its place on the disk, which no late device node
// can get wrong; nothing outside of it is written.
func FormatEphemeral(ctx context.Context, path string, p disk.Partition, format string) error {
	if format == "" {
		format = disk.EphemeralFormats[0]
	}
	if format == vfat {
		d, err := disk.Open(path)
		if err != nil {
			return fmt.Errorf("making the ephemeral partition's file system: %w", err)
		}
		err = MakeEphemeral(ctx, d, p, format, "")
		if err == nil {
			err = d.Sync()
		}
		return errors.Join(err, d.Close())
	}
	program, err := findProgram("mke2fs")
	if err != nil {
		return fmt.Errorf("making the ephemeral partition's file system: %w", err)
	}
	if p.Role != disk.Ephemeral || p.Length == 0 {
		return errors.New("making the ephemeral partition's file system: it is no ephemeral partition")
	}
	// Discarding is off: it would be the one request that does not stay inside the offset.
	cmd := exec.CommandContext(ctx, program, "-q", "-F", "-t", format, "-L", ephemeralLabel,
		"-E", fmt.Sprintf("nodiscard,offset=%d", p.Offset), path, fmt.Sprintf("%dk", p.Length>>10))
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/sbin:/sbin"}
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("making the ephemeral partition's %s file system: %w: %s", format, err, strings.TrimSpace(string(said)))
	}
	return nil
}

// findProgram looks where systems and the deploy ramdisk keep programs; process 1 has no PATH worth
// the name.
func findProgram(name string) (string, error) {
	for _, dir := range []string{"/usr/sbin/", "/sbin/", "/usr/bin/", "/bin/"} {
		if info, err := os.Stat(dir + name); err == nil && info.Mode().IsRegular() {
			return dir + name, nil
		}
	}
	return "", fmt.Errorf("the deploy ramdisk has no %s: build it with this version's `billet ramdisk build`", name)
}

// volumeID is a random number for a file system.
func volumeID() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:])
	return binary.LittleEndian.Uint32(b[:])
}

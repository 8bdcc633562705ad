package disk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// EphemeralFormats are the file systems an ephemeral partition can have; the first is the default.
var EphemeralFormats = []string{"ext4", "ext3", "ext2"}

const ephemeralLabel = "ephemeral0" // by which cloud-init finds it

// swapPage is the page size that swap areas are made for; x86-64 and arm64 servers have no other.
const swapPage = 4096

// makeSwap writes a swap area's header (union swap_header of the kernel's include/linux/swap.h).
func makeSwap(d Disk) error {
	page := make([]byte, swapPage)
	pages := d.Size() / swapPage
	if pages < 10 {
		return fmt.Errorf("a swap partition of %d bytes is too small", d.Size())
	}
	binary.LittleEndian.PutUint32(page[1024:], 1)
	binary.LittleEndian.PutUint32(page[1028:], uint32(min(pages-1, 1<<32-1)))
	id := newGUID().swap()
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
func makeFAT(d Disk, firstSector int64) error {
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

// FormatEphemeral makes the file system of an ephemeral partition with the ramdisk's mke2fs. The
// disk must be closed. The partition is named by its place on the disk, which no late device node
// can get wrong; nothing outside of it is written.
func FormatEphemeral(ctx context.Context, disk string, p Partition, format string) error {
	if format == "" {
		format = EphemeralFormats[0]
	}
	program, err := findProgram("mke2fs")
	if err != nil {
		return fmt.Errorf("making the ephemeral partition's file system: %w", err)
	}
	if p.Role != Ephemeral || p.Length == 0 {
		return errors.New("making the ephemeral partition's file system: it is no ephemeral partition")
	}
	// Discarding is off: it would be the one request that does not stay inside the offset.
	cmd := exec.CommandContext(ctx, program, "-q", "-F", "-t", format, "-L", ephemeralLabel,
		"-E", fmt.Sprintf("nodiscard,offset=%d", p.Offset), disk, fmt.Sprintf("%dk", p.Length>>10))
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

// Package bootable finds what a machine's firmware would start from a disk, and makes it the firmware's
// boot entry. It reads FAT and ISO 9660 by itself and mounts nothing: what an image holds is a stranger's.
package bootable

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/billet-metal/billet/disk"
)

// Check says why firmware could not start what is on a disk; nil when nothing speaks against it. Mode is
// "bios" or "uefi"; with any other nothing is looked at. arch is Go's name of the machine's processor, ""
// this one's.
func Check(d disk.Disk, mode, arch string) error {
	switch strings.ToLower(mode) {
	case "bios":
		if arch = cmp.Or(arch, runtime.GOARCH); arch == "amd64" || arch == "386" { // others have firmware of their own
			return startsOnBIOS(d)
		}
	case "uefi":
		_, err := findLoader(d, arch)
		return err
	}
	return nil
}

// What boot code says when it finds nothing to start. By their words the codes are known that depend on
// something else on the disk, or start nothing at all; any other is believed to know its way.
var (
	grubCode    = []byte("Geom\x00Hard Disk\x00Read\x00 Error") // GRUB 2, boot.img
	gptCode     = []byte("Missing OS\r\n")                      // syslinux, gptmbr.bin
	notBootable = []byte("This is not a bootable disk")         // mkfs.vfat
	activeCodes = [][]byte{[]byte("issing operating system"), []byte("Invalid partition table")}
	partedCode  = []byte{0xfa, 0xb8, 0x00, 0x10, 0x8e, 0xd0, 0xbc, 0x00, 0xb0, 0xb8, 0x00, 0x00,
		0x8e, 0xd8, 0x8e, 0xc0, 0xfb, 0xbe, 0x00, 0x7c}
	errNoCode    = errors.New("its boot sector holds no boot code")
	errNoSign    = errors.New("its first sector is no boot sector (it does not end in 55 aa), so a BIOS starts nothing from it")
	errForUEFI   = "; it may be made for UEFI only: use an image with a boot loader for BIOS, or UEFI boot mode"
	legacyActive = uint64(1) << 2 // UEFI Specification 2.10, table 5.8: legacy BIOS bootable
)

// startsOnBIOS follows what a BIOS does: it loads the first sector, looks at its last two bytes, and jumps
// into it.
func startsOnBIOS(d disk.Disk) error {
	boot := make([]byte, 512)
	if _, err := d.ReadAt(boot, 0); err != nil {
		return fmt.Errorf("reading the boot sector: %w", err)
	}
	if err := startable(boot); err != nil {
		return fmt.Errorf("%w%s", err, errForUEFI)
	}
	if bytes.Contains(boot, grubCode) {
		return grubHasCore(d, boot)
	}
	t, err := disk.ReadTable(d)
	switch {
	case err != nil:
		return err
	case bytes.Contains(boot, gptCode) && t.GPT != nil:
		return hasActive(t.GPT)
	case t.MBR != nil && startsActive(boot):
		return activeStarts(d, t.MBR)
	}
	return nil
}

// startable looks at one boot sector alone.
func startable(boot []byte) error {
	switch {
	case boot[510] != 0x55 || boot[511] != 0xaa:
		return errNoSign
	case bytes.Count(boot[:440], []byte{0}) == 440:
		return errNoCode
	case bytes.Contains(boot, notBootable):
		return errors.New("its boot sector only says \"This is not a bootable disk\", as mkfs.vfat writes it")
	}
	return nil
}

// grubHasCore looks for GRUB's core image, whose first sector boot.img has at byte 0x5c. Its own first
// sector is never empty.
func grubHasCore(d disk.Disk, boot []byte) error {
	sector := binary.LittleEndian.Uint64(boot[0x5c:])
	if sector == 0 || sector >= uint64(d.Size()/512) {
		return fmt.Errorf("GRUB's boot sector looks for its core image in sector %d, but the disk has %d", sector, d.Size()/512)
	}
	core := make([]byte, 512)
	if _, err := d.ReadAt(core, int64(sector)*512); err != nil {
		return fmt.Errorf("reading GRUB's core image: %w", err)
	}
	if bytes.Count(core, []byte{0}) == len(core) {
		return fmt.Errorf("GRUB's boot sector looks for its core image in sector %d, which is empty: "+
			"run grub-install for i386-pc in the image", sector)
	}
	return nil
}

// startsActive tells boot code that starts the active partition and can do nothing else.
func startsActive(boot []byte) bool {
	for _, words := range activeCodes {
		if bytes.Contains(boot, words) {
			return true
		}
	}
	return bytes.HasPrefix(boot, partedCode)
}

// activeStarts looks at the boot sector of the active partition.
func activeStarts(d disk.Disk, m *disk.MBR) error {
	for i := range 4 {
		e := m.Entry(i)
		if m.Raw[446+16*i] != disk.MBRActive || e.Sectors == 0 {
			continue
		}
		boot := make([]byte, 512)
		if _, err := d.ReadAt(boot, e.First*d.SectorSize()); err != nil {
			return fmt.Errorf("reading the boot sector of partition %d: %w", i+1, err)
		}
		if err := startable(boot); err != nil {
			return fmt.Errorf("the active partition %d: %w", i+1, err)
		}
		return nil
	}
	return errors.New("its boot code starts the active partition, but none of its partitions is active: " +
		"mark the one with the boot loader, or install GRUB")
}

// hasActive looks for the partition that syslinux's boot code for GPT starts.
func hasActive(t *disk.GPT) error {
	for _, e := range t.Entries() {
		if e.Attributes&legacyActive != 0 {
			return nil
		}
	}
	return errors.New("its boot code starts the partition with the attribute \"legacy BIOS bootable\", but none has it")
}

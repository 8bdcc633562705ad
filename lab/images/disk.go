package images

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The disk of every image, in sectors of 512 bytes: GPT, then a BIOS boot partition with GRUB's
// core, then the EFI system partition, then, if there is one, the root file system.
const (
	sector     = 512
	coreStart  = 2048
	coreLength = 2048
	espStart   = coreStart + coreLength
	gptTail    = 2048 // room for the second table, and a round end
)

// espLabel is how GRUB finds its configuration, whatever disk the firmware calls first.
const espLabel = "BILLETESP"

// espFile is one file of the EFI system partition.
type espFile struct {
	at   string // "EFI/BOOT/BOOTX64.EFI"
	from string // path on this host
}

// layout is what makeDisk puts together.
type layout struct {
	grubConfig string // GRUB's configuration on the EFI system partition
	espFiles   []espFile
	espMiB     int
	root       string // file with the root file system, a multiple of a sector; "": none
	diskGUID   string
	modules    []string // of GRUB, besides grubModules
}

// grubModules are linked into both cores; the platform's disk driver comes on top.
var grubModules = strings.Fields("part_gpt part_msdos fat ext2 iso9660 normal linux echo cat serial terminal search search_label " +
	"configfile test sleep true halt reboot")

// earlyConfig is all that the cores know: where the real configuration is.
const earlyConfig = `search --no-floppy --set=root --label ` + espLabel + `
set prefix=($root)/grub
configfile ($root)/grub/grub.cfg
`

// serialConfig sends GRUB's words to the first serial line, which is all the lab can see.
const serialConfig = `if serial --unit=0 --speed=115200; then
  terminal_input serial
  terminal_output serial
fi
`

// makeDisk writes a raw disk image that starts from BIOS and from UEFI.
func (b *build) makeDisk(ctx context.Context, l layout, out string) error {
	core, efi, err := b.grubCores(ctx, l.modules)
	if err != nil {
		return err
	}
	config, err := b.write("grub.cfg", l.grubConfig)
	if err != nil {
		return err
	}
	files := append([]espFile{{"EFI/BOOT/BOOTX64.EFI", efi}, {"grub/grub.cfg", config}}, l.espFiles...)
	esp, err := b.makeESP(ctx, files, l.espMiB)
	if err != nil {
		return err
	}
	if err := b.partition(ctx, l, out); err != nil {
		return err
	}
	disk, err := os.OpenFile(out, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("opening the disk image: %w", err)
	}
	defer disk.Close()
	if err := copyAt(disk, esp, espStart*sector); err != nil {
		return err
	}
	if l.root != "" {
		if err := copyAt(disk, l.root, int64(espStart+l.espMiB*2048)*sector); err != nil {
			return err
		}
	}
	return installGRUB(disk, core)
}

// grubCores makes GRUB for BIOS and for UEFI.
func (b *build) grubCores(ctx context.Context, more []string) (core []byte, efi string, err error) {
	early, err := b.write("early.cfg", earlyConfig)
	if err != nil {
		return nil, "", err
	}
	bios, efi := filepath.Join(b.dir, "core.img"), filepath.Join(b.dir, "bootx64.efi")
	for _, c := range []struct {
		format, out string
		extra       []string
	}{{"i386-pc", bios, []string{"biosdisk"}}, {"x86_64-efi", efi, []string{"efi_gop", "efi_uga"}}} {
		args := append([]string{"-O", c.format, "-p", "/grub", "-c", early, "-o", c.out}, slices.Concat(grubModules, more, c.extra)...)
		if err := b.command(ctx, "grub-mkimage", args...); err != nil {
			return nil, "", err
		}
	}
	core, err = os.ReadFile(bios)
	return core, efi, err
}

// makeESP makes the EFI system partition's FAT file system.
func (b *build) makeESP(ctx context.Context, files []espFile, mib int) (string, error) {
	esp := filepath.Join(b.dir, "esp.fat")
	f, err := os.Create(esp)
	if err != nil {
		return "", fmt.Errorf("making the EFI system partition: %w", err)
	}
	if err := errors.Join(f.Truncate(int64(mib)<<20), f.Close()); err != nil {
		return "", fmt.Errorf("making the EFI system partition: %w", err)
	}
	width := "12"
	if mib >= 16 {
		width = "16"
	}
	if err := b.command(ctx, "mkfs.vfat", "--invariant", "-F", width, "-n", espLabel, "-i", "b111e7e5", esp); err != nil {
		return "", err
	}
	made := map[string]bool{}
	for _, file := range files {
		parts := strings.Split(file.at, "/")
		for i := 1; i < len(parts); i++ {
			dir := strings.Join(parts[:i], "/")
			if made[dir] {
				continue
			}
			made[dir] = true
			if err := b.command(ctx, "mmd", "-i", esp, "::/"+dir); err != nil {
				return "", err
			}
		}
		if err := b.command(ctx, "mcopy", "-i", esp, file.from, "::/"+file.at); err != nil {
			return "", err
		}
	}
	return esp, nil
}

// partition makes the file and its GPT. The GUIDs are fixed, so equal contents give equal bytes.
func (b *build) partition(ctx context.Context, l layout, out string) error {
	rootSectors := 0
	if l.root != "" {
		info, err := os.Stat(l.root)
		if err != nil {
			return fmt.Errorf("measuring the root file system: %w", err)
		}
		rootSectors = int(info.Size() / sector)
	}
	espEnd := espStart + l.espMiB*2048 - 1
	size := int64(espEnd+1+rootSectors+gptTail) * sector
	f, err := os.Create(out)
	if err != nil {
		return fmt.Errorf("making the disk image: %w", err)
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return fmt.Errorf("making the disk image: %w", err)
	}
	args := []string{"--clear", "--disk-guid", l.diskGUID}
	for i, p := range []struct {
		first, last int
		code, name  string
	}{{coreStart, espStart - 1, "ef02", "grub"}, {espStart, espEnd, "ef00", "esp"}, {espEnd + 1, espEnd + rootSectors, "8304", "root"}} {
		if p.last < p.first {
			continue
		}
		n := strconv.Itoa(i + 1)
		args = append(args, "--new", fmt.Sprintf("%s:%d:%d", n, p.first, p.last), "--typecode", n+":"+p.code,
			"--change-name", n+":"+p.name, "--partition-guid", n+":"+l.diskGUID[:len(l.diskGUID)-1]+n)
	}
	return b.command(ctx, "sgdisk", append(args, out)...)
}

// copyAt copies a file into the disk image and leaves holes where it has only zeros.
func copyAt(disk *os.File, from string, offset int64) error {
	f, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("filling a partition: %w", err)
	}
	defer f.Close()
	buf := make([]byte, 1<<20)
	for {
		n, err := io.ReadFull(f, buf)
		if !allZero(buf[:n]) {
			if _, err := disk.WriteAt(buf[:n], offset); err != nil {
				return fmt.Errorf("filling a partition: %w", err)
			}
		}
		offset += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("filling a partition: %w", err)
		}
	}
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// Offsets inside GRUB's boot.img and the first sector of its core (GRUB's
// include/grub/i386/pc/boot.h and the block list at the end of diskboot.S).
const (
	bootCodeEnd   = 0x1b8 // what follows in sector 0 is the protective MBR
	kernelSector  = 0x5c  // u64: where the core begins
	bootDrive     = 0x64  // u8: 0xff, the drive the BIOS booted from
	driveCheck    = 0x66  // two bytes of a jump around a floppy work-around; NOPs for disks
	blockList     = 0x1f4 // in the core: u64 first sector, u16 number, u16 segment
	coreSegment   = 0x820
	coreSizeLimit = coreLength * sector
)

// installGRUB writes the BIOS boot code by its bytes, as grub-bios-setup would on a device.
func installGRUB(disk *os.File, core []byte) error {
	boot, err := os.ReadFile("/usr/lib/grub/i386-pc/boot.img")
	if err != nil {
		return fmt.Errorf("installing GRUB: %w", err)
	}
	if len(boot) < sector || len(core) < sector || len(core) > coreSizeLimit {
		return fmt.Errorf("installing GRUB: its parts have %d and %d bytes; want %d and up to %d", len(boot), len(core), sector, coreSizeLimit)
	}
	boot, core = patched(boot, core)
	if _, err := disk.WriteAt(boot[:bootCodeEnd], 0); err != nil {
		return fmt.Errorf("installing GRUB: %w", err)
	}
	if _, err := disk.WriteAt(core, coreStart*sector); err != nil {
		return fmt.Errorf("installing GRUB: %w", err)
	}
	return nil
}

// patched returns copies of GRUB's parts that know where they are.
func patched(boot, core []byte) (b, c []byte) {
	b = append(b, boot...)
	binary.LittleEndian.PutUint64(b[kernelSector:], coreStart)
	b[bootDrive] = 0xff
	b[driveCheck], b[driveCheck+1] = 0x90, 0x90
	c = append(c, core...)
	for len(c)%sector != 0 {
		c = append(c, 0)
	}
	binary.LittleEndian.PutUint64(c[blockList:], coreStart+1)
	binary.LittleEndian.PutUint16(c[blockList+8:], uint16(len(c)/sector-1))
	binary.LittleEndian.PutUint16(c[blockList+10:], coreSegment)
	return b, c
}

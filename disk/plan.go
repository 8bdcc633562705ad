package disk

import (
	"errors"
	"fmt"
	"math"

	"github.com/billet-metal/billet/wire"
)

// Role is what a partition of a partitioned disk is for; in a GPT it is also its name.
type Role string

// The roles, in the order in which partitions lie on the disk: what a rebuild keeps comes before
// what it changes, and the root partition comes last, so that an instance may grow it.
const (
	BIOSBoot  Role = "bios_grub" // where GRUB keeps its core on a GPT that a BIOS starts from
	ESPRole   Role = "esp"
	Ephemeral Role = "ephemeral"
	Swap      Role = "swap"
	Root      Role = "root"

	RAIDMember Role = "raid" // of a disk that is divided for software RAID
)

// Partition is one partition of a disk.
type Partition struct {
	Role           Role
	Number         int   // from 1
	Offset, Length int64 // bytes
}

// Sizes in MiB.
const (
	biosBootMB = 1
	espMB      = 200 // what Ironic gives it
)

// plan is how a disk will be partitioned.
type plan struct {
	gpt   bool
	parts []Partition
}

// planDisk decides about the partitions of a partition image. GPT is what UEFI starts from, MBR what
// every BIOS understands; the label asked for wins. It refuses what does not fit.
func planDisk(img wire.ImageInfo, d Disk, drive int64) (plan, error) {
	want := img.PartitionImage
	if want == nil || want.RootMB <= 0 {
		return plan{}, errors.New("a partition image needs root_mb: the size of the root partition in MiB, at least 1")
	}
	if want.SwapMB < 0 || want.EphemeralMB < 0 {
		return plan{}, fmt.Errorf("swap_mb is %d and ephemeral_mb %d; 0 and more are allowed", want.SwapMB, want.EphemeralMB)
	}
	if want.PreserveEphemeral && want.EphemeralMB == 0 {
		return plan{}, errors.New("preserve_ephemeral is set, but ephemeral_mb is 0: name the size of the partition that is to be kept")
	}
	gpt, err := isGPT(img)
	if err != nil {
		return plan{}, err
	}
	local := img.BootOption != "netboot"
	p := plan{gpt: gpt}
	at := int64(mebibyte)
	for _, w := range []struct {
		role Role
		mb   int
		made bool
	}{
		{BIOSBoot, biosBootMB, gpt && local && img.BootMode != "uefi"},
		{ESPRole, espMB, local && img.BootMode == "uefi"},
		{Ephemeral, want.EphemeralMB, want.EphemeralMB > 0},
		{Swap, want.SwapMB, want.SwapMB > 0},
		{Root, want.RootMB, true},
	} {
		if w.made {
			length := int64(w.mb) * mebibyte
			p.parts = append(p.parts, Partition{Role: w.role, Number: len(p.parts) + 1, Offset: at, Length: length})
			at += length
		}
	}
	return p, p.fits(d.Size(), d.SectorSize(), drive)
}

func isGPT(img wire.ImageInfo) (bool, error) {
	switch img.DiskLabel {
	case "gpt":
		return true, nil
	case "msdos":
		return false, nil
	case "":
		return img.BootMode == "uefi", nil
	}
	return false, fmt.Errorf("disk_label is %q; gpt and msdos are allowed", img.DiskLabel)
}

// fits checks that the partitions and the config drive fit the disk and its table.
func (p plan) fits(size, sector, drive int64) error {
	last := p.parts[len(p.parts)-1]
	need := last.Offset + last.Length + (drive+mebibyte-1)/mebibyte*mebibyte + mebibyte // the second table's MiB
	if need > size {
		return fmt.Errorf("the partitions asked for (%s) need %d bytes (%s), but the disk has %d (%s)", p, need, human(need), size, human(size))
	}
	primaries := len(p.parts)
	if drive > 0 {
		primaries++
	}
	if !p.gpt && primaries > 4 {
		return fmt.Errorf("the partitions asked for (%s, and the config drive) are %d, but an MBR holds 4: set the capability disk_label to gpt", p, primaries)
	}
	if !p.gpt && (last.Offset+last.Length)/sector > math.MaxUint32 {
		return fmt.Errorf("the partitions asked for (%s) reach past %s, which an MBR cannot say: set the capability disk_label to gpt",
			p, human(sector<<32))
	}
	return nil
}

func (p plan) String() string {
	text := ""
	for i, part := range p.parts {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%s %d MiB", part.Role, part.Length/mebibyte)
	}
	return text
}

// find returns the partition of a role.
func find(parts []Partition, role Role) (Partition, bool) {
	for _, p := range parts {
		if p.Role == role {
			return p, true
		}
	}
	return Partition{}, false
}

// keepsEphemeral checks, before anything is touched, that the disk has the ephemeral partition the
// plan has, where the plan has it.
func (p plan) keepsEphemeral(d Disk) error {
	want, _ := find(p.parts, Ephemeral)
	have := partitions(d)
	for _, s := range have {
		if s.offset != want.Offset || s.length != want.Length {
			continue
		}
		fs, err := ProbeFS(window{d, s.offset, s.length})
		if err != nil {
			return err
		}
		if fs.Type == "" {
			return fmt.Errorf("the ephemeral partition is to be kept, but the partition of %d bytes at byte %d holds no file system that is known: nothing was written; deploy without preserve_ephemeral", s.length, s.offset)
		}
		return nil
	}
	return fmt.Errorf("the ephemeral partition is to be kept, but the disk has no partition of %d bytes at byte %d (it has %d partitions): nothing was written; use the sizes, boot mode and disk label of the deployment before, or deploy without preserve_ephemeral",
		want.Length, want.Offset, len(have))
}

// window is a part of a disk as a disk.
type window struct {
	d              Disk
	offset, length int64
}

func (w window) check(off, length int64) error {
	if off < 0 || length < 0 || off+length > w.length {
		return fmt.Errorf("bytes %d to %d are outside of a partition of %d bytes", off, off+length, w.length)
	}
	return nil
}

// ReadAt reads inside the partition.
func (w window) ReadAt(p []byte, off int64) (int, error) {
	if err := w.check(off, int64(len(p))); err != nil {
		return 0, err
	}
	return w.d.ReadAt(p, w.offset+off)
}

// WriteAt refuses to write a byte outside of the partition.
func (w window) WriteAt(p []byte, off int64) (int, error) {
	if err := w.check(off, int64(len(p))); err != nil {
		return 0, err
	}
	return w.d.WriteAt(p, w.offset+off)
}

// Zero refuses to zero a byte outside of the partition.
func (w window) Zero(off, length int64) error {
	if err := w.check(off, length); err != nil {
		return err
	}
	return w.d.Zero(w.offset+off, length)
}

// Depth is the disk's, where what is aligned in the partition is aligned on the disk.
func (w window) Depth() int {
	if w.offset%requestAlign != 0 {
		return 1
	}
	return depthOf(w.d)
}

func (w window) Size() int64       { return w.length }
func (w window) SectorSize() int64 { return w.d.SectorSize() }
func (w window) Sync() error       { return w.d.Sync() }

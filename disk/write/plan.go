package write

import (
	"errors"
	"fmt"
	"math"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/wire"
)

// Sizes in MiB.
const (
	biosBootMB = 1
	espMB      = 200 // what Ironic gives it
)

// plan is how a disk will be partitioned.
type plan struct {
	gpt   bool
	parts []disk.Partition
}

// planDisk decides about the partitions of a partition image. GPT is what UEFI starts from, MBR what
// every BIOS understands; the label asked for wins. It refuses what does not fit.
func planDisk(img wire.ImageInfo, d disk.Disk, drive int64) (plan, error) {
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
		role disk.Role
		mb   int
		made bool
	}{
		{disk.BIOSBoot, biosBootMB, gpt && local && img.BootMode != "uefi"},
		{disk.ESPRole, espMB, local && img.BootMode == "uefi"},
		{disk.Ephemeral, want.EphemeralMB, want.EphemeralMB > 0},
		{disk.Swap, want.SwapMB, want.SwapMB > 0},
		{disk.Root, want.RootMB, true},
	} {
		if w.made {
			length := int64(w.mb) * mebibyte
			p.parts = append(p.parts, disk.Partition{Role: w.role, Number: len(p.parts) + 1, Offset: at, Length: length})
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
		return fmt.Errorf("the partitions asked for (%s) need %d bytes (%s), but the disk has %d (%s)", p, need, disk.HumanSize(need),
			size, disk.HumanSize(size))
	}
	primaries := len(p.parts)
	if drive > 0 {
		primaries++
	}
	if !p.gpt && primaries > 4 {
		return fmt.Errorf("the partitions asked for (%s, and the config drive) are %d, but an MBR holds 4: set the capability "+
			"disk_label to gpt", p, primaries)
	}
	if !p.gpt && (last.Offset+last.Length)/sector > math.MaxUint32 {
		return fmt.Errorf("the partitions asked for (%s) reach past %s, which an MBR cannot say: set the capability disk_label to gpt",
			p, disk.HumanSize(sector<<32))
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

// keepsEphemeral checks, before anything is touched, that the disk has the ephemeral partition the
// plan has, in the same place.
func (p plan) keepsEphemeral(d disk.Disk) error {
	want, _ := find(p.parts, disk.Ephemeral)
	have := disk.Areas(d)
	for _, p := range have {
		if p.Offset != want.Offset || p.Length != want.Length {
			continue
		}
		fs, err := disk.ProbeFS(disk.Within(d, p.Offset, p.Length))
		if err != nil {
			return err
		}
		if fs.Type == "" {
			return fmt.Errorf("the ephemeral partition is to be kept, but the partition of %d bytes at byte %d holds no file system "+
				"that is known: nothing was written; deploy without preserve_ephemeral",
				p.Length, p.Offset)
		}
		return nil
	}
	return fmt.Errorf("the ephemeral partition is to be kept, but the disk has no partition of %d bytes at byte %d (it has %d "+
		"partitions): nothing was written; use the sizes, boot mode and disk label of the deployment before, or deploy without "+
		"preserve_ephemeral",
		want.Length, want.Offset, len(have))
}

// find returns the partition of a role.
func find(parts []disk.Partition, role disk.Role) (disk.Partition, bool) {
	for _, p := range parts {
		if p.Role == role {
			return p, true
		}
	}
	return disk.Partition{}, false
}

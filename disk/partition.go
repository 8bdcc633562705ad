package disk

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/wire"
)

// partImage is how a partition image comes onto a disk: the disk is partitioned, the image goes
// into the root partition, and the others get what they hold. The nil *partImage is a whole-disk
// image, which brings its own partitions.
type partImage struct {
	plan plan
	keep bool // the ephemeral partition stays as it is
}

// planFor decides, before anything on the disk is touched, how it will be partitioned.
func planFor(d Disk, img wire.ImageInfo, drive int64) (*partImage, error) {
	if img.ImageType != "partition" {
		return nil, nil
	}
	p, err := planDisk(img, d, drive)
	if err != nil {
		return nil, fmt.Errorf("partitioning the disk for image %s: %w", img.ID, err)
	}
	if f := img.EphemeralFormat; f != "" && !slices.Contains(EphemeralFormats, f) {
		return nil, fmt.Errorf("ephemeral_format is %q; this agent makes %v", f, EphemeralFormats)
	}
	if ephemeral, ok := find(p.parts, Ephemeral); ok && img.EphemeralFormat == vfat {
		if _, err := fat32Cluster(ephemeral.Length, d.SectorSize()); err != nil {
			return nil, fmt.Errorf("ephemeral_format: %w", err)
		}
	}
	if img.PreserveEphemeral {
		if err := p.keepsEphemeral(d); err != nil {
			return nil, err
		}
	}
	return &partImage{plan: p, keep: img.PreserveEphemeral}, nil
}

func (p *partImage) list() []Partition {
	if p == nil {
		return nil
	}
	return p.plan.parts
}

// room refuses an image that does not fit where it goes.
func (p *partImage) room(img wire.ImageInfo, info image.Info, d Disk, drive int64) error {
	if p == nil {
		return fitsDisk(img, info, d, drive)
	}
	if info.Format == image.GPT || info.Format == image.ISO {
		return errWholeDisk(img)
	}
	root, _ := find(p.plan.parts, Root)
	if info.VirtualSize > root.Length {
		return fmt.Errorf("image %s needs %d bytes (%s), but the root partition (root_gb) has %d (%s)", img.ID, info.VirtualSize, human(info.VirtualSize), root.Length, human(root.Length))
	}
	return nil
}

// reserve is how much of the target must stay free: a whole disk has its config drive behind the image.
func (p *partImage) reserve(drive int64) int64 {
	if p == nil {
		return drive
	}
	return 0
}

func errWholeDisk(img wire.ImageInfo) error {
	return fmt.Errorf("image %s is deployed as a partition image, but it holds a whole disk with partitions of its own: set image_type to whole-disk", img.ID)
}

// target is where the image goes.
func (p *partImage) target(h *held) Disk {
	if p == nil {
		return h
	}
	root, _ := find(p.plan.parts, Root)
	return window{h, root.Offset, root.Length}
}

// begin wipes the disk's tables and the ends of its new partitions. An ephemeral partition that is
// kept stays in a table all the time: when the power fails, the next try must still find it.
func (p *partImage) begin(d Disk) (*held, error) {
	h, err := hold(d)
	if err != nil || p == nil {
		return h, err
	}
	if p.keep {
		ephemeral, _ := find(p.plan.parts, Ephemeral)
		if err := writeTable(d, p.plan.gpt, []Partition{ephemeral}); err != nil {
			return nil, err
		}
		if err := d.Sync(); err != nil {
			return nil, err
		}
	}
	for _, part := range p.plan.parts {
		if part.Role == Ephemeral && p.keep {
			continue
		}
		n := min(signatureSize, part.Length)
		if err := errors.Join(h.Zero(part.Offset, n), h.Zero(part.Offset+part.Length-n, n)); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// finish puts the partition table right once the image is in its place and verified, and fills the
// other partitions. It returns the root file system of a partition image.
func (p *partImage) finish(h *held, img wire.ImageInfo, info image.Info) (FS, error) {
	if p == nil {
		if err := fitTable(h, info.VirtualSize); err != nil {
			return FS{}, err
		}
		return FS{}, partitionsMountable(h)
	}
	fs, err := rootOf(p.target(h), img)
	if err != nil {
		return FS{}, err
	}
	for _, part := range p.plan.parts {
		w := window{h, part.Offset, part.Length}
		switch part.Role {
		case Swap:
			err = makeSwap(w)
		case ESPRole:
			err = makeFAT(w, part.Offset/h.SectorSize())
		}
		if err != nil {
			return FS{}, err
		}
	}
	return fs, writeTable(h, p.plan.gpt, p.plan.parts)
}

// rootOf makes sure that what was written is a root file system.
func rootOf(d Disk, img wire.ImageInfo) (FS, error) {
	m, err := readMBR(d)
	if err != nil {
		return FS{}, err
	}
	if m != nil {
		return FS{}, errWholeDisk(img)
	}
	fs, err := ProbeFS(d)
	if err != nil {
		return FS{}, err
	}
	if !slices.Contains(rootTypes, fs.Type) {
		what := fs.Type
		if what == "" {
			what = "no file system that is known"
		}
		return FS{}, fmt.Errorf("image %s is deployed as a partition image, but it holds %s; a root file system is wanted: %v", img.ID, what, rootTypes)
	}
	return fs, mountable(d, "image "+img.ID)
}

// rootTypes are the file systems that can be found by their UUID and mounted to install GRUB.
var rootTypes = []string{"ext4", "xfs", "btrfs"}

// RootFS finds the partition of a disk whose file system has the given UUID.
func RootFS(d Disk, uuid string) (Partition, FS, error) {
	for _, p := range numbered(d) {
		if p.Length < signatureSize {
			continue
		}
		fs, err := ProbeFS(window{d, p.Offset, p.Length})
		if err != nil {
			return Partition{}, FS{}, err
		}
		if fs.UUID == uuid {
			p.Role = Root
			return p, fs, nil
		}
	}
	return Partition{}, FS{}, fmt.Errorf("no partition of the disk holds the root file system %s", uuid)
}

// FindESP finds the EFI system partition of a disk.
func FindESP(d Disk) (Partition, error) {
	l, err := findESP(d)
	if err != nil {
		return Partition{}, err
	}
	sector := d.SectorSize()
	return Partition{Role: ESPRole, Number: int(l.Partition.Number), Offset: int64(l.Partition.Start) * sector, Length: int64(l.Partition.Sectors) * sector}, nil
}

// PartitionNode is the kernel's name of a partition: a "p" parts the numbers where the disk's own
// name ends in one ("/dev/nvme0n1p2", "/dev/sda2").
func PartitionNode(disk string, number int) string {
	if last := disk[len(disk)-1]; last >= '0' && last <= '9' {
		disk += "p"
	}
	return disk + strconv.Itoa(number)
}

package write

import (
	"errors"
	"fmt"
	"slices"

	"github.com/billet-metal/billet/disk"
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
func planFor(d disk.Disk, img wire.ImageInfo, drive int64) (*partImage, error) {
	if img.ImageType != "partition" {
		return nil, nil
	}
	p, err := planDisk(img, d, drive)
	if err != nil {
		return nil, fmt.Errorf("partitioning the disk for image %s: %w", img.ID, err)
	}
	if f := img.EphemeralFormat; f != "" && !slices.Contains(disk.EphemeralFormats, f) {
		return nil, fmt.Errorf("ephemeral_format is %q; this agent makes %v", f, disk.EphemeralFormats)
	}
	if ephemeral, ok := find(p.parts, disk.Ephemeral); ok && img.EphemeralFormat == vfat {
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

func (p *partImage) list() []disk.Partition {
	if p == nil {
		return nil
	}
	return p.plan.parts
}

// room refuses an image that does not fit where it goes.
func (p *partImage) room(img wire.ImageInfo, info image.Info, d disk.Disk, drive int64) error {
	if p == nil {
		return fitsDisk(img, info, d, drive)
	}
	if info.Format == image.GPT || info.Format == image.ISO {
		return errWholeDisk(img)
	}
	root, _ := find(p.plan.parts, disk.Root)
	if info.VirtualSize > root.Length {
		return fmt.Errorf("image %s needs %d bytes (%s), but the root partition (root_gb) has %d (%s)", img.ID, info.VirtualSize,
			disk.HumanSize(info.VirtualSize), root.Length, disk.HumanSize(root.Length))
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
	return fmt.Errorf("image %s is deployed as a partition image, but it holds a whole disk with partitions of its own: set "+
		"image_type to whole-disk", img.ID)
}

// target is where the image goes.
func (p *partImage) target(h *held) disk.Disk {
	if p == nil {
		return h
	}
	root, _ := find(p.plan.parts, disk.Root)
	return disk.Within(h, root.Offset, root.Length)
}

// begin wipes the disk's tables and the ends of its new partitions. An ephemeral partition that is
// kept stays in a table all the time: when the power fails, the next try must still find it.
func (p *partImage) begin(d disk.Disk) (*held, error) {
	h, err := hold(d)
	if err != nil || p == nil {
		return h, err
	}
	if p.keep {
		ephemeral, _ := find(p.plan.parts, disk.Ephemeral)
		if err := disk.WriteTable(d, p.plan.gpt, []disk.Partition{ephemeral}); err != nil {
			return nil, err
		}
		if err := d.Sync(); err != nil {
			return nil, err
		}
	}
	for _, part := range p.plan.parts {
		if part.Role == disk.Ephemeral && p.keep {
			continue
		}
		n := min(disk.SignatureSize, part.Length)
		if err := errors.Join(h.Zero(part.Offset, n), h.Zero(part.Offset+part.Length-n, n)); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// finish puts the partition table right once the image is in its place and verified, and fills the
// other partitions. It returns the root file system of a partition image.
func (p *partImage) finish(h *held, img wire.ImageInfo, info image.Info) (disk.FS, error) {
	if p == nil {
		if err := disk.FitTable(h, info.VirtualSize); err != nil {
			return disk.FS{}, err
		}
		return disk.FS{}, partitionsMountable(h)
	}
	fs, err := rootOf(p.target(h), img)
	if err != nil {
		return disk.FS{}, err
	}
	for _, part := range p.plan.parts {
		w := disk.Within(h, part.Offset, part.Length)
		switch part.Role {
		case disk.Swap:
			err = makeSwap(w)
		case disk.ESPRole:
			err = makeFAT(w, part.Offset/h.SectorSize())
		}
		if err != nil {
			return disk.FS{}, err
		}
	}
	return fs, disk.WriteTable(h, p.plan.gpt, p.plan.parts)
}

// rootOf makes sure that what was written is a root file system.
func rootOf(d disk.Disk, img wire.ImageInfo) (disk.FS, error) {
	m, err := disk.ReadMBR(d)
	if err != nil {
		return disk.FS{}, err
	}
	if m != nil {
		return disk.FS{}, errWholeDisk(img)
	}
	fs, err := disk.ProbeFS(d)
	if err != nil {
		return disk.FS{}, err
	}
	if !slices.Contains(disk.RootTypes, fs.Type) {
		what := fs.Type
		if what == "" {
			what = "no file system that is known"
		}
		return disk.FS{}, fmt.Errorf("image %s is deployed as a partition image, but it holds %s; a root file system is wanted: %v",
			img.ID, what, disk.RootTypes)
	}
	return fs, mountable(d, "image "+img.ID)
}

package write

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/bootable"
	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/wire"
)

// rehearse does to a picture of the disk what will be done to the disk once the image is on it: the
// partition table is fitted, the config drive gets its place, and what firmware starts is looked for. What
// fails here fails while the disk still holds what it held. What cannot be seen of the image yet is judged
// when it is there.
func (w *Writer) rehearse(d disk.Disk, img wire.ImageInfo, info image.Info, g io.ReaderAt, parts *partImage, drive []byte) error {
	c := &picture{image: g, size: d.Size(), sector: d.SectorSize()}
	if parts != nil {
		root, _ := find(parts.plan.parts, disk.Root)
		c.size = root.Length
		_, err := rootOf(c, img)
		return unlessUnseen(err)
	}
	err := disk.FitTable(c, info.VirtualSize)
	if err == nil {
		err = partitionsMountable(c)
	}
	if unlessUnseen(err) != nil {
		return refused(img, err)
	}
	if len(drive) > 0 {
		if _, err := placeConfigDrive(c, int64(len(drive))); unlessUnseen(err) != nil {
			return refused(img, fmt.Errorf("adding the config drive: %w", err))
		}
	}
	return unlessUnseen(w.proveBootable(c, img))
}

func refused(img wire.ImageInfo, err error) error {
	return fmt.Errorf("image %s cannot go to this disk: %w", img.ID, err)
}

func unlessUnseen(err error) error {
	if errors.Is(err, errUnseen) {
		return nil
	}
	return err
}

// proveBootable refuses a whole-disk image that no firmware of the mode asked for would start.
func (w *Writer) proveBootable(d disk.Disk, img wire.ImageInfo) error {
	err := bootable.Check(d, img.BootMode, w.Arch)
	if err == nil || errors.Is(err, errUnseen) {
		return err
	}
	err = fmt.Errorf("image %s would not start in %s mode: %w", img.ID, strings.ToUpper(img.BootMode), err)
	if w.AnyBoot {
		w.Log.Warn("the image is written all the same, as asked for", "error", err)
		return nil
	}
	return err
}

// Package write puts images on disks: it streams and verifies them, partitions the disk where the image
// does not, and adds the config drive. It refuses what does not fit, or would not start, before the first
// byte is written, and never leaves a disk bootable whose image was not verified.
package write

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/wire"
)

// Writer writes images to disks.
type Writer struct {
	Client   *http.Client
	MD5      bool     // MD5 checksums are allowed
	Formats  []string // permitted image formats; empty: all that can be written
	Log      *slog.Logger
	Arch     string                                 // of the machine that boots the disk, as Go names it; "" is this one's
	AnyBoot  bool                                   // also write what no firmware would start
	Progress func(detail string, done, total int64) // bytes of the image file; may be nil
}

// Written says what a write did.
type Written struct {
	Format   image.Format
	FileSize int64 // bytes downloaded
	Size     int64 // bytes of the disk that the image covers
	Took     time.Duration

	// Of a partition image only.
	Parts []disk.Partition
	Root  disk.FS
}

// WriteImage streams the image to the disk, verifies it, puts the partition table right for the
// disk's size and adds the config drive (base64 of a gzipped image, or a URL; "" none). The disk
// becomes bootable in the very last write, after everything was verified. Writing again after a
// crash is safe.
func (w *Writer) WriteImage(ctx context.Context, d disk.Disk, img wire.ImageInfo, configDrive string) (Written, error) {
	start := time.Now()
	sum, err := newChecksum(img, w.MD5)
	if err != nil {
		return Written{}, err
	}
	drive, err := w.fetchConfigDrive(ctx, configDrive, d.SectorSize())
	if err != nil {
		return Written{}, err
	}
	if err := w.firmwareReads(d, img); err != nil {
		return Written{}, err
	}
	parts, err := planFor(d, img, int64(len(drive)))
	if err != nil {
		return Written{}, err
	}
	src, err := openSource(ctx, w.Client, img)
	if err != nil {
		return Written{}, err
	}
	meta := newBlocks(ctx, src)
	defer meta.close()
	info, layout, err := w.inspect(meta, img)
	if err == nil {
		err = parts.room(img, info, d, int64(len(drive)))
	}
	var ahead io.ReaderAt
	if err == nil {
		ahead, err = lookInto(meta, info, layout)
	}
	if err == nil {
		err = w.rehearse(d, img, info, ahead, parts, drive)
	}
	if err != nil {
		return Written{}, err
	}
	meta.close()
	w.progress("wiping old partition tables", 0, src.size)
	h, err := parts.begin(d)
	if err != nil {
		return Written{}, err
	}
	if info.Packed != image.Unpacked {
		info.VirtualSize, err = w.copyPacked(ctx, parts.target(h), src, meta, sum, img, info.Packed, parts.reserve(int64(len(drive))))
	} else {
		err = w.copy(ctx, parts.target(h), src, meta, layout, sum)
	}
	if err != nil {
		return Written{}, err
	}
	if err := sum.verify(shown(src.url)); err != nil {
		return Written{}, err
	}
	w.progress("checksum verified", src.size, src.size)
	root, err := parts.finish(h, img, info)
	if err != nil {
		return Written{}, err
	}
	if len(drive) > 0 {
		if err := addConfigDrive(h, drive); err != nil {
			return Written{}, err
		}
	}
	if parts == nil {
		if err := w.proveBootable(h, img); err != nil {
			return Written{}, err
		}
	}
	if err := h.commit(); err != nil {
		return Written{}, err
	}
	return Written{Format: info.Format, FileSize: src.size, Size: info.VirtualSize, Took: time.Since(start), Parts: parts.list(),
		Root: root}, nil
}

func (w *Writer) progress(detail string, done, total int64) {
	if w.Progress != nil {
		w.Progress(detail, done, total)
	}
}

// inspect judges the image by its content before anything on the disk is touched.
func (w *Writer) inspect(r io.ReaderAt, img wire.ImageInfo) (image.Info, *image.Layout, error) {
	size := r.(*blocks).src.size
	info, err := image.Inspect(r, size)
	if err != nil {
		return image.Info{}, nil, fmt.Errorf("inspecting image %s: %w", img.ID, err)
	}
	if err := w.permitted(img, info.Format); err != nil {
		return image.Info{}, nil, err
	}
	if info.Packed != image.Unpacked {
		w.Log.Info("image inspected", "image", img.ID, "format", info.Format, "packed", info.Packed,
			"file_bytes", size, "disk_bytes_at_least", info.VirtualSize)
		return info, nil, nil
	}
	layout, err := image.ReadLayout(r, size)
	if err != nil {
		return image.Info{}, nil, fmt.Errorf("reading the tables of image %s: %w", img.ID, err)
	}
	w.Log.Info("image inspected", "image", img.ID, "format", info.Format, "file_bytes", size, "disk_bytes", info.VirtualSize,
		"extents", len(layout.Extents))
	return info, layout, nil
}

// lookInto reads what the image will put on the disk, as far as that can be known.
func lookInto(meta *blocks, info image.Info, layout *image.Layout) (io.ReaderAt, error) {
	if info.Packed == image.Unpacked {
		return newGuest(meta, layout), nil
	}
	return lookAhead(meta, meta.src.size, info.Packed)
}

// fitsDisk refuses a whole-disk image that is larger than the disk.
func fitsDisk(img wire.ImageInfo, info image.Info, d disk.Disk, drive int64) error {
	if info.VirtualSize > d.Size() {
		return fmt.Errorf("image %s needs %d bytes (%s), but the disk has %d (%s)",
			img.ID, info.VirtualSize, disk.HumanSize(info.VirtualSize), d.Size(), disk.HumanSize(d.Size()))
	}
	if info.VirtualSize+drive > d.Size() {
		return fmt.Errorf("image %s needs %d bytes and its config drive %d, but the disk has %d", img.ID, info.VirtualSize, drive, d.Size())
	}
	return nil
}

// permitted compares what the image is with what it was said to be. Raw is any content that is
// written byte for byte, so an image declared raw may be found to be gpt or iso.
func (w *Writer) permitted(img wire.ImageInfo, found image.Format) error {
	declared := image.Format(img.DiskFormat)
	plain := found == image.Raw || found == image.GPT || found == image.ISO
	switch {
	case declared == found, declared == "":
	case plain && (declared == image.Raw || declared == image.GPT && found != image.ISO):
	default:
		return fmt.Errorf("image %s is declared as %s but its content is %s: correct the declared disk format", img.ID, declared, found)
	}
	if len(w.Formats) > 0 && !slices.Contains(w.Formats, string(found)) && !(plain && slices.Contains(w.Formats, string(declared))) {
		return fmt.Errorf("image %s is %s; this service permits %v", img.ID, found, w.Formats)
	}
	return nil
}

// copy downloads the file once, hashing all of it, and writes each extent as it passes.
func (w *Writer) copy(ctx context.Context, to disk.Disk, src *source, meta *blocks, l *image.Layout, sum *checksum) error {
	if err := zeroGaps(to, l, ctx.Err); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	memory, err := newPool(chunks)
	if err != nil {
		return err
	}
	defer memory.close()
	q := newQueue(to, cancel)
	defer q.close() // before the memory that it writes from
	s := &sink{queue: q, extents: l.Extents}
	first := func(c *chunk) error {
		sum.sum.Write(c.data)
		return meta.check(c.data, c.off)
	}
	second := func(c *chunk) error {
		w.progress("writing", q.written(), src.size)
		return s.take(c)
	}
	open := func(ctx context.Context) io.Reader { return src.stream(ctx) }
	if err = pipeline(ctx, memory, open, first, second); err == nil {
		err = s.finish()
	}
	if err != nil {
		return fmt.Errorf("writing the image: %w", err)
	}
	return nil
}

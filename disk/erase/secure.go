package erase

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/ata"
	"github.com/billet-metal/billet/disk/nvme"
	"github.com/billet-metal/billet/disk/scsi"
)

// Options choose among the ways to erase a disk whole. The zero value overwrites.
type Options struct {
	ATA, NVMe bool // the disk's own commands may be used
	// Overwrite says that a disk whose own command failed is overwritten instead of failing.
	Overwrite bool
	Passes    Passes // of overwriting
}

// Hardware is how commands reach a disk beside reads and writes; nil fields: they do not.
type Hardware struct {
	NVMe nvme.Admin
	NSID uint32
	SCSI scsi.Transport // of ATA disks too
	// Purge is a card or eMMC's secure discard.
	Purge purger
}

// purger is a disk that discards what it holds so that its erase blocks are erased too; EOPNOTSUPP when it cannot.
type purger interface{ SecureDiscard() error }

// HardwareOf returns how commands reach an open disk, by its kernel name; a file has none.
func HardwareOf(d *disk.Device) (Hardware, error) {
	name := filepath.Base(d.Path())
	switch {
	case d.Number() == "":
	case strings.HasPrefix(name, "nvme"):
		f := nvme.File{F: d.File()}
		id, err := f.NSID()
		return Hardware{NVMe: f, NSID: id}, err
	case strings.HasPrefix(name, "sd"):
		return Hardware{SCSI: scsi.File{F: d.File()}}, nil
	case strings.HasPrefix(name, "mmcblk"):
		return Hardware{Purge: d}, nil
	}
	return Hardware{}, nil
}

// Unlock makes a disk answer again after an interrupted erase: it waits for an NVMe or SCSI disk's sanitize, and takes
// the password away from an ATA disk. One that keeps another password is an error that says so: nothing could
// be read or written.
func (h Hardware) Unlock(ctx context.Context) error {
	if h.NVMe != nil {
		return nvme.Recover(ctx, h.NVMe, sanitizeStall, func(int64, int64) {})
	}
	if h.SCSI == nil {
		return nil
	}
	if err := scsi.Recover(ctx, h.SCSI, sanitizeStall, func(int64, int64) {}); err != nil {
		return err
	}
	if _, err := ata.Unlock(h.SCSI); err != nil && !isUnsupported(err) {
		return err
	}
	return nil
}

// Result says how a disk was erased.
type Result struct {
	Method   string   // "NVMe format (user data erase)"
	Verified string   // how it was checked
	Passed   []string // better methods, with the reason why they were not it
}

// String says how a disk was erased, and why not in a better way.
func (e Result) String() string {
	text := e.Method + ", " + e.Verified
	if len(e.Passed) > 0 {
		text += "; not by " + strings.Join(e.Passed, ", not by ")
	}
	return text
}

// method is one way of the disk's own to erase itself.
type method struct {
	name string
	run  func(ctx context.Context, progress func(done, all int64)) (how string, err error)
}

// sanitizeStall is how long a sanitize may stand still.
const sanitizeStall = 2 * time.Hour

// methods are a disk's own ways, the best first.
func methods(hw Hardware, o Options) []method {
	list := nvmeMethods(hw, o, sanitizeFirst)
	if hw.SCSI != nil && o.ATA {
		list = append(list, method{"ATA security erase", func(ctx context.Context, progress func(done, all int64)) (string, error) {
			return ata.Erase(ctx, hw.SCSI, progress)
		}})
	}
	if hw.SCSI != nil {
		list = append(list, method{"SCSI sanitize", func(ctx context.Context, progress func(done, all int64)) (string, error) {
			return scsi.Sanitize(ctx, hw.SCSI, sanitizeStall, progress)
		}})
	}
	if hw.Purge != nil {
		list = append(list, method{"secure discard", func(context.Context, func(done, all int64)) (string, error) {
			return "by erase blocks", hw.Purge.SecureDiscard()
		}})
	}
	return list
}

// preference is which way of an NVMe disk comes first.
type preference int

const (
	sanitizeFirst preference = iota // reaches spare areas too
	formatFirst                     // mostly takes moments
)

func nvmeMethods(hw Hardware, o Options, first preference) []method {
	if hw.NVMe == nil || !o.NVMe {
		return nil
	}
	list := []method{
		{"NVMe sanitize", func(ctx context.Context, progress func(done, all int64)) (string, error) {
			id, err := nvme.Identify(hw.NVMe, hw.NSID)
			if err != nil {
				return "", err
			}
			return nvme.Sanitize(ctx, hw.NVMe, id, sanitizeStall, progress)
		}},
		{"NVMe format", func(ctx context.Context, progress func(done, all int64)) (string, error) {
			id, err := nvme.Identify(hw.NVMe, hw.NSID)
			if err != nil {
				return "", err
			}
			return nvme.Format(ctx, hw.NVMe, id, progress)
		}},
	}
	if first == formatFirst {
		slices.Reverse(list)
	}
	return list
}

func isUnsupported(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, nvme.ErrUnsupported) || errors.Is(err, ata.ErrUnsupported) ||
		errors.Is(err, scsi.ErrUnsupported)
}

// Disk erases a whole disk with the best of its own methods, else by overwriting. Its metadata go
// first: whatever happens later, nothing boots from it. A method of the disk's own is believed only
// when marks written before it cannot be read back afterwards. progress counts bytes of the disk.
func Disk(ctx context.Context, d disk.Disk, hw Hardware, o Options, progress func(method string, done int64)) (Result, error) {
	out, done, err := eraseByOwn(ctx, d, methods(hw, o), o, progress)
	if done || err != nil {
		return out, err
	}
	out.Method, out.Verified = o.Passes.String(), "64 samples read back"
	return out, overwrite(ctx, d, o.Passes, progress)
}

// eraseByOwn erases a disk's metadata, and then the whole disk by the first of its own methods that can and may be used;
// done reports whether one did.
func eraseByOwn(ctx context.Context, d disk.Disk, list []method, o Options, progress func(method string, done int64)) (out Result,
	done bool, err error) {
	if ctx.Err() != nil {
		return out, false, fmt.Errorf("nothing was erased: %w", context.Cause(ctx))
	}
	if err := Metadata(d); err != nil {
		return out, false, err
	}
	for _, m := range list {
		how, err := markedRun(ctx, d, m, progress)
		switch {
		case err == nil:
			out.Method, out.Verified = fmt.Sprintf("%s (%s)", m.name, how), fmt.Sprintf("%d marks gone", marks)
			return out, true, nil
		case !isUnsupported(err) && (!o.Overwrite || ctx.Err() != nil):
			return out, false, fmt.Errorf("%s: %w", m.name, err)
		}
		out.Passed = append(out.Passed, fmt.Sprintf("%s: %v", m.name, err))
	}
	return out, false, nil
}

// marks are so many, spread over the disk, of markSize bytes each.
const (
	marks    = 64
	markSize = 4096
)

func markAt(d disk.Disk, i int64) int64 {
	return (d.Size() - markSize) / (marks - 1) * i / markSize * markSize
}

// markedRun writes marks, runs a method and looks for the marks.
func markedRun(ctx context.Context, d disk.Disk, m method, progress func(string, int64)) (string, error) {
	mark := make([]byte, markSize)
	rand.Read(mark)
	for i := range int64(marks) {
		if _, err := d.WriteAt(mark, markAt(d, i)); err != nil {
			return "", fmt.Errorf("marking the disk: %w", err)
		}
	}
	if err := d.Sync(); err != nil {
		return "", err
	}
	if ctx.Err() != nil { // no command of the disk's own can be stopped: none is begun
		return "", context.Cause(ctx)
	}
	how, err := m.run(ctx, func(done, all int64) {
		progress(m.name, int64(float64(d.Size())*float64(min(done, all))/float64(max(all, 1))))
	})
	if err != nil {
		return "", err
	}
	got := make([]byte, markSize)
	for i := range int64(marks) {
		if _, err := d.ReadAt(got, markAt(d, i)); err != nil {
			return "", fmt.Errorf("reading back after %s: %w", how, err)
		}
		if bytes.Equal(got, mark) {
			return "", fmt.Errorf("byte %d of the disk is as before though it says that it was erased (%s): it lies", markAt(d, i), how)
		}
	}
	return how, nil
}

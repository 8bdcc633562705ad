// Package bootmenu owns finding out what an installed system's boot loader would start: kernel,
// initial ramdisks and command line, out of GRUB's configuration or boot loader entries on the
// mounted partitions of one disk. It refuses to guess: what it cannot follow to a kernel that is
// there is an error that says how far it came. It changes nothing.
package bootmenu

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/billet-metal/billet/agent/inroot"
)

// Volume is a mounted file system of the disk.
type Volume struct {
	Number      int    // of its partition
	Dir         string // where it is mounted
	UUID, Label string // of the file system, as GRUB's search compares them
	ESP         bool
}

// File is a file on a volume.
type File struct {
	Volume Volume
	Path   string
}

// Entry is what would be started.
type Entry struct {
	Title       string
	Kernel      File
	Initrds     []File // loaded one after the other
	CommandLine string
	From        string // the configuration it is from: "partition 2, /boot/grub/grub.cfg"
}

// Bounds of one look at a disk. An image comes from anywhere: what it says must neither keep the
// agent busy nor fill the memory of a small machine.
const (
	maxConfig  = 1 << 20 // bytes of a configuration file; large menus have some 50 KB
	maxText    = 8 << 20 // bytes that are read from the disk, and that variables make of them, together
	maxEntries = 500     // files in a folder of boot loader entries
	maxLoad    = 1 << 30 // bytes of kernel and initial ramdisks together
	maxReason  = 300     // bytes of what is said about one configuration
)

// perFile is what opening a file counts for in maxText, however small it is.
const perFile = 512

// budget is what is left of maxText.
type budget struct{ left int }

func (b *budget) spend(n int) error {
	if b.left -= n; b.left < 0 {
		return fmt.Errorf("the disk's configurations come to more than %d MB of text", maxText>>20)
	}
	return nil
}

// read is a file's text.
func (b *budget) read(v Volume, name string) (string, error) {
	text, err := inroot.ReadFile(v.Dir, name, maxConfig)
	if err != nil {
		return "", err
	}
	return string(text), b.spend(perFile + len(text))
}

// place is a configuration that may be there.
type place struct {
	volume Volume
	path   string
	bls    bool
}

// Find returns what the disk's boot loader starts unasked. loader is the path of the UEFI boot
// loader on the EFI system partition ("\EFI\debian\shimx64.efi"), "" in BIOS mode.
func Find(volumes []Volume, loader string) (Entry, error) {
	var tried []error
	b := &budget{left: maxText}
	for _, p := range places(volumes, loader) {
		if _, err := inroot.Stat(p.volume.Dir, p.path); err != nil {
			continue
		}
		e, err := p.read(b, volumes, loader != "")
		if err == nil {
			err = e.check()
		}
		if err == nil {
			e.From = p.String()
			return e, nil
		}
		tried = append(tried, fmt.Errorf("%s: %s", p, shorten(err.Error())))
	}
	if tried == nil {
		return Entry{}, errors.New("no GRUB configuration and no boot loader entries were found on the disk's partitions")
	}
	return Entry{}, errors.Join(tried...)
}

func (p place) String() string { return fmt.Sprintf("partition %d, %s", p.volume.Number, p.path) }

func (p place) read(b *budget, volumes []Volume, uefi bool) (Entry, error) {
	if p.bls {
		return systemdBoot(b, p.volume, p.path)
	}
	return runGRUB(b, volumes, p.volume, p.path, uefi)
}

// shorten keeps a reason, which quotes the image, fit for a node's history.
func shorten(reason string) string {
	if len(reason) > maxReason {
		return strings.ToValidUTF8(reason[:maxReason], "") + "…"
	}
	return reason
}

// places lists where configurations may be, in the order in which firmware and loaders come to them:
// what lies beside the UEFI loader, the EFI system partition, then the others.
func places(volumes []Volume, loader string) []place {
	var list []place
	add := func(v Volume, bls bool, paths ...string) {
		for _, p := range paths {
			list = append(list, place{v, p, bls})
		}
	}
	loader = strings.ReplaceAll(loader, `\`, "/")
	sorted := slices.Clone(volumes)
	slices.SortStableFunc(sorted, func(a, b Volume) int { return a.Number - b.Number })
	for _, v := range sorted {
		if !v.ESP {
			continue
		}
		if loader != "" {
			add(v, false, path.Join(path.Dir(loader), "grub.cfg"))
		}
		if _, err := inroot.Stat(v.Dir, "/EFI/systemd"); err == nil {
			add(v, true, "/loader/entries")
		}
		add(v, false, "/grub/grub.cfg", "/boot/grub/grub.cfg")
	}
	for _, v := range sorted {
		add(v, false, "/boot/grub/grub.cfg", "/boot/grub2/grub.cfg", "/grub/grub.cfg", "/grub2/grub.cfg")
	}
	for _, v := range sorted {
		add(v, true, "/loader/entries", "/boot/loader/entries")
	}
	return list
}

// check refuses an entry whose files are not there, or are more than any system has.
func (e Entry) check() error {
	if e.Kernel.Path == "" {
		return errors.New("it starts no Linux kernel")
	}
	var total int64
	for _, f := range append([]File{e.Kernel}, e.Initrds...) {
		info, err := inroot.Stat(f.Volume.Dir, f.Path)
		if err != nil {
			return fmt.Errorf("it starts %q of partition %d: %w", e.Title, f.Volume.Number, err)
		}
		if !info.Mode().IsRegular() || info.Size() == 0 {
			return fmt.Errorf("it starts %q, but %s of partition %d is no file with anything in it", e.Title, f.Path, f.Volume.Number)
		}
		if total += info.Size(); info.Size() > maxLoad || total > maxLoad {
			return fmt.Errorf("it starts %q, whose kernel and %d ramdisks have more than %d MB", e.Title, len(e.Initrds), maxLoad>>20)
		}
	}
	return nil
}

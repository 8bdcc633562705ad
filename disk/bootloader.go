package disk

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/billet-metal/billet/disk/efi"
)

// bootDescription names Billet's boot entry in the firmware; entries of that name from earlier
// deployments are replaced.
const bootDescription = "Billet instance"

// mbrESP is the type of an EFI system partition in an MBR.
const mbrESP = 0xef

// Loader is a UEFI boot loader on a disk.
type Loader struct {
	Partition efi.Partition
	PartUUID  string // GPT only
	Path      string // `\EFI\debian\shimx64.efi`
	Removable string // `\EFI\BOOT\BOOTX64.EFI`, which firmware starts without an entry; "" when it is not there
}

// FindLoader finds the EFI system partition of a disk and the loader on it that its operating
// system would have put into the firmware.
func FindLoader(d Disk) (Loader, error) { return findLoader(d, "") }

func findLoader(d Disk, arch string) (Loader, error) {
	l, err := findESP(d)
	if err != nil {
		return Loader{}, err
	}
	part := io.NewSectionReader(d, int64(l.Partition.Start)*d.SectorSize(), int64(l.Partition.Sectors)*d.SectorSize())
	f, err := openFAT(part)
	if err != nil {
		return Loader{}, fmt.Errorf("reading the EFI system partition (partition %d): %w", l.Partition.Number, err)
	}
	l.Path, l.Removable, err = f.loader(cmp.Or(arch, runtime.GOARCH))
	if err != nil {
		return Loader{}, fmt.Errorf("looking for a boot loader in the EFI system partition (partition %d): %w", l.Partition.Number, err)
	}
	return l, nil
}

var errNoESP = errors.New("the image has no EFI system partition, so it cannot boot in UEFI mode: use another image, or BIOS boot mode")

// ESP is the GUID of a disk's EFI system partition; "" when there is none.
func ESP(d Disk) string {
	l, err := findESP(d)
	if err != nil {
		return ""
	}
	return l.PartUUID
}

// PReP is the GUID of a disk's PowerPC boot partition; "" when there is none.
func PReP(d Disk) string {
	t, err := readGPT(d, d.Size(), d.SectorSize())
	if err != nil {
		return ""
	}
	for _, e := range t.partitions() {
		if e.Type == prepType {
			return e.ID.String()
		}
	}
	return ""
}

func findESP(d Disk) (Loader, error) {
	t, err := tableOf(d)
	if err != nil {
		return Loader{}, err
	}
	if t.gpt == nil {
		return findMBRESP(d, t.mbr)
	}
	parts := t.gpt.partitions()
	for _, n := range slices.Sorted(maps.Keys(parts)) {
		if e := parts[n]; e.Type == espType {
			return Loader{
				Partition: efi.Partition{Number: uint32(n), Start: uint64(e.First), Sectors: uint64(e.Last - e.First + 1), Signature: e.ID},
				PartUUID:  e.ID.String(),
			}, nil
		}
	}
	return Loader{}, errNoESP
}

func findMBRESP(d Disk, m *mbrTable) (Loader, error) {
	for i := range 4 {
		if m == nil || m.entry(i).kind != mbrESP || m.entry(i).sectors == 0 {
			continue
		}
		p := efi.Partition{Number: uint32(i + 1), Start: uint64(m.entry(i).first), Sectors: uint64(m.entry(i).sectors), MBR: true}
		binary.LittleEndian.PutUint32(p.Signature[:], binary.LittleEndian.Uint32(m.raw[440:]))
		return Loader{Partition: p}, nil
	}
	return Loader{}, errNoESP
}

// InstallLoaders makes the loaders of several disks, which hold the same, the firmware's first boot
// entries, in the order of the disks: when one is missing the firmware starts the next.
func InstallLoaders(disks []Disk, v efi.Variables) ([]Loader, []uint16, error) {
	var loaders []Loader
	for i, d := range disks {
		l, err := FindLoader(d)
		if err != nil {
			return nil, nil, fmt.Errorf("disk %d of %d: %w", i+1, len(disks), err)
		}
		loaders = append(loaders, l)
	}
	v.Own = bootDescription
	numbers := make([]uint16, len(disks))
	for i, l := range slices.Backward(loaders) { // each goes before those that are there
		n, err := v.Install(efi.Option{Description: entryOf(i), Partition: l.Partition, Path: l.Path})
		if err != nil {
			return nil, nil, fmt.Errorf("making a boot entry for disk %d of %d: %w", i+1, len(disks), err)
		}
		numbers[i] = n
	}
	return loaders, numbers, forget(v, len(disks))
}

// entryOf names the boot entry of the i-th disk, counted from 0.
func entryOf(i int) string {
	if i == 0 {
		return bootDescription
	}
	return fmt.Sprintf("%s, disk %d", bootDescription, i+1)
}

// forget removes the entries of further disks that an earlier deployment had.
func forget(v efi.Variables, disks int) error {
	return v.Remove(func(description string) bool {
		rest, ok := strings.CutPrefix(description, bootDescription+", disk ")
		n, err := strconv.Atoi(rest)
		return ok && err == nil && n > disks
	})
}

// InstallLoader makes the disk's loader the firmware's first boot entry. With an error that is efi.ErrFull it
// still returns the loader when the disk has the one that firmware starts without an entry.
func InstallLoader(d Disk, v efi.Variables) (Loader, uint16, error) {
	l, err := FindLoader(d)
	if err != nil {
		return Loader{}, 0, err
	}
	v.Own = bootDescription
	n, err := v.Install(efi.Option{Description: bootDescription, Partition: l.Partition, Path: l.Path})
	if errors.Is(err, efi.ErrFull) && l.Removable != "" {
		return l, 0, fmt.Errorf("making a boot entry: %w", err)
	}
	if err != nil {
		return Loader{}, 0, fmt.Errorf("making a boot entry: %w", err)
	}
	return l, n, forget(v, 1)
}

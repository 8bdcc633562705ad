package bootable

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/efi"
)

// bootDescription names Billet's boot entry in the firmware; entries of that name from earlier
// deployments are replaced.
const bootDescription = "Billet instance"

// Loader is a UEFI boot loader on a disk.
type Loader struct {
	Partition efi.Partition
	PartUUID  string // GPT only
	Path      string // `\EFI\debian\shimx64.efi`
	Removable string // `\EFI\BOOT\BOOTX64.EFI`, which firmware starts without an entry; "" when it is not there
}

// FindLoader finds the EFI system partition of a disk and the loader on it that its operating
// system would have put into the firmware.
func FindLoader(d disk.Disk) (Loader, error) { return findLoader(d, "") }

func findLoader(d disk.Disk, arch string) (Loader, error) {
	p, err := disk.FindESP(d)
	if err != nil {
		return Loader{}, err
	}
	l, err := inTable(d, p)
	if err != nil {
		return Loader{}, err
	}
	f, err := openFAT(io.NewSectionReader(d, p.Offset, p.Length))
	if err != nil {
		return Loader{}, fmt.Errorf("reading the EFI system partition (partition %d): %w", l.Partition.Number, err)
	}
	l.Path, l.Removable, err = f.loader(cmp.Or(arch, runtime.GOARCH))
	if err != nil {
		return Loader{}, fmt.Errorf("looking for a boot loader in the EFI system partition (partition %d): %w", l.Partition.Number, err)
	}
	return l, nil
}

// inTable describes a partition as boot entries name it: by its GUID in a GPT, by the disk's signature in an MBR.
func inTable(d disk.Disk, p disk.Partition) (Loader, error) {
	t, err := disk.ReadTable(d)
	if err != nil {
		return Loader{}, err
	}
	l := Loader{Partition: efi.Partition{
		Number: uint32(p.Number), Start: uint64(p.Offset / d.SectorSize()), Sectors: uint64(p.Length / d.SectorSize()),
	}}
	if t.GPT == nil {
		l.Partition.MBR = true
		copy(l.Partition.Signature[:], t.MBR.Signature())
		return l, nil
	}
	id := t.GPT.Entry(p.Number).ID
	l.Partition.Signature, l.PartUUID = id, id.String()
	return l, nil
}

// InstallLoaders makes the loaders of several disks, which hold the same, the firmware's first boot
// entries, in the order of the disks: when one is missing the firmware starts the next.
func InstallLoaders(disks []disk.Disk, v efi.Variables) ([]Loader, []uint16, error) {
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
func InstallLoader(d disk.Disk, v efi.Variables) (Loader, uint16, error) {
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

// EFIPartitions lists what boot entries call the partitions of a disk: of a GPT each by its GUID, of an MBR
// all by the disk's signature.
func EFIPartitions(d disk.Disk) ([]efi.Partition, error) {
	var out []efi.Partition
	t, err := disk.ReadGPT(d, d.Size(), d.SectorSize())
	if err == nil {
		for _, e := range t.Entries() {
			out = append(out, efi.Partition{Signature: e.ID})
		}
	}
	m, err := disk.ReadMBR(d)
	if err == nil && m != nil {
		p := efi.Partition{MBR: true}
		copy(p.Signature[:], m.Signature())
		out = append(out, p)
	}
	return out, err
}

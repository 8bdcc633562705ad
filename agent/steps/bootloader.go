package steps

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/billet-metal/billet/agent/grub"
	"github.com/billet-metal/billet/agent/mount"
	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/bootable"
	"github.com/billet-metal/billet/disk/efi"
	"github.com/billet-metal/billet/wire"
)

// BootLoader makes the machine able to boot what was written.
type BootLoader struct {
	*Host
	noPrograms bool // of the command under way: no program of the image may run
}

// PartitionUUIDs names the partitions that booting needs. A whole-disk image brings its own root
// file system, which only its own boot loader knows: the root UUID stays empty.
func (b *BootLoader) PartitionUUIDs(ctx context.Context, _ Params) (any, error) {
	dev, _, err := b.RootDisk(ctx)
	if err != nil {
		return nil, err
	}
	defer dev.Close()
	return wire.PartitionUUIDs{Root: b.RootUUID, ESP: disk.ESP(dev), PReP: disk.PReP(dev)}, nil
}

// Install makes the machine able to boot the image from its disk, and proves that it is. A
// whole-disk image brings its own loader: BIOS machines need nothing more, UEFI machines a boot entry. A
// partition image, which is one with a root_uuid, has its own GRUB installed first. Firmware cannot see into
// software RAID: there every member disk gets what a disk alone would have (raidboot.go).
func (b *BootLoader) Install(ctx context.Context, p Params) (any, error) {
	var mode, rootUUID string
	var ignore bool
	programs := true
	for key, out := range map[string]any{
		"target_boot_mode": &mode, "root_uuid": &rootUUID, "ignore_bootloader_failure": &ignore, "run_image_bootloader": &programs,
	} {
		if err := p.Decode(key, out); err != nil {
			return nil, err
		}
	}
	if mode == "" {
		mode = b.Inventory.BootMode()
	}
	b.noPrograms = !programs
	text, err := b.MakeBootable(ctx, mode, rootUUID)
	if err != nil && (ignore || b.AnyBoot) {
		b.Log.Warn("no boot entry was made, which is to be ignored", "error", err)
		return "no boot entry was made, which is to be ignored: " + err.Error(), nil
	}
	return text, err
}

// MakeBootable does for a disk what installing a boot loader means in a boot mode, and says what it did.
func (b *BootLoader) MakeBootable(ctx context.Context, mode, rootUUID string) (string, error) {
	if mode == "uefi" {
		if _, err := os.Stat(b.efivars()); err != nil {
			return "", fmt.Errorf("the instance is to boot in UEFI mode, but this machine booted in %s mode, so its firmware's boot "+
				"entries cannot be reached: set the same boot mode in the firmware and in the node's capabilities", b.Inventory.BootMode())
		}
	}
	dev, root, err := b.RootDisk(ctx)
	if err != nil {
		return "", err
	}
	if err := dev.Close(); err != nil {
		return "", err
	}
	if root.RAID != "" {
		return b.makeArrayBootable(ctx, root, mode, rootUUID)
	}
	text := ""
	if rootUUID != "" {
		done, err := b.installGRUB(ctx, mode, rootUUID)
		if err != nil {
			return "", err
		}
		text = done + "; "
	}
	if mode == "bios" {
		return text + "the disk's boot sector and what it starts are there", b.proveBIOS(root)
	}
	entry, err := b.MakeBootEntry(ctx)
	return text + entry, err
}

// proveBIOS looks whether a BIOS would start these disks.
func (b *BootLoader) proveBIOS(disks ...wire.Disk) error {
	for _, d := range disks {
		dev, err := disk.OpenToRead(filepath.Join(b.Root, d.Name))
		if err != nil {
			return err
		}
		if err := errors.Join(b.same(d, dev), bootable.Check(dev, "bios", ""), dev.Close()); err != nil {
			return fmt.Errorf("a BIOS would not start %s (serial %q): %w", d.Name, d.Serial, err)
		}
	}
	return nil
}

func (b *BootLoader) efivars() string { return filepath.Join(b.Root, efi.Efivars) }

// installGRUB finds the root file system on the root disk, and only there, and has the image's GRUB
// installed.
func (b *BootLoader) installGRUB(ctx context.Context, mode, rootUUID string) (string, error) {
	dev, root, err := b.RootDisk(ctx)
	if err != nil {
		return "", err
	}
	part, fs, err := disk.RootFS(dev, rootUUID)
	esp, espErr := disk.FindESP(dev)
	// The kernel mounts no partition of a disk that is held exclusively.
	if err = errors.Join(err, dev.Close()); err != nil {
		return "", fmt.Errorf("installing the boot loader on %s (serial %q): %w", root.Name, root.Serial, err)
	}
	t := grub.Target{Disks: []string{root.Name}, Mode: mode}
	if mode == "uefi" {
		if espErr != nil {
			return "", fmt.Errorf("installing the boot loader on %s: %w", root.Name, espErr)
		}
		t.ESP = disk.PartitionNode(root.Name, esp.Number)
	}
	return b.runGRUB(ctx, t, disk.PartitionNode(root.Name, part.Number), fs)
}

// runGRUB has the GRUB of the root file system on a partition installed where t says.
func (b *BootLoader) runGRUB(ctx context.Context, t grub.Target, root string, fs disk.FS) (string, error) {
	if b.noPrograms {
		return "", fmt.Errorf("the image on %s needs its own GRUB run as root in this ramdisk, "+
			"which the service forbids (run_image_bootloader): nothing of it was run", root)
	}
	t.Root, t.RootFS, t.RootUUID, t.Dir, t.Log = root, fs.Type, fs.UUID, "/mnt/instance", b.Log
	if b.LoadModule != nil {
		b.LoadModule(fs.Type)
	}
	if err := mount.WaitForNodes(ctx, t.Root, t.ESP); err != nil {
		return "", err
	}
	where := strings.Join(t.Disks, " and ")
	b.Log.Info("installing the image's boot loader", "disks", t.Disks, "root", t.Root, "fs", t.RootFS, "esp", t.ESP, "mode", t.Mode)
	if err := grub.Install(ctx, t); err != nil {
		return "", err
	}
	return fmt.Sprintf("the image's GRUB was installed on %s for %s mode, root %s (%s)", where, t.Mode, t.Root, t.RootUUID), nil
}

// MakeBootEntry makes the loader on the root disk the first boot entry of the firmware.
func (b *BootLoader) MakeBootEntry(ctx context.Context) (string, error) {
	dev, root, err := b.RootDisk(ctx)
	if err != nil {
		return "", err
	}
	defer dev.Close()
	loader, number, err := bootable.InstallLoader(dev, b.firmware())
	if errors.Is(err, efi.ErrFull) && loader.Removable != "" {
		b.Log.Warn("no boot entry was made; the firmware starts the disk by itself", "loader", loader.Removable, "error", err)
		return fmt.Sprintf("no boot entry was made (%v), so the firmware has to start %s of %s by itself, "+
			"as it does with disks that have no entry: remove what fills it",
			err, loader.Removable, root.Name), nil
	}
	if err != nil {
		return "", err
	}
	b.Log.Info("boot entry made", "entry", number, "loader", loader.Path, "partition", loader.PartUUID)
	return fmt.Sprintf("boot entry Boot%04X starts %s of partition %d", number, loader.Path, loader.Partition.Number), nil
}

// firmware are the variables of the running firmware, which know what partitions are in the machine. When a
// disk cannot be read nobody can say that a partition is gone.
func (b *BootLoader) firmware() efi.Variables {
	v := efi.Variables{Dir: b.efivars()}
	var present []efi.Partition
	for _, d := range withoutPaths(b.Inventory.Disks()) {
		dev, err := disk.OpenToRead(filepath.Join(b.Root, d.Name))
		if err != nil {
			return v
		}
		found, err := bootable.EFIPartitions(dev)
		if err := errors.Join(err, dev.Close()); err != nil {
			b.Log.Warn("boot entries of earlier systems are left alone, because a disk cannot be read", "disk", d.Name, "error", err)
			return v
		}
		present = append(present, found...)
	}
	v.Present = func(p efi.Partition) bool {
		return slices.ContainsFunc(present, func(q efi.Partition) bool { return q.Signature == p.Signature && q.MBR == p.MBR })
	}
	return v
}

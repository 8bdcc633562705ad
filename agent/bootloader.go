package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/billet-metal/billet/agent/grub"
	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/bootable"
	"github.com/billet-metal/billet/disk/efi"
	"github.com/billet-metal/billet/wire"
)

// rootDisk opens the disk the instance is on: the one this agent wrote, rather than what choosing
// again would give.
func (a *Agent) rootDisk(ctx context.Context) (*disk.Device, wire.Disk, error) {
	if a.written != nil {
		dev, err := a.openDisk(*a.written)
		return dev, *a.written, err
	}
	root, err := a.selectRoot(ctx, a.node)
	if err != nil {
		return nil, root, err
	}
	dev, err := a.openDisk(root)
	return dev, root, err
}

// partitionUUIDs names the partitions that booting needs. A whole-disk image brings its own root
// file system, which only its own boot loader knows: the root UUID stays empty.
func (a *Agent) partitionUUIDs(ctx context.Context, _ params) (any, error) {
	dev, _, err := a.rootDisk(ctx)
	if err != nil {
		return nil, err
	}
	defer dev.Close()
	return wire.PartitionUUIDs{Root: a.rootUUID, ESP: disk.ESP(dev), PReP: disk.PReP(dev)}, nil
}

// installBootloader makes the machine able to boot the image from its disk, and proves that it is. A
// whole-disk image brings its own loader: BIOS machines need nothing more, UEFI machines a boot entry. A
// partition image, which is one with a root_uuid, has its own GRUB installed first. Firmware cannot see into
// software RAID: there every member disk gets what a disk alone would have (raidboot.go).
func (a *Agent) installBootloader(ctx context.Context, p params) (any, error) {
	var mode, rootUUID string
	var ignore bool
	programs := true
	for key, out := range map[string]any{
		"target_boot_mode": &mode, "root_uuid": &rootUUID, "ignore_bootloader_failure": &ignore, "run_image_bootloader": &programs,
	} {
		if err := p.decode(key, out); err != nil {
			return nil, err
		}
	}
	if mode == "" {
		mode = a.inventory.BootMode()
	}
	a.noPrograms = !programs
	text, err := a.makeBootable(ctx, mode, rootUUID)
	if err != nil && (ignore || a.Config.AnyBoot) {
		a.Log.Warn("no boot entry was made, which is to be ignored", "error", err)
		return "no boot entry was made, which is to be ignored: " + err.Error(), nil
	}
	return text, err
}

func (a *Agent) makeBootable(ctx context.Context, mode, rootUUID string) (string, error) {
	if mode == "uefi" {
		if _, err := os.Stat(a.efivars()); err != nil {
			return "", fmt.Errorf("the instance is to boot in UEFI mode, but this machine booted in %s mode, so its firmware's boot entries cannot be reached: set the same boot mode in the firmware and in the node's capabilities", a.inventory.BootMode())
		}
	}
	dev, root, err := a.rootDisk(ctx)
	if err != nil {
		return "", err
	}
	if err := dev.Close(); err != nil {
		return "", err
	}
	if root.RAID != "" {
		return a.makeArrayBootable(ctx, root, mode, rootUUID)
	}
	text := ""
	if rootUUID != "" {
		done, err := a.installGRUB(ctx, mode, rootUUID)
		if err != nil {
			return "", err
		}
		text = done + "; "
	}
	if mode == "bios" {
		return text + "the disk's boot sector and what it starts are there", a.proveBIOS(root)
	}
	entry, err := a.makeBootEntry(ctx)
	return text + entry, err
}

// proveBIOS looks whether a BIOS would start these disks.
func (a *Agent) proveBIOS(disks ...wire.Disk) error {
	for _, d := range disks {
		dev, err := disk.OpenToRead(filepath.Join(a.Config.Root, d.Name))
		if err != nil {
			return err
		}
		if err := errors.Join(a.same(d, dev), bootable.Check(dev, "bios", ""), dev.Close()); err != nil {
			return fmt.Errorf("a BIOS would not start %s (serial %q): %w", d.Name, d.Serial, err)
		}
	}
	return nil
}

func (a *Agent) efivars() string { return filepath.Join(a.Config.Root, efi.Efivars) }

// installGRUB finds the root file system on the root disk, and only there, and has the image's GRUB
// installed.
func (a *Agent) installGRUB(ctx context.Context, mode, rootUUID string) (string, error) {
	dev, root, err := a.rootDisk(ctx)
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
	return a.runGRUB(ctx, t, disk.PartitionNode(root.Name, part.Number), fs)
}

// runGRUB has the GRUB of the root file system on a partition installed where t says.
func (a *Agent) runGRUB(ctx context.Context, t grub.Target, root string, fs disk.FS) (string, error) {
	if a.noPrograms {
		return "", fmt.Errorf("the image on %s needs its own GRUB run as root in this ramdisk, "+
			"which the service forbids (run_image_bootloader): nothing of it was run", root)
	}
	t.Root, t.RootFS, t.RootUUID, t.Dir, t.Log = root, fs.Type, fs.UUID, "/mnt/instance", a.Log
	if a.LoadModule != nil {
		a.LoadModule(fs.Type)
	}
	if err := waitForNodes(ctx, t.Root, t.ESP); err != nil {
		return "", err
	}
	where := strings.Join(t.Disks, " and ")
	a.Log.Info("installing the image's boot loader", "disks", t.Disks, "root", t.Root, "fs", t.RootFS, "esp", t.ESP, "mode", t.Mode)
	if err := grub.Install(ctx, t); err != nil {
		return "", err
	}
	return fmt.Sprintf("the image's GRUB was installed on %s for %s mode, root %s (%s)", where, t.Mode, t.Root, t.RootUUID), nil
}

// waitForNodes gives the kernel a moment to make the device nodes of new partitions.
func waitForNodes(ctx context.Context, nodes ...string) error {
	deadline := time.Now().Add(10 * time.Second)
	for _, name := range nodes {
		for name != "" {
			if _, err := os.Stat(name); err == nil {
				break
			} else if time.Now().After(deadline) {
				return fmt.Errorf("the kernel shows no partition %s: %w", name, err)
			}
			if err := sleep(ctx, 100*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *Agent) makeBootEntry(ctx context.Context) (string, error) {
	dev, root, err := a.rootDisk(ctx)
	if err != nil {
		return "", err
	}
	defer dev.Close()
	loader, number, err := bootable.InstallLoader(dev, a.firmware())
	if errors.Is(err, efi.ErrFull) && loader.Removable != "" {
		a.Log.Warn("no boot entry was made; the firmware starts the disk by itself", "loader", loader.Removable, "error", err)
		return fmt.Sprintf("no boot entry was made (%v), so the firmware has to start %s of %s by itself, "+
			"as it does with disks that have no entry: remove what fills it",
			err, loader.Removable, root.Name), nil
	}
	if err != nil {
		return "", err
	}
	a.Log.Info("boot entry made", "entry", number, "loader", loader.Path, "partition", loader.PartUUID)
	return fmt.Sprintf("boot entry Boot%04X starts %s of partition %d", number, loader.Path, loader.Partition.Number), nil
}

// firmware are the variables of the running firmware, which know what partitions are in the machine. When a
// disk cannot be read nobody can say that a partition is gone.
func (a *Agent) firmware() efi.Variables {
	v := efi.Variables{Dir: a.efivars()}
	var present []efi.Partition
	for _, d := range withoutPaths(a.inventory.Disks()) {
		dev, err := disk.OpenToRead(filepath.Join(a.Config.Root, d.Name))
		if err != nil {
			return v
		}
		found, err := bootable.EFIPartitions(dev)
		if err := errors.Join(err, dev.Close()); err != nil {
			a.Log.Warn("boot entries of earlier systems are left alone, because a disk cannot be read", "disk", d.Name, "error", err)
			return v
		}
		present = append(present, found...)
	}
	v.Present = func(p efi.Partition) bool {
		return slices.ContainsFunc(present, func(q efi.Partition) bool { return q.Signature == p.Signature && q.MBR == p.MBR })
	}
	return v
}

package steps

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/billet-metal/billet/agent/grub"
	"github.com/billet-metal/billet/agent/mount"
	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/bootable"
	"github.com/billet-metal/billet/disk/write"
	"github.com/billet-metal/billet/raid"
	"github.com/billet-metal/billet/wire"
)

// makeArrayBootable makes every member disk of the array root boot the image that was written to it.
//
// BIOS: the image's own GRUB is installed on each disk; it goes into their BIOS boot partitions.
// UEFI: the image's EFI system partition moves out of the array, to a mirror over the members' EFI
// system partitions, which firmware sees as ordinary ones; each gets a boot entry.
func (b *BootLoader) makeArrayBootable(ctx context.Context, root wire.Disk, mode, rootUUID string) (string, error) {
	members := b.disksOf(root.Name)
	if len(members) == 0 {
		return "", fmt.Errorf("the root disk %s is an array, but no disk shows that it is part of it", root.Name)
	}
	t := grub.Target{Mode: mode}
	for _, d := range members {
		t.Disks = append(t.Disks, d.Name)
	}
	if mode == "bios" {
		done, err := b.installGRUBOnMembers(ctx, t, root, rootUUID)
		if err == nil {
			err = b.proveBIOS(members...)
		}
		return done, err
	}
	esp, err := b.moveESP(ctx, root, members)
	if err != nil {
		return "", fmt.Errorf("making %s bootable: %w", root.Name, err)
	}
	text := ""
	if rootUUID != "" {
		t.ESP = esp
		done, err := b.installGRUBOnMembers(ctx, t, root, rootUUID)
		if err != nil {
			return "", err
		}
		text = done + "; "
	}
	entries, err := b.makeMemberEntries(members)
	return text + entries, err
}

// installGRUBOnMembers installs the GRUB of the root file system with that UUID or, where nobody knows
// it, of the first file system of the array that has one.
func (b *BootLoader) installGRUBOnMembers(ctx context.Context, t grub.Target, root wire.Disk, rootUUID string) (string, error) {
	candidates, err := b.rootFileSystems(root, rootUUID)
	if err != nil {
		return "", err
	}
	for i, v := range candidates {
		done, err := b.runGRUB(ctx, t, disk.PartitionNode(root.Name, v.Number), v.FS)
		if errors.Is(err, grub.ErrNone) && i < len(candidates)-1 {
			continue // a /boot of its own, or data
		}
		return done, err
	}
	return "", fmt.Errorf("the image on %s has no file system that could be its root (ext4, xfs, btrfs), so its boot loader "+
		"cannot be installed on the disks below", root.Name)
}

func (b *BootLoader) rootFileSystems(root wire.Disk, uuid string) ([]disk.Volume, error) {
	dev, err := b.openDisk(root)
	if err != nil {
		return nil, err
	}
	all, err := disk.Volumes(dev)
	if err := errors.Join(err, dev.Close()); err != nil {
		return nil, fmt.Errorf("looking for the root file system on %s: %w", root.Name, err)
	}
	found := slices.DeleteFunc(all, func(v disk.Volume) bool {
		return !slices.Contains([]string{"ext4", "xfs", "btrfs"}, v.Type) || uuid != "" && v.UUID != uuid
	})
	if uuid != "" && len(found) == 0 {
		return nil, fmt.Errorf("no partition of %s holds the root file system %s", root.Name, uuid)
	}
	return found, nil
}

// espPartition is the number of a member's EFI system partition (raid.Config.Layout).
const espPartition = 2

// moveESP puts the content of the image's EFI system partition, which lies in the array, on the mirror
// over the members' own, and takes it away where it was: two file systems with one UUID would leave
// to chance which of them the instance mounts. It may be run again. It returns the mirror's device.
func (b *BootLoader) moveESP(ctx context.Context, root wire.Disk, members []wire.Disk) (string, error) {
	dev, err := b.openDisk(root)
	if err != nil {
		return "", err
	}
	defer dev.Close()
	esp, err := disk.FindESP(dev)
	if err != nil {
		return "", err
	}
	var parts []string
	for _, d := range members {
		parts = append(parts, disk.PartitionNode(d.Name, espPartition))
	}
	if !disk.HasFAT(dev, esp) { // an earlier run moved it
		node, err := b.startMirror(ctx, parts)
		if err != nil {
			return "", fmt.Errorf("the image's EFI system partition (partition %d) holds no file system, and %w", esp.Number, err)
		}
		return node, dev.Close()
	}
	node, err := b.newMirror(ctx, parts)
	if err != nil {
		return "", err
	}
	mirror, err := disk.Open(filepath.Join(b.Root, node))
	if err != nil {
		return "", err
	}
	if err := errors.Join(write.Move(mirror, dev, esp), mirror.Close()); err != nil {
		return "", fmt.Errorf("moving the EFI system partition out of the array: %w", err)
	}
	b.Log.Info("EFI system partition moved to a mirror", "from", disk.PartitionNode(root.Name, esp.Number), "to", node, "members", parts)
	if err := dev.Close(); err != nil {
		return "", err
	}
	b.showPartitions(root.Name)
	return node, nil
}

// newMirror makes the mirror over the members' EFI system partitions, in place of one that is there.
func (b *BootLoader) newMirror(ctx context.Context, parts []string) (string, error) {
	for _, r := range b.Inventory.Arrays() {
		if slices.ContainsFunc(r.Members, func(m string) bool { return slices.Contains(parts, m) }) {
			if err := b.MDADM.Stop(ctx, r.Name); err != nil {
				return "", err
			}
		}
	}
	if err := mount.WaitForNodes(ctx, b.rooted(parts)...); err != nil {
		return "", err
	}
	made := raid.Made{Node: b.freeArray(espArray), Name: raid.ESPName, UUID: raid.NewUUID(), Level: "1", Members: parts}
	return made.Node, b.MDADM.Create(ctx, made)
}

// espArray keeps the mirror's number away from those of logical disks.
const espArray = 100

// startMirror starts the mirror that is there, and returns its device.
func (b *BootLoader) startMirror(ctx context.Context, parts []string) (string, error) {
	for _, p := range parts {
		s, err := b.Inventory.Superblock(p)
		if err != nil {
			continue
		}
		if node := b.running(s.UUID); node != "" {
			return node, nil
		}
		node := b.freeArray(espArray)
		return node, b.MDADM.Assemble(ctx, node, s.UUID, parts)
	}
	return "", errors.New("there is no mirror over the disks' EFI system partitions that it could have been moved to: deploy the image again")
}

// makeMemberEntries makes a boot entry for each member disk, the first member's first.
func (b *BootLoader) makeMemberEntries(members []wire.Disk) (string, error) {
	var disks []disk.Disk
	for _, d := range members {
		dev, err := disk.OpenToRead(filepath.Join(b.Root, d.Name))
		if err != nil {
			return "", err
		}
		defer dev.Close()
		if err := b.same(d, dev); err != nil {
			return "", err
		}
		disks = append(disks, dev)
	}
	loaders, numbers, err := bootable.InstallLoaders(disks, b.firmware())
	if err != nil {
		return "", err
	}
	text := ""
	for i, l := range loaders {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("boot entry Boot%04X starts %s of partition %d of %s", numbers[i], l.Path, l.Partition.Number, members[i].Name)
		b.Log.Info("boot entry made", "entry", numbers[i], "loader", l.Path, "partition", l.PartUUID, "disk", members[i].Name)
	}
	return text, nil
}

package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/billet-metal/billet/agent/grub"
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
func (a *Agent) makeArrayBootable(ctx context.Context, root wire.Disk, mode, rootUUID string) (string, error) {
	members := a.disksOf(root.Name)
	if len(members) == 0 {
		return "", fmt.Errorf("the root disk %s is an array, but no disk shows that it is part of it", root.Name)
	}
	t := grub.Target{Mode: mode}
	for _, d := range members {
		t.Disks = append(t.Disks, d.Name)
	}
	if mode == "bios" {
		done, err := a.installGRUBOnMembers(ctx, t, root, rootUUID)
		if err == nil {
			err = a.proveBIOS(members...)
		}
		return done, err
	}
	esp, err := a.moveESP(ctx, root, members)
	if err != nil {
		return "", fmt.Errorf("making %s bootable: %w", root.Name, err)
	}
	text := ""
	if rootUUID != "" {
		t.ESP = esp
		done, err := a.installGRUBOnMembers(ctx, t, root, rootUUID)
		if err != nil {
			return "", err
		}
		text = done + "; "
	}
	entries, err := a.makeMemberEntries(members)
	return text + entries, err
}

// installGRUBOnMembers installs the GRUB of the root file system with that UUID or, where nobody knows
// it, of the first file system of the array that has one.
func (a *Agent) installGRUBOnMembers(ctx context.Context, t grub.Target, root wire.Disk, rootUUID string) (string, error) {
	candidates, err := a.rootFileSystems(root, rootUUID)
	if err != nil {
		return "", err
	}
	for i, v := range candidates {
		done, err := a.runGRUB(ctx, t, disk.PartitionNode(root.Name, v.Number), v.FS)
		if errors.Is(err, grub.ErrNone) && i < len(candidates)-1 {
			continue // a /boot of its own, or data
		}
		return done, err
	}
	return "", fmt.Errorf("the image on %s has no file system that could be its root (ext4, xfs, btrfs), so its boot loader "+
		"cannot be installed on the disks below", root.Name)
}

func (a *Agent) rootFileSystems(root wire.Disk, uuid string) ([]disk.Volume, error) {
	dev, err := a.openDisk(root)
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
func (a *Agent) moveESP(ctx context.Context, root wire.Disk, members []wire.Disk) (string, error) {
	dev, err := a.openDisk(root)
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
		node, err := a.startMirror(ctx, parts)
		if err != nil {
			return "", fmt.Errorf("the image's EFI system partition (partition %d) holds no file system, and %w", esp.Number, err)
		}
		return node, dev.Close()
	}
	node, err := a.newMirror(ctx, parts)
	if err != nil {
		return "", err
	}
	mirror, err := disk.Open(filepath.Join(a.Config.Root, node))
	if err != nil {
		return "", err
	}
	if err := errors.Join(write.Move(mirror, dev, esp), mirror.Close()); err != nil {
		return "", fmt.Errorf("moving the EFI system partition out of the array: %w", err)
	}
	a.Log.Info("EFI system partition moved to a mirror", "from", disk.PartitionNode(root.Name, esp.Number), "to", node, "members", parts)
	if err := dev.Close(); err != nil {
		return "", err
	}
	a.showPartitions(root.Name)
	return node, nil
}

// newMirror makes the mirror over the members' EFI system partitions, in place of one that is there.
func (a *Agent) newMirror(ctx context.Context, parts []string) (string, error) {
	for _, r := range a.inventory.Arrays() {
		if slices.ContainsFunc(r.Members, func(m string) bool { return slices.Contains(parts, m) }) {
			if err := a.MDADM.Stop(ctx, r.Name); err != nil {
				return "", err
			}
		}
	}
	if err := waitForNodes(ctx, a.rooted(parts)...); err != nil {
		return "", err
	}
	made := raid.Made{Node: a.freeArray(espArray), Name: raid.ESPName, UUID: raid.NewUUID(), Level: "1", Members: parts}
	return made.Node, a.MDADM.Create(ctx, made)
}

// espArray keeps the mirror's number away from those of logical disks.
const espArray = 100

// startMirror starts the mirror that is there, and returns its device.
func (a *Agent) startMirror(ctx context.Context, parts []string) (string, error) {
	for _, p := range parts {
		s, err := a.inventory.Superblock(p)
		if err != nil {
			continue
		}
		if node := a.running(s.UUID); node != "" {
			return node, nil
		}
		node := a.freeArray(espArray)
		return node, a.MDADM.Assemble(ctx, node, s.UUID, parts)
	}
	return "", errors.New("there is no mirror over the disks' EFI system partitions that it could have been moved to: deploy the image again")
}

// makeMemberEntries makes a boot entry for each member disk, the first member's first.
func (a *Agent) makeMemberEntries(members []wire.Disk) (string, error) {
	var disks []disk.Disk
	for _, d := range members {
		dev, err := disk.OpenToRead(filepath.Join(a.Config.Root, d.Name))
		if err != nil {
			return "", err
		}
		defer dev.Close()
		if err := a.same(d, dev); err != nil {
			return "", err
		}
		disks = append(disks, dev)
	}
	loaders, numbers, err := bootable.InstallLoaders(disks, a.firmware())
	if err != nil {
		return "", err
	}
	text := ""
	for i, l := range loaders {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("boot entry Boot%04X starts %s of partition %d of %s", numbers[i], l.Path, l.Partition.Number, members[i].Name)
		a.Log.Info("boot entry made", "entry", numbers[i], "loader", l.Path, "partition", l.PartUUID, "disk", members[i].Name)
	}
	return text, nil
}

// rooted puts the agent's root in front of device nodes.
func (a *Agent) rooted(nodes []string) []string {
	out := make([]string, len(nodes))
	for i, n := range nodes {
		out[i] = filepath.Join(a.Config.Root, n)
	}
	return out
}

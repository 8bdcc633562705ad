package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/erase"
	"github.com/billet-metal/billet/disk/write"
	"github.com/billet-metal/billet/raid"
	"github.com/billet-metal/billet/wire"
)

var (
	deleteExisting = map[string]any{"description": "Whether software RAID that is there is deleted first. Default: false for " +
		"create_configuration, true for apply_configuration.", "required": false}
	createRAIDArgs = map[string]any{"delete_existing": deleteExisting}
	applyRAIDArgs  = map[string]any{
		"raid_config":     map[string]any{"description": "The RAID configuration to apply, as target_raid_config has it.", "required": true},
		"delete_existing": deleteExisting,
	}
)

// createRAID builds the arrays of the node's target_raid_config. The result is the raid_config.
func (a *Agent) createRAID(ctx context.Context, c stepCall) (any, error) {
	var remove bool
	if err := c.args.decode("delete_existing", &remove); err != nil {
		return nil, err
	}
	if len(c.node.TargetRAIDConfig) == 0 {
		return nil, errors.New("the node has no target_raid_config: set what is to be created first (PUT …/states/raid)")
	}
	return a.makeRAID(ctx, c, c.node.TargetRAIDConfig, remove)
}

// applyRAID builds the arrays that its argument describes.
func (a *Agent) applyRAID(ctx context.Context, c stepCall) (any, error) {
	var want map[string]any
	remove := true
	if err := errors.Join(c.args.decode("raid_config", &want), c.args.decode("delete_existing", &remove)); err != nil {
		return nil, err
	}
	if len(want) == 0 {
		return nil, errors.New("the argument raid_config is missing: the RAID configuration to apply")
	}
	return a.makeRAID(ctx, c, want, remove)
}

func (a *Agent) makeRAID(ctx context.Context, c stepCall, target map[string]any, remove bool) (any, error) {
	want, err := raid.Parse(target)
	if err != nil {
		return nil, err
	}
	if remove {
		if _, err := a.deleteRAID(ctx, c); err != nil {
			return nil, err
		}
	} else if raid.IsSoftware(a.raid) {
		return nil, errors.New("nothing was touched: the node has software RAID already, as its raid_config says: run the clean " +
			"step raid.delete_configuration first, or give delete_existing")
	}
	built, err := a.buildRAID(ctx, c, want)
	if err != nil {
		return nil, err
	}
	a.learnRAID(wire.Node{RAIDConfig: built})
	return built, nil
}

// buildRAID divides the member disks and starts the arrays on them. A disk that holds anything, and a
// configuration that does not fit, are refused before anything is touched; when it fails later,
// the disks are blank again. Arrays that have a UUID keep it.
func (a *Agent) buildRAID(ctx context.Context, c stepCall, want raid.Config) (map[string]any, error) {
	free, err := unprotected(a.inventory.Disks(), c.node)
	if err != nil {
		return nil, err
	}
	members, err := disk.SelectMembers(free, want.LogicalDisks[0].Members)
	if err != nil {
		return nil, fmt.Errorf("nothing was touched: %w", err)
	}
	if err := a.areBlank(members); err != nil {
		return nil, fmt.Errorf("nothing was touched: %w", err)
	}
	smallest := slices.MinFunc(members, func(a, b wire.Disk) int { return cmp.Compare(a.Size, b.Size) })
	parts, settled, err := want.Layout(smallest.Size, len(members))
	if err != nil {
		return nil, fmt.Errorf("nothing was touched: %w", err)
	}
	a.loadRAID()
	for i, d := range members {
		c.report("partitioning "+d.Name, int64(i), int64(len(members)))
		if err := a.divide(d, parts); err != nil {
			return nil, errors.Join(err, a.undoRAID(ctx, members[:i+1]))
		}
	}
	if err := a.startNew(ctx, c, settled, members, parts); err != nil {
		return nil, errors.Join(err, a.undoRAID(ctx, members))
	}
	names := make([]string, len(members))
	for i, d := range members {
		names[i] = member(d)
	}
	return settled.Describe(names), nil
}

// member names a disk in raid_config by what stays.
func member(d wire.Disk) string {
	if d.Serial == "" {
		return d.Name
	}
	return fmt.Sprintf("%s (serial %s)", d.Name, d.Serial)
}

// areBlank refuses disks that hold something.
func (a *Agent) areBlank(members []wire.Disk) error {
	for _, d := range members {
		found, err := a.superblocks(d)
		if err != nil {
			return err
		}
		if len(found) > 0 {
			return fmt.Errorf("%s holds a part of an array (%s on %s): run the clean step raid.delete_configuration first", member(d),
				found[0].UUID, found[0].node)
		}
		dev, err := a.openDisk(d)
		if err != nil {
			return err
		}
		what, err := disk.Occupied(dev)
		if err := errors.Join(err, dev.Close()); err != nil {
			return err
		}
		if what != "" {
			return fmt.Errorf("%s holds %s: run the clean step deploy.erase_devices_metadata first, protect the disk with "+
				"skip_block_devices, or name other disks in physical_disks", member(d), what)
		}
	}
	return nil
}

// divide partitions one member disk.
func (a *Agent) divide(d wire.Disk, layout []raid.Partition) error {
	roles := map[raid.Role]disk.Role{raid.BIOSBoot: disk.BIOSBoot, raid.ESP: disk.ESPRole, raid.Array: disk.RAIDMember}
	parts := make([]disk.Partition, len(layout))
	for i, p := range layout {
		parts[i] = disk.Partition{Role: roles[p.Role], Number: p.Number, Offset: p.Offset, Length: p.Length}
	}
	dev, err := a.openDisk(d)
	if err != nil {
		return err
	}
	if err := errors.Join(write.Divide(dev, parts), dev.Close()); err != nil {
		return fmt.Errorf("partitioning %s: %w", member(d), err)
	}
	a.Log.Info("divided for RAID", "disk", d.Name, "serial", d.Serial, "partitions", len(parts))
	a.showPartitions(d.Name)
	return nil
}

// startNew makes the arrays on disks that were divided, and checks that each is what was asked for.
func (a *Agent) startNew(ctx context.Context, c stepCall, want raid.Config, members []wire.Disk, parts []raid.Partition) error {
	for _, p := range parts {
		if p.Role != raid.Array {
			continue
		}
		d := &want.LogicalDisks[p.Disk]
		if d.UUID == "" {
			d.UUID = raid.NewUUID()
		}
		made := raid.Made{Node: a.freeArray(p.Disk), Name: want.Name(p.Disk), UUID: d.UUID, Level: d.Level}
		for _, m := range members {
			made.Members = append(made.Members, disk.PartitionNode(m.Name, p.Number))
		}
		c.report(fmt.Sprintf("making %s (RAID %s) of %s", made.Name, made.Level, strings.Join(made.Members, ", ")), int64(p.Disk),
			int64(len(want.LogicalDisks)))
		if err := waitForNodes(ctx, a.rooted(made.Members)...); err != nil {
			return err
		}
		if err := a.MDADM.Create(ctx, made); err != nil {
			return err
		}
		node := a.running(d.UUID)
		if node == "" {
			return fmt.Errorf("the array %s (%s) does not run though mdadm made it", made.Name, d.UUID)
		}
		if size := a.sizeOf(node); size < int64(d.SizeGB)<<30 {
			return fmt.Errorf("the array %s has %d bytes; %d GiB were asked for", made.Name, size, d.SizeGB)
		}
		a.Log.Info("array made", "name", made.Name, "device", node, "uuid", d.UUID, "level", d.Level, "members", made.Members)
	}
	return nil
}

func (a *Agent) sizeOf(name string) int64 {
	for _, d := range a.inventory.Disks() {
		if d.Name == name {
			return d.Size
		}
	}
	return 0
}

// undoRAID leaves disks blank that were blank before.
func (a *Agent) undoRAID(ctx context.Context, members []wire.Disk) error {
	err := a.stopArrays(ctx)
	for _, d := range members {
		err = errors.Join(err, a.blank(d))
	}
	if err != nil {
		return fmt.Errorf("and cleaning up: %w", err)
	}
	return nil
}

func (a *Agent) blank(d wire.Disk) error {
	dev, err := a.openDisk(d)
	if err != nil {
		return err
	}
	err = errors.Join(erase.Metadata(dev), dev.Close())
	a.showPartitions(d.Name)
	return err
}

// deleteRAID stops all arrays and takes the superblocks and the partition tables off their disks.
// Disks without a part of an array are not touched; those that are protected, read-only or removable
// are left alone, and when such a one shares an array with another, nothing is deleted.
func (a *Agent) deleteRAID(ctx context.Context, c stepCall) (any, error) {
	a.loadRAID()
	if err := a.stopArrays(ctx); err != nil {
		return nil, fmt.Errorf("nothing was deleted: %w", err)
	}
	skipped, err := disk.Skipped(a.inventory.Disks(), c.node.Properties["skip_block_devices"])
	if err != nil {
		return nil, fmt.Errorf("nothing was deleted: %w", err)
	}
	var doomed []wire.Disk
	kept, gone := map[string]string{}, map[string]string{} // UUID → disk
	for _, d := range a.inventory.Disks() {
		found, err := a.superblocks(d)
		if err != nil {
			return nil, fmt.Errorf("nothing was deleted: %w", err)
		}
		why := leaveAlone(d, skipped)
		for _, s := range found {
			if why != "" {
				kept[s.UUID] = member(d) + ", " + why
			} else {
				gone[s.UUID] = member(d)
			}
		}
		if len(found) > 0 && why == "" {
			doomed = append(doomed, d)
		}
	}
	for uuid, d := range gone {
		if other, shared := kept[uuid]; shared {
			return nil, fmt.Errorf("nothing was deleted: %s holds a part of the array %s, another part is on a disk that is to be left "+
				"alone (%s)", d, uuid, other)
		}
	}
	var names []string
	for _, d := range doomed {
		c.report("deleting RAID from "+d.Name, int64(len(names)), int64(len(doomed)))
		if err := a.blank(d); err != nil {
			return nil, fmt.Errorf("deleting RAID from %s: %w", member(d), err)
		}
		a.Log.Info("RAID deleted", "disk", d.Name, "serial", d.Serial)
		names = append(names, member(d))
		c.report("RAID deleted from "+d.Name, int64(len(names)), int64(len(doomed)))
	}
	a.learnRAID(wire.Node{RAIDConfig: map[string]any{}})
	if len(names) == 0 {
		return "no disk held a part of an array", nil
	}
	return "software RAID deleted from " + strings.Join(names, ", "), nil
}

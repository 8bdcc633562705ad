package steps

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/billet-metal/billet/agent/mount"
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

// RAID carries out the steps of the RAID interface: software RAID, by mdadm.
type RAID struct{ *Host }

// Steps are those of the RAID interface.
func (r *RAID) Steps() []Step {
	return []Step{
		{Name: "delete_configuration", Interface: "raid", Priority: map[Kind]int{Clean: 0}, Run: r.deleteRAID},
		{Name: "create_configuration", Interface: "raid", Priority: map[Kind]int{Clean: 0}, Args: createRAIDArgs, Run: r.createRAID},
		{Name: "apply_configuration", Interface: "raid", Priority: map[Kind]int{Deploy: 0}, Args: applyRAIDArgs, Run: r.applyRAID},
	}
}

// createRAID builds the arrays of the node's target_raid_config. The result is the raid_config.
func (r *RAID) createRAID(ctx context.Context, c Call) (any, error) {
	var remove bool
	if err := c.Args.Decode("delete_existing", &remove); err != nil {
		return nil, err
	}
	if len(c.Node.TargetRAIDConfig) == 0 {
		return nil, errors.New("the node has no target_raid_config: set what is to be created first (PUT …/states/raid)")
	}
	return r.makeRAID(ctx, c, c.Node.TargetRAIDConfig, remove)
}

// applyRAID builds the arrays that its argument describes.
func (r *RAID) applyRAID(ctx context.Context, c Call) (any, error) {
	var want map[string]any
	remove := true
	if err := errors.Join(c.Args.Decode("raid_config", &want), c.Args.Decode("delete_existing", &remove)); err != nil {
		return nil, err
	}
	if len(want) == 0 {
		return nil, errors.New("the argument raid_config is missing: the RAID configuration to apply")
	}
	return r.makeRAID(ctx, c, want, remove)
}

func (r *RAID) makeRAID(ctx context.Context, c Call, target map[string]any, remove bool) (any, error) {
	want, err := raid.Parse(target)
	if err != nil {
		return nil, err
	}
	if remove {
		if _, err := r.deleteRAID(ctx, c); err != nil {
			return nil, err
		}
	} else if raid.IsSoftware(r.RAIDConfig) {
		return nil, errors.New("nothing was touched: the node has software RAID already, as its raid_config says: run the clean " +
			"step raid.delete_configuration first, or give delete_existing")
	}
	built, err := r.buildRAID(ctx, c, want)
	if err != nil {
		return nil, err
	}
	r.LearnRAID(wire.Node{RAIDConfig: built})
	return built, nil
}

// buildRAID divides the member disks and starts the arrays on them. A disk that holds anything, and a
// configuration that does not fit, are refused before anything is touched; when it fails later,
// the disks are blank again. Arrays that have a UUID keep it.
func (r *RAID) buildRAID(ctx context.Context, c Call, want raid.Config) (map[string]any, error) {
	free, err := unprotected(r.Inventory.Disks(), c.Node)
	if err != nil {
		return nil, err
	}
	members, err := disk.SelectMembers(free, want.LogicalDisks[0].Members)
	if err != nil {
		return nil, fmt.Errorf("nothing was touched: %w", err)
	}
	if err := r.areBlank(members); err != nil {
		return nil, fmt.Errorf("nothing was touched: %w", err)
	}
	smallest := slices.MinFunc(members, func(a, b wire.Disk) int { return cmp.Compare(a.Size, b.Size) })
	parts, settled, err := want.Layout(smallest.Size, len(members))
	if err != nil {
		return nil, fmt.Errorf("nothing was touched: %w", err)
	}
	r.loadRAID()
	for i, d := range members {
		c.Report("partitioning "+d.Name, int64(i), int64(len(members)))
		if err := r.divide(d, parts); err != nil {
			return nil, errors.Join(err, r.undoRAID(ctx, members[:i+1]))
		}
	}
	if err := r.startNew(ctx, c, settled, members, parts); err != nil {
		return nil, errors.Join(err, r.undoRAID(ctx, members))
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
func (r *RAID) areBlank(members []wire.Disk) error {
	for _, d := range members {
		found, err := r.superblocks(d)
		if err != nil {
			return err
		}
		if len(found) > 0 {
			return fmt.Errorf("%s holds a part of an array (%s on %s): run the clean step raid.delete_configuration first", member(d),
				found[0].UUID, found[0].node)
		}
		dev, err := r.openDisk(d)
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
func (r *RAID) divide(d wire.Disk, layout []raid.Partition) error {
	roles := map[raid.Role]disk.Role{raid.BIOSBoot: disk.BIOSBoot, raid.ESP: disk.ESPRole, raid.Array: disk.RAIDMember}
	parts := make([]disk.Partition, len(layout))
	for i, p := range layout {
		parts[i] = disk.Partition{Role: roles[p.Role], Number: p.Number, Offset: p.Offset, Length: p.Length}
	}
	dev, err := r.openDisk(d)
	if err != nil {
		return err
	}
	if err := errors.Join(write.Divide(dev, parts), dev.Close()); err != nil {
		return fmt.Errorf("partitioning %s: %w", member(d), err)
	}
	r.Log.Info("divided for RAID", "disk", d.Name, "serial", d.Serial, "partitions", len(parts))
	r.showPartitions(d.Name)
	return nil
}

// startNew makes the arrays on disks that were divided, and checks that each is what was asked for.
func (r *RAID) startNew(ctx context.Context, c Call, want raid.Config, members []wire.Disk, parts []raid.Partition) error {
	for _, p := range parts {
		if p.Role != raid.Array {
			continue
		}
		d := &want.LogicalDisks[p.Disk]
		if d.UUID == "" {
			d.UUID = raid.NewUUID()
		}
		made := raid.Made{Node: r.freeArray(p.Disk), Name: want.Name(p.Disk), UUID: d.UUID, Level: d.Level}
		for _, m := range members {
			made.Members = append(made.Members, disk.PartitionNode(m.Name, p.Number))
		}
		c.Report(fmt.Sprintf("making %s (RAID %s) of %s", made.Name, made.Level, strings.Join(made.Members, ", ")), int64(p.Disk),
			int64(len(want.LogicalDisks)))
		if err := mount.WaitForNodes(ctx, r.rooted(made.Members)...); err != nil {
			return err
		}
		if err := r.MDADM.Create(ctx, made); err != nil {
			return err
		}
		node := r.running(d.UUID)
		if node == "" {
			return fmt.Errorf("the array %s (%s) does not run though mdadm made it", made.Name, d.UUID)
		}
		if size := r.sizeOf(node); size < int64(d.SizeGB)<<30 {
			return fmt.Errorf("the array %s has %d bytes; %d GiB were asked for", made.Name, size, d.SizeGB)
		}
		r.Log.Info("array made", "name", made.Name, "device", node, "uuid", d.UUID, "level", d.Level, "members", made.Members)
	}
	return nil
}

func (r *RAID) sizeOf(name string) int64 {
	for _, d := range r.Inventory.Disks() {
		if d.Name == name {
			return d.Size
		}
	}
	return 0
}

// undoRAID leaves disks blank that were blank before.
func (r *RAID) undoRAID(ctx context.Context, members []wire.Disk) error {
	err := r.stopArrays(ctx)
	for _, d := range members {
		err = errors.Join(err, r.blank(d))
	}
	if err != nil {
		return fmt.Errorf("and cleaning up: %w", err)
	}
	return nil
}

func (r *RAID) blank(d wire.Disk) error {
	dev, err := r.openDisk(d)
	if err != nil {
		return err
	}
	err = errors.Join(erase.Metadata(dev), dev.Close())
	r.showPartitions(d.Name)
	return err
}

// deleteRAID stops all arrays and takes the superblocks and the partition tables off their disks.
// Disks without a part of an array are not touched; those that are protected, read-only or removable
// are left alone, and when such a one shares an array with another, nothing is deleted.
func (r *RAID) deleteRAID(ctx context.Context, c Call) (any, error) {
	r.loadRAID()
	if err := r.stopArrays(ctx); err != nil {
		return nil, fmt.Errorf("nothing was deleted: %w", err)
	}
	skipped, err := disk.Skipped(r.Inventory.Disks(), c.Node.Properties["skip_block_devices"])
	if err != nil {
		return nil, fmt.Errorf("nothing was deleted: %w", err)
	}
	var doomed []wire.Disk
	kept, gone := map[string]string{}, map[string]string{} // UUID → disk
	for _, d := range r.Inventory.Disks() {
		found, err := r.superblocks(d)
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
		c.Report("deleting RAID from "+d.Name, int64(len(names)), int64(len(doomed)))
		if err := r.blank(d); err != nil {
			return nil, fmt.Errorf("deleting RAID from %s: %w", member(d), err)
		}
		r.Log.Info("RAID deleted", "disk", d.Name, "serial", d.Serial)
		names = append(names, member(d))
		c.Report("RAID deleted from "+d.Name, int64(len(names)), int64(len(doomed)))
	}
	r.LearnRAID(wire.Node{RAIDConfig: map[string]any{}})
	if len(names) == 0 {
		return "no disk held a part of an array", nil
	}
	return "software RAID deleted from " + strings.Join(names, ", "), nil
}

package steps

import (
	"context"
	"errors"
	"fmt"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/erase"
	"github.com/billet-metal/billet/raid"
	"github.com/billet-metal/billet/wire"
)

// Software RAID outlives cleaning, as the arrays of a RAID controller do.

// unbootMembers takes the boot code and the EFI system partitions off the member disks of a node with
// software RAID; the arrays run again afterwards.
func (e *Eraser) unbootMembers(ctx context.Context, c Call) error {
	arrays, err := e.startArrays(ctx)
	if err != nil || len(arrays.LogicalDisks) == 0 {
		return err
	}
	members := e.allMembers()
	for _, d := range members {
		d.MemberOf = "" // it is not the array that is to be left alone
		if err := e.mayErase(d, c); err != nil {
			return err
		}
	}
	if err := e.stopArrays(ctx); err != nil {
		return err
	}
	for _, d := range members {
		c.Report("taking boot code off "+d.Name, 0, 0)
		if err := e.unboot(d); err != nil {
			return errors.Join(fmt.Errorf("taking boot code off %s: %w", member(d), err), e.restart(ctx))
		}
	}
	return e.restart(ctx)
}

// mayErase refuses an array whose member is to be left alone: it cannot be erased by half.
func (e *Eraser) mayErase(d wire.Disk, c Call) error {
	skipped, err := disk.Skipped(e.Inventory.Disks(), c.Node.Properties["skip_block_devices"])
	if err != nil {
		return err
	}
	if why := leaveAlone(d, skipped); why != "" {
		return fmt.Errorf("%s is part of the node's software RAID, but is to be left alone (%s): protect the array in place of the "+
			"disk, or delete the RAID", member(d), why)
	}
	return nil
}

func (e *Eraser) restart(ctx context.Context) error {
	_, err := e.startArrays(ctx)
	return err
}

// allMembers are the disks that arrays run on.
func (e *Eraser) allMembers() []wire.Disk {
	var members []wire.Disk
	for _, d := range e.Inventory.Disks() {
		if d.MemberOf != "" {
			members = append(members, d)
		}
	}
	return members
}

func (e *Eraser) unboot(d wire.Disk) error {
	dev, err := e.openDisk(d)
	if err != nil {
		return err
	}
	err = errors.Join(erase.Unboot(dev), dev.Close())
	e.showPartitions(d.Name)
	return err
}

// takeArraysApart stops the arrays of a node with software RAID, so that its disks can be erased whole
// by the best of their own methods. It returns what is to be built again afterwards; a step that runs
// again after the power failed finds disks without arrays, which is no error.
func (e *Eraser) takeArraysApart(ctx context.Context, c Call) (raid.Config, error) {
	arrays, err := raid.Built(e.RAIDConfig)
	if err != nil || len(arrays.LogicalDisks) == 0 {
		return arrays, err
	}
	e.loadRAID()
	if err := e.stopArrays(ctx); err != nil {
		return arrays, err
	}
	for _, d := range e.Inventory.Disks() {
		found, err := e.superblocks(d)
		if err != nil {
			return arrays, err
		}
		if len(found) > 0 {
			if err := e.mayErase(d, c); err != nil {
				return arrays, err
			}
		}
	}
	return arrays, nil
}

// putTogether builds the arrays again, with their UUIDs, on disks that were erased; result and err are of the erasing.
func (e *Eraser) putTogether(ctx context.Context, c Call, arrays raid.Config, result any, err error) (any, error) {
	if err != nil || len(arrays.LogicalDisks) == 0 {
		return result, err
	}
	erasure := result.(wire.Erasure)
	if _, err := e.Arrays.buildRAID(ctx, c, arrays); err != nil {
		return nil, &EraseFailed{
			Err: fmt.Errorf("%s, but the software RAID of the node cannot be built again: %w", erasure.Says, err), Disks: erasure.Disks,
		}
	}
	erasure.Says += "; the software RAID was built again"
	return erasure, nil
}

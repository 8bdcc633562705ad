package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/raid"
	"github.com/billet-metal/billet/wire"
)

// loader is the step prepare_instance_boot.
type loader struct {
	commands commands
	sources  Sources
	programs programs
}

func (d *Direct) loader() loader {
	return loader{commands: d.commands(), sources: d.Sources, programs: d.programs()}
}

// run makes the machine boot what was written. On UEFI the agent first enters the
// image's boot loader into the firmware's boot order; BIOS starts the disk's own boot code. A
// partition image has its own boot loader installed, or is booted over the network.
func (l loader) run(ctx context.Context, t *driver.Task) (driver.Result, error) {
	driver.Root{}.Leave(t.Node)
	asked := driver.InstanceOf(t.Node)
	if asked.IsPartition {
		return l.ofPartition(ctx, t)
	}
	// Firmware cannot start what is on software RAID by itself, whatever the mode.
	if asked.BootMode == driver.BIOS && !raid.IsSoftware(t.Node.RAIDConfig) {
		return driver.Done(), prepareDisk(ctx, t)
	}
	return l.commands.run(ctx, t, l.work(t))
}

func (l loader) poll(ctx context.Context, t *driver.Task) (driver.Result, error) {
	return l.commands.poll(ctx, t, l.work(t))
}

func prepareDisk(ctx context.Context, t *driver.Task) error {
	if err := t.Hardware.Boot.PrepareInstance(ctx, t); err != nil {
		return fmt.Errorf("making the machine boot its disk: %w", err)
	}
	return nil
}

// work is image.install_bootloader with what the agent knows of its partitions. When
// the boot mode is only assumed, a failure is the agent's to ignore: the machine may be a BIOS one.
func (l loader) work(t *driver.Task) work {
	return work{
		name: "image.install_bootloader", what: "install_bootloader", within: l.commands.within,
		params: func(ctx context.Context) (map[string]any, error) {
			uuids, err := l.written(ctx, t)
			if err != nil {
				return nil, err
			}
			asked := driver.InstanceOf(t.Node)
			if uuids.Root == "" && asked.BootMode == driver.BIOS && raid.IsSoftware(t.Node.RAIDConfig) {
				uuids.Root = t.Node.InstanceInfo.String("image_rootfs_uuid") // where the image's GRUB is; "": the agent looks for it
			}
			params := map[string]any{
				"root_uuid": uuids.Root, "efi_system_part_uuid": uuids.ESP, "prep_boot_part_uuid": uuids.PReP,
				"target_boot_mode": asked.Mode(),
			}
			if may, _ := l.programs.may(t.Node); !may && (asked.IsPartition || raid.IsSoftware(t.Node.RAIDConfig)) {
				params[programsKey] = false // Ironic's agents know no such parameter, and then do nothing
			}
			switch {
			case asked.BootMode != "":
			case !asked.IsPartition && !raid.IsSoftware(t.Node.RAIDConfig):
				params["ignore_bootloader_failure"] = true
			default: // a partition image has no other loader; the agent takes the mode it runs in
				delete(params, "target_boot_mode")
			}
			return params, nil
		},
		ended: func(ctx context.Context, _ *wire.CommandResult) (driver.Result, error) {
			return driver.Done(), prepareDisk(ctx, t)
		},
	}
}

// written asks the agent which partitions it wrote.
func (l loader) written(ctx context.Context, t *driver.Task) (wire.PartitionUUIDs, error) {
	var uuids wire.PartitionUUIDs
	s, err := l.commands.client.open(t.Node.Agent)
	if err != nil {
		return uuids, err
	}
	if err := s.ask(ctx, "standby.get_partition_uuids", nil, &uuids); err != nil {
		return uuids, err
	}
	if driver.InstanceOf(t.Node).IsPartition && uuids.Root == "" {
		return uuids, errors.New("the agent does not know the root file system it wrote: " +
			"was the deploy ramdisk started anew since? Deploy the node again")
	}
	return uuids, nil
}

// ofPartition notes the root file system, then has the image's boot loader installed
// (local boot) or the boot record switched to the image's own kernel (netboot).
func (l loader) ofPartition(ctx context.Context, t *driver.Task) (driver.Result, error) {
	uuids, err := l.written(ctx, t)
	if err != nil {
		return driver.Done(), err
	}
	asked := driver.InstanceOf(t.Node)
	if err := asked.NoteRoot(uuids.Root, finder(ctx, l.sources)); err != nil {
		return driver.Done(), err
	}
	if asked.Netboot {
		return driver.Done(), prepareDisk(ctx, t)
	}
	return l.commands.run(ctx, t, l.work(t))
}

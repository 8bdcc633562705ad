package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// maxVFATGB is what vfat holds on a disk of 512-byte sectors, the smallest there are.
const maxVFATGB = (disk.MaxVFAT * 512) >> 30

// validatePartitions checks what a partition image needs besides, and that others do not ask for it.
func (d *Direct) validatePartitions(n *node.Node) error {
	asked := driver.InstanceOf(n)
	if asked.Image.Source == "" {
		return nil
	}
	if err := asked.CheckPartitions(); err != nil || !asked.IsPartition {
		return err
	}
	if err := checkEphemeral(n, asked.Partitions); err != nil {
		return err
	}
	if !asked.Netboot {
		return nil
	}
	_, _, err := asked.NetbootFiles(d.Sources.File)
	return err
}

// checkEphemeral refuses an ephemeral file system that the writers cannot make.
func checkEphemeral(n *node.Node, p wire.PartitionImage) error {
	if f := n.InstanceInfo["ephemeral_format"]; f != nil && f != "" && !slices.Contains(disk.EphemeralFormats, p.EphemeralFormat) {
		return driver.CannotDeploy(n, "instance_info/ephemeral_format is %v; allowed are %s", f, strings.Join(disk.EphemeralFormats, ", "))
	}
	if p.EphemeralFormat == "vfat" && p.EphemeralMB > maxVFATGB<<10 {
		return driver.CannotDeploy(n, "instance_info/ephemeral_format is vfat, which holds at most %d GiB, and ephemeral_gb is %d; "+
			"allowed are smaller sizes, or %s", maxVFATGB, p.EphemeralMB>>10, strings.Join(disk.EphemeralFormats[:3], ", "))
	}
	return nil
}

// partitionUUIDs asks the agent which partitions it wrote.
func (d *Direct) partitionUUIDs(ctx context.Context, t *driver.Task) (wire.PartitionUUIDs, error) {
	var uuids wire.PartitionUUIDs
	s, err := d.Client.open(t.Node.Agent)
	if err != nil {
		return uuids, err
	}
	if err := s.ask(ctx, "standby.get_partition_uuids", nil, &uuids); err != nil {
		return uuids, err
	}
	if driver.InstanceOf(t.Node).IsPartition && uuids.Root == "" {
		return uuids, fmt.Errorf("the agent does not know the root file system it wrote: was the deploy ramdisk started anew since? Deploy the node again")
	}
	return uuids, nil
}

// preparePartitionBoot notes the root file system, then has the image's boot loader installed
// (local boot) or the boot record switched to the image's own kernel (netboot).
func (d *Direct) preparePartitionBoot(ctx context.Context, t *driver.Task) (driver.Result, error) {
	uuids, err := d.partitionUUIDs(ctx, t)
	if err != nil {
		return driver.Done(), err
	}
	asked := driver.InstanceOf(t.Node)
	if err := asked.NoteRoot(uuids.Root, d.Sources.File); err != nil {
		return driver.Done(), err
	}
	if asked.Netboot {
		return driver.Done(), prepareDisk(ctx, t)
	}
	r, c, err := d.run(ctx, t, d.bootLoaderWork(t))
	return bootLoaderEnded(ctx, t, r, c, err)
}

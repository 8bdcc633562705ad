package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// Values of instance_info.image_type.
const (
	wholeDisk = "whole-disk"
	partition = "partition"
)

// Keys of driver_internal_info, which only drivers write. The boot interface reads them: with a
// kernel the instance is booted over the network.
const (
	rootUUIDKey       = "root_uuid_or_disk_id" // Ironic's name
	netbootKernelKey  = "netboot_kernel"       // absolute path, or http(s) URL
	netbootRamdiskKey = "netboot_ramdisk"
)

// maxGB bounds sizes so that no sum of them overflows.
const maxGB = 1 << 20

// maxVFATGB is what vfat holds on a disk of 512-byte sectors, the smallest there are.
const maxVFATGB = (disk.MaxVFAT * 512) >> 30

// isPartition reports whether the node's image is a partition image, by Ironic's rule: it says
// so, or it has a kernel and a ramdisk of its own.
func isPartition(n *node.Node) bool {
	i := n.InstanceInfo
	if kind := i.String("image_type"); kind != "" {
		return kind == partition
	}
	return i.String("kernel") != "" || i.String("ramdisk") != ""
}

// isNetboot reports whether the instance boots over the network for as long as it lives.
func isNetboot(n *node.Node) bool { return strings.EqualFold(n.Capability("boot_option"), "netboot") }

// partitionSizes reads the sizes of a partition image's disk.
func partitionSizes(n *node.Node) (wire.PartitionImage, error) {
	i := n.InstanceInfo
	p := wire.PartitionImage{EphemeralFormat: i.String("ephemeral_format"), Kernel: i.String("kernel"), Ramdisk: i.String("ramdisk")}
	var ephemeralGB int
	for _, f := range []struct {
		key      string
		min, max int
		out      *int
	}{{"root_gb", 1, maxGB, &p.RootGB}, {"swap_mb", 0, maxGB << 10, &p.SwapMB}, {"ephemeral_gb", 0, maxGB, &ephemeralGB}} {
		v, ok := wholeNumber(i[f.key])
		if !ok || v < f.min || v > f.max {
			if i[f.key] == nil && f.min > 0 {
				return p, invalid(n, "its image is a partition image, which needs instance_info/%s: a whole number of at least %d", f.key, f.min)
			}
			return p, invalid(n, "instance_info/%s is %v; a whole number from %d to %d is allowed", f.key, i[f.key], f.min, f.max)
		}
		*f.out = v
	}
	p.RootMB, p.EphemeralMB = p.RootGB<<10, ephemeralGB<<10
	if f := i["ephemeral_format"]; p.EphemeralMB > 0 && (f == nil || f == "") {
		p.EphemeralFormat = "ext4"
	}
	keep, ok := boolean(i["preserve_ephemeral"])
	if !ok {
		return p, invalid(n, "instance_info/preserve_ephemeral is %v; true and false are allowed", i["preserve_ephemeral"])
	}
	p.PreserveEphemeral = keep
	return p, nil
}

// wholeNumber reads a number as JSON or a client's text has it; nothing is 0.
func wholeNumber(v any) (int, bool) {
	switch v := v.(type) {
	case nil:
		return 0, true
	case int:
		return v, true
	case float64:
		return int(v), v == math.Trunc(v) && math.Abs(v) < 1<<40
	case json.Number:
		n, err := strconv.Atoi(v.String())
		return n, err == nil
	case string:
		n, err := strconv.Atoi(strings.TrimSpace(v))
		return n, err == nil
	}
	return 0, false
}

func boolean(v any) (value, ok bool) {
	switch v := v.(type) {
	case nil:
		return false, true
	case bool:
		return v, true
	case string:
		b, err := strconv.ParseBool(v)
		return b, err == nil
	}
	return false, false
}

// validatePartitions checks what a partition image needs besides, and that others do not ask for it.
func (d *Direct) validatePartitions(n *node.Node) error {
	if n.InstanceInfo.String("image_source") == "" {
		return nil
	}
	if !isPartition(n) {
		if isNetboot(n) {
			return invalid(n, "the capability boot_option is netboot, but its image is a whole-disk image, which boots from its disk only; set image_type to partition, with kernel and ramdisk, or boot_option to local")
		}
		return nil
	}
	p, err := partitionSizes(n)
	if err != nil {
		return err
	}
	if f := n.InstanceInfo["ephemeral_format"]; f != nil && f != "" && !slices.Contains(disk.EphemeralFormats, p.EphemeralFormat) {
		return invalid(n, "instance_info/ephemeral_format is %v; allowed are %s", f, strings.Join(disk.EphemeralFormats, ", "))
	}
	if p.EphemeralFormat == "vfat" && p.EphemeralMB > maxVFATGB<<10 {
		return invalid(n, "instance_info/ephemeral_format is vfat, which holds at most %d GiB, and ephemeral_gb is %d; allowed are smaller sizes, or %s", maxVFATGB, p.EphemeralMB>>10, strings.Join(disk.EphemeralFormats[:3], ", "))
	}
	if p.PreserveEphemeral && p.EphemeralMB == 0 {
		return invalid(n, "instance_info/preserve_ephemeral is true, but there is no ephemeral_gb: name the size of the partition that is to be kept")
	}
	if !isNetboot(n) {
		return nil
	}
	_, _, err = d.netbootFiles(n)
	return err
}

// netbootFiles are where the image's own kernel and ramdisk lie.
func (d *Direct) netbootFiles(n *node.Node) (kernel, ramdisk string, err error) {
	for key, out := range map[string]*string{"kernel": &kernel, "ramdisk": &ramdisk} {
		source := n.InstanceInfo.String(key)
		if source == "" {
			return "", "", invalid(n, "the capability boot_option is netboot, which needs instance_info/kernel and instance_info/ramdisk: the image's own, as file:// or http(s):// URLs or names in the image store")
		}
		if *out, err = d.Sources.File(source); err != nil {
			return "", "", invalid(n, "instance_info/%s: %v", key, err)
		}
	}
	return kernel, ramdisk, nil
}

// CheckPartitions refuses, before the machine boots anything, a partition image that is larger than its
// partition or holds a whole disk.
func (d *Direct) CheckPartitions(n *node.Node, r image.Resolved) error {
	if !isPartition(n) {
		return nil
	}
	p, err := partitionSizes(n)
	if err != nil {
		return err
	}
	if r.Info.Format == image.GPT {
		return invalid(n, "instance_info asks for a partition image, but image_source holds a whole disk with a partition table: set image_type to %q", wholeDisk)
	}
	if room := int64(p.RootGB) << 30; r.Info.VirtualSize > room {
		return invalid(n, "its image needs %d bytes, but instance_info/root_gb is %d, which is %d bytes", r.Info.VirtualSize, p.RootGB, room)
	}
	return nil
}

// DescribePartitions adds to image_info what whoever writes a partition image needs to know; a whole-disk
// image needs nothing. The boot mode stays empty when nobody said it: the machine knows its firmware.
func (d *Direct) DescribePartitions(n *node.Node, info *wire.ImageInfo) error {
	if !isPartition(n) {
		return nil
	}
	p, err := partitionSizes(n)
	if err != nil {
		return err
	}
	info.ImageType, info.PartitionImage = partition, &p
	info.BootOption = "local"
	if isNetboot(n) {
		info.BootOption = "netboot"
	}
	info.DiskLabel = strings.ToLower(n.Capability("disk_label"))
	if mode, known := d.bootMode(n); known {
		info.BootMode = strings.ToLower(mode)
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
	if isPartition(t.Node) && uuids.Root == "" {
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
	if err := d.NoteRoot(t.Node, uuids.Root); err != nil {
		return driver.Done(), err
	}
	if isNetboot(t.Node) {
		return driver.Done(), prepareDisk(ctx, t)
	}
	r, c, err := d.run(ctx, t, d.bootLoaderWork(t))
	return bootLoaderEnded(ctx, t, r, c, err)
}

// NoteRoot tells the boot interface what the instance boots by: the UUID of its root file system, which is
// "" for a whole-disk image, and the kernel and ramdisk of a netboot one. What an earlier instance was
// booted by is forgotten.
func (d *Direct) NoteRoot(n *node.Node, uuid string) error {
	info := withoutNetboot(n)
	if isPartition(n) {
		info[rootUUIDKey] = uuid
		if isNetboot(n) {
			kernel, ramdisk, err := d.netbootFiles(n)
			if err != nil {
				return err
			}
			info[netbootKernelKey], info[netbootRamdiskKey] = kernel, ramdisk
		}
	}
	n.DriverInternalInfo = info
	return nil
}

// forgetNetboot drops what an earlier instance was booted by.
func forgetNetboot(t *driver.Task) { t.Node.DriverInternalInfo = withoutNetboot(t.Node) }

func withoutNetboot(n *node.Node) node.Document {
	info := n.DriverInternalInfo.Clone()
	for _, key := range []string{rootUUIDKey, netbootKernelKey, netbootRamdiskKey} {
		delete(info, key)
	}
	return info
}

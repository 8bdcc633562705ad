package driver

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/node"
)

// capabilities are those that drivers obey, with the values that are allowed.
var capabilities = map[string][]string{
	"boot_mode":   {BIOS, UEFI},
	"boot_option": {"local", "netboot"},
	"disk_label":  {"gpt", "msdos"},
	"secure_boot": {"true", "false"},
}

// Values of instance_info/image_type.
const (
	WholeDiskType = "whole-disk"
	PartitionType = "partition"
)

// CannotDeploy is the error of a node that asks for what is not allowed or not possible.
func CannotDeploy(n *node.Node, format string, args ...any) error {
	return node.Errorf(node.Invalid, "Node %s cannot be deployed: %s.", n.UUID, fmt.Sprintf(format, args...))
}

// CheckCapabilities refuses values of capabilities that nobody knows.
func (i Instance) CheckCapabilities() error {
	given := i.node.InstanceInfo["capabilities"]
	if _, _, ok := node.Capabilities(given); !ok {
		return CannotDeploy(i.node, "instance_info/capabilities is %v; an object such as {\"boot_mode\": \"uefi\"}, "+
			"or a text with one in JSON, is allowed", given)
	}
	for _, name := range slices.Sorted(maps.Keys(capabilities)) {
		if v := i.anyCapability(name); v != "" && !slices.Contains(capabilities[name], strings.ToLower(v)) {
			return CannotDeploy(i.node, "the capability %s is %q; allowed are %s", name, v, strings.Join(capabilities[name], ", "))
		}
	}
	return nil
}

// CheckImage refuses an image whose kind, form or server is not supported. What the image store says of it is its own.
func (i Instance) CheckImage() error {
	n, info := i.node, i.node.InstanceInfo
	texts := []string{"image_checksum", "image_os_hash_algo", "image_os_hash_value", "image_disk_format", "image_container_format"}
	if i.Image.Source == "" {
		texts = nil
	}
	for _, key := range texts {
		if v, ok := info[key]; ok && v != nil {
			if _, ok := v.(string); !ok {
				return CannotDeploy(n, "instance_info/%s is %v; a string is allowed", key, v)
			}
		}
	}
	if kind := info.String("image_type"); kind != "" && kind != WholeDiskType && kind != PartitionType {
		return CannotDeploy(n, "instance_info/image_type is %q; %q and %q are allowed", kind, WholeDiskType, PartitionType)
	}
	if i.container != "" && i.container != "bare" {
		return CannotDeploy(n, "instance_info/image_container_format is %q; only \"bare\" is supported", i.container)
	}
	switch i.auth {
	case "", "noauth":
	case "http_basic":
		if i.Image.User == "" || i.Image.Password == "" {
			return CannotDeploy(n, "image_server_auth_strategy is http_basic, but image_server_user or image_server_password "+
				"is missing from instance_info")
		}
	default:
		return CannotDeploy(n, "instance_info/image_server_auth_strategy is %q; \"http_basic\" and \"noauth\" are supported", i.auth)
	}
	return nil
}

// CheckPartitions refuses partitions that cannot be made as they are asked for, and a way of booting that the image does
// not have.
func (i Instance) CheckPartitions() error {
	n := i.node
	switch {
	case !i.IsPartition && i.Netboot:
		return CannotDeploy(n, "the capability boot_option is netboot, but its image is a whole-disk image, which boots from its disk only; "+
			"set image_type to partition, with kernel and ramdisk, or boot_option to local")
	case i.badPartitions != nil:
		return i.badPartitions
	case i.IsPartition && !i.Netboot && i.SecureBoot && Deployable(n):
		return CannotDeploy(n, "its instance asks for Secure Boot, and the boot loader that is installed for a partition image "+
			"is signed by nobody: take a whole-disk image, whose own boot loaders are signed")
	case i.IsPartition && i.Partitions.PreserveEphemeral && i.Partitions.EphemeralMB == 0:
		return CannotDeploy(n, "instance_info/preserve_ephemeral is true, but there is no ephemeral_gb: "+
			"name the size of the partition that is to be kept")
	}
	return nil
}

// CheckFits refuses, before the machine boots anything, a partition image that is larger than its partition or holds a
// whole disk.
func (i Instance) CheckFits(r image.Resolved) error {
	switch p := i.Partitions; {
	case !i.IsPartition, r.Info.Format == "": // what it is shows when all of it is here
		return nil
	case i.badPartitions != nil:
		return i.badPartitions
	case r.Info.Format == image.GPT, r.Info.PartitionTable != "":
		return CannotDeploy(i.node, "instance_info asks for a partition image, but image_source holds a whole disk with a partition table: "+
			"set image_type to %q", WholeDiskType)
	case r.Info.VirtualSize > int64(p.RootGB)<<30:
		return CannotDeploy(i.node, "its image needs %d bytes, but instance_info/root_gb is %d, which is %d bytes",
			r.Info.VirtualSize, p.RootGB, int64(p.RootGB)<<30)
	}
	return nil
}

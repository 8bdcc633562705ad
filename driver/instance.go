package driver

import (
	"slices"
	"strings"

	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// Boot modes.
const (
	BIOS = "bios"
	UEFI = "uefi"
)

// Instance is what a node asks for: read here alone, so that the drivers of one node never go by different answers. What
// somebody wrote that is not allowed counts as not said; the checks refuse it before anything boots.
//
// The mode a machine boots in is, in this order:
//  1. the capability boot_mode, of the instance before that of the node: somebody said so;
//  2. UEFI, when the instance asks for Secure Boot, which BIOS does not have;
//  3. what the machine itself said when it booted last: nobody wants it otherwise, and nothing changes it;
//  4. UEFI, which is assumed while nobody knows: what machines are made for today.
type Instance struct {
	AskedMode  string // 1 and 2: BIOS or UEFI when somebody asks for it, else ""
	BootMode   string // 1 to 3: "" when nobody knows
	SecureBoot bool   // the instance asks for it; that of the node only says that its hardware has it
	Netboot    bool   // it boots over the network for as long as it lives
	DiskLabel  string // "gpt", "msdos" or ""

	Image       image.Ref
	IsPartition bool                // its image is a partition image
	Partitions  wire.PartitionImage // of a partition image
	auth        string              // image_server_auth_strategy
	container   string              // image_container_format

	node          *node.Node
	badPartitions error // why Partitions cannot be read
}

// Mode is the mode the machine boots in, also when it is only assumed.
func (i Instance) Mode() string {
	if i.BootMode == "" {
		return UEFI
	}
	return i.BootMode
}

// InstanceOf reads what a node asks for.
func InstanceOf(n *node.Node) Instance {
	info := n.InstanceInfo
	i := Instance{
		node:       n,
		SecureBoot: strings.EqualFold(n.InstanceCapability("secure_boot"), "true"),
		Netboot:    strings.EqualFold(n.Capability("boot_option"), "netboot"),
		DiskLabel:  capability(n, "disk_label"),
		auth:       info.String("image_server_auth_strategy"),
		container:  info.String("image_container_format"),
		Image: image.Ref{
			Source: info.String("image_source"), Checksum: info.String("image_checksum"),
			HashAlgo: info.String("image_os_hash_algo"), HashValue: info.String("image_os_hash_value"),
			DiskFormat: info.String("image_disk_format"),
			User:       info.Text("image_server_user"), Password: info.Text("image_server_password"),
		},
		IsPartition: isPartition(info),
	}
	i.AskedMode = capability(n, "boot_mode")
	if i.AskedMode == "" && i.SecureBoot {
		i.AskedMode = UEFI
	}
	if i.BootMode = i.AskedMode; i.BootMode == "" && slices.Contains(capabilities["boot_mode"], n.BootMode) {
		i.BootMode = n.BootMode
	}
	if i.IsPartition {
		i.Partitions, i.badPartitions = partitionsOf(n)
	}
	return i
}

// capability is one of the values that are allowed, in lower case; else "".
func capability(n *node.Node, name string) string {
	value := strings.ToLower(n.Capability(name))
	if !slices.Contains(capabilities[name], value) {
		return ""
	}
	return value
}

// isPartition goes by Ironic's rule: the image says so, or it has a kernel or a ramdisk of its own.
func isPartition(info node.Document) bool {
	if kind := info.String("image_type"); kind != "" {
		return kind == PartitionType
	}
	return info.String("kernel") != "" || info.String("ramdisk") != ""
}

// Deployable reports whether a node may be deployed in the state it is in. One that may not is validated for cleaning,
// which needs no image.
func Deployable(n *node.Node) bool {
	_, deploy := n.State.Next(node.EventDeploy)
	_, rebuild := n.State.Next(node.EventRebuild)
	return deploy || rebuild
}

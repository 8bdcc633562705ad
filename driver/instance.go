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
	described   *image.Described    // what Glance says of its image; nil: it is not Glance's, or was not asked about

	node          *node.Node
	badPartitions error // why Partitions cannot be read
}

// Node is the node that asks.
func (i Instance) Node() *node.Node { return i.node }

// Mode is the mode the machine boots in, also when it is only assumed.
func (i Instance) Mode() string {
	if i.BootMode == "" {
		return UEFI
	}
	return i.BootMode
}

// InstanceOf reads what a node asks for. Within a deploy it has what Glance said of its image.
func InstanceOf(n *node.Node) Instance { return InstanceWith(n, knownOf(n)) }

// InstanceWith reads what a node asks for, with an image of Glance: what the node says wins over what the image says, and that over
// what the node's properties say.
func InstanceWith(n *node.Node, d *image.Described) Instance {
	info := n.InstanceInfo
	i := Instance{
		node: n, described: d,
		auth:      info.String("image_server_auth_strategy"),
		container: info.String("image_container_format"),
		Image: image.Ref{
			Source: info.String("image_source"), Checksum: info.String("image_checksum"),
			HashAlgo: info.String("image_os_hash_algo"), HashValue: info.String("image_os_hash_value"),
			DiskFormat: info.String("image_disk_format"),
			User:       info.Text("image_server_user"), Password: info.Text("image_server_password"),
			Known: d,
		},
		IsPartition: isPartition(info, d),
	}
	i.SecureBoot = strings.EqualFold(i.ownCapability("secure_boot"), "true")
	i.Netboot = strings.EqualFold(i.anyCapability("boot_option"), "netboot")
	i.DiskLabel = i.capability("disk_label")
	i.AskedMode = i.capability("boot_mode")
	if i.AskedMode == "" && i.SecureBoot {
		i.AskedMode = UEFI
	}
	if i.BootMode = i.AskedMode; i.BootMode == "" && slices.Contains(capabilities["boot_mode"], n.BootMode) {
		i.BootMode = n.BootMode
	}
	if i.IsPartition {
		i.Partitions, i.badPartitions = i.partitions()
	}
	return i
}

// ownCapability is what the instance asks for: the node's instance_info, or its image.
func (i Instance) ownCapability(name string) string {
	if value := i.node.InstanceCapability(name); value != "" || i.described == nil {
		return value
	}
	return i.described.Capabilities[name]
}

// anyCapability is what the instance asks for, else what the node's properties say.
func (i Instance) anyCapability(name string) string {
	if value := i.ownCapability(name); value != "" {
		return value
	}
	return i.node.Capability(name)
}

// capability is one of the values that are allowed, in lower case; else "".
func (i Instance) capability(name string) string {
	value := strings.ToLower(i.anyCapability(name))
	if !slices.Contains(capabilities[name], value) {
		return ""
	}
	return value
}

// isPartition goes by Ironic's rule: the image says so, or it has a kernel or a ramdisk of its own.
func isPartition(info node.Document, d *image.Described) bool {
	if kind := info.String("image_type"); kind != "" {
		return kind == PartitionType
	}
	if info.String("kernel") != "" || info.String("ramdisk") != "" || d == nil {
		return info.String("kernel") != "" || info.String("ramdisk") != ""
	}
	if d.Kind != "" {
		return d.Kind == PartitionType
	}
	return d.Kernel != "" || d.Ramdisk != "" || d.DiskFormat == "ami"
}

// file is a source of the instance's own kernel or ramdisk: the node's, else the image's; "" for none.
func (i Instance) file(key string) string {
	if source := i.node.InstanceInfo.String(key); source != "" || i.described == nil {
		return source
	}
	return map[string]string{"kernel": i.described.Kernel, "ramdisk": i.described.Ramdisk}[key]
}

// Deployable reports whether a node may be deployed in the state it is in. One that may not is validated for cleaning,
// which needs no image.
func Deployable(n *node.Node) bool {
	_, deploy := n.State.Next(node.EventDeploy)
	_, rebuild := n.State.Next(node.EventRebuild)
	return deploy || rebuild
}

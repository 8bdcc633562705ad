package driver

import "github.com/billet-metal/billet/node"

// Root is what the instance of a partition image boots by. The deploy interface leaves it in driver_internal_info, which
// only drivers write, and the boot interface reads it: with a kernel the instance is booted over the network.
type Root struct {
	UUID    string // of its root file system
	Kernel  string // of a netboot instance: absolute path, or http(s) URL
	Ramdisk string // the same
}

// Its keys; the first is Ironic's name.
const (
	rootUUID       = "root_uuid_or_disk_id"
	netbootKernel  = "netboot_kernel"
	netbootRamdisk = "netboot_ramdisk"
)

// RootOf reads what a node's instance boots by; zero: its disk.
func RootOf(n *node.Node) Root {
	info := n.DriverInternalInfo
	return Root{UUID: info.String(rootUUID), Kernel: info.String(netbootKernel), Ramdisk: info.String(netbootRamdisk)}
}

// Leave keeps it on the node, and forgets what an earlier instance was booted by.
func (r Root) Leave(n *node.Node) {
	n.DriverInternalInfo = n.DriverInternalInfo.Clone()
	for key, value := range map[string]string{rootUUID: r.UUID, netbootKernel: r.Kernel, netbootRamdisk: r.Ramdisk} {
		if delete(n.DriverInternalInfo, key); value != "" {
			n.DriverInternalInfo[key] = value
		}
	}
}

// NoteRoot leaves what an instance boots by, once its image is written: uuid is its root file system's, file finds the
// kernel and the ramdisk of a netboot one.
func (i Instance) NoteRoot(uuid string, file func(source string) (string, error)) error {
	r := Root{}
	if i.IsPartition {
		r.UUID = uuid
		if i.Netboot {
			var err error
			if r.Kernel, r.Ramdisk, err = i.NetbootFiles(file); err != nil {
				return err
			}
		}
	}
	r.Leave(i.node)
	return nil
}

// NetbootFiles are where the image's own kernel and ramdisk lie.
func (i Instance) NetbootFiles(file func(source string) (string, error)) (kernel, ramdisk string, err error) {
	for key, out := range map[string]*string{"kernel": &kernel, "ramdisk": &ramdisk} {
		source := i.file(key)
		if source == "" {
			return "", "", CannotDeploy(i.node, "the capability boot_option is netboot, which needs instance_info/kernel and "+
				"instance_info/ramdisk: the image's own, as file:// or http(s):// URLs or names in the image store")
		}
		if *out, err = file(source); err != nil {
			return "", "", CannotDeploy(i.node, "instance_info/%s: %v", key, err)
		}
	}
	return kernel, ramdisk, nil
}

package pxe

import (
	"context"
	"fmt"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// livesInMemory reports whether the node's instance is a kernel and a ramdisk.
func livesInMemory(t *driver.Task) bool {
	return t.Hardware != nil && t.Hardware.Deploy != nil && t.Hardware.Deploy.Name() == driver.RamdiskDeploy
}

// bootInstanceFiles makes every later boot start the instance's own kernel and ramdisk.
func (b *Boot) bootInstanceFiles(ctx context.Context, t *driver.Task) error {
	files, err := b.instanceFiles(t.Node)
	if err != nil {
		return err
	}
	if files, err = b.settle(ctx, files); err != nil {
		return err
	}
	line, err := b.instanceLine(t)
	if err != nil {
		return err
	}
	if files.ramdisk.place == "" {
		line = "" // a medium has its own
	}
	r, err := b.recordOfFlow(ctx, t)
	if err != nil {
		return err
	}
	r.Loader, r.Kernel, r.Ramdisk, r.CommandLine, r.Image, r.AskedBy = b.instanceLoader(t), files.kernel.place, files.ramdisk.place,
		line, "", ""
	r.Until = boot.End(instanceLife)
	if err := b.Records.PutRecord(ctx, r); err != nil {
		return fmt.Errorf("writing the instance's boot record: %w", err)
	}
	p, err := persistence(t.Node)
	if err != nil {
		return err
	}
	return setBootDevice(ctx, t, node.BootDevice{Device: b.networkDevice(t), Persistent: p != never})
}

// instanceLine is the user's own kernel parameters: the ramdisk is no agent's.
func (b *Boot) instanceLine(t *driver.Task) (string, error) {
	for _, key := range []string{"ramdisk_kernel_arguments", "kernel_append_params"} {
		if line := t.Node.InstanceInfo.String(key); line != "" {
			return spell(b.instanceLoader(t), line, "instance_info/"+key)
		}
	}
	return "", nil
}

// instanceFiles picks the two files, or the medium in the kernel's place.
func (b *Boot) instanceFiles(n *node.Node) (ramdiskFiles, error) {
	if n.InstanceInfo[bootISO] != nil {
		if b.Loader != boot.IPXE {
			return ramdiskFiles{}, node.Errorf(node.Invalid, "instance_info/boot_iso needs iPXE, which the boot interface %s of node "+
				"%s does not use: set boot_interface to ipxe or http-ipxe.", b.Name(), n.UUID)
		}
		medium, err := b.instanceFile(n, bootISO)
		return ramdiskFiles{kernel: medium}, err
	}
	kernel, err := b.instanceFile(n, "kernel")
	if err != nil {
		return ramdiskFiles{}, err
	}
	ramdisk, err := b.instanceFile(n, "ramdisk")
	return ramdiskFiles{kernel, ramdisk}, err
}

// bootISO is the instance_info key of a medium that the instance is booted from.
const bootISO = "boot_iso"

func (b *Boot) instanceFile(n *node.Node, key string) (bootFile, error) {
	s := n.InstanceInfo.String(key)
	if s == "" {
		return bootFile{}, node.Errorf(node.Invalid, "instance_info/%s is missing for node %s: set it to a file://, http:// or "+
			"https:// URL.", key, n.UUID)
	}
	return b.locate("instance_info/"+key, s)
}

package pxe

import (
	"slices"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// DHCPOptions is described on driver.NetworkBoot. They are for the loader that also starts where Secure Boot is on: another
// DHCP server cannot be told in time that it was switched off for the ramdisk.
func (b *Boot) DHCPOptions(t *driver.Task, mac string) []node.DHCPOption {
	disabled := func(p node.Port) bool { return p.Address == mac && !p.PXEEnabled }
	if !b.Server.IsValid() || slices.ContainsFunc(t.Ports, disabled) {
		return nil
	}
	arch := b.arch(t.Node)
	if b.Firmware != UEFIHTTP && driver.InstanceOf(t.Node).Mode() == driver.BIOS {
		arch = boot.BIOS
	}
	files := boot.Files{BaseURL: b.APIURL, Loaders: b.Loaders}
	return files.Options(b.Server, boot.Client{MAC: mac, Arch: arch, Loader: b.instanceLoader(t)})
}

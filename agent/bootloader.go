package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/billet-metal/billet/agent/disk"
	"github.com/billet-metal/billet/agent/efi"
	"github.com/billet-metal/billet/agent/wire"
)

// rootDisk opens the disk the instance is on: the one this agent wrote, rather than what choosing
// again would give.
func (a *Agent) rootDisk(ctx context.Context) (*disk.Device, error) {
	if a.written != nil {
		return a.openDisk(*a.written)
	}
	root, err := a.selectRoot(ctx, a.node)
	if err != nil {
		return nil, err
	}
	return a.openDisk(root)
}

// partitionUUIDs names the partitions that booting needs. A whole-disk image brings its own root
// file system, which only its own boot loader knows: the root UUID stays empty.
func (a *Agent) partitionUUIDs(ctx context.Context, _ params) (any, error) {
	dev, err := a.rootDisk(ctx)
	if err != nil {
		return nil, err
	}
	defer dev.Close()
	return wire.PartitionUUIDs{ESP: disk.ESP(dev), PReP: disk.PReP(dev)}, nil
}

// installBootloader makes the machine able to boot the image from its disk. A whole-disk image
// brings its own loader: BIOS machines need nothing more, UEFI machines a boot entry.
func (a *Agent) installBootloader(ctx context.Context, p params) (any, error) {
	var mode string
	var ignore bool
	if err := p.decode("target_boot_mode", &mode); err != nil {
		return nil, err
	}
	if err := p.decode("ignore_bootloader_failure", &ignore); err != nil {
		return nil, err
	}
	if mode == "" {
		mode = a.inventory.BootMode()
	}
	if mode == "bios" {
		return "a whole-disk image brings its own boot loader; nothing to do in BIOS mode", nil
	}
	text, err := a.makeBootEntry(ctx)
	if err != nil && ignore {
		a.Log.Warn("no boot entry was made, which is to be ignored", "error", err)
		return "no boot entry was made, which is to be ignored: " + err.Error(), nil
	}
	return text, err
}

func (a *Agent) makeBootEntry(ctx context.Context) (string, error) {
	dir := filepath.Join(a.Config.Root, efi.Efivars)
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("the instance is to boot in UEFI mode, but this machine booted in %s mode, so its firmware's boot entries cannot be reached: set the same boot mode in the firmware and in the node's capabilities", a.inventory.BootMode())
	}
	dev, err := a.rootDisk(ctx)
	if err != nil {
		return "", err
	}
	defer dev.Close()
	loader, number, err := disk.InstallLoader(dev, efi.Variables{Dir: dir})
	if err != nil {
		return "", err
	}
	a.Log.Info("boot entry made", "entry", number, "loader", loader.Path, "partition", loader.PartUUID)
	return fmt.Sprintf("boot entry Boot%04X starts %s of partition %d", number, loader.Path, loader.Partition.Number), nil
}

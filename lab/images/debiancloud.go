package images

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/billet-metal/billet/ramdisk"
)

// cloudPackages are those of Debian's own cloud images that bear on the config drive: cloud-init with
// Debian's settings, netplan, which it writes the network's configuration for, and what grows the
// root partition in front of the config drive.
var cloudPackages = append(slices.Clone(debianPackages), "cloud-init", "cloud-guest-utils", "netplan.io", "sudo")

// cloudFiles are those of the whole disk image less what the lab's own program does there. The list of
// data sources is Debian's: ds-identify has to find the config drive by itself.
func cloudFiles() map[string]string {
	files := maps.Clone(debianFiles)
	for _, name := range []string{
		"etc/systemd/system/billet-first-boot.service", "etc/systemd/network/80-dhcp.network", "etc/ssh/sshd_config.d/billet.conf",
	} {
		delete(files, name)
	}
	// A locale that needs no making, one kind of host key and no packages to update: each saves an
	// emulated processor half a minute and none bears on the config drive.
	files["etc/cloud/cloud.cfg.d/90_lab.cfg"] = "manage_etc_hosts: true\nlocale: C.UTF-8\nssh_genkeytypes: [ed25519]\n" +
		"output: {all: '| tee -a /var/log/cloud-init-output.log'}\n"
	return files
}

func cloudInputs(ctx context.Context, _ *build) (string, error) {
	kernel, err := ramdisk.PackageName(ctx, ramdisk.Cloud)
	if err != nil {
		return "", err
	}
	return fmt.Sprint("2 ", kernel, cloudPackages, debianBoot, earlyConfig, finishAny, cloudFiles()), nil
}

func makeDebianCloud(ctx context.Context, b *build, out string) error {
	return b.makeDebianDisk(ctx, debianSystem{cloudPackages, cloudFiles(), finishAny, false}, "b111e700-0000-4000-8000-000000000060", out)
}

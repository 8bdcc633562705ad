package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/billet-metal/billet/ramdisk"
)

// debianPackages come on top of mmdebstrap's minbase.
var debianPackages = []string{
	"linux-image-cloud-amd64", "initramfs-tools", "zstd", "systemd-sysv", "udev", "dbus", "login", "passwd",
	"iproute2", "e2fsprogs", "openssh-server",
}

// debianFiles are written before the packages are configured, so that their scripts see them.
var debianFiles = map[string]string{
	"etc/initramfs-tools/conf.d/billet":   "MODULES=list\nCOMPRESS=zstd\nCOMPRESSLEVEL=3\n",
	"etc/initramfs-tools/modules":         "virtio_pci\nvirtio_blk\nvirtio_scsi\nsd_mod\next4\ncrc32c_generic\n",
	"etc/fstab":                           "LABEL=root / ext4 errors=remount-ro 0 1\n",
	"etc/hostname":                        "debian\n",
	"etc/hosts":                           "127.0.0.1 localhost\n::1 localhost ip6-localhost\n",
	"etc/machine-id":                      "",
	"etc/systemd/network/80-dhcp.network": "[Match]\nType=ether\n\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=ipv6\n",
	"boot/grub/grub.cfg": serialConfig +
		"linux /vmlinuz root=LABEL=root ro console=tty0 console=ttyS0,115200n8 quiet\ninitrd /initrd.img\nboot\n",
	"etc/ssh/sshd_config.d/billet.conf":            "HostKey /etc/ssh/ssh_host_ed25519_key\n",
	"etc/systemd/system/billet-first-boot.service": firstBootUnit,
}

// firstBootUnit applies the config drive. cloud-init does it too, but takes 80 s of an emulated
// processor until the login prompt; this takes less than one.
const firstBootUnit = `[Unit]
Description=Apply the config drive
DefaultDependencies=no
ConditionPathExists=!/var/lib/billet/first-boot-done
After=local-fs.target systemd-udevd.service
Before=network-pre.target systemd-networkd.service ssh.service systemd-user-sessions.service getty.target shutdown.target
Conflicts=shutdown.target
Wants=network-pre.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/billet-tinyos first-boot
StandardOutput=journal+console
StandardError=journal+console
TimeoutStartSec=120

[Install]
WantedBy=multi-user.target
`

const debianBoot = `search --no-floppy --set=root --label root
configfile ($root)/boot/grub/grub.cfg
`

func debianInputs(ctx context.Context, b *build) (string, error) {
	program, err := b.instanceProgram(ctx)
	if err != nil {
		return "", err
	}
	kernel, err := ramdisk.PackageName(ctx, ramdisk.Cloud)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	fmt.Fprint(&text, kernel, program, debianPackages, debianBoot, earlyConfig, finish)
	fmt.Fprintln(&text, debianFiles) // fmt sorts maps
	return text.String(), nil
}

func makeDebian(ctx context.Context, b *build, out string) error {
	return b.makeDebianDisk(ctx, debianSystem{debianPackages, debianFiles, finish, true}, "b111e700-0000-4000-8000-000000000030", out)
}

// debianSystem is what makes one Debian differ from another.
type debianSystem struct {
	packages []string
	files    map[string]string
	finish   string // a script that runs in the new system at the end
	program  bool   // the lab's own program is in it and applies the config drive
}

// makeDebianDisk makes a whole disk that starts from BIOS and from UEFI.
func (b *build) makeDebianDisk(ctx context.Context, s debianSystem, diskGUID, out string) error {
	root, err := b.makeRoot(ctx, s)
	if err != nil {
		return err
	}
	raw := filepath.Join(b.dir, "debian.raw")
	if err := b.makeDisk(ctx, layout{grubConfig: debianBoot, espMiB: 4, root: root, diskGUID: diskGUID}, raw); err != nil {
		return err
	}
	return b.command(ctx, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, out)
}

// makeRoot installs Debian into the folder "root" and makes an ext4 file system of it, whose path it
// returns.
func (b *build) makeRoot(ctx context.Context, s debianSystem) (string, error) {
	if os.Geteuid() != 0 {
		return "", errors.New("the files of a Debian system belong to root; run it with sudo")
	}
	overlay, err := b.overlay(s)
	if err != nil {
		return "", err
	}
	if err := b.bootstrap(ctx, s, overlay); err != nil {
		return "", err
	}
	tree := filepath.Join(b.dir, "root")
	size, err := treeSize(tree)
	if err != nil {
		return "", err
	}
	root := filepath.Join(b.dir, "root.ext4")
	mib := size>>20*5/4 + 256
	b.Log.Info("making the file system", "mib", mib)
	return root, b.command(ctx, "mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", tree, root, fmt.Sprintf("%dM", mib))
}

// overlay is a folder with what is put into the system before its packages.
func (b *build) overlay(s debianSystem) (string, error) {
	overlay := filepath.Join(b.dir, "overlay")
	for name, text := range s.files {
		path := filepath.Join(overlay, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", fmt.Errorf("preparing Debian's files: %w", err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return "", fmt.Errorf("preparing Debian's files: %w", err)
		}
	}
	if !s.program {
		return overlay, nil
	}
	program, err := os.ReadFile(b.TinyOS)
	if err != nil {
		return "", fmt.Errorf("reading the program for the first boot: %w", err)
	}
	bin := filepath.Join(overlay, "usr/sbin")
	if err := errors.Join(os.MkdirAll(bin, 0o755), os.WriteFile(filepath.Join(bin, "billet-tinyos"), program, 0o755)); err != nil {
		return "", fmt.Errorf("preparing Debian's files: %w", err)
	}
	return overlay, nil
}

// finish runs in the new system at the end. Host keys are made at the first boot: two machines must
// not have the same.
const finish = finishAny + `chroot . useradd --create-home --shell /bin/bash debian
systemctl --root=. enable billet-first-boot >/dev/null
`

const finishAny = `set -e
rm -f etc/ssh/ssh_host_*
: > etc/resolv.conf
systemctl --root=. enable systemd-networkd >/dev/null
systemctl --root=. mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
  e2scrub_all.timer e2scrub_reap.service fstrim.timer >/dev/null
rm -rf var/lib/apt/lists/* var/cache/apt/*
`

func (b *build) bootstrap(ctx context.Context, s debianSystem, overlay string) error {
	script, err := b.write("finish.sh", "cd \"$1\"\n"+s.finish)
	if err != nil {
		return err
	}
	b.Log.Info("installing Debian", "packages", strings.Join(s.packages, ","))
	return b.command(ctx, "mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory",
		"--include="+strings.Join(s.packages, ","),
		"--aptopt=APT::Install-Recommends false", "--aptopt=Acquire::Languages none",
		"--dpkgopt=force-unsafe-io", "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
		"--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/info/*",
		"--setup-hook=cp -a "+overlay+"/. \"$1\"",
		"--customize-hook=sh "+script+" \"$1\"",
		"bookworm", filepath.Join(b.dir, "root"))
}

// treeSize adds up files in blocks of 4 KiB, as ext4 will.
func treeSize(dir string) (int64, error) {
	var total int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		total += 4096
		if info.Mode().IsRegular() {
			total += (info.Size() + 4095) &^ 4095
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("measuring the new system: %w", err)
	}
	return total, nil
}

package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/billet-metal/billet/ramdisk"
)

// The small partition image: a root file system with a kernel, one program and GRUB's own tools.
// The same files lie beside it as beside debian-root, and the image as qcow2.
const (
	tinyRootFile   = "tiny-root.raw"
	tinyRootQCOW2  = "tiny-root.qcow2"
	tinyRootKernel = "tiny-root.vmlinuz"
	tinyRootInitrd = "tiny-root.initrd"
	tinyRootUUID   = "b111e700-0000-4000-8000-000000000040"
	tinyRootMiB    = 76
)

// tinyRootPackages hold GRUB, mdadm, and the libraries that their programs need.
var tinyRootPackages = strings.Fields("grub2-common grub-common grub-pc-bin grub-efi-amd64-bin mdadm " +
	"libc6 libdevmapper1.02.1 libefiboot1 libefivar1 liblzma5 libpcre2-8-0 libselinux1 libudev1")

var tinyRootTools = []tool{{"mke2fs", "e2fsprogs"}, {"qemu-img", "qemu-utils"}}

func tinyRootInputs(ctx context.Context, b *build) (string, error) {
	program, err := b.instanceProgram(ctx)
	if err != nil {
		return "", err
	}
	kernel, err := ramdisk.PackageName(ctx, ramdisk.Cloud)
	if err != nil {
		return "", err
	}
	return fmt.Sprint("4 ", kernel, program, tinyRootPackages, tinyRootUUID, tinyRootMiB), nil
}

func makeTinyRoot(ctx context.Context, b *build, out string) error {
	if err := b.makeTinyRootFS(ctx, out); err != nil {
		return err
	}
	return b.command(ctx, "qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", out, filepath.Join(b.dir, tinyRootQCOW2))
}

// makeTinyRootFS makes the file system, and beside it, in the scratch directory, its kernel and initial
// ramdisk. The root file system may be on software RAID.
func (b *build) makeTinyRootFS(ctx context.Context, out string) error {
	rd := filepath.Join(b.dir, "ramdisk")
	o := ramdisk.Options{Flavor: ramdisk.Cloud, Init: b.TinyOS, Bare: true, OutDir: rd, CacheDir: b.CacheDir, Log: b.Log,
		Load: []string{"raid0", "raid1"}}
	var err error
	if o.Extra, err = ramdisk.Programs(ctx, o, tinyRootPackages, []string{"sbin/mdadm"}, nil); err != nil {
		return err
	}
	if _, err := ramdisk.Build(ctx, o); err != nil {
		return err
	}
	grub, err := ramdisk.Programs(ctx, o, tinyRootPackages, []string{"sbin/grub-install", "sbin/grub-probe", "sbin/mdadm"},
		[]string{"lib/grub/i386-pc", "lib/grub/x86_64-efi"})
	if err != nil {
		return err
	}
	tree := filepath.Join(b.dir, "root")
	if err := b.plantTinyRoot(tree, rd, grub); err != nil {
		return err
	}
	// GRUB 2.06 cannot read file systems with the two features, which newer e2fsprogs switch on. A file
	// system this small would get blocks of 1024 bytes, which disks with sectors of 4096 cannot hold.
	return b.command(ctx, "mke2fs", "-q", "-t", "ext4", "-b", "4096", "-O", "^metadata_csum_seed,^orphan_file", "-m", "0", "-L", "tiny-root",
		"-U", tinyRootUUID, "-E", "root_owner=0:0,hash_seed="+tinyRootUUID, "-d", tree, out, fmt.Sprintf("%dM", tinyRootMiB))
}

const tinyDiskConfig = serialConfig + `search --no-floppy --set=root --fs-uuid ` + tinyRootUUID + `
linux /boot/vmlinuz root=UUID=` + tinyRootUUID + ` ro console=ttyS0,115200 panic=30 quiet
initrd /boot/initrd.img
boot
`

// arrayModules of GRUB find a root file system on software RAID; the GRUB of distributions has them.
var arrayModules = []string{"diskfilter", "mdraid1x"}

func tinyDiskInputs(ctx context.Context, b *build) (string, error) {
	root, err := tinyRootInputs(ctx, b)
	if err != nil {
		return "", err
	}
	grub, err := grubInputs(ctx, b)
	return fmt.Sprint(tinyDiskConfig, root, grub, arrayModules), err
}

// makeTinyDisk makes a whole disk of tiny-root's file system, as operating systems' images are.
func makeTinyDisk(ctx context.Context, b *build, out string) error {
	root := filepath.Join(b.dir, "root.ext4")
	if err := b.makeTinyRootFS(ctx, root); err != nil {
		return err
	}
	return b.makeDisk(ctx, layout{grubConfig: tinyDiskConfig, espMiB: 4, root: root, diskGUID: "b111e700-0000-4000-8000-000000000050",
		modules: arrayModules}, out)
}

// plantTinyRoot lays out the root file system: /usr merged as in Debian, the lab's program as init
// and as update-grub, the kernel and its ramdisk in /boot.
func (b *build) plantTinyRoot(tree, rd string, grub []ramdisk.File) error {
	for _, dir := range []string{"usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "boot/grub", "boot/efi", "dev", "proc", "sys", "run", "tmp",
		"mnt", "root", "etc"} {
		if err := os.MkdirAll(filepath.Join(tree, dir), 0o755); err != nil {
			return fmt.Errorf("laying out the root file system: %w", err)
		}
	}
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+name, filepath.Join(tree, name)); err != nil {
			return fmt.Errorf("laying out the root file system: %w", err)
		}
	}
	for _, f := range grub {
		path := filepath.Join(tree, "usr", f.Path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, f.Data, f.Mode)); err != nil {
			return fmt.Errorf("laying out the root file system: %w", err)
		}
	}
	kernel, initrd := filepath.Join(rd, ramdisk.KernelFile), filepath.Join(rd, ramdisk.InitramfsFile)
	for _, c := range []struct{ from, to string }{
		{b.TinyOS, filepath.Join(tree, "usr/sbin/init")},
		{kernel, filepath.Join(tree, "boot/vmlinuz")}, {initrd, filepath.Join(tree, "boot/initrd.img")},
		{kernel, filepath.Join(b.dir, tinyRootKernel)}, {initrd, filepath.Join(b.dir, tinyRootInitrd)},
	} {
		if err := copyFile(c.from, c.to); err != nil {
			return err
		}
	}
	return errors.Join(os.Chmod(filepath.Join(tree, "usr/sbin/init"), 0o755), os.Symlink("init", filepath.Join(tree, "usr/sbin/update-grub")))
}

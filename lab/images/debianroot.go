package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/billet-metal/billet/ramdisk"
)

// The partition image: a root file system, and beside it the kernel and the initial ramdisk that a
// machine without a boot loader of its own boots over the network.
const (
	rootFile       = "debian-root.qcow2"
	rootKernelFile = "debian-root.vmlinuz"
	rootInitrdFile = "debian-root.initrd"
)

// rootPackages are what Debian needs to be started by a GRUB that is installed into it later,
// without a network: the programs, and the modules of both firmwares.
var rootPackages = append(slices.DeleteFunc(slices.Clone(debianPackages), func(p string) bool { return p == "openssh-server" }),
	"grub2-common", "grub-pc-bin", "grub-efi-amd64-bin")

// rootFiles are those of the whole disk image, with the settings update-grub reads in the place of
// a finished menu.
func rootFiles() map[string]string {
	files := maps.Clone(debianFiles)
	for _, name := range []string{"boot/grub/grub.cfg", "etc/ssh/sshd_config.d/billet.conf"} {
		delete(files, name)
	}
	files["etc/default/grub"] = "GRUB_TIMEOUT=0\nGRUB_DISABLE_OS_PROBER=true\nGRUB_CMDLINE_LINUX=\"console=tty0 console=ttyS0,115200n8 " +
		"quiet\"\nGRUB_TERMINAL=serial\nGRUB_SERIAL_COMMAND=\"serial --unit=0 --speed=115200\"\n"
	return files
}

func rootInputs(ctx context.Context, b *build) (string, error) {
	program, err := b.instanceProgram(ctx)
	if err != nil {
		return "", err
	}
	kernel, err := ramdisk.PackageName(ctx, ramdisk.Cloud)
	if err != nil {
		return "", err
	}
	return fmt.Sprint(kernel, program, rootPackages, finish, rootFiles()), nil
}

func makeDebianRoot(ctx context.Context, b *build, out string) error {
	root, err := b.makeRoot(ctx, debianSystem{rootPackages, rootFiles(), finish, true})
	if err != nil {
		return err
	}
	tree := filepath.Join(b.dir, "root")
	for from, to := range map[string]string{"vmlinuz": rootKernelFile, "initrd.img": rootInitrdFile} {
		if err := copyFile(filepath.Join(tree, from), filepath.Join(b.dir, to)); err != nil {
			return err
		}
	}
	return b.command(ctx, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", root, out)
}

// copyFile follows the link that Debian's /vmlinuz is; it is a relative one, and stays in the tree.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copying out of the new system: %w", err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return fmt.Errorf("copying out of the new system: %w", err)
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

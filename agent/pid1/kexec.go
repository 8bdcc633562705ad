package pid1

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// LoadKernel makes a kernel ready to be started by Kexec: kexec_file_load(2). initrd may be nil.
func (p Power) LoadKernel(kernel, initrd *os.File, commandLine string) error {
	fd, flags := 0, 0x4 // KEXEC_FILE_NO_INITRAMFS
	if initrd != nil {
		fd, flags = int(initrd.Fd()), 0
	}
	err := unix.KexecFileLoad(int(kernel.Fd()), fd, commandLine, flags)
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EKEYREJECTED), errors.Is(err, unix.ENOKEY):
		return fmt.Errorf("%w: this machine boots securely, and its ramdisk's kernel does not trust that kernel's signature", err)
	case errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("%w: the ramdisk's kernel is built without CONFIG_KEXEC_FILE", err)
	case errors.Is(err, unix.ENOEXEC):
		return fmt.Errorf("%w: it is no kernel that kexec can start", err)
	}
	return err
}

// Kexec flushes the disks and starts the kernel that was loaded. It returns only when that failed.
func (p Power) Kexec() error {
	return p.do("starting the loaded kernel", unix.LINUX_REBOOT_CMD_KEXEC)
}

package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// rootUUID is what the kernel's command line asks for with root=UUID=…; "" when it names no root.
func rootUUID(commandLine string) string {
	uuid := ""
	for word := range strings.FieldsSeq(commandLine) {
		if value, ok := strings.CutPrefix(word, "root=UUID="); ok {
			uuid = strings.ToLower(value)
		}
	}
	return uuid
}

// ext4UUID reads the UUID from the superblock of ext2 to ext4 (kernel, Documentation/filesystems/
// ext4/super.rst); "" when there is none.
func ext4UUID(f io.ReaderAt) string {
	b := make([]byte, 1024)
	if _, err := f.ReadAt(b, 1024); err != nil || b[0x38] != 0x53 || b[0x39] != 0xef {
		return ""
	}
	h := hex.EncodeToString(b[0x68:0x78])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// findRoot waits for the block device with the root file system: disks may appear after us, and arrays
// once start has started them.
func findRoot(uuid string, wait time.Duration, start func()) (string, error) {
	deadline := time.Now().Add(wait)
	for {
		names, _ := filepath.Glob("/sys/class/block/*") // the pattern is right
		for _, name := range names {
			device := "/dev/" + filepath.Base(name)
			f, err := os.Open(device)
			if err != nil {
				continue
			}
			found := ext4UUID(f)
			f.Close()
			if found == uuid {
				return device, nil
			}
		}
		if time.Now().After(deadline) {
			return "", fmt.Errorf("no disk holds the root file system %s", uuid)
		}
		time.Sleep(500 * time.Millisecond) // an array that is started before its last disk is there lacks it
		start()
	}
}

// startArrays starts the software RAID arrays there are, also those that lack a disk.
func startArrays() {
	cmd := exec.Command("/sbin/mdadm", "--assemble", "--scan", "--run", "--config=none")
	cmd.Env = []string{"MDADM_NO_UDEV=1"} // there is no udev that would make device nodes
	_ = cmd.Run()                         // it fails where there are none
}

// switchRoot leaves the initial ramdisk for the root file system on a disk and becomes its init.
// It returns only with an error.
func switchRoot(uuid string) error {
	device, err := findRoot(uuid, 30*time.Second, startArrays)
	if err != nil {
		return err
	}
	const at = "/newroot"
	if err := os.MkdirAll(at, 0o755); err != nil {
		return fmt.Errorf("leaving the ramdisk: %w", err)
	}
	if err := unix.Mount(device, at, "ext4", unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mounting the root file system on %s: %w", device, err)
	}
	for _, dir := range []string{"/proc", "/sys", "/dev", "/run"} {
		if err := unix.Mount(dir, at+dir, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("taking %s into the root file system: %w", dir, err)
		}
	}
	err = errors.Join(unix.Chdir(at), unix.Mount(".", "/", "", unix.MS_MOVE, ""), unix.Chroot("."), unix.Chdir("/"))
	if err != nil {
		return fmt.Errorf("switching to the root file system on %s: %w", device, err)
	}
	return fmt.Errorf("starting /sbin/init of %s: %w", device, unix.Exec("/sbin/init", []string{"/sbin/init"}, os.Environ()))
}

// rootMount tells what is mounted at / as /proc/self/mountinfo has it (proc(5)): the kernel's word
// for where this system really runs from.
func rootMount(mountinfo string) string {
	found := "unknown"
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(line, " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if ok && len(fields) > 4 && fields[4] == "/" && len(kind) > 1 {
			found = kind[1] + " " + kind[0] // a later mount hides an earlier one
		}
	}
	return found
}

// grubMenu is the boot menu of the root file system with the given UUID.
func grubMenu(uuid string) string {
	return `if serial --unit=0 --speed=115200; then
  terminal_input serial
  terminal_output serial
fi
search --no-floppy --set=root --fs-uuid ` + uuid + `
linux /boot/vmlinuz root=UUID=` + uuid + ` ro console=ttyS0,115200 panic=30 quiet
initrd /boot/initrd.img
boot
`
}

// updateGrub writes the boot menu, as Debian's program of that name does, with GRUB's own word for
// which file system this is.
func updateGrub() error {
	out, err := exec.Command("/usr/sbin/grub-probe", "--target=fs_uuid", "/").Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	if err != nil {
		return fmt.Errorf("asking grub-probe for the root file system: %w", err)
	}
	return writeFiles("/", map[string]string{"boot/grub/grub.cfg": grubMenu(strings.TrimSpace(string(out)))})
}

// isMounted reports whether an earlier stage mounted the folder.
func isMounted(mountinfo, dir string) bool {
	for line := range strings.Lines(mountinfo) {
		if fields := strings.Fields(line); len(fields) > 4 && fields[4] == dir {
			return true
		}
	}
	return false
}

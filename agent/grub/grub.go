// Package grub owns making a partition image's own GRUB start it: it mounts the root file system
// that was written and runs the image's grub-install and its menu generator inside it. It refuses
// to bring a boot loader of its own: what starts a system must be what its updates will replace.
package grub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Target is the machine to install on.
type Target struct {
	Disks    []string // "/dev/sda"; several when the root file system is on software RAID
	Root     string   // device node of the root partition
	RootFS   string   // its type, as mount names it
	RootUUID string
	ESP      string // device node of the EFI system partition; UEFI only
	Mode     string // "bios" or "uefi"
	Dir      string // where to mount; made when missing
	Log      *slog.Logger
}

// timeout bounds one program of the image: an emulated processor takes a minute at most.
const timeout = 10 * time.Minute

// Install makes the firmware start the image's GRUB and GRUB the image's kernel. Nothing stays
// mounted, whatever happens. Errors say what the image lacks. It may be run again.
func Install(ctx context.Context, t Target) (err error) {
	if err := t.link(); err != nil {
		return err
	}
	undo, err := t.mount()
	defer func() { err = errors.Join(err, undo()) }()
	if err != nil {
		return err
	}
	install, menu, err := t.programs()
	if err != nil {
		return err
	}
	for _, command := range append(install, menu) {
		if err := t.run(ctx, command); err != nil {
			return err
		}
	}
	unix.Sync()
	return nil
}

// link makes /dev/disk/by-uuid/UUID, which udev would make: without it GRUB's menu generator names
// the root by its device node, which may be another one at the next boot.
func (t Target) link() error {
	const dir = "/dev/disk/by-uuid"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("preparing the boot loader: %w", err)
	}
	name := filepath.Join(dir, t.RootUUID)
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("preparing the boot loader: %w", err)
	}
	if err := os.Symlink(t.Root, name); err != nil {
		return fmt.Errorf("preparing the boot loader: %w", err)
	}
	return nil
}

type mount struct {
	from, to, kind string
	flags          uintptr
}

// mounts are what the image's programs need, outermost first.
func (t Target) mounts() []mount {
	list := []mount{
		{t.Root, "", t.RootFS, 0},
		{"/dev", "dev", "", unix.MS_BIND},
		{"proc", "proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"sysfs", "sys", "sysfs", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_RDONLY},
		{"tmpfs", "run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV},
	}
	if t.Mode == "uefi" {
		list = append(list, mount{t.ESP, "boot/efi", "vfat", 0})
	}
	return list
}

// mount mounts everything; the function it returns takes back what was done, also after an error.
func (t Target) mount() (undo func() error, err error) {
	var done []string
	undo = func() error {
		var errs []error
		for _, dir := range slices.Backward(done) {
			if err := unix.Unmount(dir, 0); err != nil {
				errs = append(errs, fmt.Errorf("unmounting %s: %w", dir, err), unix.Unmount(dir, unix.MNT_DETACH))
			}
		}
		return errors.Join(errs...)
	}
	for _, m := range t.mounts() {
		dir := filepath.Join(t.Dir, m.to)
		if m.to != "" {
			if err := t.inside(m.to); err != nil {
				return undo, err
			}
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return undo, fmt.Errorf("making a mount point in the image: %w", err)
		}
		if err := unix.Mount(m.from, dir, m.kind, m.flags, ""); err != nil {
			return undo, fmt.Errorf("mounting %s (%s) to install the boot loader: %w%s", m.from, m.kind, err, hint(m, err))
		}
		done = append(done, dir)
	}
	return undo, nil
}

func hint(m mount, err error) string {
	if errors.Is(err, unix.ENODEV) {
		return fmt.Sprintf(": the deploy ramdisk's kernel has no driver for %s; build the ramdisk of the generic flavor", m.kind)
	}
	return ""
}

// inside refuses a mount point that a link in the image leads out of it.
func (t Target) inside(to string) error {
	path := t.Dir
	for part := range strings.SplitSeq(to, "/") {
		path = filepath.Join(path, part)
		info, err := os.Lstat(path)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("looking at /%s of the image: %w", to, err)
		}
		if !info.IsDir() {
			return fmt.Errorf("/%s of the image is no directory, so the boot loader cannot be installed", to)
		}
	}
	return nil
}

// programs finds the image's GRUB and says with what to call it.
func (t Target) programs() (install [][]string, menu []string, err error) {
	platform, pkg := "i386-pc", "grub-pc-bin (Debian) or grub2-pc (Red Hat)"
	if t.Mode == "uefi" {
		platform, pkg = "x86_64-efi", "grub-efi-amd64-bin (Debian) or grub2-efi-x64-modules (Red Hat)"
	}
	program, name := t.first("grub-install", "grub2-install")
	if program == "" {
		return nil, nil,
			fmt.Errorf("%w and no grub2-install, so it cannot be made to boot from its disk: install GRUB (grub2-common and %s) in the image%s",
				ErrNone, pkg, t.otherwise())
	}
	if mdadm, _ := t.first("mdadm"); t.onRAID() && mdadm == "" {
		return nil, nil, errors.New("the image has no mdadm, which GRUB and the image's own start need where the root file system is on " +
			"software RAID: install mdadm in the image")
	}
	if !t.has("usr/lib/grub/" + platform) {
		return nil, nil, fmt.Errorf("the image's GRUB has no /usr/lib/grub/%s, which booting in %s mode needs: install %s in the image", platform,
			strings.ToUpper(t.Mode), pkg)
	}
	for _, disk := range t.Disks {
		install = append(install, []string{program, "--target=" + platform, "--recheck", disk})
	}
	if t.Mode == "uefi" {
		// The boot entry is made by the agent. Without one, firmware starts the removable media path.
		install = [][]string{{program, "--target=" + platform, "--efi-directory=/boot/efi", "--no-nvram", "--removable", "--recheck"}}
	}
	if generator, _ := t.first("update-grub"); generator != "" {
		return install, []string{generator}, nil
	}
	generator, _ := t.first("grub-mkconfig", "grub2-mkconfig")
	if generator == "" {
		return nil, nil,
			fmt.Errorf("the image has no update-grub and no %s-mkconfig, so it has no boot menu: install GRUB's programs in the image",
				strings.TrimSuffix(name, "-install"))
	}
	return install, []string{generator, "-o", "/boot/" + strings.TrimSuffix(name, "-install") + "/grub.cfg"}, nil
}

// ErrNone says that a root file system has no GRUB of its own.
var ErrNone = errors.New("the image has no grub-install")

// otherwise says what else can be done about an image without GRUB.
func (t Target) otherwise() string {
	if t.onRAID() { // an image of either kind
		return ""
	}
	return ", deploy a whole-disk image, or use boot_option netboot"
}

func (t Target) onRAID() bool { return len(t.Disks) > 1 }

// first returns the first program that the image has, as a path inside it.
func (t Target) first(names ...string) (path, name string) {
	for _, name := range names {
		for _, dir := range []string{"usr/sbin", "sbin", "usr/bin", "bin"} {
			if t.has(dir + "/" + name) {
				return "/" + dir + "/" + name, name
			}
		}
	}
	return "", ""
}

// has looks without following links, which in an image lead anywhere.
func (t Target) has(path string) bool {
	_, err := os.Lstat(filepath.Join(t.Dir, path))
	return err == nil
}

// run runs a program of the image, which sees the image as its root and no network: it has no
// business with the provisioning network. What it leaves running is ended: it would hold a mount, and
// write to a disk whose deploy may have failed. (A process namespace would do that too, but in one the
// program would be process 1, which some take for being the machine's init.)
func (t Target) run(ctx context.Context, argv []string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	t.Log.Info("running in the image", "command", strings.Join(argv, " "))
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=/root"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: t.Dir, Cloneflags: unix.CLONE_NEWNET}
	cmd.WaitDelay = time.Second
	said, err := cmd.CombinedOutput()
	if err := errors.Join(err, t.endAll()); err != nil {
		return fmt.Errorf("running the image's %s: %w: %s", strings.Join(argv, " "), err, last(said))
	}
	t.Log.Debug("ran in the image", "command", argv[0], "said", string(said))
	return nil
}

// endAll kills what has the image as its root, and waits until it is gone.
func (t Target) endAll() error {
	root, err := filepath.EvalSymlinks(t.Dir)
	if err != nil {
		return fmt.Errorf("looking for what still runs in the image: %w", err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left, err := filepath.Glob("/proc/[0-9]*/root")
		if err != nil {
			return fmt.Errorf("looking for what still runs in the image: %w", err)
		}
		found := 0
		for _, link := range left {
			to, err := os.Readlink(link) // none of a process that has ended
			pid, numErr := strconv.Atoi(filepath.Base(filepath.Dir(link)))
			if err != nil || numErr != nil || to != root {
				continue
			}
			found++
			_ = unix.Kill(pid, unix.SIGKILL) // it may have ended since
		}
		if found == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d processes of the image do not end", found)
		}
	}
}

// last keeps the end of what a program said, on one line.
func last(said []byte) string {
	text := strings.Join(strings.Fields(string(said)), " ")
	return text[max(0, len(text)-1000):]
}

// Package pid1 owns what the kernel expects of process 1 in the deploy ramdisk: mounts, console,
// kernel modules, network, orphans, and the power switch. Process 1 itself only supervises: the
// agent is its child, so a panic or the out-of-memory killer costs a restart, not the machine.
// It refuses to know anything of the Bare Metal API.
package pid1

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// restartDelay keeps a child that dies at once from filling the console.
const restartDelay = 5 * time.Second

// mount is one line of what a ramdisk needs mounted.
type mount struct{ source, target, fstype string }

var mounts = []mount{
	{"proc", "/proc", "proc"},
	{"sysfs", "/sys", "sysfs"},
	{"devtmpfs", "/dev", "devtmpfs"},
	{"tmpfs", "/run", "tmpfs"},
	{"tmpfs", "/tmp", "tmpfs"},
}

// Supervise is the life of process 1: it prepares the machine, then runs argv as its only child,
// again and again, and reaps every orphan. environment is asked for each child's, with everything
// mounted. It never returns: the kernel panics when process 1 ends.
func Supervise(argv []string, environment func() []string) {
	for _, m := range mounts {
		if err := m.do(); err != nil {
			fmt.Fprintln(os.Stderr, "billet-agent:", err)
		}
	}
	if err := takeConsole("/dev/console"); err != nil {
		fmt.Fprintln(os.Stderr, "billet-agent:", err)
	}
	for {
		why, err := runChild(argv, environment())
		if err != nil {
			why = err.Error()
		}
		fmt.Fprintf(os.Stderr, "\nbillet-agent: the agent ended (%s); starting it again in %s\n", why, restartDelay)
		time.Sleep(restartDelay)
	}
}

func (m mount) do() error {
	if err := os.MkdirAll(m.target, 0o755); err != nil {
		return fmt.Errorf("making the mount point %s: %w", m.target, err)
	}
	err := unix.Mount(m.source, m.target, m.fstype, 0, "")
	// The kernel mounts devtmpfs itself when it is built with CONFIG_DEVTMPFS_MOUNT.
	if err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("mounting %s on %s: %w", m.fstype, m.target, err)
	}
	return nil
}

// MountEFIVariables mounts the firmware's variables. It must run after the modules are loaded:
// distributions build efivarfs as one. A BIOS machine has none, which is no error.
func MountEFIVariables() error {
	if _, err := os.Stat("/sys/firmware/efi"); err != nil {
		return nil
	}
	return mount{"efivarfs", "/sys/firmware/efi/efivars", "efivarfs"}.do()
}

// takeConsole makes the console standard input, output and error: an initramfs without
// /dev/console starts process 1 with none of them.
func takeConsole(path string) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return fmt.Errorf("opening %s: %w", path, err)
	}
	for std := range 3 {
		if err := unix.Dup3(fd, std, 0); err != nil && fd != std {
			return fmt.Errorf("making %s file descriptor %d: %w", path, std, err)
		}
	}
	if fd > 2 {
		return unix.Close(fd)
	}
	return nil
}

// runChild starts argv and reaps until that child has ended; it returns how it ended.
func runChild(argv, env []string) (string, error) {
	child, err := os.StartProcess(argv[0], argv, &os.ProcAttr{
		Env:   env,
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
	})
	if err != nil {
		return "", fmt.Errorf("starting %s: %w", argv[0], err)
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return "", fmt.Errorf("waiting for the agent: %w", err)
		case pid == child.Pid:
			return ending(syscall.WaitStatus(status)), nil
		}
	}
}

func ending(s syscall.WaitStatus) string {
	if s.Signaled() {
		return "killed by signal " + s.Signal().String()
	}
	return fmt.Sprintf("exit status %d", s.ExitStatus())
}

// Power switches this machine; it works in any process of the ramdisk.
type Power struct{ Log *slog.Logger }

// Reboot flushes the disks and restarts the machine.
func (p Power) Reboot() error { return p.do("rebooting the machine", unix.LINUX_REBOOT_CMD_RESTART) }

// PowerOff flushes the disks and switches the machine off.
func (p Power) PowerOff() error {
	return p.do("switching the machine off", unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func (p Power) do(what string, cmd int) error {
	p.Log.Info(what)
	unix.Sync()
	undo := silence(p.Log)
	if err := unix.Reboot(cmd); err != nil {
		undo()
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// SetClock sets the system clock. A machine whose clock battery is dead would otherwise make
// certificates that nobody accepts.
func SetClock(t time.Time) error {
	tv := unix.NsecToTimeval(t.UnixNano())
	if err := unix.Settimeofday(&tv); err != nil {
		return fmt.Errorf("setting the clock: %w", err)
	}
	return nil
}

// KernelLog returns the kernel's messages since boot.
func KernelLog() ([]byte, error) {
	const readAll, size = 3, 10 // SYSLOG_ACTION_READ_ALL and _SIZE_BUFFER, syslog(2)
	n, err := unix.Klogctl(size, nil)
	if err != nil {
		return nil, fmt.Errorf("asking for the size of the kernel log: %w", err)
	}
	buf := make([]byte, n)
	if n, err = unix.Klogctl(readAll, buf); err != nil {
		return nil, fmt.Errorf("reading the kernel log: %w", err)
	}
	return buf[:n], nil
}

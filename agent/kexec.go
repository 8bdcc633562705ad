package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/billet-metal/billet/agent/bootmenu"
	"github.com/billet-metal/billet/agent/inroot"
	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/bootable"
)

// Kexecer is implemented by machines that can start another kernel without their firmware.
type Kexecer interface {
	// LoadKernel makes a kernel ready; initrd may be nil.
	LoadKernel(kernel, initrd *os.File, commandLine string) error
	// Kexec starts it; it returns only when that failed.
	Kexec() error
}

var errNoKexec = errors.New("this agent is an ordinary process; only in the ramdisk it can start another kernel")

// volumesDir is where the instance's file systems are mounted, each in a folder of its own.
const volumesDir = "/mnt/volumes"

// loadInstanceKernel finds what the boot loader on the root disk would start, and loads it. Nothing
// is written to the disk.
func (a *Agent) loadInstanceKernel(ctx context.Context, p params) (_ any, err error) {
	machine, ok := a.Machine.(Kexecer)
	if !ok {
		return nil, errNoKexec
	}
	var mode string
	if err := p.decode("target_boot_mode", &mode); err != nil {
		return nil, err
	}
	if mode == "" {
		mode = a.inventory.BootMode()
	}
	parts, loader, err := a.instanceVolumes(ctx, mode)
	if err != nil {
		return nil, err
	}
	volumes, undo, err := a.mountVolumes(ctx, parts)
	defer func() { err = errors.Join(err, undo()) }()
	if err != nil {
		return nil, err
	}
	e, err := bootmenu.Find(volumes, loader)
	if err != nil {
		return nil, fmt.Errorf("looking for what the boot loader would start: %w", err)
	}
	if err := a.fits(e); err != nil {
		return nil, err
	}
	if err := loadEntry(machine, e); err != nil {
		return nil, err
	}
	unix.Sync() // here, where there is time: after the order to jump there are seconds
	a.Log.Info("the instance's kernel is loaded", "title", e.Title, "from", e.From, "kernel", e.Kernel.Path)
	return fmt.Sprintf("%s of partition %d, as %s says", e.Kernel.Path, e.Kernel.Volume.Number, e.From), nil
}

// instanceVolumes lists the root disk's file systems, and the path of its UEFI loader.
func (a *Agent) instanceVolumes(ctx context.Context, mode string) ([]disk.Volume, string, error) {
	dev, root, err := a.rootDisk(ctx)
	if err != nil {
		return nil, "", err
	}
	defer dev.Close() // before anything is mounted: the kernel mounts no partition of a disk held exclusively
	parts, err := disk.Volumes(dev)
	if err != nil {
		return nil, "", fmt.Errorf("reading the partitions of %s (serial %q): %w", root.Name, root.Serial, err)
	}
	for i := range parts {
		parts[i].Node = disk.PartitionNode(root.Name, parts[i].Number)
	}
	if mode != "uefi" {
		return parts, "", nil
	}
	loader, err := bootable.FindLoader(dev)
	if err != nil {
		return nil, "", err
	}
	return parts, loader.Path, nil
}

// mountVolumes mounts what can be mounted, read-only and without touching a journal. The function
// it returns takes all of it back, also after an error.
func (a *Agent) mountVolumes(ctx context.Context, parts []disk.Volume) (list []bootmenu.Volume, undo func() error, err error) {
	undo = func() error {
		var errs []error
		for _, v := range list {
			if err := unix.Unmount(v.Dir, 0); err != nil {
				errs = append(errs, fmt.Errorf("unmounting %s: %w", v.Dir, err), unix.Unmount(v.Dir, unix.MNT_DETACH))
			}
		}
		return errors.Join(errs...)
	}
	for _, p := range parts {
		if a.LoadModule != nil {
			a.LoadModule(p.Type)
		}
		if err := waitForNodes(ctx, p.Node); err != nil {
			return list, undo, err
		}
		dir := filepath.Join(volumesDir, fmt.Sprint(p.Number))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return list, undo, fmt.Errorf("making a mount point: %w", err)
		}
		const flags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
		data := map[string]string{"ext4": "noload", "xfs": "norecovery"}[p.Type]
		if err := unix.Mount(p.Node, dir, p.Type, flags, data); err != nil {
			a.Log.Warn("a file system of the instance is not looked at", "partition", p.Node, "fs", p.Type, "error", err)
			continue
		}
		list = append(list, bootmenu.Volume{Number: p.Number, Dir: dir, UUID: p.UUID, Label: p.Label, ESP: p.ESP})
	}
	if len(list) == 0 {
		return list, undo, errors.New("none of the root disk's partitions holds a file system that can be read")
	}
	return list, undo, nil
}

// fits refuses what would not leave this machine enough memory to load it: the running kernel would
// end the agent for want of it.
func (a *Agent) fits(e bootmenu.Entry) error {
	free := availableMemory(filepath.Join(a.Config.Root, "/proc/meminfo"))
	if free == 0 {
		return nil // not known; loading fails by itself
	}
	need := int64(0)
	for i, f := range append([]bootmenu.File{e.Kernel}, e.Initrds...) {
		info, err := inroot.Stat(f.Volume.Dir, f.Path)
		if err != nil {
			return fmt.Errorf("looking at what the boot loader would start: %w", err)
		}
		need += 2 * info.Size() // the kernel reads the file, and copies it to where it is to be
		if i > 0 && len(e.Initrds) > 1 {
			need += info.Size() // put together before
		}
	}
	if need > free {
		return fmt.Errorf("loading the kernel and its ramdisks takes %d MB of memory, and %d MB are free", need>>20, free>>20)
	}
	return nil
}

// availableMemory is how many bytes the kernel can still give to programs; 0 if it does not say.
func availableMemory(meminfo string) int64 {
	text, err := os.ReadFile(meminfo)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10
		}
	}
	return 0
}

// loadEntry hands kernel and ramdisk to the running kernel, which copies both.
func loadEntry(machine Kexecer, e bootmenu.Entry) error {
	kernel, err := inroot.OpenFile(e.Kernel.Volume.Dir, e.Kernel.Path)
	if err != nil {
		return fmt.Errorf("opening the instance's kernel: %w", err)
	}
	defer kernel.Close()
	initrd, err := openInitrds(e.Initrds)
	if err != nil {
		return err
	}
	if initrd != nil {
		defer initrd.Close()
	}
	if err := machine.LoadKernel(kernel, initrd, e.CommandLine); err != nil {
		return fmt.Errorf("loading %s of partition %d: %w", e.Kernel.Path, e.Kernel.Volume.Number, err)
	}
	return nil
}

// openInitrds opens the ramdisk; several are put one after the other, each at a multiple of four
// bytes, as boot loaders do.
func openInitrds(files []bootmenu.File) (*os.File, error) {
	if len(files) == 0 {
		return nil, nil
	}
	if len(files) == 1 {
		return inroot.OpenFile(files[0].Volume.Dir, files[0].Path)
	}
	fd, err := unix.MemfdCreate("initrd", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("putting the initial ramdisks together: %w", err)
	}
	all := os.NewFile(uintptr(fd), "initrd")
	for _, f := range files {
		if err := appendFile(all, f); err != nil {
			all.Close()
			return nil, fmt.Errorf("putting the initial ramdisks together: %w", err)
		}
	}
	return all, nil
}

func appendFile(all *os.File, f bootmenu.File) error {
	in, err := inroot.OpenFile(f.Volume.Dir, f.Path)
	if err != nil {
		return err
	}
	defer in.Close()
	n, err := io.Copy(all, in)
	if err == nil {
		_, err = all.Write(make([]byte, (4-n%4)%4))
	}
	return err
}

// kexec starts the kernel that was loaded, a moment later, so that the service learns of it first.
// A kernel that does not start is no end: the boot device is the disk's by now.
func (a *Agent) kexec(context.Context, params) (any, error) {
	machine, ok := a.Machine.(Kexecer)
	if !ok {
		return nil, errNoKexec
	}
	return a.jump(machine, unix.Sync, jumpWithin)
}

// jumpWithin is less than the 30 s after which the service believes that a machine stays, and
// reboots it: two systems must not be started.
const jumpWithin = 20 * time.Second

func (a *Agent) jump(machine Kexecer, flush func(), within time.Duration) (any, error) {
	began := time.Now()
	flush()
	if took := time.Since(began); took > within {
		return nil, fmt.Errorf("flushing the disks took %s; it is too late to start the instance's kernel", took.Round(time.Millisecond))
	}
	a.heart.Stop()
	time.AfterFunc(powerDelay, func() {
		a.Log.Error("the loaded kernel does not start; rebooting", "error", machine.Kexec())
		if err := a.Machine.Reboot(); err != nil {
			a.Log.Error("rebooting", "error", err)
		}
	})
	return "starting the instance's kernel", nil
}

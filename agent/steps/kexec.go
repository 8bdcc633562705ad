package steps

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
	"github.com/billet-metal/billet/agent/mount"
	"github.com/billet-metal/billet/disk"
)

// Kexecer is implemented by machines that can start another kernel without their firmware.
type Kexecer interface {
	// LoadKernel makes a kernel ready; initrd may be nil.
	LoadKernel(kernel, initrd *os.File, commandLine string) error
	// Kexec starts it; it returns only when that failed.
	Kexec() error
}

// Kexec starts what was written without the machine's firmware.
type Kexec struct {
	*Host
	Machine Kexecer      // nil: it cannot
	Leave   func()       // ends the heartbeats
	Reboot  func() error // what is left when the kernel does not start
}

var errNoKexec = errors.New("this agent is an ordinary process; only in the ramdisk it can start another kernel")

// volumesDir is where the instance's file systems are mounted, each in a folder of its own.
const volumesDir = "/mnt/volumes"

// Load finds what the boot loader on the root disk would start, and loads it. Nothing
// is written to the disk.
func (k *Kexec) Load(ctx context.Context, p Params) (_ any, err error) {
	if k.Machine == nil {
		return nil, errNoKexec
	}
	var mode string
	if err := p.Decode("target_boot_mode", &mode); err != nil {
		return nil, err
	}
	if mode == "" {
		mode = k.Inventory.BootMode()
	}
	parts, loader, err := k.instanceVolumes(ctx, mode)
	if err != nil {
		return nil, err
	}
	volumes, undo, err := k.mountVolumes(ctx, parts)
	defer func() { err = errors.Join(err, undo()) }()
	if err != nil {
		return nil, err
	}
	e, err := bootmenu.Find(volumes, loader)
	if err != nil {
		return nil, fmt.Errorf("looking for what the boot loader would start: %w", err)
	}
	if err := k.fits(e); err != nil {
		return nil, err
	}
	if err := loadEntry(k.Machine, e); err != nil {
		return nil, err
	}
	unix.Sync() // here, where there is time: after the order to jump there are seconds
	k.Log.Info("the instance's kernel is loaded", "title", e.Title, "from", e.From, "kernel", e.Kernel.Path)
	return fmt.Sprintf("%s of partition %d, as %s says", e.Kernel.Path, e.Kernel.Volume.Number, e.From), nil
}

// mountVolumes mounts what can be mounted, to read. The function it returns takes all of it back, also after
// an error.
func (k *Kexec) mountVolumes(ctx context.Context, parts []disk.Volume) (list []bootmenu.Volume, undo func() error, err error) {
	var mounted []func() error
	undo = func() error {
		var errs []error
		for _, unmount := range mounted {
			errs = append(errs, unmount())
		}
		return errors.Join(errs...)
	}
	for _, p := range parts {
		dir := filepath.Join(volumesDir, fmt.Sprint(p.Number))
		unmount, err := mount.Volume(ctx, k.LoadModule, p, dir, mount.Read)
		if refused := (*mount.Refused)(nil); errors.As(err, &refused) {
			k.Log.Warn("a file system of the instance is not looked at", "partition", p.Node, "fs", p.Type, "error", err)
			continue
		}
		if err != nil {
			return list, undo, err
		}
		mounted = append(mounted, unmount)
		list = append(list, bootmenu.Volume{Number: p.Number, Dir: dir, UUID: p.UUID, Label: p.Label, ESP: p.ESP})
	}
	if len(list) == 0 {
		return list, undo, errors.New("none of the root disk's partitions holds a file system that can be read")
	}
	return list, undo, nil
}

// fits refuses what would not leave this machine enough memory to load it: the running kernel would
// end the agent for want of it.
func (k *Kexec) fits(e bootmenu.Entry) error {
	free := availableMemory(filepath.Join(k.Root, "/proc/meminfo"))
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

// Start starts the kernel that was loaded, a moment later, so that the service learns of it first.
// A kernel that does not start is no end: the boot device is the disk's by now.
func (k *Kexec) Start(context.Context, Params) (any, error) {
	if k.Machine == nil {
		return nil, errNoKexec
	}
	return k.jump(unix.Sync, jumpWithin)
}

// jumpDelay lets the answer out first.
const jumpDelay = time.Second

// jumpWithin is less than the 30 s after which the service believes that a machine stays, and
// reboots it: two systems must not be started.
const jumpWithin = 20 * time.Second

func (k *Kexec) jump(flush func(), within time.Duration) (any, error) {
	began := time.Now()
	flush()
	if took := time.Since(began); took > within {
		return nil, fmt.Errorf("flushing the disks took %s; it is too late to start the instance's kernel", took.Round(time.Millisecond))
	}
	k.Leave()
	time.AfterFunc(jumpDelay, func() {
		k.Log.Error("the loaded kernel does not start; rebooting", "error", k.Machine.Kexec())
		if err := k.Reboot(); err != nil {
			k.Log.Error("rebooting", "error", err)
		}
	})
	return "starting the instance's kernel", nil
}

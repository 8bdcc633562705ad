// Package pxe owns the boot interfaces ipxe, pxe and http-ipxe: they write what a node boots over the network
// into its boot record and set its boot device. They serve nothing themselves; the boot services
// read the record.
package pxe

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/fetch"
	"github.com/billet-metal/billet/node"
)

// Boot is one of the three interfaces. Loader and Records are needed.
type Boot struct {
	Loader       boot.Loader // boot.IPXE: the interface "ipxe"; boot.PXE: "pxe"
	Firmware     Firmware    // HTTP: the interface "http-ipxe"; the zero value is PXE's
	Records      boot.Records
	APIURL       string        // of the API as machines reach it: "http://10.99.0.1:6385"
	Kernel       string        // deploy kernel of nodes that name none: a path or a URL
	Ramdisk      string        // the same for the ramdisk
	AppendParams string        // kernel parameters of every node; "" means DefaultAppendParams
	Gate         *fetch.Gate   // which files and URLs a machine is given; nil: no file of this machine
	Images       Images        // what lies in Glance; nil: there is none
	RecordLife   time.Duration // 0: boot.DefaultRecordLife
	Loaders      boot.Loaders  // those that the boot services give out
	Server       netip.Addr    // of the boot services, as machines reach TFTP; zero: this process has none

	CaptureSerial bool   // the serial lines of nodes that do not say otherwise are heard (see driver.SerialOf)
	SerialConsole string // the kernel's name of that line, "ttyS0,115200n8"; "": ramdisks are not told to speak there
}

// Images has the kernels and ramdisks that lie in Glance; image.Store does.
type Images interface {
	InRegistry(source string) bool
	// CheckFile refuses one that cannot be had.
	CheckFile(ctx context.Context, source string) error
	// KeepFile waits until one is on this machine, and says where.
	KeepFile(ctx context.Context, source string) (path string, err error)
}

// Firmware is by what the machine's firmware fetches its boot loader; the value is the boot device.
type Firmware string

// UEFIHTTP asks the firmware for its HTTP client (UEFI 2.10 section 24.7), the zero value for PXE.
const UEFIHTTP Firmware = "uefihttp"

// DefaultAppendParams are the kernel parameters every deploy ramdisk starts with, as the
// Bare Metal service has them.
const DefaultAppendParams = "nofb vga=normal"

var (
	_ driver.Boot        = (*Boot)(nil)
	_ driver.Keyed       = (*Boot)(nil)
	_ driver.NetworkBoot = (*Boot)(nil)
)

// Name is described on driver.Implementation.
func (b *Boot) Name() string {
	if b.Firmware == UEFIHTTP {
		return "http-" + string(b.Loader)
	}
	return string(b.Loader)
}

// Properties is described on driver.Implementation.
func (b *Boot) Properties() map[string]string {
	return map[string]string{
		"deploy_kernel": "Kernel of the deploy ramdisk: an absolute path, file://, http:// or https:// URL, or an image of Glance. " +
			"Required unless the service has a default.",
		"deploy_ramdisk": "Deploy ramdisk: an absolute path, file://, http:// or https:// URL, or an image of Glance. " +
			"Required unless the service has a default.",
		"rescue_kernel":        "Kernel of the rescue ramdisk; the deploy kernel when not set. Optional.",
		"rescue_ramdisk":       "Rescue ramdisk; the deploy ramdisk when not set. Optional.",
		"kernel_append_params": "Kernel parameters in place of the service's own, which %default% stands for. Optional.",
		foreignRamdisk: "Whether the machine's ramdisk comes from a medium of its own instead of the boot record, " +
			"so that its agent cannot show the key of its boot and is believed by its address. " +
			"True unless it says otherwise for machines that nobody but their own agent can reboot. Optional.",
		"force_persistent_boot_device": "Always: set every boot device to stay; Never: set none to stay; Default: only the disk of " +
			"a deployed instance. Optional.",
	}
}

// Validate is described on driver.Implementation. It looks at files, and asks Glance about its own.
func (b *Boot) Validate(ctx context.Context, t *driver.Task) error {
	if !hasBootPort(t.Ports) {
		return node.Errorf(node.Invalid, "Node %s has no port that may boot over the network: add a port with its MAC address and "+
			"pxe_enabled true.", t.Node.UUID)
	}
	if b.Firmware == UEFIHTTP && driver.InstanceOf(t.Node).AskedMode == driver.BIOS {
		return node.Errorf(node.Invalid, "The boot interface %s needs UEFI, but the capability boot_mode of node %s is bios: set "+
			"boot_interface to ipxe or pxe.", b.Name(), t.Node.UUID)
	}
	if files, err := b.ramdisk(t); err != nil {
		return err
	} else if err := b.inGlance(ctx, files); err != nil {
		return err
	}
	if _, err := b.commandLine(t, boot.NewSecret(), nil); err != nil {
		return err
	}
	if err := b.checkSecureBoot(t); err != nil {
		return err
	}
	if _, deploy := t.Node.State.Next(node.EventDeploy); deploy && livesInMemory(t) {
		files, err := b.instanceFiles(t.Node)
		if err != nil {
			return err
		}
		if err := b.inGlance(ctx, files); err != nil {
			return err
		}
		if _, err := b.instanceLine(t); err != nil {
			return err
		}
	}
	_, err := persistence(t.Node)
	return err
}

func hasBootPort(ports []node.Port) bool {
	for _, p := range ports {
		if p.PXEEnabled {
			return true
		}
	}
	return false
}

// PrepareRamdisk is described on driver.Boot. It is safe to repeat: within one flow the record
// keeps its secret and its image, so a machine that is half-way through its boot goes on.
func (b *Boot) PrepareRamdisk(ctx context.Context, t *driver.Task, params map[string]string) error {
	files, err := b.ramdisk(t)
	if err != nil {
		return err
	}
	r, err := b.recordOfFlow(ctx, t)
	if err != nil {
		return err
	}
	if !b.GivesKey(t.Node, t.Hardware) {
		r.Key = ""
	}
	line, err := b.commandLine(t, r.Key, params)
	if err != nil {
		return err
	}
	if files, err = b.settle(ctx, files); err != nil {
		return err
	}
	r.Loader, r.Kernel, r.Ramdisk, r.CommandLine = b.ramdiskLoader(t), files.kernel.place, files.ramdisk.place, line
	r.Until, r.AskedBy = boot.End(b.RecordLife), ""
	if err := b.Records.PutRecord(ctx, r); err != nil {
		return fmt.Errorf("writing the boot record: %w", err)
	}
	if err := setSecureBoot(ctx, t, false); err != nil {
		return err
	}
	if err := setBootMode(ctx, t); err != nil {
		return err
	}
	p, err := persistence(t.Node)
	if err != nil {
		return err
	}
	return setBootDevice(ctx, t, node.BootDevice{Device: b.networkDevice(t), Persistent: p == always})
}

// recordOfFlow returns the record this flow made earlier, or a fresh one. A record of an earlier
// flow that was never dropped is not used on: whoever knows its secret has no business here.
func (b *Boot) recordOfFlow(ctx context.Context, t *driver.Task) (boot.Record, error) {
	old, err := b.Records.RecordOf(ctx, t.Node.UUID)
	if err != nil {
		return boot.Record{}, fmt.Errorf("reading the boot record: %w", err)
	}
	began := time.Time{}
	if t.Node.Plan != nil {
		began = t.Node.Plan.StartedAt
	}
	if old != nil && !old.CreatedAt.Before(began) {
		return *old, nil
	}
	created := node.Now()
	if created.Before(began) { // the flow was started by another server, with a faster clock
		created = began
	}
	r := boot.NewRecord(t.Node.UUID)
	r.CreatedAt = created
	return r, nil
}

// CleanUpRamdisk is described on driver.Boot.
func (b *Boot) CleanUpRamdisk(ctx context.Context, t *driver.Task) error {
	if err := b.Records.DropRecord(ctx, t.Node.UUID); err != nil {
		return fmt.Errorf("dropping the boot record: %w", err)
	}
	return nil
}

// PrepareInstance is described on driver.Boot. The deploy ramdisk's record goes first: from then on
// a machine that still boots over the network is sent to its disk, or to its own kernel.
func (b *Boot) PrepareInstance(ctx context.Context, t *driver.Task) error {
	if err := setSecureBoot(ctx, t, true); err != nil {
		return err
	}
	if livesInMemory(t) {
		return b.bootInstanceFiles(ctx, t)
	}
	p, err := persistence(t.Node)
	if err != nil {
		return err
	}
	device := "disk"
	if driver.RootOf(t.Node).Kernel != "" {
		device = b.networkDevice(t)
		err = b.putInstance(ctx, t)
	} else {
		err = b.CleanUpRamdisk(ctx, t)
	}
	if err != nil {
		return err
	}
	return setBootDevice(ctx, t, node.BootDevice{Device: device, Persistent: p != never})
}

// instanceLife is how long a record of an instance lasts: until it is torn down.
const instanceLife = 100 * 365 * 24 * time.Hour

// putInstance makes the record one of the instance's own kernel, with a secret of its own: that of
// the deploy ramdisk is worth nothing from here on.
func (b *Boot) putInstance(ctx context.Context, t *driver.Task) error {
	own := driver.RootOf(t.Node)
	kernel, err := b.locate("the image's kernel", own.Kernel)
	if err != nil {
		return err
	}
	ramdisk, err := b.locate("the image's ramdisk", own.Ramdisk)
	if err != nil {
		return err
	}
	files, err := b.settle(ctx, ramdiskFiles{kernel, ramdisk})
	if err != nil {
		return err
	}
	root, err := param("root", "UUID="+own.UUID)
	if err != nil {
		return err
	}
	params, key := appendParams(t.Node, b.defaults())
	line, err := spell(b.instanceLoader(t), root+" ro "+params, key)
	if err != nil {
		return err
	}
	r := boot.NewRecord(t.Node.UUID)
	r.Loader, r.Kernel, r.Ramdisk, r.Until = b.instanceLoader(t), files.kernel.place, files.ramdisk.place, boot.End(instanceLife)
	r.CommandLine = line
	if err := b.Records.PutRecord(ctx, r); err != nil {
		return fmt.Errorf("writing the instance's boot record: %w", err)
	}
	return nil
}

// CleanUpInstance is described on driver.Boot.
func (b *Boot) CleanUpInstance(ctx context.Context, t *driver.Task) error {
	if err := setSecureBoot(ctx, t, false); err != nil {
		return err
	}
	return b.CleanUpRamdisk(ctx, t)
}

// networkDevice is the boot device that starts the firmware's network boot. A BMC that has one word for
// all of it, as every BMC over IPMI has, is told "pxe": its firmware's own boot order decides between
// PXE and HTTP, and either is answered.
func (b *Boot) networkDevice(t *driver.Task) string {
	if b.Firmware == UEFIHTTP && slices.Contains(t.Hardware.Management.BootDevices(), string(UEFIHTTP)) {
		return string(UEFIHTTP)
	}
	return "pxe"
}

func setBootDevice(ctx context.Context, t *driver.Task, d node.BootDevice) error {
	if err := t.Hardware.Management.SetBootDevice(ctx, t, d); err != nil {
		return fmt.Errorf("setting the boot device to %s: %w", d.Device, err)
	}
	return nil
}

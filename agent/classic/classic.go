// Package classic plays the deploy ramdisk of 2014, for deploys through iSCSI: it exports the machine's disk, tells
// the service where it is, and waits until the service has written it. It refuses to export a disk that root
// device hints do not settle on, and writes nothing itself but the boot loader it is asked for.
package classic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/billet-metal/billet/agent/steps"
	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/iscsi"
	"github.com/billet-metal/billet/wire"
)

// Params is what the kernel parameters of a deploy through iSCSI say. In this mode the agent exports
// the disk for the service to write, and does nothing else.
type Params struct {
	IQN          string // iscsi_target_iqn
	DeploymentID string // deployment_id, the node's UUID
	Key          string // deployment_key, a secret
	BootServer   string // boot_server: TFTP
	RootDevice   string // root_device: hints as k=v,k=v, values escaped as in a URL
	BootOption   string // boot_option: "local" when the boot loader of the image is to be installed
	BootMode     string // boot_mode of the instance; "" is the one this machine runs in
	Media        bool   // boot_method=vmedia: the token is on virtual media and nowhere else
}

// Parse reads the parameters; nil when the kernel's command line has no iscsi_target_iqn.
func Parse(params map[string]string) *Params {
	if _, there := params["iscsi_target_iqn"]; !there {
		return nil
	}
	return &Params{
		IQN: params["iscsi_target_iqn"], DeploymentID: params["deployment_id"], Key: params["deployment_key"],
		BootServer: params["boot_server"], RootDevice: params["root_device"],
		BootOption: params["boot_option"], BootMode: strings.ToLower(params["boot_mode"]),
		Media: params["boot_method"] == "vmedia",
	}
}

// Ramdisk is this machine while it plays the deploy ramdisk of 2014.
type Ramdisk struct {
	Params
	*steps.Host
	Boot       *steps.BootLoader
	Export     Export
	ListenHost string
	DonePort   string // where it waits for "done"; "": 10000
	Reboot     func() error
	Install    func(context.Context) (string, error) // installs the boot loader; nil: the image's own is
	Caller     Caller

	token string
}

// Caller is how the service is called.
type Caller interface {
	Authorize(token string)                                         // the token of all further calls
	Post(ctx context.Context, path string, body any) error          // calls a method of it
	Again(ctx context.Context, what string, try func() error) error // does what may fail while it is away or busy
	OwnAddress() (net.IP, error)                                    // of this machine, on the way to it
}

// Export makes a disk an iSCSI target and returns how to end that.
type Export func(e iscsi.Export) (stop func(context.Context) error, err error)

// donePort is where the service says that all is written.
const donePort = "10000"

// Run is the whole life of the agent in this mode: export, tell, wait, make bootable, reboot.
func (r *Ramdisk) Run(ctx context.Context) error {
	c := r.Params
	if c.DeploymentID == "" || c.Key == "" {
		return errors.New("the kernel parameters deployment_id and deployment_key are missing: this machine cannot say what it is here for")
	}
	done, err := r.listenForDone()
	if err != nil {
		return err
	}
	defer done.Close()
	if err := r.Caller.Again(ctx, "fetching the token", func() error { return r.fetchToken(ctx) }); err != nil {
		return err
	}
	stop, failure := r.startTarget(ctx)
	if err := r.passDeployInfo(ctx, failure); err != nil {
		return err
	}
	if failure != nil {
		r.Log.Error("the disk is not exported", "error", failure)
		<-ctx.Done() // the machine stays on, to be looked at, until the service switches it off
		return failure
	}
	r.Log.Info("the service writes the disk now")
	if err := waitForDone(ctx, done); err != nil {
		return err
	}
	done.Close() // "done" means something else after the next call
	if err := stop(ctx); err != nil {
		r.Log.Warn("the iSCSI target does not stop in order", "error", err)
	}
	if c.BootOption == "local" {
		if err := r.loaderForService(ctx); err != nil {
			return err
		}
	} else {
		r.enterInFirmware(ctx)
	}
	r.Log.Info("all done; rebooting into the instance")
	return r.Reboot()
}

// listenForDone opens the port for the service's "done".
func (r *Ramdisk) listenForDone() (net.Listener, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(r.ListenHost, r.donePort()))
	if err != nil {
		return nil, fmt.Errorf("opening the port for the service's \"done\": %w", err)
	}
	return l, nil
}

// loaderForService installs the boot loader of the image that the service wrote, says how that went, and
// waits for the service to have prepared the reboot. The port is open only after the service took the
// call: a "done" before that would still be the first one.
func (r *Ramdisk) loaderForService(ctx context.Context) error {
	install := r.Install
	if install == nil {
		install = r.installLoader
	}
	text, failure := install(ctx)
	said := map[string]string{"status": "SUCCEEDED", "error": ""}
	if failure != nil {
		r.Log.Error("the boot loader is not installed", "error", failure)
		said = map[string]string{"status": "FAILED", "error": failure.Error()}
	} else {
		r.Log.Info("the boot loader is installed", "how", text)
	}
	if err := r.tell(ctx, "pass_bootloader_install_info", said); err != nil {
		return err
	}
	if failure != nil {
		<-ctx.Done() // the machine stays on, to be looked at, until the service switches it off
		return failure
	}
	done, err := r.listenForDone()
	if err != nil {
		return err
	}
	defer done.Close()
	return waitForDone(ctx, done)
}

// installLoader finds the root partition on the disk that was exported, and only there, and makes the
// machine boot it.
func (r *Ramdisk) installLoader(ctx context.Context) (string, error) {
	dev, root, err := r.RootDisk(ctx)
	if err != nil {
		return "", err
	}
	_, fs, err := disk.RootPartition(dev)
	if err = errors.Join(err, dev.Close()); err != nil {
		return "", fmt.Errorf("installing the boot loader on %s (serial %q): %w", root.Name, root.Serial, err)
	}
	if err := disk.Reread(filepath.Join(r.Root, root.Name)); err != nil {
		return "", fmt.Errorf("installing the boot loader: %w", err)
	}
	mode := r.BootMode
	if mode == "" {
		mode = r.Inventory.BootMode()
	}
	return r.Boot.MakeBootable(ctx, mode, fs.UUID)
}

// enterInFirmware makes the loader on the written disk the first boot entry of a machine that booted
// in UEFI mode: the service writes the disk from afar and cannot reach this firmware. The service has
// made sure that there is a loader; without an entry the firmware still tries \EFI\BOOT of the disk,
// so a failure is no reason to stay here.
func (r *Ramdisk) enterInFirmware(ctx context.Context) {
	if r.Inventory.BootMode() != "uefi" {
		return
	}
	if text, err := r.Boot.MakeBootEntry(ctx); err != nil {
		r.Log.Warn("no boot entry was made; the firmware has to find the disk's loader by itself", "error", err)
	} else {
		r.Log.Info("the firmware knows the disk", "entry", text)
	}
}

func (r *Ramdisk) donePort() string {
	if r.DonePort != "" {
		return r.DonePort
	}
	return donePort
}

func (r *Ramdisk) startTarget(ctx context.Context) (func(context.Context) error, error) {
	c := r.Params
	if c.IQN == "" {
		return nil, errors.New("the kernel parameter iscsi_target_iqn is empty: no iSCSI name to export the disk under")
	}
	root, err := r.diskToExport(ctx)
	if err != nil {
		return nil, err
	}
	if r.Export == nil {
		return nil, errors.New("this ramdisk cannot export disks")
	}
	r.Log.Info("exporting the disk", "disk", root.Name, "serial", root.Serial, "iqn", c.IQN)
	r.Written = &root // what the service writes; the boot entry is made for it and no other
	return r.Export(iscsi.Export{IQN: c.IQN, Device: root.Name, CHAP: iscsi.DeploymentCHAP(c.DeploymentID, c.Key, r.token)})
}

// exportDiskWait is how long the disk may take to appear.
const exportDiskWait = 60 * time.Second

func (r *Ramdisk) diskToExport(ctx context.Context) (wire.Disk, error) {
	hints, err := parseRootDevice(r.RootDevice)
	if err != nil {
		return wire.Disk{}, err
	}
	deadline := time.Now().Add(min(exportDiskWait, r.DiskWait))
	for {
		d, err := disk.Select(r.Inventory.Disks(), hints)
		if err == nil || !time.Now().Before(deadline) {
			return d, err
		}
		if err := steps.Pause(ctx, time.Second); err != nil {
			return wire.Disk{}, err
		}
	}
}

func parseRootDevice(text string) (map[string]any, error) {
	if text == "" {
		return nil, nil
	}
	hints := map[string]any{}
	for word := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(word, "=")
		plain, err := url.PathUnescape(value)
		if !ok || err != nil {
			return nil, fmt.Errorf("kernel parameter root_device=%s: %q is no hint of the form key=value", text, word)
		}
		hints[key] = plain
	}
	return hints, nil
}

// passDeployInfo tells the service where the disk is, or why there is none.
func (r *Ramdisk) passDeployInfo(ctx context.Context, failure error) error {
	said := map[string]string{"iqn": r.IQN, "error": "", "boot_mode": r.Inventory.BootMode(), "auth_method": "CHAP"}
	if failure != nil {
		said["error"] = failure.Error()
	}
	return r.tell(ctx, "pass_deploy_info", said)
}

// tell calls a method of the service with this machine's address and key.
func (r *Ramdisk) tell(ctx context.Context, method string, said map[string]string) error {
	c := r.Params
	return r.Caller.Again(ctx, "telling the service "+method, func() error {
		ip, err := r.Caller.OwnAddress()
		if err != nil {
			return err
		}
		body := map[string]string{"address": ip.String(), "key": c.Key}
		maps.Copy(body, said)
		return r.Caller.Post(ctx, "/v1/nodes/"+c.DeploymentID+"/vendor_passthru/"+method, body)
	})
}

// waitForDone hears connections until one says "done".
func waitForDone(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("waiting for the service's \"done\": %w", err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		said, _ := io.ReadAll(io.LimitReader(conn, 64))
		conn.Close()
		if strings.TrimSpace(string(said)) == "done" {
			return nil
		}
	}
}

package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/iscsi"
	"github.com/billet-metal/billet/wire"
)

// ISCSI is what the kernel parameters of a deploy through iSCSI say. In this mode the agent exports
// the disk for the service to write, and does nothing else.
type ISCSI struct {
	IQN          string // iscsi_target_iqn
	DeploymentID string // deployment_id, the node's UUID
	Key          string // deployment_key, a secret
	BootServer   string // boot_server: TFTP
	RootDevice   string // root_device: hints as k=v,k=v, values escaped as in a URL
	BootOption   string // boot_option: "local" when the boot loader of the image is to be installed
	BootMode     string // boot_mode of the instance; "" is the one this machine runs in
	Media        bool   // boot_method=vmedia: the token is on virtual media and nowhere else
}

// iscsiMode reads the parameters; nil when the kernel's command line has no iscsi_target_iqn.
func iscsiMode(params map[string]string) *ISCSI {
	if _, there := params["iscsi_target_iqn"]; !there {
		return nil
	}
	return &ISCSI{
		IQN: params["iscsi_target_iqn"], DeploymentID: params["deployment_id"], Key: params["deployment_key"],
		BootServer: params["boot_server"], RootDevice: params["root_device"],
		BootOption: params["boot_option"], BootMode: strings.ToLower(params["boot_mode"]),
		Media: params["boot_method"] == "vmedia",
	}
}

// ExportFunc makes a disk an iSCSI target and returns how to end that.
type ExportFunc func(e iscsi.Export) (stop func(context.Context) error, err error)

// donePort is where the service says that all is written.
const donePort = "10000"

// exportDisk is the whole life of the agent in iSCSI mode: export, tell, wait, make bootable, reboot.
func (a *Agent) exportDisk(ctx context.Context) error {
	c := a.Config.ISCSI
	if c.DeploymentID == "" || c.Key == "" {
		return errors.New("the kernel parameters deployment_id and deployment_key are missing: this machine cannot say what it is here for")
	}
	a.Log = a.Log.With("node", c.DeploymentID)
	done, err := a.listenForDone()
	if err != nil {
		return err
	}
	defer done.Close()
	if err := a.again(ctx, "fetching the token", func() error { return a.fetchToken(ctx) }); err != nil {
		return err
	}
	stop, failure := a.startTarget(ctx)
	if err := a.passDeployInfo(ctx, failure); err != nil {
		return err
	}
	if failure != nil {
		a.Log.Error("the disk is not exported", "error", failure)
		<-ctx.Done() // the machine stays on, to be looked at, until the service switches it off
		return failure
	}
	a.Log.Info("the service writes the disk now")
	if err := waitForDone(ctx, done); err != nil {
		return err
	}
	done.Close() // "done" means something else after the next call
	if err := stop(ctx); err != nil {
		a.Log.Warn("the iSCSI target does not stop in order", "error", err)
	}
	if c.BootOption == "local" {
		if err := a.loaderForService(ctx); err != nil {
			return err
		}
	} else {
		a.enterInFirmware(ctx)
	}
	a.Log.Info("all done; rebooting into the instance")
	return a.Machine.Reboot()
}

// listenForDone opens the port for the service's "done".
func (a *Agent) listenForDone() (net.Listener, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(a.Config.ListenHost, a.donePort()))
	if err != nil {
		return nil, fmt.Errorf("opening the port for the service's \"done\": %w", err)
	}
	return l, nil
}

// loaderForService installs the boot loader of the image that the service wrote, says how that went, and
// waits for the service to have prepared the reboot. The port is open only after the service took the
// call: a "done" before that would still be the first one.
func (a *Agent) loaderForService(ctx context.Context) error {
	install := a.install
	if install == nil {
		install = a.installLoader
	}
	text, failure := install(ctx)
	said := map[string]string{"status": "SUCCEEDED", "error": ""}
	if failure != nil {
		a.Log.Error("the boot loader is not installed", "error", failure)
		said = map[string]string{"status": "FAILED", "error": failure.Error()}
	} else {
		a.Log.Info("the boot loader is installed", "how", text)
	}
	if err := a.tell(ctx, "pass_bootloader_install_info", said); err != nil {
		return err
	}
	if failure != nil {
		<-ctx.Done() // the machine stays on, to be looked at, until the service switches it off
		return failure
	}
	done, err := a.listenForDone()
	if err != nil {
		return err
	}
	defer done.Close()
	return waitForDone(ctx, done)
}

// installLoader finds the root partition on the disk that was exported, and only there, and makes the
// machine boot it.
func (a *Agent) installLoader(ctx context.Context) (string, error) {
	dev, root, err := a.host.RootDisk(ctx)
	if err != nil {
		return "", err
	}
	_, fs, err := disk.RootPartition(dev)
	if err = errors.Join(err, dev.Close()); err != nil {
		return "", fmt.Errorf("installing the boot loader on %s (serial %q): %w", root.Name, root.Serial, err)
	}
	if err := disk.Reread(filepath.Join(a.Config.Root, root.Name)); err != nil {
		return "", fmt.Errorf("installing the boot loader: %w", err)
	}
	mode := a.Config.ISCSI.BootMode
	if mode == "" {
		mode = a.host.Inventory.BootMode()
	}
	return a.boot.MakeBootable(ctx, mode, fs.UUID)
}

// enterInFirmware makes the loader on the written disk the first boot entry of a machine that booted
// in UEFI mode: the service writes the disk from afar and cannot reach this firmware. The service has
// made sure that there is a loader; without an entry the firmware still tries \EFI\BOOT of the disk,
// so a failure is no reason to stay here.
func (a *Agent) enterInFirmware(ctx context.Context) {
	if a.host.Inventory.BootMode() != "uefi" {
		return
	}
	if text, err := a.boot.MakeBootEntry(ctx); err != nil {
		a.Log.Warn("no boot entry was made; the firmware has to find the disk's loader by itself", "error", err)
	} else {
		a.Log.Info("the firmware knows the disk", "entry", text)
	}
}

func (a *Agent) donePort() string {
	if a.Config.DonePort != "" {
		return a.Config.DonePort
	}
	return donePort
}

func (a *Agent) startTarget(ctx context.Context) (func(context.Context) error, error) {
	c := a.Config.ISCSI
	if c.IQN == "" {
		return nil, errors.New("the kernel parameter iscsi_target_iqn is empty: no iSCSI name to export the disk under")
	}
	root, err := a.diskToExport(ctx)
	if err != nil {
		return nil, err
	}
	if a.Export == nil {
		return nil, errors.New("this ramdisk cannot export disks")
	}
	a.Log.Info("exporting the disk", "disk", root.Name, "serial", root.Serial, "iqn", c.IQN)
	a.host.Written = &root // what the service writes; the boot entry is made for it and no other
	return a.Export(iscsi.Export{IQN: c.IQN, Device: root.Name, CHAP: iscsi.DeploymentCHAP(c.DeploymentID, c.Key, a.client.authToken)})
}

// exportDiskWait is how long the disk may take to appear.
const exportDiskWait = 60 * time.Second

func (a *Agent) diskToExport(ctx context.Context) (wire.Disk, error) {
	hints, err := parseRootDevice(a.Config.ISCSI.RootDevice)
	if err != nil {
		return wire.Disk{}, err
	}
	deadline := time.Now().Add(min(exportDiskWait, a.Config.DiskWait))
	for {
		d, err := disk.Select(a.host.Inventory.Disks(), hints)
		if err == nil || !time.Now().Before(deadline) {
			return d, err
		}
		if err := sleep(ctx, time.Second); err != nil {
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
func (a *Agent) passDeployInfo(ctx context.Context, failure error) error {
	said := map[string]string{"iqn": a.Config.ISCSI.IQN, "error": "", "boot_mode": a.host.Inventory.BootMode(), "auth_method": "CHAP"}
	if failure != nil {
		said["error"] = failure.Error()
	}
	return a.tell(ctx, "pass_deploy_info", said)
}

// tell calls a method of the service with this machine's address and key.
func (a *Agent) tell(ctx context.Context, method string, said map[string]string) error {
	c := a.Config.ISCSI
	return a.again(ctx, "telling the service "+method, func() error {
		ip, err := a.ownAddress()
		if err != nil {
			return err
		}
		body := map[string]string{"address": ip.String(), "key": c.Key}
		maps.Copy(body, said)
		_, err = a.client.call(ctx, http.MethodPost, "/v1/nodes/"+c.DeploymentID+"/vendor_passthru/"+method, 0, body, nil)
		return err
	})
}

// again does what may fail because the service is busy with the node still, or away, for as long as the
// agent's lookup would.
func (a *Agent) again(ctx context.Context, what string, try func() error) error {
	deadline := time.Now().Add(a.Config.LookupTimeout)
	for attempt := 0; ; attempt++ {
		err := try()
		if err == nil {
			return nil
		}
		refused := (*statusError)(nil)
		if errors.As(err, &refused) && refused.code < 500 && refused.code != http.StatusConflict || time.Now().After(deadline) {
			return fmt.Errorf("%s for the deployment %s: %w", what, a.Config.ISCSI.DeploymentID, err)
		}
		wait := lookupWait(attempt, a.Config.LookupInterval, err)
		a.Log.Warn(what, "error", err, "again_in", wait)
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
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

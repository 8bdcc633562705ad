package iscsi

import (
	"context"
	"crypto/subtle"
	"net"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// maxReason bounds what a ramdisk may say in last_error.
const maxReason = 1000

// TakeCall implements driver.MachineCallee.
func (d *Deploy) TakeCall(ctx context.Context, t *driver.Task, call node.MachineCall) error {
	if err := d.authenticate(ctx, t, call); err != nil {
		return err
	}
	switch call.Method {
	case "pass_deploy_info":
		return d.takeDeployInfo(t, call)
	case "pass_bootloader_install_info":
		return d.takeLoaderInfo(t, call)
	}
	return node.Errorf(node.Invalid, "The deploy interface iscsi has no method %s; pass_deploy_info and "+
		"pass_bootloader_install_info are allowed.", call.Method)
}

// awaited refuses a call that the step under way does not wait for.
func awaited(t *driver.Task, step, method string) error {
	if s := t.Step(); s == nil || s.Step != step {
		return node.Errorf(node.Conflict, "Node %s does not wait for %s now.", t.Node.UUID, method)
	}
	return nil
}

// authenticate checks that the caller is the machine that was booted for this deploy: its token
// came by TFTP to the machine alone, its key on the kernel's command line.
func (d *Deploy) authenticate(ctx context.Context, t *driver.Task, call node.MachineCall) error {
	r, err := d.Records.RecordOf(ctx, t.Node.UUID)
	if err != nil {
		return err
	}
	if r == nil {
		return node.Errorf(node.Conflict, "Node %s boots no deploy ramdisk now.", t.Node.UUID)
	}
	if !same(call.Token, r.DeployToken()) {
		return node.Errorf(node.Forbidden, "The X-Auth-Token is missing or is not that of the deployment on node %s.", t.Node.UUID)
	}
	if !same(call.Body.String("key"), r.DeployKey()) {
		return node.Errorf(node.Invalid, "The key is not that of the deployment on node %s.", t.Node.UUID)
	}
	return nil
}

func same(got, want string) bool { return subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1 }

// takeDeployInfo remembers where the disk is. A second call with the same words changes nothing.
func (d *Deploy) takeDeployInfo(t *driver.Task, call node.MachineCall) error {
	body := call.Body
	if err := awaited(t, "deploy", "pass_deploy_info"); err != nil {
		return err
	}
	if reason := body.String("error"); reason != "" {
		refused(t, reason)
		return nil
	}
	if iqn := body.String("iqn"); iqn != targetName(t.Node.UUID) {
		return node.Errorf(node.Invalid, "\"iqn\" is %q; the kernel parameter iscsi_target_iqn said %s.", iqn, targetName(t.Node.UUID))
	}
	mode := body.String("boot_mode")
	if mode != "" && mode != "bios" && mode != "uefi" {
		return node.Errorf(node.Invalid, "\"boot_mode\" is %q; bios and uefi are allowed.", mode)
	}
	auth := body.String("auth_method")
	if auth != "" && auth != "CHAP" {
		return node.Errorf(node.Invalid, "\"auth_method\" is %q; CHAP is allowed.", auth)
	}
	if err := takeAddress(t, call); err != nil {
		return err
	}
	ramdiskNote.Edit(t, func(r *ramdisk) { r.Mode, r.Auth = mode, auth })
	return nil
}

// refused keeps what the ramdisk could not do.
func refused(t *driver.Task, reason string) {
	ramdiskNote.Edit(t, func(r *ramdisk) { r.Error = reason[:min(len(reason), maxReason)] })
}

// takeAddress remembers where the ramdisk is. This service logs in there and writes what may be secret, so it must be
// where the call came from.
func takeAddress(t *driver.Task, call node.MachineCall) error {
	ip := net.ParseIP(call.Body.String("address"))
	if ip == nil || ip.IsUnspecified() || ip.IsMulticast() {
		return node.Errorf(node.Invalid, "\"address\" is %q; the IP address of the ramdisk is needed.", call.Body.String("address"))
	}
	if call.Reachable != nil {
		if err := call.Reachable(ip.String()); err != nil {
			return node.Errorf(node.Invalid, "\"address\" is refused: %v", err)
		}
	} else if ip.IsLoopback() || ip.IsLinkLocalUnicast() {
		return node.Errorf(node.Invalid, "\"address\" is %q; the IP address of the ramdisk is needed.", call.Body.String("address"))
	}
	ramdiskNote.Edit(t, func(r *ramdisk) { r.Host = ip.String() })
	return nil
}

// What a ramdisk says of the boot loader it was to install.
const (
	installed = "SUCCEEDED"
	failed    = "FAILED"
)

// takeLoaderInfo remembers how the installation of the boot loader ended.
func (d *Deploy) takeLoaderInfo(t *driver.Task, call node.MachineCall) error {
	body := call.Body
	if !driver.InstanceOf(t.Node).NeedsLoader() {
		return node.Errorf(node.Invalid, "Node %s was not asked to install a boot loader: its image brings its own, or boots over "+
			"the network.", t.Node.UUID)
	}
	if err := awaited(t, "prepare_instance_boot", "pass_bootloader_install_info"); err != nil {
		return err
	}
	switch status := body.String("status"); status {
	case installed:
		if err := takeAddress(t, call); err != nil {
			return err
		}
	case failed:
		refused(t, orElse(body.String("error"), "no reason"))
	default:
		return node.Errorf(node.Invalid, "\"status\" is %q; %s and %s are allowed.", status, installed, failed)
	}
	loaderNote.Edit(t, func(l *loader) { l.Status = body.String("status") })
	return nil
}

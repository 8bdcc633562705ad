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
	if call.Method == "pass_bootloader_install_info" {
		return node.Errorf(node.Invalid, "Node %s was not asked to install a boot loader: its whole-disk image has its own.", t.Node.UUID)
	}
	if call.Method != "pass_deploy_info" {
		return node.Errorf(node.Invalid, "The deploy interface iscsi has no method %s; pass_deploy_info and pass_bootloader_install_info are allowed.", call.Method)
	}
	if step := t.Step(); step == nil || step.Step != "deploy" {
		return node.Errorf(node.Conflict, "Node %s does not wait for pass_deploy_info now.", t.Node.UUID)
	}
	return takeDeployInfo(t, call.Body)
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
func takeDeployInfo(t *driver.Task, body node.Document) error {
	if reason := body.String("error"); reason != "" {
		t.Remember(memoError, reason[:min(len(reason), maxReason)])
		return nil
	}
	ip := net.ParseIP(body.String("address"))
	if ip == nil || ip.IsUnspecified() || ip.IsLoopback() || ip.IsMulticast() {
		return node.Errorf(node.Invalid, "\"address\" is %q; the IP address of the ramdisk's iSCSI target is needed.", body.String("address"))
	}
	if iqn := body.String("iqn"); iqn != targetName(t.Node.UUID) {
		return node.Errorf(node.Invalid, "\"iqn\" is %q; the kernel parameter iscsi_target_iqn said %s.", iqn, targetName(t.Node.UUID))
	}
	t.Remember(memoHost, ip.String())
	return nil
}

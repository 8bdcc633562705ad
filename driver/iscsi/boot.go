package iscsi

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// firstCall is what a booting ramdisk is waited for with.
var firstCall = node.Await{For: node.DeployInfo, Text: "the deploy ramdisk's pass_deploy_info"}

// targetName is the IQN a node's disk is exported under, Ironic's own form.
func targetName(uuid string) string { return "iqn.2008-10.org.openstack:" + uuid }

// diskNames is where old ramdisks look for a disk when there is no hint, in this order.
const diskNames = "cciss/c0d0,sda,hda,vda,nvme0n1"

// deploy boots the ramdisk and waits for its call. The image is looked for first: one that is
// missing or unsafe fails here in seconds.
func (d *Deploy) deploy(ctx context.Context, t *driver.Task) (driver.Result, error) {
	r, err := driver.FindImage(ctx, t, d.Sources, orElse(d.BootTimeout, DefaultBootTimeout))
	if err != nil || r.Waiting() {
		return r, err
	}
	if !ramdiskNote.Get(t).Booted {
		wait, err := driver.UntilFile(t, d.bootRamdisk(ctx, t), orElse(d.BootTimeout, DefaultBootTimeout))
		if err != nil || wait.Waiting() {
			return wait, err
		}
	}
	return driver.Wait(firstCall, orElse(d.BootTimeout, DefaultBootTimeout)), nil
}

// deployed goes on with deploy: first the image is waited for, then the ramdisk.
func (d *Deploy) deployed(ctx context.Context, t *driver.Task) (driver.Result, error) {
	if driver.AwaitsImage(t) {
		return d.deploy(ctx, t)
	}
	if err := driver.ImageFailed(ctx, t, d.Sources); err != nil {
		return driver.Done(), err
	}
	return d.called(ctx, t)
}

// DefaultBootTimeout is how long a ramdisk may take from power on to its call, and an image of Glance until it can be found.
const DefaultBootTimeout = 30 * time.Minute

// bootRamdisk has the machine start the ramdisk. After a crash half-way it starts anew, which the
// machine takes for another power cycle.
func (d *Deploy) bootRamdisk(ctx context.Context, t *driver.Task) error {
	on := node.PowerOn
	if t.Node.DisablePowerOff {
		on = node.Rebooting
	} else if err := t.SetPower(ctx, node.PowerOff); err != nil {
		return fmt.Errorf("switching the machine off to boot the deploy ramdisk: %w", err)
	}
	if err := t.Hardware.Network.Connect(ctx, t, driver.ProvisioningNetwork); err != nil {
		return fmt.Errorf("connecting the machine to the provisioning network: %w", err)
	}
	if err := t.DropAgent(ctx); err != nil {
		return fmt.Errorf("forgetting the agent of an earlier boot: %w", err)
	}
	r, err := d.record(ctx, t)
	if err != nil {
		return err
	}
	if err := t.Hardware.Boot.PrepareRamdisk(ctx, t, d.kernelParams(t, r)); err != nil {
		return fmt.Errorf("preparing the machine to boot the deploy ramdisk: %w", err)
	}
	if err := t.SetPower(ctx, on); err != nil {
		return fmt.Errorf("switching the machine on to boot the deploy ramdisk: %w", err)
	}
	ramdiskNote.Edit(t, func(r *ramdisk) { r.Booted = true })
	return t.Checkpoint(ctx)
}

// record returns the boot record of this flow. It is made before the boot interface fills it: the
// key among the kernel parameters is made of what it hides.
func (d *Deploy) record(ctx context.Context, t *driver.Task) (*boot.Record, error) {
	r, err := d.Records.RecordOf(ctx, t.Node.UUID)
	if err != nil {
		return nil, fmt.Errorf("reading the boot record: %w", err)
	}
	began := t.Node.Plan.StartedAt
	if r != nil && !r.CreatedAt.Before(began) {
		return r, nil
	}
	created := node.Now()
	if created.Before(began) { // the flow was started by another server, with a faster clock
		created = began
	}
	fresh := boot.NewRecord(t.Node.UUID)
	fresh.CreatedAt, fresh.Until = created, boot.End(0)
	if err := d.Records.PutRecord(ctx, fresh); err != nil {
		return nil, fmt.Errorf("writing the boot record: %w", err)
	}
	return &fresh, nil
}

// kernelParams is all a deploy ramdisk of the iSCSI family is told.
func (d *Deploy) kernelParams(t *driver.Task, r *boot.Record) map[string]string {
	api := strings.TrimSuffix(d.APIURL, "/")
	params := map[string]string{
		"ironic_api_url":   api,
		"iscsi_target_iqn": targetName(t.Node.UUID),
		"deployment_id":    t.Node.UUID,
		"deployment_key":   r.DeployKey(),
		"disk":             diskNames,
		"boot_option":      "netboot", // nothing for the ramdisk to install
	}
	asked := driver.InstanceOf(t.Node)
	if asked.NeedsLoader() {
		params["boot_option"] = "local"
	}
	if u, err := url.Parse(api); err == nil {
		params["boot_server"] = u.Hostname()
	}
	if asked.BootMode != "" {
		params["boot_mode"] = asked.BootMode
	}
	if hints := rootDevice(t.Node); hints != "" {
		params["root_device"] = hints
	}
	return params
}

// rootDevice is the root device hints as a kernel parameter: k=v,k=v with values escaped as in a URL,
// so that blanks and commas survive.
func rootDevice(n *node.Node) string {
	hints, ok := n.InstanceInfo["root_device"].(map[string]any)
	if !ok {
		hints, _ = n.Properties["root_device"].(map[string]any)
	}
	var words []string
	for _, k := range slices.Sorted(maps.Keys(hints)) {
		value := strings.ReplaceAll(url.QueryEscape(fmt.Sprint(hints[k])), "+", "%20")
		words = append(words, url.QueryEscape(k)+"="+value)
	}
	return strings.Join(words, ",")
}

// called ends the wait once the ramdisk has said where its disk is, or why it has none.
func (d *Deploy) called(_ context.Context, t *driver.Task) (driver.Result, error) {
	switch r := ramdiskNote.Get(t); {
	case r.Error != "":
		return driver.Done(), fmt.Errorf("the deploy ramdisk says: %s", r.Error)
	case r.Host == "":
		return driver.Result{WaitFor: firstCall}, nil
	case r.Mode != "":
		t.Node.BootMode = r.Mode
	}
	return driver.Done(), nil
}

package agent

import (
	"context"
	"fmt"
	"strconv"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/raid"
	"github.com/billet-metal/billet/wire"
)

var untilOff = node.Await{For: node.SelfOff, Text: "the machine to switch itself off"}

// prepareInstanceBoot makes the machine boot what was written. On UEFI the agent first enters the
// image's boot loader into the firmware's boot order; BIOS starts the disk's own boot code. A
// partition image has its own boot loader installed, or is booted over the network.
func (d *Direct) prepareInstanceBoot(ctx context.Context, t *driver.Task) (driver.Result, error) {
	driver.Root{}.Leave(t.Node)
	asked := driver.InstanceOf(t.Node)
	if asked.IsPartition {
		return d.preparePartitionBoot(ctx, t)
	}
	// Firmware cannot start what is on software RAID by itself, whatever the mode.
	if asked.BootMode == driver.BIOS && !raid.IsSoftware(t.Node.RAIDConfig) {
		return driver.Done(), prepareDisk(ctx, t)
	}
	r, c, err := d.run(ctx, t, d.bootLoaderWork(t))
	return bootLoaderEnded(ctx, t, r, c, err)
}

func (d *Direct) bootLoaderInstalled(ctx context.Context, t *driver.Task) (driver.Result, error) {
	r, c, err := d.poll(ctx, t, d.bootLoaderWork(t))
	return bootLoaderEnded(ctx, t, r, c, err)
}

func bootLoaderEnded(ctx context.Context, t *driver.Task, r driver.Result, c *wire.CommandResult, err error) (driver.Result, error) {
	if err != nil || c == nil {
		return r, err
	}
	return driver.Done(), prepareDisk(ctx, t)
}

func prepareDisk(ctx context.Context, t *driver.Task) error {
	if err := t.Hardware.Boot.PrepareInstance(ctx, t); err != nil {
		return fmt.Errorf("making the machine boot its disk: %w", err)
	}
	return nil
}

// bootLoaderWork is image.install_bootloader with what the agent knows of its partitions. When
// the boot mode is only assumed, a failure is the agent's to ignore: the machine may be a BIOS one.
func (d *Direct) bootLoaderWork(t *driver.Task) work {
	return work{
		name: "image.install_bootloader", what: "install_bootloader", within: orElse(d.StepTimeout, DefaultStepTimeout),
		params: func(ctx context.Context) (map[string]any, error) {
			uuids, err := d.partitionUUIDs(ctx, t)
			if err != nil {
				return nil, err
			}
			asked := driver.InstanceOf(t.Node)
			if uuids.Root == "" && asked.BootMode == driver.BIOS && raid.IsSoftware(t.Node.RAIDConfig) {
				uuids.Root = t.Node.InstanceInfo.String("image_rootfs_uuid") // where the image's GRUB is; "": the agent looks for it
			}
			params := map[string]any{
				"root_uuid": uuids.Root, "efi_system_part_uuid": uuids.ESP, "prep_boot_part_uuid": uuids.PReP,
				"target_boot_mode": asked.Mode(),
			}
			if may, _ := d.mayRunPrograms(t.Node); !may && (asked.IsPartition || raid.IsSoftware(t.Node.RAIDConfig)) {
				params[programsKey] = false // Ironic's agents know no such parameter, and then do nothing
			}
			switch {
			case asked.BootMode != "":
			case !asked.IsPartition && !raid.IsSoftware(t.Node.RAIDConfig):
				params["ignore_bootloader_failure"] = true
			default: // a partition image has no other loader; the agent takes the mode it runs in
				delete(params, "target_boot_mode")
			}
			return params, nil
		},
	}
}

// tearDownAgent switches the machine off, so that the instance starts from cold. The agent is asked
// to, as it flushes what it wrote; a machine that stays on is switched off by its BMC.
func (d *Direct) tearDownAgent(ctx context.Context, t *driver.Task) (driver.Result, error) {
	if kexecNote.Get(t).Stage == kexecJumped {
		return driver.Done(), nil // there is no agent any more
	}
	if !t.MaySwitchOff() {
		return driver.Done(), d.sync(ctx, t)
	}
	if off, err := isOff(ctx, t); err != nil || off {
		return driver.Done(), d.gone(ctx, t, err)
	}
	if forced(t.Node) {
		if err := d.sync(ctx, t); err != nil {
			return driver.Done(), err
		}
		return driver.Done(), d.hardOff(ctx, t)
	}
	s, err := d.Client.open(t.Node.Agent)
	if err == nil {
		err = s.powerOff(ctx)
	}
	if err != nil {
		t.Logger().Warn("the agent does not switch its machine off; the BMC will", "error", err)
		return driver.Done(), d.hardOff(ctx, t)
	}
	// The deadline is never reached: the last poll switches off.
	wait := orElse(d.PowerOff, DefaultPowerOffWait)
	return driver.Result{WaitFor: untilOff, Within: 10 * wait, PollEvery: orElse(d.PowerPoll, DefaultPowerPoll)}, nil
}

// powerOff asks for standby.power_off. An agent that goes down before it answers has done it.
func (s *session) powerOff(ctx context.Context) error {
	s.Attempts = 1
	_, err := s.start(ctx, "standby.power_off", nil, "")
	if isUnreachable(err) && ctx.Err() == nil {
		return nil
	}
	return err
}

// machineOff looks whether the machine is off by now.
func (d *Direct) machineOff(ctx context.Context, t *driver.Task) (driver.Result, error) {
	off, err := isOff(ctx, t)
	if off {
		return driver.Done(), d.gone(ctx, t, nil)
	}
	if waited := node.Now().Sub(t.Node.Plan.WaitingSince); waited < orElse(d.PowerOff, DefaultPowerOffWait) {
		return driver.Result{WaitFor: untilOff, PollEvery: orElse(d.PowerPoll, DefaultPowerPoll)}, nil
	}
	t.Logger().Warn("the machine did not switch itself off in time; the BMC does", "error", err)
	return driver.Done(), d.hardOff(ctx, t)
}

func isOff(ctx context.Context, t *driver.Task) (bool, error) {
	state, err := t.Hardware.Power.PowerState(ctx, t)
	if err != nil {
		return false, fmt.Errorf("asking whether the machine is off: %w", err)
	}
	t.Node.Power = state
	return state == node.PowerOff, nil
}

func (d *Direct) hardOff(ctx context.Context, t *driver.Task) error {
	if err := t.SetPower(ctx, node.PowerOff); err != nil {
		return fmt.Errorf("switching the machine off: %w", err)
	}
	return d.gone(ctx, t, nil)
}

// gone forgets the agent of a machine that is off.
func (d *Direct) gone(ctx context.Context, t *driver.Task, err error) error {
	if err != nil {
		return err
	}
	if err := forgetAgent(ctx, t); err != nil {
		return fmt.Errorf("forgetting the agent: %w", err)
	}
	return nil
}

// sync has the agent flush what it wrote, before the power goes without it.
func (d *Direct) sync(ctx context.Context, t *driver.Task) error {
	s, err := d.Client.open(t.Node.Agent)
	if err != nil {
		return err
	}
	if err := s.ask(ctx, "standby.sync", nil, nil); err != nil {
		return fmt.Errorf("flushing what was written: %w", err)
	}
	return nil
}

// forced reports driver_info.deploy_forces_oob_reboot.
func forced(n *node.Node) bool {
	switch v := n.DriverInfo["deploy_forces_oob_reboot"].(type) {
	case bool:
		return v
	case string:
		yes, err := strconv.ParseBool(v)
		return err == nil && yes
	}
	return false
}

func (d *Direct) switchToTenantNetwork(ctx context.Context, t *driver.Task) (driver.Result, error) {
	if err := t.Hardware.Network.Connect(ctx, t, driver.TenantNetwork); err != nil {
		return driver.Done(), fmt.Errorf("connecting the machine to the tenant network: %w", err)
	}
	return driver.Done(), nil
}

// bootInstance starts the machine from its disk.
func (d *Direct) bootInstance(ctx context.Context, t *driver.Task) (driver.Result, error) {
	if runs, err := bootedByKexec(ctx, t); err != nil || runs {
		return driver.Done(), err
	}
	return driver.Done(), startInstance(ctx, t)
}

// startInstance has the machine boot what it was prepared for.
func startInstance(ctx context.Context, t *driver.Task) error {
	start := func() error { return t.SetPower(ctx, node.PowerOn) }
	if !driver.CanSet(t.Hardware.Power, node.PowerOn) {
		start = func() error { return rebootByAgent(ctx, t) }
	} else if !t.MaySwitchOff() {
		start = func() error { return t.SetPower(ctx, node.Rebooting) }
	}
	if err := start(); err != nil {
		return fmt.Errorf("starting the instance: %w", err)
	}
	return nil
}

// rebootByAgent has the agent reboot its machine, and forgets it. One that was asked by a process that died,
// and is silent now, has done it.
func rebootByAgent(ctx context.Context, t *driver.Task) error {
	asked := rebootNote.Get(t).ByAgent == stepName(t)
	rebootNote.Edit(t, func(r *reboots) { r.ByAgent = stepName(t) })
	if err := t.Checkpoint(ctx); err != nil {
		return err
	}
	if err := t.SetPower(ctx, node.Rebooting); err != nil && !(asked && isGone(err)) {
		return err
	}
	t.Node.Power = node.PowerOn
	if err := forgetAgent(ctx, t); err != nil {
		return fmt.Errorf("forgetting the agent: %w", err)
	}
	return nil
}

// adopt takes over a machine that runs its instance already: later boots stay with its disk.
func (d *Direct) adopt(ctx context.Context, t *driver.Task) (driver.Result, error) {
	return driver.Done(), prepareDisk(ctx, t)
}

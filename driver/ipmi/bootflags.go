package ipmi

import (
	"context"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// setAndCheck sets the boot device and reads it back: some BMCs say yes and forget, and then their machine boots its own
// disk. A BMC that forgot gets the device once more. What it says after that is evidence, not a failure: some BMCs do
// what they deny.
func (s *session) setAndCheck(ctx context.Context, t *driver.Task, o driver.BootOverride) error {
	for {
		if err := s.setBootDevice(ctx, t.Node, o.Asked); err != nil {
			return err
		}
		s.check(ctx, &o)
		driver.Override.Set(t, o)
		if o.Answer != driver.OverrideLost || o.Repeats > 0 {
			break
		}
		o.Repeats++
	}
	if o.Answer == driver.OverrideLost {
		t.Logger().Warn("the BMC took a boot device and does not name it", "asked", o.Asked.Device, "named", o.Said.Device)
	}
	return nil
}

// check asks the BMC for its boot device.
func (s *session) check(ctx context.Context, o *driver.BootOverride) {
	said, err := s.bootDevice(ctx)
	o.Said = said
	switch {
	case err != nil:
		o.Answer = driver.OverrideUntold
	case said.Device == o.Asked.Device:
		o.Answer = driver.OverrideKept
	default:
		o.Answer = driver.OverrideLost
	}
}

// beforeStart has the machine boot what the flow asked for, right before it is started: the boot device is set again
// where the BMC lost it meanwhile, for one when the power went off. Outside of a flow the remembered device is
// set, for driver_info/ipmi_force_boot_device.
func (s *session) beforeStart(ctx context.Context, t *driver.Task) error {
	o, ok := driver.Override.Of(t.Node.Plan)
	if !ok || o.Started {
		return s.restoreBootDevice(ctx, t.Node)
	}
	if s.check(ctx, &o); o.Answer != driver.OverrideLost {
		driver.Override.Set(t, o)
		return s.restoreBootDevice(ctx, t.Node)
	}
	o.Repeats++
	return s.setAndCheck(ctx, t, o)
}

// started notes that what was set has had its boot.
func started(t *driver.Task) {
	if o, ok := driver.Override.Of(t.Node.Plan); ok && !o.Started {
		o.Started = true
		driver.Override.Set(t, o)
	}
}

// restoreBootDevice sets the remembered device again, before the machine starts. A once-only
// device has the right of way.
func (s *session) restoreBootDevice(ctx context.Context, n *node.Node) error {
	device := n.DriverInternalInfo.String(rememberedDevice)
	if !s.forceBootDevice || device == "" {
		return nil
	}
	if n.DriverInternalInfo[nextBootIsSet] == true {
		remember(n, node.BootDevice{Device: device, Persistent: true})
		return nil
	}
	return s.setBootDevice(ctx, n, node.BootDevice{Device: device, Persistent: true})
}

// setBootDevice is Set System Boot Options (spec 28.12). First the 60 s limit goes, which a slow
// deploy would run into, and the firmware is told that there is news (boot info acknowledge);
// BMCs that know neither parameter do not need them.
func (s *session) setBootDevice(ctx context.Context, n *node.Node, d node.BootDevice) error {
	if s.disableBootTimeout {
		keep := byte(keepFlags)
		if s.quirks.Has(keepMask) {
			keep = byte(s.quirks[keepMask])
		}
		if err := s.optionalBootParameter(ctx, bootClearing, keep); err != nil {
			return err
		}
	}
	const mask, bios = 0x01, 0x01
	if err := s.optionalBootParameter(ctx, bootInfoAck, mask, bios); err != nil {
		return err
	}
	flags, selector := byte(flagsValid), selectors[d.Device]
	if d.Persistent {
		flags |= flagsPersistent
	}
	if driver.InstanceOf(n).Mode() == driver.UEFI {
		flags |= flagsEFI
		selector = s.efiSelector(d.Device)
	}
	set := func() error {
		_, err := s.command(ctx, "set the boot device", netChassis, 0x08, bootFlags, flags, selector<<2, 0, 0, 0)
		return err
	}
	err := set()
	if code, _ := refusal(err); code == setInProgress { // a client that died in the middle, or never said that it was done
		if err = s.optionalBootParameter(ctx, bootInProgress, setComplete); err == nil {
			err = set()
		}
	}
	return s.require("set the boot device "+d.Device, err)
}

// efiSelector is the device's number in the boot flags of a UEFI boot.
func (s *session) efiSelector(device string) byte {
	if device == "disk" && s.quirks.Has(uefiDisk) {
		return byte(s.quirks[uefiDisk])
	}
	return selectors[device]
}

func (s *session) optionalBootParameter(ctx context.Context, data ...byte) error {
	_, err := s.command(ctx, "set boot options", netChassis, 0x08, data...)
	if _, refused := refusal(err); refused {
		return nil
	}
	return err
}

// bootDevice is Get System Boot Options (spec 28.13).
func (s *session) bootDevice(ctx context.Context) (node.BootDevice, error) {
	const what = "tell its boot device"
	data, err := s.command(ctx, what, netChassis, 0x09, bootFlags, 0, 0)
	if err != nil {
		return node.BootDevice{}, s.require(what, err)
	}
	if len(data) < 4 || data[2]&flagsValid == 0 {
		return node.BootDevice{}, nil
	}
	for name := range selectors {
		selector := selectors[name]
		if data[2]&flagsEFI != 0 {
			selector = s.efiSelector(name)
		}
		if data[3]>>2&0x0F == selector {
			return node.BootDevice{Device: name, Persistent: data[2]&flagsPersistent != 0}, nil
		}
	}
	return node.BootDevice{}, nil
}

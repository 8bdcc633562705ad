package ipmi

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// Management is the management interface "ipmitool": the boot device.
type Management struct{ bmcs *bmcs }

var (
	_ driver.Management  = (*Management)(nil)
	_ driver.Interrupter = (*Management)(nil)
)

// Name is "ipmitool".
func (*Management) Name() string { return "ipmitool" }

// Properties lists the driver_info keys.
func (*Management) Properties() map[string]string { return maps.Clone(properties) }

// Validate checks driver_info.
func (*Management) Validate(_ context.Context, t *driver.Task) error {
	_, err := parse(t.Node.DriverInfo)
	return err
}

// Boot option parameters and flags (spec table 28-14).
const (
	bootClearing = 3
	bootInfoAck  = 4
	bootFlags    = 5

	flagsValid      = 0x80
	flagsPersistent = 0x40
	flagsEFI        = 0x20
	keepFlags       = 0x08 // do not clear the flags when no chassis control comes within 60 s
)

// selectors are the boot devices by their number in the boot flags.
var selectors = map[string]byte{"pxe": 1, "disk": 2, "safe": 3, "cdrom": 5, "bios": 6}

// Keys in driver_internal_info, for driver_info/ipmi_force_boot_device.
const (
	rememberedDevice = "ipmi_persistent_boot_device"
	nextBootIsSet    = "ipmi_next_boot_is_set" // a once-only device was set since: leave the next boot alone
)

// BootDevices lists what may be set.
func (*Management) BootDevices() []string { return slices.Sorted(maps.Keys(selectors)) }

// BootDevice asks the BMC. A device that this driver would not set is reported as "".
func (m *Management) BootDevice(ctx context.Context, t *driver.Task) (node.BootDevice, error) {
	c, err := parse(t.Node.DriverInfo)
	if err != nil {
		return node.BootDevice{}, err
	}
	if d := t.Node.DriverInternalInfo.String(rememberedDevice); bool(c.forceBootDevice) && d != "" && t.Node.DriverInternalInfo[nextBootIsSet] != true {
		return node.BootDevice{Device: d, Persistent: true}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, m.bmcs.options.OperationTimeout)
	defer cancel()
	var d node.BootDevice
	err = m.bmcs.do(ctx, c, func(s *session) error {
		d, err = s.bootDevice(ctx)
		return err
	})
	return d, err
}

// SetBootDevice sets it for the next boot or for all. The EFI flag follows the node's boot mode
// (capability boot_mode, else what the machine was last seen in); unknown is taken for UEFI.
func (m *Management) SetBootDevice(ctx context.Context, t *driver.Task, d node.BootDevice) error {
	c, err := parse(t.Node.DriverInfo)
	if err != nil {
		return err
	}
	if _, ok := selectors[d.Device]; !ok {
		return node.Errorf(node.Invalid, "Invalid boot device %q; allowed: %s.", d.Device, strings.Join(m.BootDevices(), ", "))
	}
	ctx, cancel := context.WithTimeout(ctx, m.bmcs.options.OperationTimeout)
	defer cancel()
	if err := m.bmcs.do(ctx, c, func(s *session) error { return s.setBootDevice(ctx, t.Node, d) }); err != nil {
		return err
	}
	if c.forceBootDevice {
		remember(t.Node, d)
	}
	return nil
}

// InjectNMI is Chassis Control's diagnostic interrupt (spec 28.3). Not every BMC has it.
func (m *Management) InjectNMI(ctx context.Context, t *driver.Task) error {
	c, err := parse(t.Node.DriverInfo)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, m.bmcs.options.OperationTimeout)
	defer cancel()
	return m.bmcs.do(ctx, c, func(s *session) error {
		_, err := s.command(ctx, "inject a non-maskable interrupt", netChassis, 0x02, controlNMI)
		return err
	})
}

func remember(n *node.Node, d node.BootDevice) {
	n.DriverInternalInfo = n.DriverInternalInfo.Clone()
	if d.Persistent {
		n.DriverInternalInfo[rememberedDevice] = d.Device
	}
	n.DriverInternalInfo[nextBootIsSet] = !d.Persistent
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
		if err := s.optionalBootParameter(ctx, bootClearing, keepFlags); err != nil {
			return err
		}
	}
	const mask, bios = 0x01, 0x01
	if err := s.optionalBootParameter(ctx, bootInfoAck, mask, bios); err != nil {
		return err
	}
	flags := byte(flagsValid)
	if d.Persistent {
		flags |= flagsPersistent
	}
	if mode(n) == "uefi" {
		flags |= flagsEFI
	}
	_, err := s.command(ctx, "set the boot device", netChassis, 0x08, bootFlags, flags, selectors[d.Device]<<2, 0, 0, 0)
	return s.require("set the boot device "+d.Device, err)
}

func (s *session) optionalBootParameter(ctx context.Context, data ...byte) error {
	_, err := s.command(ctx, "set boot options", netChassis, 0x08, data...)
	if _, refused := refusal(err); refused {
		return nil
	}
	return err
}

func mode(n *node.Node) string {
	for _, m := range []string{n.Capability("boot_mode"), n.BootMode} {
		if m != "" {
			return m
		}
	}
	return "uefi"
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
	for name, selector := range selectors {
		if data[3]>>2&0x0F == selector {
			return node.BootDevice{Device: name, Persistent: data[2]&flagsPersistent != 0}, nil
		}
	}
	return node.BootDevice{}, nil
}

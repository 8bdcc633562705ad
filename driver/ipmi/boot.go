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
type Management struct {
	addressed
	bmcs *bmcs
}

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
	bootInProgress = 0
	bootClearing   = 3
	bootInfoAck    = 4
	bootFlags      = 5

	setComplete   = 0    // of bootInProgress
	setInProgress = 0x81 // completion code: somebody else is setting (spec table 28-13)

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
	kept := t.Node.DriverInternalInfo
	if d := kept.String(rememberedDevice); bool(c.forceBootDevice) && d != "" && kept[nextBootIsSet] != true {
		return node.BootDevice{Device: d, Persistent: true}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, m.bmcs.options.OperationTimeout)
	defer cancel()
	var d node.BootDevice
	err = m.bmcs.do(ctx, c, func(s *session) error {
		var err error
		d, err = s.bootDevice(ctx)
		return err
	})
	return d, err
}

// SetBootDevice sets it for the next boot or for all. The EFI flag follows the mode that the machine boots in (driver.Instance).
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
	if err := m.bmcs.do(ctx, c, func(s *session) error { return s.setAndCheck(ctx, t, driver.BootOverride{Asked: d}) }); err != nil {
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

package fake

import (
	"context"
	"slices"
	"strings"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// Management remembers the boot device in driver_internal_info.
type Management struct{ part }

// NewManagement returns the fake management interface.
func NewManagement() Management { return Management{part{node.Management}} }

const (
	deviceKey     = "fake_boot_device"
	persistentKey = "fake_boot_persistent"
)

// BootDevices lists what can be asked for.
func (Management) BootDevices() []string { return []string{"pxe", "disk", "cdrom", "bios"} }

// SetBootMode takes any mode: the node's own field is all there is.
func (m Management) SetBootMode(ctx context.Context, t *driver.Task, _ string) error {
	return m.act(ctx, t)
}

// SetSecureBoot takes it too.
func (m Management) SetSecureBoot(ctx context.Context, t *driver.Task, _ bool) error {
	return m.act(ctx, t)
}

// InjectNMI interrupts nobody.
func (m Management) InjectNMI(ctx context.Context, t *driver.Task) error { return m.act(ctx, t) }

// BootDevice returns what was set last; a new machine boots its network.
func (m Management) BootDevice(ctx context.Context, t *driver.Task) (node.BootDevice, error) {
	if err := m.act(ctx, t); err != nil {
		return node.BootDevice{}, err
	}
	persistent, _ := t.Node.DriverInternalInfo[persistentKey].(bool)
	device := t.Node.DriverInternalInfo.String(deviceKey)
	if device == "" {
		device = "pxe"
	}
	return node.BootDevice{Device: device, Persistent: persistent}, nil
}

// SetBootDevice remembers d.
func (m Management) SetBootDevice(ctx context.Context, t *driver.Task, d node.BootDevice) error {
	if !slices.Contains(m.BootDevices(), d.Device) {
		return node.Errorf(node.Invalid, "boot device %q is not supported; supported are %s.", d.Device, strings.Join(m.BootDevices(), ", "))
	}
	if err := m.act(ctx, t); err != nil {
		return err
	}
	internal := t.Node.DriverInternalInfo.Clone()
	internal[deviceKey], internal[persistentKey] = d.Device, d.Persistent
	t.Node.DriverInternalInfo = internal
	return nil
}

package inventory

import (
	"strings"

	"github.com/billet-metal/billet/wire"
)

// PCIDevices lists the functions on the PCI buses, by address. One whose identity cannot be read is
// left out.
func (m Machine) PCIDevices() []wire.PCIDevice {
	out := []wire.PCIDevice{}
	for _, bus := range m.names("sys/bus/pci/devices") {
		dir := "sys/bus/pci/devices/" + bus
		d := wire.PCIDevice{
			VendorID: m.hex(dir, "vendor"), ProductID: m.hex(dir, "device"), Class: m.hex(dir, "class"), Bus: bus,
		}
		if d.VendorID == "" || d.ProductID == "" || d.Class == "" {
			continue
		}
		d.Revision, d.NUMANode = orNil(m.hex(dir, "revision")), orNil(m.text(dir, "numa_node"))
		out = append(out, d)
	}
	return out
}

// USBDevices lists what is plugged into the USB buses, by port; the buses' own hubs are left out.
func (m Machine) USBDevices() []wire.USBDevice {
	out := []wire.USBDevice{}
	for _, name := range m.names("sys/bus/usb/devices") {
		dir := "sys/bus/usb/devices/" + name
		// "usb1" is a root hub, "1-2:1.0" an interface of the device "1-2".
		if strings.HasPrefix(name, "usb") || strings.Contains(name, ":") || m.text(dir, "idVendor") == "" {
			continue
		}
		d := wire.USBDevice{
			Product: m.text(dir, "product"), Vendor: m.text(dir, "manufacturer"),
			VendorID: m.text(dir, "idVendor"), ProductID: m.text(dir, "idProduct"), Handle: "USB:" + name,
		}
		if d.Product == "" {
			d.Product = d.ProductID
		}
		if d.Vendor == "" {
			d.Vendor = d.VendorID
		}
		out = append(out, d)
	}
	return out
}

// hex reads a number as sysfs writes identities, "0x8086", without its prefix.
func (m Machine) hex(elem ...string) string {
	digits, _ := strings.CutPrefix(m.text(elem...), "0x")
	return digits
}

func orNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

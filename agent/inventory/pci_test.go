package inventory

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/wire"
)

func text(s string) *string { return &s }

// Recorded from a QEMU q35 machine and a two-socket server.
func TestPCIDevices(t *testing.T) {
	m := machine(t, map[string]string{
		"sys/bus/pci/devices/0000:00:1f.2/vendor": "0x8086\n", "sys/bus/pci/devices/0000:00:1f.2/device": "0x2922\n",
		"sys/bus/pci/devices/0000:00:1f.2/class": "0x010601\n", "sys/bus/pci/devices/0000:00:1f.2/revision": "0x02\n",
		"sys/bus/pci/devices/0000:00:1f.2/numa_node": "-1\n",
		"sys/bus/pci/devices/0000:3b:00.0/vendor":    "0x10de\n", "sys/bus/pci/devices/0000:3b:00.0/device": "0x20b5\n",
		"sys/bus/pci/devices/0000:3b:00.0/class": "0x030200\n", // an old kernel shows neither revision nor node
		// A device that has just been unplugged has a folder and nothing to read.
		"sys/bus/pci/devices/0000:04:00.0/vendor": "",
		"sys/bus/pci/devices/0000:05:00.0/vendor": "0x1af4\n", "sys/bus/pci/devices/0000:05:00.0/device": "0x1041\n",
	})
	want := []wire.PCIDevice{
		{VendorID: "8086", ProductID: "2922", Class: "010601", Bus: "0000:00:1f.2", Revision: text("02"), NUMANode: text("-1")},
		{VendorID: "10de", ProductID: "20b5", Class: "030200", Bus: "0000:3b:00.0"},
	}
	if diff := cmp.Diff(want, m.PCIDevices()); diff != "" {
		t.Error(diff)
	}
}

func TestUSBDevices(t *testing.T) {
	const usb = "sys/bus/usb/devices/"
	m := machine(t, map[string]string{
		usb + "usb1/idVendor": "1d6b\n", usb + "usb1/product": "xHCI Host Controller\n",
		usb + "1-2/idVendor": "0627\n", usb + "1-2/idProduct": "0001\n", usb + "1-2/product": "QEMU USB Tablet\n",
		usb + "1-2/manufacturer":        "QEMU\n",
		usb + "1-2:1.0/bInterfaceClass": "03\n",
		usb + "1-3.1/idVendor":          "0b1f\n", usb + "1-3.1/idProduct": "03ee\n", // says nothing of itself
	})
	want := []wire.USBDevice{
		{Product: "QEMU USB Tablet", Vendor: "QEMU", Handle: "USB:1-2", VendorID: "0627", ProductID: "0001"},
		{Product: "03ee", Vendor: "0b1f", Handle: "USB:1-3.1", VendorID: "0b1f", ProductID: "03ee"},
	}
	if diff := cmp.Diff(want, m.USBDevices()); diff != "" {
		t.Error(diff)
	}
}

func TestMachineWithoutBuses(t *testing.T) {
	m := machine(t, nil)
	if p, u := m.PCIDevices(), m.USBDevices(); p == nil || u == nil || len(p)+len(u) > 0 {
		t.Errorf("%v, %v; empty lists are wanted", p, u)
	}
}

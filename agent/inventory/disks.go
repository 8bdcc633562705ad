package inventory

import (
	"os"
	"path"
	"strings"

	"github.com/billet-metal/billet/wire"
)

// notDisks are kernel block devices that are no hardware, or nothing to install on.
var notDisks = []string{"loop", "ram", "zram", "sr", "fd", "nbd", "dm-", "md", "mtdblock", "rbd"}

// Disks lists the machine's disks by name, and the software RAID arrays that are running.
func (m Machine) Disks() []wire.Disk {
	out := []wire.Disk{}
	for _, name := range m.names("sys/block") {
		if (isDisk(name) || m.isRunning(name)) && m.number("sys/block", name, "size") > 0 && m.text("sys/block", name, "hidden") != "1" {
			out = append(out, m.disk(name))
		}
	}
	m.markPaths(out)
	return out
}

// Empty lists the names of drives without a medium, such as card readers.
func (m Machine) Empty() []string {
	var out []string
	for _, name := range m.names("sys/block") {
		if isDisk(name) && m.number("sys/block", name, "size") == 0 && m.text("sys/block", name, "hidden") != "1" {
			out = append(out, "/dev/"+name)
		}
	}
	return out
}

func isDisk(name string) bool {
	for _, prefix := range notDisks {
		if strings.HasPrefix(name, prefix) {
			return false
		}
	}
	// eMMC shows its boot and RPMB areas as disks of their own.
	return !strings.Contains(name, "boot") && !strings.Contains(name, "rpmb")
}

func (m Machine) disk(name string) wire.Disk {
	dir := "sys/block/" + name
	device := m.link(dir, "device")
	d := wire.Disk{
		Name:            "/dev/" + name,
		Size:            m.number(dir, "size") * 512, // the kernel counts in 512 bytes, whatever the sector
		Rotational:      m.text(dir, "queue/rotational") == "1",
		LogicalSectors:  int(m.number(dir, "queue/logical_block_size")),
		PhysicalSectors: int(m.number(dir, "queue/physical_block_size")),
		Removable:       m.text(dir, "removable") == "1",
		ReadOnly:        m.text(dir, "ro") == "1",
		DevNumber:       m.text(dir, "dev"),
		Vendor:          m.text(dir, "device/vendor"),
		Model:           m.model(dir),
		Serial:          m.serial(dir),
		Tran:            transport(name, device),
		ByPath:          m.byPath(name, device),
	}
	if isArray(name) {
		m.describeArray(&d, name)
		return d
	}
	d.MemberOf = m.memberOf(name)
	if strings.HasPrefix(name, "sd") {
		d.HCTL = path.Base(device)
	}
	m.setWWN(&d, dir)
	return d
}

// model prefers what an ATA disk says of itself: the SCSI layer cuts it to 16 characters.
func (m Machine) model(dir string) string {
	if ata := m.ataModel(dir); ata != "" {
		return ata
	}
	return m.text(dir, "device/model")
}

// ataModel reads words 27 to 46 of IDENTIFY DEVICE out of the ATA Information page: SAT-3, 12.4.2.
// Each word holds two characters, the first in its high byte.
func (m Machine) ataModel(dir string) string {
	const identify, first, length = 60, 2 * 27, 40
	page, err := os.ReadFile(m.path(dir, "device/vpd_pg89"))
	if err != nil || len(page) < identify+first+length {
		return ""
	}
	raw := page[identify+first:][:length]
	out := make([]byte, length)
	for i := 0; i < length; i += 2 {
		out[i], out[i+1] = raw[i+1], raw[i]
	}
	return strings.TrimSpace(strings.Trim(string(out), "\x00"))
}

// serial is where each kind of disk keeps it: virtio beside the device, NVMe in the controller,
// SCSI and ATA in the Unit Serial Number page (SPC-4, 7.8.15) after four bytes of header.
func (m Machine) serial(dir string) string {
	for _, file := range []string{"serial", "device/serial"} {
		if s := m.text(dir, file); s != "" {
			return s
		}
	}
	page, err := os.ReadFile(m.path(dir, "device/vpd_pg80"))
	if err != nil || len(page) < 4 {
		return ""
	}
	return strings.TrimSpace(strings.Trim(string(page[4:]), "\x00"))
}

// setWWN sets the world-wide name. One of NAA format 6 is 16 bytes: its second half is the vendor's
// extension.
func (m Machine) setWWN(d *wire.Disk, dir string) {
	id := m.text(dir, "wwid")
	if id == "" {
		id = m.text(dir, "device/wwid")
	}
	hex, isNAA := strings.CutPrefix(id, "naa.")
	switch {
	case isNAA && len(hex) == 32:
		d.WWN, d.WWNVendorExtension = "0x"+hex[:16], "0x"+hex[16:]
		d.WWNWithExtension = "0x" + hex
	case isNAA:
		d.WWN, d.WWNWithExtension = "0x"+hex, "0x"+hex
	case strings.HasPrefix(id, "eui."), strings.HasPrefix(id, "nvme."), strings.HasPrefix(id, "uuid."):
		d.WWN, d.WWNWithExtension = id, id
	}
}

// transport tells how a disk is attached by the path of its device.
func transport(name, device string) string {
	switch {
	case strings.HasPrefix(name, "nvme"):
		return "nvme"
	case strings.HasPrefix(name, "mmcblk"):
		return "mmc"
	case strings.Contains(device, "/usb"):
		return "usb"
	case strings.Contains(device, "/ata"):
		return "sata"
	case strings.Contains(device, "/end_device-"):
		return "sas"
	case strings.Contains(device, "/rport-"):
		return "fc"
	case strings.Contains(device, "/session"):
		return "iscsi"
	case strings.Contains(device, "/virtio"):
		return "virtio"
	default:
		return ""
	}
}

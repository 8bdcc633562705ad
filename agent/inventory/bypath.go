package inventory

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// byPath computes the name that udev gives a disk by where it is plugged in, from the path of its
// device in /sys. The ramdisk has no udev; the names are those users see on a running system.
// Attachments whose udev name needs more than the path (fibre channel, expanders, iSCSI) get none.
func (m Machine) byPath(name, device string) string {
	parts := strings.Split(device, "/")
	pci, rest := "", parts
	for i, p := range parts {
		if isPCI(p) {
			pci, rest = "pci-"+p, parts[i+1:]
		}
	}
	if pci == "" {
		return ""
	}
	if i := slices.IndexFunc(rest, func(p string) bool { return strings.HasPrefix(p, "ata") }); i >= 0 {
		// The kernel numbers ports over all controllers; udev counts from the controller's first.
		port := strings.Join(append(slices.Clone(parts[:len(parts)-len(rest)+i+1]), "ata_port", rest[i], "port_no"), "/")
		rest = slices.Clone(rest)
		if n := m.text(port); n != "" {
			rest[i] = "ata" + n
		}
	}
	where, ok := attachment(name, rest)
	if !ok {
		return ""
	}
	return "/dev/disk/by-path/" + pci + where
}

// attachment is what comes after the PCI function.
func attachment(name string, rest []string) (string, bool) {
	if strings.HasPrefix(name, "nvme") {
		// nvme0n1 is namespace 1 of its controller.
		_, ns, ok := strings.Cut(strings.TrimPrefix(name, "nvme"), "n")
		return "-nvme-" + ns, ok
	}
	usb, ata := "", ""
	for _, p := range rest {
		switch {
		case strings.HasPrefix(p, "end_device-"), strings.HasPrefix(p, "rport-"), strings.HasPrefix(p, "session"):
			return "", false
		case strings.HasPrefix(p, "ata"):
			ata = strings.TrimPrefix(p, "ata")
		case strings.Contains(p, ":") && strings.Contains(p, "-"): // a USB interface: 1-2:1.0
			usb = p
		}
	}
	hctl := ""
	if len(rest) > 0 && strings.Count(rest[len(rest)-1], ":") == 3 {
		hctl = rest[len(rest)-1]
	}
	switch {
	case ata != "":
		return "-ata-" + ata, hctl != ""
	case usb != "":
		_, port, _ := strings.Cut(usb, "-")
		return "-usb-0:" + port + "-scsi-" + onHost(hctl), hctl != ""
	case hctl != "":
		return "-scsi-" + onHost(hctl), true
	case len(rest) > 0 && strings.HasPrefix(rest[len(rest)-1], "virtio"):
		return "", true
	default:
		return "", false
	}
}

// onHost counts hosts from the controller's first, as udev does. Host numbers depend on the order
// of drivers; nearly all controllers have one host, which is then 0.
func onHost(hctl string) string {
	parts := strings.Split(hctl, ":")
	if len(parts) != 4 {
		return ""
	}
	for _, p := range parts {
		if _, err := strconv.Atoi(p); err != nil {
			return ""
		}
	}
	return fmt.Sprintf("0:%s:%s:%s", parts[1], parts[2], parts[3])
}

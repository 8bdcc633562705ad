package inventory

import (
	"path"
	"strings"

	"github.com/billet-metal/billet/wire"
)

// NICs lists the network interfaces that are hardware, by name.
func (m Machine) NICs() []wire.NIC {
	out := []wire.NIC{}
	for _, name := range m.names("sys/class/net") {
		dir := "sys/class/net/" + name
		device := m.link(dir, "device")
		mac := m.text(dir, "address")
		if device == "" || len(mac) != len("52:54:00:00:00:01") {
			continue // loopback, bridges, tunnels, InfiniBand
		}
		nic := wire.NIC{
			Name: name, MACAddress: strings.ToLower(mac),
			HasCarrier: m.text(dir, "carrier") == "1",
			SpeedMbps:  int(max(m.number(dir, "speed"), 0)), // -1 while there is no link
			PCIAddress: pciAddress(device),
			Driver:     path.Base(m.link(dir, "device/driver")),
			Vendor:     m.text(dir, "device/vendor"), Product: m.text(dir, "device/device"),
		}
		if nic.Driver == "." {
			nic.Driver = ""
		}
		m.addAddresses(&nic)
		out = append(out, nic)
	}
	return out
}

// addAddresses sets the first IPv4 and the first global IPv6 address.
func (m Machine) addAddresses(nic *wire.NIC) {
	if m.Addresses == nil {
		return
	}
	for _, ip := range m.Addresses(nic.Name) {
		if v4 := ip.To4(); v4 != nil {
			if nic.IPv4Address == "" {
				nic.IPv4Address = v4.String()
			}
		} else if nic.IPv6Address == "" && ip.IsGlobalUnicast() {
			nic.IPv6Address = ip.String()
		}
	}
}

// pciAddress is the last PCI function on a device's path: "0000:00:03.0".
func pciAddress(device string) string {
	found := ""
	for part := range strings.SplitSeq(device, "/") {
		if isPCI(part) {
			found = part
		}
	}
	return found
}

func isPCI(s string) bool {
	return len(s) >= len("0000:00:03.0") && strings.Count(s, ":") == 2 && s[len(s)-2] == '.' && s[len(s)-5] == ':'
}

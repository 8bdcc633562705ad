package boot

import (
	"bufio"
	"net/netip"
	"os"
	"strings"
)

// MACOf tells which machine has an IPv4 address on our network; "" when nobody knows. TFTP and
// HTTP only see addresses, people ask about machines.
type MACOf func(ip netip.Addr) string

// Neighbour is the MACOf that asks the kernel's table of neighbours. It works beside somebody
// else's DHCP server too, but not through a router.
func Neighbour(ip netip.Addr) string {
	f, err := os.Open("/proc/net/arp")
	if err != nil {
		return ""
	}
	defer f.Close()
	return neighbourIn(bufio.NewScanner(f), ip.Unmap().String())
}

// neighbourIn reads proc(5) net/arp: address, type, flags, MAC, mask, device.
func neighbourIn(lines *bufio.Scanner, ip string) string {
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || fields[0] != ip {
			continue
		}
		if mac, ok := CanonicalMAC(fields[3]); ok && mac != "00:00:00:00:00:00" {
			return mac
		}
	}
	return ""
}

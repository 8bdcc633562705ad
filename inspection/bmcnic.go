package inspection

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
)

// bmcDrivers are the kernel's drivers of network interfaces that a BMC shows its host over USB. They lead to the BMC
// and nowhere else, and many have one MAC address in all machines of their make.
var bmcDrivers = []string{"cdc_ether", "cdc_eem", "cdc_ncm", "cdc_subset", "cdc_mbim", "rndis_host", "usbnet"}

// usbName is a name that udev gives to a network interface on USB ("enp0s20f0u1u6"), or a vendor to that of its BMC.
var usbName = regexp.MustCompile(`^(en[a-z0-9]*u[0-9]+[a-z0-9]*|usb[0-9]+|idrac[0-9]*|bmc[0-9]*)$`)

// withoutBMCs leaves out the interfaces that lead to the machine's own BMC. The one it booted from stays, whatever its
// name: it leads to the network.
func (r *reading) withoutBMCs(nics []nic) []nic {
	return slices.DeleteFunc(nics, func(n nic) bool {
		if n.mac == r.booted || !toBMC(n) {
			return false
		}
		r.notes = append(r.notes, fmt.Sprintf("The interface %s (%s) is between the machine and its BMC; it becomes no port.", n.name, n.mac))
		return true
	})
}

// toBMC goes by the driver; where a ramdisk does not say it, by the name of an interface whose address nobody assigned
// to its maker (IEEE 802, section 8.2: the second bit of the first byte is set in addresses that are administered locally).
func toBMC(n nic) bool {
	if driver, _ := n.raw["driver"].(string); driver != "" {
		return slices.Contains(bmcDrivers, strings.ToLower(strings.ReplaceAll(driver, "-", "_")))
	}
	mac, err := net.ParseMAC(n.mac)
	return err == nil && mac[0]&2 != 0 && usbName.MatchString(n.name)
}

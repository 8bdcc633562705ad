package agent

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
)

// decides reports whether the report may change which port its node boots from, and which ports it has: it comes from
// the boot that the node waits for, or from a machine whose node has nothing yet that could be changed. Anybody can
// write a report; one that nothing binds to the machine only adds to what is known.
func (r *reading) decides() bool { return r.data.Bound || r.node.ID == 0 }

// mayBoot reports whether a port that the report adds may be offered for network boot.
func (r *reading) mayBoot() bool {
	if r.decides() {
		return true
	}
	for _, p := range r.ports {
		if p.ID != 0 && p.PXEEnabled {
			return false
		}
	}
	return true
}

// bmcDrivers are the kernel's drivers of network interfaces that a BMC shows its host over USB. They lead to the BMC
// and nowhere else, and many have one MAC address in all machines of their make.
var bmcDrivers = []string{"cdc_ether", "cdc_eem", "cdc_ncm", "cdc_subset", "cdc_mbim", "rndis_host", "usbnet"}

// usbName is a name that udev gives to a network interface on USB ("enp0s20f0u1u6"), or a vendor to that of its BMC.
var usbName = regexp.MustCompile(`^(en[a-z0-9]*u[0-9]+[a-z0-9]*|usb[0-9]+|idrac[0-9]*|bmc[0-9]*)$`)

// withoutBMCs leaves out the interfaces that lead to the machine's own BMC. The one it booted from does not.
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

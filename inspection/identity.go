package inspection

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/billet-metal/billet/node"
)

// A machine says many things of itself that tell it from others, and each of them is shared by machines somewhere:
// a network interface of the BMC has one MAC address in every machine of its make, vendors leave serial numbers
// unset, nodes of a chassis have one BMC. So no identifier vetoes: of several nodes the strongest evidence decides,
// which is the interface that the machine booted from, then its serial number, then its other network boot interfaces.

// Claim is what a machine says of itself.
type Claim struct {
	MACs   []string
	Booted string // of the interface it booted from; "" when it does not say
	Serial string // "" when it does not say, or what many machines say
}

// ClaimOf is what a report says of its machine.
func ClaimOf(data node.InspectionData) Claim {
	return Claim{MACs: MACs(data), Booted: strings.ToLower(data.BootInterface), Serial: serialOf(data.Inventory)}
}

// MACs are all addresses that a report has of its machine, the one it booted from first.
func MACs(data node.InspectionData) (macs []string) {
	if data.BootInterface != "" {
		macs = append(macs, strings.ToLower(data.BootInterface))
	}
	interfaces, _ := data.Inventory["interfaces"].([]any)
	for _, i := range interfaces {
		nic, _ := i.(map[string]any)
		if mac, _ := nic["mac_address"].(string); mac != "" {
			macs = append(macs, strings.ToLower(mac))
		}
	}
	return macs
}

// BMCAddresses are those that a report has of its machine's BMC; none when it has no BMC.
func BMCAddresses(inventory node.Document) (addresses []netip.Addr) {
	for _, key := range []string{"bmc_address", "bmc_v6address"} {
		a, err := netip.ParseAddr(inventory.String(key))
		if err == nil && !a.IsUnspecified() {
			addresses = append(addresses, a.Unmap())
		}
	}
	return addresses
}

// SameBMC reports whether addresses of a report and of a node are those of one BMC. A loopback address, which virtual BMCs
// have, tells no machine from another.
func SameBMC(reported, known []netip.Addr) bool {
	return slices.ContainsFunc(reported, func(a netip.Addr) bool { return !a.IsLoopback() && slices.Contains(known, a) })
}

// sharedSerials are what vendors leave in machines by the thousand, in lower case.
var sharedSerials = []string{
	"", "0", "none", "n/a", "na", "unknown", "not specified", "not available", "default string", "system serial number", "serial number",
	"to be filled by o.e.m.", "to be filled by oem", "0123456789", "1234567890", "123456789", "oem", "invalid", "chassis serial number",
}

func serialOf(inventory node.Document) string {
	system, _ := inventory["system_vendor"].(map[string]any)
	serial, _ := system["serial_number"].(string)
	return ownSerial(serial)
}

// ownSerial is a serial number, or UUID, that can be one machine's own; "" for one that vendors leave in all of them.
func ownSerial(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	if slices.Contains(sharedSerials, s) || strings.Trim(s, "0-. ") == "" || strings.Trim(s, "f-. ") == "" || strings.Trim(s, "x-. ") == "" {
		return ""
	}
	return s
}

// Candidate is a node with ports that have addresses of the machine.
type Candidate struct {
	Node   *node.Node
	Ports  []node.Port   // those that the machine has
	Before node.Document // the inventory of the node's last inspection; nil when there was none
}

// strength is how much speaks for the candidate by each kind of evidence, the strongest kind first.
func (c Candidate) strength(m Claim) []int {
	booted, boots := 0, 0
	for _, p := range c.Ports {
		if p.Address == m.Booted {
			booted = 1
		}
		if p.PXEEnabled {
			boots = 1
		}
	}
	return []int{booted, c.serial(m), boots, len(c.Ports)}
}

// serial compares serial numbers: 1 the same, -1 another, 0 not known.
func (c Candidate) serial(m Claim) int {
	switch known := serialOf(c.Before); {
	case m.Serial == "" || known == "":
		return 0
	case known == m.Serial:
		return 1
	}
	return -1
}

// Decision says whose machine it is.
type Decision int

// Nothing tells the machine from others when the candidate's ports have only addresses that have nothing to do with how
// it boots, and its serial number is not the machine's. Alike are several nodes for which as much speaks.
const (
	Found Decision = iota
	Nothing
	Alike
)

// Choose decides which of the candidates, at least one, the machine is.
func (m Claim) Choose(all []Candidate) (*node.Node, Decision) {
	weaker := func(a, b Candidate) int { return slices.Compare(a.strength(m), b.strength(m)) }
	best := slices.MaxFunc(all, weaker)
	if len(slices.DeleteFunc(slices.Clone(all), func(c Candidate) bool { return weaker(c, best) < 0 })) > 1 {
		return nil, Alike
	}
	if s := best.strength(m); m.Booted != "" && slices.Max(s[:3]) <= 0 {
		return nil, Nothing
	}
	return best.Node, Found
}

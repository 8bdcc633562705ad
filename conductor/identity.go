package conductor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// A machine says many things of itself that tell it from others, and each of them is shared by machines somewhere:
// a network interface of the BMC has one MAC address in every machine of its make, vendors leave serial numbers
// unset, nodes of a chassis have one BMC. So no identifier vetoes: of several nodes the strongest evidence decides,
// which is the interface that the machine booted from, then its other network boot interfaces, then its serial number.

// claim is what a machine says of itself.
type claim struct {
	macs   []string
	booted string // of the interface it booted from; "" when it does not say
	serial string // "" when it does not say, or what many machines say
}

// maxClaimed bounds how many addresses of one machine are looked at.
const maxClaimed = 128

// claimOf is what a report says of its machine.
func claimOf(data node.InspectionData) claim {
	system, _ := data.Inventory["system_vendor"].(map[string]any)
	serial, _ := system["serial_number"].(string)
	return claim{macs: reportedMACs(data), booted: strings.ToLower(data.BootInterface), serial: ownSerial(serial)}
}

// sharedSerials are what vendors leave in machines by the thousand, in lower case.
var sharedSerials = []string{
	"", "0", "none", "n/a", "na", "unknown", "not specified", "not available", "default string", "system serial number", "serial number",
	"to be filled by o.e.m.", "to be filled by oem", "0123456789", "1234567890", "123456789", "oem", "invalid", "chassis serial number",
}

// ownSerial is a serial number, or UUID, that can be one machine's own; "" for one that vendors leave in all of them.
func ownSerial(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	if slices.Contains(sharedSerials, s) || strings.Trim(s, "0-. ") == "" || strings.Trim(s, "f-. ") == "" || strings.Trim(s, "x-. ") == "" {
		return ""
	}
	return s
}

// candidate is a node with ports that have addresses of the machine.
type candidate struct {
	node   *node.Node
	booted bool // it has the interface that the machine booted from
	boots  int  // of its ports for network boot that the machine has
	serial int  // 1: it is the serial number of the node's last inspection; -1: it is another
	shared int  // of its ports that the machine has
}

// byAddresses finds the node whose ports have addresses of the machine: NotFound when there is none, or none but by an
// interface that has nothing to do with the boot; Conflict when several are alike.
func (c *Conductor) byAddresses(ctx context.Context, m claim) (*node.Node, error) {
	if len(m.macs) > maxClaimed {
		m.macs = m.macs[:maxClaimed]
	}
	first, err := c.store.Nodes.NodeByMACs(ctx, m.macs)
	if err == nil && m.booted == "" || err != nil && node.KindOf(err) != node.Conflict {
		return first, err
	}
	all, cerr := c.candidates(ctx, m)
	if cerr != nil {
		return nil, cerr
	}
	all = strongest(all)
	switch {
	case len(all) == 1 && (all[0].booted || all[0].boots > 0 || all[0].serial > 0 || m.booted == ""):
		return all[0].node, nil
	case len(all) == 0:
		return first, err
	case len(all) == 1:
		return nil, node.Errorf(node.NotFound, "No node has a port with any of the MAC addresses %s that tells it from others.",
			strings.Join(m.macs, ", "))
	}
	return nil, err
}

// candidates are the nodes that have a port with any of the addresses.
func (c *Conductor) candidates(ctx context.Context, m claim) ([]*candidate, error) {
	by := map[string]*candidate{}
	var all []*candidate
	for _, mac := range m.macs {
		p, err := c.store.Ports.Get(ctx, mac)
		if err != nil && node.KindOf(err) == node.NotFound || err == nil && p.Address != mac {
			continue
		}
		if err != nil {
			return nil, err
		}
		one := by[p.NodeUUID]
		if one == nil {
			n, err := c.store.Nodes.Node(ctx, p.NodeUUID)
			if err != nil {
				return nil, err
			}
			one = &candidate{node: n}
			if one.serial, err = c.sameSerial(ctx, n, m.serial); err != nil {
				return nil, err
			}
			by[p.NodeUUID] = one
			all = append(all, one)
		}
		one.shared++
		one.booted = one.booted || m.booted == mac
		if p.PXEEnabled {
			one.boots++
		}
	}
	return all, nil
}

// sameSerial compares a serial number with that of the node's last inspection: 1 the same, -1 another, 0 not known.
func (c *Conductor) sameSerial(ctx context.Context, n *node.Node, serial string) (int, error) {
	if serial == "" {
		return 0, nil
	}
	last, err := c.store.Notes.Inventory(ctx, n.UUID)
	if err != nil && node.KindOf(err) == node.NotFound {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	switch known := claimOf(node.InspectionData{Inventory: last.Inventory}).serial; known {
	case "":
		return 0, nil
	case serial:
		return 1, nil
	}
	return -1, nil
}

// strongest are those candidates for which the strongest evidence speaks; several when it speaks for all of them alike.
func strongest(all []*candidate) []*candidate {
	for _, evidence := range []func(*candidate) int{
		func(c *candidate) int {
			if c.booted {
				return 1
			}
			return 0
		},
		func(c *candidate) int { return c.serial },
		func(c *candidate) int { return min(c.boots, 1) },
		func(c *candidate) int { return c.shared },
	} {
		if len(all) < 2 {
			return all
		}
		most := evidence(slices.MaxFunc(all, func(a, b *candidate) int { return evidence(a) - evidence(b) }))
		all = slices.DeleteFunc(all, func(c *candidate) bool { return evidence(c) < most })
	}
	return all
}

// dropForeign takes out of the findings each port whose address a port of another node has, and says so: such an
// address is no machine's own.
func (c *Conductor) dropForeign(ctx context.Context, t *driver.Task, found *node.Findings) error {
	var kept []node.Port
	for _, p := range found.Ports {
		if p.ID == 0 {
			other, err := c.store.Ports.Get(ctx, p.Address)
			if err != nil && node.KindOf(err) != node.NotFound {
				return storeError{err}
			}
			if err == nil && other.Address == p.Address && other.NodeUUID != t.Node.UUID {
				if t.Node.ID == 0 && p.PXEEnabled { // the machine has become a node meanwhile
					return node.Errorf(node.Conflict, "A port with MAC address %s already exists.", p.Address)
				}
				found.Notes = append(found.Notes,
					fmt.Sprintf("The interface with the MAC address %s did not become a port: node %s has a port with it.", p.Address, other.NodeUUID))
				continue
			}
		}
		kept = append(kept, p)
	}
	found.Ports = kept
	return nil
}

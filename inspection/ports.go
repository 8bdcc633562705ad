package inspection

import (
	"fmt"
	"slices"
	"strings"

	"github.com/billet-metal/billet/node"
)

// changePorts is the hook ports.
func changePorts(s *Settings, r *reading) error {
	if s.AddPorts != AddNone {
		r.addPorts()
	}
	if r.decides() {
		r.removePorts(s.KeepPorts)
	}
	for i := range r.ports {
		p := &r.ports[i]
		if p.ID != 0 && r.booted != "" && s.PXEPorts != KeepPXEPorts && r.decides() {
			p.PXEEnabled = strings.ToLower(p.Address) == r.booted
		}
		for _, n := range r.nicsOf(*p) {
			if id, _ := n.raw["client_id"].(string); id != "" && r.mayWrite(p.Extra["client-id"] == nil) {
				p.Extra["client-id"] = id
			}
		}
	}
	return nil
}

// nicsOf are the reported interfaces with a port's address: a bond and its members have one.
func (r *reading) nicsOf(p node.Port) []nic {
	mac := strings.ToLower(p.Address)
	return slices.DeleteFunc(slices.Clone(r.nics), func(n nic) bool { return n.mac != mac })
}

// addPorts adds the ports that the node does not have yet. Only the interface the machine booted from is
// offered for network boot, when that is known.
func (r *reading) addPorts() {
	known := map[string]bool{}
	for _, p := range r.ports {
		known[strings.ToLower(p.Address)] = true
	}
	for _, n := range r.chosen {
		if !known[n.mac] {
			known[n.mac] = true
			r.ports = append(r.ports, node.Port{
				NodeUUID: r.node.UUID, Address: n.mac, PXEEnabled: (r.booted == "" || n.mac == r.booted) && r.mayBoot(),
				LocalLinkConnection: node.Document{}, Extra: node.Document{}, InternalInfo: node.Document{},
				Description: fmt.Sprintf("%s, found by inspection", n.name),
			})
		}
	}
}

// removePorts removes what keep_ports does not keep. A port that an instance's network is attached to stays.
func (r *reading) removePorts(keep KeepPorts) {
	expected := map[string]bool{}
	switch keep {
	case KeepPresent:
		for _, n := range r.inventory.Interfaces { // also of kinds that never become ports here
			expected[strings.ToLower(n.MACAddress)] = true
		}
	case KeepAdded:
		for _, n := range r.chosen {
			expected[n.mac] = true
		}
	default:
		return
	}
	var kept []node.Port
	for _, p := range r.ports {
		if expected[strings.ToLower(p.Address)] || p.InternalInfo[node.VIFKey] != nil {
			kept = append(kept, p)
		} else {
			r.gone = append(r.gone, p)
		}
	}
	r.ports = kept
}

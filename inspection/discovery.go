package inspection

import (
	"encoding/json"
	"fmt"

	"github.com/billet-metal/billet/node"
)

// Discovery enrols machines that nobody has entered. Anybody on the provisioning network can report machines that there
// are not, so how many are enrolled, and how much is kept of each, is bounded.

// discoveredKey marks, in driver_internal_info and in the plugin data, what discovery has enrolled.
const discoveredKey = "auto_discovered"

// maxUnknown bounds what is kept of the report of a machine that nobody has enrolled.
const maxUnknown = 2 << 20

// Discovered reports whether discovery has enrolled a node.
func Discovered(n *node.Node) bool { return n.DriverInternalInfo[discoveredKey] == true }

// Discover marks a new node and the report that it is made of: people and inspection rules tell it from others by that.
func Discover(n *node.Node, data node.InspectionData) node.InspectionData {
	n.DriverInternalInfo = n.DriverInternalInfo.Clone()
	n.DriverInternalInfo[discoveredKey] = true
	data.PluginData = data.PluginData.Clone()
	data.PluginData[discoveredKey] = true
	return data
}

// Modest refuses a report of an unknown machine that is larger than what machines report.
func Modest(data node.InspectionData) error {
	b, err := json.Marshal([]any{data.Inventory, data.PluginData})
	if err != nil {
		return err
	}
	if len(b) > maxUnknown {
		return node.Errorf(node.Invalid,
			"The machine was not enrolled: its report has %d bytes; of a machine that nobody has enrolled at most %d are kept.", len(b), maxUnknown)
	}
	return nil
}

// RoomForOne refuses one more discovered machine when as many as the limit wait in the state enroll. 0 is no limit.
func RoomForOne(enrolled []*node.Node, limit int) error {
	found := 0
	for _, n := range enrolled {
		if Discovered(n) {
			found++
		}
	}
	if limit <= 0 || found < limit {
		return nil
	}
	return node.Errorf(node.Unavailable, "The machine was not enrolled: %d discovered machines wait in the state enroll, "+
		"as many as discovery_limit allows. Manage or delete them, or raise the limit.", found)
}

// Foreign takes out of the findings each new port whose address a port of another node has, and says so: such an address
// is no machine's own. owners has the UUID of the node for each address that is a port already.
func Foreign(n *node.Node, found *node.Findings, owners map[string]string) error {
	var kept []node.Port
	for _, p := range found.Ports {
		owner := owners[p.Address]
		switch {
		case p.ID != 0 || owner == "" || owner == n.UUID:
			kept = append(kept, p)
		case n.ID == 0 && p.PXEEnabled: // the machine has become a node meanwhile
			return node.Errorf(node.Conflict, "A port with MAC address %s already exists.", p.Address)
		default:
			found.Notes = append(found.Notes,
				fmt.Sprintf("The interface with the MAC address %s did not become a port: node %s has a port with it.", p.Address, owner))
		}
	}
	found.Ports = kept
	return nil
}

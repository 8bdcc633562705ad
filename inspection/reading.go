package inspection

import (
	"encoding/json"
	"slices"

	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// reading is a machine's report on its way through the hooks. Hooks change copies only, so that a hook that refuses the
// report late leaves the node and its ports as they were.
type reading struct {
	node      *node.Node
	ports     []node.Port // the node's, as changed so far, and new ones with ID 0
	gone      []node.Port
	data      node.InspectionData
	inventory wire.Inventory
	plugin    node.Document // what the machine sent beside the inventory, and what hooks add to it
	nics      []nic         // that may be ports
	chosen    []nic         // that add_ports is for
	notes     []string      // for people
	booted    string        // MAC of the interface it booted from; "" when that is not known
}

// newReading copies the node and its ports and decodes the report's inventory.
func newReading(n *node.Node, ports []node.Port, data node.InspectionData) (*reading, error) {
	r := &reading{node: n.Clone(), ports: slices.Clone(ports), data: data, plugin: data.PluginData.Clone()}
	for i := range r.ports {
		r.ports[i].Extra, r.ports[i].LocalLinkConnection = r.ports[i].Extra.Clone(), r.ports[i].LocalLinkConnection.Clone()
	}
	text, err := json.Marshal(data.Inventory)
	if err == nil {
		err = json.Unmarshal(text, &r.inventory)
	}
	if err != nil {
		return nil, node.Errorf(node.Invalid, "The inspection's inventory cannot be read: %v.", err)
	}
	return r, nil
}

// decides reports whether the report may change which port its node boots from, and which ports it has. It may when it
// comes from the boot that the node waits for, or when the node is new and has nothing yet that could be changed.
// Anybody can write a report; one that nothing binds to the machine only adds to what is known.
func (r *reading) decides() bool { return r.data.Bound || r.node.ID == 0 }

// mayWrite reports whether the report may write a value of a port: one that decides may, another adds what nobody knew.
func (r *reading) mayWrite(unknown bool) bool { return unknown || r.decides() }

// mayBoot reports whether a port that the report adds may be offered for network boot.
func (r *reading) mayBoot() bool {
	if r.decides() {
		return true
	}
	return !slices.ContainsFunc(r.ports, func(p node.Port) bool { return p.ID != 0 && p.PXEEnabled })
}

// setProperty sets one of the node's properties.
func (r *reading) setProperty(name string, value any) { r.node.Properties[name] = value }

// setCapability sets one of the node's capabilities.
func (r *reading) setCapability(name, value string) {
	r.setProperty("capabilities", node.WithCapability(r.node.Properties["capabilities"], name, value))
}

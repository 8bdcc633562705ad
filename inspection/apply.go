package inspection

import (
	"context"
	"slices"

	"github.com/billet-metal/billet/inspection/rules"
	"github.com/billet-metal/billet/node"
)

// Apply runs inspection rules on what the hooks found: on the node, all ports that it is going to have, and the plugin
// data. It returns the UUIDs of the rules that applied. m has what the rules may use beside that.
func Apply(ctx context.Context, list []node.InspectionRule, m rules.Machine, ports []node.Port, found *node.Findings) ([]string, error) {
	m.Ports, m.Inventory, m.PluginData = afterwards(ports, found), found.Inventory.Inventory, found.Inventory.PluginData
	applied, err := rules.Apply(ctx, list, &m)
	if err != nil {
		return nil, err
	}
	found.Inventory.PluginData, found.Ports = m.PluginData, Changed(ports, m.Ports)
	return applied, nil
}

// afterwards are all ports that a node is going to have.
func afterwards(old []node.Port, found *node.Findings) []node.Port {
	has := func(list []node.Port, p node.Port) bool {
		return slices.ContainsFunc(list, func(o node.Port) bool { return o.UUID == p.UUID })
	}
	all := slices.DeleteFunc(slices.Clone(old), func(p node.Port) bool { return has(found.Ports, p) || has(found.Gone, p) })
	return append(all, found.Ports...)
}

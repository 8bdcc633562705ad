package api

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/billet-metal/billet/node"
)

var nodePatchable = slices.Sorted(maps.Keys(nodeSetters))

func nodePatchRules(v version) patchRules {
	return patchRules{
		resource: "node", version: v, allowed: nodePatchable,
		known: func(f string) bool { return hasColumn(nodeColumns, f) },
	}
}

// nodeMasked are the fields whose secrets are masked in answers.
var nodeMasked = []string{"driver_info", "instance_info", "network_data"}

// applyNodePatch changes n as the operations say. It works on the node's own, unmasked values and
// only on the fields touched, so a secret or a number in any other field stays what it is.
func applyNodePatch(n *node.Node, ops []patchOp) error {
	fields := touched(ops)
	form := map[string]any{}
	view := &nodeView{Node: n}
	for _, f := range fields {
		form[f] = view.own(f)
	}
	changed, err := applyPatch(form, ops)
	if err != nil {
		return err
	}
	for _, f := range fields {
		value := changed[f]
		if slices.Contains(nodeMasked, f) {
			if value, err = unmask(f, form[f], value); err != nil {
				return err
			}
		}
		if err := nodeSetters[f](n, value); err != nil {
			return err
		}
	}
	return nil
}

// leavesChassis reports whether an operation takes a node out of its chassis, which older versions could not.
func leavesChassis(op patchOp) bool {
	var o struct{ Value any }
	return op.Path == "/chassis_uuid" && json.Unmarshal(op.raw, &o) == nil && o.Value == nil
}

// own is the unmasked value of a field that may be patched.
func (n *nodeView) own(field string) any {
	switch field {
	case "driver_info":
		return document(n.DriverInfo)
	case "network_data":
		return document(n.NetworkData)
	case "instance_info":
		d := n.InstanceInfo.Clone()
		if n.ConfigDrive != "" {
			d["configdrive"] = n.ConfigDrive
		}
		return document(d)
	}
	i := slices.IndexFunc(nodeColumns, func(c nodeColumn) bool { return c.name == field })
	return nodeColumns[i].get(n)
}

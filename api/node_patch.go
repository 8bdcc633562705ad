package api

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"

	"github.com/billet-metal/billet/api/payload"
	"github.com/billet-metal/billet/node"
)

// A patch may touch only what clients may write, and works on the unmasked node: what a client never saw stays what it is.

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
			if value, err = payload.Unmask(f, form[f], value); err != nil {
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

func (ns *nodes) patchNode(w http.ResponseWriter, c *call) error {
	reset, ops, err := ns.readNodePatch(c)
	if err != nil {
		return err
	}
	ident, err := c.ident()
	if err != nil {
		return err
	}
	opts := node.UpdateOptions{
		ResetInterfaces:     reset,
		OnlyRemovesInstance: len(ops) == 1 && ops[0].Op == "remove" && ops[0].Path == "/instance_uuid",
		KnowsInspectWait:    c.version >= inspectWaitShown,
		Fields:              touched(ops),
	}
	n, err := ns.con.UpdateNode(c.Context(), ident, opts, func(n *node.Node) error {
		if err := applyNodePatch(n, ops); err != nil {
			return err
		}
		if slices.Contains(opts.Fields, "name") {
			if err := ns.checkNodeName(c.version, n.Name); err != nil {
				return err
			}
		}
		if !slices.Contains(opts.Fields, "parent_node") { // its parent may have been deleted since
			return nil
		}
		return ns.resolveParent(c.Context(), n)
	})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, ns.nodeJSON(c, n, nil))
	return nil
}

func (ns *nodes) readNodePatch(c *call) (reset bool, ops []patchOp, err error) {
	q, err := c.query("reset_interfaces")
	if err != nil {
		return false, nil, err
	}
	if q.Has("reset_interfaces") {
		if err := c.version.needs(firstOf("node?reset_interfaces"), "the query argument 'reset_interfaces'"); err != nil {
			return false, nil, err
		}
	}
	b, err := boolArg(q, "reset_interfaces")
	if err != nil {
		return false, nil, err
	}
	ops, err = decodePatch(c.body, nodePatchRules(c.version))
	if err != nil {
		return false, nil, err
	}
	if slices.ContainsFunc(ops, leavesChassis) {
		if err := c.version.needs(leavingChassis, "taking a node out of its chassis"); err != nil {
			return false, nil, err
		}
	}
	reset = b != nil && *b
	if reset && !slices.Contains(touched(ops), "driver") {
		return false, nil, invalid("The reset_interfaces parameter can only be used when changing the node's driver.")
	}
	return reset, ops, nil
}

package conductor

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/billet-metal/billet/node"
)

// UpdateNode lets change edit a copy of the node under its lease, checks what the node's state
// allows, and saves. It returns the node as saved; a refused change has changed nothing.
func (c *registry) UpdateNode(ctx context.Context, ident string, opts node.UpdateOptions,
	change func(*node.Node) error) (*node.Node, error) {
	n, err := c.reserveAny(ctx, ident)
	if err != nil {
		return nil, err
	}
	before := n.Clone()
	err = c.changeHeld(ctx, n, func(ctx context.Context, n *node.Node) error { return c.update(ctx, before, n, opts, change) })
	if err != nil {
		return nil, err
	}
	if losesAllocation(before, n) {
		if err := c.forgetAllocation(ctx, before.AllocationUUID); err != nil {
			return nil, err
		}
	}
	if n.State.Class() == node.Waiting {
		c.Wake(n.UUID)
	}
	return c.nodes.Node(ctx, n.UUID)
}

func (c *registry) update(ctx context.Context, before, after *node.Node, opts node.UpdateOptions, change func(*node.Node) error) error {
	if err := mayUpdate(before, opts); err != nil {
		return err
	}
	if err := change(after); err != nil {
		return err
	}
	keepOurs(before, after)
	after.ConductorGroup = strings.ToLower(after.ConductorGroup)
	nameInstance(after)
	for _, rule := range updateRules {
		if err := rule(before, after); err != nil {
			return err
		}
	}
	if after.Driver != before.Driver || after.ConductorGroup != before.ConductorGroup {
		if err := c.serves(after); err != nil {
			return err
		}
	}
	if err := c.resolveInterfaces(before, after, opts); err != nil {
		return err
	}
	if after.ChassisUUID != before.ChassisUUID {
		if err := c.chassisExists(ctx, after.ChassisUUID); err != nil {
			return err
		}
	}
	if before.Maintenance && !after.Maintenance && after.State.Class() == node.Waiting && after.Plan != nil {
		after.Plan.PollAt = node.Now() // what the machine said during maintenance is acted on now
	}
	if losesAllocation(before, after) {
		return c.endAllocationOf(ctx, before)
	}
	return nil
}

func losesAllocation(before, after *node.Node) bool {
	return before.AllocationUUID != "" && after.AllocationUUID == ""
}

// keepOurs takes back edits of what only the conductor writes.
func keepOurs(before, after *node.Node) {
	after.ID, after.UUID, after.CreatedAt = before.ID, before.UUID, before.CreatedAt
	after.State, after.TargetState, after.ProvisionUpdatedAt = before.State, before.TargetState, before.ProvisionUpdatedAt
	after.Lease, after.Plan, after.Agent = before.Lease, before.Plan.Clone(), before.Agent
}

// whileMoving are the states in which a node may be edited although it is on its way to another.
var whileMoving = []node.State{
	node.DeployFailed, node.Inspecting, node.InspectFailed, node.InspectWait, node.CleanFailed, node.Error, node.Verifying,
	node.AdoptFailed, node.RescueFailed, node.UnrescueFailed, node.Servicing, node.ServiceHold, node.ServiceFailed,
}

func mayUpdate(n *node.Node, opts node.UpdateOptions) error {
	if n.State == node.Inspecting && opts.KnowsInspectWait && !opts.AnyState {
		return node.Errorf(node.Conflict, "Cannot update node %q in state %q.", n.UUID, n.State)
	}
	free := n.TargetState == "" || slices.Contains(whileMoving, n.State) || opts.AnyState || opts.OnlyRemovesInstance && n.Maintenance
	if free {
		return nil
	}
	return node.Errorf(node.Conflict, "Node %s can not be updated while a state transition is in progress.", n.UUID)
}

// updateRules are checked in turn; some also complete the change.
var updateRules = []func(before, after *node.Node) error{
	ruleDriver, ruleInterfaces, ruleResourceClass, ruleInstance, ruleProtected, ruleRetired, ruleMaintenance,
}

// openStates are those in which what a machine is may be changed.
var openStates = []node.State{node.Enroll, node.Inspecting, node.InspectWait, node.Manageable, node.Available}

func isOpen(n *node.Node) bool { return n.Maintenance || slices.Contains(openStates, n.State) }

func onlyOpen(n *node.Node, what string) error {
	return node.Errorf(node.Conflict, "The %s of node %s can not be changed in state %q; allowed are the states %s, or any in maintenance.",
		what, n.UUID, n.State, joined(openStates))
}

func ruleDriver(before, after *node.Node) error {
	if before.Driver == after.Driver {
		return nil
	}
	if before.ConsoleEnabled {
		return node.Errorf(node.Conflict, "Node %s can not change its driver while its console is enabled; stop the console first.", before.UUID)
	}
	if !isOpen(before) {
		return onlyOpen(before, "driver")
	}
	return nil
}

func ruleInterfaces(before, after *node.Node) error {
	if maps.Equal(before.Interfaces, after.Interfaces) || isOpen(before) {
		return nil
	}
	return onlyOpen(before, "interfaces")
}

func ruleResourceClass(before, after *node.Node) error {
	if before.ResourceClass == "" || before.ResourceClass == after.ResourceClass || isOpen(before) {
		return nil
	}
	return onlyOpen(before, "resource_class")
}

func ruleInstance(before, after *node.Node) error {
	if before.InstanceUUID != "" && after.InstanceUUID != "" && before.InstanceUUID != after.InstanceUUID {
		return node.Errorf(node.Conflict, "Node %s is associated with instance %s.", before.UUID, before.InstanceUUID)
	}
	if before.AllocationUUID != "" && before.InstanceUUID != "" && after.InstanceUUID == "" {
		if !isOpen(before) {
			return onlyOpen(before, "instance_uuid")
		}
		after.AllocationUUID = ""
	}
	return nil
}

func ruleProtected(before, after *node.Node) error {
	if after.Protected && !before.Protected && after.State != node.Active && after.State != node.Rescue {
		return node.Errorf(node.Conflict, "Node %s can not be protected in state %q; allowed are the states active, rescue.",
			after.UUID, after.State)
	}
	if before.Protected && !after.Protected {
		after.ProtectedReason = ""
	}
	if after.ProtectedReason != "" && !after.Protected {
		return node.Errorf(node.Invalid, "protected_reason of node %s needs protected to be true.", after.UUID)
	}
	return nil
}

func ruleRetired(before, after *node.Node) error {
	if after.Retired && !before.Retired && after.State == node.Available {
		return node.Errorf(node.Conflict, "Node %s can not be retired in state %q; move it to manageable first.", after.UUID, after.State)
	}
	if before.Retired && !after.Retired {
		after.RetiredReason = ""
	}
	if after.RetiredReason != "" && !after.Retired {
		return node.Errorf(node.Invalid, "retired_reason of node %s needs retired to be true.", after.UUID)
	}
	return nil
}

func ruleMaintenance(before, after *node.Node) error {
	if before.Maintenance && !after.Maintenance {
		after.MaintenanceReason, after.Fault = "", node.NoFault
	}
	return nil
}

// resolveInterfaces fills in the defaults of interfaces that the node does not name, and refuses
// those that its hardware type does not have. A new driver keeps the old interfaces unless
// they are reset or named.
func (c *registry) resolveInterfaces(before, after *node.Node, opts node.UpdateOptions) error {
	if opts.ResetInterfaces && !slices.Contains(opts.Fields, "driver") {
		return node.Errorf(node.Invalid, "The reset_interfaces parameter can only be used when changing the node's driver.")
	}
	changed := after.Driver != before.Driver
	if !changed && maps.Equal(before.Interfaces, after.Interfaces) {
		return nil
	}
	if changed && opts.ResetInterfaces {
		for iface := range after.Interfaces {
			if !slices.Contains(opts.Fields, string(iface)+"_interface") {
				delete(after.Interfaces, iface)
			}
		}
	}
	h, err := c.hardware(after)
	if err != nil {
		return err
	}
	after.Interfaces = h.Names()
	return nil
}

package conductor

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// registry knows which nodes there are, and what people say of them.
type registry struct {
	*core
	*allocations
	wires   *wiring
	chassis Records[node.Chassis, node.All]
	targets OwnedRecords[node.VolumeTarget, node.OfNode]
}

// CreateNode enrols a machine: its hardware type must exist, interfaces it does not name get the
// type's default. It returns the node as stored.
func (c *registry) CreateNode(ctx context.Context, n *node.Node) (*node.Node, error) {
	n = n.Clone()
	if n.UUID == "" {
		n.UUID = uuid.NewString()
	}
	if n.State == "" {
		n.State = node.Enroll
	}
	n.ConductorGroup = strings.ToLower(n.ConductorGroup)
	if err := c.serves(n); err != nil {
		return nil, err
	}
	h, err := c.hardware(n)
	if err != nil {
		return nil, err
	}
	n.Interfaces = h.Names()
	nameInstance(n)
	if err := c.chassisExists(ctx, n.ChassisUUID); err != nil {
		return nil, err
	}
	if err := c.nodes.CreateNode(ctx, n); err != nil {
		return nil, err
	}
	return n, nil
}

// hardware is what a node's hardware type and interfaces stand for, for a request: what is not there is Invalid.
func (c *core) hardware(n *node.Node) (*driver.Hardware, error) {
	h, err := c.cfg.Types.Resolve(n)
	if err != nil {
		return nil, node.Errorf(node.Invalid, "%s", err)
	}
	return h, nil
}

// serves checks that this service has the node's hardware type and conductor group.
func (c *core) serves(n *node.Node) error {
	var names []string
	for _, ty := range c.cfg.Types {
		names = append(names, ty.Name)
	}
	if n.ConductorGroup == c.cfg.ConductorGroup && slices.Contains(names, n.Driver) {
		return nil
	}
	return node.Errorf(node.Invalid, "No valid host was found. Reason: No conductor service registered which supports driver %s "+
		"for conductor group '%s'. Available are the drivers %s for conductor group '%s'.",
		n.Driver, n.ConductorGroup, strings.Join(names, ", "), c.cfg.ConductorGroup)
}

// chassisExists refuses to put a node into a chassis that does not exist.
func (c *registry) chassisExists(ctx context.Context, uuid string) error {
	if uuid == "" {
		return nil
	}
	_, err := c.chassis.Get(ctx, uuid)
	if node.KindOf(err) == node.NotFound {
		err = node.Errorf(node.Invalid, "Chassis %s could not be found.", uuid)
	}
	return err
}

// nameInstance takes over the name that the compute service gives its instance.
func nameInstance(n *node.Node) {
	if display := n.InstanceInfo.Text("display_name"); display != "" && n.InstanceName == "" {
		n.InstanceName = display
	}
}

// DeleteNode forgets a machine that no instance lives on.
func (c *registry) DeleteNode(ctx context.Context, ident string) error {
	n, err := c.reserveAny(ctx, ident)
	if err != nil {
		return err
	}
	if err = c.mayDelete(n); err == nil {
		err = c.endAllocationOf(ctx, n)
	}
	if err == nil {
		c.wires.unplug(ctx, n)
		err = c.nodes.DeleteNode(ctx, n)
	}
	if err != nil {
		return c.giveUp(ctx, n, err)
	}
	if err := (drives{c.core}).sweep(ctx, n, ""); err != nil {
		c.log.Warn("a config drive of a deleted node stays in the object store until its end", "node", n.UUID, "error", err)
	}
	if err := c.forgetAllocation(ctx, n.AllocationUUID); err != nil {
		c.log.Warn("the allocation of a deleted node is left", "allocation", n.AllocationUUID, "error", err)
	}
	c.log.Info("node deleted", "node", n.UUID)
	return nil
}

func (c *registry) mayDelete(n *node.Node) error {
	allowed := []node.State{node.Enroll, node.Manageable, node.AdoptFailed}
	if c.cfg.DeleteAvailableNodes {
		allowed = append(allowed, node.Available)
	}
	switch {
	case n.Protected:
		return node.Errorf(node.Forbidden, "Node %s is protected and can not be undeployed, rebuilt or deleted.", n.UUID)
	case n.Maintenance:
		return nil
	case n.InstanceUUID != "":
		return node.Errorf(node.Conflict, "Node %s is associated with instance %s.", n.UUID, n.InstanceUUID)
	case slices.Contains(allowed, n.State):
		return nil
	}
	return node.Errorf(node.Conflict, "Can not delete node %q while it is in provision state %q. Valid provision states to perform "+
		"deletion are: %s, or any in maintenance.", n.UUID, n.State, joined(allowed))
}

// Drivers lists the hardware types.
func (c *registry) Drivers(ctx context.Context) ([]node.DriverInfo, error) {
	infos := make([]node.DriverInfo, 0, len(c.cfg.Types))
	for _, ty := range c.cfg.Types {
		info, err := c.Driver(ctx, ty.Name)
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// Driver describes one hardware type.
func (c *registry) Driver(_ context.Context, name string) (node.DriverInfo, error) {
	info, err := c.cfg.Types.Describe(name)
	if err != nil {
		return info, err
	}
	info.Hosts = []string{c.cfg.Host}
	return info, nil
}

// Validate asks every interface of the node whether it has what it needs. It takes no lease and
// uses no network.
func (c *registry) Validate(ctx context.Context, ident string) (map[node.Interface]node.Validation, error) {
	n, err := c.nodes.Node(ctx, ident)
	if err != nil {
		return nil, err
	}
	task, err := c.task(ctx, n)
	if errors.Is(err, node.ErrStoreAway) { // its cause is the log's
		return nil, err
	}
	if err != nil {
		return nil, node.Errorf(node.KindOf(err), "%s", err)
	}
	if task.VolumeTargets, err = c.targets.List(ctx, node.OfNode{UUID: n.UUID}, node.Page{}); err != nil {
		return nil, err
	}
	results := map[node.Interface]node.Validation{}
	impls := task.Hardware.Implementations()
	for _, iface := range node.Interfaces {
		results[iface] = c.validation(ctx, task, impls[iface])
	}
	return results, nil
}

func (c *registry) validation(ctx context.Context, t *driver.Task, impl driver.Implementation) node.Validation {
	if impl == nil || strings.HasPrefix(impl.Name(), "no-") {
		return node.Validation{Reason: "not supported"}
	}
	ok, reason := true, ""
	if err := valid(ctx, t, impl); err != nil {
		ok, reason = false, err.Error()
	}
	return node.Validation{OK: &ok, Reason: reason}
}

// valid asks an implementation whether the node has what it needs; the reason is for who asked.
func valid(ctx context.Context, t *driver.Task, impl driver.Implementation) error {
	err := guarded(t.Log, func() error { return impl.Validate(ctx, t) })
	if err == nil {
		return nil
	}
	return node.Errorf(node.Invalid, "%s", scrub(t.Node, err.Error()))
}

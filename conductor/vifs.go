package conductor

import (
	"context"
	"fmt"
	"slices"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// wiring is which virtual interfaces and volumes a node's ports, portgroups and targets have.
type wiring struct {
	*core
	portgroups Records[node.Portgroup, node.PortgroupFilter]
	targets    OwnedRecords[node.VolumeTarget, node.OfNode]
}

// VIFs lists the virtual interfaces that a node's ports and portgroups have.
func (c *wiring) VIFs(ctx context.Context, ident string) ([]string, error) {
	n, err := c.nodes.Node(ctx, ident)
	if err != nil {
		return nil, err
	}
	ports, groups, err := c.portsAndGroups(ctx, n)
	if err == nil {
		err = knownVIFs(ports, groups)
	}
	return node.VIFs(ports, groups), err
}

// AttachVIF gives a node a virtual interface. Its network interface chooses where, under the lease: nobody else is
// attaching anything to the node then.
func (c *wiring) AttachVIF(ctx context.Context, ident string, vif node.VIF) error {
	return c.rewire(ctx, ident, func(ctx context.Context, t *driver.Task) error { return t.Hardware.Network.AttachVIF(ctx, t, vif) })
}

// DetachVIF takes a virtual interface from a node. Nothing changes where it is not attached, and that needs no lease:
// the compute service asks for it while the node is being cleaned.
func (c *wiring) DetachVIF(ctx context.Context, ident, id string) error {
	detach := func(ctx context.Context, t *driver.Task) error { return t.Hardware.Network.DetachVIF(ctx, t, id) }
	n, err := c.nodes.Node(ctx, ident)
	if err != nil {
		return err
	}
	t, err := c.wired(ctx, n)
	if err != nil {
		return err
	}
	if slices.Contains(node.VIFs(t.Ports, t.Portgroups), id) {
		return c.rewire(ctx, n.UUID, detach)
	}
	return guarded(t.Log, func() error { return detach(ctx, t) })
}

// rewire lets change attach and detach virtual interfaces under the node's lease, and saves where they are now.
func (c *wiring) rewire(ctx context.Context, ident string, change func(context.Context, *driver.Task) error) error {
	return c.underLease(ctx, ident, func(n *node.Node) error {
		ctx, stop := c.keepLease(ctx, n) // a network service may take its time
		defer stop()
		t, err := c.wired(ctx, n)
		if err != nil {
			return err
		}
		c.keepWiring(t)
		if err := guarded(t.Log, func() error { return change(ctx, t) }); err != nil {
			return err
		}
		return t.KeepWiring(ctx)
	})
}

// keepWiring lets a task's network interface save what it changes of the internal_info of ports and portgroups.
func (c *wiring) keepWiring(t *driver.Task) {
	ports, groups := slices.Clone(t.Ports), slices.Clone(t.Portgroups)
	t.SaveWiring = func(ctx context.Context) error {
		err := c.saveWiring(ctx, t, ports, groups)
		if err == nil {
			ports, groups = slices.Clone(t.Ports), slices.Clone(t.Portgroups)
		}
		return err
	}
}

// wired is what virtual interfaces are attached with. Where nobody can read what is attached, nothing is changed.
func (c *wiring) wired(ctx context.Context, n *node.Node) (*driver.Task, error) {
	h, err := c.hardware(n)
	if err != nil {
		return nil, err
	}
	ports, groups, err := c.portsAndGroups(ctx, n)
	if err == nil {
		err = knownVIFs(ports, groups)
	}
	return &driver.Task{Node: n, Hardware: h, Ports: ports, Portgroups: groups, Log: logFor(c.log, n)}, err
}

// portsAndGroups reads a node's ports and portgroups.
func (c *wiring) portsAndGroups(ctx context.Context, n *node.Node) (ports []node.Port, groups []node.Portgroup, err error) {
	if ports, err = c.ports.List(ctx, node.PortFilter{NodeUUID: n.UUID}, node.Page{}); err == nil {
		groups, err = c.portgroups.List(ctx, node.PortgroupFilter{NodeUUID: n.UUID}, node.Page{})
	}
	return ports, groups, err
}

// groupsOf reads the portgroups of a node that its ports are in. Most nodes have none.
func (c *wiring) groupsOf(ctx context.Context, ports []node.Port) ([]node.Portgroup, error) {
	i := slices.IndexFunc(ports, func(p node.Port) bool { return p.PortgroupUUID != "" })
	if i < 0 {
		return nil, nil
	}
	return c.portgroups.List(ctx, node.PortgroupFilter{NodeUUID: ports[i].NodeUUID}, node.Page{})
}

// knownVIFs refuses ports and portgroups of which nobody knows whether they have a virtual interface, and which.
func knownVIFs(ports []node.Port, groups []node.Portgroup) error {
	for _, p := range ports {
		if _, hurt := p.Unreadable["internal_info"]; hurt {
			return p.Damage()
		}
	}
	for _, g := range groups {
		if _, hurt := g.Unreadable["internal_info"]; hurt {
			return g.Damage()
		}
	}
	return nil
}

// saveWiring saves what was changed of a node's ports and portgroups.
func (c *wiring) saveWiring(ctx context.Context, t *driver.Task, ports []node.Port, groups []node.Portgroup) error {
	for i, p := range t.Ports {
		if sameDocument(p.InternalInfo, ports[i].InternalInfo) {
			continue
		}
		if err := c.ports.Save(ctx, &p); err != nil {
			return err
		}
	}
	for i, g := range t.Portgroups {
		if sameDocument(g.InternalInfo, groups[i].InternalInfo) {
			continue
		}
		if err := c.portgroups.Save(ctx, &g); err != nil {
			return err
		}
	}
	return nil
}

// detachAll takes an instance's virtual interfaces, volumes and allocation from a node. It returns true when the run has
// ended instead: a network interface that cannot detach fails the flow.
func (r *run) detachAll(ctx context.Context) (ended bool, err error) {
	ports, groups, err := r.c.portsAndGroups(ctx, r.n)
	if err != nil {
		return false, err
	}
	t := *r.task
	t.Ports, t.Portgroups = slices.Clone(ports), slices.Clone(groups)
	r.c.keepWiring(&t)
	refused := r.detachVIFs(ctx, &t)
	if err := t.KeepWiring(ctx); err != nil {
		return false, err
	}
	r.task.Ports, r.task.Portgroups = t.Ports, t.Portgroups // a flow may follow at once
	r.c.keepWiring(r.task)
	switch {
	case refused != nil && ctx.Err() != nil:
		return true, r.stopped(ctx)
	case refused != nil:
		return true, r.fail(ctx, fmt.Sprintf("%s failed: %v", capital(r.flow.noun), refused))
	}
	if err := r.c.targets.DeleteOf(ctx, r.n.UUID); err != nil {
		return false, err
	}
	return false, r.c.forgetAllocation(ctx, r.n.AllocationUUID)
}

// detachVIFs has the network interface take every virtual interface from the node, within the time of a step.
func (r *run) detachVIFs(ctx context.Context, t *driver.Task) error {
	ctx, cancel := context.WithTimeout(ctx, r.c.cfg.StepTimeout)
	defer cancel()
	for _, id := range node.VIFs(t.Ports, t.Portgroups) {
		detach := func() error { return t.Hardware.Network.DetachVIF(ctx, t, id) }
		if err := patiently(ctx, func() error { return guarded(r.log, detach) }); err != nil {
			return fmt.Errorf("VIF %s could not be detached: %w", id, err)
		}
	}
	return nil
}

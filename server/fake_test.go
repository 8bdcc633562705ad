package server

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
)

// world is a Bare Metal API and a Neutron in memory, in which each call can go wrong.
type world struct {
	mu      sync.Mutex
	allocs  map[string]*node.Allocation
	nodes   []*node.Node
	wires   map[string]*Wires
	ports   map[string]Port
	lent    map[string][]string
	drives  []node.ProvisionRequest
	noVIFs  bool // the network interface notes nothing at the ports, as noop
	breaks  string
	made    int // ports
	calls   []string
	fault   func(number int, call string) (before, after error)
	lines   []string
	stuckIn node.State // a tear-down ends here
}

func newWorld(machines int) *world {
	w := &world{allocs: map[string]*node.Allocation{}, wires: map[string]*Wires{}, ports: map[string]Port{}, lent: map[string][]string{}}
	for i := range machines {
		uuid := fmt.Sprintf("00000000-0000-0000-0000-00000000000%d", i)
		w.nodes = append(w.nodes, &node.Node{UUID: uuid, Name: fmt.Sprintf("n%d", i), State: node.Available, ResourceClass: "gold",
			Power: node.PowerOff, InstanceInfo: node.Document{}})
		w.wires[uuid] = &Wires{Ports: []node.Port{
			{UUID: "p" + uuid, Address: fmt.Sprintf("52:54:00:00:00:0%d", i), PXEEnabled: true},
			{UUID: "q" + uuid, Address: fmt.Sprintf("52:54:00:00:01:0%d", i)},
		}}
	}
	return w
}

func (w *world) servers() *Servers {
	return &Servers{Allocations: w, Nodes: w, Networks: w, Interval: time.Microsecond, Patience: 2 * time.Second,
		Say: func(name, line string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.lines = append(w.lines, name+" "+line)
		}}
}

// call counts a call and does its work, unless it is to go wrong before; or it goes wrong after.
func (w *world) call(ctx context.Context, name string, work func() error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	w.calls = append(w.calls, name)
	var before, after error
	if w.fault != nil {
		before, after = w.fault(len(w.calls), name)
	}
	if before != nil {
		return before
	}
	if err := work(); err != nil {
		return err
	}
	return after
}

func (w *world) find(ident string) (*node.Allocation, error) {
	for _, a := range w.allocs {
		if a.UUID == ident || a.Name == ident {
			return a, nil
		}
	}
	return nil, node.AllocationNotFound(ident)
}

func (w *world) machine(ident string) (*node.Node, error) {
	for _, n := range w.nodes {
		if n.UUID == ident || n.Name == ident {
			return n, nil
		}
	}
	return nil, node.NodeNotFound(ident)
}

func (w *world) CreateAllocation(ctx context.Context, a node.Allocation) (got node.Allocation, err error) {
	err = w.call(ctx, "CreateAllocation", func() error {
		if _, err := w.find(a.Name); err == nil {
			return node.Errorf(node.Conflict, "An allocation with name %s already exists.", a.Name)
		}
		a.State, a.LastError, a.CreatedAt = node.AllocationError, "no available node has the resource class "+a.ResourceClass+".", time.Now()
		for _, n := range w.nodes {
			if n.State == node.Available && n.InstanceUUID == "" && n.ResourceClass == a.ResourceClass {
				n.InstanceUUID, n.AllocationUUID, a.NodeUUID = a.UUID, a.UUID, n.UUID
				a.State, a.LastError = node.Allocated, ""
				if len(a.Traits) > 0 {
					n.InstanceInfo = node.Document{"traits": a.Traits}
				}
				break
			}
		}
		w.allocs[a.UUID] = &a
		got = a
		return nil
	})
	return got, err
}

func (w *world) Allocation(ctx context.Context, ident string) (got node.Allocation, err error) {
	err = w.call(ctx, "Allocation", func() error {
		a, err := w.find(ident)
		if err == nil {
			got = *a
		}
		return err
	})
	return got, err
}

func (w *world) Allocations(ctx context.Context) (all []node.Allocation, err error) {
	err = w.call(ctx, "Allocations", func() error {
		for _, a := range w.allocs {
			all = append(all, *a)
		}
		return nil
	})
	return all, err
}

func (w *world) DeleteAllocation(ctx context.Context, uuid string) error {
	return w.call(ctx, "DeleteAllocation", func() error {
		a, err := w.find(uuid)
		if err != nil {
			return err
		}
		if n, err := w.machine(a.NodeUUID); err == nil && n.AllocationUUID == uuid {
			if n.State != node.Available {
				return node.Errorf(node.Conflict, "node is in state %s", n.State)
			}
			n.InstanceUUID, n.AllocationUUID = "", ""
			delete(n.InstanceInfo, "traits")
		}
		delete(w.allocs, uuid)
		return nil
	})
}

// Node shows a node, and then time goes on for it.
func (w *world) Node(ctx context.Context, ident string) (got *node.Node, err error) {
	err = w.call(ctx, "Node", func() error {
		n, err := w.machine(ident)
		if err == nil {
			got = n.Clone()
			w.goOn(n)
		}
		return err
	})
	return got, err
}

func (w *world) goOn(n *node.Node) {
	switch n.State {
	case node.Deploying:
		n.State = node.DeployWait
	case node.DeployWait:
		if n.State, n.LastError = node.Active, w.breaks; w.breaks != "" {
			n.State = node.DeployFailed
		}
	case node.Deleting:
		if w.stuckIn != "" {
			n.State, n.LastError = w.stuckIn, "the BMC does not answer"
			return
		}
		for i := range w.wires[n.UUID].Ports {
			w.wires[n.UUID].Ports[i].InternalInfo = nil
		}
		delete(w.allocs, n.AllocationUUID)
		n.State, n.InstanceUUID, n.AllocationUUID, n.InstanceInfo, n.LastError = node.Cleaning, "", "", node.Document{}, ""
	case node.Cleaning:
		n.State = node.Available
	}
}

func (w *world) Instances(ctx context.Context) (all []*node.Node, err error) {
	err = w.call(ctx, "Instances", func() error {
		for _, n := range w.nodes {
			if n.InstanceUUID != "" {
				all = append(all, n.Clone())
			}
		}
		return nil
	})
	return all, err
}

func (w *world) SetInstance(ctx context.Context, uuid string, info node.Document) error {
	return w.call(ctx, "SetInstance", func() error {
		n, err := w.machine(uuid)
		if err == nil {
			n.InstanceInfo = info
		}
		return err
	})
}

func (w *world) Provision(ctx context.Context, uuid string, req node.ProvisionRequest) error {
	return w.call(ctx, "Provision", func() error {
		n, err := w.machine(uuid)
		if err != nil {
			return err
		}
		if err := n.Apply(req.Event); err != nil {
			return err
		}
		w.drives = append(w.drives, req)
		return nil
	})
}

func (w *world) Progress(ctx context.Context, uuid string) (doing string, err error) {
	err = w.call(ctx, "Progress", func() error { return nil })
	return "", err
}

func (w *world) Addresses(ctx context.Context) (lent map[string][]string, err error) {
	err = w.call(ctx, "Addresses", func() error { lent = w.lent; return nil })
	return lent, err
}

func (w *world) Wires(ctx context.Context, uuid string) (wires Wires, err error) {
	err = w.call(ctx, "Wires", func() error {
		wires = Wires{Ports: slices.Clone(w.wires[uuid].Ports), Portgroups: slices.Clone(w.wires[uuid].Portgroups)}
		return nil
	})
	return wires, err
}

func (w *world) AttachVIF(ctx context.Context, uuid string, vif node.VIF) error {
	return w.call(ctx, "AttachVIF", func() error {
		if w.noVIFs {
			return nil
		}
		for i, p := range w.wires[uuid].Ports {
			if p.InternalInfo.String(node.VIFKey) == "" {
				w.wires[uuid].Ports[i].InternalInfo = node.WithVIF(p.InternalInfo, vif.ID)
				return nil
			}
		}
		return node.Errorf(node.Invalid, "not enough free physical ports")
	})
}

func (w *world) DetachVIF(ctx context.Context, uuid, id string) error {
	return w.call(ctx, "DetachVIF", func() error {
		for i, p := range w.wires[uuid].Ports {
			if p.InternalInfo.String(node.VIFKey) == id {
				w.wires[uuid].Ports[i].InternalInfo = nil
			}
		}
		return nil
	})
}

func (w *world) Network(ctx context.Context, ident string) (net Network, err error) {
	err = w.call(ctx, "Network", func() error {
		net = Network{ID: ident, Name: ident, MTU: 1450}
		return nil
	})
	return net, err
}

func (w *world) CreatePort(ctx context.Context, _ Network, name, server string) (p Port, err error) {
	err = w.call(ctx, "CreatePort", func() error {
		w.made++
		p = Port{ID: fmt.Sprintf("port%d", w.made), Name: name, Server: server, Addresses: []string{fmt.Sprintf("198.51.100.%d", w.made)}}
		w.ports[p.ID] = p
		return nil
	})
	return p, err
}

func (w *world) Port(ctx context.Context, id string) (p Port, err error) {
	err = w.call(ctx, "Port", func() error {
		var ok bool
		if p, ok = w.ports[id]; !ok {
			return node.Errorf(node.NotFound, "no port %s", id)
		}
		return nil
	})
	return p, err
}

func (w *world) Ports(ctx context.Context, name string) (all []Port, err error) {
	err = w.call(ctx, "Ports", func() error {
		for _, p := range w.ports {
			if p.Server != "" && (name == "" || p.Name == name) {
				all = append(all, p)
			}
		}
		return nil
	})
	return all, err
}

func (w *world) DeletePort(ctx context.Context, id string) error {
	return w.call(ctx, "DeletePort", func() error { delete(w.ports, id); return nil })
}

// left is what is not as it was before there were servers, but for nodes that are on their way to being available.
func (w *world) left() (left []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.allocs {
		left = append(left, "allocation "+a.Name+" in state "+a.State)
	}
	for _, p := range w.ports {
		if p.Server != "" {
			left = append(left, "port "+p.ID)
		}
	}
	for _, n := range w.nodes {
		if n.InstanceUUID != "" || n.AllocationUUID != "" || len(n.InstanceInfo) > 0 {
			left = append(left, fmt.Sprintf("node %s in state %s has instance %q, %v", n.Name, n.State, n.InstanceUUID, n.InstanceInfo))
		}
		if n.State != node.Available && n.State != node.Cleaning {
			left = append(left, fmt.Sprintf("node %s is %s", n.Name, n.State))
		}
		if vifs := node.VIFs(w.wires[n.UUID].Ports, nil); len(vifs) > 0 {
			left = append(left, fmt.Sprintf("node %s has VIFs %q", n.Name, vifs))
		}
	}
	return left
}

func (w *world) isClean(t *testing.T, after string) {
	t.Helper()
	if left := w.left(); len(left) > 0 {
		t.Errorf("%s: left are %q; calls %q; said %q", after, left, w.calls, w.lines)
	}
}

package conductor

import (
	"context"
	"reflect"
	"slices"

	"github.com/billet-metal/billet/node"
)

// records is the part of a conductor that changes what belongs to a node: ports, portgroups, volumes. Each change is made
// under the lease of the record's node.
type records struct {
	*core
	portgroups Records[node.Portgroup, node.PortgroupFilter]
	connectors Records[node.VolumeConnector, node.OfNode]
	targets    Records[node.VolumeTarget, node.OfNode]
}

// owned is one kind of record that belongs to nodes.
type owned[T any] struct {
	*core
	noun string // for people: "Volume target"
	all  kept[T]
	ids  func(x *T) (uuid string, nodeUUID *string)
	copy func(x *T) // gives x documents of its own

	mayTouch  func(n *node.Node, action string) error // before a record is changed or deleted; may be nil
	mayCreate func(ctx context.Context, x T) error    // may be nil
	mayChange func(ctx context.Context, n *node.Node, before, after T) error
	mayDelete func(ctx context.Context, n *node.Node, x T) error // may be nil
}

// kept is Records of a kind, whatever its lists are filtered by.
type kept[T any] interface {
	Get(ctx context.Context, ident string) (T, error)
	Create(ctx context.Context, x *T) error
	Save(ctx context.Context, x *T) error
	Delete(ctx context.Context, uuid string) error
}

// create adds a record to the node it names and returns it as stored.
func (o owned[T]) create(ctx context.Context, x T) (T, error) {
	_, owner := o.ids(&x)
	n, err := o.reserveOwner(ctx, *owner)
	if err != nil {
		return x, err
	}
	*owner = n.UUID
	return x, o.holding(ctx, n, func() error {
		if o.mayCreate != nil {
			if err := o.mayCreate(ctx, x); err != nil {
				return err
			}
		}
		return o.all.Create(ctx, &x)
	})
}

// update lets change edit a copy of a record, checks what may be changed now, saves, and returns the record as stored.
func (o owned[T]) update(ctx context.Context, ident string, change func(*T) error) (T, error) {
	before, err := o.withNode(ctx, ident, "update", func(n *node.Node, before T) error {
		after := before
		o.copy(&after)
		if err := change(&after); err != nil {
			return err
		}
		if err := o.mayChange(ctx, n, before, after); err != nil {
			return err
		}
		return o.all.Save(ctx, &after)
	})
	if err != nil {
		return before, err
	}
	uuid, _ := o.ids(&before)
	return o.all.Get(ctx, uuid)
}

// delete removes a record, also one of which something cannot be read.
func (o owned[T]) delete(ctx context.Context, ident string) error {
	_, err := o.withNode(ctx, ident, "deletion", func(n *node.Node, x T) error {
		if o.mayDelete != nil {
			if err := o.mayDelete(ctx, n, x); err != nil {
				return err
			}
		}
		uuid, _ := o.ids(&x)
		return o.all.Delete(ctx, uuid)
	})
	return err
}

// withNode calls do with a record and its node, whose lease is held. The record is read again then: what was read before may be
// another's past.
func (o owned[T]) withNode(ctx context.Context, ident, action string, do func(n *node.Node, x T) error) (T, error) {
	x, err := o.all.Get(ctx, ident)
	if err != nil {
		return x, err
	}
	uuid, owner := o.ids(&x)
	return x, o.underLease(ctx, *owner, func(n *node.Node) error {
		if o.mayTouch != nil {
			if err := o.mayTouch(n, action); err != nil {
				return err
			}
		}
		now, err := o.all.Get(ctx, uuid)
		if err != nil {
			return err
		}
		if _, owner := o.ids(&now); *owner != n.UUID {
			return node.Errorf(node.Conflict, "%s %s was moved to node %s in the meantime, please retry.", o.noun, uuid, *owner)
		}
		return do(n, now)
	})
}

// reserveOwner takes the lease of the node that a new record is to belong to.
func (c *core) reserveOwner(ctx context.Context, uuid string) (*node.Node, error) {
	n, err := c.reserve(ctx, uuid)
	if err != nil && node.KindOf(err) == node.NotFound {
		err = node.Errorf(node.Invalid, "Node %s could not be found.", uuid)
	}
	return n, err
}

// ownerExists checks the node that a record is to be moved to.
func (c *core) ownerExists(ctx context.Context, before, after string) error {
	if before == after {
		return nil
	}
	_, err := c.nodes.Node(ctx, after)
	if err != nil && node.KindOf(err) == node.NotFound {
		err = node.Errorf(node.Invalid, "Node %s could not be found.", after)
	}
	return err
}

// rewiringStates are those in which the connection of a port or portgroup may be changed.
var rewiringStates = []node.State{node.Enroll, node.Inspecting, node.InspectWait, node.Manageable}

// mayRewire checks that a connection of a node may be changed; what is "port" or "portgroup".
func mayRewire(n *node.Node, what, uuid string) error {
	if n.Maintenance || slices.Contains(rewiringStates, n.State) {
		return nil
	}
	return node.Errorf(node.Conflict, "The connection of %s %s can not be changed while node %s is in state %q; "+
		"allowed are the states %s, or any in maintenance.", what, uuid, n.UUID, n.State, joined(rewiringStates))
}

// mayReaddress checks that the MAC address of a port or portgroup of a node may be changed.
func mayReaddress(n *node.Node, what, uuid string) error {
	if n.Maintenance || n.InstanceUUID == "" && n.State != node.Active {
		return nil
	}
	return node.Errorf(node.Conflict, "The address of %s %s can not be changed while node %s has an instance, "+
		"unless the node is in maintenance.", what, uuid, n.UUID)
}

func sameDocument(a, b node.Document) bool {
	return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b)
}

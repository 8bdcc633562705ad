// Package server owns servers: an image on a machine of the wanted kind, with its networks and its config drive, asked for in one
// go and taken back in one go. It keeps no record of its own. A server is an allocation of the Bare Metal API, which has its name,
// and what bears the allocation's UUID: the node's instance, ports of Neutron. So whoever knows the name finds all of it, also
// after the program that made it was killed.
package server

import (
	"context"
	"time"

	"github.com/billet-metal/billet/node"
)

// What servers are made of is asked for here, and answered by the Bare Metal API for the command, or by a service's own parts.
// Errors say by their kind (node.KindOf) what may be tried again: node.Unavailable, and node.Conflict for a node that is locked.

// Allocations choose the nodes: two never get the same.
type Allocations interface {
	// CreateAllocation makes one with the UUID given; node.Conflict when its name is taken.
	CreateAllocation(ctx context.Context, a node.Allocation) (node.Allocation, error)
	Allocation(ctx context.Context, ident string) (node.Allocation, error) // by UUID or name; node.NotFound
	Allocations(ctx context.Context) ([]node.Allocation, error)
	DeleteAllocation(ctx context.Context, uuid string) error
}

// Nodes are the machines.
type Nodes interface {
	Node(ctx context.Context, ident string) (*node.Node, error)
	Instances(ctx context.Context) ([]*node.Node, error) // the nodes that have an instance
	SetInstance(ctx context.Context, uuid string, info node.Document) error
	Provision(ctx context.Context, uuid string, req node.ProvisionRequest) error
	Progress(ctx context.Context, uuid string) (string, error)      // what it does, in some words; "" for nothing
	Addresses(ctx context.Context) (map[string][]string, error)     // that DHCP lent, by the node's UUID
	Wires(ctx context.Context, uuid string) (Wires, error)          // its ports and portgroups
	AttachVIF(ctx context.Context, uuid string, vif node.VIF) error // node.Conflict when it is attached
	DetachVIF(ctx context.Context, uuid string, id string) error    // node.Invalid when it is not attached
}

// Wires are where a node's networks come in.
type Wires struct {
	Ports      []node.Port
	Portgroups []node.Portgroup
}

// Networks are those of Neutron.
type Networks interface {
	Network(ctx context.Context, ident string) (Network, error) // by UUID or name
	// CreatePort makes a port for a server, by whose name and UUID it is found.
	CreatePort(ctx context.Context, network Network, name, server string) (Port, error)
	Port(ctx context.Context, id string) (Port, error)
	Ports(ctx context.Context, name string) ([]Port, error) // all that were made for servers of a name; "": for all
	DeletePort(ctx context.Context, id string) error        // one that is gone is no error
}

// Network is a network that a server can be on.
type Network struct {
	ID, Name string
	MTU      int
}

// Port is where a server is on a network.
type Port struct {
	ID        string
	Name      string // of the server it was made for
	Server    string // UUID of that server
	MTU       int    // of its network; 0: nobody knows
	Addresses []string
}

// Servers makes, shows and takes back servers.
type Servers struct {
	Allocations Allocations
	Nodes       Nodes
	Networks    Networks // nil: no login to a cloud
	// Say is told what happens to a server, line by line; it may be called from several goroutines.
	Say      func(name, line string)
	Interval time.Duration // between two looks at a node; default 1 s
	Patience time.Duration // the longest that undoing and deleting wait for a machine; default 10 min
}

// Server is one as people see it.
type Server struct {
	UUID      string        `json:"uuid"`
	Name      string        `json:"name"`
	State     string        `json:"state"` // the node's provision state; the allocation's while it has no node
	NodeUUID  string        `json:"node_uuid"`
	NodeName  string        `json:"node_name"`
	Power     string        `json:"power_state"`
	Class     string        `json:"resource_class"`
	Image     string        `json:"image"`
	Addresses []string      `json:"addresses"`
	LastError string        `json:"last_error"`
	CreatedAt time.Time     `json:"created_at"`
	asked     node.Document // what its allocation says of it
}

// What a server is made for stands in its allocation's extra under this key, for the time in which its node does not say it.
const extraKey = "billet_server"

func (s *Servers) say(name, line string) {
	if s.Say != nil {
		s.Say(name, line)
	}
}

func (s *Servers) interval() time.Duration {
	if s.Interval > 0 {
		return s.Interval
	}
	return time.Second
}

func (s *Servers) patience() time.Duration {
	if s.Patience > 0 {
		return s.Patience
	}
	return 10 * time.Minute
}

// pause waits between two looks; false: ctx has ended.
func (s *Servers) pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(s.interval()):
		return true
	}
}

// callTime bounds one call. A call that changes something is not cut off when the user goes: what became of it is to be known.
const callTime = 90 * time.Second

// whole makes a change unless ctx has ended, and then as a whole.
func whole(ctx context.Context, change func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTime)
	defer cancel()
	return change(ctx)
}

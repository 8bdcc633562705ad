package network

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/openstack"
)

// Service is what is asked of Neutron. *openstack.Networks is one.
type Service interface {
	Network(ctx context.Context, ident string) (*openstack.Network, error)
	Port(ctx context.Context, id string) (*openstack.Port, error)
	Ports(ctx context.Context, filter url.Values) ([]openstack.Port, error)
	CreatePort(ctx context.Context, c openstack.Change) (*openstack.Port, error)
	ChangePort(ctx context.Context, id string, c openstack.Change) (*openstack.Port, error)
	DeletePort(ctx context.Context, id string) error
}

// Cloud is what network interfaces need of a cloud. Neutron must be set.
type Cloud struct {
	Neutron  Service
	Networks map[driver.NetworkPurpose]string // by UUID or name; a node's driver_info wins
	DHCP     bool                             // Neutron's DHCP serves the machines, and is told what they boot
	PortTime time.Duration                    // within which a port must be ACTIVE; 0: DefaultPortTime
	Settle   time.Duration                    // what Neutron's DHCP is given after a tenant's port was bound; 0: DefaultSettle

	mu    sync.Mutex
	found map[string]network   // by UUID or name, as Neutron said lately
	bound map[string]time.Time // when this process bound tenants' ports, by UUID
}

type network struct {
	openstack.Network
	until time.Time
}

const (
	// DefaultPortTime is within which Neutron must have connected a port. It takes seconds.
	DefaultPortTime = 2 * time.Minute

	// DefaultSettle is what Neutron's DHCP agent is given to hear of a tenant's port: one that was made just before it was bound is
	// ACTIVE as soon as the agent knows it by its first MAC address.
	DefaultSettle = 3 * time.Second

	knownFor   = time.Minute     // a network that was found is not asked for again
	checkTime  = 5 * time.Second // of a question in Validate
	portEvery  = time.Second     // how often a port that is not ACTIVE is looked at
	awayEvery  = 5 * time.Second // how often a Neutron that is away is tried
	ramdiskVIF = "baremetal:none"
)

// purposes are those of which a ramdisk gets a port.
var purposes = []driver.NetworkPurpose{
	driver.ProvisioningNetwork, driver.CleaningNetwork, driver.InspectionNetwork, driver.RescuingNetwork, driver.ServicingNetwork,
}

// infoKey is the driver_info key by which a node names its own network.
func infoKey(p driver.NetworkPurpose) string { return string(p) + "_network" }

func (c *Cloud) properties() map[string]string {
	all := map[string]string{}
	if c == nil {
		return all
	}
	for _, p := range purposes {
		all[infoKey(p)] = fmt.Sprintf("UUID or name of Neutron's network for %s, in place of neutron_%s_network. Optional.", p, p)
	}
	return all
}

// named says that no network is named for a purpose.
func (c *Cloud) named(t *driver.Task, p driver.NetworkPurpose) error {
	if c.ident(t, p) != "" {
		return nil
	}
	return node.Errorf(node.Invalid, "No %s network is named: neither driver_info/%s of node %s nor the service's neutron_%s_network "+
		"has the UUID or name of one of Neutron's.", p, infoKey(p), t.Node.UUID, p)
}

// ident is the UUID or name of a purpose's network; "": none is named.
func (c *Cloud) ident(t *driver.Task, p driver.NetworkPurpose) string {
	if own := t.Node.DriverInfo.String(infoKey(p)); own != "" {
		return own
	}
	return c.Networks[p]
}

// knowsNetworks asks Neutron for the networks of a node. A Neutron that does not answer says nothing against the node.
func (c *Cloud) knowsNetworks(ctx context.Context, t *driver.Task) error {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	for _, p := range purposes {
		if _, err := c.network(ctx, t, p); err != nil {
			if kind := node.KindOf(err); kind == node.NotFound || kind == node.Conflict {
				return node.Errorf(node.Invalid, "The %s network of node %s: %v", p, t.Node.UUID, err)
			}
			t.Logger().Warn("Neutron does not tell of a network; the node is taken for valid", "purpose", p, "error", err)
			return nil
		}
	}
	return nil
}

// network finds a purpose's network; nil: none is named.
func (c *Cloud) network(ctx context.Context, t *driver.Task, p driver.NetworkPurpose) (*openstack.Network, error) {
	ident := c.ident(t, p)
	if ident == "" {
		return nil, nil
	}
	return c.networkNamed(ctx, ident)
}

// physicalNetwork is what Neutron calls the cables that a network is on; "": it does not say, or nobody may know.
func (c *Cloud) physicalNetwork(ctx context.Context, id string) (string, error) {
	n, err := c.networkNamed(ctx, id)
	switch {
	case err == nil:
		return n.PhysicalNetwork, nil
	case node.KindOf(err) == node.Unavailable:
		return "", err
	}
	return "", nil
}

func (c *Cloud) networkNamed(ctx context.Context, ident string) (*openstack.Network, error) {
	now := node.Now()
	c.mu.Lock()
	known, ok := c.found[ident]
	c.mu.Unlock()
	if ok && now.Before(known.until) {
		return &known.Network, nil
	}
	n, err := c.Neutron.Network(ctx, ident)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.found) > 1000 || c.found == nil {
		c.found = map[string]network{}
	}
	c.found[ident] = network{*n, now.Add(knownFor)}
	return n, nil
}

// leave takes a machine off a network: what a ramdisk had is deleted, and what the tenant has is unbound.
func (c *Cloud) leave(ctx context.Context, t *driver.Task, purpose driver.NetworkPurpose) error {
	err := c.removePorts(ctx, t, "")
	if err == nil && purpose == driver.TenantNetwork {
		err = c.unbindVIFs(ctx, t)
	}
	return later(err)
}

// later makes of a Neutron that is away one that is tried again.
func later(err error) error {
	if err == nil || node.KindOf(err) != node.Unavailable {
		return err
	}
	return &driver.NotYet{Await: node.Await{For: node.Service, Text: "Neutron to answer"}, Every: awayEvery, Err: err}
}

// linked is a port of Neutron that connects a part of the machine.
type linked struct {
	*openstack.Port
	boots bool // the machine may boot by it
}

// ready says whether Neutron has connected the ports. A machine that is switched on before finds no DHCP and boots what its disk
// holds, which may be an earlier tenant's.
func (c *Cloud) ready(purpose driver.NetworkPurpose, ports []linked) error {
	var waits *driver.NotYet
	for _, p := range ports {
		if err := failed(p); err != nil {
			return err
		}
		left := c.settles(p.ID)
		if p.Status == openstack.PortActive && left > 0 && waits == nil {
			waits = &driver.NotYet{Await: node.Await{For: node.Link, Text: "Neutron's DHCP to know port " + p.ID}, Every: left,
				Err: fmt.Errorf("port %s of Neutron was bound only now", p.ID)}
		}
		off := !p.Up && (purpose == driver.TenantNetwork || !p.boots) // its owner wants it so
		if p.Status == openstack.PortActive || off || waits != nil {
			continue
		}
		within := c.portTime()
		waits = &driver.NotYet{
			Await:  node.Await{For: node.Link, Text: fmt.Sprintf("Neutron's port %s of %s to be ACTIVE", p.ID, p.MACAddress)},
			Within: within, Every: portEvery,
			Err: fmt.Errorf("port %s of Neutron, of %s, is %s and was to be ACTIVE within %s: the machine is not switched on, as it would "+
				"find no DHCP and boot what its disk holds. Look at Neutron's agents of network %s%s",
				p.ID, p.MACAddress, p.Status, within, p.NetworkID, isDown(p)),
		}
	}
	if waits == nil {
		return nil
	}
	return waits
}

func isDown(p linked) string {
	if p.Up {
		return ""
	}
	return "; its admin_state_up is false"
}

// settles is how long it takes until Neutron's DHCP knows a port that is bound.
func (c *Cloud) settles(id string) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.bound[id]
	if !ok {
		return 0
	}
	left := c.Settle
	if left == 0 {
		left = DefaultSettle
	}
	left -= node.Since(at)
	if left <= 0 {
		delete(c.bound, id)
	}
	return left
}

func (c *Cloud) boundNow(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bound == nil || len(c.bound) > 10_000 {
		c.bound = map[string]time.Time{}
	}
	c.bound[id] = node.Now()
}

func (c *Cloud) portTime() time.Duration {
	if c.PortTime == 0 {
		return DefaultPortTime
	}
	return c.PortTime
}

// failed says that waiting for a port has no sense.
func failed(p linked) error {
	switch {
	case p.VIFType == openstack.BindingFailed:
		return fmt.Errorf("Neutron could not bind port %s of %s (binding_failed): none of its drivers takes the switch port %s. "+
			"Check the port's local_link_connection and physical_network, and the log of neutron-server",
			p.ID, p.MACAddress, links(p.Profile))
	case p.Status == openstack.PortError:
		return fmt.Errorf("port %s of Neutron, of %s, is in status ERROR; neutron-server's log has the reason", p.ID, p.MACAddress)
	}
	return nil
}

// bootPorts are the machine's ports that it boots by.
func bootPorts(t *driver.Task) []*node.Port {
	var boots []*node.Port
	for i := range t.Ports {
		if t.Ports[i].PXEEnabled {
			boots = append(boots, &t.Ports[i])
		}
	}
	return boots
}

// withoutVIF are those of them that have no virtual interface, as they are or as members of a portgroup.
func withoutVIF(t *driver.Task) []*node.Port {
	groups := map[string]bool{}
	for _, g := range t.Portgroups {
		groups[g.UUID] = g.InternalInfo.String(node.VIFKey) != ""
	}
	return slices.DeleteFunc(bootPorts(t), func(p *node.Port) bool {
		return p.InternalInfo.String(node.VIFKey) != "" || groups[p.PortgroupUUID]
	})
}

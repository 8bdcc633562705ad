package network

import (
	"slices"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// place is a port or a portgroup of the node: what a virtual interface can be attached to.
type place struct {
	uuid    string
	isGroup bool
}

// wanted is the place that a client chose itself; empty leaves the choice to us.
func wanted(vif node.VIF) place {
	if vif.PortgroupUUID != "" {
		return place{vif.PortgroupUUID, true}
	}
	return place{vif.PortUUID, false}
}

func (p place) String() string {
	if p.isGroup {
		return "portgroup " + p.uuid
	}
	return "port " + p.uuid
}

// title is the place as Ironic names it in the answer that clients look for.
func (p place) title() string {
	if p.isGroup {
		return "Portgroup " + p.uuid
	}
	return "Port " + p.uuid
}

// info is where the place keeps its virtual interface; nil when the node has no such place.
func info(t *driver.Task, p place) *node.Document {
	for i := range t.Portgroups {
		if p.isGroup && t.Portgroups[i].UUID == p.uuid {
			return &t.Portgroups[i].InternalInfo
		}
	}
	for i := range t.Ports {
		if !p.isGroup && t.Ports[i].UUID == p.uuid {
			return &t.Ports[i].InternalInfo
		}
	}
	return nil
}

// taken says where each virtual interface of the node is attached.
func taken(t *driver.Task) map[string]place {
	by := map[string]place{}
	for _, g := range t.Portgroups {
		by[g.InternalInfo.String(node.VIFKey)] = place{g.UUID, true}
	}
	for _, port := range t.Ports {
		by[port.InternalInfo.String(node.VIFKey)] = place{port.UUID, false}
	}
	delete(by, "")
	return by
}

// free lists the places that can have a virtual interface, the best first: portgroups before ports, those that boot
// from the network before others, else the oldest. A portgroup without ports leads nowhere. A portgroup and its ports
// are the same cables: while one has a virtual interface, the other can have none. A port whose portgroup works only as
// a whole is none by itself.
func free(t *driver.Task) []place {
	groups := map[string]*node.Portgroup{}
	members := map[string][]node.Port{}
	for i, g := range t.Portgroups {
		groups[g.UUID] = &t.Portgroups[i]
	}
	for _, port := range t.Ports {
		members[port.PortgroupUUID] = append(members[port.PortgroupUUID], port)
	}
	boots := func(port node.Port) bool { return port.PXEEnabled }
	attached := func(port node.Port) bool { return port.InternalInfo.String(node.VIFKey) != "" }
	var rank [4][]place
	put := func(best int, pxe bool, p place) {
		if !pxe {
			best++
		}
		rank[best] = append(rank[best], p)
	}
	for _, g := range t.Portgroups {
		in := members[g.UUID]
		if len(in) > 0 && g.InternalInfo.String(node.VIFKey) == "" && !slices.ContainsFunc(in, attached) {
			put(0, slices.ContainsFunc(in, boots), place{g.UUID, true})
		}
	}
	for _, port := range t.Ports {
		g := groups[port.PortgroupUUID]
		if !attached(port) && (g == nil || g.StandalonePortsSupported && g.InternalInfo.String(node.VIFKey) == "") {
			put(2, port.PXEEnabled, place{port.UUID, false})
		}
	}
	return slices.Concat(rank[0], rank[1], rank[2], rank[3])
}

// known refuses a place that the node does not have.
func known(t *driver.Task, want place) error {
	switch {
	case want.uuid == "", info(t, want) != nil:
		return nil
	case want.isGroup:
		return node.Errorf(node.Invalid, "Portgroup %s is not a portgroup of node %s.", want.uuid, t.Node.UUID)
	}
	return node.Errorf(node.Invalid, "Port %s is not a port of node %s.", want.uuid, t.Node.UUID)
}

// choose picks the place of a virtual interface: the one that the client wants, else the best that is free. Places whose physical
// network is another than the interface's lead nowhere; "" is any.
func choose(t *driver.Task, id string, want place, physical string) (place, error) {
	where := taken(t)
	if at, attached := where[id]; attached {
		return place{}, node.Errorf(node.Conflict, "Unable to attach VIF because VIF %s is already attached to Ironic %s", id, at.title())
	}
	have := free(t)
	all := len(have)
	have = slices.DeleteFunc(have, func(p place) bool { return !leads(t, p, physical) })
	if want.uuid == "" && len(have) == 0 && all > 0 {
		return place{}, node.Errorf(node.Invalid, "Unable to attach VIF %s: its network is on the physical network %s, and no free port of "+
			"node %s is.", id, physical, t.Node.UUID)
	}
	if want.uuid == "" && len(have) > 0 {
		return have[0], nil
	}
	if want.uuid == "" {
		return place{}, node.Errorf(node.Invalid, "Unable to attach VIF %s, not enough free physical ports on node %s.", id, t.Node.UUID)
	}
	if slices.Contains(have, want) {
		return want, nil
	}
	if !leads(t, want, physical) {
		return place{}, node.Errorf(node.Conflict, "Unable to attach VIF %s to %s, whose physical network is not %s, that of the VIF's network.",
			id, want, physical)
	}
	for other, at := range where {
		if at == want {
			return place{}, node.Errorf(node.Conflict, "Unable to attach VIF %s because %s has VIF %s.", id, want, other)
		}
	}
	return place{}, node.Errorf(node.Conflict, "Unable to attach VIF %s to %s: a portgroup needs ports, none of which has a VIF, "+
		"and a port of a portgroup needs one that supports standalone ports and has no VIF.", id, want)
}

// leads reports whether a place may lead to a physical network.
func leads(t *driver.Task, at place, physical string) bool {
	own := wireOf(t, at).physical
	return physical == "" || own == "" || own == physical
}

// attach notes a virtual interface at the place chosen for it.
func attach(t *driver.Task, vif node.VIF, physical string) error {
	at, err := choose(t, vif.ID, wanted(vif), physical)
	if err != nil {
		return err
	}
	note := info(t, at)
	*note = node.WithVIF(*note, vif.ID)
	return nil
}

// detach forgets a virtual interface; false when it is attached nowhere.
func detach(t *driver.Task, id string) bool {
	at, attached := taken(t)[id]
	if attached {
		note := info(t, at)
		*note = node.WithVIF(*note, "")
	}
	return attached
}

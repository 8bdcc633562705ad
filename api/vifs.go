package api

import (
	"errors"
	"net/http"
	"slices"

	"github.com/billet-metal/billet/node"
)

var noPage = node.Page{}

// plugs are the ports and portgroups of a node: what virtual interfaces (a tenant network's ports) can be attached to.
type plugs struct {
	node   *node.Node
	ports  []node.Port
	groups []node.Portgroup
}

// plugs reads those of the node a path names.
func (a *API) plugs(c *call) (p plugs, err error) {
	if p.node, err = a.node(c); err != nil {
		return p, err
	}
	if p.ports, err = a.Ports.List(c.Context(), node.PortFilter{NodeUUID: p.node.UUID}, noPage); err != nil {
		return p, err
	}
	for _, port := range p.ports { // whether it has a virtual interface, and which, nobody knows
		if _, hurt := port.Unreadable["internal_info"]; hurt {
			return p, port.Damage()
		}
	}
	p.groups, err = a.Portgroups.List(c.Context(), node.PortgroupFilter{NodeUUID: p.node.UUID}, noPage)
	for _, g := range p.groups {
		if _, hurt := g.Unreadable["internal_info"]; hurt {
			return p, g.Damage()
		}
	}
	return p, err
}

// plug is a port or a portgroup.
type plug struct {
	uuid    string
	isGroup bool
}

func (p plug) String() string {
	if p.isGroup {
		return "Portgroup " + p.uuid
	}
	return "Port " + p.uuid
}

// taken says what each virtual interface of the node is attached to.
func (p plugs) taken() map[string]plug {
	by := map[string]plug{}
	for _, g := range p.groups {
		by[g.InternalInfo.String(node.VIFKey)] = plug{g.UUID, true}
	}
	for _, port := range p.ports {
		by[port.InternalInfo.String(node.VIFKey)] = plug{port.UUID, false}
	}
	delete(by, "")
	return by
}

// free lists what a virtual interface can be attached to, the best first: portgroups before ports, those that boot
// from the network before others, else the oldest. A portgroup without ports leads nowhere. A portgroup and its ports
// are the same cables: while one has a virtual interface, the other can have none. A port whose portgroup works only as
// a whole is none by itself.
func (p plugs) free() []plug {
	groups := map[string]*node.Portgroup{}
	members := map[string][]node.Port{}
	for i, g := range p.groups {
		groups[g.UUID] = &p.groups[i]
	}
	for _, port := range p.ports {
		members[port.PortgroupUUID] = append(members[port.PortgroupUUID], port)
	}
	boots := func(port node.Port) bool { return port.PXEEnabled }
	attached := func(port node.Port) bool { return port.InternalInfo.String(node.VIFKey) != "" }
	var rank [4][]plug
	place := func(best int, pxe bool, x plug) {
		if !pxe {
			best++
		}
		rank[best] = append(rank[best], x)
	}
	for _, g := range p.groups {
		in := members[g.UUID]
		if len(in) > 0 && g.InternalInfo.String(node.VIFKey) == "" && !slices.ContainsFunc(in, attached) {
			place(0, slices.ContainsFunc(in, boots), plug{g.UUID, true})
		}
	}
	for _, port := range p.ports {
		g := groups[port.PortgroupUUID]
		if !attached(port) && (g == nil || g.StandalonePortsSupported && g.InternalInfo.String(node.VIFKey) == "") {
			place(2, port.PXEEnabled, plug{port.UUID, false})
		}
	}
	return slices.Concat(rank[0], rank[1], rank[2], rank[3])
}

func (a *API) listVIFs(w http.ResponseWriter, c *call) error {
	p, err := a.plugs(c)
	if err != nil {
		return err
	}
	vifs := []map[string]string{}
	for _, port := range p.ports {
		if id := port.InternalInfo.String(node.VIFKey); id != "" {
			vifs = append(vifs, map[string]string{"id": id})
		}
	}
	for _, g := range p.groups {
		if id := g.InternalInfo.String(node.VIFKey); id != "" {
			vifs = append(vifs, map[string]string{"id": id})
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"vifs": vifs})
	return nil
}

// attachVIF gives a virtual interface to the best free portgroup or port, or to the one the client chose. The network
// interface noop knows no networks: there it succeeds and does nothing.
func (a *API) attachVIF(w http.ResponseWriter, c *call) error {
	body, err := decodeObject(c.body)
	if err != nil {
		return err
	}
	id, ok := body["id"].(string)
	if !ok || id == "" {
		return invalid("The body needs \"id\": the virtual interface to attach.")
	}
	wanted, err := wantedPlug(c.version, body)
	if err != nil {
		return err
	}
	p, err := a.plugs(c)
	if err != nil {
		return err
	}
	if err := p.has(wanted); err != nil {
		return err
	}
	if p.node.Interfaces[node.Network] != "noop" {
		if err := a.attachTo(c, p, id, wanted); err != nil {
			return err
		}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// wantedPlug is the port or portgroup that a client chose itself; empty leaves the choice to the service.
func wantedPlug(v version, body map[string]any) (wanted plug, err error) {
	for _, key := range []string{"portgroup_uuid", "port_uuid"} {
		if body[key] == nil {
			continue
		}
		if err := v.needsArgument("vif", key); err != nil {
			return plug{}, err
		}
		uuid, err := text(key, body[key], 36)
		if err == nil {
			uuid, err = optionalUUID(key, uuid)
		}
		if err != nil {
			return plug{}, err
		}
		if uuid != "" && wanted.uuid != "" {
			return plug{}, invalid("A virtual interface is attached to a port or to a portgroup: give port_uuid or portgroup_uuid, not both.")
		}
		if uuid != "" {
			wanted = plug{uuid, key == "portgroup_uuid"}
		}
	}
	return wanted, nil
}

// has refuses a choice that is none of the node's.
func (p plugs) has(wanted plug) error {
	isPort := slices.ContainsFunc(p.ports, func(x node.Port) bool { return x.UUID == wanted.uuid })
	isGroup := slices.ContainsFunc(p.groups, func(x node.Portgroup) bool { return x.UUID == wanted.uuid })
	switch {
	case wanted.uuid == "", wanted.isGroup && isGroup, !wanted.isGroup && isPort:
		return nil
	case wanted.isGroup:
		return invalid("Portgroup %s is not a portgroup of node %s.", wanted.uuid, p.node.UUID)
	}
	return invalid("Port %s is not a port of node %s.", wanted.uuid, p.node.UUID)
}

// choose picks what a virtual interface is attached to.
func (p plugs) choose(id string, wanted plug) (plug, error) {
	taken := p.taken()
	if at, attached := taken[id]; attached {
		return plug{}, node.Errorf(node.Conflict, "Unable to attach VIF because VIF %s is already attached to Ironic %s", id, at)
	}
	free := p.free()
	if wanted.uuid == "" && len(free) > 0 {
		return free[0], nil
	}
	if wanted.uuid == "" {
		return plug{}, invalid("Unable to attach VIF %s, not enough free physical ports on node %s.", id, p.node.UUID)
	}
	if slices.Contains(free, wanted) {
		return wanted, nil
	}
	for other, at := range taken {
		if at == wanted {
			return plug{}, node.Errorf(node.Conflict, "Unable to attach VIF %s because %s has VIF %s.", id, lowered(wanted), other)
		}
	}
	return plug{}, node.Errorf(node.Conflict, "Unable to attach VIF %s to %s: a portgroup needs ports, none of which has a VIF, "+
		"and a port of a portgroup needs one that supports standalone ports and has no VIF.", id, lowered(wanted))
}

func lowered(p plug) string {
	if p.isGroup {
		return "portgroup " + p.uuid
	}
	return "port " + p.uuid
}

// attachTo chooses, and chooses again under the node's lease: only then nobody else is attaching anything there. When
// somebody was faster it takes what is best now: the compute service would read a conflict as "it is attached".
func (a *API) attachTo(c *call, p plugs, id string, wanted plug) error {
	at, err := p.choose(id, wanted)
	for err == nil {
		var best plug
		err = a.rewire(c, at, func(node.Document) (string, error) {
			now, err := a.plugs(c)
			if err == nil {
				best, err = now.choose(id, wanted)
			}
			if err == nil && best != at {
				err = errTaken
			}
			return id, err
		})
		if err == nil {
			return nil
		}
		if errors.Is(err, errTaken) {
			at, err = best, nil
		}
	}
	return err
}

// errTaken says that another port or portgroup than the one chosen is to be had by now.
var errTaken = errors.New("taken in the meantime")

// rewire gives a port or portgroup the virtual interface that next returns for what it has now; "" for none.
func (a *API) rewire(c *call, at plug, next func(node.Document) (string, error)) error {
	change := func(info *node.Document) error {
		id, err := next(*info)
		if err == nil {
			*info = node.WithVIF(*info, id)
		}
		return err
	}
	var err error
	if at.isGroup {
		_, err = a.Conductor.UpdatePortgroup(c.Context(), at.uuid, func(g *node.Portgroup) error { return change(&g.InternalInfo) })
	} else {
		_, err = a.Conductor.UpdatePort(c.Context(), at.uuid, func(p *node.Port) error { return change(&p.InternalInfo) })
	}
	return err
}

func (a *API) detachVIF(w http.ResponseWriter, c *call) error {
	id := c.PathValue("vif")
	p, err := a.plugs(c)
	if err != nil {
		return err
	}
	missing := invalid("VIF %s is not attached to node %s", id, p.node.UUID)
	at, attached := p.taken()[id]
	switch {
	case attached:
		err = a.rewire(c, at, func(now node.Document) (string, error) {
			if now.String(node.VIFKey) != id {
				return "", missing // another request was faster
			}
			return "", nil
		})
	case p.node.Interfaces[node.Network] != "noop":
		err = missing
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

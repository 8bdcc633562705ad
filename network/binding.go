package network

import (
	"encoding/json"
	"reflect"
	"slices"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/openstack"
)

// wire is a port of the machine, or a portgroup, as Neutron is told of it.
type wire struct {
	place
	mac      string // "" of a portgroup: its machine chooses, and Neutron's port keeps its own
	boots    bool
	physical string
	profile  map[string]any
}

// wireOf describes a place of the node.
func wireOf(t *driver.Task, at place) wire {
	w := wire{place: at}
	links := []any{}
	for _, p := range t.Ports {
		if !at.isGroup && p.UUID != at.uuid || at.isGroup && p.PortgroupUUID != at.uuid {
			continue
		}
		if len(p.LocalLinkConnection) > 0 {
			links = append(links, map[string]any(p.LocalLinkConnection))
		}
		w.mac, w.physical, w.boots = p.Address, p.PhysicalNetwork, w.boots || p.PXEEnabled
	}
	w.profile = map[string]any{"local_link_information": links}
	for _, g := range t.Portgroups {
		if at.isGroup && g.UUID == at.uuid {
			w.mac = g.Address
			w.profile["local_group_information"] = groupInfo(g)
		}
	}
	return w
}

// groupInfo is what a switch needs to know of a bond.
func groupInfo(g node.Portgroup) map[string]any {
	mode, properties := g.Mode, map[string]any(g.Properties)
	if mode == "" {
		mode = node.DefaultPortgroupMode
	}
	if properties == nil {
		properties = map[string]any{}
	}
	return map[string]any{"id": g.UUID, "name": g.Name, "bond_mode": mode, "bond_properties": properties}
}

// binding is what Neutron is told to connect a place of the machine.
func (c *Cloud) binding(t *driver.Task, w wire) openstack.Change {
	host, vnic := t.Node.UUID, "baremetal"
	change := openstack.Change{Host: &host, VNICType: &vnic, Profile: &w.profile}
	if w.mac == "" {
		return change
	}
	mac := openstack.MACAddress(w.mac)
	change.MACAddress = &mac
	if options := c.bootOptions(t, w.mac); len(options) > 0 {
		change.DHCP = &options
	}
	return change
}

// bootOptions are what Neutron's DHCP is to tell a machine that it boots, as its boot interface says.
func (c *Cloud) bootOptions(t *driver.Task, mac string) (all []openstack.DHCPOption) {
	if !c.DHCP || t.Hardware == nil || mac == "" {
		return nil
	}
	boot, ok := t.Hardware.Boot.(driver.NetworkBoot)
	if !ok {
		return nil
	}
	for _, o := range boot.DHCPOptions(t, mac) {
		all = append(all, openstack.DHCPOption{Name: o.Name, Value: &o.Value, Version: o.IPVersion})
	}
	return all
}

// isBound reports whether a port is that of this place of the machine.
func isBound(p openstack.Port, t *driver.Task, w wire) bool {
	return p.Host == t.Node.UUID && (w.mac == "" || p.MACAddress == w.mac)
}

// same reports whether a port that is bound is as the change would make it.
func same(want openstack.Change, p openstack.Port) bool {
	if p.VNICType != *want.VNICType || !sameJSON(p.Profile, *want.Profile) || p.VIFType == openstack.BindingFailed {
		return false
	}
	if want.DHCP == nil {
		return true
	}
	return !slices.ContainsFunc(*want.DHCP, func(o openstack.DHCPOption) bool {
		return !slices.ContainsFunc(p.DHCP, func(have openstack.DHCPOption) bool {
			return have.Name == o.Name && have.Version == o.Version && reflect.DeepEqual(have.Value, o.Value)
		})
	})
}

func sameJSON(a, b map[string]any) bool {
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && string(x) == string(y)
}

// links says of a binding's profile which switch ports it names.
func links(profile map[string]any) string {
	text, err := json.Marshal(profile["local_link_information"])
	if err != nil || string(text) == "null" || string(text) == "[]" {
		return "of a port without local_link_connection"
	}
	return string(text)
}

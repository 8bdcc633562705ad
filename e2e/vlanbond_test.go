package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	openstack "github.com/billet-metal/billet/compat/cloud"
)

// bonded is a machine with two cards in a portgroup, each in a switch port of its own. One port of Neutron moves both.
func (v *vlans) bonded(name string) *machine {
	v.t.Helper()
	m := v.virtual(name, "--switch-port", "--nics", "2", "--memory", "512")
	m.uuid = m.enrol()
	m.patch("/network_interface", "neutron")
	var group struct{ UUID string }
	v.call("POST", "/v1/portgroups", map[string]any{
		"node_uuid": m.uuid, "name": name + "-bond", "address": m.NICs[0].MAC, "mode": "active-backup",
		"properties": map[string]any{"miimon": 100},
	}, &group, 201)
	var list struct{ Ports []struct{ UUID string } }
	v.call("GET", "/v1/ports?node="+m.uuid, nil, &list, 200)
	v.call("DELETE", "/v1/ports/"+list.Ports[0].UUID, nil, nil, 204)
	for i, card := range m.NICs {
		v.cloud.Plug(card.SwitchPort, openstack.Parked)
		v.call("POST", "/v1/ports", map[string]any{
			"node_uuid": m.uuid, "address": card.MAC, "portgroup_uuid": group.UUID, "physical_network": "prov", "pxe_enabled": i == 0,
			"local_link_connection": openstack.LocalLink(card.SwitchPort),
		}, nil, 201)
	}
	m.available()
	return m
}

// onVLANs are the VLANs of the machine's switch ports.
func (v *vlans) onVLANs(m *machine) (vlans []int) {
	v.t.Helper()
	for _, card := range m.NICs {
		vlans = append(vlans, v.cloud.VLAN(card.SwitchPort))
	}
	return vlans
}

// bondGoesAlong deploys a machine with a bond: the tenant's network is on both of its switch ports, and leaves both.
func bondGoesAlong(t *testing.T, v *vlans) {
	m := v.bonded("m2")
	vif := v.tenantPort("m2")
	v.call("POST", "/v1/nodes/"+m.uuid+"/vifs", map[string]any{"id": vif}, nil, 204)
	m.deploy(imageInfo(t, "tiny.raw"))
	m.arrive("active", 15*time.Minute)
	p := v.neutronPort(vif)
	if p.Status != "ACTIVE" || p.MAC != m.NICs[0].MAC || len(p.Addresses) != 1 {
		t.Fatalf("the tenant's port is %+v", p)
	}
	if got := v.onVLANs(m); !slices.Equal(got, []int{tenantVLAN, tenantVLAN}) {
		t.Errorf("the switch ports of the tenant's bond are on the VLANs %v", got)
	}
	m.prints(5*time.Minute, fmt.Sprintf(" %s/24 (DHCP)", p.Addresses[0].IP))
	m.provision(map[string]any{"target": "deleted"})
	m.arrive("available", 15*time.Minute)
	if got := v.onVLANs(m); !slices.Equal(got, []int{openstack.Parked, openstack.Parked}) {
		t.Errorf("the switch ports of an available machine are on the VLANs %v", got)
	}
}

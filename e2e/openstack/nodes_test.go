package openstack

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/billet-metal/billet/compat/cloud"
)

// view is what the Bare Metal API says of a node.
type view struct {
	UUID, Name string
	State      string         `json:"provision_state"`
	Power      string         `json:"power_state"`
	LastError  string         `json:"last_error"`
	Instance   string         `json:"instance_uuid"`
	Info       map[string]any `json:"instance_info"`
}

func (s *stage) node(uuid string) (v view) {
	s.t.Helper()
	s.baremetal("GET", "/v1/nodes/"+uuid, nil, &v)
	return v
}

// comes waits for a node's provision state.
func (s *stage) comes(uuid, state string, most time.Duration) (v view) {
	s.t.Helper()
	s.until(most, "node "+uuid+" to be "+state, func() (bool, string) {
		v = s.node(uuid)
		if strings.HasSuffix(v.State, "failed") && v.State != state {
			s.t.Fatalf("node %s is %s instead of %s: %s\n%s", uuid, v.State, state, v.LastError, s.why(uuid))
		}
		return v.State == state, v.State + " " + v.LastError
	})
	return v
}

// fakes counts the fake machines, for their addresses.
var fakes int

// fake enrols a machine that is only a row; driverInfo makes it slow or broken. It is available when fake returns, but the
// scheduler may not know yet: offered waits for that.
func (s *stage) fake(name, class string, driverInfo map[string]any, more map[string]any) (uuid string) {
	s.t.Helper()
	fakes++
	fields := map[string]any{
		"name": name, "driver": "fake-hardware", "resource_class": class, "network_interface": "flat", "driver_info": driverInfo,
		"properties": map[string]any{"cpus": 1, "memory_mb": 512, "local_gb": 4, "cpu_arch": "x86_64"},
	}
	for k, v := range more {
		fields[k] = v
	}
	var made view
	s.baremetal("POST", "/v1/nodes", fields, &made)
	s.baremetal("POST", "/v1/ports", map[string]any{
		"node_uuid": made.UUID, "address": fmt.Sprintf("52:54:00:fa:ce:%02x", fakes), "physical_network": "prov",
		"local_link_connection": cloud.LocalLink(""),
	}, nil)
	s.provide(made.UUID)
	return made.UUID
}

// provide takes a new node to available.
func (s *stage) provide(uuid string) {
	s.t.Helper()
	s.baremetal("PUT", "/v1/nodes/"+uuid+"/states/provision", map[string]any{"target": "manage"}, nil)
	s.comes(uuid, "manageable", time.Minute)
	s.baremetal("PUT", "/v1/nodes/"+uuid+"/states/provision", map[string]any{"target": "provide"}, nil)
	s.comes(uuid, "available", 10*time.Minute)
}

// retire takes nodes out of the cloud.
func (s *stage) retire(uuids ...string) {
	s.t.Helper()
	for _, uuid := range uuids {
		s.baremetal("DELETE", "/v1/nodes/"+uuid, nil, nil)
	}
}

// inventory is how many of a node's resource class Placement may give away, and how many are kept back; 0, 0 when it knows none.
func (s *stage) inventory(uuid, class string) (total, reserved int) {
	s.t.Helper()
	status, body, err := s.http("GET", s.URL("placement")+"/resource_providers/"+uuid+"/inventories", s.token("admin"), nil)
	if status == 404 && err == nil {
		return 0, 0
	}
	var out struct {
		Inventories map[string]struct{ Total, Reserved int }
	}
	if err := errors.Join(err, json.Unmarshal(body, &out)); err != nil || status != 200 {
		s.t.Fatalf("the inventory of %s: %d %v %s", uuid, status, err, body)
	}
	i := out.Inventories["CUSTOM_"+strings.ToUpper(class)]
	return i.Total, i.Reserved
}

// offered waits until the scheduler may give nodes away.
func (s *stage) offered(class string, uuids ...string) {
	s.t.Helper()
	for _, uuid := range uuids {
		s.until(3*time.Minute, "the scheduler to know node "+uuid, func() (bool, string) {
			total, reserved := s.inventory(uuid, class)
			return total == 1 && reserved == 0, fmt.Sprintf("total %d, reserved %d", total, reserved)
		})
	}
}

// undone waits until nothing of a server is left at a node: it is available, claimed by nobody in Billet, Placement or Neutron.
func (s *stage) undone(uuid string) {
	s.t.Helper()
	n := s.comes(uuid, "available", 10*time.Minute)
	if n.Instance != "" || len(n.Info) != 0 {
		s.t.Errorf("node %s has instance %q, instance_info %v", uuid, n.Instance, n.Info)
	}
	var list struct {
		Ports []struct {
			UUID, Address string
			Internal      map[string]any `json:"internal_info"`
		}
	}
	s.baremetal("GET", "/v1/ports/detail?node="+uuid, nil, &list)
	for _, p := range list.Ports {
		if len(p.Internal) != 0 {
			s.t.Errorf("port %s has %v", p.UUID, p.Internal)
		}
		s.until(time.Minute, "Neutron to have no port with "+p.Address, func() (bool, string) {
			var ports struct{ Ports []map[string]any }
			s.Neutron("GET", "/ports?mac_address="+p.Address, nil, &ports)
			return len(ports.Ports) == 0, fmt.Sprint(ports.Ports)
		})
	}
	s.until(time.Minute, "Placement to have freed node "+uuid, func() (bool, string) {
		var out struct{ Allocations map[string]any }
		s.placement("GET", "/resource_providers/"+uuid+"/allocations", nil, &out)
		return len(out.Allocations) == 0, fmt.Sprint(out.Allocations)
	})
}

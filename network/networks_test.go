package network

import (
	"context"
	"reflect"
	"testing"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// Both networks do their nothing without asking anybody: no context, no node and no port can stop a flow that connects or leaves, and
// whatever a node's driver_info holds is valid.
func TestNetworksNeedNothing(t *testing.T) {
	gone, leave := context.WithCancel(t.Context())
	leave()
	full := &driver.Task{Node: &node.Node{UUID: "u", DriverInfo: node.Document{"provisioning_network": 7.0, "cleaning_network": ""}},
		Ports: []node.Port{{Address: "52:54:00:00:00:01", InternalInfo: node.Document{"tenant_vif_port_id": "v"}}}}
	for name, n := range map[string]driver.Network{"noop": Noop{}, "flat": Flat{}, "a pointer": &Flat{}} {
		for what, task := range map[string]*driver.Task{"no task": nil, "no node": {}, "a full node": full} {
			before := node.Port{}
			if task == full {
				before = full.Ports[0]
			}
			for call, err := range map[string]error{
				"validate":   n.Validate(gone, task),
				"connect":    n.Connect(gone, task, driver.TenantNetwork),
				"a purpose":  n.Connect(gone, task, "of another day"),
				"disconnect": n.Disconnect(gone, task, driver.CleaningNetwork),
			} {
				if err != nil {
					t.Errorf("%s, %s, %s: %v", name, what, call, err)
				}
			}
			if task == full && !reflect.DeepEqual(before, full.Ports[0]) {
				t.Errorf("%s changed the port: %+v", name, full.Ports[0])
			}
		}
	}
}

// Each is found by its own name in a hardware type, the first is the default, and neither offers steps that a flow would run.
func TestNetworksInAHardwareType(t *testing.T) {
	ty := driver.Type{Name: "t", Network: []driver.Network{Noop{}, Flat{}}}
	info, err := driver.Types{ty}.Describe("t")
	if err != nil || info.Default[node.Network] != "noop" || !reflect.DeepEqual(info.Enabled[node.Network], []string{"noop", "flat"}) ||
		len(info.Properties) != 0 {
		t.Errorf("%+v, %v", info, err)
	}
	for _, n := range []any{Noop{}, Flat{}} {
		if _, ok := n.(driver.Stepper); ok {
			t.Errorf("%T offers steps", n)
		}
	}
}

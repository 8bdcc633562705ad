package network

import (
	"testing"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// A machine may be on any of the networks in any order, twice, and left without being entered:
// flows repeat their steps after a crash.
func TestNetworksTakeEveryPurpose(t *testing.T) {
	purposes := []driver.NetworkPurpose{
		driver.ProvisioningNetwork, driver.CleaningNetwork, driver.InspectionNetwork,
		driver.RescuingNetwork, driver.ServicingNetwork, driver.TenantNetwork,
	}
	for want, n := range map[string]driver.Network{"noop": Noop{}, "flat": Flat{}} {
		if n.Name() != want {
			t.Errorf("%T is named %q, want %q", n, n.Name(), want)
		}
		if p := n.Properties(); p == nil || len(p) != 0 {
			t.Errorf("%s: properties %v, want an empty map", want, p)
		}
		task := &driver.Task{Node: &node.Node{UUID: "1be26c0b-03f2-4d2e-ae87-c02d7f33c123"}}
		if err := n.Validate(t.Context(), task); err != nil {
			t.Errorf("%s: validate: %v", want, err)
		}
		for _, p := range purposes {
			for range 2 {
				if err := n.Disconnect(t.Context(), task, p); err != nil {
					t.Errorf("%s: disconnect from %s: %v", want, p, err)
				}
				if err := n.Connect(t.Context(), task, p); err != nil {
					t.Errorf("%s: connect to %s: %v", want, p, err)
				}
			}
		}
		if task.Node.UUID == "" || task.Node.DriverInternalInfo != nil {
			t.Errorf("%s changed the node: %+v", want, task.Node)
		}
	}
}

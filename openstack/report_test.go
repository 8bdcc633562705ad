package openstack_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/openstack"
	"github.com/billet-metal/billet/openstack/openstacktest"
)

// What Neutron says of a machine: the ports bound to its node and those with its addresses, each once, and who serves DHCP there.
func TestReportOfANodesPorts(t *testing.T) {
	const nodeID, mac = "1be26c0b-03f2-4d2e-ae87-c02d7f33c123", "52:54:00:00:00:01"
	c := openstacktest.New(t)
	for _, id := range []string{"served", "silent"} {
		c.Neutron.AddNetwork(id, id)
	}
	c.Neutron.ServeDHCP("served", true, map[string]bool{"net1": true, "net2": false})
	c.Neutron.ServeDHCP("silent", false, nil)
	c.Neutron.AddPort("ours", "served", map[string]any{"mac_address": mac, "binding:host_id": nodeID, "status": "ACTIVE"})
	c.Neutron.AddPort("loose", "silent", map[string]any{"mac_address": "52:54:00:00:00:02", "binding:host_id": "", "admin_state_up": false})
	c.Neutron.AddPort("bond", "served", map[string]any{"binding:host_id": nodeID, "binding:vif_type": "binding_failed"})
	c.Neutron.AddPort("another's", "served", map[string]any{"binding:host_id": "n2"})
	n := &openstack.Networks{Session: open(t, config(c))}
	got := n.Report(t.Context(), nodeID, []string{mac, "52:54:00:00:00:02"})
	dhcp := node.DHCP{Agents: []node.DHCPAgent{{Host: "net1", Alive: true}, {Host: "net2"}}}
	want := node.NetworkReport{Service: "Neutron", Ports: []node.NetworkPort{
		{ID: "bond", MAC: "fa:16:3e:00:00:03", Network: "served", Status: "DOWN", Up: true, Bound: true, Failed: true,
			Addresses: []string{"192.0.2.3"}, DHCP: dhcp},
		{ID: "ours", MAC: mac, Network: "served", Status: "ACTIVE", Up: true, Bound: true, Addresses: []string{"192.0.2.1"}, DHCP: dhcp},
		{ID: "loose", MAC: "52:54:00:00:00:02", Network: "silent", Status: "DOWN", Addresses: []string{"192.0.2.2"}, DHCP: node.DHCP{Off: true}},
	}}
	if d := cmp.Diff(want, got, cmpopts.IgnoreFields(node.NetworkReport{}, "At")); d != "" || got.At.IsZero() {
		t.Errorf("report (-want +got):\n%s", d)
	}

	// What could not be asked is said, and what could is there.
	c.Neutron.Fail(at("/dhcp-agents", http.StatusForbidden))
	got = n.Report(t.Context(), nodeID, nil)
	if len(got.Ports) != 2 || !strings.Contains(got.Ports[0].DHCP.Silent, "Neutron") || got.Silent != "" {
		t.Errorf("without the agents: %+v", got)
	}
	c.Neutron.Fail(at("/v2.0/ports", http.StatusServiceUnavailable))
	got = n.Report(t.Context(), nodeID, []string{mac})
	if !strings.Contains(got.Silent, "Neutron") || len(got.Ports) != 0 {
		t.Errorf("of a Neutron that is away: %+v", got)
	}
}

// at fails the requests whose path has the end.
func at(end string, status int) openstacktest.Fault {
	fail := openstacktest.Answer(status, "{}")
	return func(w http.ResponseWriter, r *http.Request) bool {
		return strings.HasSuffix(r.URL.Path, end) && fail(w, r)
	}
}

package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
)

// Each filter of ports on a real database.
func TestPortFiltersOnARealDatabase(t *testing.T) {
	s := newStack(t)
	s.put(&node.Node{UUID: nodeA, Name: "blade", State: node.Manageable, Shard: "s1"})
	s.put(&node.Node{UUID: nodeB, State: node.Manageable})
	for i, owner := range []string{nodeA, nodeA, nodeB} {
		p := node.Port{NodeUUID: owner, Name: fmt.Sprint("eth", i), Address: fmt.Sprintf("52:54:00:00:00:0%d", i),
			Description: fmt.Sprint("Slot ", i)}
		if err := s.db.Ports.Create(t.Context(), &p); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ path, want string }{
		{"/v1/ports?", "eth0 eth1 eth2"}, {"/v1/ports?node=blade&", "eth0 eth1"}, {"/v1/ports?node_uuid=" + strings.ToUpper(nodeB) + "&", "eth2"},
		{"/v1/ports?address=52-54-00-00-00-01&", "eth1"}, {"/v1/ports?address=52:54:00:00:00:09&", ""},
		{"/v1/ports?node=blade&address=52:54:00:00:00:02&", ""},
		{"/v1/ports?shard=s1&", "eth0 eth1"}, {"/v1/ports?shard=s1,none&", "eth0 eth1"}, {"/v1/ports?description_contains=sLOT%202&", "eth2"},
		{"/v1/nodes/blade/ports?", "eth0 eth1"}, {"/v1/nodes/" + nodeB + "/ports?", "eth2"},
		{"/v1/ports?sort_key=name&sort_dir=desc&", "eth2 eth1 eth0"}, {"/v1/ports?sort_key=address&limit=2&", "eth0 eth1"},
	} {
		resp, body := s.ask("1.115", "GET", tt.path+"fields=name", "")
		if resp.StatusCode != 200 {
			t.Errorf("%s: %d %s", tt.path, resp.StatusCode, body)
			continue
		}
		var names []string
		for _, p := range field(t, body, "ports").([]any) {
			names = append(names, p.(map[string]any)["name"].(string))
		}
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.path, got, tt.want)
		}
	}
}

// A port's wiring, its address and its end, in each of the 30 states, on a node with an instance and on
// one without: 200 or 204, or a 409 that names the state and changes nothing.
func TestPortsInEveryState(t *testing.T) {
	s := newStack(t)
	wiring := []node.State{node.Enroll, node.Inspecting, node.InspectWait, node.Manageable}
	for i, state := range node.States {
		n := s.put(&node.Node{State: state})
		mac := fmt.Sprintf("52:54:00:00:01:%02x", i)
		p := node.Port{NodeUUID: n.UUID, Address: mac, PXEEnabled: true}
		if err := s.db.Ports.Create(t.Context(), &p); err != nil {
			t.Fatal(err)
		}
		path := "/v1/ports/" + p.UUID
		resp, body := s.ask("1.115", "PATCH", path, `[{"op":"replace","path":"/pxe_enabled","value":false}]`)
		allowed := slices.Contains(wiring, state)
		if allowed && resp.StatusCode != 200 {
			t.Errorf("wiring in %s: %d %s", state, resp.StatusCode, body)
		}
		if !allowed {
			s.refused("wiring in "+string(state), resp, body, 409,
				fmt.Sprintf("The connection of port %s can not be changed while node %s is in state %q; "+
					"allowed are the states enroll, inspecting, inspect wait, manageable, or any in maintenance.", p.UUID, n.UUID, state))
		}
		after, err := s.db.Ports.Get(t.Context(), p.UUID)
		if err != nil || after.PXEEnabled == allowed {
			t.Errorf("in %s the port is %+v, %v", state, after, err)
		}
		resp, body = s.ask("1.115", "PATCH", path, `[{"op":"replace","path":"/address","value":"52:54:00:00:02:`+mac[15:]+`"}]`)
		if state == node.Active {
			s.refused("address", resp, body, 409, "The address of port "+p.UUID+" can not be changed while node "+n.UUID+
				" has an instance, unless the node is in maintenance.")
		} else if resp.StatusCode != 200 || field(t, body, "address") != "52:54:00:00:02:"+mac[15:] {
			t.Errorf("address in %s: %d %s", state, resp.StatusCode, body)
		}
		if resp, body := s.ask("1.115", "DELETE", path, ""); resp.StatusCode != 204 {
			t.Errorf("delete in %s: %d %s", state, resp.StatusCode, body)
		}
		if resp, _ := s.ask("1.115", "GET", path, ""); resp.StatusCode != 404 {
			t.Errorf("in %s a deleted port answers %d", state, resp.StatusCode)
		}
	}
}

// A virtual interface over its life: attached to the port that boots first, in the way of the port's
// deletion, given once, detached.
func TestAVirtualInterfacesLife(t *testing.T) {
	s := newStack(t)
	n := s.put(&node.Node{Name: "blade", State: node.Available, Interfaces: map[node.Interface]string{node.Network: "fake"}})
	var ports []node.Port
	for i, boots := range []bool{false, true} {
		p := node.Port{NodeUUID: n.UUID, Address: fmt.Sprintf("52:54:00:00:00:0%d", i), PXEEnabled: boots}
		if err := s.db.Ports.Create(t.Context(), &p); err != nil {
			t.Fatal(err)
		}
		ports = append(ports, p)
	}
	ask := func(status int, method, path, body, want string) {
		t.Helper()
		resp, answer := s.ask("1.115", method, path, body)
		if resp.StatusCode != status {
			t.Errorf("%s %s: %d %s, want %d", method, path, resp.StatusCode, answer, status)
		} else if want != "" {
			s.refused(path, resp, answer, status, want)
		}
	}
	vifs := "/v1/nodes/blade/vifs"
	ask(204, "POST", vifs, `{"id":"v1"}`, "")
	if p, _ := s.db.Ports.Get(t.Context(), ports[1].UUID); p.InternalInfo.String(node.VIFKey) != "v1" {
		t.Errorf("the port that boots has %v", p.InternalInfo)
	}
	ask(409, "POST", vifs, `{"id":"v1"}`, "Unable to attach VIF because VIF v1 is already attached to Ironic Port "+ports[1].UUID)
	ask(204, "POST", vifs, `{"id":"v2"}`, "")
	ask(400, "POST", vifs, `{"id":"v3"}`, "Unable to attach VIF v3, not enough free physical ports on node "+n.UUID+".")
	ask(400, "POST", vifs, `{"id":5}`, `The body needs "id": the virtual interface to attach.`)
	ask(409, "DELETE", "/v1/ports/"+ports[1].UUID, "",
		"Port "+ports[1].UUID+" has the virtual interface v1 attached; detach it first, or put node "+n.UUID+" in maintenance.")
	ask(204, "DELETE", vifs+"/v1", "", "")
	ask(400, "DELETE", vifs+"/v1", "", "VIF v1 is not attached to node "+n.UUID)
	ask(204, "DELETE", "/v1/ports/"+ports[1].UUID, "", "")
	if _, body := s.ask("1.115", "GET", vifs, ""); body != `{"vifs":[{"id":"v2"}]}` {
		t.Errorf("left are %s", body)
	}
}

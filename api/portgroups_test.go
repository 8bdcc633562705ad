package api

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/billet-metal/billet/node"
)

const (
	groupB = "b0000000-0000-4000-8000-00000000000b"
	portB  = "d2b30520-907d-46c8-bfee-c5586e6fb3b2"
	portC  = "d2b30520-907d-46c8-bfee-c5586e6fb3c3"
)

// putPort and putGroup store a record as it is, past the API's rules.
func (s *stack) putPort(p node.Port) {
	s.t.Helper()
	if p.NodeUUID == "" {
		p.NodeUUID = nodeA
	}
	if p.Address == "" {
		p.Address = "52:54:00:00:00:" + p.UUID[len(p.UUID)-2:]
	}
	if err := s.db.Ports.Create(s.t.Context(), &p); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stack) putGroup(g node.Portgroup) {
	s.t.Helper()
	if g.NodeUUID == "" {
		g.NodeUUID = nodeA
	}
	if err := s.db.Portgroups.Create(s.t.Context(), &g); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stack) group(ident string) node.Portgroup {
	s.t.Helper()
	g, err := s.db.Portgroups.Get(s.t.Context(), ident)
	if err != nil {
		s.t.Fatal(err)
	}
	return g
}

// What a portgroup is made of, and what is refused.
func TestMakingPortgroups(t *testing.T) {
	for _, tt := range []struct {
		version, body string
		status        int
		want          string // a part of the portgroup, or the whole refusal
	}{
		{"1.23", `{"node_uuid":"` + nodeA + `"}`, 201, `"standalone_ports_supported":true`},
		{"1.26", `{"node_uuid":"` + strings.ToUpper(nodeA) + `"}`, 201, `"mode":"active-backup"`},
		{"1.26", `{"node_uuid":"` + nodeA + `","mode":null,"properties":null,"name":null,"address":null,"standalone_ports_supported":null}`, 201,
			`"mode":"active-backup"`},
		{"1.26", `{"node_uuid":"` + nodeA + `","mode":"802.3ad","properties":{"xmit_hash_policy":"layer3+4"}}`, 201,
			`"xmit_hash_policy":"layer3+4"`},
		{"1.26", `{"node_uuid":"` + nodeA + `","standalone_ports_supported":"off"}`, 201, `"standalone_ports_supported":false`},
		{"1.26", `{"node_uuid":"` + nodeA + `","address":"52-54-00-AA-00-01"}`, 201, `"address":"52:54:00:aa:00:01"`},
		{"1.26", `{"node_uuid":"` + nodeA + `","uuid":"` + strings.ToUpper(groupB) + `"}`, 201, `"uuid":"` + groupB + `"`},
		{"1.102", `{"node_uuid":"` + nodeA + `","physical_network":"p1"}`, 201, `"physical_network":"p1"`},
		{"1.25", `{"node_uuid":"` + nodeA + `","mode":"802.3ad"}`, 406,
			"Request not acceptable. The minimal required API version for the field 'mode' is 1.26."},
		{"1.25", `{"node_uuid":"` + nodeA + `","properties":{}}`, 406,
			"Request not acceptable. The minimal required API version for the field 'properties' is 1.26."},
		{"1.101", `{"node_uuid":"` + nodeA + `","physical_network":"p1"}`, 406,
			"Request not acceptable. The minimal required API version for the field 'physical_network' is 1.102."},
		{"1.26", `{}`, 400, `A portgroup needs "node_uuid". It can not be without: node_uuid`},
		{"1.26", `{"node_uuid":null}`, 400, "Expected a UUID for node_uuid but received <nil>."},
		{"1.26", `{"node_uuid":"blade"}`, 400, "Expected a UUID for node_uuid but received blade."},
		{"1.26", `{"node_uuid":"` + nodeB + `"}`, 400, "Node " + nodeB + " could not be found."},
		{"1.26", `{"node_uuid":"` + nodeA + `","address":"52:54"}`, 400, "Expected a MAC address but received 52:54."},
		{"1.26", `{"node_uuid":"` + nodeA + `","address":7}`, 400, "Expected a MAC address but received 7."},
		{"1.26", `{"node_uuid":"` + nodeA + `","name":"a b"}`, 400,
			`Cannot use "a b" as the name of a portgroup. Allowed are letters, digits and the characters - . _ ~`},
		{"1.26", `{"node_uuid":"` + nodeA + `","name":"` + nodeB + `"}`, 400,
			`The name of a portgroup may not look like a UUID: "` + nodeB + `".`},
		{"1.26", `{"node_uuid":"` + nodeA + `","mode":4}`, 400, "Field mode must be a string, not a number."},
		{"1.26", `{"node_uuid":"` + nodeA + `","properties":[]}`, 400, "Field properties must be an object, not a list."},
		{"1.26", `{"node_uuid":"` + nodeA + `","standalone_ports_supported":"maybe"}`, 400,
			"Field standalone_ports_supported must be a boolean, not a string."},
		{"1.26", `{"node_uuid":"` + nodeA + `","uuid":"x"}`, 400, "Expected a UUID for uuid but received x."},
		{"1.115", `{"node_uuid":"` + nodeA + `","dynamic_portgroup":true}`, 400,
			`A portgroup cannot be created with the field "dynamic_portgroup". Allowed are: ` +
				"address, category, extra, mode, name, node_uuid, physical_network, properties, standalone_ports_supported, uuid"},
		{"1.26", `{"node_uuid":"` + nodeA + `","name":"bond0"}`, 409, "A portgroup with name bond0 already exists."},
		{"1.26", `{"node_uuid":"` + nodeA + `","address":"52:54:00:00:00:99"}`, 409,
			"A portgroup with MAC address 52:54:00:00:00:99 already exists."},
	} {
		s := newStack(t)
		s.put(&node.Node{UUID: nodeA, Name: "blade", State: node.Manageable})
		s.putGroup(node.Portgroup{UUID: groupA, Name: "bond0", Address: "52:54:00:00:00:99"})
		resp, body := s.ask(tt.version, "POST", "/v1/portgroups", tt.body)
		if tt.status != 201 {
			s.refused(tt.body, resp, body, tt.status, tt.want)
		} else if resp.StatusCode != 201 || !strings.Contains(body, tt.want) {
			t.Errorf("%s: %d %s, want %s", tt.body, resp.StatusCode, body, tt.want)
		}
		all, err := s.db.Portgroups.List(t.Context(), node.PortgroupFilter{}, node.Page{})
		if err != nil || (len(all) == 2) != (tt.status == 201) {
			t.Errorf("%s: there are %d, %v", tt.body, len(all), err)
		}
		if n := s.node("blade"); n.Lease.Holder != "" {
			t.Errorf("%s: the node stays locked", tt.body)
		}
	}
}

// What may be changed of a portgroup, in which state of its node and with which ports.
func TestChangingPortgroups(t *testing.T) {
	const standalone = "standalone_ports_supported of portgroup " + groupA + " can not be made false: its port " + portA +
		" boots from the network (pxe_enabled) or has a virtual interface."
	rewired := func(state node.State) string {
		return "The connection of portgroup " + groupA + " can not be changed while node " + nodeA + ` is in state "` + string(state) +
			`"; allowed are the states enroll, inspecting, inspect wait, manageable, or any in maintenance.`
	}
	port := node.Port{UUID: portA, PortgroupUUID: groupA}
	for _, tt := range []struct {
		name, patch string
		node        node.Node
		port        node.Port
		status      int
		want        string
	}{
		{"a name", `[{"op":"add","path":"/name","value":"b1"}]`, node.Node{State: node.Active, InstanceUUID: nodeB}, port, 200, `"name":"b1"`},
		{"extra", `[{"op":"add","path":"/extra/a","value":[1]}]`, node.Node{State: node.Active}, port, 200, `"extra":{"a":[1]}`},
		{"a mode", `[{"op":"replace","path":"/mode","value":"802.3ad"}]`, node.Node{State: node.Manageable}, port, 200, `"mode":"802.3ad"`},
		{"a mode in maintenance", `[{"op":"replace","path":"/mode","value":"802.3ad"}]`, node.Node{State: node.Active, Maintenance: true}, port,
			200, `"mode":"802.3ad"`},
		{"a mode taken away", `[{"op":"remove","path":"/mode"}]`, node.Node{State: node.Enroll}, port, 200, `"mode":"active-backup"`},
		{"an unchanged mode", `[{"op":"replace","path":"/mode","value":"active-backup"}]`, node.Node{State: node.Active}, port, 200,
			`"mode":"active-backup"`},
		{"a mode of an active node", `[{"op":"replace","path":"/mode","value":"802.3ad"}]`, node.Node{State: node.Active}, port, 409,
			rewired(node.Active)},
		{"a property of an available node", `[{"op":"add","path":"/properties/miimon","value":50}]`, node.Node{State: node.Available}, port, 409,
			rewired(node.Available)},
		{"an address", `[{"op":"add","path":"/address","value":"52:54:00:AA:00:01"}]`, node.Node{State: node.Available}, port, 200,
			`"address":"52:54:00:aa:00:01"`},
		{"an address of an instance", `[{"op":"add","path":"/address","value":"52:54:00:AA:00:01"}]`,
			node.Node{State: node.Available, InstanceUUID: nodeB}, port, 409,
			"The address of portgroup " + groupA + " can not be changed while node " + nodeA +
				" has an instance, unless the node is in maintenance."},
		{"alone no more", `[{"op":"replace","path":"/standalone_ports_supported","value":false}]`, node.Node{State: node.Manageable}, port, 200,
			`"standalone_ports_supported":false`},
		{"alone no more, but a port boots", `[{"op":"replace","path":"/standalone_ports_supported","value":false}]`,
			node.Node{State: node.Manageable},
			node.Port{UUID: portA, PortgroupUUID: groupA, PXEEnabled: true}, 409, standalone},
		{"alone no more, but a port is attached", `[{"op":"replace","path":"/standalone_ports_supported","value":false}]`,
			node.Node{State: node.Manageable},
			node.Port{UUID: portA, PortgroupUUID: groupA, InternalInfo: node.Document{node.VIFKey: "v"}}, 409, standalone},
		{"moved", `[{"op":"replace","path":"/node_uuid","value":"` + nodeB + `"}]`, node.Node{State: node.Manageable}, node.Port{UUID: portA},
			200, `"node_uuid":"` + nodeB + `"`},
		{"moved with its ports", `[{"op":"replace","path":"/node_uuid","value":"` + nodeB + `"}]`, node.Node{State: node.Manageable}, port, 409,
			"Portgroup " + groupA + " can not be moved to another node: it has ports, which must leave it first."},
		{"moved to nobody", `[{"op":"replace","path":"/node_uuid","value":"` + portA + `"}]`, node.Node{State: node.Manageable},
			node.Port{UUID: portA}, 400, "Node " + portA + " could not be found."},
		{"without a node", `[{"op":"remove","path":"/node_uuid"}]`, node.Node{State: node.Manageable}, port, 400,
			"The node_uuid of a portgroup can not be taken away."},
		{"what it has not", `[{"op":"remove","path":"/extra/none"}]`, node.Node{State: node.Manageable}, port, 400,
			`Couldn't apply patch 'remove /extra/none'. Reason: there is no "/extra/none" to remove in the resource`},
	} {
		s := newStack(t)
		n := tt.node
		n.UUID = nodeA
		s.put(&n)
		s.put(&node.Node{UUID: nodeB, State: node.Manageable})
		s.putGroup(node.Portgroup{UUID: groupA, Mode: node.DefaultPortgroupMode, StandalonePortsSupported: true})
		s.putPort(tt.port)
		before := s.group(groupA)
		resp, body := s.ask("1.115", "PATCH", "/v1/portgroups/"+groupA, tt.patch)
		if tt.status == 200 {
			if resp.StatusCode != 200 || !strings.Contains(body, tt.want) {
				t.Errorf("%s: %d %s", tt.name, resp.StatusCode, body)
			}
		} else {
			s.refused(tt.name, resp, body, tt.status, tt.want)
			if after := s.group(groupA); !after.UpdatedAt.Equal(before.UpdatedAt) {
				t.Errorf("%s: saved %+v", tt.name, after)
			}
		}
		if s.node(nodeA).Lease.Holder != "" {
			t.Errorf("%s: the node stays locked", tt.name)
		}
	}
}

// A portgroup is not deleted under its ports or a virtual interface.
func TestDeletingPortgroups(t *testing.T) {
	s := newStack(t)
	s.put(&node.Node{UUID: nodeA, Name: "blade", State: node.Manageable})
	s.putGroup(node.Portgroup{UUID: groupA, Name: "bond0", InternalInfo: node.Document{node.VIFKey: "v"}})
	s.putPort(node.Port{UUID: portA, PortgroupUUID: groupA})
	resp, body := s.ask("1.23", "DELETE", "/v1/portgroups/bond0", "")
	s.refused("with a port", resp, body, 400, "Portgroup "+groupA+" cannot be deleted: it has ports, which must leave it first.")
	if resp, body := s.ask("1.24", "PATCH", "/v1/ports/"+portA, `[{"op":"remove","path":"/portgroup_uuid"}]`); resp.StatusCode != 200 ||
		field(t, body, "portgroup_uuid") != nil {
		t.Errorf("the port leaves: %d %s", resp.StatusCode, body)
	}
	resp, body = s.ask("1.23", "DELETE", "/v1/portgroups/bond0", "")
	s.refused("attached", resp, body, 409, "Portgroup "+groupA+" has the virtual interface v attached; detach it first, or put node "+nodeA+
		" in maintenance.")
	if resp, body := s.ask("1.23", "PUT", "/v1/nodes/blade/maintenance", ""); resp.StatusCode != 202 {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	if resp, body := s.ask("1.23", "DELETE", "/v1/portgroups/bond0", ""); resp.StatusCode != 204 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	resp, body = s.ask("1.23", "DELETE", "/v1/portgroups/bond0", "")
	s.refused("again", resp, body, 404, "Portgroup bond0 could not be found.")
	if n := s.node("blade"); n.Lease.Holder != "" {
		t.Error("the node stays locked")
	}
}

// Ports join a portgroup of their own node, of one physical network; one that works only as a whole takes none that boots.
func TestPortsJoinPortgroups(t *testing.T) {
	of := func(more string) string {
		return `{"node_uuid":"` + nodeA + `","address":"52:54:00:00:01:01","portgroup_uuid":"` + groupA + `"` + more + `}`
	}
	join := `[{"op":"add","path":"/portgroup_uuid","value":"` + groupA + `"}]`
	mixed := "Portgroup " + groupA + ` would have ports in different physical networks ("", "p1"); a bond leads to one.`
	for _, tt := range []struct {
		name, method, path, body string
		alone                    bool
		status                   int
		want                     string
	}{
		{"made in it", "POST", "", of(`,"physical_network":"p1"`), true, 201, `"portgroup_uuid":"` + groupA + `"`},
		{"made in it in capitals", "POST", "", of(`,"physical_network":"p1","portgroup_uuid":"` + strings.ToUpper(groupA) + `"`), true, 201,
			`"portgroup_uuid":"` + groupA + `"`},
		{"of another network", "POST", "", of(""), true, 409, mixed},
		{"in none", "POST", "", `{"node_uuid":"` + nodeA + `","address":"52:54:00:00:01:01","portgroup_uuid":null}`, true, 201,
			`"portgroup_uuid":null`},
		{"of another node", "POST", "", `{"node_uuid":"` + nodeB + `","address":"52:54:00:00:01:01","portgroup_uuid":"` + groupA + `"}`, true,
			400,
			"Port 52:54:00:00:01:01 can not be in portgroup " + groupA + ", which belongs to node " + nodeA + " and not to the port's node " +
				nodeB + "."},
		{"in one that is none", "POST", "", `{"node_uuid":"` + nodeA + `","address":"52:54:00:00:01:01","portgroup_uuid":"` + groupB + `"}`, true,
			400, "Portgroup " + groupB + " could not be found."},
		{"joins, of another network", "PATCH", portB, join, true, 409, mixed},
		{"joins and boots alone", "PATCH", portC, join, true, 200, `"portgroup_uuid":"` + groupA + `"`},
		{"joins and must not boot", "PATCH", portC, join, false, 409,
			"Portgroup " + groupA + " works only as a whole (standalone_ports_supported is false), so its port " + portC +
				" must not boot from the network: set pxe_enabled to false."},
		{"joins without booting", "PATCH", portC, `[{"op":"replace","path":"/pxe_enabled","value":false},` + join[1:], false, 200,
			`"portgroup_uuid":"` + groupA + `"`},
		{"is in it and begins to boot", "PATCH", portA, `[{"op":"replace","path":"/pxe_enabled","value":true}]`, false, 409,
			"Portgroup " + groupA + " works only as a whole (standalone_ports_supported is false), so its port " + portA +
				" must not boot from the network: set pxe_enabled to false."},
		// the only one
		{"is in it and gets another network", "PATCH", portA, `[{"op":"remove","path":"/physical_network"}]`, true, 200,
			`"physical_network":null`},
		{"is in it and goes to another node", "PATCH", portA, `[{"op":"replace","path":"/node_uuid","value":"` + nodeB + `"}]`, true, 400,
			"Port 52:54:00:00:00:a1 can not be in portgroup " + groupA + ", which belongs to node " + nodeA + " and not to the port's node " +
				nodeB + "."},
	} {
		s := newStack(t)
		s.put(&node.Node{UUID: nodeA, State: node.Manageable})
		s.put(&node.Node{UUID: nodeB, State: node.Manageable})
		s.putGroup(node.Portgroup{UUID: groupA, StandalonePortsSupported: tt.alone})
		s.putPort(node.Port{UUID: portA, PortgroupUUID: groupA, PhysicalNetwork: "p1"})
		s.putPort(node.Port{UUID: portB})
		s.putPort(node.Port{UUID: portC, PhysicalNetwork: "p1", PXEEnabled: true})
		path := "/v1/ports"
		if tt.path != "" {
			path += "/" + tt.path
		}
		resp, body := s.ask("1.115", tt.method, path, tt.body)
		if tt.status < 300 {
			if resp.StatusCode != tt.status || !strings.Contains(body, tt.want) {
				t.Errorf("%s: %d %s", tt.name, resp.StatusCode, body)
			}
			continue
		}
		s.refused(tt.name, resp, body, tt.status, tt.want)
	}
}

// The lists of portgroups and of their ports, and the ways to ask for them.
func TestListsOfPortgroups(t *testing.T) {
	s := newStack(t)
	s.put(&node.Node{UUID: nodeA, Name: "blade", State: node.Manageable, Shard: "s1", ConductorGroup: "east"})
	s.put(&node.Node{UUID: nodeB, Name: "other", State: node.Manageable})
	s.putGroup(node.Portgroup{UUID: groupA, Name: "a", Address: "52:54:00:00:00:99"})
	s.putGroup(node.Portgroup{UUID: groupB, Name: "b", NodeUUID: nodeB})
	s.putPort(node.Port{UUID: portA, Name: "p1", PortgroupUUID: groupA})
	s.putPort(node.Port{UUID: portB, Name: "p2", PortgroupUUID: groupA})
	s.putPort(node.Port{UUID: portC, Name: "p3"})
	for path, want := range map[string]string{
		"/v1/portgroups":                                           "portgroups: a b",
		"/v1/portgroups?node=blade":                                "portgroups: a",
		"/v1/portgroups?node=" + nodeB:                             "portgroups: b",
		"/v1/portgroups?address=52-54-00-00-00-99":                 "portgroups: a",
		"/v1/portgroups/detail?node=" + nodeA + "&address=" + macA: "portgroups: ",
		"/v1/portgroups?detail=true&sort_dir=desc":                 "portgroups: b a",
		"/v1/portgroups?shard=s1,s2":                               "portgroups: a",
		"/v1/portgroups?conductor_groups=EAST":                     "portgroups: a",
		"/v1/portgroups?conductor_groups=":                         "portgroups: b",
		"/v1/nodes/blade/portgroups":                               "portgroups: a",
		"/v1/nodes/other/portgroups/detail":                        "portgroups: b",
		"/v1/portgroups/a/ports?fields=name":                       "ports: p1 p2",
		"/v1/portgroups/" + groupA + "/ports/detail":               "ports: p1 p2",
		"/v1/portgroups/b/ports/detail":                            "ports: ",
		"/v1/ports?portgroup=a&fields=name":                        "ports: p1 p2",
		"/v1/ports/detail?portgroup=" + strings.ToUpper(groupA):    "ports: p1 p2",
		"/portgroups/a/ports?fields=name&limit=1":                  "ports: p1", // as bookmarks say it
	} {
		resp, body := s.ask("1.115", "GET", path, "")
		key, names0, _ := strings.Cut(want, ": ")
		if resp.StatusCode != 200 || names(t, body, key, "name") != names0 {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	for path, want := range map[string]string{
		"/v1/portgroups?node=nobody":          "404 Node nobody could not be found.",
		"/v1/portgroups?address=x":            "400 Expected a MAC address but received x.",
		"/v1/portgroups?node=blade&shard=s1":  "400 Portgroups can be listed by node or by shard, by one of them at a time.",
		"/v1/nodes/blade/portgroups?node=x":   "400 Unexpected arguments: node",
		"/v1/nodes/nobody/portgroups":         "404 Node nobody could not be found.",
		"/v1/portgroups/c":                    "404 Portgroup c could not be found.",
		"/v1/portgroups/c/ports":              "404 Portgroup c could not be found.",
		"/v1/ports?portgroup=c":               "404 Portgroup c could not be found.",
		"/v1/ports?portgroup=a&node=blade":    "403 Ports can be listed by node, portgroup or shard, by one of them at a time.",
		"/v1/portgroups?fields=name,colour":   `400 Field(s) "colour" are not valid for a portgroup.`,
		"/v1/portgroups?fields=name&detail=1": "400 Can't fetch a subset of fields with 'detail' set",
	} {
		var status int
		text := want[4:]
		fmt.Sscanf(want, "%d", &status)
		resp, body := s.ask("1.115", "GET", path, "")
		s.refused(path, resp, body, status, text)
	}
	_, body := s.ask("1.115", "GET", "/v1/portgroups/a/ports?limit=1", "")
	if next := field(t, body, "next"); next != "http://metal.example:6385/v1/portgroups/"+groupA+
		"/ports?sort_key=id&sort_dir=asc&limit=1&marker="+portA {
		t.Errorf("next is %v", next)
	}
}

// Virtual interfaces on portgroups, from HTTP to the database's rows.
func TestVirtualInterfacesOnPortgroups(t *testing.T) {
	s := newStack(t)
	s.put(&node.Node{UUID: nodeA, Name: "blade", State: node.Available, Interfaces: map[node.Interface]string{node.Network: "flat"}})
	s.putGroup(node.Portgroup{UUID: groupA, StandalonePortsSupported: true, InternalInfo: node.Document{"keep": "this"}})
	s.putGroup(node.Portgroup{UUID: groupB})
	s.putPort(node.Port{UUID: portA, PortgroupUUID: groupA, PXEEnabled: true})
	s.putPort(node.Port{UUID: portB})
	const vifs = "/v1/nodes/blade/vifs"
	attach := func(body string, status int, want string) {
		t.Helper()
		resp, answer := s.ask("1.67", "POST", vifs, body)
		if status != 204 {
			s.refused(body, resp, answer, status, want)
		} else if resp.StatusCode != 204 {
			t.Errorf("%s: %d %s", body, resp.StatusCode, answer)
		}
	}
	has := func(want string) {
		t.Helper()
		_, body := s.ask("1.28", "GET", vifs, "")
		if got := names(t, body, "vifs", "id"); got != want {
			t.Errorf("attached are %q, want %q", got, want)
		}
	}
	attach(`{"id":"one"}`, 204, "")
	if info := s.group(groupA).InternalInfo; info[node.VIFKey] != "one" || info["keep"] != "this" {
		t.Errorf("the portgroup has %v", info)
	}
	attach(`{"id":"one"}`, 409, "Unable to attach VIF because VIF one is already attached to Ironic Portgroup "+groupA)
	attach(`{"id":"two","portgroup_uuid":"`+groupA+`"}`, 409, "Unable to attach VIF two because portgroup "+groupA+" has VIF one.")
	attach(`{"id":"two","port_uuid":"`+portA+`"}`, 409,
		"Unable to attach VIF two to port "+portA+": a portgroup needs ports, none of which has a VIF, "+
			"and a port of a portgroup needs one that supports standalone ports and has no VIF.")
	attach(`{"id":"two","portgroup_uuid":"`+groupB+`"}`, 409,
		"Unable to attach VIF two to portgroup "+groupB+": a portgroup needs ports, none of which has a VIF, "+
			"and a port of a portgroup needs one that supports standalone ports and has no VIF.")
	attach(`{"id":"two"}`, 204, "")
	has("two one")
	attach(`{"id":"three"}`, 400, "Unable to attach VIF three, not enough free physical ports on node "+nodeA+".")
	if resp, body := s.ask("1.28", "DELETE", vifs+"/one", ""); resp.StatusCode != 204 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	resp, body := s.ask("1.28", "DELETE", vifs+"/one", "")
	s.refused("detached twice", resp, body, 400, "VIF one is not attached to node "+nodeA)
	if info := s.group(groupA).InternalInfo; len(info) != 1 || info["keep"] != "this" {
		t.Errorf("the portgroup has %v", info)
	}
	has("two")
	attach(`{"id":"three","port_uuid":"`+portA+`"}`, 204, "") // the portgroup's cables, one by one
	attach(`{"id":"four","portgroup_uuid":"`+groupA+`"}`, 409,
		"Unable to attach VIF four to portgroup "+groupA+": a portgroup needs ports, none of which has a VIF, "+
			"and a port of a portgroup needs one that supports standalone ports and has no VIF.")
	has("three two")
	attach(`{"id":"x","portgroup_uuid":"bond0"}`, 400, `Expected a UUID for portgroup_uuid but received "bond0".`)
}

// Requests at the same time each get a place of their own, whatever they chose before they held the node.
func TestVirtualInterfacesAtTheSameTime(t *testing.T) {
	s := newStack(t)
	s.put(&node.Node{UUID: nodeA, State: node.Available, Interfaces: map[node.Interface]string{node.Network: "flat"}})
	s.putGroup(node.Portgroup{UUID: groupA})
	s.putPort(node.Port{UUID: portA, PortgroupUUID: groupA})
	s.putPort(node.Port{UUID: portB, PXEEnabled: true})
	s.putPort(node.Port{UUID: portC})
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			for {
				resp, body := s.ask("1.28", "POST", "/v1/nodes/"+nodeA+"/vifs", fmt.Sprintf(`{"id":"v%d"}`, i))
				if resp.StatusCode == 409 && strings.Contains(body, "is locked by host") {
					continue
				}
				if resp.StatusCode != 204 {
					t.Errorf("v%d: %d %s", i, resp.StatusCode, body)
				}
				return
			}
		})
	}
	wg.Wait()
	_, body := s.ask("1.28", "GET", "/v1/nodes/"+nodeA+"/vifs", "")
	got := strings.Fields(names(t, body, "vifs", "id"))
	slices.Sort(got)
	if strings.Join(got, " ") != "v0 v1 v2" {
		t.Errorf("attached are %v", got)
	}
}

package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
)

func testPort(t *testing.T, s Store) {
	add(t, s, 1, nil)
	add(t, s, 2, nil)
	before := node.Now()
	want := node.Port{
		UUID: strings.ToUpper(uid(10)), NodeUUID: uid(1), Name: "eth0", Address: "52:54:00:AB:CD:EF", PXEEnabled: true,
		PortgroupUUID: uid(20), PhysicalNetwork: "physnet1", IsSmartNIC: true,
		LocalLinkConnection: node.Document{"switch_id": "aa:bb", "port_id": "Gi1"}, Extra: node.Document{"n": 1.0},
		InternalInfo: node.Document{"vif": "x"}, Description: "left", Vendor: "acme", Category: "public",
	}
	ok(t, s.Ports.Create(t.Context(), &want))
	if want.ID == 0 || want.CreatedAt.Before(before) || want.Address != "52:54:00:ab:cd:ef" || want.UUID != uid(10) {
		t.Errorf("filled as %+v", want)
	}
	for _, ident := range []string{uid(10), "eth0", "52:54:00:ab:cd:ef", "52:54:00:AB:CD:EF"} {
		got, err := s.Ports.Get(t.Context(), ident)
		ok(t, err)
		same(t, ident, got, want)
	}

	want.Name, want.NodeUUID, want.PXEEnabled, want.Extra, want.Address = "", uid(2), false, node.Document{}, "52:54:00:AB:00:00"
	made := want.UpdatedAt
	ok(t, s.Ports.Save(t.Context(), &want))
	got, err := s.Ports.Get(t.Context(), uid(10))
	ok(t, err)
	if !got.UpdatedAt.After(made) || got.UpdatedAt != want.UpdatedAt {
		t.Errorf("updated %s, was %s, given %s", got.UpdatedAt, made, want.UpdatedAt)
	}
	want.Address = "52:54:00:ab:00:00"
	same(t, "saved", got, want)

	ok(t, s.Ports.Delete(t.Context(), uid(10)))
	refused(t, s.Ports.Delete(t.Context(), uid(10)), node.NotFound, "Port "+uid(10)+" could not be found.")
}

func testPortRefusals(t *testing.T, s Store) {
	add(t, s, 1, nil)
	addPort(t, s, 1, node.Port{NodeUUID: uid(1), Name: "eth0"})
	second := addPort(t, s, 2, node.Port{NodeUUID: uid(1)})
	addPort(t, s, 3, node.Port{NodeUUID: uid(1)}) // no name is no duplicate
	for _, tt := range []struct {
		p    node.Port
		kind node.Kind
		want string
	}{
		{node.Port{Address: strings.ToUpper(mac(1))}, node.Conflict, "A port with MAC address " + mac(1) + " already exists."},
		{node.Port{Address: mac(9), UUID: uid(100_001)}, node.Conflict, "A port with UUID " + uid(100_001) + " already exists."},
		{node.Port{Address: mac(9), Name: "eth0"}, node.Conflict, "A port with name eth0 already exists."},
		{node.Port{Address: mac(9), UUID: "x"}, node.Invalid, "Expected a UUID but received x."},
	} {
		tt.p.NodeUUID = uid(1)
		refused(t, s.Ports.Create(t.Context(), &tt.p), tt.kind, tt.want)
	}
	second.Address = mac(1)
	refused(t, s.Ports.Save(t.Context(), &second), node.Conflict, "A port with MAC address "+mac(1)+" already exists.")
	for _, ident := range []string{"", "eth9", uid(9), mac(9)} {
		_, err := s.Ports.Get(t.Context(), ident)
		refused(t, err, node.NotFound, "Port "+ident+" could not be found.")
	}
	refused(t, s.Ports.Save(t.Context(), &node.Port{UUID: uid(9), NodeUUID: uid(1)}), node.NotFound, "Port "+uid(9)+" could not be found.")
}

func testPortFilters(t *testing.T, s Store) {
	add(t, s, 1, func(n *node.Node) { n.Shard = "s1" })
	add(t, s, 2, func(n *node.Node) { n.Shard, n.ParentNode, n.ConductorGroup = "s2", uid(1), "east" })
	addPort(t, s, 1, node.Port{NodeUUID: uid(1), Description: "Left 10%"})
	addPort(t, s, 2, node.Port{NodeUUID: uid(1), PortgroupUUID: uid(30)})
	addPort(t, s, 3, node.Port{NodeUUID: uid(2)})
	for _, tt := range []struct {
		name string
		f    node.PortFilter
		want []int
	}{
		{"none", node.PortFilter{}, []int{1, 2, 3}},
		{"node", node.PortFilter{NodeUUID: uid(1)}, []int{1, 2}},
		{"unknown node", node.PortFilter{NodeUUID: uid(9)}, nil},
		{"address", node.PortFilter{Address: strings.ToUpper(mac(3))}, []int{3}},
		{"portgroup", node.PortFilter{PortgroupUUID: uid(30)}, []int{2}},
		{"description", node.PortFilter{DescriptionContains: "left 10%"}, []int{1}},
		{"shards", node.PortFilter{Shards: []string{"s2", "s9"}}, []int{3}},
		{"group", node.PortFilter{ConductorGroups: []string{"east", "west"}}, []int{3}},
		{"the default group", node.PortFilter{ConductorGroups: []string{""}}, []int{1, 2}},
		{"group and shard", node.PortFilter{ConductorGroups: []string{"east"}, Shards: []string{"s1"}}, nil},
		{"several", node.PortFilter{NodeUUID: uid(1), Address: mac(3)}, nil},
	} {
		ports, err := s.Ports.List(t.Context(), tt.f, node.Page{})
		ok(t, err)
		same(t, tt.name, portNumbers(ports), tt.want)
	}
}

func portNumbers(ports []node.Port) []int {
	var out []int
	for _, p := range ports {
		var n int
		_, _ = fmt.Sscanf(p.UUID[24:], "%d", &n)
		out = append(out, n-100_000)
	}
	return out
}

func testPortPaging(t *testing.T, s Store) {
	add(t, s, 1, nil)
	for i := range 25 {
		addPort(t, s, i, node.Port{NodeUUID: uid(1), Category: fmt.Sprint(i % 2), PXEEnabled: i%2 == 0})
	}
	for _, tt := range []struct {
		key  string
		desc bool
		want []int // the first of them
	}{
		{"", false, []int{0, 1, 2}}, {"", true, []int{24, 23, 22}},
		{"category", false, []int{0, 2, 4}}, {"category", true, []int{23, 21, 19}},
		{"pxe_enabled", false, []int{1, 3, 5}}, {"address", true, []int{24, 23, 22}}, {"updated_at", false, []int{0, 1, 2}},
	} {
		var got []int
		p := node.Page{Limit: 4, SortKey: tt.key, SortDesc: tt.desc}
		for {
			ports, err := s.Ports.List(t.Context(), node.PortFilter{NodeUUID: uid(1)}, p)
			ok(t, err)
			got = append(got, portNumbers(ports)...)
			if len(ports) < p.Limit {
				break
			}
			p.Marker = ports[len(ports)-1].UUID
		}
		same(t, "order by "+tt.key, got[:3], tt.want)
		slices.Sort(got)
		if len(slices.Compact(got)) != 25 {
			t.Errorf("by %q: %d ports of 25", tt.key, len(got))
		}
	}
}

func testEnrolNode(t *testing.T, s Store) {
	n := node.Node{UUID: strings.ToUpper(uid(1)), Name: "found", State: node.Enroll, DriverInfo: node.Document{"ipmi_password": "p"}}
	ports := []node.Port{{Address: "52:54:00:AB:CD:EF"}, {UUID: uid(11), Address: mac(2), PXEEnabled: true}}
	i := node.Inventory{Inventory: node.Document{"a": "b"}, PluginData: node.Document{}}
	ok(t, s.EnrolNode(t.Context(), &n, ports, i))
	got, err := s.NodeByMACs(t.Context(), []string{"52:54:00:ab:cd:ef", mac(2)})
	ok(t, err)
	if got.UUID != uid(1) || got.ID != n.ID || got.Name != "found" || got.DriverInfo["ipmi_password"] != "p" {
		t.Errorf("enrolled %+v", got)
	}
	all, err := s.Ports.List(t.Context(), node.PortFilter{NodeUUID: uid(1)}, node.Page{})
	ok(t, err)
	same(t, "ports", all, readBack(ports))
	stored, err := s.Inventory(t.Context(), uid(1))
	ok(t, err)
	same(t, "inventory", stored, i)

	// Whatever of it is refused, nothing of it stays.
	for _, tt := range []struct {
		n     node.Node
		ports []node.Port
		kind  node.Kind
		want  string
	}{
		{node.Node{UUID: uid(1)}, nil, node.Conflict, "A node with UUID " + uid(1) + " already exists."},
		{node.Node{UUID: "x"}, nil, node.Invalid, "Expected a UUID but received x."},
		{node.Node{UUID: uid(2), Name: "two"}, []node.Port{{Address: mac(3)}, {Address: mac(2)}}, node.Conflict,
			"A port with MAC address " + mac(2) + " already exists."},
		{node.Node{UUID: uid(2), Name: "two"}, []node.Port{{Address: mac(3)}, {Address: mac(3)}}, node.Conflict,
			"A port with MAC address " + mac(3) + " already exists."},
		{node.Node{UUID: uid(2), Name: "two"}, []node.Port{{Address: mac(3)}, {Address: mac(4), UUID: "x"}}, node.Invalid,
			"Expected a UUID but received x."},
	} {
		refused(t, s.EnrolNode(t.Context(), &tt.n, tt.ports, i), tt.kind, tt.want)
		_, err := s.Node(t.Context(), "two")
		refused(t, err, node.NotFound, "Node two could not be found.")
		_, err = s.Ports.Get(t.Context(), mac(3))
		refused(t, err, node.NotFound, "Port "+mac(3)+" could not be found.")
	}
}

// readBack are ports as the store returns them: their empty documents are not nil.
func readBack(ports []node.Port) []node.Port {
	for i := range ports {
		for _, d := range []*node.Document{&ports[i].LocalLinkConnection, &ports[i].Extra, &ports[i].InternalInfo} {
			*d = d.Clone()
		}
	}
	return ports
}

package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
)

func testShards(t *testing.T, s Store) {
	for i, want := range []string{
		"[]", "[{ 1}]", "[{ 1} {west 1}]", "[{west 2} { 1}]", "[{west 2} { 1} {east 1}]", "[{west 3} { 1} {east 1}]",
	} {
		if i > 0 {
			add(t, s, i, func(n *node.Node) {
				n.Shard = []string{"", "west", "west", "east", "west"}[i-1]
				if i == 5 {
					n.ParentNode = uid(1) // children count too
				}
			})
		}
		got, err := s.Shards(t.Context())
		ok(t, err)
		if fmt.Sprint(got) != want {
			t.Errorf("with %d nodes: %v, want %s", i, got, want)
		}
	}
}

func testNodeFilters(t *testing.T, s Store) {
	add(t, s, 0, nil)
	add(t, s, 1, fullFilters)
	add(t, s, 2, func(n *node.Node) { n.ParentNode = uid(1) })
	add(t, s, 3, func(n *node.Node) {
		n.State, n.Owner, n.Lessee, n.Shard, n.Description = node.Available, "bob", "alice", "s2", "50% of_it"
	})
	_, err := s.Reserve(t.Context(), uid(3), "host-b", time.Minute)
	ok(t, err)
	ended, err := s.Reserve(t.Context(), uid(0), "host-c", time.Microsecond)
	ok(t, err)
	waitUntil(ended.Lease.Until)

	for _, tt := range []struct {
		name string
		f    node.NodeFilter
		want []int
	}{
		{"none: no children", node.NodeFilter{}, []int{0, 1, 3}},
		{"children too", node.NodeFilter{IncludeChildren: true}, []int{0, 1, 2, 3}},
		{"children of one", node.NodeFilter{ParentNode: uid(1)}, []int{2}},
		{"children of none", node.NodeFilter{ParentNode: uid(3)}, nil},
		{"instance", node.NodeFilter{InstanceUUID: strings.ToUpper(uid(50))}, []int{1}},
		{"instance name", node.NodeFilter{InstanceName: "web"}, []int{1}},
		{"chassis", node.NodeFilter{ChassisUUID: uid(60)}, []int{1}},
		{"associated", node.NodeFilter{Associated: ptr(true)}, []int{1}},
		{"not associated", node.NodeFilter{Associated: ptr(false)}, []int{0, 3}},
		{"maintenance", node.NodeFilter{Maintenance: ptr(true)}, []int{1}},
		{"no maintenance", node.NodeFilter{Maintenance: ptr(false)}, []int{0, 3}},
		{"retired", node.NodeFilter{Retired: ptr(true)}, []int{1}},
		{"not retired", node.NodeFilter{Retired: ptr(false)}, []int{0, 3}},
		{"sharded", node.NodeFilter{Sharded: ptr(true)}, []int{1, 3}},
		{"not sharded", node.NodeFilter{Sharded: ptr(false)}, []int{0}},
		{"state", node.NodeFilter{State: node.Available}, []int{3}},
		{"driver", node.NodeFilter{Driver: "redfish"}, []int{1}},
		{"resource class", node.NodeFilter{ResourceClass: "large"}, []int{1}},
		{"fault", node.NodeFilter{Fault: ptr(node.PowerFailure)}, []int{1}},
		{"no fault", node.NodeFilter{Fault: ptr(node.NoFault)}, []int{0, 3}},
		{"conductor group", node.NodeFilter{ConductorGroup: ptr("east")}, []int{1}},
		{"no conductor group", node.NodeFilter{ConductorGroup: ptr("")}, []int{0, 3}},
		{"owner", node.NodeFilter{Owner: "alice"}, []int{1}},
		{"lessee", node.NodeFilter{Lessee: "alice"}, []int{3}},
		{"project", node.NodeFilter{Project: "alice"}, []int{1, 3}},
		{"description, any case", node.NodeFilter{DescriptionContains: "FROM the"}, []int{1}},
		{"description with %", node.NodeFilter{DescriptionContains: "0% o"}, []int{3}},
		{"description with _", node.NodeFilter{DescriptionContains: "f_i"}, []int{3}},
		{"% is no wildcard", node.NodeFilter{DescriptionContains: "t%d"}, nil},
		{"shard", node.NodeFilter{Shards: []string{"s2"}}, []int{3}},
		{"shards", node.NodeFilter{Shards: []string{"s1", "s2", "s3"}}, []int{1, 3}},
		{"holder", node.NodeFilter{Holder: "host-b"}, []int{3}},
		{"ended holder", node.NodeFilter{Holder: "host-c"}, nil},
		{"all at once", node.NodeFilter{State: node.Active, Driver: "redfish", Owner: "alice", Maintenance: ptr(true), Shards: []string{"s1"},
			Project: "alice"}, []int{1}},
		{"contradiction", node.NodeFilter{State: node.Enroll, Driver: "redfish"}, nil},
	} {
		for _, hot := range []bool{false, true} {
			got, err := s.Nodes(t.Context(), tt.f, node.Page{Hot: hot})
			ok(t, err)
			same(t, tt.name, uuids(got), uidsOf(tt.want))
		}
	}
}

func fullFilters(n *node.Node) {
	n.State, n.Driver, n.ResourceClass, n.ConductorGroup = node.Active, "redfish", "large", "east"
	n.InstanceUUID, n.InstanceName, n.ChassisUUID, n.Owner, n.Shard = uid(50), "web", uid(60), "alice", "s1"
	n.Maintenance, n.Retired, n.Fault, n.Description = true, true, node.PowerFailure, "Third from the top"
}

func uuids(nodes []*node.Node) []string {
	out := make([]string, len(nodes))
	for i, n := range nodes {
		out[i] = n.UUID
	}
	return out
}

func uidsOf(numbers []int) []string {
	out := make([]string, len(numbers))
	for i, n := range numbers {
		out[i] = uid(n)
	}
	return out
}

// 1,100 nodes with many ties: every page of every order follows on the one before, with nothing
// twice and nothing left out.
func testNodePaging(t *testing.T, s Store) {
	const count = 1100
	all := make([]*node.Node, count)
	for i := range all {
		all[i] = add(t, s, i, func(n *node.Node) {
			n.Driver = []string{"ipmi", "redfish", "Zeus"}[i%3]
			n.Maintenance = i%2 == 0
			n.AutomatedClean = []*bool{nil, ptr(true), ptr(false)}[i%3]
			n.ProvisionUpdatedAt = at(i % 7)
			n.Name = fmt.Sprintf("node-%d", count-i)
		})
	}
	for _, tt := range []struct {
		key  string
		less func(a, b *node.Node) int
	}{
		{"", nil},
		{"id", nil},
		{"name", func(a, b *node.Node) int { return cmp.Compare(a.Name, b.Name) }},
		{"driver", func(a, b *node.Node) int { return cmp.Compare(a.Driver, b.Driver) }},
		{"maintenance", func(a, b *node.Node) int { return cmp.Compare(rank(&a.Maintenance), rank(&b.Maintenance)) }},
		{"automated_clean", func(a, b *node.Node) int { return cmp.Compare(rank(a.AutomatedClean), rank(b.AutomatedClean)) }},
		{"provision_updated_at", func(a, b *node.Node) int { return a.ProvisionUpdatedAt.Compare(b.ProvisionUpdatedAt) }},
		{"created_at", func(a, b *node.Node) int { return a.CreatedAt.Compare(b.CreatedAt) }},
	} {
		want := slices.Clone(all)
		if tt.less != nil {
			slices.SortStableFunc(want, tt.less)
		}
		expect := uuids(want)
		walk(t, s, node.Page{Limit: 97, SortKey: tt.key, Hot: true}, expect)
		slices.Reverse(expect)
		walk(t, s, node.Page{Limit: 300, SortKey: tt.key, SortDesc: true, Hot: true}, expect)
	}
	walk(t, s, node.Page{Limit: 500}, uuids(all))
	whole, err := s.Nodes(t.Context(), node.NodeFilter{}, node.Page{})
	ok(t, err)
	same(t, "without a limit", uuids(whole), uuids(all))
}

func rank(b *bool) int {
	switch {
	case b == nil:
		return 0
	case *b:
		return 2
	}
	return 1
}

// walk follows pages to their end.
func walk(t *testing.T, s Store, p node.Page, want []string) {
	t.Helper()
	var got []string
	for {
		page, err := s.Nodes(t.Context(), node.NodeFilter{}, p)
		ok(t, err)
		got = append(got, uuids(page)...)
		if len(page) < p.Limit || len(got) > len(want) {
			break
		}
		p.Marker = page[len(page)-1].UUID
	}
	if !slices.Equal(got, want) {
		t.Errorf("sort by %q, descending %t: got %d nodes in another order or number, want %d", p.SortKey, p.SortDesc, len(got), len(want))
	}
}

func testNodeSortKeys(t *testing.T, s Store) {
	add(t, s, 1, nil)
	add(t, s, 2, fullFilters)
	for _, key := range []string{
		"id", "uuid", "name", "driver", "provision_state", "target_provision_state", "provision_updated_at", "power_state",
		"target_power_state", "maintenance", "maintenance_reason", "fault", "last_error", "boot_mode", "secure_boot",
		"console_enabled", "instance_uuid", "instance_name", "allocation_uuid", "chassis_uuid", "parent_node", "resource_class",
		"conductor_group", "owner", "lessee", "description", "shard", "protected", "protected_reason", "retired",
		"retired_reason", "automated_clean", "disable_power_off", "inspection_started_at", "inspection_finished_at",
		"created_at", "updated_at", "reservation", "bios_interface", "boot_interface", "console_interface", "deploy_interface",
		"firmware_interface",
		"inspect_interface", "management_interface", "network_interface", "power_interface", "raid_interface", "rescue_interface",
		"storage_interface", "vendor_interface",
	} {
		for _, marker := range []string{uid(1), uid(2)} {
			up, err := s.Nodes(t.Context(), node.NodeFilter{}, node.Page{SortKey: key, Marker: marker})
			ok(t, err)
			down, err := s.Nodes(t.Context(), node.NodeFilter{}, node.Page{SortKey: key, Marker: marker, SortDesc: true})
			ok(t, err)
			if len(up)+len(down) != 1 {
				t.Errorf("%s: after the marker %d nodes going up and %d going down, want one in all", key, len(up), len(down))
			}
		}
	}
}

// Interfaces sort, page by page and both ways: those without one first, ties by age.
func testInterfaceSortKeys(t *testing.T, s Store) {
	for i, name := range []string{"ipxe", "", "http-ipxe", "ipxe", "pxe", ""} {
		add(t, s, i+1, func(n *node.Node) {
			n.Interfaces = map[node.Interface]string{node.Power: "ipmi", node.Boot: name}
			if i == 5 {
				n.Interfaces = nil
			}
		})
	}
	up := []string{uid(2), uid(6), uid(3), uid(1), uid(4), uid(5)}
	for _, desc := range []bool{false, true} {
		for _, limit := range []int{1, 2, 4, 10} {
			var got []string
			page := node.Page{SortKey: "boot_interface", SortDesc: desc, Limit: limit, Hot: limit == 2}
			for len(got) < 10 {
				nodes, err := s.Nodes(t.Context(), node.NodeFilter{}, page)
				ok(t, err)
				if len(nodes) == 0 {
					break
				}
				for _, n := range nodes {
					got = append(got, n.UUID)
				}
				page.Marker = got[len(got)-1]
			}
			want := slices.Clone(up)
			if desc {
				slices.Reverse(want)
			}
			same(t, fmt.Sprintf("descending %t, by %d", desc, limit), got, want)
		}
	}
}

func testBadPages(t *testing.T, s Store) {
	add(t, s, 1, nil)
	for _, key := range []string{"nonsense", "driver_info", "extra", "traits", "power_failures", "lease_token", "id; DROP TABLE nodes"} {
		_, err := s.Nodes(t.Context(), node.NodeFilter{}, node.Page{SortKey: key})
		refused(t, err, node.Invalid, `The sort_key value "`+key+`" is an invalid field for sorting`)
		_, err = s.Ports.List(t.Context(), node.PortFilter{}, node.Page{SortKey: key})
		refused(t, err, node.Invalid, `The sort_key value "`+key+`" is an invalid field for sorting`)
		_, err = s.History(t.Context(), uid(1), node.Page{SortKey: key})
		refused(t, err, node.Invalid, `The sort_key value "`+key+`" is an invalid field for sorting`)
	}
	_, err := s.Nodes(t.Context(), node.NodeFilter{}, node.Page{Marker: uid(9)})
	refused(t, err, node.NotFound, "Node "+uid(9)+" could not be found.")
	_, err = s.Ports.List(t.Context(), node.PortFilter{}, node.Page{Marker: uid(9)})
	refused(t, err, node.NotFound, "Port "+uid(9)+" could not be found.")
	_, err = s.History(t.Context(), uid(1), node.Page{Marker: uid(9)})
	refused(t, err, node.NotFound, "Node history event "+uid(9)+" could not be found.")
}

// A hot list has every field of the full one but what is kept beside the hot row.
func testHotList(t *testing.T, s Store) {
	want := fullNode(1)
	want.ParentNode = ""
	ok(t, s.CreateNode(t.Context(), want))
	want = reserve(t, s, 1)
	got, err := s.Nodes(t.Context(), node.NodeFilter{}, node.Page{Hot: true})
	ok(t, err)
	want.Interfaces, want.Traits, want.Plan, want.ConfigDrive = nil, nil, nil, ""
	for _, d := range []*node.Document{&want.Properties, &want.DriverInfo, &want.InstanceInfo, &want.DriverInternalInfo, &want.Extra,
		&want.NetworkData, &want.RAIDConfig, &want.TargetRAIDConfig} {
		*d = nil
	}
	same(t, "hot list", got, []*node.Node{want})
}

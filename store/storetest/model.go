package storetest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
)

// chosen picks one of the values.
func chosen[T any](r *rand.Rand, values ...T) T { return values[r.IntN(len(values))] }

// randomNode makes the i-th node of a fleet with few different values, so that filters match some and keys tie.
func randomNode(r *rand.Rand, i int) *node.Node {
	n := &node.Node{
		UUID: uid(i), State: chosen(r, node.Enroll, node.Available, node.Active, node.DeployFailed), Driver: chosen(r, "ipmi", "redfish"),
		ResourceClass: chosen(r, "", "small", "large"), ConductorGroup: chosen(r, "", "east"), Owner: chosen(r, "", "alice", "bob"),
		Lessee: chosen(r, "", "alice"), Shard: chosen(r, "", "s1", "s2"),
		Description: chosen(r, "", "Left 100%", "left_side", `back\slash`, "ΛΕΦΤ"),
		Maintenance: chosen(r, true, false), Retired: chosen(r, true, false), Fault: chosen(r, node.NoFault, node.PowerFailure),
		InstanceName: chosen(r, "", "web"), Protected: chosen(r, true, false), AutomatedClean: chosen(r, nil, ptr(true), ptr(false)),
		ProvisionUpdatedAt: at(r.IntN(3)), Power: chosen(r, node.PowerOn, node.PowerOff, node.PowerUnknown),
	}
	if r.IntN(3) == 0 {
		n.InstanceUUID = uid(1000 + i)
	}
	if i > 0 && r.IntN(5) == 0 {
		n.ParentNode = uid(0)
	}
	return n
}

func randomFilter(r *rand.Rand) node.NodeFilter {
	var f node.NodeFilter
	for range r.IntN(4) {
		switch r.IntN(17) {
		case 0:
			f.State = chosen(r, node.Available, node.Active, node.Rescue)
		case 1:
			f.Driver = chosen(r, "ipmi", "redfish", "IPMI")
		case 2:
			f.ResourceClass = chosen(r, "small", "large", "huge")
		case 3:
			f.ConductorGroup = chosen(r, ptr(""), ptr("east"))
		case 4:
			f.Owner = chosen(r, "alice", "bob")
		case 5:
			f.Lessee = "alice"
		case 6:
			f.Project = chosen(r, "alice", "bob")
		case 7:
			f.Shards = chosen(r, []string{"s1"}, []string{"s1", "s2"}, []string{""}, []string{"s3"})
		case 8:
			f.Sharded = chosen(r, ptr(true), ptr(false))
		case 9:
			f.Associated = chosen(r, ptr(true), ptr(false))
		case 10:
			f.Maintenance = chosen(r, ptr(true), ptr(false))
		case 11:
			f.Retired = chosen(r, ptr(true), ptr(false))
		case 12:
			f.Fault = chosen(r, ptr(node.NoFault), ptr(node.PowerFailure))
		case 13:
			f.DescriptionContains = chosen(r, "left", "LEFT", "0%", "t_s", `k\s`, "%", "λεφτ", "ΛΕ")
		case 14:
			f.InstanceName = "web"
		case 15:
			f.IncludeChildren = true
		default:
			f.ParentNode = chosen(r, uid(0), uid(3))
		}
	}
	return f
}

// matches says in plain Go what a filter means.
func matches(f node.NodeFilter, n *node.Node) bool {
	is := func(want, have string) bool { return want == "" || want == have }
	flag := func(want *bool, have bool) bool { return want == nil || *want == have }
	switch {
	case !is(string(f.State), string(n.State)), !is(f.Driver, n.Driver), !is(f.ResourceClass, n.ResourceClass), !is(f.Owner, n.Owner),
		!is(f.Lessee, n.Lessee), !is(f.InstanceName, n.InstanceName), !is(f.InstanceUUID, n.InstanceUUID), !is(f.ParentNode, n.ParentNode):
		return false
	case !flag(f.Maintenance, n.Maintenance), !flag(f.Retired, n.Retired), !flag(f.Associated, n.InstanceUUID != ""),
		!flag(f.Sharded, n.Shard != ""):
		return false
	case f.ConductorGroup != nil && *f.ConductorGroup != n.ConductorGroup, f.Fault != nil && *f.Fault != n.Fault:
		return false
	case f.Project != "" && f.Project != n.Owner && f.Project != n.Lessee, len(f.Shards) > 0 && !slices.Contains(f.Shards, n.Shard):
		return false
	case !strings.Contains(lowerASCII(n.Description), lowerASCII(f.DescriptionContains)):
		return false
	}
	return f.IncludeChildren || f.ParentNode != "" || n.ParentNode == ""
}

// lowerASCII is how both databases ignore case: of A to Z only.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r - 'A' + 'a'
		}
		return r
	}, s)
}

// modelKeys are sort keys and what they compare.
var modelKeys = map[string]func(a, b *node.Node) int{
	"":                     func(a, b *node.Node) int { return 0 },
	"uuid":                 func(a, b *node.Node) int { return cmp.Compare(a.UUID, b.UUID) },
	"resource_class":       func(a, b *node.Node) int { return cmp.Compare(a.ResourceClass, b.ResourceClass) },
	"description":          func(a, b *node.Node) int { return cmp.Compare(a.Description, b.Description) },
	"provision_state":      func(a, b *node.Node) int { return cmp.Compare(a.State, b.State) },
	"power_state":          func(a, b *node.Node) int { return cmp.Compare(a.Power, b.Power) },
	"maintenance":          func(a, b *node.Node) int { return cmp.Compare(rank(&a.Maintenance), rank(&b.Maintenance)) },
	"automated_clean":      func(a, b *node.Node) int { return cmp.Compare(rank(a.AutomatedClean), rank(b.AutomatedClean)) },
	"provision_updated_at": func(a, b *node.Node) int { return a.ProvisionUpdatedAt.Compare(b.ProvisionUpdatedAt) },
}

// A fleet of random nodes is listed by random filters, in random orders and pages: each list is what plain Go over all nodes
// says it should be. The seed is fixed, so a failure can be run again.
func testListsAgainstAModel(t *testing.T, s Store) {
	r := rand.New(rand.NewPCG(20261103, 7))
	var fleet []*node.Node
	for i := range 60 {
		n := randomNode(r, i)
		ok(t, s.CreateNode(t.Context(), n))
		fleet = append(fleet, n)
	}
	keys := []string{}
	for key := range modelKeys {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	lists, found := 400, 0
	for range lists {
		f := randomFilter(r)
		p := node.Page{SortKey: chosen(r, keys...), SortDesc: chosen(r, true, false), Limit: chosen(r, 0, 1, 2, 7, 100),
			Hot: chosen(r, true, false)}
		var want []*node.Node
		for _, n := range fleet {
			if matches(f, n) {
				want = append(want, n)
			}
		}
		slices.SortStableFunc(want, modelKeys[p.SortKey])
		if p.SortDesc {
			slices.Reverse(want)
		}
		found += len(want)
		var got []*node.Node
		for pages := 0; ; pages++ {
			page, err := s.Nodes(t.Context(), f, p)
			ok(t, err)
			got = append(got, page...)
			if p.Limit == 0 || len(page) < p.Limit || pages > len(fleet) {
				break
			}
			p.Marker = page[len(page)-1].UUID
		}
		if !slices.Equal(uuids(got), uuids(want)) {
			t.Errorf("%s by %q, descending %v, %d a page:\n got %v\nwant %v", describe(f), p.SortKey, p.SortDesc, p.Limit, uuids(got), uuids(want))
		}
	}
	if found < lists {
		t.Errorf("%d lists found %d nodes: the filters are too narrow to tell anything", lists, found)
	}
}

// describe shows a filter with what its pointers point to.
func describe(f node.NodeFilter) string {
	text := fmt.Sprintf("%+v", f)
	for name, b := range map[string]*bool{"Associated": f.Associated, "Maintenance": f.Maintenance, "Retired": f.Retired,
		"Sharded": f.Sharded} {
		if b != nil {
			text += fmt.Sprintf(" %s=%v", name, *b)
		}
	}
	if f.ConductorGroup != nil {
		text += fmt.Sprintf(" ConductorGroup=%q", *f.ConductorGroup)
	}
	if f.Fault != nil {
		text += fmt.Sprintf(" Fault=%q", *f.Fault)
	}
	return text
}

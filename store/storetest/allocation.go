package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
)

// addAllocation creates the allocation i.
func addAllocation(t *testing.T, s Store, i int, a node.Allocation) node.Allocation {
	t.Helper()
	a.UUID = uid(400_000 + i)
	ok(t, s.Allocations.Create(t.Context(), &a))
	return a
}

// grant gives node n to an allocation, as a conductor does.
func grant(t *testing.T, s Store, n int, uuid string) {
	t.Helper()
	x := reserve(t, s, n)
	x.InstanceUUID, x.AllocationUUID = uuid, uuid
	ok(t, s.Release(t.Context(), x))
}

func testAllocation(t *testing.T, s Store) {
	add(t, s, 1, nil)
	before := node.Now()
	want := node.Allocation{
		UUID: strings.ToUpper(uid(10)), Name: "web", State: node.Allocating, ResourceClass: "baremetal", Traits: []string{"CUSTOM_A", "CUSTOM_B"},
		CandidateNodes: []string{uid(1), uid(2)}, Owner: "ada", Extra: node.Document{"n": 1.0},
	}
	ok(t, s.Allocations.Create(t.Context(), &want))
	if want.ID == 0 || want.CreatedAt.Before(before) || want.UUID != uid(10) {
		t.Errorf("filled as %+v", want)
	}
	for _, ident := range []string{uid(10), strings.ToUpper(uid(10)), "web"} {
		got, err := s.Allocations.Get(t.Context(), ident)
		ok(t, err)
		same(t, ident, got, want)
	}

	// Its node is the one that says so, in both of its columns.
	half := reserve(t, s, 1)
	half.InstanceUUID = uid(10)
	ok(t, s.Release(t.Context(), half))
	got, err := s.Allocations.Get(t.Context(), uid(10))
	ok(t, err)
	same(t, "an instance that is no allocation's", []string{got.NodeUUID, got.State}, []string{"", node.Allocating})
	grant(t, s, 1, uid(10))
	got, err = s.Allocations.Get(t.Context(), uid(10))
	ok(t, err)
	same(t, "with a node", []string{got.NodeUUID, got.State, got.LastError}, []string{uid(1), node.Allocated, ""})
	there, err := s.Allocations.End(t.Context(), strings.ToUpper(uid(10)), node.Allocated, "")
	if err != nil || !there {
		t.Errorf("ended: %v, %v", there, err)
	}
	free := reserve(t, s, 1)
	free.InstanceUUID, free.AllocationUUID = "", ""
	ok(t, s.Release(t.Context(), free))
	got, err = s.Allocations.Get(t.Context(), uid(10))
	ok(t, err)
	if got.NodeUUID != "" || got.State != node.AllocationError || !strings.Contains(got.LastError, "was taken from it") {
		t.Errorf("after its node was taken: %+v", got)
	}
	_, err = s.Allocations.End(t.Context(), uid(10), node.AllocationError, "none fits")
	ok(t, err)
	got, err = s.Allocations.Get(t.Context(), uid(10))
	ok(t, err)
	same(t, "failed", []string{got.State, got.LastError}, []string{node.AllocationError, "none fits"})

	got.Name, got.Extra, got.ResourceClass, got.State = "", node.Document{}, "other", node.Allocating
	ok(t, s.Allocations.Save(t.Context(), &got))
	saved, err := s.Allocations.Get(t.Context(), uid(10))
	ok(t, err)
	if saved.Name != "" || len(saved.Extra) > 0 || saved.ResourceClass != "baremetal" || saved.State != node.AllocationError ||
		!saved.UpdatedAt.After(want.UpdatedAt) {
		t.Errorf("saved as %+v: only name and extra may change", saved)
	}

	ok(t, s.Allocations.Delete(t.Context(), strings.ToUpper(uid(10))))
	missing := "Allocation " + uid(10) + " could not be found."
	refused(t, s.Allocations.Delete(t.Context(), uid(10)), node.NotFound, missing)
	refused(t, s.Allocations.Save(t.Context(), &got), node.NotFound, missing)
	if there, err := s.Allocations.End(t.Context(), uid(10), node.Allocated, ""); err != nil || there {
		t.Errorf("a deleted one ended: %v, %v", there, err)
	}
}

func testAllocationRefusals(t *testing.T, s Store) {
	addAllocation(t, s, 1, node.Allocation{Name: "web"})
	second := addAllocation(t, s, 2, node.Allocation{})
	addAllocation(t, s, 3, node.Allocation{}) // no name is no duplicate
	for _, tt := range []struct {
		a    node.Allocation
		kind node.Kind
		want string
	}{
		{node.Allocation{Name: "web"}, node.Conflict, "An allocation with name web already exists."},
		{node.Allocation{UUID: second.UUID}, node.Conflict, "An allocation with UUID " + second.UUID + " already exists."},
		{node.Allocation{UUID: "x"}, node.Invalid, "Expected a UUID but received x."},
	} {
		refused(t, s.Allocations.Create(t.Context(), &tt.a), tt.kind, tt.want)
	}
	second.Name = "web"
	refused(t, s.Allocations.Save(t.Context(), &second), node.Conflict, "An allocation with name web already exists.")
	for _, ident := range []string{"", "db", uid(9)} {
		_, err := s.Allocations.Get(t.Context(), ident)
		refused(t, err, node.NotFound, "Allocation "+ident+" could not be found.")
	}
	_, err := s.Allocations.List(t.Context(), node.AllocationFilter{}, node.Page{SortKey: "traits"})
	refused(t, err, node.Invalid, `The sort_key value "traits" is an invalid field for sorting`)
	// No allocation can have two nodes.
	add(t, s, 1, func(n *node.Node) { n.InstanceUUID, n.AllocationUUID = second.UUID, second.UUID })
	other := &node.Node{UUID: uid(2), Driver: "ipmi", InstanceUUID: second.UUID, AllocationUUID: second.UUID}
	refused(t, s.CreateNode(t.Context(), other), node.Conflict,
		"Instance "+second.UUID+" is already associated with a node, it cannot be associated with this other node "+uid(2)+".")
}

func testAllocationLists(t *testing.T, s Store) {
	for i := range 3 {
		add(t, s, i, nil)
	}
	for i := range 8 {
		addAllocation(t, s, i, node.Allocation{Name: fmt.Sprintf("a%d", 8-i), State: node.Allocating, ResourceClass: fmt.Sprint("class-", i%2),
			Owner: fmt.Sprint(i % 3)})
	}
	grant(t, s, 1, uid(400_002))
	grant(t, s, 2, uid(400_005))
	for _, i := range []int{3, 7} {
		_, err := s.Allocations.End(t.Context(), uid(400_000+i), node.AllocationError, "none fits")
		ok(t, err)
	}
	_, err := s.Allocations.End(t.Context(), uid(400_006), node.Allocated, "") // which has no node
	ok(t, err)
	list := func(f node.AllocationFilter, p node.Page) (out []int) {
		for {
			page, err := s.Allocations.List(t.Context(), f, p)
			ok(t, err)
			for _, a := range page {
				var i int
				_, _ = fmt.Sscanf(a.UUID[24:], "%d", &i)
				out = append(out, i-400_000)
			}
			if p.Limit == 0 || len(page) < p.Limit {
				return out
			}
			p.Marker = page[len(page)-1].UUID
		}
	}
	for _, tt := range []struct {
		name string
		f    node.AllocationFilter
		want []int
	}{
		{"all", node.AllocationFilter{}, []int{0, 1, 2, 3, 4, 5, 6, 7}},
		{"class", node.AllocationFilter{ResourceClass: "class-1"}, []int{1, 3, 5, 7}},
		{"owner", node.AllocationFilter{Owner: "2"}, []int{2, 5}},
		{"node", node.AllocationFilter{NodeUUID: strings.ToUpper(uid(2))}, []int{5}},
		{"a node without one", node.AllocationFilter{NodeUUID: uid(0)}, nil},
		{"allocating", node.AllocationFilter{State: node.Allocating}, []int{0, 1, 4}},
		{"active", node.AllocationFilter{State: node.Allocated}, []int{2, 5}},
		{"error", node.AllocationFilter{State: node.AllocationError}, []int{3, 6, 7}},
		{"no state at all", node.AllocationFilter{State: "asleep"}, nil},
		{"old ones", node.AllocationFilter{Before: node.Now().Add(-time.Hour)}, nil},
		{"all are older than in an hour", node.AllocationFilter{State: node.Allocating, Before: node.Now().Add(time.Hour)}, []int{0, 1, 4}},
	} {
		same(t, tt.name, list(tt.f, node.Page{}), tt.want)
		same(t, tt.name+" by twos", list(tt.f, node.Page{Limit: 2}), tt.want)
		byName := list(tt.f, node.Page{Limit: 2, SortKey: "name"})
		slices.Reverse(byName)
		same(t, tt.name+" by name", byName, tt.want)
	}
}

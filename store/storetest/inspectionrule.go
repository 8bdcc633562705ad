package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
)

// addRule creates an inspection rule of priority i.
func addRule(t *testing.T, s Store, i int) node.InspectionRule {
	t.Helper()
	r := node.InspectionRule{
		UUID: uid(300_000 + i), Description: fmt.Sprintf("rule %02d", i), Priority: i, Phase: node.MainPhase, Sensitive: i%2 == 1,
		Actions: []node.RuleOperation{{Op: "log", Args: map[string]any{"msg": "x"}}},
	}
	if i%3 == 0 {
		r.Phase = "third"
	}
	ok(t, s.InspectionRules.Create(t.Context(), &r))
	return r
}

func testInspectionRule(t *testing.T, s Store) {
	before := node.Now()
	want := node.InspectionRule{
		UUID: strings.ToUpper(uid(1)), Description: "BMC's password", Priority: 9999, Phase: node.MainPhase, Sensitive: true,
		Conditions: []node.RuleOperation{{Op: "!eq", Args: []any{"{item}", 7.0, nil}, Loop: []any{"a", 1.5}, Multiple: "all"}},
		Actions: []node.RuleOperation{
			{Op: "set-attribute", Args: map[string]any{"path": "driver_info/ipmi_password", "value": map[string]any{"deep": []any{"hush"}}}},
			{Op: "log", Args: []any{"x"}, Loop: map[string]any{"k": "v"}},
		},
	}
	ok(t, s.InspectionRules.Create(t.Context(), &want))
	if want.ID == 0 || want.CreatedAt.Before(before) || !want.UpdatedAt.Equal(want.CreatedAt) || want.UUID != uid(1) {
		t.Errorf("filled as %+v", want)
	}
	for _, uuid := range []string{uid(1), strings.ToUpper(uid(1))} {
		got, err := s.InspectionRules.Get(t.Context(), uuid)
		ok(t, err)
		same(t, uuid, got, want)
	}

	changed := want
	changed.Description, changed.Priority, changed.Phase, changed.Sensitive, changed.Conditions = "", 0, "late", false, nil
	changed.Actions = []node.RuleOperation{{Op: "fail", Args: []any{"no"}}}
	ok(t, s.InspectionRules.Save(t.Context(), &changed))
	if !changed.UpdatedAt.After(want.UpdatedAt) {
		t.Errorf("updated %s, was %s", changed.UpdatedAt, want.UpdatedAt)
	}
	got, err := s.InspectionRules.Get(t.Context(), uid(1))
	ok(t, err)
	same(t, "saved", got, changed)

	gone := "Rule " + uid(1) + " could not be found."
	ok(t, s.InspectionRules.Delete(t.Context(), strings.ToUpper(uid(1))))
	refused(t, s.InspectionRules.Delete(t.Context(), uid(1)), node.NotFound, gone)
	refused(t, s.InspectionRules.Save(t.Context(), &changed), node.NotFound, gone)
	_, err = s.InspectionRules.Get(t.Context(), uid(1))
	refused(t, err, node.NotFound, gone)

	fresh := node.InspectionRule{Phase: node.MainPhase}
	ok(t, s.InspectionRules.Create(t.Context(), &fresh))
	if got, err := s.InspectionRules.Get(t.Context(), fresh.UUID); err != nil || got.ID <= want.ID || got.Conditions != nil {
		t.Errorf("with a UUID of the store's: %+v, %v", got, err)
	}
}

func testInspectionRuleRefusals(t *testing.T, s Store) {
	first := addRule(t, s, 1)
	for _, tt := range []struct {
		uuid string
		kind node.Kind
		want string
	}{
		{strings.ToUpper(first.UUID), node.Conflict, "A rule with UUID " + first.UUID + " already exists."},
		{"dell-bmc", node.Invalid, "Expected a UUID but received dell-bmc."},
	} {
		refused(t, s.InspectionRules.Create(t.Context(), &node.InspectionRule{UUID: tt.uuid}), tt.kind, tt.want)
	}
	for _, uuid := range []string{"", "rule 01", uid(9)} {
		_, err := s.InspectionRules.Get(t.Context(), uuid)
		refused(t, err, node.NotFound, "Rule "+uuid+" could not be found.")
	}
	for _, tt := range []struct {
		page node.Page
		kind node.Kind
		want string
	}{
		{node.Page{SortKey: "actions"}, node.Invalid, `The sort_key value "actions" is an invalid field for sorting`},
		{node.Page{Marker: uid(9)}, node.NotFound, "Rule " + uid(9) + " could not be found."},
	} {
		_, err := s.InspectionRules.List(t.Context(), node.InspectionRuleFilter{}, tt.page)
		refused(t, err, tt.kind, tt.want)
	}
}

func testInspectionRuleLists(t *testing.T, s Store) {
	for i := range 11 {
		addRule(t, s, 10-i) // priorities fall while ids grow
	}
	for _, tt := range []struct {
		key   string
		desc  bool
		first []int
	}{
		{"", false, []int{10, 9, 8}}, {"id", true, []int{0, 1, 2}}, {"priority", false, []int{0, 1, 2}}, {"priority", true, []int{10, 9, 8}},
		{"description", false, []int{0, 1, 2}}, {"uuid", true, []int{10, 9, 8}}, {"phase", false, []int{10, 8, 7}},
		{"phase", true, []int{0, 3, 6}},
		{"sensitive", false, []int{10, 8, 6}}, {"sensitive", true, []int{1, 3, 5}}, {"created_at", false, []int{10, 9, 8}},
		{"updated_at", true, []int{0, 1, 2}},
	} {
		var got []int
		p := node.Page{Limit: 4, SortKey: tt.key, SortDesc: tt.desc}
		for {
			page, err := s.InspectionRules.List(t.Context(), node.InspectionRuleFilter{}, p)
			ok(t, err)
			for _, r := range page {
				got = append(got, r.Priority)
			}
			if len(page) < p.Limit {
				break
			}
			p.Marker = page[len(page)-1].UUID
		}
		same(t, "order by "+tt.key, got[:3], tt.first)
		slices.Sort(got)
		same(t, "all by "+tt.key, got, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10})
	}
	for phase, want := range map[string][]int{"third": {9, 6, 3, 0}, node.MainPhase: {10, 8, 7, 5, 4, 2, 1}, "none": nil} {
		rules, err := s.InspectionRules.List(t.Context(), node.InspectionRuleFilter{Phase: phase}, node.Page{})
		ok(t, err)
		var got []int
		for _, r := range rules {
			got = append(got, r.Priority)
		}
		same(t, phase, got, want)
	}
	ok(t, s.InspectionRules.DeleteAll(t.Context()))
	ok(t, s.InspectionRules.DeleteAll(t.Context())) // of none
	rules, err := s.InspectionRules.List(t.Context(), node.InspectionRuleFilter{}, node.Page{})
	ok(t, err)
	same(t, "after deleting all", len(rules), 0)
}

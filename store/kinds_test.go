package store_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/store"
)

// documents are the columns of records that hold a document or a sealed value, by table; the tests below damage each of them.
var documents = map[string][]string{
	"node_documents": {"interfaces", "traits", "properties", "driver_internal_info", "extra", "raid_config", "target_raid_config",
		"driver_info", "instance_info", "network_data", "plan"},
	"ports":             {"local_link_connection", "extra", "internal_info"},
	"portgroups":        {"properties", "extra", "internal_info"},
	"volume_connectors": {"extra"},
	"volume_targets":    {"extra", "properties"},
	"chassis":           {"extra"},
	"allocations":       {"traits", "candidate_nodes", "extra"},
	"deploy_templates":  {"extra", "steps"},
	"inspection_rules":  {"conditions", "actions"},
}

// The list above has every column that may be without a value or holds bytes, so that a new one is damaged too.
func TestDocumentsAreAllOfThem(t *testing.T) {
	cfg := twoNodes(t)
	for table, columns := range documents {
		got := rawSQLiteValue(t, cfg.DataDir, `SELECT CAST(group_concat(name) AS TEXT) FROM pragma_table_info('`+table+
			`') WHERE "notnull" = 0 AND pk = 0`)
		all := strings.Split(string(got), ",")
		slices.Sort(all)
		if want := slices.Sorted(slices.Values(columns)); !slices.Equal(all, want) {
			t.Errorf("%s: the table has %q, the test %q", table, all, want)
		}
	}
}

// One damaged value takes neither its record nor a list with it, whatever the kind; what is hurt stays as it is when another field
// is saved.
func TestAHurtValueOfEveryKind(t *testing.T) {
	lists := map[string]func(s *store.Store) (map[string]node.Unreadable, error){
		"node_documents": func(s *store.Store) (map[string]node.Unreadable, error) {
			all, err := s.Nodes(t.Context(), node.NodeFilter{}, node.Page{})
			return hurtOf(all, func(n *node.Node) (string, node.Unreadable) { return n.UUID, n.Unreadable }), err
		},
		"ports": func(s *store.Store) (map[string]node.Unreadable, error) {
			all, err := s.Ports.List(t.Context(), node.PortFilter{}, node.Page{})
			return hurtOf(all, func(p node.Port) (string, node.Unreadable) { return p.UUID, p.Unreadable }), err
		},
		"portgroups": func(s *store.Store) (map[string]node.Unreadable, error) {
			all, err := s.Portgroups.List(t.Context(), node.PortgroupFilter{}, node.Page{})
			return hurtOf(all, func(g node.Portgroup) (string, node.Unreadable) { return g.UUID, g.Unreadable }), err
		},
		"volume_connectors": func(s *store.Store) (map[string]node.Unreadable, error) {
			all, err := s.VolumeConnectors.List(t.Context(), node.OfNode{}, node.Page{})
			return hurtOf(all, func(v node.VolumeConnector) (string, node.Unreadable) { return v.UUID, v.Unreadable }), err
		},
		"volume_targets": func(s *store.Store) (map[string]node.Unreadable, error) {
			all, err := s.VolumeTargets.List(t.Context(), node.OfNode{}, node.Page{})
			return hurtOf(all, func(v node.VolumeTarget) (string, node.Unreadable) { return v.UUID, v.Unreadable }), err
		},
		"chassis": func(s *store.Store) (map[string]node.Unreadable, error) {
			all, err := s.Chassis.List(t.Context(), node.All{}, node.Page{})
			return hurtOf(all, func(c node.Chassis) (string, node.Unreadable) { return c.UUID, c.Unreadable }), err
		},
		"allocations": func(s *store.Store) (map[string]node.Unreadable, error) {
			all, err := s.Allocations.List(t.Context(), node.AllocationFilter{}, node.Page{})
			return hurtOf(all, func(a node.Allocation) (string, node.Unreadable) { return a.UUID, a.Unreadable }), err
		},
		"deploy_templates": func(s *store.Store) (map[string]node.Unreadable, error) {
			all, err := s.DeployTemplates.List(t.Context(), node.DeployTemplateFilter{}, node.Page{})
			return hurtOf(all, func(d node.DeployTemplate) (string, node.Unreadable) { return d.UUID, d.Unreadable }), err
		},
		"inspection_rules": func(s *store.Store) (map[string]node.Unreadable, error) {
			all, err := s.InspectionRules.List(t.Context(), node.InspectionRuleFilter{}, node.Page{})
			return hurtOf(all, func(r node.InspectionRule) (string, node.Unreadable) { return r.UUID, r.Unreadable }), err
		},
	}
	cfg := twoNodes(t)
	s := open(t, cfg)
	var failed error
	add := func(err error) {
		if failed == nil {
			failed = err
		}
	}
	for i := range 2 {
		some := node.Document{"a": "b"}
		add(s.Ports.Create(t.Context(), &node.Port{NodeUUID: hurtNode, Address: fmt.Sprintf("52:54:00:00:00:%02x", i), Extra: some}))
		add(s.Portgroups.Create(t.Context(), &node.Portgroup{NodeUUID: hurtNode, Extra: some}))
		add(s.VolumeConnectors.Create(t.Context(), &node.VolumeConnector{NodeUUID: hurtNode, Type: "iqn", ConnectorID: fmt.Sprint(i),
			Extra: some}))
		add(s.VolumeTargets.Create(t.Context(), &node.VolumeTarget{NodeUUID: hurtNode, BootIndex: i, Properties: some}))
		add(s.Chassis.Create(t.Context(), &node.Chassis{Extra: some}))
		add(s.Allocations.Create(t.Context(), &node.Allocation{ResourceClass: "x", State: node.Allocating, Traits: []string{"CUSTOM_A"}}))
		add(s.DeployTemplates.Create(t.Context(), &node.DeployTemplate{Name: fmt.Sprintf("CUSTOM_%d", i),
			Steps: []node.PlannedStep{{Step: "s"}}}))
		add(s.InspectionRules.Create(t.Context(), &node.InspectionRule{Phase: node.MainPhase, Actions: []node.RuleOperation{{Op: "fail"}}}))
	}
	shut(t, s)
	if failed != nil {
		t.Fatal(failed)
	}
	for table, columns := range documents {
		key := "id"
		if table == "node_documents" {
			key = "node_id"
		}
		rawSQLite(t, cfg.DataDir, "UPDATE "+table+" SET "+strings.Join(columns, " = X'7B22', ")+" = X'7B22' WHERE "+key+" = 1")
	}
	s = openClosed(t, cfg)
	for table, columns := range documents {
		hurt, err := lists[table](s)
		if err != nil || len(hurt) != 2 {
			t.Errorf("%s: %d listed, %v", table, len(hurt), err)
			continue
		}
		var got []string
		for _, u := range hurt {
			got = append(got, slices.Sorted(maps.Keys(u))...)
		}
		if want := slices.Sorted(slices.Values(columns)); !slices.Equal(got, want) {
			t.Errorf("%s: unreadable are %q, want %q", table, got, want)
		}
	}
	a, err := s.Allocations.List(t.Context(), node.AllocationFilter{}, node.Page{})
	if err != nil || len(a) != 2 || a[0].Damage() == nil || a[1].Damage() != nil {
		t.Fatalf("%+v, %v", a, err)
	}
	a[0].Name = "renamed"
	if err := s.Allocations.Save(t.Context(), &a[0]); err != nil || len(a[0].Unreadable) != 3 {
		t.Errorf("saved: %v, %v", a[0].Unreadable, err)
	}
	if raw := rawSQLiteValue(t, cfg.DataDir, `SELECT extra FROM allocations WHERE name = 'renamed'`); string(raw) != `{"` {
		t.Errorf("what could not be read is now %q", raw)
	}
	faults, err := store.Check(t.Context(), cfg)
	if all := len(slices.Concat(slices.Collect(maps.Values(documents))...)); err != nil || len(faults) != all {
		t.Errorf("the check tells of %d values of %d, %v", len(faults), all, err)
	}
}

func hurtOf[T any](all []T, of func(T) (string, node.Unreadable)) map[string]node.Unreadable {
	hurt := map[string]node.Unreadable{}
	for _, x := range all {
		uuid, u := of(x)
		hurt[uuid] = u
	}
	return hurt
}

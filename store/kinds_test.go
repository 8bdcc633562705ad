package store_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

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

// kinds are the tables of s by the names of their fields, found by reflection: a kind that is added is tested, or fails the test.
func kinds(s *store.Store) map[string]reflect.Value {
	found := map[string]reflect.Value{}
	v := reflect.ValueOf(s.Tables)
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() && v.Field(i).MethodByName("DeleteAll").IsValid() {
			found[f.Name] = v.Field(i)
		}
	}
	if len(found) != len(tables) {
		panic(fmt.Sprintf("store.Tables has %d kinds, the tests know %d", len(found), len(tables)))
	}
	return found
}

// listed returns what cannot be read of each record of a kind, by the records' UUIDs.
func listed(t *testing.T, table reflect.Value) map[string]node.Unreadable {
	t.Helper()
	list := table.MethodByName("List")
	out := list.Call([]reflect.Value{reflect.ValueOf(t.Context()), reflect.Zero(list.Type().In(1)), reflect.ValueOf(node.Page{})})
	if err, _ := out[1].Interface().(error); err != nil {
		t.Error(err)
	}
	hurt := map[string]node.Unreadable{}
	for i := range out[0].Len() {
		x := out[0].Index(i)
		hurt[x.FieldByName("UUID").String()] = x.FieldByName("Unreadable").Interface().(node.Unreadable)
	}
	return hurt
}

// samples are the i-th record of each kind.
func samples(i int) map[string]any {
	some := node.Document{"a": "b"}
	return map[string]any{
		"Ports":            &node.Port{NodeUUID: hurtNode, Address: fmt.Sprintf("52:54:00:00:00:%02x", i), Extra: some},
		"Portgroups":       &node.Portgroup{NodeUUID: hurtNode, Extra: some},
		"VolumeConnectors": &node.VolumeConnector{NodeUUID: hurtNode, Type: "iqn", ConnectorID: fmt.Sprint(i), Extra: some},
		"VolumeTargets":    &node.VolumeTarget{NodeUUID: hurtNode, BootIndex: i, Properties: some},
		"Chassis":          &node.Chassis{Extra: some},
		"Allocations":      &node.Allocation{ResourceClass: "x", State: node.Allocating, Traits: []string{"CUSTOM_A"}},
		"DeployTemplates":  &node.DeployTemplate{Name: fmt.Sprintf("CUSTOM_%d", i), Steps: []node.PlannedStep{{Step: "s"}}},
		"InspectionRules":  &node.InspectionRule{Phase: node.MainPhase, Actions: []node.RuleOperation{{Op: "fail"}}},
	}
}

// tables are the kinds' own, by the names of Store's fields.
var tables = map[string]string{
	"Ports": "ports", "Portgroups": "portgroups", "VolumeConnectors": "volume_connectors", "VolumeTargets": "volume_targets",
	"Chassis": "chassis", "Allocations": "allocations", "DeployTemplates": "deploy_templates", "InspectionRules": "inspection_rules",
}

// One damaged value takes neither its record nor a list with it, whatever the kind.
func TestAHurtValueOfEveryKind(t *testing.T) {
	cfg := hurtKinds(t)
	s := openClosed(t, cfg)
	for name, table := range kinds(s) {
		wantHurt(t, name, listed(t, table), documents[tables[name]])
	}
	all, err := s.Nodes(t.Context(), node.NodeFilter{}, node.Page{})
	if err != nil {
		t.Fatal(err)
	}
	hurt := map[string]node.Unreadable{}
	for _, n := range all {
		hurt[n.UUID] = n.Unreadable
	}
	wantHurt(t, "Nodes", hurt, documents["node_documents"])
	faults, err := store.Check(t.Context(), cfg)
	if all := len(slices.Concat(slices.Collect(maps.Values(documents))...)); err != nil || len(faults) != all {
		t.Errorf("the check tells of %d values of %d, %v", len(faults), all, err)
	}
}

// Each field of a record's type is kept: one that no column is declared for fails.
func TestEveryFieldOfEveryKindIsKept(t *testing.T) {
	s := openClosed(t, twoNodes(t))
	for name, table := range kinds(s) {
		x := reflect.ValueOf(samples(0)[name])
		if !x.IsValid() {
			t.Errorf("%s: no sample", name)
			continue
		}
		setAll(x.Elem(), name)
		do := func(method string, arg any) reflect.Value {
			out := table.MethodByName(method).Call([]reflect.Value{reflect.ValueOf(t.Context()), reflect.ValueOf(arg)})
			if err, _ := out[len(out)-1].Interface().(error); err != nil {
				t.Errorf("%s: %s: %v", name, method, err)
			}
			return out[0]
		}
		do("Create", x.Interface())
		uuid := x.Elem().FieldByName("UUID").String()
		if d := cmp.Diff(x.Elem().Interface(), do("Get", uuid).Interface(), cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%s: (-created +read)\n%s", name, d)
		}
		do("Save", x.Interface())
		if d := cmp.Diff(x.Elem().Interface(), do("Get", uuid).Interface(), cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%s: (-saved +read)\n%s", name, d)
		}
		do("Delete", uuid)
		if left := listed(t, table); len(left) != 0 {
			t.Errorf("%s: left after Delete are %v", name, left)
		}
	}
}

// setAll gives the fields of a record that are not set a value. What is filled by the store stays.
func setAll(x reflect.Value, kind string) {
	for i := range x.NumField() {
		f := x.Field(i)
		switch name := x.Type().Field(i).Name; {
		case !f.IsZero(), name == "ID", name == "UUID", name == "NodeUUID", name == "Unreadable":
		case name == "Address":
			f.SetString("52:54:00:00:00:01")
		case f.Type() == reflect.TypeFor[node.Document]():
			f.Set(reflect.ValueOf(node.Document{"key": kind}))
		case f.Type() == reflect.TypeFor[[]string](), f.Type() == reflect.TypeFor[[]node.RuleOperation]():
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
		case f.Kind() == reflect.String:
			f.SetString(kind + " " + name)
		case f.Kind() == reflect.Bool:
			f.SetBool(true)
		case f.Kind() == reflect.Int:
			f.SetInt(7)
		}
	}
}

// What is hurt stays as it is when another field is saved.
func TestAHurtValueIsLeftAlone(t *testing.T) {
	cfg := hurtKinds(t)
	s := openClosed(t, cfg)
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
}

// hurtKinds is a database with two records of each kind, of which the first is damaged in every document.
func hurtKinds(t *testing.T) store.Config {
	t.Helper()
	cfg := twoNodes(t)
	s := open(t, cfg)
	for name, table := range kinds(s) {
		for i := range 2 {
			x := samples(i)[name]
			if x == nil || documents[tables[name]] == nil {
				t.Fatalf("store.Store has the kind %s, which no test damages: add it to samples, tables and documents", name)
			}
			out := table.MethodByName("Create").Call([]reflect.Value{reflect.ValueOf(t.Context()), reflect.ValueOf(x)})
			if err, _ := out[0].Interface().(error); err != nil {
				t.Fatal(err)
			}
		}
	}
	shut(t, s)
	for table, columns := range documents {
		key := "id"
		if table == "node_documents" {
			key = "node_id"
		}
		rawSQLite(t, cfg.DataDir, "UPDATE "+table+" SET "+strings.Join(columns, " = X'7B22', ")+" = X'7B22' WHERE "+key+" = 1")
	}
	return cfg
}

// wantHurt checks that one of two records is unreadable in the columns.
func wantHurt(t *testing.T, kind string, hurt map[string]node.Unreadable, columns []string) {
	t.Helper()
	var got []string
	for _, u := range hurt {
		got = append(got, slices.Sorted(maps.Keys(u))...)
	}
	if want := slices.Sorted(slices.Values(columns)); len(hurt) != 2 || !slices.Equal(got, want) {
		t.Errorf("%s: %d listed, unreadable are %q, want %q", kind, len(hurt), got, want)
	}
}

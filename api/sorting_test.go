package api

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/node"
)

// names gives the field key of every item of a list's body.
func names(t *testing.T, body, list, key string) string {
	t.Helper()
	var out []string
	for _, item := range field(t, body, list).([]any) {
		out = append(out, fmt.Sprint(item.(map[string]any)[key]))
	}
	return strings.Join(out, " ")
}

// Every field of a node that is one value sorts a list on a real database, both ways; documents and lists are refused.
// Nodes that tie keep the order in which they were made, turned round with the rest.
func TestEverySortKeyOfNodes(t *testing.T) {
	s := newStack(t)
	yes, no := true, false
	interfaces := func(name string) map[node.Interface]string {
		all := map[node.Interface]string{}
		for _, i := range node.Interfaces {
			all[i] = name
		}
		return all
	}
	early, late := epoch, epoch.Add(time.Hour)
	s.put(&node.Node{Name: "b", State: node.Manageable, Driver: "z", Power: node.PowerOn, TargetPower: node.PowerOff, Maintenance: true,
		MaintenanceReason: "r",
		Fault:             node.PowerFailure, LastError: "e", BootMode: "uefi", SecureBoot: &yes, ConsoleEnabled: true, InstanceUUID: nodeB,
		InstanceName:   "i",
		AllocationUUID: nodeB, ChassisUUID: nodeB, ResourceClass: "c", ConductorGroup: "g", Owner: "o", Lessee: "l", Description: "d", Shard: "s",
		Protected: true, ProtectedReason: "p", Retired: true, RetiredReason: "r", AutomatedClean: &yes, DisablePowerOff: true,
		TargetState:        node.Active,
		ProvisionUpdatedAt: late, InspectionStartedAt: late, InspectionFinishedAt: late, UUID: "ffffffff-0000-4000-8000-000000000000",
		ParentNode: nodeB,
		Interfaces: interfaces("z")})
	s.put(&node.Node{Name: "a", State: node.Enroll, Driver: "a", SecureBoot: &no, AutomatedClean: &no, ProvisionUpdatedAt: early,
		Interfaces: interfaces("a"), InspectionStartedAt: early, InspectionFinishedAt: early, UUID: "00000000-0000-4000-8000-000000000000"})
	refused := strings.Fields("properties driver_info extra instance_info driver_internal_info clean_step deploy_step service_step " +
		"raid_config target_raid_config traits network_data links conductor health")
	for _, col := range nodeColumns {
		path := "/v1/nodes?include_children=true&fields=name&sort_key=" + col.name
		if slices.Contains(refused, col.name) {
			resp, body := s.ask("1.115", "GET", path, "")
			s.refused(col.name, resp, body, 400, fmt.Sprintf("The sort_key value %q is an invalid field for sorting", col.name))
			continue
		}
		want := map[string]string{"asc": "a b", "desc": "b a"}
		switch col.name {
		case "reservation": // nobody holds either
			want = map[string]string{"asc": "b a", "desc": "a b"}
		case "created_at", "updated_at": // b was first
			want = map[string]string{"asc": "b a", "desc": "a b"}
		}
		for dir, names2 := range want {
			resp, body := s.ask("1.115", "GET", path+"&sort_dir="+dir, "")
			if resp.StatusCode != 200 || names(t, body, "nodes", "name") != names2 {
				t.Errorf("by %s %s: %d %s, want %s", col.name, dir, resp.StatusCode, body, names2)
			}
		}
	}
	for _, key := range []string{"ports", "colour", "NAME", "id;drop table nodes", "power_failures", "lease_token", ""} {
		resp, body := s.ask("1.115", "GET", "/v1/nodes?sort_key="+strings.ReplaceAll(strings.ReplaceAll(key, " ", "%20"), ";", "%3B"), "")
		if key == "" { // as good as none
			if resp.StatusCode != 200 {
				t.Errorf("an empty sort_key: %d %s", resp.StatusCode, body)
			}
			continue
		}
		s.refused(key, resp, body, 400, `The sort_key value "`+key+`" is an invalid field for sorting`)
	}
}

func TestEverySortKeyOfPortsTemplatesAndHistory(t *testing.T) {
	s := newStack(t)
	n := s.put(&node.Node{UUID: nodeA, Name: "blade", State: node.Manageable})
	for _, p := range []node.Port{
		{UUID: "ffffffff-0000-4000-8000-000000000000", Name: "b", Address: "52:54:00:00:00:02", PXEEnabled: true, PhysicalNetwork: "p",
			IsSmartNIC:  true,
			Description: "d", Vendor: "v", Category: "c", PortgroupUUID: nodeB},
		{UUID: "00000000-0000-4000-8000-000000000000", Name: "a", Address: "52:54:00:00:00:01"},
	} {
		p.NodeUUID = n.UUID
		if err := s.db.Ports.Create(t.Context(), &p); err != nil {
			t.Fatal(err)
		}
		index := len(p.Description)
		g := node.Portgroup{UUID: p.UUID, NodeUUID: n.UUID, Name: p.Name, Address: p.Address, Mode: "mode-" + p.Name,
			StandalonePortsSupported: p.PXEEnabled,
			PhysicalNetwork:          p.PhysicalNetwork, Category: p.Category}
		v := node.VolumeTarget{UUID: p.UUID, NodeUUID: n.UUID, VolumeType: "type-" + p.Name, VolumeID: p.Name, BootIndex: index}
		w := node.VolumeConnector{UUID: p.UUID, NodeUUID: n.UUID, Type: "type-" + p.Name, ConnectorID: p.Name}
		if err := errors.Join(s.db.Portgroups.Create(t.Context(), &g), s.db.VolumeTargets.Create(t.Context(), &v),
			s.db.VolumeConnectors.Create(t.Context(), &w)); err != nil {
			t.Fatal(err)
		}
		tpl := node.DeployTemplate{UUID: p.UUID, Name: "CUSTOM_" + strings.ToUpper(p.Name), Description: p.Description,
			Steps: []node.PlannedStep{{Interface: node.Deploy, Step: "x"}}}
		if err := s.db.DeployTemplates.Create(t.Context(), &tpl); err != nil {
			t.Fatal(err)
		}
	}
	a := s.api
	for _, list := range []struct {
		path, key string
		columns   []string
		refused   string // fields that do not sort
		first     string // of the two that were made in this order: the one with the larger values, then the other
		second    string
	}{
		{"/v1/ports", "ports", columnNames(recordKind[*portKind](t, a).columns),
			"extra internal_info local_link_connection links node_uuid available_for_dynamic_portgroup", "b", "a"},
		{"/v1/portgroups", "portgroups", columnNames(recordKind[*portgroupKind](t, a).columns),
			"properties extra internal_info links ports node_uuid dynamic_portgroup", "b", "a"},
		{"/v1/volume/targets", "targets", columnNames(recordKind[*targetKind](t, a).columns),
			"properties extra links node_uuid", "b", "a"},
		{"/v1/volume/connectors", "connectors", columnNames(recordKind[*connectorKind](t, a).columns),
			"extra links node_uuid", "b", "a"},
		{"/v1/deploy_templates", "deploy_templates", columnNames(recordKind[*templateKind](t, a).columns),
			"steps extra links", "CUSTOM_B", "CUSTOM_A"},
	} {
		name := "name"
		for _, other := range []string{"volume_id", "connector_id"} {
			if slices.Contains(list.columns, other) {
				name = other
			}
		}
		for _, col := range list.columns {
			for _, dir := range []string{"asc", "desc"} {
				resp, body := s.ask("1.115", "GET", list.path+"?fields="+name+"&sort_key="+col+"&sort_dir="+dir, "")
				if slices.Contains(strings.Fields(list.refused), col) {
					s.refused(col, resp, body, 400, fmt.Sprintf("The sort_key value %q is an invalid field for sorting", col))
					continue
				}
				want := list.second + " " + list.first
				if strings.HasSuffix(col, "ated_at") != (dir == "desc") {
					want = list.first + " " + list.second
				}
				if resp.StatusCode != 200 || names(t, body, list.key, name) != want {
					t.Errorf("%s by %s %s: %d %s, want %s", list.path, col, dir, resp.StatusCode, body, want)
				}
			}
		}
	}
	for _, e := range []string{"one", "two"} {
		if err := s.db.AddHistory(t.Context(), node.HistoryEvent{NodeUUID: n.UUID, Event: e}); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ query, want string }{
		{"", "one two"}, {"sort_dir=desc", "two one"}, {"sort_key=created_at", "one two"}, {"sort_key=id&sort_dir=desc", "two one"},
		{"limit=1", "one"},
	} {
		if _, body := s.ask("1.78", "GET", "/v1/nodes/blade/history?"+tt.query, ""); names(t, body, "history", "event") != tt.want {
			t.Errorf("history %s: %s", tt.query, body)
		}
	}
}

func columnNames[T any](cols []column[T]) []string {
	var out []string
	for _, c := range cols {
		out = append(out, c.name)
	}
	return out
}

// What limit, marker, sort_key and sort_dir may not be, in the same words from every list.
func TestBadPagesOfEveryList(t *testing.T) {
	s := newStack(t)
	s.put(&node.Node{UUID: nodeA, Name: "blade", State: node.Manageable})
	const stranger = "99999999-9999-4999-8999-999999999999"
	for path, notFound := range map[string]string{
		"/v1/nodes":                  "Node " + stranger + " could not be found.",
		"/v1/nodes/detail":           "Node " + stranger + " could not be found.",
		"/v1/ports":                  "Port " + stranger + " could not be found.",
		"/v1/ports/detail":           "Port " + stranger + " could not be found.",
		"/v1/nodes/blade/ports":      "Port " + stranger + " could not be found.",
		"/v1/nodes/blade/history":    "Node history event " + stranger + " could not be found.",
		"/v1/portgroups":             "Portgroup " + stranger + " could not be found.",
		"/v1/portgroups/detail":      "Portgroup " + stranger + " could not be found.",
		"/v1/nodes/blade/portgroups": "Portgroup " + stranger + " could not be found.",
		"/v1/chassis":                "Chassis " + stranger + " could not be found.",
		"/v1/chassis/detail":         "Chassis " + stranger + " could not be found.",
		"/v1/allocations":            "Allocation " + stranger + " could not be found.",
		"/v1/volume/connectors":      "Volume connector " + stranger + " could not be found.",
		"/v1/volume/targets":         "Volume target " + stranger + " could not be found.",
		"/v1/deploy_templates":       "Deploy template " + stranger + " could not be found.",
		"/v1/conductors":             "Conductor " + stranger + " could not be found.",
		"/v1/nodes?associated=false": "Node " + stranger + " could not be found.",
	} {
		sep := "?"
		if strings.Contains(path, "?") {
			sep = "&"
		}
		for _, tt := range []struct {
			query  string
			status int
			want   string
		}{
			{"limit=0", 400, "Limit must be positive"},
			{"limit=-1", 400, "Limit must be positive"},
			{"limit=ten", 400, `Invalid input for limit: "ten" is not an integer.`},
			{"limit=1.5", 400, `Invalid input for limit: "1.5" is not an integer.`},
			{"limit=99999999999999999999", 400, `Invalid input for limit: "99999999999999999999" is not an integer.`},
			{"sort_dir=up", 400, "Invalid sort direction: up. Acceptable values are 'asc' or 'desc'"},
			{"sort_dir=ASC", 400, "Invalid sort direction: ASC. Acceptable values are 'asc' or 'desc'"},
			{"sort_key=links", 400, `The sort_key value "links" is an invalid field for sorting`},
			{"marker=" + stranger, 404, notFound},
			{"colour=red", 400, "Unexpected arguments: colour"},
			{"zeal=1&colour=red", 400, "Unexpected arguments: colour, zeal"},
			{"limit=1%zz", 400, `The query of the URL is malformed: invalid URL escape "%zz".`},
		} {
			resp, body := s.ask("1.115", "GET", path+sep+tt.query, "")
			s.refused(path+sep+tt.query, resp, body, tt.status, tt.want)
		}
	}
}

// Following next from page to page gives each thing once, of every list, and keeps the filters and the fields asked for.
func TestNextOfEveryList(t *testing.T) {
	s := newStack(t)
	n := s.put(&node.Node{UUID: nodeA, Name: "blade", State: node.Manageable, Shard: "s1"})
	other := s.put(&node.Node{UUID: nodeB, State: node.Manageable})
	var ports, templates, events []string
	for i := range 5 {
		p := node.Port{NodeUUID: n.UUID, Address: fmt.Sprintf("52:54:00:00:00:%02d", i), Description: "in the rack"}
		if i == 2 {
			p.NodeUUID, p.Description = other.UUID, ""
		}
		if err := s.db.Ports.Create(t.Context(), &p); err != nil {
			t.Fatal(err)
		}
		if i != 2 {
			ports = append(ports, p.UUID)
		}
		tpl := node.DeployTemplate{Name: fmt.Sprintf("CUSTOM_%d", 9-i), Steps: []node.PlannedStep{{Interface: node.Deploy, Step: "x"}}}
		if err := s.db.DeployTemplates.Create(t.Context(), &tpl); err != nil {
			t.Fatal(err)
		}
		templates = append([]string{tpl.UUID}, templates...)
		e := node.HistoryEvent{UUID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i), NodeUUID: n.UUID, Event: "x"}
		if err := s.db.AddHistory(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		events = append(events, e.UUID)
	}
	reversed := slices.Clone(ports)
	slices.Reverse(reversed)
	for _, tt := range []struct {
		path, key string
		want      []string
		keys      string // of each item
	}{
		{"/v1/ports?node=blade&limit=%d&fields=uuid", "ports", ports, "links uuid"},
		{"/v1/ports?shard=s1&limit=%d&sort_key=address&sort_dir=desc", "ports", reversed, "address links uuid"},
		{"/v1/ports?description_contains=the%%20RACK&limit=%d", "ports", ports, "address links uuid"},
		{"/v1/nodes/blade/ports?limit=%d&fields=uuid,extra", "ports", ports, "extra links uuid"},
		{"/v1/deploy_templates?limit=%d&sort_key=name", "deploy_templates", templates, "links name uuid"},
		{"/v1/nodes/blade/history?limit=%d", "history", events, "created_at event event_type links severity uuid"},
	} {
		for limit := 1; limit <= len(tt.want)+1; limit++ {
			path, got := fmt.Sprintf(tt.path, limit), []string{}
			for pages := 0; path != ""; pages++ {
				if pages > len(tt.want) {
					t.Fatalf("%s has no end", tt.path)
				}
				resp, body := s.ask("1.115", "GET", path, "")
				if resp.StatusCode != 200 {
					t.Fatalf("%s: %d %s", path, resp.StatusCode, body)
				}
				for _, item := range field(t, body, tt.key).([]any) {
					got = append(got, item.(map[string]any)["uuid"].(string))
					if keys := strings.Join(keysOf(t, item), " "); keys != tt.keys {
						t.Errorf("%s shows %s, want %s", path, keys, tt.keys)
					}
				}
				next, _ := field(t, body).(map[string]any)["next"].(string)
				path = strings.TrimPrefix(next, "http://metal.example:6385")
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s by %d (-want +got):\n%s", tt.path, limit, diff)
			}
		}
	}
}

// A list of conductors has next like every other list.
func TestNextOfConductors(t *testing.T) {
	path, got := "/v1/conductors?limit=1&fields=hostname", []string{}
	for pages := 0; path != "" && pages < 4; pages++ {
		_, body := twoHosts(t).ask("1.49", "GET", path, "")
		for _, c := range field(t, body, "conductors").([]any) {
			got = append(got, c.(map[string]any)["hostname"].(string))
		}
		next, _ := field(t, body).(map[string]any)["next"].(string)
		path = strings.TrimPrefix(next, "http://metal.example:6385")
	}
	if !slices.Equal(got, []string{"a", "b"}) || path != "" {
		t.Errorf("got %v, then %q", got, path)
	}
}

// The longest page is the operator's: more is asked for in vain, and next goes on from there.
func TestTheLongestPage(t *testing.T) {
	s := newServer(t)
	s.api.MaxLimit = 3
	s.fleet(7)
	for _, tt := range []struct{ query, next string }{
		{"", "&limit=3&marker=00000000-0000-4000-8000-000000000002"},
		{"?limit=1000", "&limit=3&marker=00000000-0000-4000-8000-000000000002"},
		{"?limit=2", "&limit=2&marker=00000000-0000-4000-8000-000000000001"},
		{"?limit=", "&limit=3&marker=00000000-0000-4000-8000-000000000002"},
	} {
		_, body := s.ask("1.115", "GET", "/v1/nodes"+tt.query, "")
		if next, _ := field(t, body, "next").(string); next != "http://metal.example:6385/v1/nodes?sort_key=id&sort_dir=asc"+tt.next {
			t.Errorf("%q: next %s", tt.query, next)
		}
	}
}

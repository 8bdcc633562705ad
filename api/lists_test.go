package api

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/node"
)

// fleet puts n idle nodes in the world.
func (s *server) fleet(n int) {
	s.nodes = nil
	for i := range n {
		s.nodes = append(s.nodes, &node.Node{ID: int64(i + 1), UUID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i), State: node.Available,
			Driver: "ipmi"})
	}
}

// Following next gives every node once, in order. A page that is exactly full carries next too:
// clients rely on it.
func TestPagingByNext(t *testing.T) {
	for _, tt := range []struct{ nodes, limit, requests int }{
		{0, 10, 1}, {9, 10, 1}, {10, 10, 2}, {25, 10, 3}, {3, 1, 4},
	} {
		s := newServer(t)
		s.fleet(tt.nodes)
		var got []string
		path, requests := fmt.Sprintf("/v1/nodes?limit=%d&fields=uuid", tt.limit), 0
		for path != "" {
			_, body := s.ask("1.90", "GET", path, "")
			for _, n := range field(t, body, "nodes").([]any) {
				got = append(got, n.(map[string]any)["uuid"].(string))
			}
			next, _ := field(t, body, "next").(string)
			path = strings.TrimPrefix(next, "http://metal.example:6385")
			if requests++; requests > tt.requests {
				t.Fatalf("%v: more than %d requests", tt, tt.requests)
			}
		}
		if len(got) != tt.nodes || !slices.IsSorted(got) || requests != tt.requests {
			t.Errorf("%v: %d nodes in %d requests", tt, len(got), requests)
		}
	}
}

func TestNextLinks(t *testing.T) {
	last := "&limit=1&marker=00000000-0000-4000-8000-000000000000"
	for _, tt := range []struct {
		path string
		want any
	}{
		{"/v1/nodes?limit=1", "/v1/nodes?sort_key=id&sort_dir=asc" + last},
		{"/v1/nodes/detail?limit=1&sort_key=name", "/v1/nodes/detail?sort_key=name&sort_dir=asc" + last},
		{"/v1/nodes?limit=1&maintenance=false&detail=true", "/v1/nodes?sort_key=id&sort_dir=asc&detail=true&maintenance=false" + last},
		{"/v1/nodes?limit=1&owner=a%26b", "/v1/nodes?sort_key=id&sort_dir=asc&owner=a%26b" + last},
		{"/v1/nodes?limit=1&instance_uuid=" + nodeB, nil},
		{"/v1/nodes", nil},
	} {
		s := newServer(t)
		s.fleet(2)
		want := tt.want
		if want != nil {
			want = "http://metal.example:6385" + want.(string)
		}
		if _, body := s.ask("1.90", "GET", tt.path, ""); field(t, body, "next") != want {
			t.Errorf("%s: %v, want %v", tt.path, field(t, body, "next"), want)
		}
	}
}

func TestPages(t *testing.T) {
	for _, tt := range []struct {
		query string
		want  node.Page
	}{
		{"", node.Page{Limit: 1000, Hot: true}},
		{"limit=5000", node.Page{Limit: 1000, Hot: true}},
		{"limit=7&marker=" + nodeB + "&sort_key=provision_state&sort_dir=desc",
			node.Page{Limit: 7, Marker: nodeB, SortKey: "provision_state", SortDesc: true, Hot: true}},
		{"detail=true", node.Page{Limit: 1000}},
		{"fields=uuid,name", node.Page{Limit: 1000, Hot: true}},
		{"fields=uuid,extra", node.Page{Limit: 1000}},
		{"sort_key=id", node.Page{Limit: 1000, Hot: true}},
	} {
		s := newServer(t)
		if resp, body := s.ask("1.90", "GET", "/v1/nodes?"+tt.query, ""); resp.StatusCode != 200 {
			t.Errorf("%s: %s", tt.query, body)
		}
		if diff := cmp.Diff(tt.want, s.calls[1]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.query, diff)
		}
	}
}

func TestNodeFilters(t *testing.T) {
	yes, no, group, fault := true, false, "rack", node.CleanFailure
	for _, tt := range []struct {
		query string
		want  node.NodeFilter
	}{
		{"", node.NodeFilter{}},
		{"associated=t&maintenance=off&retired=1&sharded=No", node.NodeFilter{Associated: &yes, Maintenance: &no, Retired: &yes, Sharded: &no}},
		{"provision_state=" + url.QueryEscape("wait call-back"), node.NodeFilter{State: node.DeployWait}},
		{"driver=ipmi&resource_class=a&owner=b&lessee=c&project=d",
			node.NodeFilter{Driver: "ipmi", ResourceClass: "a", Owner: "b", Lessee: "c", Project: "d"}},
		{"fault=clean+failure&conductor_group=RACK", node.NodeFilter{Fault: &fault, ConductorGroup: &group}},
		{"instance_uuid=" + nodeB + "&instance_name=web&description_contains=x",
			node.NodeFilter{InstanceUUID: nodeB, InstanceName: "web", DescriptionContains: "x"}},
		{"shard=a,b&parent_node=rack1-u7&include_children=true",
			node.NodeFilter{Shards: []string{"a", "b"}, ParentNode: nodeA, IncludeChildren: true}},
		{"conductor=conductor-1", node.NodeFilter{}},
	} {
		s := newServer(t)
		if resp, body := s.ask("1.115", "GET", "/v1/nodes?"+tt.query, ""); resp.StatusCode != 200 {
			t.Errorf("%s: %s", tt.query, body)
			continue
		}
		if diff := cmp.Diff(tt.want, s.calls[0]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.query, diff)
		}
	}
	if _, body := newServer(t).ask("1.115", "GET", "/v1/nodes?conductor=elsewhere", ""); body != `{"nodes":[]}` {
		t.Errorf("nodes of another conductor: %s", body)
	}
}

func TestPortLists(t *testing.T) {
	for _, tt := range []struct {
		path string
		want int
	}{
		{"/v1/ports?node=rack1-u7", 1}, {"/v1/ports?node_uuid=" + nodeB, 0}, {"/v1/ports?address=52-54-00-CF-2D-31", 1},
		{"/v1/ports?address=52:54:00:00:00:00", 0}, {"/v1/nodes/" + nodeB + "/ports", 0}, {"/v1/ports?fields=name,address&limit=1", 1},
	} {
		_, body := newServer(t).ask("1.115", "GET", tt.path, "")
		if got := field(t, body, "ports").([]any); len(got) != tt.want {
			t.Errorf("%s: %s", tt.path, body)
		}
	}
	_, body := newServer(t).ask("1.115", "GET", "/v1/nodes/rack1-u7/ports?limit=1", "")
	if next, want := field(t, body, "next"), "http://metal.example:6385/v1/nodes/"+nodeA+"/ports?sort_key=id&sort_dir=asc&limit=1&marker="+
		portA; next != want {
		t.Errorf("next is %v, want %s", next, want)
	}
}

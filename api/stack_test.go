package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/conductor"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/driver/fake"
	"github.com/billet-metal/billet/network"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/store"
)

// stack is the API over the real conductor and a real SQLite database. The conductor does not run:
// a node stays in the state that a verb puts it in.
type stack struct {
	t   *testing.T
	dir string // of the database
	db  *store.Store
	api *API
}

func newStack(t *testing.T) *stack {
	t.Helper()
	dir := t.TempDir()
	db, err := store.Open(t.Context(), store.Config{DataDir: dir, Host: "conductor-1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	types := driver.Types{{
		Name: "fake-hardware", Power: []driver.Power{fake.NewPower()}, Management: []driver.Management{fake.NewManagement()},
		Boot: []driver.Boot{fake.NewBoot()}, Deploy: []driver.Deploy{fake.NewDeploy()}, Inspect: []driver.Inspect{fake.NewInspect()},
		Network: []driver.Network{fake.NewNetwork(), network.Flat{}},
		Other: map[node.Interface][]driver.Implementation{
			node.RAID: {fake.NewOther(node.RAID)}, node.RescueIf: {fake.NewOther(node.RescueIf)},
		},
	}}
	c := conductor.New(conductor.Config{Store: keeps(db), Types: types, Host: "conductor-1", AutomatedClean: true, LockAttempts: 1})
	a, err := New(Config{Conductor: conductorOf(c), Reader: db, Kinds: kindsOf(db), Pages: pagesOf(t, endpoint), Host: "conductor-1",
		PublicEndpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	return &stack{t, dir, db, a}
}

func (s *stack) ask(version, method, path, body string) (*http.Response, string) {
	s.t.Helper()
	return send(s.api.Handler(), version, method, path, body)
}

// put stores a node as it is, past the API's rules.
func (s *stack) put(n *node.Node) *node.Node {
	s.t.Helper()
	if n.Driver == "" {
		n.Driver = "fake-hardware"
	}
	if err := s.db.CreateNode(s.t.Context(), n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *stack) node(ident string) *node.Node {
	s.t.Helper()
	n, err := s.db.Node(s.t.Context(), ident)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// refused checks an error's status and whole text.
func (s *stack) refused(what string, resp *http.Response, body string, status int, want string) {
	s.t.Helper()
	if resp.StatusCode != status {
		s.t.Errorf("%s: %d %s, want %d %s", what, resp.StatusCode, body, status, want)
		return
	}
	if got := faultstring(s.t, body); got != want {
		s.t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

// legalVerbs are the verbs of each state as Ironic's reference has them, written out by hand: it
// does not come from the transition table, so a wrong line there shows here.
var legalVerbs = map[node.State]map[string]node.State{
	node.Enroll:        {"manage": node.Verifying},
	node.Verifying:     {},
	node.Manageable:    {"provide": node.Cleaning, "clean": node.Cleaning, "inspect": node.Inspecting, "adopt": node.Adopting},
	node.Inspecting:    {},
	node.InspectWait:   {"abort": node.InspectFailed},
	node.InspectFailed: {"manage": node.Manageable, "inspect": node.Inspecting},
	node.Cleaning:      {}, // "manage" is how the conductor ends a manual cleaning; it holds the node then
	node.CleanWait:     {"abort": node.CleanFailed},
	node.CleanHold:     {"abort": node.CleanFailed, "unhold": node.CleanWait},
	node.CleanFailed:   {"manage": node.Manageable},
	node.Available:     {"active": node.Deploying, "deploy": node.Deploying, "manage": node.Manageable},
	node.Deploying:     {},
	node.DeployWait:    {"abort": node.DeployFailed, "deleted": node.Deleting, "undeploy": node.Deleting},
	node.DeployHold:    {"abort": node.DeployFailed, "unhold": node.DeployWait},
	node.DeployFailed: {"active": node.Deploying, "deploy": node.Deploying, "rebuild": node.Deploying, "deleted": node.Deleting,
		"undeploy": node.Deleting},
	node.Active: {"rebuild": node.Deploying, "deleted": node.Deleting, "undeploy": node.Deleting, "rescue": node.Rescuing,
		"service": node.Servicing},
	node.Rescuing:       {},
	node.RescueWait:     {"abort": node.RescueFailed, "deleted": node.Deleting, "undeploy": node.Deleting},
	node.RescueFailed:   {"rescue": node.Rescuing, "unrescue": node.Unrescuing, "deleted": node.Deleting, "undeploy": node.Deleting},
	node.Rescue:         {"rescue": node.Rescuing, "unrescue": node.Unrescuing, "deleted": node.Deleting, "undeploy": node.Deleting},
	node.Unrescuing:     {},
	node.UnrescueFailed: {"rescue": node.Rescuing, "unrescue": node.Unrescuing, "deleted": node.Deleting, "undeploy": node.Deleting},
	node.Servicing:      {},
	node.ServiceWait:    {"abort": node.ServiceFailed, "deleted": node.Deleting, "undeploy": node.Deleting},
	node.ServiceHold:    {"abort": node.ServiceFailed, "unhold": node.ServiceWait, "service": node.Servicing},
	node.ServiceFailed: {"service": node.Servicing, "rescue": node.Rescuing, "deleted": node.Deleting, "undeploy": node.Deleting,
		"abort": node.Active},
	node.Adopting:    {},
	node.AdoptFailed: {"adopt": node.Adopting, "manage": node.Manageable},
	node.Deleting:    {}, // "clean" is how the conductor goes on from the tear-down
	node.Error:       {"rebuild": node.Deploying, "deleted": node.Deleting, "undeploy": node.Deleting},
}

// bodyOf is a whole request for a verb: one that can only be refused for the node's state.
func bodyOf(target string) string {
	switch target {
	case "clean":
		return `{"target":"clean","clean_steps":[{"interface":"deploy","step":"erase_devices"}]}`
	case "service":
		return `{"target":"service","service_steps":[{"interface":"raid","step":"create_configuration"}]}`
	case "rescue":
		return `{"target":"rescue","rescue_password":"let me in"}`
	}
	return `{"target":"` + target + `"}`
}

// Every verb in each of the 30 states, from HTTP to the database's row: 202 and the new state, or a
// 400 that names the verb and the state and leaves the node alone.
func TestEveryVerbInEveryStateOverHTTP(t *testing.T) {
	s := newStack(t)
	if len(legalVerbs) != 30 || len(node.States) != 30 {
		t.Fatalf("%d and %d states", len(legalVerbs), len(node.States))
	}
	for _, state := range node.States {
		for target, verb := range verbs {
			n := s.put(&node.Node{State: state})
			what := string(state) + " " + target
			resp, body := s.ask("1.115", "PUT", "/v1/nodes/"+n.UUID+"/states/provision", bodyOf(target))
			after := s.node(n.UUID)
			if after.Lease.Holder != "" {
				t.Errorf("%s: still held by %s", what, after.Lease.Holder)
			}
			to, legal := legalVerbs[state][target]
			if legal {
				if resp.StatusCode != 202 || body != "" || after.State != to {
					t.Errorf("%s: %d %s, state %q, want %q", what, resp.StatusCode, body, after.State, to)
				}
				if want := "http://metal.example:6385/v1/nodes/" + n.UUID + "/states"; resp.Header.Get("Location") != want {
					t.Errorf("%s: Location %q", what, resp.Header.Get("Location"))
				}
				continue
			}
			s.refused(what, resp, body, 400, fmt.Sprintf("The requested action %q can not be performed on node %q while it is in state %q.",
				verb.event, n.UUID, state))
			if after.State != state || after.Plan != nil || after.TargetState != "" {
				t.Errorf("%s: the refused verb left state %q, target %q, plan %v", what, after.State, after.TargetState, after.Plan)
			}
		}
	}
}

// A node that somebody works on answers 409 with the holder's name to everything that changes it, so
// that clients try again; it answers reads and shows the holder.
func TestALockedNode(t *testing.T) {
	s := newStack(t)
	n := s.put(&node.Node{Name: "blade", State: node.Manageable, Traits: []string{"CUSTOM_A"}})
	port := node.Port{UUID: portA, NodeUUID: n.UUID, Address: macA}
	if err := s.db.Ports.Create(t.Context(), &port); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.db.Portgroups.Create(t.Context(), &node.Portgroup{UUID: groupA, NodeUUID: n.UUID}),
		s.db.VolumeTargets.Create(t.Context(), &node.VolumeTarget{UUID: targetA, NodeUUID: n.UUID}),
		s.db.VolumeConnectors.Create(t.Context(), &node.VolumeConnector{UUID: connA, NodeUUID: n.UUID})); err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.Reserve(t.Context(), n.UUID, "conductor-9", time.Hour); err != nil {
		t.Fatal(err)
	}
	want := "Node " + n.UUID + " is locked by host conductor-9, please retry after the current operation is completed."
	for _, tt := range []struct{ method, path, body string }{
		{"PUT", "/v1/nodes/blade/states/provision", `{"target":"provide"}`},
		{"PUT", "/v1/nodes/blade/states/provision", `{"target":"rebuild"}`}, // illegal here, but the state may be changing
		{"PUT", "/v1/nodes/blade/states/power", `{"target":"power on"}`},
		{"PUT", "/v1/nodes/blade/management/boot_device", `{"boot_device":"pxe"}`},
		{"PUT", "/v1/nodes/blade/maintenance", `{"reason":"x"}`},
		{"DELETE", "/v1/nodes/blade/maintenance", ""},
		{"PATCH", "/v1/nodes/blade", `[{"op":"add","path":"/extra/a","value":1}]`},
		{"DELETE", "/v1/nodes/blade", ""},
		{"PUT", "/v1/nodes/blade/traits/CUSTOM_B", ""},
		{"DELETE", "/v1/nodes/blade/traits", ""},
		{"POST", "/v1/ports", `{"address":"52:54:00:00:00:07","node_uuid":"` + n.UUID + `"}`},
		{"PATCH", "/v1/ports/" + portA, `[{"op":"add","path":"/extra/a","value":1}]`},
		{"DELETE", "/v1/ports/" + portA, ""},
		{"POST", "/v1/nodes/blade/vifs", `{"id":"v"}`},
		{"POST", "/v1/portgroups", `{"node_uuid":"` + n.UUID + `"}`},
		{"PATCH", "/v1/portgroups/" + groupA, `[{"op":"add","path":"/extra/a","value":1}]`},
		{"DELETE", "/v1/portgroups/" + groupA, ""},
		{"POST", "/v1/volume/targets", `{"node_uuid":"` + n.UUID + `","volume_type":"iscsi","boot_index":1,"volume_id":"v"}`},
		{"PATCH", "/v1/volume/targets/" + targetA, `[{"op":"add","path":"/extra/a","value":1}]`},
		{"DELETE", "/v1/volume/targets/" + targetA, ""},
		{"POST", "/v1/volume/connectors", `{"node_uuid":"` + n.UUID + `","type":"ip","connector_id":"v"}`},
		{"PATCH", "/v1/volume/connectors/" + connA, `[{"op":"add","path":"/extra/a","value":1}]`},
		{"DELETE", "/v1/volume/connectors/" + connA, ""},
		{"POST", "/v1/allocations", `{"node":"blade"}`},
	} {
		resp, body := s.ask("1.115", tt.method, tt.path, tt.body)
		s.refused(tt.method+" "+tt.path, resp, body, 409, want)
	}
	_, body := s.ask("1.115", "GET", "/v1/nodes/blade", "")
	if got := field(t, body, "reservation"); got != "conductor-9" {
		t.Errorf("reservation %v", got)
	}
	after := s.node("blade")
	if after.State != node.Manageable || after.Maintenance || len(after.Traits) != 1 || len(after.Extra) > 0 {
		t.Errorf("a locked node changed: %+v", after)
	}
}

// patchable are the states in which a node on its way to another may still be edited.
var patchable = []node.State{
	node.DeployFailed, node.InspectFailed, node.InspectWait, node.CleanFailed, node.Error, node.Verifying, node.AdoptFailed,
	node.RescueFailed, node.UnrescueFailed, node.Servicing, node.ServiceHold, node.ServiceFailed,
}

func TestPatchInEveryStateOnTheWay(t *testing.T) {
	s := newStack(t)
	for _, state := range node.States {
		for _, version := range []string{"1.38", "1.39"} {
			n := s.put(&node.Node{State: state, TargetState: node.Active})
			resp, body := s.ask(version, "PATCH", "/v1/nodes/"+n.UUID, `[{"op":"add","path":"/extra/a","value":1}]`)
			what := string(state) + " at " + version
			switch {
			case slices.Contains(patchable, state), state == node.Inspecting && version == "1.38":
				if resp.StatusCode != 200 || s.node(n.UUID).Extra["a"] != 1.0 {
					t.Errorf("%s: %d %s", what, resp.StatusCode, body)
				}
			case state == node.Inspecting:
				s.refused(what, resp, body, 409, fmt.Sprintf("Cannot update node %q in state %q.", n.UUID, state))
			default:
				s.refused(what, resp, body, 409, "Node "+n.UUID+" can not be updated while a state transition is in progress.")
				if len(s.node(n.UUID).Extra) > 0 {
					t.Errorf("%s: the refused patch was saved", what)
				}
			}
		}
	}
}

// Maintenance and traits may be changed whatever runs on the node.
func TestMaintenanceAndTraitsInEveryState(t *testing.T) {
	s := newStack(t)
	for _, state := range node.States {
		n := s.put(&node.Node{State: state, TargetState: node.Active})
		for _, tt := range []struct {
			method, path, body string
			status             int
		}{
			{"PUT", "/maintenance", `{"reason":"new disk"}`, 202}, {"PUT", "/traits/CUSTOM_A", "", 204},
		} {
			if resp, body := s.ask("1.115", tt.method, "/v1/nodes/"+n.UUID+tt.path, tt.body); resp.StatusCode != tt.status {
				t.Errorf("%s %s: %d %s", state, tt.path, resp.StatusCode, body)
			}
		}
		after := s.node(n.UUID)
		if !after.Maintenance || after.MaintenanceReason != "new disk" || !slices.Equal(after.Traits, []string{"CUSTOM_A"}) ||
			after.State != state || after.TargetState != node.Active {
			t.Errorf("%s: %+v", state, after)
		}
	}
}

// What a second caller gets who asks for what is taken.
func TestDuplicates(t *testing.T) {
	s := newStack(t)
	const other = "33333333-3333-4333-8333-333333333333"
	a := s.put(&node.Node{UUID: nodeA, Name: "blade", State: node.Manageable, InstanceUUID: other})
	s.put(&node.Node{UUID: nodeB, State: node.Manageable})
	if err := s.db.Ports.Create(t.Context(), &node.Port{UUID: portA, NodeUUID: a.UUID, Address: macA, Name: "eth0"}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ method, path, body, want string }{
		{"POST", "/v1/nodes", `{"driver":"fake-hardware","uuid":"` + nodeA + `"}`, "A node with UUID " + nodeA + " already exists."},
		{"POST", "/v1/nodes", `{"driver":"fake-hardware","uuid":"` + strings.ToUpper(nodeA) + `"}`,
			"A node with UUID " + nodeA + " already exists."},
		{"POST", "/v1/nodes", `{"driver":"fake-hardware","name":"blade"}`, "A node with name blade already exists."},
		{"PATCH", "/v1/nodes/" + nodeB, `[{"op":"add","path":"/name","value":"blade"}]`, "A node with name blade already exists."},
		{"PATCH", "/v1/nodes/" + nodeB, `[{"op":"add","path":"/instance_uuid","value":"` + other + `"}]`,
			"Instance " + other + " is already associated with a node, it cannot be associated with this other node " + nodeB + "."},
		{"PATCH", "/v1/nodes/blade", `[{"op":"replace","path":"/instance_uuid","value":"` + nodeB + `"}]`,
			"Node " + nodeA + " is associated with instance " + other + "."},
		{"POST", "/v1/ports", `{"node_uuid":"` + nodeB + `","address":"52-54-00-CF-2D-31"}`,
			"A port with MAC address " + macA + " already exists."},
		{"DELETE", "/v1/nodes/blade", "", "Node " + nodeA + " is associated with instance " + other + "."},
	} {
		resp, body := s.ask("1.115", tt.method, tt.path, tt.body)
		s.refused(tt.method+" "+tt.path+" "+tt.body, resp, body, 409, tt.want)
	}
	if n := s.node(nodeB); n.Name != "" || n.InstanceUUID != "" || n.Lease.Holder != "" {
		t.Errorf("a refused change was kept: %+v", n)
	}
}

// UUIDs are one thing in all their spellings, wherever a client sends one.
func TestUUIDsInAnySpelling(t *testing.T) {
	s := newStack(t)
	s.put(&node.Node{UUID: nodeA, Name: "blade", State: node.Enroll})
	for i, spelled := range []string{nodeA, strings.ToUpper(nodeA), strings.ReplaceAll(nodeA, "-", "")} {
		mac := fmt.Sprintf("52:54:00:00:00:%02x", i)
		for _, tt := range []struct {
			method, path, body string
			status             int
		}{
			{"GET", "/v1/nodes/" + spelled, "", 200},
			{"GET", "/v1/nodes?include_children=true&parent_node=" + spelled, "", 200},
			{"GET", "/v1/ports?node=" + spelled, "", 200},
			{"PUT", "/v1/nodes/" + spelled + "/maintenance", "", 202},
			{"POST", "/v1/ports", `{"address":"` + mac + `","node_uuid":"` + spelled + `"}`, 201},
			{"POST", "/v1/nodes", `{"driver":"fake-hardware","parent_node":"` + spelled + `"}`, 201},
		} {
			if resp, body := s.ask("1.115", tt.method, tt.path, tt.body); resp.StatusCode != tt.status {
				t.Errorf("%s %s %s: %d %s", tt.method, tt.path, tt.body, resp.StatusCode, body)
			}
		}
	}
	_, body := s.ask("1.115", "GET", "/v1/nodes?parent_node=blade", "")
	if got := field(t, body, "nodes").([]any); len(got) != 3 {
		t.Errorf("blade has %d children, want 3: %s", len(got), body)
	}
}

// A HEAD changes nothing: the agent that looks its node up afterwards gets its token.
func TestHeadOfALookupTakesNoToken(t *testing.T) {
	s := newStack(t)
	n := s.put(&node.Node{State: node.DeployWait, TargetState: node.Active})
	for _, query := range []string{"?node_uuid=" + n.UUID, "?addresses=52:54:00:00:00:09", ""} {
		if resp, _ := s.ask("1.68", "HEAD", "/v1/lookup"+query, ""); resp.StatusCode != 405 || resp.Header.Get("Allow") != "GET" {
			t.Errorf("HEAD %s: %d, Allow %q", query, resp.StatusCode, resp.Header.Get("Allow"))
		}
	}
	if s.node(n.UUID).Agent.TokenGiven {
		t.Error("a HEAD has taken the token")
	}
	resp, body := s.ask("1.68", "GET", "/v1/lookup?node_uuid="+n.UUID, "")
	if token := field(t, body, "config", "agent_token"); resp.StatusCode != 200 || len(fmt.Sprint(token)) != 43 {
		t.Errorf("the agent's lookup: %d, token %v", resp.StatusCode, token)
	}
}

// A lookup finds a node by its UUID in any spelling: firmware and ramdisks write it in capitals.
func TestLookupByUUIDInAnySpelling(t *testing.T) {
	s := newStack(t)
	for _, spell := range []func(string) string{strings.ToLower, strings.ToUpper,
		func(u string) string { return strings.ReplaceAll(u, "-", "") }} {
		n := s.put(&node.Node{State: node.DeployWait, TargetState: node.Active})
		resp, body := s.ask("1.68", "GET", "/v1/lookup?node_uuid="+spell(n.UUID), "")
		if resp.StatusCode != 200 || field(t, body, "node", "uuid") != n.UUID {
			t.Errorf("%s: %d %s", spell(n.UUID), resp.StatusCode, body)
		}
	}
}

// A node may not be its own parent: it would vanish from every list that hides children.
func TestANodeIsNotItsOwnParent(t *testing.T) {
	s := newStack(t)
	s.put(&node.Node{UUID: nodeA, Name: "blade", State: node.Enroll})
	for _, parent := range []string{nodeA, strings.ToUpper(nodeA), "blade"} {
		resp, body := s.ask("1.115", "PATCH", "/v1/nodes/blade", `[{"op":"add","path":"/parent_node","value":"`+parent+`"}]`)
		s.refused(parent, resp, body, 400, "Node "+nodeA+" can not be its own parent.")
	}
	resp, body := s.ask("1.115", "POST", "/v1/nodes", `{"driver":"fake-hardware","uuid":"`+nodeB+`","parent_node":"`+nodeB+`"}`)
	s.refused("on creation", resp, body, 400, `The parent node "`+nodeB+`" could not be found.`)
	if _, body := s.ask("1.115", "GET", "/v1/nodes", ""); !strings.Contains(body, nodeA) {
		t.Errorf("the node is gone from the list: %s", body)
	}
}

// Nor may one of its descendants be its parent: the circle would vanish from every list that hides children. A child whose
// parent was deleted can still be changed.
func TestParentsMakeNoCircle(t *testing.T) {
	s := newStack(t)
	for _, name := range []string{"rack", "chassis", "blade"} {
		s.put(&node.Node{Name: name, State: node.Enroll})
	}
	parent := func(child, of string, want int) string {
		t.Helper()
		resp, body := s.ask("1.115", "PATCH", "/v1/nodes/"+child, `[{"op":"add","path":"/parent_node","value":"`+of+`"}]`)
		if resp.StatusCode != want {
			t.Errorf("%s of %s: %d %s", child, of, resp.StatusCode, body)
		}
		return body
	}
	parent("chassis", "rack", 200)
	parent("blade", "chassis", 200)
	for _, of := range []string{"chassis", "blade"} {
		body := parent("rack", of, 400)
		if want := fmt.Sprintf("Node %s can not be the parent of node %s, which is one of its own ancestors.", s.node(of).UUID,
			s.node("rack").UUID); faultstring(t, body) != want {
			t.Errorf("got %s\nwant %s", body, want)
		}
	}
	parent("blade", "rack", 200)
	parent("rack", "chassis", 400)
	if resp, body := s.ask("1.115", "DELETE", "/v1/nodes/rack", ""); resp.StatusCode != 204 {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	if resp, body := s.ask("1.115", "PATCH", "/v1/nodes/blade", `[{"op":"add","path":"/extra/a","value":1}]`); resp.StatusCode != 200 {
		t.Errorf("a child without its parent: %d %s", resp.StatusCode, body)
	}
	if resp, body := s.ask("1.115", "PATCH", "/v1/nodes/blade", `[{"op":"remove","path":"/parent_node"}]`); resp.StatusCode != 200 ||
		field(t, body, "parent_node") != nil {
		t.Errorf("the parent taken away: %d %s", resp.StatusCode, body)
	}
	parent("chassis", "blade", 200) // whose parent is none any more
}

// walk follows next until there is none and returns the UUIDs in order.
func (s *stack) walk(path string) []string {
	s.t.Helper()
	var uuids []string
	for range 100 {
		resp, body := s.ask("1.115", "GET", path, "")
		if resp.StatusCode != 200 {
			s.t.Fatalf("%s: %d %s", path, resp.StatusCode, body)
		}
		for _, n := range field(s.t, body, "nodes").([]any) {
			uuids = append(uuids, n.(map[string]any)["uuid"].(string))
		}
		next, more := field(s.t, body).(map[string]any)["next"].(string)
		if !more {
			return uuids
		}
		u, err := url.Parse(next)
		if err != nil || u.Host != "metal.example:6385" {
			s.t.Fatalf("next is %q", next)
		}
		path = u.RequestURI()
	}
	s.t.Fatalf("%s has no end", path)
	return nil
}

// Pages of every length, sorted both ways by a key with ties, hold each node once and the right ones.
func TestPagesHoldEachNodeOnce(t *testing.T) {
	s := newStack(t)
	var all, racked []string
	for i := range 11 {
		n := s.put(&node.Node{State: node.Manageable, ResourceClass: fmt.Sprint("class-", i%3), Owner: fmt.Sprint("o", i%2),
			Description: "rack é & = %"})
		if all = append(all, n.UUID); i%2 == 1 {
			racked = append(racked, n.UUID)
		}
	}
	sorted := func(in []string) []string { return slices.Sorted(slices.Values(in)) }
	for _, limit := range []int{1, 2, 3, 4, 5, 10, 11, 12} {
		if diff := cmp.Diff(all, s.walk(fmt.Sprintf("/v1/nodes?limit=%d", limit))); diff != "" {
			t.Errorf("limit %d: %s", limit, diff)
		}
		for _, dir := range []string{"asc", "desc"} {
			got := s.walk(fmt.Sprintf("/v1/nodes?limit=%d&sort_key=resource_class&sort_dir=%s", limit, dir))
			if diff := cmp.Diff(sorted(all), sorted(got)); diff != "" {
				t.Errorf("limit %d %s: %s", limit, dir, diff)
			}
		}
		got := s.walk(fmt.Sprintf("/v1/nodes?limit=%d&owner=o1&description_contains=%s", limit, url.QueryEscape("É & = %")[6:]))
		if diff := cmp.Diff(racked, got); diff != "" {
			t.Errorf("limit %d with filters: %s", limit, diff)
		}
	}
	resp, body := s.ask("1.115", "GET", "/v1/nodes?marker="+nodeB, "")
	s.refused("unknown marker", resp, body, 404, "Node "+nodeB+" could not be found.")
}

// A marker that is deleted between two pages is a 404, not a list that begins anew.
func TestADeletedMarker(t *testing.T) {
	s := newStack(t)
	first := s.put(&node.Node{State: node.Manageable})
	s.put(&node.Node{State: node.Manageable})
	_, body := s.ask("1.115", "GET", "/v1/nodes?limit=1", "")
	next, _ := field(t, body, "next").(string)
	if resp, body := s.ask("1.115", "DELETE", "/v1/nodes/"+first.UUID, ""); resp.StatusCode != 204 {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	resp, body := s.ask("1.115", "GET", strings.TrimPrefix(next, "http://metal.example:6385"), "")
	s.refused(next, resp, body, 404, "Node "+first.UUID+" could not be found.")
}

// Every link of the version document leads somewhere, the bookmarks without /v1 too.
func TestEveryLinkOfTheVersionLeadsSomewhere(t *testing.T) {
	s := newStack(t)
	_, body := s.ask("1.115", "GET", "/v1", "")
	for _, r := range s.api.services.roots {
		for _, l := range field(t, body, r.name).([]any) {
			href := l.(map[string]any)["href"].(string)
			resp, answer := s.ask("1.115", "GET", strings.TrimPrefix(href, "http://metal.example:6385"), "")
			takesMore := slices.Contains([]string{"lookup", "heartbeat", "continue_inspection", "events"}, r.name)
			if resp.StatusCode != 200 && !takesMore {
				t.Errorf("%s: %d %s", href, resp.StatusCode, answer)
			}
		}
	}
}

// keeps opens a conductor's doors into a database.
func keeps(db *store.Store) conductor.Store {
	return conductor.Store{Nodes: db, Agents: db, Queue: db, Notes: db, Boots: db, Kinds: conductor.Kinds{Ports: db.Ports,
		Portgroups: db.Portgroups, VolumeConnectors: db.VolumeConnectors, VolumeTargets: db.VolumeTargets,
		Allocations: db.Allocations, Chassis: db.Chassis, DeployTemplates: db.DeployTemplates, InspectionRules: db.InspectionRules}}
}

func kindsOf(db *store.Store) Kinds {
	return Kinds{Ports: db.Ports, Portgroups: db.Portgroups, VolumeConnectors: db.VolumeConnectors, VolumeTargets: db.VolumeTargets,
		Allocations: db.Allocations, Chassis: db.Chassis, DeployTemplates: db.DeployTemplates, InspectionRules: db.InspectionRules}
}

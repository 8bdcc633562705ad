package storetest

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
)

func ptr[T any](v T) *T { return &v }

func at(second int) time.Time {
	return time.Date(2026, 11, 23, 10, 0, second, 123456000, time.UTC)
}

// fullNode is a node with every field set that the store keeps.
func fullNode(i int) *node.Node {
	return &node.Node{
		UUID: uid(i), Name: "rack1-u07", Driver: "ipmi",
		Interfaces: map[node.Interface]string{node.Power: "ipmitool", node.Deploy: "direct"},
		State:      node.DeployWait, TargetState: node.Active, ProvisionUpdatedAt: at(1),
		Power: node.PowerOn, TargetPower: node.Rebooting, PowerFailures: 3,
		Maintenance: true, MaintenanceReason: "fan", Fault: node.PowerFailure, LastError: "it’s broken",
		BootMode: "uefi", SecureBoot: ptr(true), ConsoleEnabled: true,
		InstanceUUID: uid(9001), InstanceName: "web-1", AllocationUUID: uid(9002), ChassisUUID: uid(9003), ParentNode: uid(9004),
		ResourceClass: "baremetal.large", ConductorGroup: "east", Owner: "alice", Lessee: "bob", Description: "third from the top",
		Shard: "s1", Protected: true, ProtectedReason: "production", Retired: true, RetiredReason: "old", AutomatedClean: ptr(false),
		DisablePowerOff: true, Traits: []string{"CUSTOM_GPU", "HW_CPU_X86_VMX"},
		Properties:         node.Document{"cpus": 8.0, "capabilities": "boot_mode:uefi"},
		DriverInfo:         node.Document{"ipmi_address": "10.0.0.7", "ipmi_password": "hunter2-ipmi"},
		InstanceInfo:       node.Document{"image_source": "http://images/debian.qcow2", "root_gb": 10.0},
		DriverInternalInfo: node.Document{"agent_version": "1.2"},
		Extra:              node.Document{"rack": map[string]any{"row": 4.0, "labels": []any{"a", 1.5, true, nil}}},
		NetworkData:        node.Document{"links": []any{}},
		RAIDConfig:         node.Document{"logical_disks": []any{"x"}},
		TargetRAIDConfig:   node.Document{"logical_disks": []any{"y"}},
		ConfigDrive:        "H4sIconfigdriveconfigdrive",
		Plan: &node.Plan{
			Flow: node.FlowDeploy, Index: 1, StartedAt: at(2), WaitingSince: at(3), Deadline: at(4),
			Awaits: node.FirstCall, WaitingFor: "the agent", PollAt: at(5),
			Steps: []node.PlannedStep{
				{Interface: node.Deploy, Step: "deploy", Priority: 100, StartedAt: at(2), EndedAt: at(3), Abortable: true},
				{Interface: node.Deploy, Step: "write_image", Priority: 80, Agent: true, Args: map[string]any{"speed": 3.0}},
			},
			Memo: map[string]string{"deploy.url": "https://10.0.0.9:9999"}, Manual: true, NoRamdisk: true, InBand: true, Aborting: true,
		},
		InspectionStartedAt: at(6), InspectionFinishedAt: at(7),
	}
}

func testNode(t *testing.T, s Store) {
	want := fullNode(1)
	before := node.Now()
	ok(t, s.CreateNode(t.Context(), want))
	if want.ID == 0 || want.CreatedAt.Before(before) || !want.UpdatedAt.Equal(want.CreatedAt) {
		t.Errorf("not filled: id %d, created %s, updated %s", want.ID, want.CreatedAt, want.UpdatedAt)
	}
	for _, ident := range []string{want.UUID, "rack1-u07"} {
		got, err := s.Node(t.Context(), ident)
		ok(t, err)
		same(t, ident, got, want)
	}
	all, err := s.Nodes(t.Context(), node.NodeFilter{IncludeChildren: true}, node.Page{})
	ok(t, err)
	same(t, "list", all, []*node.Node{want})

	bare := &node.Node{State: node.Enroll}
	ok(t, s.CreateNode(t.Context(), bare))
	got, err := s.Node(t.Context(), bare.UUID)
	ok(t, err)
	same(t, "a node with nothing set", got, bare)
	if got.Extra == nil || got.DriverInfo == nil || got.Interfaces == nil {
		t.Errorf("a loaded node has nil documents: %+v", got)
	}
	if bare.ID <= want.ID {
		t.Errorf("ids are not in the order of creation: %d after %d", bare.ID, want.ID)
	}
}

func testNodeDuplicates(t *testing.T, s Store) {
	add(t, s, 1, func(n *node.Node) { n.Name, n.InstanceUUID = "one", uid(50) })
	for _, tt := range []struct {
		n    node.Node
		want string
	}{
		{node.Node{UUID: uid(1)}, "A node with UUID " + uid(1) + " already exists."},
		{node.Node{UUID: uid(2), Name: "one"}, "A node with name one already exists."},
		{node.Node{UUID: uid(2), InstanceUUID: uid(50)},
			"Instance " + uid(50) + " is already associated with a node, it cannot be associated with this other node " + uid(2) + "."},
	} {
		refused(t, s.CreateNode(t.Context(), &tt.n), node.Conflict, tt.want)
	}
	if all, err := s.Nodes(t.Context(), node.NodeFilter{}, node.Page{}); err != nil || len(all) != 1 {
		t.Errorf("a refused node was kept: %d nodes, %v", len(all), err)
	}
	// No name and no instance are not duplicates of each other.
	add(t, s, 2, nil)
	add(t, s, 3, nil)
	n := reserve(t, s, 2)
	n.Name = "one"
	refused(t, s.Save(t.Context(), n), node.Conflict, "A node with name one already exists.")
	n.Name, n.InstanceUUID = "two", uid(50)
	refused(t, s.Release(t.Context(), n), node.Conflict,
		"Instance "+uid(50)+" is already associated with a node, it cannot be associated with this other node "+uid(2)+".")
	if got := load(t, s, 2); got.Name != "" || got.Lease.Holder != holder {
		t.Errorf("a refused save changed the node: name %q, holder %q", got.Name, got.Lease.Holder)
	}
}

func testNodeRefusals(t *testing.T, s Store) {
	refused(t, s.CreateNode(t.Context(), &node.Node{UUID: "seven"}), node.Invalid, "Expected a UUID but received seven.")
	add(t, s, 1, nil)
	for _, ident := range []string{"", "nobody", uid(7), "a\x00b", "a\xffb"} {
		_, err := s.Node(t.Context(), ident)
		refused(t, err, node.NotFound, "Node "+ident+" could not be found.")
		_, err = s.Reserve(t.Context(), ident, holder, time.Minute)
		refused(t, err, node.NotFound, "Node "+ident+" could not be found.")
	}
	missing := uid(7)
	want := "Node " + missing + " could not be found."
	refused(t, s.SavePower(t.Context(), missing, node.PowerOn, 0), node.NotFound, want)
	refused(t, s.SaveAgent(t.Context(), missing, node.Agent{}), node.NotFound, want)
	_, err := s.GiveAgentToken(t.Context(), missing, "token", node.Caller{})
	refused(t, err, node.NotFound, want)
	refused(t, s.Ports.Create(t.Context(), &node.Port{NodeUUID: missing, Address: mac(1)}), node.NotFound, want)
	refused(t, s.AddHistory(t.Context(), node.HistoryEvent{NodeUUID: missing}), node.NotFound, want)
	refused(t, s.SaveInventory(t.Context(), missing, node.Inventory{}), node.NotFound, want)
	refused(t, s.SaveProgress(t.Context(), node.Progress{NodeUUID: missing}), node.NotFound, want)
	_, err = s.History(t.Context(), missing, node.Page{})
	refused(t, err, node.NotFound, want)
	ok(t, s.ForgetAgent(t.Context(), missing))
	ok(t, s.ClearProgress(t.Context(), missing))
	ok(t, s.DropRecord(t.Context(), missing))
}

// JSON numbers come back as float64, and integers that a float64 would change as they were.
func testNumbers(t *testing.T, s Store) {
	add(t, s, 1, func(n *node.Node) {
		n.Extra = node.Document{"small": 7.0, "fraction": 0.1, "serial": json.Number("12345678901234567890"),
			"list": []any{json.Number("9007199254740993"), 2.0}}
		n.DriverInfo = node.Document{"ipmi_port": 623.0}
		n.Plan = &node.Plan{Steps: []node.PlannedStep{{Args: map[string]any{"n": 5.0}}}}
	})
	n := load(t, s, 1)
	same(t, "extra", n.Extra, node.Document{"small": 7.0, "fraction": 0.1, "serial": json.Number("12345678901234567890"),
		"list": []any{json.Number("9007199254740993"), 2.0}})
	same(t, "driver_info", n.DriverInfo, node.Document{"ipmi_port": 623.0})
	same(t, "args", n.Plan.Steps[0].Args, map[string]any{"n": 5.0})
}

// Machines report what they like; PostgreSQL refuses NUL and broken UTF-8 in texts.
func testHostileTexts(t *testing.T, s Store) {
	n := add(t, s, 1, func(n *node.Node) {
		n.LastError = "serial \x00\xff '; DROP TABLE nodes; --"
		n.Extra = node.Document{"k\x00": "v\x00", "quote": `"'<&>`}
	})
	got := load(t, s, 1)
	same(t, "last_error", got.LastError, "serial \uFFFD\uFFFD '; DROP TABLE nodes; --")
	same(t, "extra", got.Extra, n.Extra)
	ok(t, s.AddHistory(t.Context(), node.HistoryEvent{NodeUUID: uid(1), Event: "\x00\xfe"}))
	s.Saw(node.BootEvent{MAC: mac(1), What: "\xff\x00"})
	events, err := s.BootEvents(t.Context(), []string{mac(1)}, time.Time{})
	ok(t, err)
	if len(events) != 1 || events[0].What != "\uFFFD\uFFFD" {
		t.Errorf("got %+v", events)
	}
}

func testNodeByMACs(t *testing.T, s Store) {
	add(t, s, 1, nil)
	add(t, s, 2, nil)
	for i, owner := range []int{1, 1, 2} {
		addPort(t, s, i, node.Port{NodeUUID: uid(owner)})
	}
	n, err := s.NodeByMACs(t.Context(), []string{mac(77), "52:54:00:00:00:01", mac(0)})
	ok(t, err)
	same(t, "the node of two of its ports", n.UUID, uid(1))
	_, err = s.NodeByMACs(t.Context(), []string{mac(0), mac(2)})
	refused(t, err, node.Conflict, "The MAC addresses 52:54:00:00:00:00, 52:54:00:00:00:02 belong to several nodes: "+uid(1)+", "+uid(2)+".")
	_, err = s.NodeByMACs(t.Context(), []string{mac(8), mac(9)})
	refused(t, err, node.NotFound, "No node has a port with any of the MAC addresses 52:54:00:00:00:08, 52:54:00:00:00:09.")
	_, err = s.NodeByMACs(t.Context(), nil)
	refused(t, err, node.NotFound, "No node has a port with any of the MAC addresses .")
}

func testPower(t *testing.T, s Store) {
	created := add(t, s, 1, func(n *node.Node) { n.Power = node.PowerOff })
	ok(t, s.SavePower(t.Context(), uid(1), node.PowerOff, 0))
	if got := load(t, s, 1); !got.UpdatedAt.Equal(created.UpdatedAt) {
		t.Errorf("power sync that found nothing new wrote the node")
	}
	held := reserve(t, s, 1)
	ok(t, s.SavePower(t.Context(), uid(1), node.PowerOn, 2)) // no lease needed
	if got := load(t, s, 1); got.Power != node.PowerOn || got.PowerFailures != 2 || got.Lease.Token != held.Lease.Token {
		t.Errorf("got %q after %d failures, lease %+v", got.Power, got.PowerFailures, got.Lease)
	}
	held.Power = node.PowerError
	ok(t, s.Release(t.Context(), held))
	if got := load(t, s, 1); got.Power != node.PowerError || got.PowerFailures != 0 {
		t.Errorf("the lease holder's save did not win: %q after %d failures", got.Power, got.PowerFailures)
	}
}

func testConfigDrive(t *testing.T, s Store) {
	add(t, s, 1, nil)
	n := reserve(t, s, 1)
	for _, drive := range []string{"first", "first", "second, longer", "", "third"} {
		n.ConfigDrive = drive
		ok(t, s.Save(t.Context(), n))
		if got := load(t, s, 1); got.ConfigDrive != drive {
			t.Errorf("got %q, want %q", got.ConfigDrive, drive)
		}
	}
}

func testDeleteNode(t *testing.T, s Store) {
	add(t, s, 1, func(n *node.Node) { n.ConfigDrive = "drive" })
	add(t, s, 2, nil)
	addPort(t, s, 1, node.Port{NodeUUID: uid(1)})
	addPort(t, s, 2, node.Port{NodeUUID: uid(2)})
	giveToken(t, s, 1, "token")
	ok(t, s.SaveAgent(t.Context(), uid(1), node.Agent{URL: "u"}))
	ok(t, s.AddHistory(t.Context(), node.HistoryEvent{NodeUUID: uid(1), Event: "e"}))
	ok(t, s.SaveInventory(t.Context(), uid(1), node.Inventory{Inventory: node.Document{"a": "b"}}))
	ok(t, s.SaveProgress(t.Context(), node.Progress{NodeUUID: uid(1)}))
	ok(t, s.PutRecord(t.Context(), record(1)))

	leaseLost(t, "delete without the lease", s.DeleteNode(t.Context(), load(t, s, 1)))
	held := reserve(t, s, 1)
	stale := held.Clone()
	stale.Lease.Token--
	leaseLost(t, "delete with an old token", s.DeleteNode(t.Context(), stale))
	ok(t, s.DeleteNode(t.Context(), held))
	leaseLost(t, "delete again", s.DeleteNode(t.Context(), held))
	leaseLost(t, "save after delete", s.Save(t.Context(), held))

	_, err := s.Node(t.Context(), uid(1))
	refused(t, err, node.NotFound, "Node "+uid(1)+" could not be found.")
	// A node of the same UUID starts with nothing of the old one.
	again := add(t, s, 1, nil)
	same(t, "the new node", load(t, s, 1), again)
	if again.ID <= held.ID {
		t.Errorf("row number %d was used again", again.ID)
	}
	ports, err := s.Ports.List(t.Context(), node.PortFilter{}, node.Page{})
	ok(t, err)
	if len(ports) != 1 || ports[0].NodeUUID != uid(2) {
		t.Errorf("ports left: %+v", ports)
	}
	events, err := s.History(t.Context(), uid(1), node.Page{})
	ok(t, err)
	if p, err := s.Progress(t.Context(), uid(1)); len(events) != 0 || p != nil || err != nil {
		t.Errorf("left: history %v, progress %v, %v", events, p, err)
	}
	_, err = s.Inventory(t.Context(), uid(1))
	refused(t, err, node.NotFound, "Inventory of node "+uid(1)+" could not be found: it has not been inspected.")
	if r, err := s.RecordBySecret(t.Context(), record(1).Secret); r != nil || err != nil {
		t.Errorf("a boot record is left: %+v, %v", r, err)
	}
}

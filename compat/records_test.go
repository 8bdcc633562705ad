package compat

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Portgroups, volumes and allocations, by the commands people have for them.
func TestOpenstackClientKeepsPortgroupsVolumesAndAllocations(t *testing.T) {
	t.Parallel()
	o := newOpenstack(t, startBillet(t))
	n := o.ask(t, "node", "create", "--driver", "fake-hardware", "--name", "m1", "--network-interface", "flat")
	uuid, _ := n["uuid"].(string)
	o.do(t, "node", "manage", "--wait", "60", "m1")
	o.do(t, "node", "power", "off", "m1")
	waitFor(t, o, "m1", "power_state", "power off")
	t.Run("portgroups", func(t *testing.T) { portgroups(t, o, uuid) })
	t.Run("chassis", func(t *testing.T) { chassis(t, o, uuid) })
	t.Run("allocations", func(t *testing.T) { allocations(t, o) })
	t.Run("volume connectors", func(t *testing.T) { connectors(t, o, uuid) })
	t.Run("volume targets", func(t *testing.T) { targets(t, o, uuid) })
}

// shows checks fields of what a command printed.
func shows(t *testing.T, got, want map[string]any) {
	t.Helper()
	for k, v := range want {
		if diff := cmp.Diff(v, got[k]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", k, diff)
		}
	}
}

func portgroups(t *testing.T, o *openstack, uuid string) {
	g := o.ask(t, "port", "group", "create", "--node", uuid, "--name", "bond0", "--address", "52:54:00:AA:BB:10", "--mode", "802.3ad",
		"--property", "miimon=100", "--unsupport-standalone-ports", "--extra", "rack=7")
	id, _ := g["uuid"].(string)
	shows(t, g, map[string]any{"name": "bond0", "node_uuid": uuid, "address": "52:54:00:aa:bb:10", "mode": "802.3ad",
		"standalone_ports_supported": false,
		"properties":                 map[string]any{"miimon": 100.0}, "extra": map[string]any{"rack": 7.0}})
	o.refused(t, "A portgroup with name bond0 already exists.", "port", "group", "create", "--node", uuid, "--name", "bond0")
	want := []map[string]any{{"UUID": id, "Address": "52:54:00:aa:bb:10", "Name": "bond0"}}
	for _, more := range [][]string{{}, {"--node", "m1"}, {"--address", "52:54:00:aa:bb:10"}} {
		if diff := cmp.Diff(want, o.list(t, append([]string{"port", "group", "list"}, more...)...)); diff != "" {
			t.Errorf("%v: %s", more, diff)
		}
	}
	if rows := o.list(t, "port", "group", "list", "--long"); len(rows) != 1 || rows[0]["Mode"] != "802.3ad" {
		t.Errorf("in detail: %v", rows)
	}
	o.do(t, "port", "group", "set", "bond0", "--support-standalone-ports", "--mode", "active-backup", "--property", "updelay=5")
	shows(t, o.ask(t, "port", "group", "show", id), map[string]any{"mode": "active-backup", "standalone_ports_supported": true,
		"properties": map[string]any{"miimon": 100.0, "updelay": 5.0}})
	shows(t, o.ask(t, "port", "group", "show", "--address", "52:54:00:aa:bb:10"), map[string]any{"uuid": id})

	p := o.ask(t, "port", "create", "--node", uuid, "--port-group", id, "52:54:00:AA:BB:11")
	port, _ := p["uuid"].(string)
	shows(t, p, map[string]any{"portgroup_uuid": id})
	if rows := o.list(t, "port", "list", "--port-group", "bond0"); len(rows) != 1 || rows[0]["UUID"] != port {
		t.Errorf("ports of the portgroup: %v", rows)
	}
	o.do(t, "node", "vif", "attach", "m1", "6b2d5d4c-0000-4000-8000-000000000002")
	shows(t, o.ask(t, "port", "group", "show", "bond0"),
		map[string]any{"internal_info": map[string]any{"tenant_vif_port_id": "6b2d5d4c-0000-4000-8000-000000000002"}})
	o.do(t, "node", "vif", "detach", "m1", "6b2d5d4c-0000-4000-8000-000000000002")
	o.refused(t, "it has ports", "port", "group", "delete", "bond0")
	o.do(t, "port", "unset", port, "--port-group")
	o.do(t, "port", "group", "unset", "bond0", "--address", "--extra", "rack", "--property", "updelay")
	shows(t, o.ask(t, "port", "group", "show", "bond0"),
		map[string]any{"address": nil, "extra": map[string]any{}, "properties": map[string]any{"miimon": 100.0}})
	o.do(t, "port", "group", "delete", "bond0")
	o.refused(t, "Portgroup bond0 could not be found.", "port", "group", "show", "bond0")
}

func connectors(t *testing.T, o *openstack, uuid string) {
	c := o.ask(t, "volume", "connector", "create", "--node", uuid, "--type", "iqn", "--connector-id", "iqn.2026-01.example:m1", "--extra",
		"a=b")
	id, _ := c["uuid"].(string)
	shows(t, c, map[string]any{"node_uuid": uuid, "type": "iqn", "connector_id": "iqn.2026-01.example:m1", "extra": map[string]any{"a": "b"}})
	o.refused(t, "A volume connector with type iqn and connector ID iqn.2026-01.example:m1 already exists.",
		"volume", "connector", "create", "--node", uuid, "--type", "iqn", "--connector-id", "iqn.2026-01.example:m1")
	if rows := o.list(t, "volume", "connector", "list", "--node", "m1"); len(rows) != 1 || rows[0]["UUID"] != id ||
		rows[0]["Connector ID"] != "iqn.2026-01.example:m1" {
		t.Errorf("connectors %v", rows)
	}
	o.do(t, "volume", "connector", "set", id, "--type", "ip", "--connector-id", "192.0.2.7")
	o.do(t, "volume", "connector", "unset", id, "--extra", "a")
	shows(t, o.ask(t, "volume", "connector", "show", id), map[string]any{"type": "ip", "connector_id": "192.0.2.7", "extra": map[string]any{}})
	o.do(t, "volume", "connector", "delete", id)
	o.refused(t, "Volume connector "+id+" could not be found.", "volume", "connector", "show", id)
}

func targets(t *testing.T, o *openstack, uuid string) {
	v := o.ask(t, "volume", "target", "create", "--node", uuid, "--type", "iscsi", "--volume-id", "vol-1", "--boot-index", "0",
		"--property", "target_portal=192.0.2.30:3260", "--property", "auth_password=hush")
	id, _ := v["uuid"].(string)
	shows(t, v, map[string]any{"volume_type": "iscsi", "volume_id": "vol-1", "boot_index": 0.0,
		"properties": map[string]any{"target_portal": "192.0.2.30:3260", "auth_password": "******"}})
	o.refused(t, "The node has a volume target with boot index 0 already.",
		"volume", "target", "create", "--node", uuid, "--type", "iscsi", "--volume-id", "vol-2", "--boot-index", "0")
	for _, r := range o.list(t, "node", "validate", "m1") {
		if r["Interface"] == "storage" && r["Result"] != false {
			t.Errorf("an instance that would boot from a volume: %v", r)
		}
	}
	o.do(t, "volume", "target", "set", id, "--boot-index", "1", "--property", "target_lun=3")
	shows(t, o.ask(t, "volume", "target", "show", id), map[string]any{"boot_index": 1.0,
		"properties": map[string]any{"target_portal": "192.0.2.30:3260", "auth_password": "******", "target_lun": 3.0}})
	if rows := o.list(t, "volume", "target", "list", "--node", "m1", "--long"); len(rows) != 1 || rows[0]["UUID"] != id ||
		rows[0]["Boot Index"] != 1.0 {
		t.Errorf("targets %v", rows)
	}
	o.do(t, "node", "power", "on", "m1")
	waitFor(t, o, "m1", "power_state", "power on")
	o.refused(t, "it must be powered off", "volume", "target", "delete", id)
	o.do(t, "node", "power", "off", "m1")
	waitFor(t, o, "m1", "power_state", "power off")
	o.do(t, "volume", "target", "unset", id, "--property", "target_lun")
	o.do(t, "volume", "target", "delete", id)
	if rows := o.list(t, "volume", "target", "list"); len(rows) > 0 {
		t.Errorf("targets left: %v", rows)
	}
}

// allocations asks for nodes by what they are, with machines of its own.
func allocations(t *testing.T, o *openstack) {
	for _, name := range []string{"a1", "a2"} {
		o.do(t, "node", "create", "--driver", "fake-hardware", "--name", name, "--resource-class", "gold")
		o.do(t, "node", "manage", "--wait", "60", name)
		o.do(t, "node", "provide", "--wait", "60", name)
	}
	o.do(t, "node", "add", "trait", "a2", "CUSTOM_FAST")
	a := o.ask(t, "allocation", "create", "--resource-class", "gold", "--name", "web", "--trait", "CUSTOM_FAST", "--candidate-node", "a1",
		"--candidate-node", "a2",
		"--extra", "k=v", "--wait", "60")
	n := o.ask(t, "node", "show", "a2")
	shows(t, a, map[string]any{"state": "active", "node_uuid": n["uuid"], "name": "web", "resource_class": "gold", "last_error": nil,
		"traits": []any{"CUSTOM_FAST"}})
	shows(t, n, map[string]any{"allocation_uuid": a["uuid"], "instance_uuid": a["uuid"]})
	o.refused(t, "none fits: 1 without the trait CUSTOM_FAST", "allocation", "create", "--resource-class", "gold", "--name", "late", "--trait",
		"CUSTOM_FAST", "--wait", "60")
	if rows := o.list(t, "allocation", "list", "--state", "active"); len(rows) != 1 || rows[0]["Name"] != "web" {
		t.Errorf("allocations %v", rows)
	}
	if rows := o.list(t, "allocation", "list", "--node", "a2", "--fields", "name", "state"); len(rows) != 1 || rows[0]["State"] != "active" {
		t.Errorf("allocations of a2: %v", rows)
	}
	o.do(t, "allocation", "set", "web", "--name", "web2", "--extra", "more=1")
	o.do(t, "allocation", "unset", "web2", "--extra", "k")
	shows(t, o.ask(t, "allocation", "show", "web2"), map[string]any{"extra": map[string]any{"more": 1.0}})
	o.do(t, "node", "deploy", "--wait", "60", "a2")
	o.refused(t, "undeploy the node first", "allocation", "delete", "web2")
	o.do(t, "node", "undeploy", "--wait", "60", "a2")
	o.refused(t, "Allocation web2 could not be found.", "allocation", "show", "web2")
	o.node(t, "a2", map[string]any{"allocation_uuid": nil, "instance_uuid": nil, "provision_state": "available"})
	o.do(t, "allocation", "delete", "late")

	o.do(t, "node", "deploy", "--wait", "60", "a1") // without an allocation, which it gets afterwards
	b := o.ask(t, "allocation", "create", "--node", "a1", "--name", "old")
	shows(t, b, map[string]any{"state": "active", "resource_class": "gold", "node_uuid": o.ask(t, "node", "show", "a1")["uuid"]})
	o.do(t, "node", "undeploy", "--wait", "60", "a1")
	if rows := o.list(t, "allocation", "list"); len(rows) > 0 {
		t.Errorf("allocations left: %v", rows)
	}
}

func chassis(t *testing.T, o *openstack, uuid string) {
	c := o.ask(t, "chassis", "create", "--description", "rack 7", "--extra", "row=2")
	id, _ := c["uuid"].(string)
	o.do(t, "node", "set", "m1", "--chassis-uuid", id)
	shows(t, o.ask(t, "node", "show", "m1"), map[string]any{"chassis_uuid": id})
	if rows := o.list(t, "chassis", "list"); len(rows) != 1 || rows[0]["Description"] != "rack 7" {
		t.Errorf("chassis %v", rows)
	}
	if rows := o.list(t, "node", "list", "--chassis", id); len(rows) != 1 || rows[0]["UUID"] != uuid {
		t.Errorf("nodes of the chassis: %v", rows)
	}
	o.do(t, "chassis", "set", id, "--description", "rack 8")
	o.do(t, "chassis", "unset", id, "--extra", "row")
	shows(t, o.ask(t, "chassis", "show", id), map[string]any{"description": "rack 8", "extra": map[string]any{}})
	o.refused(t, "it has nodes", "chassis", "delete", id)
	o.do(t, "node", "unset", "m1", "--chassis-uuid")
	o.do(t, "chassis", "delete", id)
	o.refused(t, "Chassis "+id+" could not be found.", "chassis", "show", id)
}

// Two processes on one PostgreSQL serve requests for nodes at the same time: each node is given once, and one process that is
// killed in the middle takes no node with it.
func TestProcessesGiveEachNodeOnce(t *testing.T) {
	t.Parallel()
	shared := []string{"--database", database(t), "--secret-key-file", t.TempDir() + "/secret.key", "--lease-ttl", "2s"}
	start := func(host string) *billet { return startBillet(t, append([]string{"--host", host}, shared...)...) }
	first, second := start("first"), start("second")
	const nodes, requests = 6, 10
	for i := range nodes {
		name := fmt.Sprint("n", i)
		first.call(t, "POST", "/v1/nodes", map[string]any{"name": name, "driver": "fake-hardware", "resource_class": "bm"})
		first.reach(t, name, "manage", "manageable")
		first.reach(t, name, "provide", "available")
	}
	got := make(chan map[string]any, requests)
	for i := range requests {
		b := []*billet{first, second}[i%2]
		go func() {
			var a map[string]any
			defer func() { got <- a }() // also when the call ends the test
			a = b.call(t, "POST", "/v1/allocations", map[string]any{"resource_class": "bm", "name": fmt.Sprint("a", i)})
		}()
	}
	of := map[any]any{}
	for range requests {
		a := <-got
		if a["state"] == "error" && a["node_uuid"] == nil && a["last_error"] != nil {
			continue
		}
		if a["state"] != "active" || a["node_uuid"] == nil || of[a["node_uuid"]] != nil {
			t.Errorf("allocation %v; its node was of %v", a, of[a["node_uuid"]])
		}
		of[a["node_uuid"]] = a["name"]
	}
	if len(of) != nodes {
		t.Errorf("%d of %d nodes were given", len(of), nodes)
	}
	first.kill(t)
	for _, name := range of {
		second.call(t, "DELETE", "/v1/allocations/"+name.(string), nil)
	}
	if a := second.call(t, "POST", "/v1/allocations", map[string]any{"resource_class": "bm", "name": "again"}); a["state"] != "active" {
		t.Errorf("after all were deleted: %v", a)
	}
}

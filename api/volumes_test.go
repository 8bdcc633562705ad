package api

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
)

// What volume connectors and targets are made of, and what is refused.
func TestMakingVolumes(t *testing.T) {
	const lists = "connector_id, extra, node_uuid, type, uuid"
	connector := func(more string) string { return `{"node_uuid":"` + nodeA + `",` + more + `}` }
	target := func(more string) string {
		return `{"node_uuid":"` + nodeA + `","volume_type":"iscsi","volume_id":"v",` + more + `}`
	}
	for _, tt := range []struct {
		path, body string
		status     int
		want       string // a part of the record, or the whole refusal
	}{
		{"connectors", connector(`"type":"iqn","connector_id":"iqn.x","extra":{"a":1}`), 201, `"extra":{"a":1}`},
		{"connectors", connector(`"type":"portgroup","connector_id":"x","uuid":"` + strings.ToUpper(connA) + `"`), 201, `"uuid":"` + connA + `"`},
		{"connectors", connector(`"type":"usb","connector_id":"x"`), 400,
			`A volume connector of type "usb" is unknown. Allowed are: iqn, ip, mac, wwnn, wwpn, port, portgroup`},
		{"connectors", connector(`"type":"ip"`), 400,
			`A volume connector needs "connector_id". It can not be without: node_uuid, type, connector_id`},
		{"connectors", connector(`"type":"ip","connector_id":""`), 400, "Field connector_id may not be empty."},
		{"connectors", `{"type":"ip","connector_id":"x"}`, 400,
			`A volume connector needs "node_uuid". It can not be without: node_uuid, type, connector_id`},
		{"connectors", `{"node_uuid":"` + nodeB + `","type":"ip","connector_id":"x"}`, 400, "Node " + nodeB + " could not be found."},
		{"connectors", connector(`"type":"ip","connector_id":"192.0.2.1"`), 409,
			"A volume connector with type ip and connector ID 192.0.2.1 already exists."},
		{"connectors", connector(`"kind":"ip"`), 400, `A volume connector cannot be created with the field "kind". Allowed are: ` + lists},

		{"targets", target(`"boot_index":0,"properties":{"auth_password":"` + bmcSecret + `","target_lun":3}`), 201,
			`"properties":{"auth_password":"******","target_lun":3}`},
		{"targets", target(`"boot_index":"2"`), 201, `"boot_index":2`},
		{"targets", target(`"boot_index":-1`), 201, `"boot_index":-1`},
		{"targets", target(`"boot_index":1.5`), 400, "Field boot_index must be a whole number of at most 32 bits, not 1.5."},
		{"targets", target(`"boot_index":4294967296`), 400, "Field boot_index must be a whole number of at most 32 bits, not 4.294967296e+09."},
		{"targets", target(`"boot_index":"first"`), 400, "Field boot_index must be a whole number of at most 32 bits, not first."},
		{"targets", target(`"boot_index":true`), 400, "Field boot_index must be a whole number of at most 32 bits, not true."},
		{"targets", target(`"extra":{}`), 400,
			`A volume target needs "boot_index". It can not be without: node_uuid, volume_type, boot_index, volume_id`},
		{"targets", target(`"boot_index":1,"properties":"x"`), 400, "Field properties must be an object, not a string."},
		{"targets", `{"node_uuid":"blade","volume_type":"iscsi","volume_id":"v","boot_index":1}`, 400,
			"Expected a UUID for node_uuid but received blade."},
		{"targets", target(`"boot_index":7`), 409, "The node has a volume target with boot index 7 already."},
	} {
		s := newStack(t)
		s.put(&node.Node{UUID: nodeA, Name: "blade", State: node.Active, Power: node.PowerOn})
		if err := s.db.VolumeConnectors.Create(t.Context(), &node.VolumeConnector{NodeUUID: nodeA, Type: "ip",
			ConnectorID: "192.0.2.1"}); err != nil {
			t.Fatal(err)
		}
		if err := s.db.VolumeTargets.Create(t.Context(), &node.VolumeTarget{NodeUUID: nodeA, BootIndex: 7}); err != nil {
			t.Fatal(err)
		}
		resp, body := s.ask("1.32", "POST", "/v1/volume/"+tt.path, tt.body)
		if tt.status != 201 {
			s.refused(tt.body, resp, body, tt.status, tt.want)
		} else if resp.StatusCode != 201 || !strings.Contains(body, tt.want) || leaks(body) != "" {
			t.Errorf("%s: %d %s, want %s", tt.body, resp.StatusCode, body, tt.want)
		}
		if n := s.node("blade"); n.Lease.Holder != "" {
			t.Errorf("%s: the node stays locked", tt.body)
		}
	}
}

// A volume is changed and deleted while its node is off: a machine that runs may be using it. What a patch does not
// touch stays, masked or not.
func TestChangingVolumes(t *testing.T) {
	s := newStack(t)
	n := s.put(&node.Node{UUID: nodeA, Name: "blade", State: node.Available, Power: node.PowerOff})
	s.put(&node.Node{UUID: nodeB, State: node.Available})
	v := node.VolumeTarget{UUID: targetA, NodeUUID: nodeA, VolumeType: "iscsi", VolumeID: "v",
		Properties: node.Document{"auth_password": bmcSecret, "portal": "a"}}
	w := node.VolumeConnector{UUID: connA, NodeUUID: nodeA, Type: "ip", ConnectorID: "192.0.2.1"}
	if err := s.db.VolumeTargets.Create(t.Context(), &v); err != nil {
		t.Fatal(err)
	}
	if err := s.db.VolumeConnectors.Create(t.Context(), &w); err != nil {
		t.Fatal(err)
	}
	paths := map[string]string{"volume target": "/v1/volume/targets/" + targetA, "volume connector": "/v1/volume/connectors/" + connA}
	for state, text := range map[node.PowerState]string{node.PowerOn: "power on", "": "unknown power"} {
		if err := s.db.SavePower(t.Context(), n.UUID, state, 0); err != nil {
			t.Fatal(err)
		}
		for noun, path := range paths {
			resp, body := s.ask("1.32", "PATCH", path, `[{"op":"add","path":"/extra/a","value":1}]`)
			s.refused(noun, resp, body, 400, `The requested action "`+noun+` update" can not be performed on node "`+nodeA+
				`" while it is in state "`+text+`"; it must be powered off.`)
			resp, body = s.ask("1.32", "DELETE", path, "")
			s.refused(noun, resp, body, 400, `The requested action "`+noun+` deletion" can not be performed on node "`+nodeA+
				`" while it is in state "`+text+`"; it must be powered off.`)
		}
	}
	if err := s.db.SavePower(t.Context(), n.UUID, node.PowerOff, 0); err != nil {
		t.Fatal(err)
	}
	resp, body := s.ask("1.32", "PATCH", paths["volume target"], `[{"op":"replace","path":"/properties/portal","value":"b"},{"op":"replace",`+
		`"path":"/boot_index","value":"3"},{"op":"add","path":"/extra/a","value":1}]`)
	if resp.StatusCode != 200 || field(t, body, "properties", "auth_password") != "******" || field(t, body, "boot_index") != 3.0 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	kept, err := s.db.VolumeTargets.Get(t.Context(), targetA)
	if err != nil || kept.Properties["auth_password"] != bmcSecret || kept.Properties["portal"] != "b" || kept.BootIndex != 3 ||
		kept.Extra["a"] != 1.0 {
		t.Errorf("kept is %+v, %v", kept, err)
	}
	for _, tt := range []struct {
		noun, patch string
		status      int
		want        string
	}{
		{"volume target", `[{"op":"remove","path":"/boot_index"}]`, 400, "The boot_index of a volume target can not be taken away."},
		{"volume target", `[{"op":"replace","path":"/volume_type","value":""}]`, 400, "Field volume_type may not be empty."},
		{"volume target", `[{"op":"replace","path":"/node_uuid","value":"` + portA + `"}]`, 400, "Node " + portA + " could not be found."},
		{"volume target", `[{"op":"remove","path":"/properties/none"}]`, 400,
			`Couldn't apply patch 'remove /properties/none'. Reason: there is no "/properties/none" to remove in the resource`},
		{"volume connector", `[{"op":"replace","path":"/type","value":"x"}]`, 400,
			`A volume connector of type "x" is unknown. Allowed are: iqn, ip, mac, wwnn, wwpn, port, portgroup`},
		{"volume connector", `[{"op":"replace","path":"/uuid","value":"x"}]`, 400,
			"Cannot patch /uuid. Only the following can be updated: connector_id, extra, node_uuid, type"},
		{"volume connector", `[{"op":"replace","path":"/node_uuid","value":"` + nodeB + `"}]`, 200, nodeB},
	} {
		resp, body := s.ask("1.32", "PATCH", paths[tt.noun], tt.patch)
		if tt.status != 200 {
			s.refused(tt.patch, resp, body, tt.status, tt.want)
		} else if resp.StatusCode != 200 || !strings.Contains(body, tt.want) {
			t.Errorf("%s: %d %s", tt.patch, resp.StatusCode, body)
		}
	}
	if resp, body := s.ask("1.32", "DELETE", paths["volume target"], ""); resp.StatusCode != 204 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	for noun, path := range map[string]string{"Volume target": "targets", "Volume connector": "connectors"} {
		for _, method := range []string{"GET", "PATCH", "DELETE"} {
			resp, body := s.ask("1.32", method, "/v1/volume/"+path+"/"+portA, `[]`)
			s.refused(method, resp, body, 404, noun+" "+portA+" could not be found.")
			resp, body = s.ask("1.32", method, "/v1/volume/"+path+"/name", `[]`)
			s.refused(method, resp, body, 400, `Expected a UUID but received "name".`)
		}
	}
}

// The lists of volumes of all nodes and of one, asked for as the compute service's library does: in detail, at 1.32.
func TestListsOfVolumes(t *testing.T) {
	s := newStack(t)
	for uuid, name := range map[string]string{nodeA: "a", nodeB: "b"} {
		s.put(&node.Node{UUID: uuid, Name: name, State: node.Available})
		for _, more := range []string{"1", "2"} {
			if err := s.db.VolumeConnectors.Create(t.Context(), &node.VolumeConnector{NodeUUID: uuid, Type: "ip",
				ConnectorID: name + more}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.db.VolumeTargets.Create(t.Context(), &node.VolumeTarget{NodeUUID: uuid, VolumeID: "of-" + name}); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		"/v1/volume/connectors?node=a&sort_key=connector_id":                "connectors connector_id: a1 a2",
		"/v1/volume/connectors?sort_key=connector_id&sort_dir=desc&limit=3": "connectors connector_id: b2 b1 a2",
		"/v1/volume/targets?node=" + nodeB + "&detail=True":                 "targets volume_id: of-b",
		"/v1/volume/targets?sort_key=volume_id&fields=volume_id":            "targets volume_id: of-a of-b",
		"/v1/nodes/a/volume/targets?detail=True":                            "targets volume_id: of-a",
		"/volume/targets?node=a":                                            "targets volume_id: of-a",
		"/v1/nodes/b/volume/connectors?limit=1&sort_key=connector_id":       "connectors connector_id: b1",
	} {
		resp, body := s.ask("1.32", "GET", path, "")
		what, list, _ := strings.Cut(want, ": ")
		key, name, _ := strings.Cut(what, " ")
		if resp.StatusCode != 200 || names(t, body, key, name) != list {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	_, body := s.ask("1.32", "GET", "/v1/nodes/b/volume/connectors?limit=1&fields=type", "")
	if next, _ := field(t, body, "next").(string); !strings.HasPrefix(next,
		"http://metal.example:6385/v1/nodes/"+nodeB+"/volume/connectors?sort_key=id&sort_dir=asc&fields=type&limit=1&marker=") {
		t.Errorf("next is %s", next)
	}
	for path, want := range map[string]string{
		"/v1/volume/targets?node=nobody":           "Node nobody could not be found.",
		"/v1/nodes/nobody/volume":                  "Node nobody could not be found.",
		"/v1/nodes/nobody/volume/targets":          "Node nobody could not be found.",
		"/v1/volume/targets?detail=1&fields=extra": "Can't fetch a subset of fields with 'detail' set",
		"/v1/nodes/a/volume/targets?node=b":        "Unexpected arguments: node",
		"/v1/volume?node=a":                        "Unexpected arguments: node",
	} {
		resp, body := s.ask("1.32", "GET", path, "")
		status := 400
		if strings.HasPrefix(want, "Node") {
			status = 404
		}
		s.refused(path, resp, body, status, want)
	}
}

// A target whose sealed properties are damaged is told as an internal error and can be deleted.
func TestADamagedVolumeTarget(t *testing.T) {
	s := newStack(t)
	s.put(&node.Node{UUID: nodeA, State: node.Available, Power: node.PowerOff})
	if err := s.db.VolumeTargets.Create(t.Context(), &node.VolumeTarget{UUID: targetA, NodeUUID: nodeA,
		Properties: node.Document{"auth_password": bmcSecret}}); err != nil {
		t.Fatal(err)
	}
	raw, err := sql.Open("sqlite", "file:"+filepath.Join(s.dir, "billet.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := raw.Exec(`UPDATE volume_targets SET properties = X'01'`); err != nil {
		t.Fatal(err)
	}
	if resp, body := s.ask("1.32", "GET", "/v1/volume/targets/"+targetA, ""); resp.StatusCode != 500 || leaks(body) != "" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if resp, body := s.ask("1.32", "DELETE", "/v1/volume/targets/"+targetA, ""); resp.StatusCode != 204 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if resp, body := s.ask("1.32", "GET", "/v1/volume/targets", ""); resp.StatusCode != 200 || len(field(t, body, "targets").([]any)) > 0 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

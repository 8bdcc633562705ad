package storetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
)

func testVolumeConnector(t *testing.T, s Store) {
	add(t, s, 1, nil)
	add(t, s, 2, nil)
	before := node.Now()
	want := node.VolumeConnector{UUID: strings.ToUpper(uid(10)), NodeUUID: strings.ToUpper(uid(1)), Type: "iqn",
		ConnectorID: "iqn.2026-01.example:a", Extra: node.Document{"n": 1.0}}
	ok(t, s.VolumeConnectors.Create(t.Context(), &want))
	if want.ID == 0 || want.CreatedAt.Before(before) || want.UUID != uid(10) {
		t.Errorf("filled as %+v", want)
	}
	want.NodeUUID = uid(1)
	got, err := s.VolumeConnectors.Get(t.Context(), strings.ToUpper(uid(10)))
	ok(t, err)
	same(t, "created", got, want)

	changed := want
	changed.NodeUUID, changed.Type, changed.ConnectorID, changed.Extra = uid(2), "wwpn", "2000", node.Document{}
	ok(t, s.VolumeConnectors.Save(t.Context(), &changed))
	if !changed.UpdatedAt.After(want.UpdatedAt) {
		t.Errorf("updated %s, was %s", changed.UpdatedAt, want.UpdatedAt)
	}
	got, err = s.VolumeConnectors.Get(t.Context(), uid(10))
	ok(t, err)
	same(t, "saved", got, changed)

	ok(t, s.VolumeConnectors.Delete(t.Context(), uid(10)))
	missing := "Volume connector " + uid(10) + " could not be found."
	refused(t, s.VolumeConnectors.Delete(t.Context(), uid(10)), node.NotFound, missing)
	refused(t, s.VolumeConnectors.Save(t.Context(), &changed), node.NotFound, missing)
	_, err = s.VolumeConnectors.Get(t.Context(), uid(10))
	refused(t, err, node.NotFound, missing)
}

func testVolumeTarget(t *testing.T, s Store) {
	add(t, s, 1, nil)
	add(t, s, 2, nil)
	want := node.VolumeTarget{NodeUUID: uid(1), VolumeType: "iscsi", VolumeID: "v-1", BootIndex: -1, Extra: node.Document{"n": 1.0},
		Properties: node.Document{"auth_password": "hush", "target_lun": 1.0}}
	ok(t, s.VolumeTargets.Create(t.Context(), &want))
	got, err := s.VolumeTargets.Get(t.Context(), want.UUID)
	ok(t, err)
	same(t, "created", got, want)

	changed := want
	changed.NodeUUID, changed.VolumeType, changed.VolumeID, changed.BootIndex = uid(2), "fibre_channel", "v-2", 0
	changed.Properties, changed.Extra = node.Document{}, node.Document{}
	ok(t, s.VolumeTargets.Save(t.Context(), &changed))
	got, err = s.VolumeTargets.Get(t.Context(), want.UUID)
	ok(t, err)
	same(t, "saved", got, changed)

	ok(t, s.VolumeTargets.Delete(t.Context(), want.UUID))
	missing := "Volume target " + want.UUID + " could not be found."
	refused(t, s.VolumeTargets.Delete(t.Context(), want.UUID), node.NotFound, missing)
	refused(t, s.VolumeTargets.Save(t.Context(), &changed), node.NotFound, missing)

	// All of one node's go at once, and those of a node go with it.
	for i := range 4 {
		ok(t, s.VolumeTargets.Create(t.Context(), &node.VolumeTarget{NodeUUID: uid(1 + i%2), VolumeID: fmt.Sprint(i), BootIndex: i}))
	}
	ok(t, s.VolumeConnectors.Create(t.Context(), &node.VolumeConnector{NodeUUID: uid(2), Type: "ip", ConnectorID: "192.0.2.1"}))
	ok(t, s.VolumeTargets.DeleteOf(t.Context(), strings.ToUpper(uid(1))))
	ok(t, s.VolumeTargets.DeleteOf(t.Context(), uid(1)))
	left, err := s.VolumeTargets.List(t.Context(), node.OfNode{}, node.Page{})
	ok(t, err)
	if len(left) != 2 || left[0].NodeUUID != uid(2) || left[1].VolumeID != "3" {
		t.Errorf("left are %+v", left)
	}
	ok(t, s.DeleteNode(t.Context(), reserve(t, s, 2)))
	left, err = s.VolumeTargets.List(t.Context(), node.OfNode{}, node.Page{})
	ok(t, err)
	connectors, err := s.VolumeConnectors.List(t.Context(), node.OfNode{}, node.Page{})
	ok(t, err)
	if len(left)+len(connectors) > 0 {
		t.Errorf("after their node: %+v, %+v", left, connectors)
	}
}

func testVolumeRefusals(t *testing.T, s Store) {
	add(t, s, 1, nil)
	add(t, s, 2, nil)
	c := node.VolumeConnector{UUID: uid(10), NodeUUID: uid(1), Type: "iqn", ConnectorID: "a"}
	ok(t, s.VolumeConnectors.Create(t.Context(), &c))
	other := node.VolumeConnector{UUID: uid(11), NodeUUID: uid(2), Type: "ip", ConnectorID: "a"} // the same name of another type
	ok(t, s.VolumeConnectors.Create(t.Context(), &other))
	taken := "A volume connector with type iqn and connector ID a already exists."
	for _, tt := range []struct {
		v    node.VolumeConnector
		kind node.Kind
		want string
	}{
		{node.VolumeConnector{NodeUUID: uid(2), Type: "iqn", ConnectorID: "a"}, node.Conflict, taken},
		{node.VolumeConnector{UUID: uid(10), NodeUUID: uid(1), Type: "iqn", ConnectorID: "b"}, node.Conflict,
			"A volume connector with UUID " + uid(10) + " already exists."},
		{node.VolumeConnector{UUID: "x", NodeUUID: uid(1)}, node.Invalid, "Expected a UUID but received x."},
		{node.VolumeConnector{NodeUUID: uid(9)}, node.NotFound, "Node " + uid(9) + " could not be found."},
	} {
		refused(t, s.VolumeConnectors.Create(t.Context(), &tt.v), tt.kind, tt.want)
	}
	other.Type = "iqn"
	refused(t, s.VolumeConnectors.Save(t.Context(), &other), node.Conflict, taken)
	other.NodeUUID = uid(9)
	refused(t, s.VolumeConnectors.Save(t.Context(), &other), node.NotFound, "Node "+uid(9)+" could not be found.")

	v := node.VolumeTarget{UUID: uid(20), NodeUUID: uid(1), BootIndex: 0}
	ok(t, s.VolumeTargets.Create(t.Context(), &v))
	second := node.VolumeTarget{UUID: uid(21), NodeUUID: uid(2), BootIndex: 0} // another node's
	ok(t, s.VolumeTargets.Create(t.Context(), &second))
	for _, tt := range []struct {
		v    node.VolumeTarget
		kind node.Kind
		want string
	}{
		{node.VolumeTarget{NodeUUID: uid(1)}, node.Conflict, "The node has a volume target with boot index 0 already."},
		{node.VolumeTarget{UUID: uid(20), NodeUUID: uid(1), BootIndex: 1}, node.Conflict,
			"A volume target with UUID " + uid(20) + " already exists."},
		{node.VolumeTarget{UUID: "x", NodeUUID: uid(1)}, node.Invalid, "Expected a UUID but received x."},
		{node.VolumeTarget{NodeUUID: uid(9)}, node.NotFound, "Node " + uid(9) + " could not be found."},
	} {
		refused(t, s.VolumeTargets.Create(t.Context(), &tt.v), tt.kind, tt.want)
	}
	second.NodeUUID = uid(1)
	refused(t, s.VolumeTargets.Save(t.Context(), &second), node.Conflict, "The node has a volume target with boot index 0 already.")
	for _, ident := range []string{"", "v", uid(9)} {
		_, err := s.VolumeTargets.Get(t.Context(), ident)
		refused(t, err, node.NotFound, "Volume target "+ident+" could not be found.")
	}
}

func testVolumeLists(t *testing.T, s Store) {
	add(t, s, 1, nil)
	add(t, s, 2, nil)
	for i := range 7 {
		ok(t, s.VolumeTargets.Create(t.Context(), &node.VolumeTarget{NodeUUID: uid(1 + i%2), VolumeType: "iscsi", VolumeID: fmt.Sprint(i),
			BootIndex: 10 - i}))
		ok(t, s.VolumeConnectors.Create(t.Context(), &node.VolumeConnector{NodeUUID: uid(1 + i%2), Type: "ip", ConnectorID: fmt.Sprint(i)}))
	}
	for _, tt := range []struct {
		of, key string
		desc    bool
		want    string
	}{
		{"", "", false, "0123456"}, {"", "id", true, "6543210"}, {uid(1), "", false, "0246"}, {strings.ToUpper(uid(2)), "", true, "531"},
		{uid(9), "", false, ""}, {uid(1), "updated_at", true, "6420"},
	} {
		var targets, connectors string
		p := node.Page{Limit: 2, SortKey: tt.key, SortDesc: tt.desc}
		for more := true; more; {
			page, err := s.VolumeTargets.List(t.Context(), node.OfNode{UUID: tt.of}, p)
			ok(t, err)
			for _, v := range page {
				targets, p.Marker = targets+v.VolumeID, v.UUID
			}
			more = len(page) == p.Limit
		}
		p.Marker = ""
		for more := true; more; {
			page, err := s.VolumeConnectors.List(t.Context(), node.OfNode{UUID: tt.of}, p)
			ok(t, err)
			for _, v := range page {
				connectors, p.Marker = connectors+v.ConnectorID, v.UUID
			}
			more = len(page) == p.Limit
		}
		same(t, "targets of "+tt.of, targets, tt.want)
		same(t, "connectors of "+tt.of, connectors, tt.want)
	}
	byIndex, err := s.VolumeTargets.List(t.Context(), node.OfNode{UUID: uid(1)}, node.Page{SortKey: "boot_index"})
	ok(t, err)
	if len(byIndex) != 4 || byIndex[0].BootIndex != 4 || byIndex[3].BootIndex != 10 {
		t.Errorf("by boot index: %+v", byIndex)
	}
	for _, key := range []string{"properties", "extra", "node_uuid", "node_id"} {
		_, err := s.VolumeTargets.List(t.Context(), node.OfNode{}, node.Page{SortKey: key})
		refused(t, err, node.Invalid, `The sort_key value "`+key+`" is an invalid field for sorting`)
	}
	_, err = s.VolumeConnectors.List(t.Context(), node.OfNode{}, node.Page{Marker: uid(9)})
	refused(t, err, node.NotFound, "Volume connector "+uid(9)+" could not be found.")
}

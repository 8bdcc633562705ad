package server

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/node"
)

// What a server is asked for reaches the service: the allocation, the image, the config drive with its networks.
func TestCreate(t *testing.T) {
	w := newWorld(1)
	o := order()
	o.Hostname, o.Traits = "web.example.org", []string{"CUSTOM_FAST"}
	o.Image = Image{Source: "https://images.example/d.raw?sig=secret", Checksum: strings.Repeat("AB", 32), More: node.Document{"root_gb": 9}}
	got, err := w.servers().Create(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	want := Server{Name: "web", UUID: got.UUID, State: "active", NodeUUID: w.nodes[0].UUID, NodeName: "n0", Power: "power off",
		Class: "gold", Image: "https://images.example/d.raw", Addresses: got.Addresses, CreatedAt: got.CreatedAt, asked: got.asked}
	if len(got.Addresses) != 2 || got.CreatedAt.IsZero() || cmp.Diff(want, got, cmp.AllowUnexported(Server{})) != "" {
		t.Errorf("%+v", got)
	}
	info := node.Document{"display_name": "web", "traits": []string{"CUSTOM_FAST"}, "image_source": o.Image.Source, "root_gb": 9,
		"image_os_hash_algo": "sha256", "image_os_hash_value": strings.Repeat("ab", 32)}
	if diff := cmp.Diff(info, w.nodes[0].InstanceInfo); diff != "" {
		t.Error(diff)
	}
	if extra := w.allocs[got.UUID].Extra; cmp.Diff(node.Document{extraKey: map[string]any{"image": "https://images.example/d.raw",
		"neutron": true}}, extra) != "" {
		t.Errorf("extra %v", extra)
	}
	drive, err := json.Marshal(w.drives[0].DriveParts)
	if err != nil {
		t.Fatal(err)
	}
	const of0 = "00000000-0000-0000-0000-000000000000"
	if diff := cmp.Diff(`{"meta_data":{"hostname":"web.example.org","name":"web","public_keys":{"key-1":"`+key+`"},"uuid":"`+got.UUID+`"},`+
		`"network_data":{"links":[`+
		`{"ethernet_mac_address":"52:54:00:00:00:00","id":"p`+of0+`","mtu":1450,"type":"phy"},`+
		`{"ethernet_mac_address":"52:54:00:00:01:00","id":"q`+of0+`","mtu":1450,"type":"phy"}],`+
		`"networks":[{"id":"network-port1","link":"p`+of0+`","network_id":"port1","type":"ipv4_dhcp"},`+
		`{"id":"network-port2","link":"q`+of0+`","network_id":"port2","type":"ipv4_dhcp"}],"services":[]},`+
		`"user_data":"#!/bin/sh\n","vendor_data":null}`, string(drive)); diff != "" {
		t.Error(diff)
	}
}

// User data that are no text need a drive that is built whole.
func TestBinaryUserData(t *testing.T) {
	w := newWorld(1)
	o := order()
	o.UserData = []byte{0x1f, 0x8b, 0xff}
	if _, err := w.servers().Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if req := w.drives[0]; req.DriveParts != nil || len(req.ConfigDrive) < 100 {
		t.Errorf("%+v", req)
	}
}

// Standing alone a server has the address that DHCP lent, or one that it is told and nobody else has.
func TestStandingAlone(t *testing.T) {
	w := newWorld(2)
	s := w.servers()
	s.Networks = nil
	o := order()
	if _, err := s.Create(t.Context(), o); err == nil || !strings.Contains(err.Error(), "OS_AUTH_URL") || len(w.calls) > 0 {
		t.Errorf("a network without a login: %v, %q", err, w.calls)
	}
	o.Networks = nil
	w.lent[w.nodes[0].UUID] = []string{"192.0.2.130"}
	if v, err := s.Create(t.Context(), o); err != nil || cmp.Diff(v.Addresses, []string{"192.0.2.130"}) != "" ||
		w.drives[0].DriveParts.NetworkData != nil {
		t.Errorf("%+v, %v", v, err)
	}
	o.Name = "db"
	o.Address = &Address{Prefix: netip.MustParsePrefix("192.0.2.130/20"), Gateway: netip.MustParseAddr("192.0.2.1"),
		DNS: []netip.Addr{netip.MustParseAddr("192.0.2.53")}}
	if _, err := s.Create(t.Context(), o); err == nil || !strings.Contains(err.Error(), "192.0.2.130 has been lent to node "+w.nodes[0].UUID) {
		t.Errorf("the address of another: %v", err)
	}
	o.Address.Prefix = netip.MustParsePrefix("192.0.2.77/20")
	v, err := s.Create(t.Context(), o)
	if err != nil || cmp.Diff(v.Addresses, []string{"192.0.2.77"}) != "" {
		t.Fatalf("%+v, %v", v, err)
	}
	got, err := json.Marshal(w.drives[1].DriveParts.NetworkData)
	if diff := cmp.Diff(`{"links":[{"ethernet_mac_address":"52:54:00:00:00:01","id":"link0","type":"phy"}],`+
		`"networks":[{"id":"network0","ip_address":"192.0.2.77","link":"link0","netmask":"255.255.240.0",`+
		`"routes":[{"gateway":"192.0.2.1","netmask":"0.0.0.0","network":"0.0.0.0"}],"type":"ipv4"}],`+
		`"services":[{"address":"192.0.2.53","type":"dns"}]}`, string(got)); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for range 3 {
		_, _ = w.Node(t.Context(), "n0")
	}
	if err := s.Delete(t.Context(), "web", true); err != nil {
		t.Fatal(err)
	}
	o.Name = "third"
	if _, err := s.Create(t.Context(), o); err == nil || !strings.Contains(err.Error(), "192.0.2.77 is that of server db") {
		t.Errorf("the address of another: %v", err)
	}
}

// A bond is described with its members; what a node's network interface does not note at its ports is not described at all.
func TestNetworkDataOfBonds(t *testing.T) {
	vif := node.Document{node.VIFKey: "vif"}
	wires := Wires{
		Ports: []node.Port{{UUID: "p1", Address: "52:54:00:00:00:01", PortgroupUUID: "g"}, {UUID: "p2", Address: "52:54:00:00:00:02",
			PortgroupUUID: "g"}},
		Portgroups: []node.Portgroup{{UUID: "g", Address: "52:54:00:00:00:09", Mode: "802.3ad", InternalInfo: vif}},
	}
	got, err := json.Marshal(dynamic([]Port{{ID: "vif"}}, wires))
	diff := cmp.Diff(`{"links":[{"ethernet_mac_address":"52:54:00:00:00:01","id":"p1","type":"phy"},`+
		`{"ethernet_mac_address":"52:54:00:00:00:02","id":"p2","type":"phy"},`+
		`{"bond_links":["p1","p2"],"bond_mode":"802.3ad","ethernet_mac_address":"52:54:00:00:00:09","id":"g","type":"bond"}],`+
		`"networks":[{"id":"network-vif","link":"g","network_id":"vif","type":"ipv4_dhcp"}],"services":[]}`, string(got))
	if diff != "" || err != nil {
		t.Error(diff, err)
	}
	if d := dynamic([]Port{{ID: "unknown"}}, wires); d != nil {
		t.Errorf("%v", d)
	}
}

// A port that was there before stays when the server goes, and no login to Neutron is needed for that.
func TestPortsOfOthersStay(t *testing.T) {
	w := newWorld(1)
	w.ports["theirs"] = Port{ID: "theirs", Addresses: []string{"198.51.100.77"}}
	s := w.servers()
	o := order()
	o.Networks, o.Ports = nil, []string{"theirs"}
	v, err := s.Create(t.Context(), o)
	if err != nil || cmp.Diff(v.Addresses, []string{"198.51.100.77"}) != "" || len(node.VIFs(w.wires[w.nodes[0].UUID].Ports, nil)) != 1 {
		t.Errorf("%+v, %v", v, err)
	}
	s.Networks = nil
	if err := s.Delete(t.Context(), "web", true); err != nil || len(w.ports) != 1 {
		t.Errorf("%v, %v", err, w.ports)
	}
	w.isClean(t, "deleted")
	o.Ports = []string{"nobody's"}
	if _, err := w.servers().Create(t.Context(), o); node.KindOf(err) != node.NotFound {
		t.Error(err)
	}
}

// What is wrong with an order by itself is said before anything is asked.
func TestOrdersAreCheckedFirst(t *testing.T) {
	for _, tt := range []struct {
		change func(*Order)
		want   string
	}{
		{func(o *Order) { o.Name = "" }, `can not be called ""`},
		{func(o *Order) { o.Name = "web_1" }, `can not be called "web_1"`},
		{func(o *Order) { o.Name = "00000000-0000-0000-0000-000000000000" }, `no UUID`},
		{func(o *Order) { o.Hostname = "a b" }, `"a b" is no host name`},
		{func(o *Order) { o.Class = "" }, "needs a resource class"},
		{func(o *Order) { o.Image.Source = "" }, "needs an image"},
		{func(o *Order) { o.Image.Source = "http://x/y?secret" }, "image http://x/y comes from the web and needs a checksum"},
		{func(o *Order) { o.Image.Checksum = "abc" }, "checksum has 3 characters"},
		{func(o *Order) { o.UserData = make([]byte, MostUserData+1) }, "user data have 1048577 bytes"},
		{func(o *Order) { o.Address = &Address{} }, "has the address that Neutron gives it"},
		{func(o *Order) { o.Keys = []string{key, "-----BEGIN OPENSSH PRIVATE KEY-----"} }, "SSH key 2: this is a private key"},
		{func(o *Order) { o.Keys = []string{"ssh-ed25519"} }, "SSH key 1: a public key is one line"},
		{func(o *Order) { o.Keys = []string{key + "\n" + key} }, "one line"},
		{func(o *Order) { o.Keys = []string{"ssh-ed25519 %%%"} }, `what follows "ssh-ed25519" is no base64`},
		{func(o *Order) { o.Keys = []string{strings.Replace(key, "ssh-ed25519", "ssh-rsa", 1)} },
			`it says "ssh-rsa", and its contents are of another type`},
	} {
		w := newWorld(1)
		o := order()
		tt.change(&o)
		_, err := w.servers().Create(t.Context(), o)
		if node.KindOf(err) != node.Invalid || err == nil || !strings.Contains(err.Error(), tt.want) || len(w.calls) > 0 {
			t.Errorf("%v, %q; want %q", err, w.calls, tt.want)
		}
	}
}

// A rebuild keeps what is not changed; when the service refuses it, the node is described as before.
func TestRebuild(t *testing.T) {
	w := newWorld(1)
	s := w.servers()
	made, err := s.Create(t.Context(), order())
	if err != nil {
		t.Fatal(err)
	}
	before := w.nodes[0].InstanceInfo
	w.fault = func(_ int, call string) (error, error) {
		if call == "Provision" {
			return node.Errorf(node.Invalid, "No such image."), nil
		}
		return nil, nil
	}
	again := Rebuild{Image: Image{Source: "other.qcow2", More: node.Document{"root_gb": 3}}, PreserveEphemeral: true, Wait: time.Minute}
	if _, err := s.Rebuild(t.Context(), "web", again); err == nil || cmp.Diff(before, w.nodes[0].InstanceInfo) != "" {
		t.Errorf("%v, %v", err, w.nodes[0].InstanceInfo)
	}
	w.fault = nil
	v, err := s.Rebuild(t.Context(), "web", again)
	if err != nil || v.State != "active" || v.UUID != made.UUID || v.Image != "other.qcow2" || len(v.Addresses) != 2 {
		t.Errorf("%+v, %v", v, err)
	}
	if diff := cmp.Diff(node.Document{"display_name": "web", "image_source": "other.qcow2", "root_gb": 3, "preserve_ephemeral": true},
		w.nodes[0].InstanceInfo); diff != "" {
		t.Error(diff)
	}
	w.breaks = "too small"
	if _, err := s.Rebuild(t.Context(), "web", Rebuild{Wait: time.Minute}); err == nil || !strings.Contains(err.Error(), "too small") {
		t.Error(err)
	}
	if v, err := s.Show(t.Context(), "web"); err != nil || v.State != "deploy failed" || v.LastError != "too small" ||
		w.nodes[0].InstanceInfo["preserve_ephemeral"] != nil {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := s.Rebuild(t.Context(), "nobody", Rebuild{}); node.KindOf(err) != node.NotFound {
		t.Error(err)
	}
}

// An instance that somebody else put on a node is shown, and not deleted as if it were a server of ours.
func TestInstancesOfOthers(t *testing.T) {
	w := newWorld(2)
	w.nodes[0].State, w.nodes[0].InstanceUUID, w.nodes[0].InstanceName = node.Active, "nova-1", "theirs"
	s := w.servers()
	if _, err := s.Create(t.Context(), order()); err != nil {
		t.Fatal(err)
	}
	list, err := s.List(t.Context())
	if err != nil || len(list) != 2 || list[0].Name != "theirs" || list[0].State != "active" || list[1].Name != "web" {
		t.Errorf("%+v, %v", list, err)
	}
	if err := s.Delete(t.Context(), "theirs", false); node.KindOf(err) != node.Conflict || !strings.Contains(err.Error(), "node undeploy n0") {
		t.Error(err)
	}
	// Without a login the ports stay, and that is said.
	s.Networks = nil
	if err := s.Delete(t.Context(), "web", false); err == nil || !strings.Contains(err.Error(), "but for its ports in Neutron") {
		t.Error(err)
	}
	if err := w.servers().Delete(t.Context(), "web", false); err != nil || len(w.ports) > 0 {
		t.Errorf("%v, %v", err, w.ports)
	}
}

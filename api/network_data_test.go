package api

import (
	"strings"
	"testing"

	"github.com/billet-metal/billet/api/payload"
	"github.com/billet-metal/billet/node"
)

// goodNetworkData has one of everything that the schema knows, and a key that it does not.
const goodNetworkData = `{
	"links": [
		{"id": "eth0", "type": "phy", "ethernet_mac_address": "fa:16:3e:9c:bf:3d", "mtu": 1500, "vif_id": "v", "name": "x"},
		{"id": "eth1", "type": "vif", "ethernet_mac_address": "FA-16-3E-9C-BF-3E", "mtu": null},
		{"id": "bond0", "type": "bond", "ethernet_mac_address": "fa:16:3e:9c:bf:3d", "bond_mode": "802.3ad", "bond_links": ["eth0", "eth1"],
			"bond_miimon": 100},
		{"id": "vlan1", "type": "vlan", "vlan_mac_address": "fa:16:3e:9c:bf:3d", "vlan_link": "bond0", "vlan_id": 0}
	],
	"networks": [
		{"id": "n0", "type": "ipv4", "link": "vlan1", "network_id": "n", "ip_address": "192.0.2.9", "netmask": "255.255.252.0",
			"routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.1"}]},
		{"id": "n1", "type": "ipv4_dhcp", "link": "eth0", "network_id": "n"},
		{"id": "n2", "type": "ipv6", "link": "eth0", "network_id": "n", "ip_address": "2001:db8::9/64", "netmask": "ffff:ffff:ffff:ffff::",
			"routes": [{"network": "::", "netmask": "::", "gateway": "fe80::1%eth0"}]},
		{"id": "n3", "type": "ipv6_slaac", "link": "eth0", "network_id": "n"}
	],
	"services": [{"type": "dns", "address": "192.0.2.53"}, {"type": "dns", "address": "2001:db8::53"}]
}`

// Each rule of the schema, broken once in network data that is good otherwise, is named by its place, with what is there and
// what is allowed; the node keeps what it had.
func TestNetworkData(t *testing.T) {
	for _, tt := range []struct{ name, old, new, want string }{
		{"good", "", "", ""},
		{"no links", `"links"`, `"Links"`,
			"network_data/links is null; a list is needed. network_data is empty or has the lists links, networks and services."},
		{"services of another kind", `"services": [`, `"services": 5, "x": [`, "network_data/services is a number; a list is needed."},
		{"a link of another kind", `"links": [`, `"links": ["eth0", `, "network_data/links[0] is a string; an object is needed."},
		{"link type", `"phy"`, `"wifi"`,
			`network_data/links[0]/type is "wifi"; allowed are bridge, dvs, hw_veb, hyperv, ovs, phy, tap, vhostuser, vif, bond, vlan.`},
		{"no link type", `"type": "phy", `, "", "network_data/links[0]/type is null; allowed are bridge,"},
		{"link id", `"id": "eth0"`, `"id": 0`, "network_data/links[0]/id is 0; allowed is a string."},
		{"no link id", `"id": "eth0", `, "", `network_data/links[0] has no "id"; needed is a string.`},
		{"MAC", `"fa:16:3e:9c:bf:3d", "mtu"`, `"fa:16:3e:9c:bf", "mtu"`,
			`network_data/links[0]/ethernet_mac_address is "fa:16:3e:9c:bf"; allowed is a MAC address`},
		{"MAC with dots", `"fa:16:3e:9c:bf:3d", "mtu"`, `"fa16.3e9c.bf3d", "mtu"`,
			`network_data/links[0]/ethernet_mac_address is "fa16.3e9c.bf3d"`},
		{"MTU 0", `1500`, `0`, "network_data/links[0]/mtu is 0; allowed is a number from 1 to 65535, or null."},
		{"MTU text", `1500`, `"1500"`, `network_data/links[0]/mtu is "1500"; allowed is`},
		{"MTU fraction", `1500`, `1.5`, "network_data/links[0]/mtu is 1.5; allowed is"},
		{"bond mode", `"802.3ad"`, `"fast"`,
			`network_data/links[2]/bond_mode is "fast"; allowed is one of 802.1ad, 802.3ad, active-backup, balance-alb,`},
		{"bond links", `["eth0", "eth1"]`, `["eth0", 1]`, `network_data/links[2]/bond_links is ["eth0",1]; allowed is a list of strings.`},
		{"no bond links", `"bond_links"`, `"links"`, `network_data/links[2] has no "bond_links"; needed is a list of strings.`},
		{"VLAN", `"vlan_id": 0`, `"vlan_id": 4096`, "network_data/links[3]/vlan_id is 4096; allowed is a whole number from 0 to 4095."},
		{"VLAN's link", `"vlan_link": "bond0"`, `"vlan_link": null`, "network_data/links[3]/vlan_link is null; allowed is a string."},
		{"network type", `"ipv4_dhcp"`, `"ipv5"`,
			`network_data/networks[1]/type is "ipv5"; allowed are ipv4, ipv4_dhcp, ipv6, ipv6_dhcp, ipv6_slaac.`},
		{"no network id", `"link": "eth0", "network_id": "n"}`, `"link": "eth0"}`,
			`network_data/networks[1] has no "network_id"; needed is a string.`},
		{"address of another family", `"192.0.2.9"`, `"2001:db8::1"`,
			`network_data/networks[0]/ip_address is "2001:db8::1"; allowed is an IPv4 address.`},
		{"v4 address with a length", `"192.0.2.9"`, `"192.0.2.9/24"`,
			`network_data/networks[0]/ip_address is "192.0.2.9/24"; allowed is an IPv4 address.`},
		{"v6 address too long", `9/64"`, `9/129"`, `network_data/networks[2]/ip_address is "2001:db8::9/129"; allowed is an IPv6 address.`},
		{"mask with a hole", `255.255.252.0`, `255.0.255.0`,
			`network_data/networks[0]/netmask is "255.0.255.0"; allowed is an IPv4 address that is a network mask.`},
		{"mask as a length", `"255.255.252.0"`, `22`,
			`network_data/networks[0]/netmask is 22; allowed is an IPv4 address that is a network mask.`},
		{"routes of another kind", `"routes": [{"network": "::"`, `"routes": {}, "x": [{"network": "::"`,
			`network_data/networks[2]/routes is {}; allowed is a list of routes.`},
		{"a route without gateway", `, "gateway": "192.0.2.1"`, ``,
			`network_data/networks[0]/routes[0] has no "gateway"; needed is an IPv4 address.`},
		{"a route with routes", `"gateway": "192.0.2.1"`, `"gateway": "192.0.2.1", "routes": [7]`, ""},
		{"a route's mask", `"netmask": "::"`, `"netmask": "::1"`,
			`network_data/networks[2]/routes[0]/netmask is "::1"; allowed is an IPv6 address that is a network mask.`},
		{"a route that is none", `"routes": [{"network": "::"`, `"routes": [null, {"network": "::"`,
			"network_data/networks[2]/routes[0] is null; an object is needed."},
		{"service type", `"dns", "address": "2001:db8::53"`, `"ntp", "address": "2001:db8::53"`,
			`network_data/services[1]/type is "ntp"; allowed are dns.`},
		{"service address", `"192.0.2.53"`, `"dns.example"`, `network_data/services[0]/address is "dns.example"; allowed is an IP address.`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(goodNetworkData, tt.old, tt.new, 1)
			if tt.old != "" && text == goodNetworkData {
				t.Fatalf("%s is not there", tt.old)
			}
			body, err := payload.DecodeObject([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			n := &node.Node{NetworkData: node.Document{"old": true}}
			err = setNetworkData(n, body)
			switch {
			case tt.want == "" && (err != nil || len(n.NetworkData["links"].([]any)) != 4):
				t.Errorf("%v, %v", err, n.NetworkData)
			case tt.want != "" && (err == nil || node.KindOf(err) != node.Invalid || !strings.HasPrefix(err.Error(), tt.want)):
				t.Errorf("got %v\nwant %s", err, tt.want)
			case tt.want != "" && n.NetworkData["old"] != true:
				t.Errorf("the node has %v", n.NetworkData)
			}
		})
	}
	n := &node.Node{NetworkData: node.Document{"old": true}}
	for _, nothing := range []any{nil, map[string]any{}} {
		if err := setNetworkData(n, nothing); err != nil || len(n.NetworkData) != 0 {
			t.Errorf("%v: %v, %v", nothing, err, n.NetworkData)
		}
	}
	if err := setNetworkData(n, []any{}); err == nil || err.Error() != "Field network_data must be an object, not a list." {
		t.Error(err)
	}
}

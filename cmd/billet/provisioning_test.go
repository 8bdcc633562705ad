package main

import (
	"net/netip"
	"strings"
	"testing"
)

func TestAddressesToHandOut(t *testing.T) {
	for _, tt := range []struct {
		name, prefix, dhcpRange, mode, router string
		want                                  string
	}{
		{"upper half", "10.0.0.1/24", "", "full", "", "10.0.0.128-10.0.0.254"},
		{"upper half of a wide one", "10.99.3.7/16", "", "full", "", "10.99.128.0-10.99.255.254"},
		{"upper half of the narrowest", "192.0.2.1/29", "", "full", "", "192.0.2.4-192.0.2.6"},
		{"the top of the address space", "255.255.255.1/24", "", "full", "", "255.255.255.128-255.255.255.254"},
		{"as asked", "10.0.0.1/24", "10.0.0.20-10.0.0.30", "full", "10.0.0.254", "10.0.0.20-10.0.0.30 via 10.0.0.254"},
		{"elsewhere", "10.0.0.1/24", "10.0.1.20-10.0.1.30", "full",
			"", "dhcp_range: 10.0.1.20-10.0.1.30 does not lie in 10.0.0.0/24, the network of eth1"},
		{"over the end", "10.0.0.1/24", "10.0.0.20-10.0.1.30", "full", "",
			"dhcp_range: 10.0.0.20-10.0.1.30 does not lie in 10.0.0.0/24, the network of eth1"},
		{"too narrow", "10.0.0.1/30", "", "full", "", "dhcp_range: 10.0.0.0/30 is too small to take half of it; set the key"},
		{"too narrow, but set", "10.0.0.1/30", "10.0.0.2-10.0.0.2", "full", "", "10.0.0.2-10.0.0.2"},
		{"narrow beside another server", "10.0.0.1/30", "", "proxy", "", "10.0.0.2-10.0.0.2"},
	} {
		prefix := netip.MustParsePrefix(tt.prefix)
		p := &provisioning{ip: prefix.Addr(), prefix: prefix.Masked()}
		pool, err := p.addresses(&Config{DHCPRange: tt.dhcpRange, DHCPMode: tt.mode, DHCPRouter: tt.router, ProvisionInterface: "eth1"})
		got := pool.First.String() + "-" + pool.Last.String()
		if pool.Router.IsValid() {
			got += " via " + pool.Router.String()
		}
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// The loopback interface is the one every machine has, with an IPv4 address.
func TestFindProvisioning(t *testing.T) {
	p, err := findProvisioning(&Config{ProvisionInterface: "lo", DHCPMode: "full"})
	if err != nil || p.ip.String() != "127.0.0.1" || p.prefix.String() != "127.0.0.0/8" {
		t.Errorf("%+v %v", p, err)
	}
	if _, err := findProvisioning(&Config{ProvisionInterface: "no-such-nic"}); err == nil ||
		!strings.Contains(err.Error(), `there is no network interface "no-such-nic" here`) {
		t.Error(err)
	}
}

func TestMachineURL(t *testing.T) {
	net := &provisioning{ip: netip.MustParseAddr("10.0.0.1")}
	for _, tt := range []struct {
		c    Config
		net  *provisioning
		want string
	}{
		{Config{Listen: "127.0.0.1:6385", ProvisionPort: 6386, PublicEndpoint: "https://metal"}, net, "http://10.0.0.1:6386"},
		{Config{Listen: "127.0.0.1:6385", PublicEndpoint: "https://metal/"}, nil, "https://metal"},
		{Config{Listen: "127.0.0.1:6385"}, nil, "http://127.0.0.1:6385"},
	} {
		if got := machineURL(&tt.c, tt.net); got != tt.want {
			t.Errorf("%s, want %s", got, tt.want)
		}
	}
}

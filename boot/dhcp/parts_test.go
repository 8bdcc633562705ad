package dhcp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

func TestReadClient(t *testing.T) {
	tests := []struct {
		name string
		mods []dhcpv4.Modifier
		want client
		said string
	}{
		{"linux", linux, client{}, "an operating system"},
		{"linux, slow", with(linux, func(m *dhcpv4.DHCPv4) { m.NumSeconds = 31 }), client{secs: 31}, "an operating system"},
		{"bios", biosPXE, client{pxe: true}, "BIOS (arch 0)"},
		{"uefi", uefiPXE, client{pxe: true, arch: 7}, "x86-64 UEFI (arch 7)"},
		{"http", uefiHTTP, client{pxe: true, arch: 16, http: true}, "x86-64 UEFI HTTP (arch 16)"},
		{"ipxe", biosIPXE, client{pxe: true, ipxe: true, ipxeHTTP: true}, "iPXE on BIOS (arch 0)"},
		{"ipxe without http", oldIPXE, client{pxe: true, ipxe: true}, "iPXE on BIOS (arch 0)"},
		{"ipxe, RFC 3004 form", []dhcpv4.Modifier{option(77, "\x04iPXE")}, client{pxe: true, ipxe: true, ipxeHTTP: true},
			"iPXE on BIOS (arch 0)"},
		{"ipxe, counts its messages", with(biosIPXE, func(m *dhcpv4.DHCPv4) { m.NumSeconds = 12 }),
			client{pxe: true, ipxe: true, ipxeHTTP: true, secs: 12}, "iPXE on BIOS (arch 0)"},
		{"another user class", with(linux, option(77, "iPXEish")), client{}, "an operating system"},
		{"broken features", []dhcpv4.Modifier{option(77, "iPXE"), option(175, "\x13\xff")}, client{pxe: true, ipxe: true, ipxeHTTP: true},
			"iPXE on BIOS (arch 0)"},
		{"short architecture", []dhcpv4.Modifier{option(93, "\x07")}, client{pxe: true, arch: 7}, "x86-64 UEFI (arch 7)"},
	}
	for _, tt := range tests {
		got, ok := readClient(from(t, knownMAC, dhcpv4.MessageTypeDiscover, tt.mods...))
		tt.want.mac = knownMAC
		if !ok || got != tt.want || got.String() != tt.said {
			t.Errorf("%s: %+v %q, want %+v %q", tt.name, got, got, tt.want, tt.said)
		}
	}
	for _, hw := range []net.HardwareAddr{nil, {1, 2, 3}, {0, 0, 0, 0, 0, 0}, {1, 2, 3, 4, 5, 6, 7, 8}} {
		m := from(t, knownMAC, dhcpv4.MessageTypeDiscover)
		m.ClientHWAddr = hw
		if c, ok := readClient(m); ok {
			t.Errorf("hardware address %s is read as %+v", hw, c)
		}
	}
}

// A client that has asked in vain for long is a sign; one that asks again after our answer is not.
func TestHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h heard
		for _, tt := range []struct {
			who   client
			after time.Duration
			want  string
		}{
			{client{mac: knownMAC, secs: 31}, 0, ", asking for 31s already (a switch port slow to forward?)"},
			{client{mac: knownMAC, secs: 47}, 16 * time.Second, ""},
			{client{mac: ipxeMAC, secs: 9}, 0, ""},
			{client{mac: ipxeMAC, secs: 40, ipxe: true}, time.Hour, ""},
			{client{mac: knownMAC, secs: 12}, time.Minute, ", asking for 12s already (a switch port slow to forward?)"},
		} {
			time.Sleep(tt.after)
			if got := h.note(tt.who); got != tt.want {
				t.Errorf("%+v: %q, want %q", tt.who, got, tt.want)
			}
		}
		for i := range maxHeard + 10 {
			h.note(client{mac: fmt.Sprint(i)})
		}
		if len(h.last) > maxHeard {
			t.Errorf("a flood of MACs is kept: %d", len(h.last))
		}
	})
}

// An iPXE that cannot fetch by HTTP is given another iPXE; when that changes nothing, the script
// all the same, so that its error is on the console instead of an endless loop.
func TestLoopGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := newServer(t, Full)
		round := func() string {
			t.Helper()
			var file string
			for _, kind := range []dhcpv4.MessageType{dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest} {
				resp, _ := ask(t, s, from(t, ipxeMAC, kind, with(oldIPXE, wish("10.99.0.20"))...))
				if resp == nil {
					t.Fatal("no answer")
				}
				file = resp.BootFileName
			}
			return file
		}
		const script = "http://10.99.0.1:8080/boot/ipxe?mac=" + ipxeMAC
		for i, want := range []string{"undionly.kpxe", "undionly.kpxe", "undionly.kpxe", script, script} {
			if got := round(); got != want {
				t.Errorf("round %d: %q, want %q", i, got, want)
			}
		}
		time.Sleep(loopWindow + time.Second)
		if got := round(); got != "undionly.kpxe" {
			t.Errorf("later: %q, want a fresh start", got)
		}
	})
}

func TestConfigErrors(t *testing.T) {
	good := func() Config {
		s, _, _ := newServer(t, Full)
		return s.Config
	}
	tests := []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Mode = "on" }, `dhcp mode "on" is none of full, proxy, off`},
		{func(c *Config) { c.Interface = "" }, "dhcp mode full needs the interface to serve on"},
		{func(c *Config) { c.ServerIP = netip.Addr{} }, "dhcp mode full needs our own IPv4 address on br0"},
		{func(c *Config) { c.ServerIP = netip.MustParseAddr("fe80::1") }, "dhcp mode full needs our own IPv4 address on br0"},
		{func(c *Config) { c.BaseURL = "" }, "dhcp mode full needs the URL machines fetch boot scripts from"},
		{func(c *Config) { c.Pools = nil }, "dhcp mode full needs a range of addresses to lend"},
		{func(c *Config) { c.Pools[0].Prefix = netip.Prefix{} }, `dhcp range: "invalid Prefix" is not an IPv4 network`},
		{func(c *Config) { c.Pools[0].Last = netip.MustParseAddr("10.99.0.2") },
			"dhcp range 10.99.0.20-10.99.0.2: both ends must lie in 10.99.0.0/24, the lower first"},
		{func(c *Config) { c.Pools[0].First = netip.MustParseAddr("10.98.0.2") },
			"dhcp range 10.98.0.2-10.99.0.29: both ends must lie in 10.99.0.0/24, the lower first"},
		{func(c *Config) { c.Pools[0].Router = netip.MustParseAddr("10.98.0.2") }, "dhcp router 10.98.0.2 does not lie in 10.99.0.0/24"},
		{func(c *Config) { *c = Config{Mode: Off} }, ""},
		{func(c *Config) { c.Mode, c.Pools = Proxy, nil }, ""},
	}
	for _, tt := range tests {
		c := good()
		tt.change(&c)
		got := ""
		if err := c.check(); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
	c := Config{Mode: Off}
	if err := c.check(); err != nil || c.LeaseTime != DefaultLeaseTime {
		t.Errorf("lease time %s, %v; want the default", c.LeaseTime, err)
	}
}

func TestServe(t *testing.T) {
	s, _, _ := newServer(t, Full)
	s.Config.Interface = "no-such-nic"
	if err := s.Serve(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "dhcp interface no-such-nic: ") {
		t.Errorf("an interface that is not there: %v", err)
	}
	s.Config.Interface = "lo"
	want := "dhcp interface lo does not have the address 10.99.0.1; it has "
	if err := s.Serve(t.Context()); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("an address that is not there: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (&Server{Config: Config{Mode: Off}}).Serve(ctx); err != nil {
		t.Errorf("mode off: %v", err)
	}
}

func TestBroadcastOf(t *testing.T) {
	for prefix, want := range map[string]string{
		"10.99.0.7/24": "10.99.0.255", "10.0.0.0/8": "10.255.255.255", "192.168.1.4/30": "192.168.1.7",
		"192.168.1.4/32": "192.168.1.4", "0.0.0.0/0": "255.255.255.255",
	} {
		if got := broadcastOf(netip.MustParsePrefix(prefix)).String(); got != want {
			t.Errorf("broadcast address of %s: %s, want %s", prefix, got, want)
		}
	}
}

func TestRouterAdvertisement(t *testing.T) {
	got := routerAdvertisement(net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1})
	want := []byte{134, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0x52, 0x54, 0, 0, 0, 1}
	if string(got) != string(want) {
		t.Errorf("got % x, want % x", got, want)
	}
	solicitation := []byte{133, 0, 0, 0, 0, 0, 0, 0}
	tests := []struct {
		msg  []byte
		hops int
		want bool
	}{
		{solicitation, 255, true},
		{append(solicitation, 1, 1, 2, 3, 4, 5, 6, 7), 255, true},
		{solicitation, 64, false}, // came through a router
		{solicitation[:7], 255, false},
		{[]byte{133, 1, 0, 0, 0, 0, 0, 0}, 255, false},
		{got, 255, false},
		{nil, 255, false},
	}
	for _, tt := range tests {
		if is := isSolicitation(tt.msg, tt.hops); is != tt.want {
			t.Errorf("% x with %d hops is a solicitation: %v, want %v", tt.msg, tt.hops, is, tt.want)
		}
	}
}

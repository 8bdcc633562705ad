package dhcp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// A range may be as wide as its network; what is nobody's address, ours or a router's is not lent.
func TestHostsOnlyAreLent(t *testing.T) {
	for _, tt := range []struct{ prefix, first, last, router, want string }{
		{"10.7.0.0/29", "10.7.0.0", "10.7.0.7", "10.7.0.6", "[10.7.0.2 10.7.0.3 10.7.0.4 10.7.0.5]"}, // .1 is the server
		{"10.7.0.0/30", "10.7.0.0", "10.7.0.3", "", "[10.7.0.2]"},
		{"10.7.0.2/31", "10.7.0.2", "10.7.0.3", "", "[10.7.0.2 10.7.0.3]"}, // RFC 3021: both are hosts
		{"10.7.0.9/32", "10.7.0.9", "10.7.0.9", "", "[10.7.0.9]"},
		{"10.7.0.0/24", "10.7.0.254", "10.7.0.255", "", "[10.7.0.254]"},
		{"10.7.0.0/16", "10.7.0.255", "10.7.1.1", "", "[10.7.0.255 10.7.1.0 10.7.1.1]"}, // in the middle of a network they are hosts
	} {
		s, _, _ := newServer(t, Full)
		s.Config.ServerIP = netip.MustParseAddr("10.7.0.1")
		p := Pool{Prefix: netip.MustParsePrefix(tt.prefix), First: netip.MustParseAddr(tt.first), Last: netip.MustParseAddr(tt.last)}
		if tt.router != "" {
			p.Router = netip.MustParseAddr(tt.router)
		}
		var got []string
		for i := range 20 {
			who := fmt.Sprintf("52:54:00:00:01:%02x", i)
			ip, err := s.offer(t.Context(), who, p.First, p) // each wishes the first
			if err != nil {
				t.Fatal(err)
			}
			if !ip.IsValid() {
				break
			}
			if life, err := s.lend(t.Context(), who, ip, p); life != time.Hour || err != nil {
				t.Errorf("%s: %s was offered and is lent for %s: %v", tt.prefix, ip, life, err)
			}
			got = append(got, ip.String())
		}
		if fmt.Sprint(got) != tt.want {
			t.Errorf("%s, %s to %s: lent are %v, want %s", tt.prefix, tt.first, tt.last, got, tt.want)
		}
	}
}

// While the store is away an operating system keeps what this process lent it, for no longer than the store keeps it; nobody
// else gets anything.
func TestTheStoreIsAway(t *testing.T) {
	s, store, _ := newServer(t, Full)
	ask(t, s, from(t, ipxeMAC, dhcpv4.MessageTypeDiscover))
	ask(t, s, from(t, ipxeMAC, dhcpv4.MessageTypeRequest, chosen(ourIP), wish("10.99.0.20")))
	renew := dhcpv4.WithClientIP(net.IPv4(10, 99, 0, 20))
	for _, away := range []func(){
		func() { store.lost = errors.New("no database") }, func() { store.lost, store.err = nil, errors.New("no database") },
	} {
		s.Config.LeaseTime = 80 * time.Minute // so that an answer must be stored anew
		away()
		resp, _ := ask(t, s, from(t, ipxeMAC, dhcpv4.MessageTypeRequest, renew))
		if resp == nil || resp.MessageType() != dhcpv4.MessageTypeAck || resp.IPAddressLeaseTime(0) != 80*time.Minute {
			t.Fatalf("a renewal is answered %s", describe(resp, netip.AddrPort{}))
		}
		s.Config.LeaseTime = 10 * time.Hour
		resp, _ = ask(t, s, from(t, ipxeMAC, dhcpv4.MessageTypeRequest, renew))
		if life := resp.IPAddressLeaseTime(0); life > 90*time.Minute || life < 80*time.Minute {
			t.Errorf("renewed for %s, and the store keeps it for 90 min", life)
		}
		for name, req := range map[string]*dhcpv4.DHCPv4{
			"another's":         from(t, knownMAC, dhcpv4.MessageTypeRequest, renew),
			"another address":   from(t, ipxeMAC, dhcpv4.MessageTypeRequest, dhcpv4.WithClientIP(net.IPv4(10, 99, 0, 22))),
			"a new machine":     from(t, knownMAC, dhcpv4.MessageTypeDiscover),
			"a machine's start": from(t, knownMAC, dhcpv4.MessageTypeRequest, chosen(ourIP), wish("10.99.0.22")),
		} {
			if resp, _ := ask(t, s, req); resp != nil {
				t.Errorf("%s: %s", name, describe(resp, netip.AddrPort{}))
			}
		}
	}
	store.err = nil
	ask(t, s, from(t, ipxeMAC, dhcpv4.MessageTypeRelease, renew))
	store.lost = errors.New("no database")
	if resp, _ := ask(t, s, from(t, ipxeMAC, dhcpv4.MessageTypeRequest, renew)); resp != nil {
		t.Errorf("an address given back is renewed: %s", describe(resp, netip.AddrPort{}))
	}
}

// A client that takes the offer of another process of this service is not two servers' quarrel.
func TestAnotherProcessIsNoOtherServer(t *testing.T) {
	s, store, trace := newServer(t, Full)
	if err := store.AnswersDHCP(t.Context(), netip.MustParseAddr("10.99.0.2")); err != nil {
		t.Fatal(err)
	}
	for server, want := range map[string]string{"10.99.0.2": "left to peer", "10.99.0.3": "other server"} {
		resp, _ := ask(t, s, from(t, knownMAC, dhcpv4.MessageTypeRequest, chosen(server), wish("10.99.0.20")))
		if got := string(trace.kinds[len(trace.kinds)-1]); resp != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", server, got, resp, want)
		}
	}
}

package dhcp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// describe writes an answer as text: header, then options by number.
func describe(m *dhcpv4.DHCPv4, to netip.AddrPort) string {
	if m == nil {
		return "silence"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s to %s yiaddr %s siaddr %s", m.MessageType(), to, m.YourIPAddr, m.ServerIPAddr)
	if m.BootFileName != "" || m.ServerHostName != "" {
		fmt.Fprintf(&b, " file %q sname %q", m.BootFileName, m.ServerHostName)
	}
	var codes []int
	for c := range m.Options {
		if c != 53 {
			codes = append(codes, int(c))
		}
	}
	sort.Ints(codes)
	for _, c := range codes {
		fmt.Fprintf(&b, "\n%d=%x", c, m.Options[uint8(c)])
		if c == 60 || c == 66 || c == 67 {
			fmt.Fprintf(&b, " %s", m.Options[uint8(c)])
		}
	}
	return b.String()
}

// What every answer with an address tells about the network.
const network20 = `
1=ffffff00
3=0a6300fe
6=0a630035
28=0a6300ff
51=00000e10`

func TestDiscover(t *testing.T) {
	tests := []struct {
		name   string
		mac    string
		client []dhcpv4.Modifier
		want   string
		said   string
	}{
		{
			"unknown", unknownMAC, biosPXE, "silence",
			"DISCOVER from BIOS (arch 0): ignored: the MAC belongs to no node and discovery is off",
		},
		{
			"known, no record", knownMAC, biosPXE,
			"OFFER to 255.255.255.255:68 yiaddr 10.99.0.20 siaddr 0.0.0.0" + network20 +
				"\n54=0a630001\n58=00000708\n59=00000c4e",
			"DISCOVER from BIOS (arch 0): offered 10.99.0.20, no boot file: it boots its own disk",
		},
		{
			"known, no record, iPXE", knownMAC, biosIPXE,
			`OFFER to 255.255.255.255:68 yiaddr 10.99.0.20 siaddr 10.99.0.1 file "http://10.99.0.1:8080/boot/ipxe?mac=52:54:00:00:00:01" sname ""` +
				network20 +
				"\n54=0a630001\n58=00000708\n59=00000c4e" +
				"\n67=687474703a2f2f31302e39392e302e313a383038302f626f6f742f697078653f6d61633d35323a35343a30303a30303a30303a3031 " +
				"http://10.99.0.1:8080/boot/ipxe?mac=52:54:00:00:00:01\n175=b00101",
			"DISCOVER from iPXE on BIOS (arch 0): offered 10.99.0.20, boot file http://10.99.0.1:8080/boot/ipxe?mac=52:54:00:00:00:01",
		},
		{
			"record ipxe, BIOS", ipxeMAC, biosPXE,
			`OFFER to 255.255.255.255:68 yiaddr 10.99.0.20 siaddr 10.99.0.1 file "undionly.kpxe" sname "10.99.0.1"` + network20 +
				"\n54=0a630001\n58=00000708\n59=00000c4e\n66=31302e39392e302e31 10.99.0.1\n67=756e64696f6e6c792e6b707865 undionly.kpxe",
			"DISCOVER from BIOS (arch 0): offered 10.99.0.20, boot file undionly.kpxe",
		},
		{
			"record pxe, UEFI", pxeMAC, uefiPXE,
			`OFFER to 255.255.255.255:68 yiaddr 10.99.0.20 siaddr 10.99.0.1 file "grubnetx64.efi" sname "10.99.0.1"` + network20 +
				"\n54=0a630001\n58=00000708\n59=00000c4e\n66=31302e39392e302e31 10.99.0.1\n67=677275626e65747836342e656669 grubnetx64.efi",
			"DISCOVER from x86-64 UEFI (arch 7): offered 10.99.0.20, boot file grubnetx64.efi",
		},
		{
			"record pxe, iPXE", pxeMAC, biosIPXE,
			`OFFER to 255.255.255.255:68 yiaddr 10.99.0.20 siaddr 10.99.0.1 file "pxelinux.0" sname "10.99.0.1"` + network20 +
				"\n54=0a630001\n58=00000708\n59=00000c4e\n66=31302e39392e302e31 10.99.0.1\n67=7078656c696e75782e30 pxelinux.0\n175=b00101",
			"DISCOVER from iPXE on BIOS (arch 0): offered 10.99.0.20, boot file pxelinux.0",
		},
		{
			"record ipxe, HTTP boot", ipxeMAC, uefiHTTP,
			`OFFER to 255.255.255.255:68 yiaddr 10.99.0.20 siaddr 10.99.0.1 file "http://10.99.0.1:8080/boot/loader/snponly.efi" sname ""` +
				network20 +
				"\n54=0a630001\n58=00000708\n59=00000c4e\n60=48545450436c69656e74 HTTPClient" +
				"\n67=687474703a2f2f31302e39392e302e313a383038302f626f6f742f6c6f616465722f736e706f6e6c792e656669 " +
				"http://10.99.0.1:8080/boot/loader/snponly.efi",
			"DISCOVER from x86-64 UEFI HTTP (arch 16): offered 10.99.0.20, boot file http://10.99.0.1:8080/boot/loader/snponly.efi",
		},
		{
			"record, an operating system", ipxeMAC, linux,
			"OFFER to 255.255.255.255:68 yiaddr 10.99.0.20 siaddr 0.0.0.0" + network20 +
				"\n54=0a630001\n58=00000708\n59=00000c4e\n61=ff636c69656e742d6964",
			"DISCOVER from an operating system: offered 10.99.0.20, no boot file: not a boot client",
		},
		{
			"record, loader not installed", ipxeMAC, armUEFI,
			"OFFER to 255.255.255.255:68 yiaddr 10.99.0.20 siaddr 0.0.0.0" + network20 + "\n54=0a630001\n58=00000708\n59=00000c4e",
			"DISCOVER from arm64 UEFI (arch 11): offered 10.99.0.20, no boot file: snponly-arm64.efi is not in the directories of boot loaders; " +
				"install the package ipxe",
		},
		{
			"record, no loader known", pxeMAC, ia32UEFI,
			"OFFER to 255.255.255.255:68 yiaddr 10.99.0.20 siaddr 0.0.0.0" + network20 + "\n54=0a630001\n58=00000708\n59=00000c4e",
			"DISCOVER from unknown firmware (arch 6): offered 10.99.0.20, no boot file: no pxe boot loader is known for this architecture",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _, trace := newServer(t, Full)
			resp, to := ask(t, s, from(t, tt.mac, dhcpv4.MessageTypeDiscover, tt.client...))
			if got := describe(resp, to); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
			if got, want := trace.last(), tt.mac+" dhcp: "+tt.said; got != want {
				t.Errorf("told\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// A machine with Secure Boot is given shim once it is there together with the GRUB that shim fetches; until then the
// trace names the package. BIOS machines have no Secure Boot.
func TestShim(t *testing.T) {
	s, _, trace := newServer(t, Full)
	dir := s.Config.Loaders.Dirs[0]
	for _, tt := range []struct {
		put, file string
		client    []dhcpv4.Modifier
		said      string
	}{
		{"", "", uefiPXE, "no boot file: shimx64.efi.signed is not in the directories of boot loaders; install the package shim-signed"},
		{"shimx64.efi.signed", "", uefiPXE,
			"no boot file: grubnetx64.efi.signed is not in the directories of boot loaders; install the package grub-efi-amd64-signed"},
		{"grubnetx64.efi.signed", "shimx64.efi.signed", uefiPXE, "boot file shimx64.efi.signed"},
		{"", "pxelinux.0", biosPXE, "boot file pxelinux.0"},
		{"", "pxelinux.0", biosIPXE, "boot file pxelinux.0"}, // never iPXE's script
		{"", "", uefiHTTP, "no boot file: no shim boot loader is known for this architecture"},
	} {
		if tt.put != "" {
			text, err := os.ReadFile("/usr/lib/ipxe/snponly.efi")
			if err != nil {
				t.Fatal(err)
			}
			// Any program for UEFI whose table of certificates is not empty: directory 4 of its PE32+ header.
			pe := int(binary.LittleEndian.Uint32(text[0x3c:]))
			binary.LittleEndian.PutUint32(text[pe+24+112+4*8+4:], 8)
			if err := os.WriteFile(filepath.Join(dir, tt.put), text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		resp, _ := ask(t, s, from(t, shimMAC, dhcpv4.MessageTypeDiscover, tt.client...))
		if resp == nil || resp.BootFileName != tt.file || !strings.HasSuffix(trace.last(), ": offered "+resp.YourIPAddr.String()+", "+tt.said) {
			t.Errorf("want %q; told %s; answered %s", tt.file, trace.last(), describe(resp, netip.AddrPort{}))
		}
	}
}

func TestDiscoveryGivesAddressesOnly(t *testing.T) {
	s, _, _ := newServer(t, Full)
	s.Config.Discovery = true
	resp, _ := ask(t, s, from(t, unknownMAC, dhcpv4.MessageTypeDiscover, biosIPXE...))
	if resp == nil || resp.YourIPAddr.String() != "10.99.0.20" || resp.BootFileName != "" {
		t.Errorf("with discovery on an unknown machine gets %s", describe(resp, netip.AddrPort{}))
	}
}

// TestRequest walks the cases of RFC 2131 table 4. Before each, ipxeMAC has 10.99.0.20 lent.
func TestRequest(t *testing.T) {
	tests := []struct {
		name string
		mac  string
		mods []dhcpv4.Modifier
		want string // first line
		said string
	}{
		{
			"selecting", knownMAC, []dhcpv4.Modifier{chosen(ourIP), wish("10.99.0.21")},
			"ACK to 255.255.255.255:68 yiaddr 10.99.0.21", "lent 10.99.0.21, no boot file: not a boot client",
		},
		{
			"selecting another server", knownMAC, []dhcpv4.Modifier{chosen("10.99.0.7"), wish("10.99.0.21")},
			"silence", "it took the offer of another DHCP server, 10.99.0.7: two servers answer on this network",
		},
		{
			"init-reboot, its own", ipxeMAC, []dhcpv4.Modifier{wish("10.99.0.20")},
			"ACK to 255.255.255.255:68 yiaddr 10.99.0.20", "lent 10.99.0.20, no boot file: not a boot client",
		},
		{
			"init-reboot, another's", knownMAC, []dhcpv4.Modifier{wish("10.99.0.20")},
			"NAK to 255.255.255.255:68 yiaddr 0.0.0.0", "refused 10.99.0.20: the address is not its to use here",
		},
		{
			"init-reboot, another network's", ipxeMAC, []dhcpv4.Modifier{wish("192.168.1.5")},
			"NAK to 255.255.255.255:68 yiaddr 0.0.0.0", "refused 192.168.1.5: the address is not its to use here",
		},
		{
			"init-reboot, another free one", ipxeMAC, []dhcpv4.Modifier{wish("10.99.0.25")},
			"NAK to 255.255.255.255:68 yiaddr 0.0.0.0", "refused 10.99.0.25: the address is not its to use here",
		},
		{
			"our own address", knownMAC, []dhcpv4.Modifier{wish(ourIP)},
			"NAK to 255.255.255.255:68 yiaddr 0.0.0.0", "refused 10.99.0.1: the address is not its to use here",
		},
		{
			"renewing", ipxeMAC, []dhcpv4.Modifier{dhcpv4.WithClientIP(net.IPv4(10, 99, 0, 20))},
			"ACK to 10.99.0.20:68 yiaddr 10.99.0.20", "lent 10.99.0.20, no boot file: not a boot client",
		},
		{
			"renewing, the broadcast flag", ipxeMAC, []dhcpv4.Modifier{dhcpv4.WithClientIP(net.IPv4(10, 99, 0, 20)), dhcpv4.WithBroadcast(true)},
			"ACK to 255.255.255.255:68 yiaddr 10.99.0.20", "lent 10.99.0.20, no boot file: not a boot client",
		},
		{
			"renewing another's", knownMAC, []dhcpv4.Modifier{dhcpv4.WithClientIP(net.IPv4(10, 99, 0, 20))},
			"NAK to 255.255.255.255:68 yiaddr 0.0.0.0", "refused 10.99.0.20: the address is not its to use here",
		},
		{"nothing asked", knownMAC, nil, "silence", "ignored: it asks for no address"},
		{
			"unknown", unknownMAC, []dhcpv4.Modifier{wish("10.99.0.21")},
			"silence", "ignored: the MAC belongs to no node and discovery is off",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _, trace := newServer(t, Full)
			ask(t, s, from(t, ipxeMAC, dhcpv4.MessageTypeDiscover))
			if resp, _ := ask(t, s, from(t, ipxeMAC, dhcpv4.MessageTypeRequest, chosen(ourIP), wish("10.99.0.20"))); resp == nil {
				t.Fatal("no lease to begin with")
			}
			resp, to := ask(t, s, from(t, tt.mac, dhcpv4.MessageTypeRequest, tt.mods...))
			got, _, _ := strings.Cut(describe(resp, to), " siaddr")
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if want := tt.mac + " dhcp: REQUEST from an operating system: " + tt.said; trace.last() != want {
				t.Errorf("told\n%s\nwant\n%s", trace.last(), want)
			}
		})
	}
}

func TestInform(t *testing.T) {
	s, store, _ := newServer(t, Full)
	resp, to := ask(t, s, from(t, ipxeMAC, dhcpv4.MessageTypeInform, with(biosPXE, dhcpv4.WithClientIP(net.IPv4(10, 99, 0, 77)))...))
	want := `ACK to 10.99.0.77:68 yiaddr 0.0.0.0 siaddr 10.99.0.1 file "undionly.kpxe" sname "10.99.0.1"
1=ffffff00
3=0a6300fe
6=0a630035
28=0a6300ff
54=0a630001
66=31302e39392e302e31 10.99.0.1
67=756e64696f6e6c792e6b707865 undionly.kpxe`
	if got := describe(resp, to); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if store.lent(t) != "" {
		t.Error("INFORM must not lend an address")
	}
}

func TestReleaseAndDecline(t *testing.T) {
	s, store, trace := newServer(t, Full)
	lend := func(mac, want string) {
		t.Helper()
		offer, _ := ask(t, s, from(t, mac, dhcpv4.MessageTypeDiscover))
		if offer == nil || offer.YourIPAddr.String() != want {
			t.Fatalf("%s is offered %s, want %s", mac, describe(offer, netip.AddrPort{}), want)
		}
		ask(t, s, from(t, mac, dhcpv4.MessageTypeRequest, chosen(ourIP), wish(want)))
	}
	lend(knownMAC, "10.99.0.20")
	if resp, _ := ask(t, s, from(t, knownMAC, dhcpv4.MessageTypeRelease, dhcpv4.WithClientIP(net.IPv4(10, 99, 0, 20)))); resp != nil {
		t.Error("RELEASE has no answer")
	}
	lend(knownMAC, "10.99.0.20") // the same again
	ask(t, s, from(t, knownMAC, dhcpv4.MessageTypeDecline, wish("10.99.0.20")))
	if want := knownMAC +
		" dhcp: DECLINE from an operating system: 10.99.0.20 declined: another machine answers at that address"; trace.last() != want {
		t.Errorf("told %q, want %q", trace.last(), want)
	}
	if store.lent(t) != "" {
		t.Error("the declined lease is still stored")
	}
	lend(knownMAC, "10.99.0.21")
	ask(t, s, from(t, ipxeMAC, dhcpv4.MessageTypeDecline, wish("10.99.0.21"))) // another's
	lend(knownMAC, "10.99.0.21")
}

func TestAFailingStoreIsNeverAnAck(t *testing.T) {
	s, store, trace := newServer(t, Full)
	ask(t, s, from(t, knownMAC, dhcpv4.MessageTypeDiscover))
	store.err = errors.New("disk full")
	if resp, _ := ask(t, s, from(t, knownMAC, dhcpv4.MessageTypeRequest, chosen(ourIP), wish("10.99.0.20"))); resp != nil {
		t.Errorf("got %s without a stored lease", describe(resp, netip.AddrPort{}))
	}
	if !strings.HasSuffix(trace.last(), "not answered: the lease of 10.99.0.20 could not be stored") {
		t.Errorf("told %q", trace.last())
	}
	store.lost = errors.New("no database")
	if resp, _ := ask(t, s, from(t, knownMAC, dhcpv4.MessageTypeDiscover)); resp != nil {
		t.Error("answered without knowing who asks")
	}
	if !strings.HasSuffix(trace.last(), "not answered: the store could not say who this is") {
		t.Errorf("told %q", trace.last())
	}
}

func TestRelay(t *testing.T) {
	agent := func(sub ...dhcpv4.Option) dhcpv4.Modifier { return dhcpv4.WithOption(dhcpv4.OptRelayAgentInfo(sub...)) }
	circuit := dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(1), []byte("port 7"))
	link := dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(relayLinkSelection), []byte{10, 50, 0, 0})
	port := dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(relaySourcePort), nil)
	tests := []struct {
		name string
		kind dhcpv4.MessageType
		mods []dhcpv4.Modifier
		want string
		said string
	}{
		{
			"by giaddr", dhcpv4.MessageTypeDiscover, []dhcpv4.Modifier{dhcpv4.WithGatewayIP(net.IPv4(10, 50, 0, 1)), agent(circuit)},
			"OFFER to 10.50.0.1:67 yiaddr 10.50.1.1 82=0106706f72742037", "through the relay 10.50.0.1: offered 10.50.1.1",
		},
		{
			"by link selection", dhcpv4.MessageTypeDiscover, []dhcpv4.Modifier{dhcpv4.WithGatewayIP(net.IPv4(172, 16, 0, 1)), agent(link)},
			"OFFER to 172.16.0.1:67 yiaddr 10.50.1.1 82=05040a320000", "through the relay 172.16.0.1: offered 10.50.1.1",
		},
		{
			"answers to the relay's own port", dhcpv4.MessageTypeDiscover,
			[]dhcpv4.Modifier{dhcpv4.WithGatewayIP(net.IPv4(10, 50, 0, 1)), agent(port)},
			"OFFER to 10.50.0.1:3067 yiaddr 10.50.1.1 82=1300", "offered 10.50.1.1",
		},
		{
			"no range for it", dhcpv4.MessageTypeDiscover, []dhcpv4.Modifier{dhcpv4.WithGatewayIP(net.IPv4(172, 16, 0, 1))},
			"silence", "ignored: no range of addresses for the network of 172.16.0.1",
		},
		{
			"refused", dhcpv4.MessageTypeRequest, []dhcpv4.Modifier{dhcpv4.WithGatewayIP(net.IPv4(10, 50, 0, 1)), wish("10.99.0.20")},
			"NAK to 10.50.0.1:67 yiaddr 0.0.0.0 82= broadcast", "refused 10.99.0.20",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _, trace := newServer(t, Full)
			req := from(t, knownMAC, tt.kind, tt.mods...)
			resp, to := s.answer(context.Background(), packet{req: req, from: netip.MustParseAddrPort("10.50.0.1:3067"), port: serverPort})
			got := "silence"
			if resp != nil {
				got = fmt.Sprintf("%s to %s yiaddr %s 82=%x", resp.MessageType(), to, resp.YourIPAddr, resp.Options[82])
				if resp.IsBroadcast() {
					got += " broadcast"
				}
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if !strings.Contains(trace.last(), tt.said) {
				t.Errorf("told %q, want %q in it", trace.last(), tt.said)
			}
		})
	}
}

func TestProxy(t *testing.T) {
	const bootOptions = "\n43=060108ff\n54=0a630001\n60=505845436c69656e74 PXEClient\n66=31302e39392e302e31 10.99.0.1"
	tests := []struct {
		name   string
		mac    string
		port   uint16
		kind   dhcpv4.MessageType
		client []dhcpv4.Modifier
		want   string
		said   string
	}{
		{
			"PXE", ipxeMAC, 67, dhcpv4.MessageTypeDiscover, biosPXE,
			`OFFER to 255.255.255.255:68 yiaddr 0.0.0.0 siaddr 10.99.0.1 file "undionly.kpxe" sname "10.99.0.1"` +
				bootOptions + "\n67=756e64696f6e6c792e6b707865 undionly.kpxe",
			"the other DHCP server gives the address, boot file undionly.kpxe",
		},
		{
			"back for the file", ipxeMAC, 4011, dhcpv4.MessageTypeRequest, with(uefiPXE, dhcpv4.WithClientIP(net.IPv4(10, 99, 0, 55))),
			`ACK to 10.99.0.55:4011 yiaddr 0.0.0.0 siaddr 10.99.0.1 file "snponly.efi" sname "10.99.0.1"` +
				bootOptions + "\n67=736e706f6e6c792e656669 snponly.efi\n97=006d616368696e652d6964656e74697479",
			"the other DHCP server gives the address, boot file snponly.efi",
		},
		{
			"HTTP boot", ipxeMAC, 67, dhcpv4.MessageTypeDiscover, uefiHTTP,
			`OFFER to 255.255.255.255:68 yiaddr 0.0.0.0 siaddr 10.99.0.1 file "http://10.99.0.1:8080/boot/loader/snponly.efi" sname ""` +
				"\n54=0a630001\n60=48545450436c69656e74 HTTPClient" +
				"\n67=687474703a2f2f31302e39392e302e313a383038302f626f6f742f6c6f616465722f736e706f6e6c792e656669 " +
				"http://10.99.0.1:8080/boot/loader/snponly.efi",
			"the other DHCP server gives the address, boot file http://10.99.0.1:8080/boot/loader/snponly.efi",
		},
		{"REQUEST on 67", ipxeMAC, 67, dhcpv4.MessageTypeRequest, biosPXE, "silence", "left to the other DHCP server"},
		{"RELEASE on 67", ipxeMAC, 67, dhcpv4.MessageTypeRelease, biosPXE, "silence", "left to the other DHCP server"},
		{"DISCOVER on 4011", ipxeMAC, 4011, dhcpv4.MessageTypeDiscover, biosPXE, "silence", "left to the other DHCP server"},
		{"an operating system", ipxeMAC, 67, dhcpv4.MessageTypeDiscover, linux, "silence", "left to the other DHCP server: not a boot client"},
		{"no record", knownMAC, 67, dhcpv4.MessageTypeDiscover, biosPXE, "silence", "no boot file: it boots its own disk"},
		{"unknown", unknownMAC, 67, dhcpv4.MessageTypeDiscover, biosPXE, "silence", "ignored: the MAC belongs to no node and discovery is off"},
		{"unknown on 4011", unknownMAC, 4011, dhcpv4.MessageTypeRequest, biosPXE, "silence",
			"ignored: the MAC belongs to no node and discovery is off"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, store, trace := newServer(t, Proxy)
			req := from(t, tt.mac, tt.kind, tt.client...)
			resp, to := s.answer(context.Background(), packet{req: req, from: netip.MustParseAddrPort("10.99.0.55:4011"), port: tt.port})
			if got := describe(resp, to); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
			if !strings.HasSuffix(trace.last(), ": "+tt.said) {
				t.Errorf("told %q, want %q", trace.last(), tt.said)
			}
			if store.lent(t) != "" {
				t.Error("ProxyDHCP must not lend addresses")
			}
		})
	}
}

// FuzzAnswer: no datagram makes the server panic, answer an unknown machine, or send what cannot
// be read back.
func FuzzAnswer(f *testing.F) {
	for _, client := range [][]dhcpv4.Modifier{biosPXE, uefiPXE, uefiHTTP, biosIPXE, oldIPXE, linux} {
		for _, kind := range []dhcpv4.MessageType{dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest, dhcpv4.MessageTypeInform,
			dhcpv4.MessageTypeDecline} {
			f.Add(from(f, ipxeMAC, kind, with(client, wish("10.99.0.20"))...).ToBytes(), true)
		}
	}
	f.Add(from(f, unknownMAC, dhcpv4.MessageTypeDiscover, biosPXE...).ToBytes(), false)
	servers := map[bool]*Server{}
	servers[true], _, _ = newServer(f, Full)
	servers[false], _, _ = newServer(f, Proxy)
	f.Fuzz(func(t *testing.T, b []byte, full bool) {
		req, err := dhcpv4.FromBytes(b)
		if err != nil {
			return
		}
		resp, to := servers[full].answer(context.Background(), packet{req: req, from: netip.MustParseAddrPort("10.99.0.9:68"), port: serverPort})
		if resp == nil {
			return
		}
		mac := req.ClientHWAddr.String()
		if mac != knownMAC && mac != ipxeMAC && mac != pxeMAC {
			t.Errorf("answered the unknown machine %s", mac)
		}
		if _, err := dhcpv4.FromBytes(resp.ToBytes()); err != nil || !to.IsValid() {
			t.Errorf("the answer to %s cannot be read: %v", to, err)
		}
	})
}

package dhcp

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/billet-metal/billet/node"
)

// as what a client sends is answered, whatever it is.
func send(t *testing.T, s *Server, datagram []byte) string {
	t.Helper()
	from := netip.MustParseAddrPort("0.0.0.0:68")
	req, err := parse(datagram)
	if err != nil {
		s.dropped(datagram, from, err)
		return "silence"
	}
	resp, to := s.answer(context.Background(), packet{req: req, from: from, port: serverPort})
	if resp == nil {
		return "silence"
	}
	seen, err := dhcpv4.FromBytes(format(resp))
	if err != nil {
		t.Fatalf("the answer cannot be read: %v", err)
	}
	return describe(seen, to)
}

// Clients leave out and garble what the RFCs ask for. They are answered as the ones that do not, wholly.
func TestGarbledClients(t *testing.T) {
	const tail = network20 + "\n54=0a630001\n58=00000708\n59=00000c4e"
	bios := `OFFER to 255.255.255.255:68 yiaddr 10.99.0.20 siaddr 10.99.0.1 file "undionly.kpxe" sname "10.99.0.1"` + tail +
		"\n66=31302e39392e302e31 10.99.0.1\n67=756e64696f6e6c792e6b707865 undionly.kpxe"
	uefi := `OFFER to 255.255.255.255:68 yiaddr 10.99.0.20 siaddr 10.99.0.1 file "snponly.efi" sname "10.99.0.1"` + tail +
		"\n66=31302e39392e302e31 10.99.0.1\n67=736e706f6e6c792e656669 snponly.efi"
	web := `OFFER to 255.255.255.255:68 yiaddr 10.99.0.20 siaddr 10.99.0.1 file "http://10.99.0.1:8080/boot/loader/snponly.efi" sname ""` +
		tail + "\n60=48545450436c69656e74 HTTPClient" +
		"\n67=687474703a2f2f31302e39392e302e313a383038302f626f6f742f6c6f616465722f736e706f6e6c792e656669 " +
		"http://10.99.0.1:8080/boot/loader/snponly.efi"
	script := `OFFER to 255.255.255.255:68 yiaddr 10.99.0.20 siaddr 10.99.0.1 file ` +
		`"http://10.99.0.1:8080/boot/ipxe?mac=52:54:00:00:00:02" sname ""` + tail +
		"\n67=687474703a2f2f31302e39392e302e313a383038302f626f6f742f697078653f6d61633d35323a35343a30303a30303a30303a3032 " +
		"http://10.99.0.1:8080/boot/ipxe?mac=52:54:00:00:00:02\n175=b00101"
	id := func(value, hex string) (dhcpv4.Modifier, string) { return option(61, value), "\n61=" + hex }
	short, shortHex := id("\x01", "01")
	long, longHex := id(strings.Repeat("\xee", 200), strings.Repeat("ee", 200))
	for _, tt := range []struct {
		name   string
		client []dhcpv4.Modifier
		change func(b []byte) []byte
		want   string
	}{
		{"no architecture, no word of it in the class", []dhcpv4.Modifier{option(60, "PXEClient")}, nil, bios},
		{"no architecture, the class has it", []dhcpv4.Modifier{option(60, "PXEClient:Arch:00007:UNDI:003016")}, nil, uefi},
		{"no class, an architecture", []dhcpv4.Modifier{option(93, "\x00\x07")}, nil, uefi},
		{"an architecture of one byte", []dhcpv4.Modifier{option(60, "PXEClient"), option(93, "\x07")}, nil, uefi},
		{"several architectures", []dhcpv4.Modifier{option(60, "PXEClient"), option(93, "\x00\x07\x00\x00")}, nil, uefi},
		{"another class", []dhcpv4.Modifier{option(60, "Vendor Boot Agent 1.2"), option(93, "\x00\x07")}, nil, uefi},
		{"the class in capitals", []dhcpv4.Modifier{option(60, "PXECLIENT:ARCH:00007:UNDI:003016")}, nil, uefi},
		{"the class with a zero at its end", []dhcpv4.Modifier{option(60, "PXEClient:Arch:00007\x00")}, nil, uefi},
		{"HTTP boot without its class", []dhcpv4.Modifier{option(93, "\x00\x10")}, nil, web},
		{"HTTP boot without its architecture", []dhcpv4.Modifier{option(60, "HTTPClient")}, nil, web},
		{"iPXE without class and architecture", []dhcpv4.Modifier{option(77, "iPXE"), option(175, "\x13\x01\x01")}, nil, script},
		{"a client identifier of one byte", with(biosPXE, short), nil, strings.Replace(bios, "\n66=", shortHex+"\n66=", 1)},
		{"a client identifier of 200 bytes", with(biosPXE, long), nil, strings.Replace(bios, "\n66=", longHex+"\n66=", 1)},
		{"a machine identifier of four bytes", with(biosPXE, option(97, "\x00abc")), nil, bios},
		{"it wishes 0.0.0.0", with(biosPXE, wish("0.0.0.0")), nil, bios},
		{"it wishes another network's", with(biosPXE, wish("192.168.1.7")), nil, bios},
		{"a wish of three bytes", with(biosPXE, option(50, "\x0a\x63\x00")), nil, bios},
		{"an empty list of wanted options", with(biosPXE, option(55, "")), nil, bios},
		{"it wants a unicast", with(biosPXE, dhcpv4.WithBroadcast(false)), nil, bios},
		{"it wants a broadcast", with(biosPXE, dhcpv4.WithBroadcast(true)), nil, bios},
		{"a server's name on it already", with(biosPXE, func(m *dhcpv4.DHCPv4) { m.ServerHostName, m.BootFileName = "other", "other" }),
			nil, bios},
		{"the options have no end", biosPXE,
			func(b []byte) []byte { return bytes.TrimRight(b, "\x00")[:len(bytes.TrimRight(b, "\x00"))-1] }, bios},
		{"the last option is cut short", biosPXE, func(b []byte) []byte {
			return append(bytes.TrimRight(b, "\x00")[:len(bytes.TrimRight(b, "\x00"))-1], 12, 30, 'c', 'u', 't')
		}, bios},
		{"padding between options", biosPXE,
			func(b []byte) []byte { return bytes.Replace(b, []byte{93, 2, 0, 0}, []byte{0, 0, 0, 93, 2, 0, 0}, 1) }, bios},
		{"a message of the smallest size", biosPXE, func(b []byte) []byte { return bytes.TrimRight(b, "\x00") }, bios},
		{"longer than an Ethernet frame", biosPXE, func(b []byte) []byte { return append(b, make([]byte, 2000)...) }, bios},
		{"a hardware address without a length", biosPXE, func(b []byte) []byte { b[2] = 0; return b }, bios},
		{"a hardware address of sixteen bytes", biosPXE, func(b []byte) []byte { b[2] = 16; return b }, bios},
		{"hardware of IEEE 802", biosPXE, func(b []byte) []byte { b[1] = 6; return b }, bios},
		{"options in the file's field", nil, func(b []byte) []byte {
			copy(b[fileAt:], append([]byte{60, 9}, "PXEClient\x5d\x02\x00\x07\xff"...))
			return append(bytes.TrimRight(b, "\x00")[:len(bytes.TrimRight(b, "\x00"))-1], 52, 1, 1, 255)
		}, uefi},
		{"options in both fields", nil, func(b []byte) []byte {
			copy(b[fileAt:], append([]byte{60, 9}, "PXEClient\xff"...))
			copy(b[snameAt:], "\x5d\x02\x00\x07\xff")
			return append(bytes.TrimRight(b, "\x00")[:len(bytes.TrimRight(b, "\x00"))-1], 52, 1, 3, 255)
		}, uefi},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _, trace := newServer(t, Full)
			b := from(t, ipxeMAC, dhcpv4.MessageTypeDiscover, tt.client...).ToBytes()
			if tt.change != nil {
				b = tt.change(b)
			}
			if got := send(t, s, b); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
			if len(trace.kinds) != 1 || trace.kinds[0] != node.DHCPOffered {
				t.Errorf("told %v", trace.kinds)
			}
		})
	}
}

// What cannot be answered is told of, with the MAC address where one can be made out.
func TestDroppedIsToldOf(t *testing.T) {
	whole := func() []byte { return from(t, ipxeMAC, dhcpv4.MessageTypeDiscover, biosPXE...).ToBytes() }
	guid := "\xff\x00\x00\x00\x00\x00\x02\x00\x00\x02\xc9\x00" + "\xe4\x1d\x2d\x03\x00\x12\x34\x56"
	for _, tt := range []struct {
		name     string
		datagram []byte
		kind     node.BootKind
		want     string
	}{
		{"too short", whole()[:100], node.Malformed,
			ipxeMAC + " dhcp: a message of 100 bytes from 0.0.0.0 cannot be read: it is 140 bytes short"},
		{"far too short", []byte{1}, node.Malformed, " dhcp: a message of 1 bytes from 0.0.0.0 cannot be read: it is 239 bytes short"},
		{"BOOTP", append(whole()[:cookieAt], make([]byte, 64)...), node.Malformed,
			ipxeMAC + " dhcp: a message of 300 bytes from 0.0.0.0 cannot be read: it is BOOTP, not DHCP: the magic cookie is missing"},
		{"no kind", append(whole()[:optionsAt], 255), node.Malformed,
			ipxeMAC + " dhcp: a message of 241 bytes from 0.0.0.0 cannot be read: it does not say what kind of message it is (option 53)"},
		{"too long", append(whole(), make([]byte, 5000)...), node.Malformed, "it is longer than 4096 bytes"},
		{"InfiniBand", func() []byte {
			m := from(t, ipxeMAC, dhcpv4.MessageTypeDiscover, with(biosPXE, option(61, guid))...)
			m.HWType, m.ClientHWAddr = infiniband, net.HardwareAddr{}
			return m.ToBytes()
		}(), node.NotEthernet, "e4:1d:2d:12:34:56 dhcp: DISCOVER from hardware of type 32 with an address of 0 bytes: " +
			"ignored: only Ethernet is served"},
		{"an address of zeros", from(t, "00:00:00:00:00:00", dhcpv4.MessageTypeDiscover).ToBytes(), node.NotEthernet,
			" dhcp: DISCOVER from hardware of type 1 with an address of 6 bytes: ignored: only Ethernet is served"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _, trace := newServer(t, Full)
			if got := send(t, s, tt.datagram); got != "silence" {
				t.Errorf("answered %s", got)
			}
			if !strings.HasSuffix(trace.last(), tt.want) || len(trace.kinds) != 1 || trace.kinds[0] != tt.kind {
				t.Errorf("told %q as %v, want %q as %s", trace.last(), trace.kinds, tt.want, tt.kind)
			}
		})
	}
	s, _, trace := newServer(t, Full)
	reply := whole()
	reply[0] = 2
	send(t, s, reply[:60])
	send(t, s, nil)
	if len(trace.said) > 0 {
		t.Errorf("told of what no machine sent: %q", trace.said)
	}
}

// Firmware that takes the boot file's option for text with a zero at its end finds one, and no other option is in the way.
func TestNamesEndWithAZero(t *testing.T) {
	for _, client := range [][]dhcpv4.Modifier{biosPXE, uefiPXE, uefiHTTP, with(biosIPXE, dhcpv4.WithOption(dhcpv4.OptRelayAgentInfo()))} {
		s, _, _ := newServer(t, Full)
		resp, _ := s.answer(context.Background(), packet{req: from(t, ipxeMAC, dhcpv4.MessageTypeDiscover, client...), port: serverPort})
		if resp == nil {
			t.Fatal("no answer")
		}
		b := format(resp)
		seen, err := dhcpv4.FromBytes(b)
		if err != nil || !bytes.Equal(seen.ToBytes(), resp.ToBytes()) {
			t.Errorf("another answer: %v\n%s\n%s", err, seen, resp)
		}
		name := resp.Options.Get(dhcpv4.OptionBootfileName)
		if i := bytes.LastIndex(b, name); i < optionsAt || b[i+len(name)] != 0 {
			t.Errorf("%q is followed by %d", name, b[i+len(name)])
		}
	}
}

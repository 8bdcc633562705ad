package dhcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/node"
)

// Places in a message, RFC 2131 section 2.
const (
	snameAt, snameLen = 44, 64
	fileAt, fileLen   = 108, 128
	cookieAt          = 236
	optionsAt         = 240
)

const (
	ethernet   = 1  // hardware type, RFC 1700
	infiniband = 32 // RFC 4390

	optPad, optOverload, optEnd = 0, 52, 255
)

var cookie = []byte{99, 130, 83, 99}

// parse takes apart a message. Firmware that leaves out the end of the options, or cuts the last one short, is
// understood as far as it speaks, and options in the fields of names are read (option 52, RFC 2132 section 9.3).
func parse(b []byte) (*dhcpv4.DHCPv4, error) {
	switch {
	case len(b) > maxMessage:
		return nil, fmt.Errorf("it is longer than %d bytes", maxMessage)
	case len(b) < optionsAt:
		return nil, fmt.Errorf("it is %d bytes short", optionsAt-len(b))
	case string(b[cookieAt:optionsAt]) != string(cookie):
		return nil, errors.New("it is BOOTP, not DHCP: the magic cookie is missing")
	}
	whole := append([]byte{}, b[:optionsAt]...)
	options, overload := wholeOptions(b[optionsAt:])
	whole = append(whole, options...)
	if overload&1 != 0 {
		more, _ := wholeOptions(b[fileAt : fileAt+fileLen])
		whole = append(whole, more...)
	}
	if overload&2 != 0 {
		more, _ := wholeOptions(b[snameAt : snameAt+snameLen])
		whole = append(whole, more...)
	}
	req, err := dhcpv4.FromBytes(append(whole, optEnd))
	if err != nil {
		return nil, err
	}
	if overload&1 != 0 {
		req.BootFileName = ""
	}
	if overload&2 != 0 {
		req.ServerHostName = ""
	}
	if req.HWType == ethernet && len(req.ClientHWAddr) != 6 { // a wrong length, or none
		req.ClientHWAddr = net.HardwareAddr(b[28:34])
	}
	if req.MessageType() == dhcpv4.MessageTypeNone {
		return nil, errors.New("it does not say what kind of message it is (option 53)")
	}
	delete(req.Options, optOverload)
	return req, nil
}

// wholeOptions are the options up to the end, or up to one that is cut short.
func wholeOptions(b []byte) (whole []byte, overload byte) {
	for i := 0; i < len(b) && b[i] != optEnd; {
		if b[i] == optPad {
			i++
			continue
		}
		if i+1 >= len(b) || i+2+int(b[i+1]) > len(b) {
			break
		}
		one := b[i : i+2+int(b[i+1])]
		if one[0] == optOverload && len(one) == 3 {
			overload = one[2]
		}
		whole = append(whole, one...)
		i += len(one)
	}
	return whole, overload
}

// format writes an answer. Firmware exists that reads names of options as text that ends with a zero: the padding after
// each keeps it from reading on, and is not part of the option.
func format(resp *dhcpv4.DHCPv4) []byte {
	b := resp.ToBytes()
	out := append([]byte{}, b[:optionsAt]...)
	for i := optionsAt; i < len(b); {
		if b[i] == optPad || b[i] == optEnd || i+1 >= len(b) || i+2+int(b[i+1]) > len(b) {
			return append(out, b[i:]...)
		}
		end := i + 2 + int(b[i+1])
		out = append(out, b[i:end]...)
		named := b[i] == uint8(dhcpv4.OptionTFTPServerName) || b[i] == uint8(dhcpv4.OptionBootfileName)
		if named && (end >= len(b) || b[end] != b[i]) { // not between the parts of a long one
			out = append(out, optPad)
		}
		i = end
	}
	return out
}

// dropped records a datagram that gets no answer, so that people see its sender. A datagram that is not a request does
// not come from a machine.
func (s *Server) dropped(b []byte, from netip.AddrPort, why error) {
	if len(b) == 0 || dhcpv4.OpcodeType(b[0]) != dhcpv4.OpcodeBootRequest {
		return
	}
	mac := ""
	if len(b) >= 34 && (b[1] == ethernet || b[2] == 6) {
		mac, _ = boot.CanonicalMAC(net.HardwareAddr(b[28:34]).String())
	}
	what := fmt.Sprintf("a message of %d bytes from %s cannot be read: %v", len(b), from.Addr(), why)
	s.saw(node.BootEvent{MAC: mac, Kind: node.Malformed, What: what})
}

// foreign records a client that has no Ethernet address.
func (s *Server) foreign(p packet) {
	what := fmt.Sprintf("%s%s from hardware of type %d with an address of %d bytes: ignored: only Ethernet is served",
		p.req.MessageType(), through(p.req), p.req.HWType, len(p.req.ClientHWAddr))
	s.saw(node.BootEvent{MAC: guidMAC(p.req), Kind: node.NotEthernet, What: what})
}

// guidMAC is the MAC address under which ports of InfiniBand are known, made of the GUID that the client's identifier ends
// with (RFC 4390 section 2.1: such a client sends no hardware address); "" for other hardware.
func guidMAC(req *dhcpv4.DHCPv4) string {
	id := req.Options.Get(dhcpv4.OptionClientIdentifier)
	if req.HWType != infiniband || len(id) < 9 {
		return ""
	}
	guid := id[len(id)-8:]
	return net.HardwareAddr(append(append([]byte{}, guid[:3]...), guid[5:]...)).String()
}

// overloaded records a request that had to be dropped; the log has each.
func (s *Server) overloaded(req *dhcpv4.DHCPv4) {
	mac, ok := boot.CanonicalMAC(req.ClientHWAddr.String())
	if !ok {
		return
	}
	s.saw(node.BootEvent{MAC: mac, Kind: node.Overloaded,
		What: fmt.Sprintf("%s%s: dropped: too many requests at once", req.MessageType(), through(req))})
}

func (s *Server) saw(e node.BootEvent) {
	e.Service, e.At = "dhcp", node.Now()
	s.Trace.Saw(e)
	s.Log.Debug("dhcp", "mac", e.MAC, "what", e.What)
}

func through(req *dhcpv4.DHCPv4) string {
	if giaddr := addrOf(req.GatewayIPAddr); giaddr.IsValid() {
		return " through the relay " + giaddr.String()
	}
	return ""
}

// archOf reads which firmware asks: option 93 (RFC 4578), or what its class says of it, "PXEClient:Arch:00007:…".
func archOf(req *dhcpv4.DHCPv4, class string) (a boot.Arch, told bool) {
	switch v := req.Options.Get(dhcpv4.OptionClientSystemArchitectureType); len(v) {
	case 0:
	case 1: // a byte where two belong
		return boot.Arch(v[0]), true
	default:
		return boot.Arch(binary.BigEndian.Uint16(v)), true
	}
	_, rest, ok := strings.Cut(strings.ToLower(class), ":arch:")
	var n uint16
	if _, err := fmt.Sscanf(rest, "%05d", &n); !ok || err != nil {
		return 0, false
	}
	return boot.Arch(n), true
}

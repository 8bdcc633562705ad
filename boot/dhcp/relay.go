package dhcp

import (
	"net"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

const (
	serverPort = 67
	clientPort = 68
	proxyPort  = 4011 // ProxyDHCP's second port, Preboot Execution Environment specification 2.1
)

// Relay sub-options of option 82.
const (
	relayLinkSelection = 5  // RFC 3527: the client's network when giaddr is not in it
	relaySourcePort    = 19 // RFC 8357: the relay does not listen on port 67
)

// network returns an address on the client's network: behind a relay the relay's own, of a client that renews without
// one (RFC 2131 section 4.3.2: unicast to us from wherever it is) the client's, else ours.
func (s *Server) network(req *dhcpv4.DHCPv4) netip.Addr {
	if link := relayOption(req, relayLinkSelection); len(link) == 4 {
		return addrOf(net.IP(link))
	}
	if giaddr := addrOf(req.GatewayIPAddr); giaddr.IsValid() {
		return giaddr
	}
	if ciaddr := addrOf(req.ClientIPAddr); ciaddr.IsValid() {
		if _, ours := s.Config.pool(ciaddr); ours {
			return ciaddr
		}
	}
	return s.Config.ServerIP
}

func relayOption(req *dhcpv4.DHCPv4, code uint8) []byte {
	info := req.RelayAgentInfo()
	if info == nil {
		return nil
	}
	return info.Options[code]
}

// destination is where an answer goes, RFC 2131 section 4.1. A client that has no address yet is
// answered by broadcast even when it would take a unicast: the kernel cannot reach an address
// nobody answers ARP for, and every client takes a broadcast.
func destination(req, resp *dhcpv4.DHCPv4, from netip.AddrPort) netip.AddrPort {
	nak := resp.MessageType() == dhcpv4.MessageTypeNak
	if giaddr := addrOf(req.GatewayIPAddr); giaddr.IsValid() {
		if nak { // the relay must broadcast it: the client has no address
			resp.SetBroadcast()
		}
		port := uint16(serverPort)
		if _, asked := relayPort(req); asked {
			port = from.Port()
		}
		return netip.AddrPortFrom(giaddr, port)
	}
	if ciaddr := addrOf(req.ClientIPAddr); ciaddr.IsValid() && !nak && !req.IsBroadcast() {
		return netip.AddrPortFrom(ciaddr, clientPort)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}), clientPort)
}

func relayPort(req *dhcpv4.DHCPv4) ([]byte, bool) {
	info := req.RelayAgentInfo()
	if info == nil {
		return nil, false
	}
	v, ok := info.Options[relaySourcePort]
	return v, ok
}

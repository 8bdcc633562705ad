package dhcp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/billet-metal/billet/boot"
)

// blank starts an answer: header fields and options copied from the request as RFC 2131 table 3
// and RFC 3046 (option 82, last and unchanged) and RFC 6842 (option 61) ask.
func (s *Server) blank(req *dhcpv4.DHCPv4, kind dhcpv4.MessageType) (*dhcpv4.DHCPv4, error) {
	return dhcpv4.NewReplyFromRequest(req,
		dhcpv4.WithMessageType(kind),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(asIP(s.Config.ServerIP))),
		dhcpv4.WithOptionCopied(req, dhcpv4.OptionClientIdentifier),
	)
}

// addNetwork tells what an address needs to be of use; the lease time is left out of answers to
// INFORM (RFC 2131 section 4.3.5).
func (s *Server) addNetwork(resp *dhcpv4.DHCPv4, p Pool, life time.Duration) {
	mask := net.CIDRMask(p.Prefix.Bits(), 32)
	resp.UpdateOption(dhcpv4.OptSubnetMask(mask))
	resp.UpdateOption(dhcpv4.OptBroadcastAddress(broadcastOf(p.Prefix)))
	if p.Router.IsValid() {
		resp.UpdateOption(dhcpv4.OptRouter(asIP(p.Router)))
	}
	names := p.DNS
	if names == nil {
		names = s.Config.DNS
	}
	if len(names) > 0 {
		var servers []net.IP
		for _, ip := range names {
			servers = append(servers, asIP(ip))
		}
		resp.UpdateOption(dhcpv4.OptDNS(servers...))
	}
	if life > 0 {
		resp.UpdateOption(dhcpv4.OptIPAddressLeaseTime(life))
		resp.UpdateOption(dhcpv4.OptRenewTimeValue(life / 2))
		resp.UpdateOption(dhcpv4.OptRebindingTimeValue(life * 7 / 8))
	}
}

// addBoot tells what to start. Firmware disagrees on where it looks, so the name is in the
// header and in options 66 and 67.
//
// UEFI HTTP boot wants its own class back. PXE firmware gets no class: a "PXEClient" without
// option 43 sends OVMF on a search for boot servers that ends in PXE-E16.
func (s *Server) addBoot(resp *dhcpv4.DHCPv4, c client, b bootFile) {
	if c.ipxe {
		// Without it iPXE waits three seconds for a ProxyDHCP server.
		resp.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionEtherboot, boot.NoProxyDHCP))
	}
	if b.file == "" {
		return
	}
	resp.ServerIPAddr = asIP(s.Config.ServerIP)
	resp.UpdateOption(dhcpv4.OptBootFileName(b.file))
	if len(b.file) < 128 {
		resp.BootFileName = b.file
	}
	if c.http {
		resp.UpdateOption(dhcpv4.OptClassIdentifier(boot.HTTPClient))
	}
	if !b.isURL() {
		resp.ServerHostName = s.Config.ServerIP.String()
		resp.UpdateOption(dhcpv4.OptTFTPServerName(s.Config.ServerIP.String()))
	}
}

// addProxy tells what to start beside another server's address. The Preboot Execution
// Environment specification 2.1 (sections 2.2.1 and 2.4.2): the class PXEClient back, the
// client's machine identifier back, and option 43 with discovery control 8: "start the file
// named here, ask no boot server".
func (s *Server) addProxy(resp *dhcpv4.DHCPv4, req *dhcpv4.DHCPv4, c client, b bootFile) {
	s.addBoot(resp, c, b)
	resp.UpdateOption(dhcpv4.OptClassIdentifier("PXEClient"))
	if c.http {
		resp.UpdateOption(dhcpv4.OptClassIdentifier(boot.HTTPClient))
	}
	dhcpv4.WithOptionCopied(req, dhcpv4.OptionClientMachineIdentifier)(resp)
	if !c.http {
		resp.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionVendorSpecificInformation, []byte{6, 1, 8, 255}))
	}
}

func asIP(a netip.Addr) net.IP { return net.IP(a.AsSlice()) }

// addrOf is zero for an address that is missing or 0.0.0.0.
func addrOf(ip net.IP) netip.Addr {
	a, ok := netip.AddrFromSlice(ip)
	if a = a.Unmap(); !ok || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

func broadcastOf(p netip.Prefix) net.IP {
	base := p.Masked().Addr().As4()
	n := binary.BigEndian.Uint32(base[:]) | (1<<(32-p.Bits()) - 1)
	return binary.BigEndian.AppendUint32(nil, n)
}

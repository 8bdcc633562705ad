package dhcp

import (
	"fmt"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/billet-metal/billet/boot"
)

// proxy answers beside somebody else's DHCP server: it gives no address and only speaks to boot
// clients that have something to boot. On port 67 it adds an offer of its own to the other
// server's; on port 4011 it answers clients that come back for the boot file.
func (s *Server) proxy(req *dhcpv4.DHCPv4, c client, m boot.Machine, port uint16) (resp *dhcpv4.DHCPv4, said string, err error) {
	kind := dhcpv4.MessageTypeOffer
	switch mt := req.MessageType(); {
	case port == proxyPort && (mt == dhcpv4.MessageTypeRequest || mt == dhcpv4.MessageTypeInform):
		kind = dhcpv4.MessageTypeAck
	case port == serverPort && mt == dhcpv4.MessageTypeDiscover:
	default:
		return nil, "left to the other DHCP server", nil
	}
	if !c.pxe {
		return nil, "left to the other DHCP server: not a boot client", nil
	}
	if !m.Known() && m.Record == nil {
		return nil, "ignored: the MAC belongs to no node and discovery is off", nil
	}
	b := s.chooseFile(c, m)
	if b.file == "" {
		return nil, b.String(), nil
	}
	if resp, err = s.blank(req, kind); err != nil {
		return nil, "", err
	}
	resp.ClientIPAddr = req.ClientIPAddr
	s.addProxy(resp, req, c, b)
	return resp, fmt.Sprintf("the other DHCP server gives the address, %s", b), nil
}

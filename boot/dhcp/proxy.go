package dhcp

import (
	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/node"
)

// proxy answers beside somebody else's DHCP server: it gives no address and only speaks to boot
// clients that have something to boot. On port 67 it adds an offer of its own to the other
// server's; on port 4011 it answers clients that come back for the boot file.
func (s *Server) proxy(req *dhcpv4.DHCPv4, c client, m boot.Machine, port uint16) (resp *dhcpv4.DHCPv4, is seen, err error) {
	kind := dhcpv4.MessageTypeOffer
	switch mt := req.MessageType(); {
	case port == proxyPort && (mt == dhcpv4.MessageTypeRequest || mt == dhcpv4.MessageTypeInform):
		kind = dhcpv4.MessageTypeAck
	case port == serverPort && mt == dhcpv4.MessageTypeDiscover:
	default:
		return nil, saw(node.OtherAnswers, "left to the other DHCP server"), nil
	}
	if !c.pxe {
		return nil, saw(node.OtherAnswers, "left to the other DHCP server: not a boot client"), nil
	}
	if !m.Known() && m.Record == nil {
		return nil, stranger, nil
	}
	b := s.chooseFile(c, m)
	if b.file == "" {
		return nil, seen{b.kind, b.String()}, nil
	}
	if resp, err = s.blank(req, kind); err != nil {
		return nil, seen{}, err
	}
	resp.ClientIPAddr = req.ClientIPAddr
	s.addProxy(resp, req, c, b)
	told := node.DHCPOffered
	if kind == dhcpv4.MessageTypeAck {
		told = node.DHCPAcked
	}
	return resp, saw(b.or(told), "the other DHCP server gives the address, %s", b), nil
}

package dhcp

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/billet-metal/billet/boot"
)

// full answers as the only DHCP server. said tells people what happened; resp nil is silence.
func (s *Server) full(ctx context.Context, req *dhcpv4.DHCPv4, c client, m boot.Machine) (resp *dhcpv4.DHCPv4, said string, err error) {
	if !m.Known() && m.Record == nil && !s.Config.Discovery {
		return nil, "ignored: the MAC belongs to no node and discovery is off", nil
	}
	switch req.MessageType() {
	case dhcpv4.MessageTypeRelease:
		return nil, "address given back", s.book.release(ctx, c.mac, addrOf(req.ClientIPAddr))
	case dhcpv4.MessageTypeDecline:
		ip := addrOf(req.RequestedIPAddress())
		return nil, fmt.Sprintf("%s declined: another machine answers at that address", ip), s.book.decline(ctx, c.mac, ip)
	}
	on := s.network(req)
	p, ok := s.Config.pool(on)
	if !ok {
		return nil, fmt.Sprintf("ignored: no range of addresses for the network of %s", on), nil
	}
	switch req.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		return s.discover(req, c, m, p)
	case dhcpv4.MessageTypeRequest:
		return s.request(ctx, req, c, m, p)
	case dhcpv4.MessageTypeInform:
		return s.inform(req, c, m, p)
	}
	return nil, "ignored: not a message for a server", nil
}

func (s *Server) discover(req *dhcpv4.DHCPv4, c client, m boot.Machine, p Pool) (*dhcpv4.DHCPv4, string, error) {
	ip, err := s.book.offer(c.mac, addrOf(req.RequestedIPAddress()), p)
	if err != nil {
		return nil, fmt.Sprintf("no address left in %s-%s", p.First, p.Last), err
	}
	resp, err := s.blank(req, dhcpv4.MessageTypeOffer)
	if err != nil {
		return nil, "", err
	}
	b := s.fill(resp, c, m, p, ip)
	return resp, fmt.Sprintf("offered %s, %s", ip, b), nil
}

// request tells the four cases of RFC 2131 table 4 apart by server identifier, requested address
// and ciaddr.
func (s *Server) request(ctx context.Context, req *dhcpv4.DHCPv4, c client, m boot.Machine, p Pool) (*dhcpv4.DHCPv4, string, error) {
	if chosen := addrOf(req.ServerIdentifier()); chosen.IsValid() && chosen != s.Config.ServerIP {
		return nil, fmt.Sprintf("it took the offer of another DHCP server, %s: two servers answer on this network", chosen), nil
	}
	ip := addrOf(req.RequestedIPAddress())
	if !ip.IsValid() {
		ip = addrOf(req.ClientIPAddr)
	}
	if !ip.IsValid() {
		return nil, "ignored: it asks for no address", nil
	}
	mine, err := s.book.promise(ctx, c.mac, ip, p, s.Config.LeaseTime)
	if err != nil {
		return nil, fmt.Sprintf("not answered: the lease of %s could not be stored", ip), err
	}
	if !mine {
		return s.refuse(req, ip)
	}
	resp, err := s.blank(req, dhcpv4.MessageTypeAck)
	if err != nil {
		return nil, "", err
	}
	resp.ClientIPAddr = req.ClientIPAddr
	b := s.fill(resp, c, m, p, ip)
	return resp, fmt.Sprintf("lent %s, %s", ip, b), nil
}

func (s *Server) refuse(req *dhcpv4.DHCPv4, ip netip.Addr) (*dhcpv4.DHCPv4, string, error) {
	resp, err := s.blank(req, dhcpv4.MessageTypeNak)
	if err != nil {
		return nil, "", err
	}
	resp.UpdateOption(dhcpv4.OptMessage("this address is not yours to use here"))
	return resp, fmt.Sprintf("refused %s: the address is not its to use here", ip), nil
}

func (s *Server) inform(req *dhcpv4.DHCPv4, c client, m boot.Machine, p Pool) (*dhcpv4.DHCPv4, string, error) {
	resp, err := s.blank(req, dhcpv4.MessageTypeAck)
	if err != nil {
		return nil, "", err
	}
	resp.ClientIPAddr = req.ClientIPAddr
	s.addNetwork(resp, p, 0)
	b := s.chooseFile(c, m)
	s.addBoot(resp, c, b)
	return resp, fmt.Sprintf("told about the network, %s", b), nil
}

func (s *Server) fill(resp *dhcpv4.DHCPv4, c client, m boot.Machine, p Pool, ip netip.Addr) bootFile {
	resp.YourIPAddr = asIP(ip)
	s.addNetwork(resp, p, s.Config.LeaseTime)
	b := s.chooseFile(c, m)
	s.addBoot(resp, c, b)
	return b
}

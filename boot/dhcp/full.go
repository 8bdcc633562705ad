package dhcp

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/node"
)

// seen is what happened to a request: for the program, and for people.
type seen struct {
	kind node.BootKind
	text string
}

func saw(kind node.BootKind, format string, args ...any) seen {
	return seen{kind, fmt.Sprintf(format, args...)}
}

var stranger = seen{node.UnknownMAC, "ignored: the MAC belongs to no node and discovery is off"}

// full answers as the only DHCP server; resp nil is silence.
func (s *Server) full(ctx context.Context, req *dhcpv4.DHCPv4, c client, m boot.Machine) (resp *dhcpv4.DHCPv4, is seen, err error) {
	if !m.Known() && m.Record == nil && !s.Config.Discovery {
		return nil, stranger, nil
	}
	switch req.MessageType() {
	case dhcpv4.MessageTypeRelease:
		return nil, saw(node.DHCPReleased, "address given back"), s.book.release(ctx, c.mac, addrOf(req.ClientIPAddr))
	case dhcpv4.MessageTypeDecline:
		ip := addrOf(req.RequestedIPAddress())
		return nil, saw(node.DHCPDeclined, "%s declined: another machine answers at that address", ip), s.book.decline(ctx, c.mac, ip)
	}
	on := s.network(req)
	p, ok := s.Config.pool(on)
	if !ok {
		return nil, saw(node.NoRange, "ignored: no range of addresses for the network of %s", on), nil
	}
	switch req.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		return s.discover(req, c, m, p)
	case dhcpv4.MessageTypeRequest:
		return s.request(ctx, req, c, m, p)
	case dhcpv4.MessageTypeInform:
		return s.inform(req, c, m, p)
	}
	return nil, saw(node.DHCPPointless, "ignored: not a message for a server"), nil
}

func (s *Server) discover(req *dhcpv4.DHCPv4, c client, m boot.Machine, p Pool) (*dhcpv4.DHCPv4, seen, error) {
	ip, err := s.book.offer(c.mac, addrOf(req.RequestedIPAddress()), p)
	if err != nil {
		return nil, saw(node.NoAddress, "no address left in %s-%s", p.First, p.Last), err
	}
	resp, err := s.blank(req, dhcpv4.MessageTypeOffer)
	if err != nil {
		return nil, seen{}, err
	}
	b := s.fill(resp, c, m, p, ip)
	return resp, saw(b.or(node.DHCPOffered), "offered %s, %s", ip, b), nil
}

// request tells the four cases of RFC 2131 table 4 apart by server identifier, requested address
// and ciaddr.
func (s *Server) request(ctx context.Context, req *dhcpv4.DHCPv4, c client, m boot.Machine, p Pool) (*dhcpv4.DHCPv4, seen, error) {
	if chosen := addrOf(req.ServerIdentifier()); chosen.IsValid() && chosen != s.Config.ServerIP {
		return nil, saw(node.OtherServer, "it took the offer of another DHCP server, %s: two servers answer on this network", chosen), nil
	}
	ip := addrOf(req.RequestedIPAddress())
	if !ip.IsValid() {
		ip = addrOf(req.ClientIPAddr)
	}
	if !ip.IsValid() {
		return nil, saw(node.DHCPPointless, "ignored: it asks for no address"), nil
	}
	mine, err := s.book.promise(ctx, c.mac, ip, p, s.Config.LeaseTime)
	if err != nil {
		return nil, saw(node.ServiceFault, "not answered: the lease of %s could not be stored", ip), err
	}
	if !mine {
		return s.refuse(req, ip)
	}
	resp, err := s.blank(req, dhcpv4.MessageTypeAck)
	if err != nil {
		return nil, seen{}, err
	}
	resp.ClientIPAddr = req.ClientIPAddr
	b := s.fill(resp, c, m, p, ip)
	return resp, saw(b.or(node.DHCPAcked), "lent %s, %s", ip, b), nil
}

func (s *Server) refuse(req *dhcpv4.DHCPv4, ip netip.Addr) (*dhcpv4.DHCPv4, seen, error) {
	resp, err := s.blank(req, dhcpv4.MessageTypeNak)
	if err != nil {
		return nil, seen{}, err
	}
	resp.UpdateOption(dhcpv4.OptMessage("this address is not yours to use here"))
	return resp, saw(node.DHCPRefused, "refused %s: the address is not its to use here", ip), nil
}

func (s *Server) inform(req *dhcpv4.DHCPv4, c client, m boot.Machine, p Pool) (*dhcpv4.DHCPv4, seen, error) {
	resp, err := s.blank(req, dhcpv4.MessageTypeAck)
	if err != nil {
		return nil, seen{}, err
	}
	resp.ClientIPAddr = req.ClientIPAddr
	s.addNetwork(resp, p, 0)
	b := s.chooseFile(c, m)
	s.addBoot(resp, c, b)
	return resp, saw(b.or(node.DHCPInformed), "told about the network, %s", b), nil
}

func (s *Server) fill(resp *dhcpv4.DHCPv4, c client, m boot.Machine, p Pool, ip netip.Addr) bootFile {
	resp.YourIPAddr = asIP(ip)
	s.addNetwork(resp, p, s.Config.LeaseTime)
	b := s.chooseFile(c, m)
	s.addBoot(resp, c, b)
	return b
}

package dhcp

import (
	"context"
	"fmt"
	"net/netip"
	"time"

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
		return nil, saw(node.DHCPReleased, "address given back"), s.release(ctx, c.mac, addrOf(req.ClientIPAddr))
	case dhcpv4.MessageTypeDecline:
		ip := addrOf(req.RequestedIPAddress())
		return nil, saw(node.DHCPDeclined, "%s declined: another machine answers at that address", ip), s.decline(ctx, c.mac, ip)
	}
	on := s.network(req)
	p, ok := s.Config.pool(on)
	if !ok {
		return nil, saw(node.NoRange, "ignored: no range of addresses for the network of %s", on), nil
	}
	switch req.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		return s.discover(ctx, req, c, m, p)
	case dhcpv4.MessageTypeRequest:
		return s.request(ctx, req, c, m, p)
	case dhcpv4.MessageTypeInform:
		return s.inform(req, c, m, p)
	}
	return nil, saw(node.DHCPPointless, "ignored: not a message for a server"), nil
}

func (s *Server) discover(ctx context.Context, req *dhcpv4.DHCPv4, c client, m boot.Machine, p Pool) (*dhcpv4.DHCPv4, seen, error) {
	ip, err := s.offer(ctx, c.mac, addrOf(req.RequestedIPAddress()), p)
	if err != nil {
		return nil, saw(node.ServiceFault, "not answered: the store could not say which address is free"), err
	}
	if !ip.IsValid() {
		s.Log.Warn("dhcp has no address left", "mac", c.mac, "node", m.NodeUUID, "first", p.First, "last", p.Last)
		return nil, saw(node.NoAddress, "no address left in %s-%s", p.First, p.Last), nil
	}
	resp, err := s.blank(req, dhcpv4.MessageTypeOffer)
	if err != nil {
		return nil, seen{}, err
	}
	b := s.fill(resp, c, m, p, ip, s.Config.lease(p))
	return resp, saw(b.or(node.DHCPOffered), "offered %s, %s", ip, b), nil
}

// request tells the four cases of RFC 2131 table 4 apart by server identifier, requested address
// and ciaddr.
func (s *Server) request(ctx context.Context, req *dhcpv4.DHCPv4, c client, m boot.Machine, p Pool) (*dhcpv4.DHCPv4, seen, error) {
	if chosen := addrOf(req.ServerIdentifier()); chosen.IsValid() && chosen != s.Config.ServerIP {
		if ours, err := s.Leases.IsOurs(ctx, chosen); ours && err == nil {
			return nil, saw(node.PeerAnswers, "it took the offer of another process of this service, %s", chosen), nil
		}
		return nil, saw(node.OtherServer, "it took the offer of another DHCP server, %s: two servers answer on this network", chosen), nil
	}
	ip := addrOf(req.RequestedIPAddress())
	if !ip.IsValid() {
		ip = addrOf(req.ClientIPAddr)
	}
	if !ip.IsValid() {
		return nil, saw(node.DHCPPointless, "ignored: it asks for no address"), nil
	}
	life, err := s.lend(ctx, c.mac, ip, p)
	if err != nil {
		if life := s.renewal(c.mac, ip, p); life > 0 {
			s.Log.Warn("dhcp renews a lease while the store is away", "mac", c.mac, "address", ip, "for", life, "error", err)
			return s.ack(req, c, m, p, ip, life)
		}
		return nil, saw(node.ServiceFault, "not answered: the lease of %s could not be stored", ip), err
	}
	if life == 0 {
		return s.refuse(req, ip)
	}
	return s.ack(req, c, m, p, ip, life)
}

// renewUnseen lets an operating system keep an address that this process lent it, while the store is away.
func (s *Server) renewUnseen(req *dhcpv4.DHCPv4, c client) (*dhcpv4.DHCPv4, seen) {
	ip := addrOf(req.ClientIPAddr)
	p, ok := s.Config.pool(ip)
	if !ok || c.pxe || req.MessageType() != dhcpv4.MessageTypeRequest || addrOf(req.ServerIdentifier()).IsValid() {
		return nil, seen{}
	}
	life := s.renewal(c.mac, ip, p)
	if life == 0 {
		return nil, seen{}
	}
	resp, is, err := s.ack(req, c, boot.Machine{}, p, ip, life)
	if err != nil {
		return nil, seen{}
	}
	return resp, is
}

func (s *Server) ack(req *dhcpv4.DHCPv4, c client, m boot.Machine, p Pool, ip netip.Addr,
	life time.Duration) (*dhcpv4.DHCPv4, seen, error) {
	resp, err := s.blank(req, dhcpv4.MessageTypeAck)
	if err != nil {
		return nil, seen{}, err
	}
	resp.ClientIPAddr = req.ClientIPAddr
	b := s.fill(resp, c, m, p, ip, life)
	return resp, saw(b.or(node.DHCPAcked), "lent %s, %s", ip, b), nil
}

func (s *Server) release(ctx context.Context, mac string, ip netip.Addr) error {
	s.kept.forget(mac)
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return s.Leases.ReleaseAddress(ctx, mac, ip)
}

func (s *Server) decline(ctx context.Context, mac string, ip netip.Addr) error {
	s.kept.forget(mac)
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return s.Leases.DeclineAddress(ctx, mac, ip, declinedHold)
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

func (s *Server) fill(resp *dhcpv4.DHCPv4, c client, m boot.Machine, p Pool, ip netip.Addr, life time.Duration) bootFile {
	resp.YourIPAddr = asIP(ip)
	s.addNetwork(resp, p, life)
	b := s.chooseFile(c, m)
	s.addBoot(resp, c, b)
	return b
}

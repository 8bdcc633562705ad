package dhcp

import (
	"context"
	"fmt"
	"net"
	"sync"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"
)

// advertise answers router solicitations on the interface until ctx ends. iPXE configures IPv6
// before it goes on, and waits 13 to 16 seconds where no router answers. The answer
// says there is no router (lifetime 0) and no prefix, so it harms nobody (RFC 4861 section 6.2.3).
// Where IPv6 is off it only says so: booting works without it, slower.
func (s *Server) advertise(ctx context.Context) {
	if err := s.serveRA(ctx); err != nil && ctx.Err() == nil {
		s.Log.Warn("router solicitations are not answered, iPXE will boot some 15 s slower",
			"interface", s.Config.Interface, "error", err)
	}
}

func (s *Server) serveRA(ctx context.Context) error {
	nic, err := net.InterfaceByName(s.Config.Interface)
	if err != nil {
		return fmt.Errorf("finding the interface: %w", err)
	}
	conn, err := icmp.ListenPacket("ip6:ipv6-icmp", "::%"+nic.Name)
	if err != nil {
		return fmt.Errorf("opening an ICMPv6 socket: %w", err)
	}
	p := conn.IPv6PacketConn()
	if err := prepareRA(p, nic); err != nil {
		conn.Close()
		return err
	}
	var closer sync.WaitGroup
	defer closer.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	closer.Go(func() { <-ctx.Done(); conn.Close() })
	return answerRS(p, nic)
}

func prepareRA(p *ipv6.PacketConn, nic *net.Interface) error {
	var only ipv6.ICMPFilter
	only.SetAll(true)
	only.Accept(ipv6.ICMPTypeRouterSolicitation)
	if err := p.SetICMPFilter(&only); err != nil {
		return fmt.Errorf("filtering ICMPv6: %w", err)
	}
	if err := p.SetControlMessage(ipv6.FlagInterface|ipv6.FlagHopLimit, true); err != nil {
		return fmt.Errorf("asking for the arriving interface: %w", err)
	}
	if err := p.SetMulticastHopLimit(255); err != nil { // neighbour discovery drops what was routed
		return fmt.Errorf("setting the hop limit: %w", err)
	}
	routers := &net.IPAddr{IP: net.ParseIP("ff02::2")}
	if err := p.JoinGroup(nic, routers); err != nil {
		return fmt.Errorf("joining the all-routers group: %w", err)
	}
	return nil
}

func answerRS(p *ipv6.PacketConn, nic *net.Interface) error {
	buf := make([]byte, 1500)
	reply := routerAdvertisement(nic.HardwareAddr)
	everybody := &net.IPAddr{IP: net.ParseIP("ff02::1"), Zone: nic.Name}
	for {
		n, cm, _, err := p.ReadFrom(buf)
		if err != nil {
			return fmt.Errorf("reading ICMPv6: %w", err)
		}
		if cm == nil || cm.IfIndex != nic.Index || !isSolicitation(buf[:n], cm.HopLimit) {
			continue
		}
		// A lost answer costs the client seconds, not its boot.
		_, _ = p.WriteTo(reply, &ipv6.ControlMessage{HopLimit: 255, IfIndex: nic.Index}, everybody)
	}
}

// isSolicitation checks what RFC 4861 section 6.1.1 asks a router to check; the kernel has
// checked the checksum.
func isSolicitation(msg []byte, hops int) bool {
	return len(msg) >= 8 && msg[0] == byte(ipv6.ICMPTypeRouterSolicitation) && msg[1] == 0 && hops == 255
}

// routerAdvertisement is RFC 4861 section 4.2: hop limit 64, no flags, lifetime 0, and our link
// address as the only option. The kernel fills in the checksum.
func routerAdvertisement(mac net.HardwareAddr) []byte {
	msg := []byte{byte(ipv6.ICMPTypeRouterAdvertisement), 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if len(mac) == 6 {
		msg = append(append(msg, 1, 1), mac...)
	}
	return msg
}

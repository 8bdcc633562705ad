package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// socket is one of our UDP ports on the one interface.
type socket struct {
	conn  *ipv4.PacketConn
	port  uint16
	ifx   int
	local net.IP
}

// listen opens port 67, and 4011 in mode Proxy. The sockets are bound to the interface: two
// networks can have a service each, and a broadcast leaves by the right one.
func (s *Server) listen() ([]*socket, error) {
	nic, err := s.nic()
	if err != nil {
		return nil, err
	}
	ports := []uint16{serverPort}
	if s.Config.Mode == Proxy {
		ports = append(ports, proxyPort)
	}
	var socks []*socket
	for _, port := range ports {
		sock, err := s.open(nic, port)
		if err != nil {
			for _, open := range socks {
				open.Close()
			}
			return nil, err
		}
		socks = append(socks, sock)
	}
	return socks, nil
}

// nic finds the interface and checks that the server address is on it.
func (s *Server) nic() (*net.Interface, error) {
	nic, err := net.InterfaceByName(s.Config.Interface)
	if err != nil {
		return nil, fmt.Errorf("dhcp interface %s: %w", s.Config.Interface, err)
	}
	addrs, err := nic.Addrs()
	if err != nil {
		return nil, fmt.Errorf("dhcp interface %s: %w", s.Config.Interface, err)
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr() == s.Config.ServerIP {
			return nic, nil
		}
	}
	return nil, fmt.Errorf("dhcp interface %s does not have the address %s; it has %v", nic.Name, s.Config.ServerIP, addrs)
}

func (s *Server) open(nic *net.Interface, port uint16) (*socket, error) {
	var failed error
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		err := raw.Control(func(fd uintptr) { failed = prepare(int(fd), nic.Name) })
		return errors.Join(err, failed)
	}}
	conn, err := lc.ListenPacket(context.Background(), "udp4", fmt.Sprintf("0.0.0.0:%d", port))
	if err != nil {
		return nil, explain(err, nic.Name, port)
	}
	return &socket{conn: ipv4.NewPacketConn(conn), port: port, ifx: nic.Index, local: asIP(s.Config.ServerIP)}, nil
}

func prepare(fd int, nic string) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1); err != nil {
		return fmt.Errorf("asking for broadcasts: %w", err)
	}
	if err := unix.BindToDevice(fd, nic); err != nil {
		return fmt.Errorf("binding to %s: %w", nic, err)
	}
	return nil
}

func explain(err error, nic string, port uint16) error {
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("opening dhcp port %d on %s needs root, or CAP_NET_BIND_SERVICE and CAP_NET_RAW: %w", port, nic, err)
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("opening dhcp port %d on %s: another DHCP server runs on this machine: %w", port, nic, err)
	}
	return fmt.Errorf("opening dhcp port %d on %s: %w", port, nic, err)
}

// Close ends a receive under way.
func (k *socket) Close() error { return k.conn.Close() }

func (k *socket) receive(buf []byte) (int, netip.AddrPort, error) {
	n, _, from, err := k.conn.ReadFrom(buf)
	if err != nil {
		return 0, netip.AddrPort{}, err
	}
	udp, ok := from.(*net.UDPAddr)
	if !ok {
		return 0, netip.AddrPort{}, fmt.Errorf("unexpected address %v", from)
	}
	ap := udp.AddrPort()
	return n, netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
}

// send names our address: an interface may have several, and clients compare it with the server
// identifier. Answers through a relay may leave by another interface only if routing says so;
// the socket is bound, so they do not.
func (k *socket) send(b []byte, to netip.AddrPort) error {
	cm := &ipv4.ControlMessage{Src: k.local, IfIndex: k.ifx}
	_, err := k.conn.WriteTo(b, cm, net.UDPAddrFromAddrPort(to))
	return err
}

package dhcp

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net"
	"net/netip"
	"sync"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/billet-metal/billet/node"
)

const (
	workers    = 32   // requests looked at together; each waits for the store once or twice
	queue      = 64   // of each worker; a client whose request is dropped asks again
	maxMessage = 4096 // bytes; no DHCP message is longer
)

// packet is one datagram as it came.
type packet struct {
	req  *dhcpv4.DHCPv4
	from netip.AddrPort
	port uint16 // ours
}

// Serve answers until ctx ends (then it returns nil) or a socket fails. It owns every goroutine
// it starts and waits for them.
func (s *Server) Serve(ctx context.Context) error {
	if err := s.Config.check(); err != nil {
		return err
	}
	if s.Config.Mode == Off {
		<-ctx.Done()
		return nil
	}
	socks, err := s.listen()
	if err != nil {
		return err
	}
	return s.run(ctx, socks)
}

// run owns the readers, the workers and the sockets.
func (s *Server) run(ctx context.Context, socks []*socket) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d := newDispatcher(ctx, s)
	var readers sync.WaitGroup
	for _, sock := range socks {
		readers.Go(func() { cancel(s.read(ctx, sock, d)) })
	}
	if s.Config.Mode == Full {
		readers.Go(func() { s.sayWeAnswer(ctx) })
	}
	if !s.Config.NoRA {
		readers.Go(func() { s.advertise(ctx) })
	}
	s.Log.Info("dhcp serves", "mode", string(s.Config.Mode), "interface", s.Config.Interface, "address", s.Config.ServerIP.String())
	<-ctx.Done()
	for _, sock := range socks {
		sock.Close()
	}
	readers.Wait()
	d.close()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// read hands one socket's datagrams to the workers until the socket is closed.
func (s *Server) read(ctx context.Context, sock *socket, d *dispatcher) error {
	buf := make([]byte, maxMessage+1)
	for {
		n, from, err := sock.receive(buf)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("reading dhcp port %d: %w", sock.port, err)
		}
		req, err := parse(buf[:n])
		if err != nil {
			s.dropped(buf[:n], from, err)
			continue
		}
		if req.OpCode == dhcpv4.OpcodeBootRequest && !d.send(packet{req: req, from: from, port: sock.port}, sock) {
			s.overloaded(req)
		}
	}
}

// Answer is what one datagram that came to one of our ports is answered with, and where that goes; nil is silence. It sends
// nothing.
func (s *Server) Answer(ctx context.Context, datagram []byte, from netip.AddrPort, port uint16) ([]byte, netip.AddrPort) {
	req, err := parse(datagram)
	if err != nil {
		s.dropped(datagram, from, err)
		return nil, netip.AddrPort{}
	}
	if req.OpCode != dhcpv4.OpcodeBootRequest {
		return nil, netip.AddrPort{}
	}
	resp, to := s.answer(ctx, packet{req: req, from: from, port: port})
	if resp == nil {
		return nil, to
	}
	return format(resp), to
}

// answer decides about one datagram: what to send and where to. It never blocks longer than
// the store may take. resp nil is silence.
func (s *Server) answer(ctx context.Context, p packet) (resp *dhcpv4.DHCPv4, to netip.AddrPort) {
	c, ok := readClient(p.req)
	if !ok {
		s.foreign(p)
		return nil, netip.AddrPort{}
	}
	m, err := s.machine(ctx, c.mac)
	if err != nil && s.Config.Mode == Full {
		if resp, is := s.renewUnseen(p.req, c); resp != nil {
			s.tell(p, c, is)
			return resp, destination(p.req, resp, p.from)
		}
	}
	if err != nil {
		s.tell(p, c, saw(node.ServiceFault, "not answered: the store could not say who this is"))
		s.Log.Error("dhcp cannot look up a machine", "mac", c.mac, "error", err)
		return nil, netip.AddrPort{}
	}
	var is seen
	if s.Config.Mode == Proxy {
		resp, is, err = s.proxy(p.req, c, m, p.port)
	} else {
		resp, is, err = s.full(ctx, p.req, c, m)
	}
	s.tell(p, c, is)
	if err != nil {
		s.Log.Error("dhcp cannot answer", "mac", c.mac, "node", m.NodeUUID, "error", err)
		return nil, netip.AddrPort{}
	}
	if resp == nil {
		return nil, netip.AddrPort{}
	}
	if p.port == proxyPort {
		return resp, p.from
	}
	return resp, destination(p.req, resp, p.from)
}

// tell leaves the evidence for "why does this machine not boot".
func (s *Server) tell(p packet, c client, is seen) {
	if is.kind == "" {
		is = saw(node.ServiceFault, "not answered: an error of the service, see its log")
	}
	what := fmt.Sprintf("%s from %s%s%s: %s", p.req.MessageType(), c, s.heard.note(c), through(p.req), is.text)
	s.saw(node.BootEvent{MAC: c.mac, Kind: is.kind, Who: c.who(), Proof: s.proof(p, is.kind), What: what})
}

// proof is that of a client that takes what it was offered, as only one does that has heard the offer. A lone message
// may come from anybody: neither its hardware address nor its sender is checked by anything.
func (s *Server) proof(p packet, kind node.BootKind) node.BootProof {
	giaddr := addrOf(p.req.GatewayIPAddr)
	switch {
	case s.Config.Mode != Full, p.req.MessageType() != dhcpv4.MessageTypeRequest, addrOf(p.req.ServerIdentifier()) != s.Config.ServerIP,
		giaddr.IsValid() && giaddr != p.from.Addr().Unmap():
		return ""
	}
	switch kind {
	case node.DHCPAcked, node.OwnDisk, node.NoLoader:
		return node.ProofHandshake
	}
	return ""
}

// dispatcher spreads requests over workers by MAC, so that one client's are answered in order.
type dispatcher struct {
	lanes []chan work
	seed  maphash.Seed
	done  sync.WaitGroup
	log   *slog.Logger
}

type work struct {
	packet
	sock *socket
}

func newDispatcher(ctx context.Context, s *Server) *dispatcher {
	d := &dispatcher{seed: maphash.MakeSeed(), log: s.Log}
	for range workers {
		lane := make(chan work, queue)
		d.lanes = append(d.lanes, lane)
		d.done.Go(func() {
			for w := range lane {
				s.serve(ctx, w)
			}
		})
	}
	return d
}

// send never blocks: a full lane drops the request, and it is false.
func (d *dispatcher) send(p packet, sock *socket) bool {
	lane := d.lanes[maphash.Bytes(d.seed, p.req.ClientHWAddr)%workers]
	select {
	case lane <- work{p, sock}:
		return true
	default:
		d.log.Warn("dhcp drops a request: too many at once", "mac", p.req.ClientHWAddr.String())
		return false
	}
}

// close is called when nobody sends any more.
func (d *dispatcher) close() {
	for _, lane := range d.lanes {
		close(lane)
	}
	d.done.Wait()
}

func (s *Server) serve(ctx context.Context, w work) {
	if ctx.Err() != nil {
		return
	}
	resp, to := s.answer(ctx, w.packet)
	if resp == nil {
		return
	}
	if err := w.sock.send(format(resp), to); err != nil && !errors.Is(err, net.ErrClosed) {
		s.Log.Error("dhcp cannot send an answer", "mac", resp.ClientHWAddr.String(), "to", to.String(), "error", err)
	}
}

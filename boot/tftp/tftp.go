// Package tftp owns Billet's read-only TFTP service: boot loaders, the configurations PXELINUX and
// GRUB ask for, and the kernel and ramdisk of a boot record (RFC 1350, 2347, 2348, 2349, 7440).
// It refuses to write, and to read anything but these.
package tftp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/boot/tftp/packet"
	"github.com/billet-metal/billet/fetch"
	"github.com/billet-metal/billet/node"
)

// Server serves boot files. Addr, Lookup, Trace and Log are needed.
type Server struct {
	Addr    netip.AddrPort // where machines reach us; port 69 but in tests. Not 0.0.0.0: answers must come from the address asked
	Lookup  boot.Lookup
	Loaders boot.Loaders
	MACOf   boot.MACOf   // nil: boot.Neighbour
	Gate    *fetch.Gate  // which files and URLs of a record are read; nil: no file of this machine
	Keeper  *boot.Keeper // who may read a machine's menu; nil: everybody
	Trace   boot.Trace
	Log     *slog.Logger

	Timeout time.Duration // before a block is sent again; 0: a second. A client's option wins
	Tries   int           // of each block; 0: six

	tellEvery time.Duration // how often a long transfer is reported; 0: 20 s

	mu       sync.Mutex
	active   map[netip.AddrPort]bool // clients with a transfer; they may repeat their request
	of       map[netip.Addr]int      // transfers of each address
	unproven int                     // transfers whose client has not answered yet
}

const (
	defaultTimeout   = time.Second
	defaultTries     = 6
	defaultTellEvery = 20 * time.Second
	maxTransfers     = 4096 // at once; a transfer takes at most maxWindow*maxBlock bytes of memory
	maxOfOne         = 32   // at once, of one address: a machine needs one or two, a room behind address translation more
	maxUnproven      = 512  // at once, whose client has not answered yet
	maxTransferTime  = time.Hour
	maxRequest       = 2048 // bytes
)

// Serve answers until ctx ends (then it returns nil) or the socket fails. It owns every
// goroutine it starts and waits for them.
func (s *Server) Serve(ctx context.Context) error {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(s.Addr))
	if err != nil {
		return explain(err, s.Addr)
	}
	return s.serveOn(ctx, conn)
}

func (s *Server) serveOn(ctx context.Context, conn *net.UDPConn) error {
	s.active, s.of = map[netip.AddrPort]bool{}, map[netip.Addr]int{}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { <-ctx.Done(); conn.Close() })
	s.Log.Info("tftp serves", "address", conn.LocalAddr().String())
	buf := make([]byte, maxRequest)
	for {
		n, client, err := conn.ReadFromUDPAddrPort(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the tftp port: %w", err)
		}
		client = netip.AddrPortFrom(client.Addr().Unmap(), client.Port())
		r, err := packet.ParseRequest(buf[:n])
		if err != nil {
			refuse(conn, client, err)
			continue
		}
		if s.begin(client) {
			running.Go(func() { defer s.end(client); s.handle(ctx, client, r) })
		}
	}
}

// refuse tells a client that wants to write, and keeps silent to garbage.
func refuse(conn *net.UDPConn, client netip.AddrPort, why error) {
	if errors.Is(why, packet.ErrNotRead) {
		_, _ = conn.WriteToUDPAddrPort(packet.NewError(packet.CodeAccess, "this server only reads"), client)
	}
}

// begin is false when the client's transfer is under way already, or too many are.
func (s *Server) begin(client netip.AddrPort) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active[client] || len(s.active) >= maxTransfers || s.of[client.Addr()] >= maxOfOne || s.unproven >= maxUnproven {
		return false
	}
	s.active[client] = true
	s.of[client.Addr()]++
	s.unproven++
	return true
}

// proven takes a transfer out of those whose client has not answered yet; the transfer calls it once.
func (s *Server) proven() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unproven--
}

func (s *Server) end(client netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.active, client)
	if s.of[client.Addr()]--; s.of[client.Addr()] == 0 {
		delete(s.of, client.Addr())
	}
}

// handle is one transfer from its request to its end.
func (s *Server) handle(ctx context.Context, client netip.AddrPort, r packet.Request) {
	conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: s.Addr.Addr().AsSlice()}, net.UDPAddrFromAddrPort(client))
	if err != nil {
		s.Log.Error("tftp cannot answer", "client", client.String(), "error", err)
		return
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, maxTransferTime)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	proof := sync.OnceFunc(s.proven)
	defer proof()
	s.transfer(ctx, conn, client, r, proof)
}

// transfer sends the file or the reason why not, and tells what happened.
func (s *Server) transfer(ctx context.Context, conn *net.UDPConn, client netip.AddrPort, r packet.Request, proof func()) {
	src, err := s.open(ctx, r.File, client.Addr())
	about := subject{client: client.Addr(), kind: src.kind, name: boot.Redact(r.File)}
	if err == nil {
		defer src.Close()
	}
	if r.Mode != "octet" && r.Mode != "netascii" {
		_, _ = conn.Write(packet.NewError(packet.CodeIllegal, "unknown transfer mode, use octet"))
		s.tell(about, node.FileRefused, "refused: transfer mode %q", r.Mode)
		return
	}
	if err != nil {
		s.refuseFile(conn, about, err)
		return
	}
	began := time.Now()
	out := &sender{conn: conn, src: src, timeout: s.timeout(), tries: s.tries(), proof: proof}
	stop := s.stillSending(about)
	err = out.run(r, src.size)
	stop()
	about.answers = out.acked > 0 || err == nil
	whole := node.FileSent
	if src.ownDisk {
		whole = node.OwnDisk
	}
	switch {
	case errors.Is(err, errProbe):
		s.tell(about, node.FileSized, "size told")
	case errors.Is(err, errUnsaid):
		s.tell(about, whole, "complete, %d bytes sent; %v", out.acked, err)
	case errors.As(err, new(clientError)) && src.size > 0 && out.acked >= src.size:
		// GRUB knows the size, and closes the file instead of taking the empty block at its end.
		s.tell(about, whole, "complete, %d bytes in %s", out.acked, time.Since(began).Round(time.Millisecond))
	case err != nil:
		s.tell(about, node.FileBroken, "broken off after %d bytes: %v", out.acked, err)
	default:
		s.tell(about, whole, "complete, %d bytes in %s", out.acked, time.Since(began).Round(time.Millisecond))
	}
}

// refuseFile tells the client that it does not get the file, and people why.
func (s *Server) refuseFile(conn *net.UDPConn, about subject, why error) {
	kind, code, text := node.FileFailed, packet.CodeUndefined, "the server could not open the file"
	var other notItsOwn
	switch {
	case errors.As(why, &other):
		kind, code, text = node.NotItsOwn, packet.CodeAccess, "this menu is another machine's"
		about.mac = other.mac
		s.Log.Warn("a boot menu was asked for by another than its machine", "mac", other.mac, "client", about.client.String(), "why", other.why)
		_, _ = conn.Write(packet.NewError(uint16(code), text))
		s.tell(about, kind, "refused: %s", other.why)
		return
	case errors.Is(why, errBootEnded):
		kind, code, text = node.BootEnded, packet.CodeNotFound, "no such file"
	case errors.Is(why, os.ErrNotExist):
		kind, code, text = node.FileMissing, packet.CodeNotFound, "no such file"
	default:
		s.Log.Error("tftp cannot open a file", "client", about.client.String(), "file", about.name, "error", why)
	}
	_, _ = conn.Write(packet.NewError(uint16(code), text))
	s.tell(about, kind, "%s", text)
}

// subject is what an event is about.
type subject struct {
	client  netip.Addr
	kind    node.BootFile
	name    string // for people
	mac     string // whom it is about; "": the machine at the client's address
	answers bool   // the client has acknowledged what was sent to its address: it is there
}

// stillSending tells now and then, until stop is called, that a long transfer goes on: to whoever waits for the
// machine, silence would mean that it is stuck.
func (s *Server) stillSending(about subject) (stop func()) {
	ended := make(chan struct{})
	var telling sync.WaitGroup
	telling.Go(func() {
		tick := time.NewTicker(cmp.Or(s.tellEvery, defaultTellEvery))
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
				going := about
				going.answers = true // or it had ended
				s.tell(going, node.FileSending, "still being sent")
			}
		}
	})
	return func() { close(ended); telling.Wait() }
}

func (s *Server) macOf(ip netip.Addr) string {
	if s.MACOf != nil {
		if mac := s.MACOf(ip); mac != "" {
			return mac
		}
	}
	return boot.Neighbour(ip)
}

func (s *Server) timeout() time.Duration {
	if s.Timeout > 0 {
		return s.Timeout
	}
	return defaultTimeout
}

func (s *Server) tries() int {
	if s.Tries > 0 {
		return s.Tries
	}
	return defaultTries
}

func (s *Server) tell(about subject, kind node.BootKind, format string, args ...any) {
	mac, proof := cmp.Or(about.mac, s.macOf(about.client)), node.BootProof("")
	if about.answers && about.mac == "" {
		proof = node.ProofNeighbour
	}
	what := about.name + ": " + fmt.Sprintf(format, args...)
	if mac == "" {
		what = about.client.String() + " " + what
	}
	s.Trace.Saw(node.BootEvent{MAC: mac, Service: "tftp", Kind: kind, File: about.kind, Proof: proof, What: what, At: node.Now()})
	s.Log.Debug("tftp", "mac", mac, "client", about.client.String(), "what", what)
}

func explain(err error, at netip.AddrPort) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("opening tftp port %s needs root or CAP_NET_BIND_SERVICE: %w", at, err)
	}
	return fmt.Errorf("opening tftp port %s: %w", at, err)
}

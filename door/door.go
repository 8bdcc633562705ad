// Package door owns who gets in: how many connections there are at once and of one address, what a web page may have a browser
// send, who logs in, how many of those are checked or served at the same time, and how slowly a body may come. It knows no
// route and no node, and refuses to keep anything about a caller longer than the process lives.
package door

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"
)

// Listener is a listener that takes so many connections at once, so many of one address, and leaves the rest waiting with the
// kernel, so that no flood of connections takes the file descriptors that other doors, the store and the BMCs need.
type Listener struct {
	net.Listener
	most, perSource int
	spares          *spares // nil: none

	mu      sync.Mutex
	freed   *sync.Cond
	closed  bool
	open    int
	sources map[netip.Addr]int
}

func newListener(l net.Listener, most, perSource int, s *spares) *Listener {
	d := &Listener{Listener: l, most: most, perSource: perSource, spares: s, sources: map[netip.Addr]int{}}
	d.freed = sync.NewCond(&d.mu)
	return d
}

// Shares divides the file descriptors of the process: a part for each door; the larger rest for everything else.
func Shares(limit uint64) (apiConns, machineConns int) {
	limit = min(limit, 1<<15)
	return max(8, int(limit/8)), max(8, int(limit/6))
}

// API is the door of the API, with a reserve.
func API(l net.Listener, log *slog.Logger) *Listener {
	most, _ := Shares(fileLimit())
	if fileLimit() < 512 {
		log.Warn("few files may be open at once (LimitNOFILE, ulimit -n); 1024 and more are usual", "limit", fileLimit(), "api_connections", most)
	}
	return newListener(l, most, max(1, most*3/4), newSpares(min(spareFiles, most)))
}

// Machines is the door of the provisioning listener.
func Machines(l net.Listener) *Listener {
	_, most := Shares(fileLimit())
	return newListener(l, most, max(4, most/4), nil)
}

// Accept waits for a place, then for a connection.
func (d *Listener) Accept() (net.Conn, error) {
	for {
		if !d.await() {
			return nil, net.ErrClosed
		}
		c, err := d.Listener.Accept()
		if outOfFiles(err) && d.spares.give() {
			continue
		}
		if err != nil {
			return nil, err // http.Server waits a little before it tries again when it is for want of files
		}
		tcp, ok := c.(*net.TCPConn)
		if !ok {
			return c, nil
		}
		if taken := d.take(tcp); taken != nil {
			return taken, nil
		}
		_ = tcp.SetLinger(0) // one address has enough; a reset holds no memory of it
		_ = tcp.Close()
	}
}

func (d *Listener) await() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.open >= d.most && !d.closed {
		d.freed.Wait()
	}
	return !d.closed
}

func (d *Listener) take(c *net.TCPConn) net.Conn {
	at, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return nil
	}
	source := at.Addr().Unmap().WithZone("")
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sources[source] >= d.perSource {
		return nil
	}
	d.open++
	d.sources[source]++
	return &guest{TCPConn: c, door: d, source: source}
}

func (d *Listener) leave(source netip.Addr) {
	d.mu.Lock()
	d.open--
	if d.sources[source]--; d.sources[source] == 0 {
		delete(d.sources, source)
	}
	d.mu.Unlock()
	d.freed.Signal()
	d.spares.refill()
}

// Close ends an Accept that waits for a place, too.
func (d *Listener) Close() error {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.freed.Broadcast()
	return d.Listener.Close()
}

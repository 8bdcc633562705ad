package main

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// Bounds of a connection's output: so much must be taken within the time, or the peer does not read any more.
const (
	outTime  = 2 * time.Minute
	outChunk = 1 << 20
)

// spareFiles are kept open for the API: given up one by one when the process has no file descriptor left, they let
// people in who want to see why.
const spareFiles = 16

// door is a listener that takes so many connections at once, so many of one address, and leaves the rest waiting with the
// kernel, so that no flood of connections takes the file descriptors that other doors, the store and the BMCs need.
type door struct {
	net.Listener
	most, perSource int
	spares          *spares // nil: none

	mu      sync.Mutex
	freed   *sync.Cond
	closed  bool
	open    int
	sources map[netip.Addr]int
}

func newDoor(l net.Listener, most, perSource int, s *spares) *door {
	d := &door{Listener: l, most: most, perSource: perSource, spares: s, sources: map[netip.Addr]int{}}
	d.freed = sync.NewCond(&d.mu)
	return d
}

// shares divides the file descriptors of the process: a part for each door; the larger rest for everything else.
func shares(limit uint64) (apiConns, machineConns int) {
	limit = min(limit, 1<<15)
	return max(8, int(limit/8)), max(8, int(limit/6))
}

// fileLimit is how many files this process may have open.
func fileLimit() uint64 {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 1024
	}
	return r.Cur
}

// apiDoor is the door of the API, with a reserve.
func apiDoor(l net.Listener, log *slog.Logger) *door {
	most, _ := shares(fileLimit())
	if fileLimit() < 512 {
		log.Warn("few files may be open at once (LimitNOFILE, ulimit -n); 1024 and more are usual", "limit", fileLimit(), "api_connections", most)
	}
	return newDoor(l, most, max(1, most*3/4), newSpares(min(spareFiles, most)))
}

// machineDoor is the door of the provisioning listener.
func machineDoor(l net.Listener) *door {
	_, most := shares(fileLimit())
	return newDoor(l, most, max(4, most/4), nil)
}

// Accept waits for a place, then for a connection.
func (d *door) Accept() (net.Conn, error) {
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

func outOfFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

func (d *door) await() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.open >= d.most && !d.closed {
		d.freed.Wait()
	}
	return !d.closed
}

func (d *door) take(c *net.TCPConn) net.Conn {
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

func (d *door) leave(source netip.Addr) {
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
func (d *door) Close() error {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.freed.Broadcast()
	return d.Listener.Close()
}

// guest is a connection through a door. Its peer must take what it is sent.
type guest struct {
	*net.TCPConn
	door   *door
	source netip.Addr
	once   sync.Once
}

func (g *guest) Close() error {
	err := g.TCPConn.Close()
	g.once.Do(func() { g.door.leave(g.source) })
	return err
}

func (g *guest) Write(b []byte) (n int, err error) {
	for first := true; err == nil && (first || n < len(b)); first = false {
		if err = g.SetWriteDeadline(time.Now().Add(outTime)); err != nil {
			return n, err
		}
		var m int
		m, err = g.TCPConn.Write(b[n:min(len(b), n+outChunk)])
		n += m
	}
	return n, err
}

// ReadFrom keeps sendfile(2) at work for files, which net knows also inside a LimitedReader. Whatever else is copied may
// come slowly from elsewhere, which is not the peer's fault.
func (g *guest) ReadFrom(src io.Reader) (n int64, err error) {
	whole, limited := src.(*io.LimitedReader)
	if !limited {
		whole = &io.LimitedReader{R: src, N: 1<<63 - 1}
	}
	if _, isFile := whole.R.(*os.File); !isFile {
		return io.Copy(struct{ io.Writer }{g}, src)
	}
	for whole.N > 0 {
		if err := g.SetWriteDeadline(time.Now().Add(outTime)); err != nil {
			return n, err
		}
		m, err := g.TCPConn.ReadFrom(&io.LimitedReader{R: whole.R, N: min(whole.N, outChunk)})
		n += m
		whole.N -= m
		if err != nil || m == 0 {
			return n, err
		}
	}
	return n, nil
}

// spares are files that are open for nothing, to be closed when others are needed.
type spares struct {
	mu    sync.Mutex
	want  int
	files []*os.File
}

func newSpares(n int) *spares {
	s := &spares{want: n}
	s.refill()
	return s
}

// give closes a spare file; false: there is none.
func (s *spares) give() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.files) == 0 {
		return false
	}
	last := len(s.files) - 1
	_ = s.files[last].Close()
	s.files = s.files[:last]
	return true
}

// refill opens what was given away, as far as there are descriptors again.
func (s *spares) refill() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.files) < s.want {
		f, err := os.Open(os.DevNull)
		if err != nil {
			return
		}
		s.files = append(s.files, f)
	}
}

package door

import (
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Bounds of a connection's output: so much must be taken within the time, or the peer does not read any more.
const (
	outTime  = 2 * time.Minute
	outChunk = 1 << 20
)

// guest is a connection through a door. Its peer must take what it is sent.
type guest struct {
	*net.TCPConn
	door   *Listener
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

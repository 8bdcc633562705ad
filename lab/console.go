package lab

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
)

// consoles shares a machine's serial line among any number of readers: QEMU serves one client at
// a time. It outlives power cycles.
type consoles struct {
	mu      sync.Mutex
	line    net.Conn // to QEMU; nil while the machine is off
	readers map[*console]bool
}

// console is one reader and writer of a serial line.
type console struct {
	of     *consoles
	lines  chan []byte
	rest   []byte
	closed chan struct{}
	once   sync.Once
}

// carry copies what the machine says to everybody until the line ends. The serial log is written
// by QEMU itself and misses nothing; a reader here that is too slow does.
func (cs *consoles) carry(line net.Conn) {
	cs.mu.Lock()
	cs.line = line
	cs.mu.Unlock()
	for {
		buf := make([]byte, 4096)
		n, err := line.Read(buf)
		cs.mu.Lock()
		for c := range cs.readers {
			select {
			case c.lines <- buf[:n]:
			default:
			}
		}
		if err != nil {
			cs.line = nil
			cs.mu.Unlock()
			return
		}
		cs.mu.Unlock()
	}
}

func (cs *consoles) open() *console {
	c := &console{of: cs, lines: make(chan []byte, 256), closed: make(chan struct{})}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.readers == nil {
		cs.readers = map[*console]bool{}
	}
	cs.readers[c] = true
	return c
}

// Read waits until the machine says something or the console is closed.
func (c *console) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		select {
		case c.rest = <-c.lines:
		case <-c.closed:
			return 0, io.EOF
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// Write types to the machine; what is typed to a machine that is off is lost, as on a real line.
func (c *console) Write(p []byte) (int, error) {
	c.of.mu.Lock()
	line := c.of.line
	c.of.mu.Unlock()
	if line == nil {
		return len(p), nil
	}
	n, err := line.Write(p)
	if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
		return len(p), nil
	}
	return n, err
}

// Close ends a Read under way.
func (c *console) Close() error {
	c.once.Do(func() {
		c.of.mu.Lock()
		defer c.of.mu.Unlock()
		delete(c.of.readers, c)
		close(c.closed)
	})
	return nil
}

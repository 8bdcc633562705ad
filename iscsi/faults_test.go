package iscsi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// proxy stands between initiator and target, and cuts or stalls what goes through.
type proxy struct {
	address string
	to      string
	l       net.Listener
	wg      sync.WaitGroup

	mu      sync.Mutex
	cutAt   int64 // cut the connection after so many bytes to the target; 0: never
	cuts    int   // how often
	stalled bool  // swallow everything
	conns   []net.Conn
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{address: l.Addr().String(), to: to, l: l}
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); p.cutAll(); p.wg.Wait() })
	return p
}

func (p *proxy) serve(c net.Conn) {
	defer c.Close()
	up, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer up.Close()
	p.mu.Lock()
	p.conns = append(p.conns, c, up)
	p.mu.Unlock()
	done := make(chan struct{})
	go func() { defer close(done); io.Copy(c, up); c.Close() }()
	buf, sent := make([]byte, 16<<10), int64(0)
	for {
		n, err := c.Read(buf)
		if err != nil {
			break
		}
		sent += int64(n)
		p.mu.Lock()
		cut := p.cutAt > 0 && sent > p.cutAt && p.cuts > 0
		stalled := p.stalled
		if cut {
			p.cuts--
		}
		p.mu.Unlock()
		if cut {
			break
		}
		if !stalled {
			up.Write(buf[:n])
		}
	}
	up.Close()
	<-done
}

func (p *proxy) cutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
}

func (p *proxy) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// A connection that breaks again and again, in the middle of commands, loses nothing.
func TestReconnect(t *testing.T) {
	g := newTgt(t, 8<<20)
	p := newProxy(t, g.address)
	o := g.options()
	o.Address, o.Patience = p.address, 20*time.Second
	d := open(t, o)
	p.set(func() { p.cutAt, p.cuts = 700_000, 6 })
	p.cutAll()
	want := make([]byte, 8<<20)
	for i := range want {
		want[i] = byte(i>>9 ^ i)
	}
	for off := 0; off < len(want); off += 600_000 {
		if _, err := d.WriteAt(want[off:min(off+600_000, len(want))], int64(off)); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	if p.cuts != 0 {
		t.Errorf("%d cuts were left: the test tested too little", p.cuts)
	}
	got, err := os.ReadFile(g.file)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("after the cuts the file is not what was written (%v)", err)
	}
}

// A target that vanishes is an error within Patience, whether it refuses, or swallows everything.
func TestTargetVanishes(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(p *proxy)
	}{
		{"refuses", func(p *proxy) { p.l.Close(); p.cutAll() }},
		{"swallows", func(p *proxy) { p.set(func() { p.stalled = true }) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newTgt(t, 4<<20)
			p := newProxy(t, g.address)
			o := g.options()
			o.Address, o.Patience, o.CommandTimeout = p.address, 1500*time.Millisecond, 500*time.Millisecond
			d := open(t, o)
			tt.do(p)
			began := time.Now()
			_, err := d.WriteAt(make([]byte, 1<<20), 0)
			took := time.Since(began)
			if err == nil || took > 4*time.Second {
				t.Fatalf("got %v after %s", err, took)
			}
			for _, part := range []string{"writing 1048576 bytes at 0", g.iqn, p.address, "has not answered for 1.5s"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error does not say %q: %v", part, err)
				}
			}
		})
	}
}

// The end of the context ends a wait at once, with its cause.
func TestCancel(t *testing.T) {
	g := newTgt(t, 4<<20)
	p := newProxy(t, g.address)
	o := g.options()
	o.Address, o.CommandTimeout, o.Patience = p.address, 30*time.Second, time.Minute
	ctx, cancel := context.WithCancelCause(context.Background())
	d, err := Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	p.set(func() { p.stalled = true })
	failed := make(chan error, 1)
	go func() { failed <- d.Sync() }()
	why := errors.New("the deploy was aborted")
	cancel(why)
	select {
	case err := <-failed:
		if !errors.Is(err, why) {
			t.Errorf("got %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the command goes on after its context's end")
	}
}

// An idle session is kept alive by pings, and answers the target's.
func TestKeepAlive(t *testing.T) {
	g := newTgt(t, 1<<20)
	g.admin("--lld", "iscsi", "--mode", "target", "--op", "update", "--tid", "1", "--name", "nop_interval", "--value", "1")
	g.admin("--lld", "iscsi", "--mode", "target", "--op", "update", "--tid", "1", "--name", "nop_count", "--value", "2")
	o := g.options()
	o.PingInterval = 200 * time.Millisecond
	d := open(t, o)
	before := d.session.conn
	time.Sleep(3500 * time.Millisecond) // the target's own clock: three of its pings
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	if d.session.conn != before {
		t.Error("the idle session was lost and logged in again")
	}
}

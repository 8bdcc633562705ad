package tftp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/boot/tftp/packet"
	"github.com/billet-metal/billet/fetch"
	"github.com/billet-metal/billet/node"
)

const (
	secret    = "0123456789abcdef0123456789abcdef"
	farSecret = "fedcba9876543210fedcba9876543210"
	ourMAC    = "52:54:00:00:00:01"
)

// fakeLookup knows one machine with a record and one without.
type fakeLookup struct{ records map[string]*boot.Record }

func (f fakeLookup) Machine(_ context.Context, mac string) (boot.Machine, error) {
	switch mac {
	case ourMAC:
		return boot.Machine{NodeUUID: "node-1", Record: f.records[secret]}, nil
	case "52:54:00:00:00:66":
		return boot.Machine{}, errors.New("no database")
	}
	return boot.Machine{}, nil
}

func (f fakeLookup) RecordBySecret(_ context.Context, s string) (*boot.Record, error) {
	return f.records[s], nil
}

// fakeTrace keeps what was told, and lets a test wait for the next.
type fakeTrace struct{ said chan string }

func (f fakeTrace) Saw(e node.BootEvent) {
	if !e.Kind.Known() || e.File == "" {
		panic(fmt.Sprintf("an event of no known kind, or of no file: %+v", e))
	}
	f.said <- e.MAC + " " + e.Service + ": " + e.What
}

func (f fakeTrace) next(t *testing.T) string {
	t.Helper()
	select {
	case s := <-f.said:
		return s
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was told for 20 s")
		return ""
	}
}

// start serves on a free port of 127.0.0.1; the machine there is ourMAC. timeout 0 is the usual.
func start(t *testing.T, timeout time.Duration) (*Server, string, fakeTrace) {
	t.Helper()
	dir := t.TempDir()
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("far", 1000))
	}))
	t.Cleanup(far.Close)
	for name, size := range map[string]int{"empty": 0, "one-block": 512, "snponly.efi": 100_000, "huge": 512*65536 + 700} {
		write(t, filepath.Join(dir, name), size)
	}
	write(t, filepath.Join(dir, "..", "outside"), 10)
	lookup := fakeLookup{map[string]*boot.Record{
		secret: {NodeUUID: "node-1", Secret: secret, Kernel: filepath.Join(dir, "one-block"), Ramdisk: filepath.Join(dir, "gone"),
			Image: filepath.Join(dir, "empty"), CommandLine: "quiet"},
		farSecret: {NodeUUID: "node-2", Secret: farSecret, Kernel: far.URL + "/kernel"},
	}}
	trace := fakeTrace{make(chan string, 1000)}
	s := &Server{
		Addr: netip.MustParseAddrPort("127.0.0.1:0"), Lookup: lookup, Loaders: boot.Loaders{Dirs: []string{dir}},
		MACOf: func(netip.Addr) string { return ourMAC }, Trace: trace, Gate: fetch.Loopback(dir), Log: slog.New(slog.DiscardHandler),
		Timeout: timeout,
	}
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(s.Addr))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := s.serveOn(ctx, conn); err != nil {
			t.Errorf("serving: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); done.Wait() })
	return s, conn.LocalAddr().String(), trace
}

func content(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

func write(t *testing.T, path string, size int) {
	t.Helper()
	if err := os.WriteFile(path, content(size), 0o644); err != nil {
		t.Fatal(err)
	}
}

// client is a TFTP client that can misbehave.
type client struct {
	t      *testing.T
	conn   *net.UDPConn
	server netip.AddrPort // the port of the transfer, once known
	drop   func(block uint16) bool
}

func dial(t *testing.T) *client {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{t: t, conn: conn}
}

func (c *client) ask(addr, file string, options ...string) {
	c.t.Helper()
	b := []byte{0, packet.OpRead}
	for _, s := range append([]string{file, "octet"}, options...) {
		b = append(append(b, s...), 0)
	}
	if _, err := c.conn.WriteToUDPAddrPort(b, netip.MustParseAddrPort(addr)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) read() []byte {
	c.t.Helper()
	buf := make([]byte, 70000)
	if err := c.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		c.t.Fatal(err)
	}
	n, from, err := c.conn.ReadFromUDPAddrPort(buf)
	if err != nil {
		c.t.Fatalf("waiting for the server: %v", err)
	}
	c.server = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	return buf[:n]
}

func (c *client) send(b []byte) {
	c.t.Helper()
	if _, err := c.conn.WriteToUDPAddrPort(b, c.server); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) ack(block uint16) {
	c.send(binary.BigEndian.AppendUint16([]byte{0, packet.OpAck}, block))
}

// get reads a whole file with the window negotiated; blocks that drop names are lost on the way.
func (c *client) get(block, window int) []byte {
	c.t.Helper()
	var all []byte
	next, since := uint16(1), 0
	for {
		b := c.read()
		if binary.BigEndian.Uint16(b) == packet.OpOptionAck {
			c.ack(0)
			continue
		}
		n := binary.BigEndian.Uint16(b[2:])
		if binary.BigEndian.Uint16(b) != packet.OpData || c.drop != nil && c.drop(n) {
			continue
		}
		if n != next { // RFC 7440: say what came last in order
			if since > 0 || n == next+1 {
				c.ack(next - 1)
				since = 0
			}
			continue
		}
		all = append(all, b[4:]...)
		next++
		since++
		last := len(b)-4 < block
		if last || since == window {
			c.ack(n)
			since = 0
		}
		if last {
			return all
		}
	}
}

func TestTransfers(t *testing.T) {
	_, addr, trace := start(t, 0)
	tests := []struct {
		file    string
		options []string
		oack    string
		block   int
		window  int
		size    int
	}{
		{"empty", nil, "", 512, 1, 0},
		{"one-block", nil, "", 512, 1, 512},
		{"snponly.efi", nil, "", 512, 1, 100_000},
		{"/snponly.efi", []string{"blksize", "1024"}, "blksize 1024", 1024, 1, 100_000},
		{"snponly.efi", []string{"blksize", "65464", "tsize", "0"}, "blksize 1468 tsize 100000", 1468, 1, 100_000},
		{"snponly.efi", []string{"windowsize", "16", "BLKSIZE", "1000"}, "windowsize 16 blksize 1000", 1000, 16, 100_000},
		{"snponly.efi", []string{"windowsize", "65535", "timeout", "1"}, "windowsize 64 timeout 1", 512, 64, 100_000},
		{"snponly.efi", []string{"blksize", "7", "timeout", "0", "windowsize", "x", "unheard", "1"}, "", 512, 1, 100_000},
		{"huge", []string{"windowsize", "32"}, "windowsize 32", 512, 32, 512*65536 + 700}, // the block number wraps around
		{"boot/" + secret + "/kernel", []string{"tsize", "0"}, "tsize 512", 512, 1, 512},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(boot.Redact(tt.file), tt.options), func(t *testing.T) {
			c := dial(t)
			c.ask(addr, tt.file, tt.options...)
			if tt.oack != "" {
				b := c.read()
				got := strings.TrimSpace(strings.ReplaceAll(string(b[2:]), "\x00", " "))
				if binary.BigEndian.Uint16(b) != packet.OpOptionAck || got != tt.oack {
					t.Fatalf("options answered %q, want %q", got, tt.oack)
				}
				c.ack(0)
			}
			if got := c.get(tt.block, tt.window); !bytes.Equal(got, content(tt.size)) {
				t.Errorf("got %d bytes, want the %d of the file", len(got), tt.size)
			}
			want := fmt.Sprintf("%s tftp: %s: complete, %d bytes in ", ourMAC, boot.Redact(tt.file), tt.size)
			if got := trace.next(t); !strings.HasPrefix(got, want) {
				t.Errorf("told %q, want %q", got, want)
			}
		})
	}
}

func TestTransferFromAURL(t *testing.T) {
	_, addr, trace := start(t, 0)
	c := dial(t)
	c.ask(addr, "boot/"+farSecret+"/kernel")
	if got := c.get(512, 1); string(got) != strings.Repeat("far", 1000) {
		t.Errorf("got %d bytes", len(got))
	}
	if got := trace.next(t); !strings.HasPrefix(got, ourMAC+" tftp: boot/…/kernel: complete, 3000 bytes in ") {
		t.Errorf("told %q", got)
	}
}

// Lost blocks and lost acknowledgements cost time, never content.
func TestLosses(t *testing.T) {
	for _, window := range []int{1, 8} {
		t.Run(fmt.Sprint("window ", window), func(t *testing.T) {
			_, addr, _ := start(t, 100*time.Millisecond)
			c := dial(t)
			lost := map[uint16]bool{}
			c.drop = func(block uint16) bool { // every 29th block once
				if block%29 != 0 || lost[block] {
					return false
				}
				lost[block] = true
				return true
			}
			c.ask(addr, "snponly.efi", "windowsize", fmt.Sprint(window))
			if got := c.get(512, window); !bytes.Equal(got, content(100_000)) {
				t.Errorf("got %d bytes, want the file", len(got))
			}
			if len(lost) == 0 {
				t.Error("nothing was lost: the test tests nothing")
			}
		})
	}
}

// A repeated acknowledgement must not be answered, or every later block goes out twice.
func TestSorcerersApprentice(t *testing.T) {
	_, addr, _ := start(t, 5*time.Second) // no repetition by time
	c := dial(t)
	c.ask(addr, "snponly.efi")
	c.read()
	for range 3 {
		c.ack(1)
	}
	c.read() // block 2
	if err := c.conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, _, err := c.conn.ReadFrom(make([]byte, 2000)); err == nil {
		t.Errorf("a repeated acknowledgement brought %d more bytes", n)
	}
	c.send(packet.NewError(packet.CodeUndefined, "enough"))
}

func TestRepeatedRequest(t *testing.T) {
	_, addr, trace := start(t, 0)
	c := dial(t)
	for range 3 {
		c.ask(addr, "snponly.efi")
	}
	if got := c.get(512, 1); !bytes.Equal(got, content(100_000)) {
		t.Errorf("got %d bytes", len(got))
	}
	trace.next(t)
	select {
	case s := <-trace.said:
		t.Errorf("a second transfer: %s", s)
	default:
	}
}

func TestEndsThatAreNoSuccess(t *testing.T) {
	_, addr, trace := start(t, 100*time.Millisecond)
	t.Run("size probe", func(t *testing.T) { // UEFI
		c := dial(t)
		c.ask(addr, "snponly.efi", "tsize", "0", "blksize", "1468")
		c.read()
		c.send(packet.NewError(packet.CodeOptions, "User aborted the transfer"))
		if got := trace.next(t); got != ourMAC+" tftp: snponly.efi: size told" {
			t.Errorf("told %q", got)
		}
	})
	t.Run("aborted", func(t *testing.T) {
		c := dial(t)
		c.ask(addr, "snponly.efi")
		c.read()
		c.ack(1)
		c.read()
		c.send(packet.NewError(3, "disk full"))
		if got := trace.next(t); got != ourMAC+` tftp: snponly.efi: broken off after 512 bytes: the client said "disk full" (error 3)` {
			t.Errorf("told %q", got)
		}
	})
	t.Run("silent", func(t *testing.T) {
		c := dial(t)
		c.ask(addr, "snponly.efi")
		first := c.read()
		for range unprovenTries - 1 {
			if again := c.read(); !bytes.Equal(again, first) {
				t.Error("a block sent again differs")
			}
		}
		if got := trace.next(t); got != ourMAC+" tftp: snponly.efi: broken off after 0 bytes: the client stopped answering" {
			t.Errorf("told %q", got)
		}
	})
	t.Run("gone with the last block", func(t *testing.T) {
		c := dial(t)
		c.ask(addr, "snponly.efi")
		size := 0
		for block := uint16(1); ; block++ {
			b := c.read()
			size += len(b) - 4
			if len(b) < 4+512 {
				break
			}
			c.ack(block)
		}
		want := fmt.Sprintf("%s tftp: snponly.efi: complete, %d bytes sent; the last block was not acknowledged", ourMAC, size)
		if got := trace.next(t); got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	})
	t.Run("closed before the empty block at the end", func(t *testing.T) { // GRUB
		c := dial(t)
		c.ask(addr, "one-block", "tsize", "0")
		c.read()
		c.ack(0)
		c.read()
		c.ack(1)
		c.read()
		c.send(packet.NewError(packet.CodeUndefined, "closed"))
		if got := trace.next(t); !strings.HasPrefix(got, ourMAC+" tftp: one-block: complete, 512 bytes in ") {
			t.Errorf("told %q", got)
		}
	})
	t.Run("silent after the options", func(t *testing.T) {
		c := dial(t)
		c.ask(addr, "snponly.efi", "tsize", "0")
		if got := trace.next(t); got != ourMAC+" tftp: snponly.efi: broken off after 0 bytes: the client stopped answering" {
			t.Errorf("told %q", got)
		}
	})
}

func TestRefusals(t *testing.T) {
	_, addr, trace := start(t, 0)
	tests := []struct {
		name, file string
		code       uint16
		text, said string
	}{
		{"missing", "nothing.here", packet.CodeNotFound, "no such file", "nothing.here: no such file"},
		{"traversal", "../outside", packet.CodeNotFound, "no such file", "../outside: no such file"},
		{"absolute", "/etc/passwd", packet.CodeNotFound, "no such file", "/etc/passwd: no such file"},
		{"windows", `..\outside`, packet.CodeNotFound, "no such file", `"..\\outside": no such file`},
		{"unknown secret", "boot/" + strings.Repeat("0", 32) + "/kernel", packet.CodeNotFound, "no such file", "boot/…/kernel: no such file"},
		{"image", "boot/" + secret + "/image", packet.CodeNotFound, "no such file", "boot/…/image: no such file"},
		{"ramdisk gone", "boot/" + secret + "/ramdisk", packet.CodeNotFound, "no such file", "boot/…/ramdisk: no such file"},
		{"no ramdisk", "boot/" + farSecret + "/ramdisk", packet.CodeNotFound, "no such file", "boot/…/ramdisk: no such file"},
		{"store down", "pxelinux.cfg/01-52-54-00-00-00-66", packet.CodeUndefined, "the server could not open the file",
			"pxelinux.cfg/01-52-54-00-00-00-66: the server could not open the file"},
		{"grub modules", "grub/x86_64-efi/grub.cfg", packet.CodeNotFound, "no such file", "grub/x86_64-efi/grub.cfg: no such file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t)
			c.ask(addr, tt.file)
			if got, want := c.read(), packet.NewError(tt.code, tt.text); !bytes.Equal(got, want) {
				t.Errorf("answered %q, want %q", got, want)
			}
			if got := trace.next(t); got != ourMAC+" tftp: "+tt.said {
				t.Errorf("told %q, want %q", got, tt.said)
			}
		})
	}
	c := dial(t)
	raw := func(b string) { c.server = netip.MustParseAddrPort(addr); c.send([]byte(b)) }
	raw("\x00\x02file\x00octet\x00") // write
	if got, want := c.read(), packet.NewError(packet.CodeAccess, "this server only reads"); !bytes.Equal(got, want) {
		t.Errorf("a write is answered %q, want %q", got, want)
	}
	raw("\x00\x01file\x00mail\x00")
	if got, want := c.read(), packet.NewError(packet.CodeIllegal, "unknown transfer mode, use octet"); !bytes.Equal(got, want) {
		t.Errorf("mode mail is answered %q, want %q", got, want)
	}
}

func TestConfigurations(t *testing.T) {
	s, addr, _ := start(t, 0)
	record := s.Lookup.(fakeLookup).records[secret]
	for name, want := range map[string]string{
		"pxelinux.cfg/01-52-54-00-00-00-01":  boot.PXELinuxConfig(record),
		"/pxelinux.cfg/01-52-54-00-00-00-01": boot.PXELinuxConfig(record),
		"pxelinux.cfg/01-52-54-00-00-00-02":  boot.PXELinuxConfig(nil),
		"pxelinux.cfg/7F000001":              boot.PXELinuxConfig(record), // by the asker's own MAC
		"pxelinux.cfg/default":               boot.PXELinuxConfig(record),
		"grub/grub.cfg":                      boot.GRUBEntry,
		"/EFI/debian/grub.cfg":               boot.GRUBEntry,
		"grub/machine/52:54:00:00:00:01":     boot.GRUBConfig(ourMAC, record),
		"grub/machine/52:54:00:00:00:02":     boot.GRUBConfig("52:54:00:00:00:02", nil),
		"grub/grub.cfg-01-52-54-00-00-00-01": boot.GRUBConfig(ourMAC, record),
	} {
		c := dial(t)
		c.ask(addr, name)
		if got := c.get(512, 1); string(got) != want {
			t.Errorf("%s is\n%s\nwant\n%s", name, got, want)
		}
	}
	for _, name := range []string{"pxelinux.cfg/7F0000", "pxelinux.cfg/44454c4c-0000-0000-0000-000000000000", "grub/machine/x",
		"grub/grub.cfg-x", "pxelinux.cfg/"} {
		if f, err := s.open(t.Context(), name, s.Addr.Addr()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v, %v; want that it does not exist", name, f, err)
		}
	}
}

// curl is a client we did not write.
func TestCurl(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatal("curl is missing: apt-get install curl")
	}
	_, addr, _ := start(t, 0)
	for _, blksize := range []string{"512", "1428", "8192"} {
		out, err := exec.Command("curl", "--silent", "--show-error", "--max-time", "60", "--tftp-blksize", blksize,
			"tftp://"+addr+"/snponly.efi").Output()
		if err != nil || !bytes.Equal(out, content(100_000)) {
			t.Errorf("curl with blocks of %s: %d bytes, %v", blksize, len(out), err)
		}
	}
	err := exec.Command("curl", "--silent", "--max-time", "60", "tftp://"+addr+"/nothing").Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 68 { // CURLE_TFTP_NOTFOUND
		t.Errorf("curl of a missing file: %v, want exit status 68", err)
	}
}

func TestManyTogether(t *testing.T) {
	_, addr, trace := start(t, 0)
	for range 40 {
		c := dial(t)
		t.Run("", func(t *testing.T) {
			t.Parallel()
			c.t = t
			c.ask(addr, "snponly.efi", "blksize", "1468", "windowsize", "4")
			if got := c.get(1468, 4); !bytes.Equal(got, content(100_000)) {
				t.Errorf("got %d bytes", len(got))
			}
			trace.next(t)
		})
	}
}

func TestListenErrors(t *testing.T) {
	taken, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	at := netip.MustParseAddrPort(taken.LocalAddr().String())
	err = (&Server{Addr: at}).Serve(t.Context())
	if err == nil || !strings.HasPrefix(err.Error(), "opening tftp port "+at.String()+": ") {
		t.Errorf("a taken port: %v", err)
	}
}

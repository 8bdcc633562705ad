package bmc

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"
)

// inside is QEMU's end of the way to a BMC.
type inside struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	seq  byte
}

// newInside starts a BMC and opens the machine's own way to it.
func newInside(t *testing.T, m Machine) (*Server, *inside) {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Conn: conn, User: "admin", Password: "secret", Machine: m, GUID: [16]byte{0: 1, 15: 0xAA}}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 2)
	go func() { served <- s.Serve(ctx) }()
	for serving := false; !serving; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		serving = s.live != nil
		s.mu.Unlock()
	}
	ours, theirs := net.Pipe()
	go func() { served <- s.ServeInside(ctx, theirs) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-served; err != nil && !errors.Is(err, io.ErrClosedPipe) {
				t.Error(err)
			}
		}
	})
	return s, &inside{t: t, conn: ours, in: bufio.NewReader(ours), seq: 0x9E}
}

// ask sends a request and returns the answer's completion code and data. Sequence numbers run over all marks.
func (i *inside) ask(netFn, cmd byte, data ...byte) []byte {
	i.t.Helper()
	i.seq++
	msg := append([]byte{i.seq, netFn << 2, cmd}, data...)
	if _, err := i.conn.Write(framed(append(msg, -checksum(msg)))); err != nil {
		i.t.Fatal(err)
	}
	return i.answer(netFn, cmd)
}

func (i *inside) answer(netFn, cmd byte) []byte {
	i.t.Helper()
	i.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	answer, err := readInside(i.in)
	if err != nil {
		i.t.Fatal(err)
	}
	if answer[0] != i.seq || answer[1] != (netFn|1)<<2 || answer[2] != cmd {
		i.t.Fatalf("% x answers request %d of %02x %02x", answer, i.seq, netFn, cmd)
	}
	return answer[3:]
}

func TestTheMachineAsksItsBMC(t *testing.T) {
	m := &fakeMachine{on: true}
	_, i := newInside(t, m)
	for _, tt := range []struct {
		name       string
		netFn, cmd byte
		data, want []byte
	}{
		{"device", netApp, 0x01, nil, []byte{0, 0x20, 0x01, 0x01, 0x00, 0x02, 0x8E, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
		{"channel", netApp, 0x42, []byte{1}, []byte{0, 1, 4, 1, 0x80, 0xF2, 0x1B, 0, 0, 0}},
		{"no such channel", netApp, 0x42, []byte{2}, []byte{codeBadField}},
		{"address", netTransport, 0x02, []byte{1, 3, 0, 0}, []byte{0, 0x11, 127, 0, 0, 1}},
		{"MAC address", netTransport, 0x02, []byte{1, 5, 0, 0}, []byte{0, 0x11, 0x52, 0x54, 0, 0, 0, 0}},
		{"no such parameter", netTransport, 0x02, []byte{1, 56, 0, 0}, []byte{codeNoParameter}},
		{"GUID, which holds a mark", netApp, 0x37, nil, append([]byte{0, 1}, append(make([]byte, 14), 0xAA)...)},
		{"too short", netTransport, 0x02, []byte{1}, []byte{codeTooShort}},
		{"unknown", netApp, 0xA0, nil, []byte{codeUnknown}}, // a command that is a mark
		{"about a session", netApp, 0x3B, []byte{4}, []byte{codeUnknown}},
		{"closing a session", netApp, 0x3C, []byte{0, 0, 0, 0}, []byte{codeUnknown}},
		{"session information", netApp, 0x3D, []byte{0}, []byte{codeUnknown}},
		{"serial over LAN", netApp, 0x48, []byte{1, 1, 0, 0, 0, 0}, []byte{codeUnknown}},
	} {
		if got := i.ask(tt.netFn, tt.cmd, tt.data...); !bytes.Equal(got, tt.want) {
			t.Errorf("%s: % x, want % x", tt.name, got, tt.want)
		}
	}
	if got := i.ask(netChassis, 0x02, 3); !bytes.Equal(got, []byte{0}) || !slices.Equal(m.did(), []Action{Reset}) {
		t.Errorf("reset: % x, the machine did %v", got, m.did())
	}
}

// What the device says of itself, damaged messages and a dead BMC are no reason to stop.
func TestTheWayInsideGoesOn(t *testing.T) {
	s, i := newInside(t, &fakeMachine{})
	long := append([]byte{1, netApp << 2, 1}, make([]byte, 400)...)
	for _, noise := range [][]byte{
		{0xFF, 1, endOfCommand, 0x08, 0x3F, endOfCommand}, // version, capabilities
		{1, 2, 3, endOfMessage}, {endOfMessage}, {escape, endOfMessage}, {9, netApp << 2, 1, 0, endOfMessage},
		slices.Concat(long, []byte{endOfMessage}), slices.Concat(long, []byte{-checksum(long), endOfMessage}),
	} {
		if _, err := i.conn.Write(noise); err != nil {
			t.Fatal(err)
		}
		if got := i.ask(netApp, 0x04); !bytes.Equal(got, []byte{0, 0x55, 0}) {
			t.Errorf("after % x: % x", noise[:min(8, len(noise))], got)
		}
	}
	s.SetFaults(Faults{Dead: true})
	msg := []byte{7, netApp << 2, 1}
	if _, err := i.conn.Write(framed(append(msg, -checksum(msg)))); err != nil {
		t.Fatal(err)
	}
	i.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if answer, err := readInside(i.in); err == nil {
		t.Errorf("a dead BMC answers % x", answer)
	}
	i.in.Reset(i.conn)
	s.SetFaults(Faults{})
	if got := i.ask(netApp, 0x04); !bytes.Equal(got, []byte{0, 0x55, 0}) {
		t.Errorf("alive again: % x", got)
	}
}

func TestTheWayInsideOfABMCThatDoesNotServe(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &Server{}
	ours, theirs := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- s.ServeInside(ctx, theirs) }()
	msg := []byte{7, netApp << 2, 1}
	if _, err := ours.Write(framed(append(msg, -checksum(msg)))); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-served; err != nil && !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
}

// FuzzInside: what is framed comes back as it was, and no stream of bytes makes the reader panic or give a
// message with a wrong checksum.
func FuzzInside(f *testing.F) {
	f.Add([]byte{1, 0x18, 1, 0xA0, 0xA1, 0xAA}, []byte{0xAA})
	f.Add([]byte{}, []byte{0xA1, 0xAA, 0xB0, 1, 2, 3, 0xA0, 0xA0})
	f.Fuzz(func(t *testing.T, msg, noise []byte) {
		if len(msg) >= 3 && len(msg) < maxInside {
			got, err := readInside(bufio.NewReader(bytes.NewReader(framed(append(slices.Clone(msg), -checksum(msg))))))
			if err != nil || !bytes.Equal(got, msg) {
				t.Errorf("% x came back as % x, %v", msg, got, err)
			}
		}
		in := bufio.NewReader(bytes.NewReader(noise))
		for {
			got, err := readInside(in)
			if errors.Is(err, io.EOF) {
				return
			}
			if err == nil && len(got) < 3 {
				t.Errorf("% x gave % x", noise, got)
			}
		}
	})
}
